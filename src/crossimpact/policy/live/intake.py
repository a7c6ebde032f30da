"""Events as they arrive, given on in the order of their time, each once.

Events are held back for `REORDER` of event time and leave in the order of their time, source and
number, so that the order in which they arrive within it does not matter.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import msgspec

from crossimpact.policy.live.events import Cancel, Event, Fill, OrderState, ParentOrder, Snapshot

#: How long an event waits for others of an earlier time.
REORDER = timedelta(milliseconds=500)
#: A silence after which another day begins.
BREAK = timedelta(hours=4)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: What counts however late it comes.
NEVER_LATE = (Fill, OrderState, Snapshot, ParentOrder, Cancel)


class Skipped(NamedTuple):
    """An event that changed nothing, and why."""

    at: datetime
    why: str


class Seen:
    """Numbers that came: all up to one, and the few beyond it."""

    def __init__(self) -> None:
        self._all, self._beyond = -1, set[int]()

    def __contains__(self, number: int) -> bool:
        return number <= self._all or number in self._beyond

    def add(self, number: int) -> None:
        self._beyond.add(number)
        while self._all + 1 in self._beyond:
            self._all += 1
            self._beyond.remove(self._all)


class Intake:
    """Events that arrived and are not applied yet.

    Parameters
    ----------
    skip
        Is told of what is left out, and why.
    """

    def __init__(self, skip: Callable[[datetime, str], None]) -> None:
        self._skip = skip
        self.newest = EPOCH
        self._pending: list[tuple[datetime, str, int, int, Event]] = []
        self._arrived = 0
        self._ahead: Event | None = None
        self._seen: dict[str, Seen] = {}

    def __len__(self) -> int:
        return len(self._pending)

    def seen(self, source: str, seq: int) -> bool:
        """Whether the event of that number came already."""
        return seq >= 0 and source in self._seen and seq in self._seen[source]

    def is_new(self, event: Event) -> bool:
        """Whether it is the first of its number, which is kept; one without a number always is."""
        if event.seq < 0:
            return True
        if event.seq in self._seen.setdefault(event.source, Seen()):
            self._skip(event.at, f"duplicate {event.seq} of {event.source}")
            return False
        self._seen[event.source].add(event.seq)
        return True

    def add(self, event: Event) -> None:
        """Hold an event back until its time has come."""
        for known in self._confirmed(event):
            self._arrived += 1
            row = (known.at, known.source, known.seq, self._arrived, known)
            heapq.heappush(self._pending, row)
            self.newest = max(self.newest, known.at)

    @property
    def next_at(self) -> datetime | None:
        """When the earliest of them happened."""
        return self._pending[0][0] if self._pending else None

    def pop(self) -> tuple[int, Event]:
        """The earliest of them, and its number."""
        *_, arrived, event = heapq.heappop(self._pending)
        return arrived, event

    def drop(self, arrived: int) -> None:
        """Leave out the one of that number."""
        self._pending = [row for row in self._pending if row[3] != arrived]
        heapq.heapify(self._pending)

    def _confirmed(self, event: Event) -> list[Event]:
        """A clock that jumps ahead by more than a break is believed when a second event says so:
        one event with a wrong date must not end the day."""
        ahead, self._ahead = self._ahead, None
        if self.newest != EPOCH and event.at - self.newest > BREAK:
            if ahead is not None and abs(event.at - ahead.at) < BREAK:
                return [ahead, event]
            self._ahead = event
            return self._as_of_now(ahead)
        return [*self._as_of_now(ahead), event]

    def _as_of_now(self, event: Event | None) -> list[Event]:
        """What a wrong clock leaves of an event: what must not be lost."""
        if event is None:
            return []
        self._skip(event.at, "far ahead of all others, which no second event confirms")
        kept = isinstance(event, NEVER_LATE)
        return [msgspec.structs.replace(event, at=self.newest)] if kept else []
