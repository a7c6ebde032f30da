"""A process of its own that kills a session whose loop hangs: standard library alone.

    python -m pipelines.live.watchdog HEARTBEAT LEVEL PARENT LIMIT_S [OUTPUT]

The loop touches HEARTBEAT after each decision or reading on fresh data. When it does not for
LIMIT_S seconds of this process' own clock, or its process PARENT is gone without having said
goodbye (the pipe at standard input closes with a byte before), KILL is written to LEVEL. Whatever
level LEVEL takes, whoever wrote it, is also told on OUTPUT (else on standard output, which is the
loop's), so that an order system sees it although the loop cannot speak. It ends with a goodbye,
with the KILL of a loop that is gone, or when another loop has taken over.
"""

import json
import os
import select
import sys
import time
from pathlib import Path

from pipelines.live import levels

POLL_S = 0.1


def main(words: list[str]) -> None:
    heartbeat, level, parent = Path(words[0]), Path(words[1]), int(words[2])
    limit_s, output = float(words[3]), words[4] if len(words) > 4 else ""
    seen, since, told = stamp(heartbeat), time.monotonic(), 0  # what is latched is told, too
    while True:
        if said_goodbye(POLL_S):
            return
        now, beat, gone = time.monotonic(), stamp(heartbeat), not exists(parent)
        if beat != seen:
            if gone:
                return  # another loop has taken over, with a watchdog of its own
            seen, since = beat, now
        late = now - since
        if late > limit_s and levels.read(level).level != "KILL":
            alive = "is gone" if gone else "hangs"
            levels.write(level, "KILL", "watchdog", f"the loop {alive}: nothing for {late:.1f} s")
        found = levels.read(level)
        if found.rank > told:
            speak(output, found)
        told = found.rank
        if gone and found.level == "KILL":
            return  # nothing is left to watch


def stamp(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def said_goodbye(wait_s: float) -> bool:
    """Whether the loop has ended in order; its end of the pipe closing alone is no goodbye."""
    ready, _, _ = select.select([0], [], [], wait_s)
    if not ready:
        return False
    if os.read(0, 1):
        return True
    time.sleep(wait_s)
    return False


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def speak(output: str, found: levels.Told) -> None:
    """A line of its own, even when the loop has left half a one."""
    told = {"type": "level", "level": found.level, "who": found.who, "reason": found.reason}
    line = b"\n" + json.dumps(told).encode() + b"\n"
    try:
        handle = os.open(output, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640) if output else 1
        os.write(handle, line)
    except OSError as error:
        print(f"level {found.level} could not be told: {error}", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1:])
