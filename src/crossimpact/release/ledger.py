"""Who was champion when, and which rungs it was held to: the ledger of promotions.

Kept outside MLflow, whose aliases and tags any editor can move. Four actions change what is live:
`promote`, `override` (promoted in spite of a gate) and `rollback` name a champion, `demote` holds
regimes of it to lower rungs of the fallback ladder until it is promoted again. Two only
record what was seen: `fallback` (a reader could not use the champion, and who answered instead) and
`drift` (a weekly verdict). How lines are kept and checked is the business of `hash_chain`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from crossimpact.errors import StaleModel, UsageError
from crossimpact.ladder import Rung
from crossimpact.release import entry, hash_chain
from crossimpact.release.content import Hold
from crossimpact.release.entry import CHANGES, Action, Entry, Identity
from crossimpact.release.hash_chain import Verdict, hold

__all__ = [
    "CHANGES",
    "Action",
    "Entry",
    "Identity",
    "LedgerWriter",
    "LiveChampion",
    "Verdict",
    "hold",
]

#: By how much the clocks of two machines may differ and both still promote.
SKEW = timedelta(minutes=5)


@dataclass(frozen=True)
class LiveChampion:
    """What is live: the entry that made the champion, and what demoted regimes are held to."""

    champion: Entry
    held: Mapping[str, Hold] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        return self.champion.new or ""

    @property
    def version(self) -> int:
        return self.champion.version or 0


class LedgerWriter:
    """The ledger while its lock is held; see `locked`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries = entries(path)

    @property
    def standing(self) -> LiveChampion | None:
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
        last = self.entries[-1].moment if self.entries else utc(when)
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
        rungs: Mapping[str, Rung] | None = None,
        identity: Identity = "name",
    ) -> Entry:
        """Add one line and return once it is on disk; without `new` the champion stays."""
        live = self.standing
        if action not in CHANGES:
            new, version = (live.digest, live.version) if live else (None, None)
        last = self.entries[-1] if self.entries else None
        added = Entry(
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
            prev=hash_chain.sha256(last.line) if last else hash_chain.GENESIS,
            identity=identity,
        )
        try:
            entry.parse(vars(added))
        except ValueError as error:
            raise UsageError(f"the ledger takes no such line: {error}") from error
        hash_chain.append(self.path, [past.line for past in self.entries], added.line)
        self.entries = [*self.entries, added]
        return added


@contextmanager
def locked(path: Path, wait_s: float = hash_chain.WAIT_S) -> Iterator[LedgerWriter]:
    """Hold the ledger: whoever writes to it does it one at a time, and waits for nobody inside.

    Raises
    ------
    Unavailable
        When another process does not let go within `wait_s`.
    """
    with hold(path.with_suffix(".lock"), wait_s):
        yield LedgerWriter(path)


def entries(path: Path) -> list[Entry]:
    """All entries that count, oldest first; none when there is no file yet.

    Raises
    ------
    StaleModel
        Naming the first bad line when the chain is broken, or a line that is no entry.
    """
    result, verdict = _read(path)
    if not verdict.usable:
        raise StaleModel(
            f"ledger {path} is broken at line {verdict.line}: {verdict.problem}",
            "restore it and its .head from a copy; `crossimpact ledger verify` checks them",
        )
    return result


def verify(path: Path) -> Verdict:
    """Check the chain and every value in it, and name the first bad line."""
    return _read(path)[1]


def _read(path: Path) -> tuple[list[Entry], Verdict]:
    bodies, verdict = hash_chain.read(path)
    result: list[Entry] = []
    for number, body in enumerate(bodies, start=1):
        try:
            result.append(_after(result, entry.parse(body)))
        except ValueError as error:
            return result, Verdict(len(result), number, f"it is no entry: {error}")
    return result, verdict


def _after(past: Sequence[Entry], new: Entry) -> Entry:
    """The order of the file is the order of time."""
    if past and new.moment < past[-1].moment:
        raise ValueError(f"when is {new.when}, before the line above it")
    return new


def standing(book: Sequence[Entry], ts: datetime | None = None) -> LiveChampion | None:
    """What is live, now or at the moment `ts`; None before the first promotion.

    A demotion holds for its champion, also after a rollback to it, until the same champion is
    promoted again.
    """
    past = [e for e in book if ts is None or e.moment <= utc(ts)]
    changes = [line for line in past if line.action in CHANGES]
    if not changes:
        return None
    held: dict[str, Hold] = {}
    for line in past:
        if line.new != changes[-1].new:
            continue
        if line.action == "demote":
            reason = f"demoted by {line.who} on {line.when[:10]}: {line.why}"
            held |= {regime: Hold(rung, reason) for regime, rung in line.rungs.items()}
        elif line.action in ("promote", "override"):
            held = {}
    return LiveChampion(changes[-1], held)


def record(book: Sequence[Entry], version: int) -> Entry | None:
    """The last entry that made `version` champion, None when it never was."""
    made = (e for e in reversed(book) if e.action in CHANGES and e.version == version)
    return next(made, None)


def knows(book: Sequence[Entry], digest: str) -> bool:
    """Whether the release ever was champion."""
    return any(line.action in CHANGES and line.new == digest for line in book)


def withdrawn(book: Sequence[Entry], digest: str) -> bool:
    """Whether a rollback took the release away, so that nobody should go on with it."""
    changes = [line for line in book if line.action in CHANGES]
    left = [line for line in changes if line.old == digest != line.new]
    return bool(left) and left[-1].action == "rollback" and changes[-1].new != digest


def previous(book: Sequence[Entry]) -> Entry | None:
    """The entry whose champion a rollback restores: a rollback undoes the promotion before it."""
    stack: list[Entry] = []
    for line in book:
        if line.action == "rollback":
            stack = stack[:-1]
        elif line.action in CHANGES and not (stack and stack[-1].new == line.new):
            stack.append(line)
    return stack[-2] if len(stack) > 1 else None


def utc(moment: datetime) -> datetime:
    """The moment in UTC; one without a zone is taken to be UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
