"""A session and its journal: what is decided is on disk before it is anybody's to act on.

`Engine.take` is one turn of the loop without its I/O. A journal begun before is replayed first and
must give the same lines; what its last turn had no time to write is decided anew, which gives the
same again, so that a restart asks for nothing twice.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec

from crossimpact import __version__
from crossimpact.errors import ProblemError, StaleModel
from crossimpact.plain_data import canonical_json
from crossimpact.policy.live import events
from crossimpact.policy.live.decision import Decision, Recorded
from crossimpact.policy.live.events import Event, Level, Mode, ParentOrder
from crossimpact.policy.live.session import Session
from crossimpact.policy.live.settings import Settings
from crossimpact.release.bundle import Release
from pipelines.live.arms import Assign, stamped
from pipelines.live.guarded import Guarded, told
from pipelines.live.journal import Line, open_journal
from pipelines.live.rows import Raw

Releases = Callable[[str], Release]
#: Of a line that is no event, so much is kept.
SHOWN = 200
#: Handlers that may raise while one event arrives, before it is left out itself.
ATTEMPTS = 3


class Behind(OSError):
    """What was taken before is not on disk, and nothing more is taken: hand it in again."""


@dataclass(frozen=True)
class Opening:
    """With what a session begins: the journal's first line."""

    settings: Settings
    level: Level = "RUN"
    mode: Mode = "advisory"
    approver: str = ""

    def to_dict(self) -> dict[str, Any]:
        told: dict[str, Any] = msgspec.to_builtins(asdict(self))
        return told | {"code_version": __version__}

    @classmethod
    def of(cls, line: Line) -> Opening:
        fields = ("settings", "level", "mode", "approver")
        return msgspec.convert({name: line["opening"][name] for name in fields}, cls)

    def session(self, releases: Releases) -> Session:
        return Session(self.settings, releases, level=self.level, mode=self.mode)


@dataclass
class Counts:
    """What a turn did, for the metrics."""

    events: int = 0
    duplicates: int = 0
    refused: int = 0
    decisions: int = 0
    failed: int = 0


class Engine:
    """A running session.

    Parameters
    ----------
    path
        Of the journal; one that is there is gone on with, and its opening holds.
    assign
        Whose a basket is, in a rollout; without one every parent is as it was told.
    """

    def __init__(
        self, path: Path, opening: Opening, releases: Releases, assign: Assign | None = None
    ) -> None:
        self._assign = assign
        self.journal, lines = open_journal(path)
        self.counts, self.places = Counts(), dict[str, int]()
        self.last: Decision | None = None
        self._unsent: list[Decision] = []
        self.resumed = len(lines)
        if not lines:
            self.opening = opening
            self.journal.add("open", {"opening": opening.to_dict()})
            self.journal.commit()
            self._guarded = Guarded(opening.session(releases))
            return
        self.opening = Opening.of(lines[0])
        session = self.opening.session(releases)
        self._resume(path, lines, session)
        self._guarded = Guarded(session)

    @property
    def session(self) -> Session:
        return self._guarded.session

    def _resume(self, path: Path, lines: Sequence[Line], session: Session) -> None:
        due: list[Line] = []
        for number, line, made in _again(session, lines, self.opening):
            if made is not None and line is None:
                due.append(made)
            elif _bytes(line) != _bytes(made):
                raise StaleModel(
                    f"journal {path} does not replay: line {number} differs",
                    "it was made by other code or another release; begin another session",
                )
        for line in lines:
            if line.get("feed"):
                self.places[line["feed"]] = max(line["number"], self.places.get(line["feed"], -1))
        decided = [line for line in lines if line["kind"] == "decision"]
        for body in due:
            self.journal.add("decision", body)
        self.journal.commit()
        again = [row["decision"] for row in (*decided[-1:], *due)]
        self._unsent = [msgspec.convert(row, Decision) for row in again]
        self.last = self._unsent[-1] if self._unsent else None

    def take(self, batch: Sequence[Raw | Event]) -> list[Decision]:
        """Apply a batch; the decisions that may leave now, all of them on disk.

        Raises
        ------
        Behind
            When what was taken before cannot be written: nothing of the batch is taken, so that
            what waits is one batch at most.
        OSError
            When this batch cannot: it is taken, nothing leaves, and the next turn tries again.
        """
        self.settle()
        for item in batch:
            event = self._event(item) if isinstance(item, Raw) else item
            if event is not None:
                self._apply(event, item if isinstance(item, Raw) else Raw(b""))
        self.journal.commit()
        sent, self._unsent = self._unsent, []
        self.counts.decisions += len(sent)
        return sent

    def settle(self) -> None:
        """Bring to disk what an earlier turn could not."""
        try:
            self.journal.commit()
        except OSError as error:
            waits = f"{self.journal.waiting:,} bytes wait to be written: {error.strerror}"
            raise Behind(error.errno, waits) from error

    def unsent(self, decisions: Sequence[Decision]) -> None:
        """Decisions that no output could take: they leave again with the next turn."""
        self._unsent = [*decisions, *self._unsent]

    def _event(self, raw: Raw) -> Event | None:
        """The event of a line, None where it is none, or was there before."""
        if raw.number >= 0 and raw.number <= self.places.get(raw.feed, -1):
            self.counts.duplicates += 1
            return None
        try:
            event = events.read(raw.content)
        except ProblemError as error:
            shown = raw.content[:SHOWN].decode("utf-8", "backslashreplace")
            self.journal.add("refused", {"text": shown, "why": error.what, **self._place(raw)})
            self.counts.refused += 1
            return None
        if event.seq < 0 and raw.number >= 0:
            event = msgspec.structs.replace(event, source=raw.feed, seq=raw.number)
        if self._assign is not None and isinstance(event, ParentOrder):
            return stamped(event, self.session.book, self._assign)
        return event

    def _apply(self, event: Event, raw: Raw) -> None:
        if self.session.seen(event.source, event.seq):
            self.counts.duplicates += 1
            return
        for _ in range(ATTEMPTS):
            try:
                self._taken(event, self._place(raw))
                return
            except Exception as error:  # whatever a handler does, the loop lives on
                self.counts.failed += 1
                handling = self._guarded.back()
                failure = told(self.session, error, handling, event)
            if handling.what == "arriving":
                break
            self._taken(failure, {})
        line = {"event": events.plain(event), "why": failure.why, **self._place(raw)}
        self.journal.add("failed", line)
        if handling.what == "arriving":
            self._taken(failure, {})

    def _taken(self, event: Event, place: dict[str, Any]) -> None:
        """Apply an event and write down what it led to."""
        made = self._guarded.apply(event)
        line, decided = _event_line(self.session, event) | place, [*map(_decision_line, made)]
        self._guarded.keep(event)
        self.journal.add("event", line)
        for body in decided:
            self.journal.add("decision", body)
        self.counts.events += 1
        for row in made:
            self._unsent.append(row.decision)
            self.last = row.decision

    def _place(self, raw: Raw) -> dict[str, Any]:
        if raw.number < 0:
            return {}
        self.places[raw.feed] = raw.number
        return {"feed": raw.feed, "number": raw.number}


