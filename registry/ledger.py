"""Who was champion when, and which rungs it was held to: the ledger of promotions.

Kept outside MLflow, whose aliases and tags any editor can move. Four actions change what is live:
`promote`, `override` (promoted in spite of a gate) and `rollback` name a champion, `demote` holds
regimes of it to lower rungs of the fallback ladder until it is promoted again. Two only bear
witness: `fallback` (a reader could not use the champion, and who answered instead) and `drift` (a
weekly verdict). How lines are kept and checked is `chain`'s business.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from crossimpact.errors import StaleModel, UsageError
from registry import chain
from registry.chain import Verdict, hold, verify

__all__ = ["Action", "Book", "Entry", "Standing", "Verdict", "entries", "hold", "locked", "verify"]

Action = Literal["promote", "override", "rollback", "demote", "fallback", "drift"]
#: Actions that name the champion.
CHANGES: tuple[Action, ...] = ("promote", "override", "rollback")
#: By how much the clocks of two machines may differ and both still promote.
SKEW = timedelta(minutes=5)


@dataclass(frozen=True)
class Entry:
    """One line: `old` and `new` are the champions' digests, `version` is the new one's in MLflow.

    `rungs` holds regimes to a rung of the ladder (`demote`), or names who answered (`fallback`);
    `refused` names the gates an override went against.
    """

    seq: int
    when: str
    who: str
    action: Action
    old: str | None
    new: str | None
    version: int | None
    why: str
    approver: str
    refused: tuple[str, ...]
    rungs: Mapping[str, str]
    prev: str

    @property
    def line(self) -> bytes:
        """The entry's bytes in the file, newline included."""
        return chain.line(asdict(self))

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"refused": list(self.refused)}


@dataclass(frozen=True)
class Standing:
    """What is live: the entry that made the champion, and per regime the `rung` it is held to and
    the `reason`, where it was demoted."""

    champion: Entry
    held: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        return self.champion.new or ""

    @property
    def version(self) -> int:
        return self.champion.version or 0


class Book:
    """The ledger while its lock is held; see `locked`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries = entries(path)

    @property
    def standing(self) -> Standing | None:
        """What is live now."""
        return standing(self.entries)

    def stamp(self, when: datetime, action: Action) -> str:
        """`when` as it is written; the order of the file is the order of time.

        A moment before the last entry is written as that entry's: somebody's clock is wrong, and
        what takes risk away must not wait until it is known whose.

        Raises
        ------
        UsageError
            When a promotion lies before the last entry by more than `SKEW`.
        """
        last = datetime.fromisoformat(self.entries[-1].when) if self.entries else utc(when)
        if action in ("promote", "override") and utc(when) < last - SKEW:
            raise UsageError(
                f"{utc(when).isoformat()} is before the ledger's last entry, {last.isoformat()}",
                "set the clock right; `crossimpact ledger show` says who wrote that entry",
            )
        return max(utc(when), last).isoformat()

    def append(
        self,
        *,
        when: datetime,
        who: str,
        action: Action,
        new: str | None = None,
        version: int | None = None,
        why: str = "",
        approver: str = "",
        refused: Sequence[str] = (),
        rungs: Mapping[str, str] | None = None,
    ) -> Entry:
        """Add one line and return once it is on disk; without `new` the champion stays."""
        live = self.standing
        if action not in CHANGES:
            new, version = (live.digest, live.version) if live else (None, None)
        last = self.entries[-1] if self.entries else None
        entry = Entry(
            seq=len(self.entries) + 1,
            when=self.stamp(when, action),
            who=who,
            action=action,
            old=live.digest if live else None,
            new=new,
            version=version,
            why=why,
            approver=approver,
            refused=tuple(refused),
            rungs=dict(rungs or {}),
            prev=chain.sha256(last.line) if last else chain.GENESIS,
        )
        chain.append(self.path, [asdict(past) for past in self.entries], asdict(entry))
        self.entries = [*self.entries, entry]
        return entry


@contextmanager
def locked(path: Path) -> Iterator[Book]:
    """Hold the ledger: whoever writes to it does it one at a time."""
    with hold(path.with_suffix(".lock")):
        yield Book(path)


def entries(path: Path) -> list[Entry]:
    """All entries, oldest first; none when there is no file yet.

    Raises
    ------
    StaleModel
        Naming the first bad line when the chain is broken, or a line that is no entry.
    """
    try:
        return [Entry(**body | {"refused": tuple(body["refused"])}) for body in chain.bodies(path)]
    except (KeyError, TypeError) as error:
        raise StaleModel(
            f"ledger {path} holds a line with other fields than an entry's: {error}",
            "it was written by another version; restore the file from a copy",
        ) from error


def standing(book: Sequence[Entry], ts: datetime | None = None) -> Standing | None:
    """What is live, now or at the moment `ts`; None before the first promotion.

    A demotion holds for its champion, also after a rollback to it, until the same champion is
    promoted again.
    """
    past = [e for e in book if ts is None or datetime.fromisoformat(e.when) <= utc(ts)]
    changes = [entry for entry in past if entry.action in CHANGES]
    if not changes:
        return None
    held: dict[str, dict[str, str]] = {}
    for entry in past:
        if entry.new != changes[-1].new:
            continue
        if entry.action == "demote":
            reason = f"demoted by {entry.who} on {entry.when[:10]}: {entry.why}"
            held |= {regime: {"rung": r, "reason": reason} for regime, r in entry.rungs.items()}
        elif entry.action in ("promote", "override"):
            held = {}
    return Standing(changes[-1], held)


def record(book: Sequence[Entry], version: int) -> Entry | None:
    """The last entry that made `version` champion, None when it never was."""
    made = (e for e in reversed(book) if e.action in CHANGES and e.version == version)
    return next(made, None)


def knows(book: Sequence[Entry], digest: str) -> bool:
    """Whether the release ever was champion."""
    return any(entry.action in CHANGES and entry.new == digest for entry in book)


def withdrawn(book: Sequence[Entry], digest: str) -> bool:
    """Whether a rollback took the release away, so that nobody should go on with it."""
    changes = [entry for entry in book if entry.action in CHANGES]
    left = [entry for entry in changes if entry.old == digest != entry.new]
    return bool(left) and left[-1].action == "rollback" and changes[-1].new != digest


def previous(book: Sequence[Entry]) -> Entry | None:
    """The entry whose champion a rollback restores: a rollback undoes the promotion before it."""
    stack: list[Entry] = []
    for entry in book:
        if entry.action == "rollback":
            stack = stack[:-1]
        elif entry.action in CHANGES and not (stack and stack[-1].new == entry.new):
            stack.append(entry)
    return stack[-2] if len(stack) > 1 else None


def utc(moment: datetime) -> datetime:
    """The moment in UTC; one without a zone is taken to be UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
