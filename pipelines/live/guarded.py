"""A session in which a handler may raise: it is then again as it was before the event.

A copy of the session is kept, and what was applied since. A session depends on its events alone, so
the copy with these events is the session without the one that failed; its journal replays as if it
had never come.
"""

from __future__ import annotations

from contextlib import suppress

from crossimpact.policy.live.decision import Recorded
from crossimpact.policy.live.events import Event, Failed, Fill, OrderState, Snapshot
from crossimpact.policy.live.handling import TIMER, Handling
from crossimpact.policy.live.session import Session

#: Events from one copy to the next: what has to be applied again after a failure, at most.
EVERY = 20_000


class Guarded:
    """A session and the way back; see `back`."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._mark()

    def apply(self, event: Event) -> list[Recorded]:
        """As `Session.apply`; `keep` it or, whatever was raised, go `back`."""
        return self.session.apply(event)

    def keep(self, event: Event) -> None:
        """The event counts."""
        self._since.append(event)
        if len(self._since) >= EVERY:
            with suppress(MemoryError):  # the older copy does, too
                self._mark()

    def back(self) -> Handling:
        """Undo the event that was not kept; what was worked on when it raised."""
        handling, self.session = self.session.handling, self._safe
        for event in self._since:
            self.session.apply(event)
        self._mark()
        return handling

    def _mark(self) -> None:
        self._safe, self._since = self.session.copied(), list[Event]()


def told(session: Session, error: Exception, handling: Handling, event: Event) -> Failed:
    """What a session is told of a handler that raised while `event` arrived."""
    at_fault = handling.event if handling.event is not None else event
    what = "what was due" if handling.what == "timer" else type(at_fault).__name__
    arrived = {"arriving": -1, "held": handling.arrived, "timer": TIMER}[handling.what]
    symbols = () if handling.what == "timer" else _filled(session, at_fault)
    why = f"the handler of {what} failed: {type(error).__name__}: {error}"
    return Failed(why=why[:500], symbols=symbols, arrived=arrived, at=event.at)


def _filled(session: Session, event: Event) -> tuple[str, ...]:
    """Names whose fills an event tells of."""
    if isinstance(event, Fill):
        return (event.symbol,)
    parents: tuple[str, ...] = ()
    if isinstance(event, OrderState):
        parents = (event.parent,)
    elif isinstance(event, Snapshot):
        parents = (*event.filled, *event.working)
    orders = session.book.orders
    return tuple(sorted({orders[name].told.symbol for name in parents if name in orders}))