def _event_line(session: Session, event: Event) -> dict[str, Any]:
    skipped = {"skipped": [row.why for row in session.skipped]} if session.skipped else {}
    return {"event": events.plain(event), **skipped}


def _decision_line(row: Recorded) -> dict[str, Any]:
    told = row.to_dict()
    canonical_json(told)  # what a journal cannot hold is told here
    return told


def _again(
    session: Session, lines: Sequence[Line], opening: Opening
) -> Iterator[tuple[int, Line | None, Line | None]]:
    """Per line its number, what it says and what it should; at the end what is missing."""
    first = {name: value for name, value in lines[0].items() if name == "opening"}
    yield 1, first, {"opening": opening.to_dict()}
    due: list[Line] = []
    for number, line in enumerate(lines[1:], start=2):
        told = {k: v for k, v in line.items() if k not in ("kind", "seq", "prev")}
        if line["kind"] == "decision":
            yield number, told, due.pop(0) if due else None
        elif line["kind"] == "event":
            if due:
                yield number, told, due.pop(0)
            event = events.read(msgspec.json.encode(line["event"]), own=True)
            due = [_decision_line(row) for row in session.apply(event)]
            place = {k: line[k] for k in ("feed", "number") if k in line}
            yield number, told, _event_line(session, event) | place
        else:
            yield number, told, told
    for body in due:
        yield len(lines) + 1, None, body


@dataclass(frozen=True)
class Replayed:
    """What a replay found: None, or the first line that differs."""

    lines: int
    decisions: int
    differs: int | None = None
    said: str = ""
    again: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"same": self.differs is None}


def replay(lines: Sequence[Line], releases: Releases) -> Replayed:
    """A journal once more, byte for byte, up to the first difference."""
    opening = Opening.of(lines[0])
    count = sum(line["kind"] == "decision" for line in lines)
    for number, said, again in _again(opening.session(releases), lines, opening):
        if said is not None and _bytes(said) != _bytes(again):
            again = json.loads(_bytes(again) or b"{}")  # as it would lie there
            shown = (str(x)[:SHOWN] for x in _first_difference(said, again))
            return Replayed(len(lines), count, number, *shown)
    return Replayed(len(lines), count)


def _bytes(body: Mapping[str, Any] | None) -> bytes:
    return canonical_json(body) if body is not None else b""


def _first_difference(one: Any, other: Any, where: str = "") -> tuple[str, str]:
    """Where two plain values first differ, and what both hold there."""
    if isinstance(one, list) and isinstance(other, list):
        one, other = dict(enumerate(one)), dict(enumerate(other))
    if not (isinstance(one, Mapping) and isinstance(other, Mapping)):
        return f"{where}{one}", f"{where}{other}"
    for name in dict.fromkeys([*one, *other]):
        a, b = one.get(name, "(nothing)"), other.get(name, "(nothing)")
        if a != b:
            return _first_difference(a, b, f"{where}{name}: ")
    return where, where
