"""What a check found: well, worth a look, or wrong; the number against its limit; what to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

State = Literal["ok", "warn", "wrong"]
#: Gives the time, UTC; the command line has one.
Clock = Callable[[], datetime]


@dataclass(frozen=True)
class Check:
    """One check: its name, state, what was found, what it may be at most, and what to do."""

    check: str
    state: State
    found: str
    limit: str = ""
    todo: str = ""

    def __str__(self) -> str:
        limit = f" (limit: {self.limit})" if self.limit else ""
        return f"{self.found}{limit}" + (f"; {self.todo}" if self.todo else "")

    def named(self, name: str) -> Check:
        return replace(self, check=name)


def ok(found: str, limit: str = "") -> Check:
    """Nothing to do."""
    return Check("", "ok", found, limit)


def warn(found: str, limit: str = "", todo: str = "") -> Check:
    """It works, and somebody should know."""
    return Check("", "warn", found, limit, todo)


def wrong(found: str, limit: str = "", todo: str = "") -> Check:
    """Something does not work, or is not safe."""
    return Check("", "wrong", found, limit, todo)
