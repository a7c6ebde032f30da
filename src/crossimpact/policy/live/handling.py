"""Whose handler runs: what is left out where it raises."""

from __future__ import annotations

from typing import Literal, NamedTuple

from crossimpact.policy.live.events import Event

#: Of `Failed.arrived`: a reading or a plan that was due.
TIMER = -2


class Handling(NamedTuple):
    """What a session works on: the event that arrives, one that was held back, with its number, or
    what is due by itself."""

    what: Literal["arriving", "held", "timer"]
    event: Event | None = None
    arrived: int = -1
