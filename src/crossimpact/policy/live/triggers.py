"""Why a decision is due, and when."""

from __future__ import annotations

from datetime import datetime, timedelta

from crossimpact.policy.live.intake import EPOCH

#: Decisions of one session are at least so far apart, but for levels and cancels.
SPACING = timedelta(seconds=1)


class Triggers:
    """Reasons for the next decision; several make one."""

    def __init__(self) -> None:
        self._reasons: dict[str, None] = {}
        self._last = EPOCH
        self.due: datetime | None = None

    def add(self, why: str, now: datetime, *, at_once: bool = False) -> None:
        """A reason to decide, at the earliest `SPACING` after the last decision."""
        self._reasons[why] = None
        earliest = now if at_once else max(now, self._last + SPACING)
        self.due = min(self.due, earliest) if self.due else earliest

    def taken(self, now: datetime) -> tuple[str, ...]:
        """The reasons, in order, for the decision that is made now."""
        reasons = tuple(self._reasons)
        self.clear()
        self._last = now
        return reasons

    def clear(self) -> None:
        self._reasons, self.due = {}, None
