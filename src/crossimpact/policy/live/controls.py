"""What people say to a session: latched levels, its mode, its limits."""

from __future__ import annotations

from dataclasses import dataclass

from crossimpact.policy import limits
from crossimpact.policy.limits import Limits
from crossimpact.policy.live.events import (
    LEVELS,
    MODES,
    Control,
    Level,
    LimitsChange,
    Mode,
    ModeChange,
)


@dataclass
class Controls:
    """Level, mode and limits of the moment. Each method returns why nothing changed, else ""."""

    limits: Limits
    level: Level = "RUN"
    mode: Mode = "advisory"
    #: The last level that counted.
    last: Control | None = None
    #: The last mode that was asked for, whether it was taken or not.
    asked_mode: ModeChange | None = None
    #: Why the session has paused itself.
    paused_by: str = ""

    def set_level(self, event: Control) -> str:
        """Levels are latched: only a person's RUN, with a reason, takes one back."""
        if event.level == "RUN":
            if not (event.who.strip() and event.reason.strip()):
                return "a reset needs a name and a reason"
        elif LEVELS.index(event.level) <= LEVELS.index(self.level):
            return f"{event.level}: {self.level} is latched"
        self.level, self.last = event.level, event
        if event.level in ("CANCEL", "KILL"):
            self.mode = "advisory"
        return ""

    def set_mode(self, event: ModeChange) -> str:
        """One step up needs a person, evidence and no level latched; down needs nothing."""
        self.asked_mode = event
        up = MODES.index(event.to) - MODES.index(self.mode)
        if up > 0 and not (event.who.strip() and event.evidence.strip()):
            return f"{self.mode} to {event.to} needs a person and evidence"
        if up > 0 and self.level != "RUN":
            return f"{event.to} while {self.level} is latched"
        self.mode = event.to
        return ""

    def set_limits(self, event: LimitsChange) -> str:
        """Lower is taken up at once."""
        self.limits, waits = limits.lowered(self.limits, event.limits)
        return f"{', '.join(waits)} raised: that needs a restart" if waits else ""

    def pause(self, why: str) -> None:
        """By the session itself."""
        self.level, self.mode, self.paused_by = "PAUSE", "advisory", why
