"""Who was champion when: an append-only JSONL file whose lines are chained by their hashes.

Each line carries the sha256 of the line before it (`prev`) and of its own other fields (`sha256`),
so a changed, inserted, moved or missing line is found and named. A last line without its newline
is an append cut short: it was never acknowledged, readers ignore it and the next append drops it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from crossimpact.errors import StaleModel, UsageError
from crossimpact.model import canonical_json

Action = Literal["promote", "rollback", "override"]
GENESIS = "0" * 64


@dataclass(frozen=True)
class Entry:
    """One change of champion: `old` and `new` are digests, `version` is the new one's in MLflow."""

    seq: int
    when: str
    who: str
    action: Action
    old: str | None
    new: str
    version: int
    why: str
    approver: str
    refused: tuple[str, ...]
    prev: str

    @property
    def line(self) -> bytes:
        """The entry's bytes in the file, newline included."""
        body = asdict(self)
        return canonical_json(body | {"sha256": _sha256(canonical_json(body))}) + b"\n"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"refused": list(self.refused)}


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


class Book:
    """The ledger while its lock is held; see `locked`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries = entries(path)

    @property
    def last(self) -> Entry | None:
        """The entry in force now."""
        return self.entries[-1] if self.entries else None

    def stamp(self, when: datetime) -> str:
        """`when` as it is written; the order of the file is the order of time.

        Raises
        ------
        UsageError
            When `when` lies before the last entry.
        """
        if self.last and utc(when) < datetime.fromisoformat(self.last.when):
            raise UsageError(
                f"{utc(when).isoformat()} is before the ledger's last entry, {self.last.when}",
                "set the clock right",
            )
        return utc(when).isoformat()

    def append(
        self,
        *,
        when: datetime,
        who: str,
        action: Action,
        new: str,
        version: int,
        why: str = "",
        approver: str = "",
        refused: Sequence[str] = (),
    ) -> Entry:
        """Add one line and return once it is on disk."""
        last = self.last
        entry = Entry(
            seq=len(self.entries) + 1,
            when=self.stamp(when),
            who=who,
            action=action,
            old=last.new if last else None,
            new=new,
            version=version,
            why=why,
            approver=approver,
            refused=tuple(refused),
            prev=_sha256(last.line) if last else GENESIS,
        )
        _append_bytes(self.path, sum(len(past.line) for past in self.entries), entry.line)
        self.entries = [*self.entries, entry]
        return entry


@contextmanager
def locked(path: Path) -> Iterator[Book]:
    """Hold the ledger: whoever changes the champion does it one at a time."""
    with hold(path.with_suffix(".lock")):
        yield Book(path)


@contextmanager
def hold(path: Path) -> Iterator[None]:
    """Be the only process inside; a killed holder lets go."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def entries(path: Path) -> list[Entry]:
    """All entries, oldest first; none when there is no file yet.

    Raises
    ------
    StaleModel
        Naming the first bad line when the chain is broken.
    """
    found, verdict = _read(path)
    if not verdict.ok and not verdict.torn:
        raise StaleModel(
            f"ledger {path} is broken at line {verdict.line}: {verdict.problem}",
            "restore the file from a copy; `crossimpact ledger verify` checks it",
        )
    return found


def verify(path: Path) -> Verdict:
    """Check the whole chain and name the first bad line."""
    return _read(path)[1]


def as_of(path: Path, ts: datetime) -> Entry | None:
    """The entry in force at `ts` (its `new` was the champion); None before the first."""
    past = [entry for entry in entries(path) if datetime.fromisoformat(entry.when) <= utc(ts)]
    return past[-1] if past else None


def record(path: Path, version: int) -> Entry | None:
    """The last entry that made `version` champion, None when it never was."""
    return next((entry for entry in reversed(entries(path)) if entry.version == version), None)


def previous(book: Sequence[Entry]) -> Entry | None:
    """The entry whose champion a rollback restores: a rollback undoes the promotion before it."""
    stack: list[Entry] = []
    for entry in book:
        if entry.action == "rollback":
            stack = stack[:-1]
        else:
            stack.append(entry)
    return stack[-2] if len(stack) > 1 else None


def utc(moment: datetime) -> datetime:
    """The moment in UTC; one without a zone is taken to be UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _read(path: Path) -> tuple[list[Entry], Verdict]:
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    found: list[Entry] = []
    for number, line in enumerate(lines, start=1):
        prev = _sha256(lines[number - 2]) if number > 1 else GENESIS
        entry, problem = _parse(line, number, prev)
        if entry is None:
            torn = number == len(lines) and _is_torn(line, number, prev)
            problem = "an append was cut short; the next one drops it" if torn else problem
            return found, Verdict(len(found), number, problem, torn)
        found.append(entry)
    return found, Verdict(len(found))


def _is_torn(line: bytes, number: int, prev: str) -> bool:
    """A cut append lacks its newline; an entry with another byte in the newline's place was hit."""
    return not line.endswith(b"\n") and _parse(line[:-1] + b"\n", number, prev)[0] is None


def _parse(line: bytes, number: int, prev: str) -> tuple[Entry | None, str]:
    try:
        fields = json.loads(line)
        fields.pop("sha256")
        entry = Entry(**fields | {"refused": tuple(fields["refused"])})
        same = entry.line == line
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return None, f"not an entry ({error!r})"
    if not same:
        return None, "its sha256 does not match its content"
    if entry.seq != number:
        return None, f"it says it is entry {entry.seq}, expected {number}"
    if entry.prev != prev:
        return None, f"it follows a line with sha256 {entry.prev[:12]}, found {prev[:12]}"
    return entry, ""


def _append_bytes(path: Path, whole: int, line: bytes) -> None:
    """Write after the first `whole` bytes (what follows is a torn append), on to the disk."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        os.ftruncate(handle, whole)
        os.pwrite(handle, line, whole)
        os.fsync(handle)
    finally:
        os.close(handle)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
