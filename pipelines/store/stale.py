"""A date whose landing was refused or went away: what is live of it is older than what is landed.

Readers get the old partitions and the note. A mark speaks of the very partitions that were live
when it was made, so that it ends with them, whoever is killed when.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from pipelines.store.manifest import DAYS, parsed
from pipelines.store.settings import Run
from pipelines.store.warehouse import Warehouse

FILE = "_stale.json"


@dataclass(frozen=True)
class Stale:
    """Why a live date is not what is landed, by which run, since when; `of` names what is live."""

    date: str
    why: str
    run: str
    since: str
    of: str

    def __str__(self) -> str:
        by = " ".join(filter(None, (f"run {self.run}" if self.run else "a run", self.since)))
        return f"{self.date} is stale, kept from an earlier landing ({by}: {self.why})"


def mark(warehouse: Warehouse, date: str, why: str, run: Run) -> Stale | None:
    """Mark what is live of a date; nothing when nothing is, or when it is marked so already."""
    day, old = warehouse.day(date), find(warehouse, date)
    if day is None or (old and old.why == why):
        return old
    since = run.at.isoformat(timespec="seconds") if run.at else ""
    new = Stale(date, why, run.id, old.since if old else since, day.digest)
    content = json.dumps(asdict(new), sort_keys=True).encode()
    warehouse.files_at.replace(_key(date), content, warehouse.files_at.version(_key(date)))
    return new


def clear(warehouse: Warehouse, date: str) -> None:
    """What is live of the date is what is landed."""
    warehouse.files_at.remove(_key(date))


def find(warehouse: Warehouse, date: str) -> Stale | None:
    """The mark of a date, when it speaks of what is live."""
    content = warehouse.files_at.read(_key(date))
    found = parsed(content, _key(date), lambda plain: Stale(**plain))
    day = warehouse.day(date) if found else None
    return found if found and day and found.of == day.digest else None


def notes(warehouse: Warehouse, dates: Iterable[str]) -> list[str]:
    """A sentence for every stale one among `dates`."""
    return [str(mark) for date in dates if (mark := find(warehouse, date))]


def _key(date: str) -> str:
    return f"{DAYS}/date={date}/{FILE}"
