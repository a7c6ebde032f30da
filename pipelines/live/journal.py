"""A session's journal: append-only JSON lines chained by hashes, on disk before anything leaves.

`open`, then `event` and `refused` lines as they arrived, each followed by its `decision` lines, and
`seal`. A `failed` event is one whose handler raised: it changed nothing, and a replay leaves it
out. A half-written last line is an append cut short and dropped on restart; anything else that does
not follow is tampering and refused. A sealed journal has a manifest beside it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from crossimpact import __version__
from crossimpact.atomic import sync, write_atomic
from crossimpact.errors import StaleModel
from crossimpact.plain_data import canonical_json
from crossimpact.release import hash_chain
from crossimpact.release.hash_chain import GENESIS

Kind = Literal["open", "event", "refused", "failed", "decision", "seal"]
Line = Mapping[str, Any]


@dataclass(frozen=True)
class Manifest:
    """What a sealed journal was: nothing can be cut off its end unseen."""

    lines: int
    first: str
    last: str
    decisions: int
    releases: tuple[str, ...]
    code_version: str


@dataclass(frozen=True)
class Verdict:
    """Whether a journal is whole and sealed; `line` (1-based) is the first bad one."""

    lines: int
    sealed: bool
    line: int | None = None
    problem: str = ""

    @property
    def ok(self) -> bool:
        return self.line is None and self.sealed

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"ok": self.ok}


class Journal:
    """The journal of a running session, one writer; see `open_journal`."""

    def __init__(self, path: Path, lines: list[Line], size: int, last: str) -> None:
        self.path, self._size, self._last, self._count = path, size, last, len(lines)
        self._waiting = bytearray()
        self._first = hash_chain.sha256(hash_chain.line(lines[0])) if lines else ""
        self._decisions = sum(line["kind"] == "decision" for line in lines)
        self._releases = dict.fromkeys(filter(None, map(_release, lines)))
        path.parent.mkdir(parents=True, exist_ok=True)
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o640)

    @property
    def lines(self) -> int:
        return self._count

    @property
    def waiting(self) -> int:
        """Bytes that are not on disk yet."""
        return len(self._waiting)

    def add(self, kind: Kind, body: Line) -> None:
        """Put a line behind the others; it counts with the next `commit`."""
        line = {**body, "kind": kind, "seq": self._count + 1, "prev": self._last}
        content = hash_chain.line(line)
        self._waiting += content
        self._count, self._last = self._count + 1, hash_chain.sha256(content)
        self._first = self._first or self._last
        self._decisions += kind == "decision"
        if digest := _release(line):
            self._releases[digest] = None

    def commit(self) -> None:
        """Bring what waits to disk; where that fails it waits on, and nothing half written stays.

        Raises
        ------
        OSError
            When the disk is full, say. The next `commit` tries again.
        """
        if not self._waiting:
            return
        try:
            done = 0
            while done < len(self._waiting):
                at = self._size + done
                done += os.pwrite(self._handle, memoryview(self._waiting)[done:].tobytes(), at)
            os.fsync(self._handle)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._handle, self._size)
            raise
        self._size += len(self._waiting)
        self._waiting.clear()

    def seal(self) -> Manifest:
        """End the journal: nothing follows."""
        self.add("seal", {"code_version": __version__})
        self.commit()
        releases = tuple(self._releases)
        made = Manifest(
            self._count, self._first, self._last, self._decisions, releases, __version__
        )
        write_atomic(manifest_of(self.path), canonical_json(asdict(made)) + b"\n")
        self.close()
        return made

    def close(self) -> None:
        os.close(self._handle)
        with suppress(OSError):
            sync(self.path.parent)


def open_journal(path: Path) -> tuple[Journal, list[Line]]:
    """A journal to go on with, and its lines; a half-written last line is dropped.

    Raises
    ------
    StaleModel
        When it is sealed, or a line was changed, moved or taken out.
    """
    content = path.read_bytes() if path.exists() else b""
    lines, verdict = read(content)
    whole = sum(len(hash_chain.line(line)) for line in lines)
    if verdict.line is not None and content[whole:].count(b"\n"):
        raise StaleModel(
            f"line {verdict.line} of journal {path} is not to be trusted: {verdict.problem}",
            "keep it as evidence and begin another session",
        )
    if lines and lines[-1]["kind"] == "seal":
        raise StaleModel(f"journal {path} is sealed", "begin another session")
    if whole < len(content):
        os.truncate(path, whole)
    last = hash_chain.sha256(hash_chain.line(lines[-1])) if lines else GENESIS
    return Journal(path, lines, whole, last), lines


def read(content: bytes) -> tuple[list[Line], Verdict]:
    """The whole lines before the first bad one, and whether there is one."""
    result: list[Line] = []
    prev = GENESIS
    for number, line in enumerate(content.splitlines(keepends=True), start=1):
        body, problem = hash_chain.parse(line, number, prev)
        if body is None:
            cut = "" if line.endswith(b"\n") else "it is half written; "
            return result, Verdict(len(result), False, number, cut + problem)
        result.append(body)
        prev = hash_chain.sha256(line)
    sealed = bool(result) and result[-1]["kind"] == "seal"
    return result, Verdict(len(result), sealed, problem="" if sealed else "it is not sealed")


def verify(path: Path) -> Verdict:
    """Whether the journal is whole, sealed, and as its manifest says."""
    content = path.read_bytes()
    lines, verdict = read(content)
    if not manifest_of(path).exists():
        return verdict if not verdict.ok else Verdict(len(lines), True, None, "")
    known = json.loads(manifest_of(path).read_bytes())
    last = hash_chain.sha256(content.splitlines(keepends=True)[-1]) if content else ""
    if verdict.line is None and (len(lines) != known["lines"] or last != known["last"]):
        told = f"{known['lines']} lines were sealed, {len(lines)} are there or the last is another"
        return Verdict(len(lines), False, min(len(lines), known["lines"]) + 1, told)
    return verdict


def manifest_of(path: Path) -> Path:
    return path.with_suffix(".manifest.json")


def _release(line: Line) -> str:
    event = line.get("event", {}) if line["kind"] == "event" else {}
    return str(event.get("digest", "")) if event.get("type") == "release" else ""
