"""The watchdog's process, from the loop's side."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

WATCHDOG = "pipelines.live.watchdog"


def start(heartbeat: Path, level: Path, limit_s: float, output: str) -> subprocess.Popen[bytes]:
    """A watchdog of this process, which tells levels on `output` where that is a file."""
    words = [str(heartbeat), str(level), str(os.getpid()), f"{limit_s:g}"]
    command = [sys.executable, "-m", WATCHDOG, *words, *([output] if output else [])]
    return subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)


def goodbye(watchdog: subprocess.Popen[bytes]) -> None:
    """The loop ends in order: the watchdog does, too, and kills nothing."""
    with suppress(OSError):
        if watchdog.stdin is not None:
            watchdog.stdin.write(b".")
            watchdog.stdin.flush()
            watchdog.stdin.close()
    with suppress(subprocess.TimeoutExpired):
        watchdog.wait(5.0)
