"""The rollout's ledger: stages, commitments and salts, in the order of time and chained by hashes.

It lies beside the ledger of promotions and is kept as that one is (`release.hash_chain`). A stage
counts from its line on; a salt counts only if its hash was committed to before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime, time
from pathlib import Path
from typing import Any, Literal, get_args

from crossimpact.errors import CrossImpactError, StaleModel
from crossimpact.release import hash_chain
from crossimpact.release.hash_chain import Verdict
from crossimpact.release.ledger import utc
from crossimpact.rollout.design import DayDraw, Design

Action = Literal["start", "up", "down", "stop", "commit", "reveal"]
ACTIONS: tuple[Action, ...] = get_args(Action)
#: Actions after which another stage, or none, is in force.
MOVES: tuple[Action, ...] = ("start", "up", "down", "stop")


@dataclass(frozen=True)
class Entry:
    """One line.

    Attributes
    ----------
    stage
        In force from here on; empty after `stop`.
    release
        Digest of the champion whose rollout this is.
    date
        That a `commit` or `reveal` speaks of.
    draw
        What a `commit` fixes of its date.
    salt
        In hex, told by `reveal`.
    evidence
        Digest of what a move was decided on.
    """

    seq: int
    when: str
    who: str
    action: Action
    stage: str
    release: str
    date: str
    why: str
    approver: str
    refused: tuple[str, ...]
    draw: DayDraw | None
    salt: str
    evidence: str
    prev: str

    @property
    def line(self) -> bytes:
        """The entry's bytes in the file, newline included."""
        return hash_chain.line(self.to_dict())

    @property
    def moment(self) -> datetime:
        return datetime.fromisoformat(self.when)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        body = asdict(self) | {"refused": list(self.refused)}
        if self.draw is not None:
            body["draw"]["design"]["half_day"] = self.draw.design.half_day.isoformat()
        return body


@dataclass(frozen=True)
class Standing:
    """Where a rollout is.

    Attributes
    ----------
    stage, release, since
        In force, of which champion, and the entry that put it there.
    draws
        Commitments of the stage by date.
    """

    stage: str
    release: str
    since: Entry
    draws: Mapping[str, Entry]


class Writer:
    """The ledger while its lock is held; see `locked`."""

    def __init__(self, path: Path) -> None:
        self.path, self.entries = path, entries(path)

    @property
    def standing(self) -> Standing | None:
        """What is in force now."""
        return standing(self.entries)

    def append(self, new: Entry) -> Entry:
        """Add a line; number, hash and a moment that is not before the last one are put in here."""
        last = self.entries[-1] if self.entries else None
        when = max(utc(new.moment), last.moment) if last else utc(new.moment)
        prev = hash_chain.sha256(last.line) if last else hash_chain.GENESIS
        added = replace(new, seq=len(self.entries) + 1, when=when.isoformat(), prev=prev)
        _check(self.entries, added)
        hash_chain.append(self.path, [entry.line for entry in self.entries], added.line)
        self.entries = [*self.entries, added]
        return added


def entry(
    action: Action, *, when: datetime, who: str, stage: str, release: str, date: str = "",
    why: str = "", approver: str = "", refused: Sequence[str] = (), draw: DayDraw | None = None,
    salt: str = "", evidence: str = "",
) -> Entry:  # fmt: skip
    """A line to append."""
    moment = utc(when).isoformat()
    return Entry(0, moment, who, action, stage, release, date, why, approver, tuple(refused), draw,
                 salt, evidence, "")  # fmt: skip


@contextmanager
def locked(path: Path) -> Iterator[Writer]:
    """Hold the ledger: whoever writes to it does it one at a time.

    Raises
    ------
    Unavailable
        When another process does not let go.
    """
    with hash_chain.hold(path.with_suffix(".lock")):
        yield Writer(path)


def entries(path: Path) -> list[Entry]:
    """All entries that count, oldest first; none when there is no file yet.

    Raises
    ------
    StaleModel
        Naming the first bad line.
    """
    result, verdict = _read(path)
    if not verdict.usable:
        raise StaleModel(
            f"rollout's ledger {path} is broken at line {verdict.line}: {verdict.problem}",
            "restore it and its .head from a copy",
        )
    return result


def verify(path: Path) -> Verdict:
    """Check the chain and every line in it, and name the first bad one."""
    return _read(path)[1]


def standing(book: Sequence[Entry]) -> Standing | None:
    """What is in force; None before the first start and after a stop."""
    moves = [line for line in book if line.action in MOVES]
    if not moves or moves[-1].action == "stop":
        return None
    since = moves[-1]
    draws = {line.date: line for line in book if line.action == "commit" and line.seq > since.seq}
    return Standing(since.stage, since.release, since, draws)


def revealed(book: Sequence[Entry]) -> dict[str, bytes]:
    """Salts by date."""
    return {line.date: bytes.fromhex(line.salt) for line in book if line.action == "reveal"}


def _read(path: Path) -> tuple[list[Entry], Verdict]:
    bodies, verdict = hash_chain.read(path)
    result: list[Entry] = []
    for number, body in enumerate(bodies, start=1):
        try:
            parsed = _parse(body)
            _check(result, parsed)
        except (ValueError, TypeError, KeyError, CrossImpactError) as error:
            return result, Verdict(len(result), number, f"it is no entry: {error}")
        result.append(parsed)
    return result, verdict


def _parse(body: Mapping[str, Any]) -> Entry:
    if body["action"] not in ACTIONS:
        raise ValueError(f"action is {body['action']!r}, must be one of {', '.join(ACTIONS)}")
    datetime.fromisoformat(body["when"])
    return Entry(**{**body, "refused": tuple(body["refused"]), "draw": _draw(body["draw"])})


def _draw(body: Mapping[str, Any] | None) -> DayDraw | None:
    if body is None:
        return None
    design = body["design"]
    known = Design(**{**design, "half_day": time.fromisoformat(design["half_day"])})
    lists = {k: tuple(v) for k, v in body.items() if isinstance(v, list)}
    return DayDraw(**{**body, **lists, "design": known})


def _check(past: Sequence[Entry], new: Entry) -> None:
    """What a line may say after those before it."""
    if past and new.moment < past[-1].moment:
        raise ValueError(f"when is {new.when}, before the line above it")
    same = [line for line in past if line.action == new.action and line.date == new.date]
    if new.action in ("commit", "reveal") and same:
        raise CrossImpactError(
            f"{new.date} has its {new.action} already, of {same[0].when}",
            "a salt cannot be changed once it is committed to",
        )
    if new.action == "commit" and new.draw is None:
        raise ValueError(f"the commitment of {new.date} fixes nothing")
    if new.action == "reveal":
        committed = next((e for e in past if e.action == "commit" and e.date == new.date), None)
        if committed is None or committed.draw is None:
            raise ValueError(f"the salt of {new.date} was never committed to")
        committed.draw.opens(bytes.fromhex(new.salt))
