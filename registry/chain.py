"""An append-only file of JSON lines, chained by their hashes.

Each line carries the sha256 of the line before it (`prev`) and of its own other fields (`sha256`),
so a changed, inserted, moved or missing line is found and named. `<file>.head` says how many lines
were acknowledged and what the last one hashes to, so lines missing at the end are found as well. A
last line without its newline that was never acknowledged is an append cut short: readers ignore it
and the next append drops it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from crossimpact.errors import StaleModel
from crossimpact.model import canonical_json

GENESIS = "0" * 64


@dataclass(frozen=True)
class Verdict:
    """Whether the chain is whole; `line` (1-based) is the first bad one, `lines` those before it.

    `torn`: the bad line is only the rest of an append cut short.
    """

    lines: int
    line: int | None = None
    problem: str = ""
    torn: bool = False

    @property
    def ok(self) -> bool:
        return self.line is None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"ok": self.ok}


@contextmanager
def hold(path: Path) -> Iterator[None]:
    """Be the only process inside; a killed holder lets go."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def bodies(path: Path) -> list[dict[str, Any]]:
    """The fields of every line (`seq` and `prev` among them), none when there is no file yet.

    Raises
    ------
    StaleModel
        Naming the first bad line when the chain is broken.
    """
    found, verdict = _read(path)
    if not verdict.ok and not verdict.torn:
        raise StaleModel(
            f"ledger {path} is broken at line {verdict.line}: {verdict.problem}",
            "restore it and its .head from a copy; `crossimpact ledger verify` checks them",
        )
    return found


def verify(path: Path) -> Verdict:
    """Check the whole chain and name the first bad line."""
    return _read(path)[1]


def append(path: Path, known: Sequence[Mapping[str, Any]], body: Mapping[str, Any]) -> None:
    """Add a line after the `known` ones and return once it is on disk; hold the file's lock."""
    new = line(body)
    _write(path, sum(len(line(past)) for past in known), new)
    _acknowledge(path, len(known) + 1, new)


def line(body: Mapping[str, Any]) -> bytes:
    """The line of a body, newline included."""
    return canonical_json({**body, "sha256": sha256(canonical_json(body))}) + b"\n"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


# -- reading ---------------------------------------------------------------------------------------


def _read(path: Path) -> tuple[list[dict[str, Any]], Verdict]:
    lines, seen = _snapshot(path)
    found: list[dict[str, Any]] = []
    for number, content in enumerate(lines, start=1):
        prev = sha256(lines[number - 2]) if number > 1 else GENESIS
        body, problem = _parse(content, number, prev)
        if body is None:
            torn = number == len(lines) and number > seen[0] and _is_torn(content, number, prev)
            problem = "an append was cut short; the next one drops it" if torn else problem
            return found, Verdict(len(found), number, problem, torn)
        found.append(body)
    return found, _against_head(lines, *seen)


def _snapshot(path: Path) -> tuple[list[bytes], tuple[int, str]]:
    """The lines and what was acknowledged; readers hold no lock, so not across an append."""
    while True:
        seen = _acknowledged(path)
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        if _acknowledged(path) == seen:
            return lines, seen


def _against_head(lines: Sequence[bytes], seq: int, last: str) -> Verdict:
    """The head may be one line behind, when an append was killed before it was acknowledged."""
    count = len(lines)
    if seq > count:
        return Verdict(count, count + 1, f"it is gone: {seq} lines were acknowledged")
    if seq and sha256(lines[seq - 1]) != last:
        return Verdict(seq - 1, seq, "it is not the line that was acknowledged")
    if count > seq + 1:
        head = "" if seq else ": its .head file is gone"
        return Verdict(seq + 1, seq + 2, f"only {seq} lines were acknowledged{head}")
    return Verdict(count)


def _parse(content: bytes, number: int, prev: str) -> tuple[dict[str, Any] | None, str]:
    try:
        body = json.loads(content)
        body.pop("sha256")
        same = line(body) == content
        seq, follows = body["seq"], body["prev"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return None, f"not an entry ({error!r})"
    if not same:
        return None, "its sha256 does not match its content"
    if seq != number:
        return None, f"it says it is entry {seq}, expected {number}"
    if follows != prev:
        return None, f"it follows a line with sha256 {follows[:12]}, found {prev[:12]}"
    return body, ""


def _is_torn(content: bytes, number: int, prev: str) -> bool:
    """A cut append lacks its newline; an entry with another byte in the newline's place was hit."""
    whole = _parse(content[:-1] + b"\n", number, prev)[0]
    return not content.endswith(b"\n") and whole is None


# -- writing ---------------------------------------------------------------------------------------


def _head(path: Path) -> Path:
    return path.with_name(path.name + ".head")


def _acknowledged(path: Path) -> tuple[int, str]:
    """How many lines were acknowledged, and the sha256 of the last."""
    try:
        head = json.loads(_head(path).read_bytes())
        return int(head["seq"]), str(head["sha256"])
    except FileNotFoundError:
        return 0, GENESIS
    except (ValueError, KeyError, TypeError) as error:
        raise StaleModel(
            f"{_head(path)} cannot be read ({error!r})", "restore it from a copy"
        ) from error


def _acknowledge(path: Path, seq: int, content: bytes) -> None:
    scratch = path.with_name(path.name + ".head.new")
    with scratch.open("wb") as file:
        file.write(canonical_json({"seq": seq, "sha256": sha256(content)}))
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(_head(path))


def _write(path: Path, whole: int, content: bytes) -> None:
    """Write after the first `whole` bytes (what follows is a torn append), on to the disk."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        os.ftruncate(handle, whole)
        os.pwrite(handle, content, whole)
        os.fsync(handle)
    finally:
        os.close(handle)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
