"""An append-only file of JSON lines, chained by their hashes.

Each line carries the sha256 of the line before it (`prev`) and of its own other fields (`sha256`),
so a changed, inserted, moved or missing line is found and named. `<file>.head` says how many lines
were acknowledged and what the last one hashes to: a line counts from then on, not before. What
follows the acknowledged lines is an append cut short, or was written by somebody else; readers
ignore it, `read` names it, and the next append drops it.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from crossimpact.atomic import sync, write_atomic
from crossimpact.errors import CrossImpactError, StaleModel, Unavailable
from crossimpact.model import canonical_json

LOG = logging.getLogger("crossimpact.ledger")
GENESIS = "0" * 64
#: How long to wait for another process to let go, seconds; nobody holds a ledger that long.
WAIT_S = 10.0
#: What the system says when there is no room for a byte more.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class Verdict:
    """Whether the chain is whole; `line` (1-based) is the first bad one, `lines` those before it.

    `unacknowledged`: the bad line follows the acknowledged ones, which are whole; it counts for
    nobody.
    """

    lines: int
    line: int | None = None
    problem: str = ""
    unacknowledged: bool = False

    @property
    def ok(self) -> bool:
        return self.line is None

    @property
    def usable(self) -> bool:
        """Whether the acknowledged lines can be gone by."""
        return self.ok or self.unacknowledged

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"ok": self.ok}


@contextmanager
def hold(path: Path, wait_s: float = WAIT_S) -> Iterator[None]:
    """Be the only process inside; a killed holder lets go.

    Raises
    ------
    Unavailable
        When another process does not let go within `wait_s`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        _lock(lock, path, time.monotonic() + wait_s)
        yield


def read(path: Path) -> tuple[list[dict[str, Any]], Verdict]:
    """The fields of every acknowledged line before the first bad one, and whether there is one."""
    lines, head = _snapshot(path)
    count, last = head or (0, GENESIS)
    result: list[dict[str, Any]] = []
    for number, content in enumerate(lines[:count], start=1):
        prev = sha256(lines[number - 2]) if number > 1 else GENESIS
        body, problem = parse(content, number, prev)
        if body is None:
            return result, Verdict(len(result), number, problem)
        result.append(body)
    verdict = _against_head(lines, count, last)
    if head is None and lines:
        verdict = Verdict(0, 1, "its .head file is gone, so nobody knows what was acknowledged")
    return result[: verdict.lines], verdict


def append(path: Path, known: Sequence[bytes], new: bytes) -> None:
    """Add a line after the `known` ones and return once it is on disk; hold the file's lock.

    Raises
    ------
    CrossImpactError
        When it could not be written whole; then it does not count.
    """
    whole = sum(map(len, known))
    _tell_dropped(path, whole)
    try:
        if not known:
            _acknowledge(path, 0, GENESIS)  # from now on a file without its head was robbed of it
        _write(path, whole, new)
        _acknowledge(path, len(known) + 1, sha256(new))
    except OSError as error:
        _take_back(path, whole)
        raise _not_written(path, error) from error
    sync(path.parent)


def line(body: Mapping[str, Any]) -> bytes:
    """The line of a body, newline included: canonical, with the body's own sha256 in its place;
    spelled once, as the loop writes one per event."""
    first = canonical_json({name: body[name] for name in body if name < "sha256"})[1:-1]
    rest = canonical_json({name: body[name] for name in body if name > "sha256"})[1:-1]
    content = b",".join(filter(None, (first, rest)))
    digest = b'"sha256":"' + sha256(b"{" + content + b"}").encode() + b'"'
    return b"{" + b",".join(filter(None, (first, digest, rest))) + b"}\n"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _lock(lock: IO[str], path: Path, until: float) -> None:
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                raise Unavailable(
                    f"{path} is held by another process", "try again; `fuser` says which"
                ) from None
            time.sleep(0.01)
        else:
            return


# -- reading ---------------------------------------------------------------------------------------


def _snapshot(path: Path) -> tuple[list[bytes], tuple[int, str] | None]:
    """The lines and what was acknowledged; readers hold no lock, so not across an append."""
    while True:
        seen = _acknowledged(path)
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        if _acknowledged(path) == seen:
            return lines, seen


def _against_head(lines: Sequence[bytes], count: int, last: str) -> Verdict:
    """Lines that parse, against what was acknowledged."""
    if count > len(lines):
        return Verdict(len(lines), len(lines) + 1, f"it is gone: {count} lines were acknowledged")
    if count and sha256(lines[count - 1]) != last:
        return Verdict(count - 1, count, "it is not the line that was acknowledged")
    if len(lines) == count:
        return Verdict(count)
    problem = (
        f"it was never acknowledged and does not count ({_shown(lines[count])}): an append cut "
        "short, or not written by crossimpact; the next append drops it"
    )
    return Verdict(count, count + 1, problem, unacknowledged=True)


def _shown(content: bytes) -> str:
    """The beginning of a line nobody vouches for, as text that breaks no terminal."""
    return ascii(content[:120].decode("ascii", "replace").strip())


def parse(content: bytes, number: int, prev: str) -> tuple[dict[str, Any] | None, str]:
    """The fields of line `number`, which follows one with that sha256; None and why not."""
    try:
        body = json.loads(content)
        body.pop("sha256")
        same = line(body) == content
        seq, follows = body["seq"], body["prev"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return None, f"not an entry ({error!r})"
    if not same:
        return None, "its sha256 does not match its content"
    if seq != number:
        return None, f"it says it is entry {seq}, expected {number}"
    if follows != prev:
        return None, f"it follows a line with sha256 {str(follows)[:12]}, found {prev[:12]}"
    return body, ""


# -- writing ---------------------------------------------------------------------------------------


def _head(path: Path) -> Path:
    return path.with_name(path.name + ".head")


def _acknowledged(path: Path) -> tuple[int, str] | None:
    """How many lines were acknowledged, and the sha256 of the last; None without a head."""
    try:
        head = json.loads(_head(path).read_bytes())
        return int(head["seq"]), str(head["sha256"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise StaleModel(
            f"{_head(path)} cannot be read ({error!r})", "restore it from a copy"
        ) from error


def _acknowledge(path: Path, seq: int, last: str) -> None:
    write_atomic(_head(path), canonical_json({"seq": seq, "sha256": last}))


def _write(path: Path, whole: int, content: bytes) -> None:
    """Write after the first `whole` bytes (what follows does not count), on to the disk."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        os.ftruncate(handle, whole)
        written = os.pwrite(handle, content, whole)
        if written < len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        os.fsync(handle)
    finally:
        os.close(handle)


def _take_back(path: Path, whole: int) -> None:
    """Leave the acknowledged lines alone; where not even that can be done, the rest is ignored."""
    with suppress(OSError):
        os.truncate(path, whole)


def _tell_dropped(path: Path, whole: int) -> None:
    """What is dropped may be somebody's forgery: keep a word of it in the log."""
    if path.exists() and path.stat().st_size > whole:
        with path.open("rb") as file:
            file.seek(whole)
            LOG.warning("%s: dropped what was never acknowledged: %s", path, _shown(file.read(120)))


def _not_written(path: Path, error: OSError) -> CrossImpactError:
    if error.errno in NO_ROOM:
        return CrossImpactError(
            f"the disk of ledger {path} is full: nothing was changed", "free some space, try again"
        )
    return CrossImpactError(
        f"ledger {path} cannot be written: {error.strerror or error}; nothing was changed",
        "see that its folder is there and yours to write",
    )
