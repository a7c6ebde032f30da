"""A waiver: somebody answers, until a day, for rows that break a rule of the data contract.

Waived rows are shown and counted apart, never hidden. A waiver that has expired does not count, and
whoever judges tells so.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from crossimpact.errors import UsageError


@dataclass(frozen=True, order=True)
class Waiver:
    """What is waived, by whom, why, and until when.

    Attributes
    ----------
    rule, table
        The rule's identifier and the table whose rows or days may break it.
    owner, reason
        Who answers for it, and why it is right to go on.
    expires
        Its last day, by the calendar of whoever judges ('YYYY-MM-DD').
    symbols
        Tickers it is limited to; none: every one, and findings of no ticker.
    first, last
        Trading dates it is limited to, both included; empty: no end on that side.

    Raises
    ------
    UsageError
        When a text is empty, or a date is none, or the range is upside down.
    """

    rule: str
    table: str
    owner: str
    reason: str
    expires: str
    symbols: tuple[str, ...] = ()
    first: str = ""
    last: str = ""

    def __post_init__(self) -> None:
        for name in ("rule", "table", "owner", "reason"):
            if not getattr(self, name).strip():
                raise UsageError(f"a waiver's {name} is empty", "say all four")
        for name in ("expires", "first", "last"):
            text = getattr(self, name)
            if text or name == "expires":
                _check_date(name, text)
        if self.first and self.last and self.first > self.last:
            raise UsageError(f"waiver of {self.rule}: it ends ({self.last}) before {self.first}")

    def active(self, today: str) -> bool:
        """Whether it still counts on `today`, its last day included; no day known, it does not."""
        return bool(today) and today <= self.expires

    def covers(self, rule: str, table: str, day: str, symbol: str = "") -> bool:
        """Whether it speaks of this rule, table, trading date and ticker."""
        in_range = (not self.first or self.first <= day) and (not self.last or day <= self.last)
        known = not self.symbols or symbol in self.symbols
        return (rule, table) == (self.rule, self.table) and in_range and known

    def __str__(self) -> str:
        names = f" of {', '.join(self.symbols)}" if self.symbols else ""
        span = f" from {self.first or 'the first date'} to {self.last or 'the last'}"
        dates = span if self.first or self.last else ""
        return (
            f"{self.table}.{self.rule}{names}{dates}, by {self.owner} until {self.expires}: "
            f"{self.reason}"
        )


@dataclass(frozen=True)
class Waivers:
    """The waivers known to whoever judges, and the day it is for them."""

    known: tuple[Waiver, ...] = ()
    today: str = ""

    @property
    def active(self) -> tuple[Waiver, ...]:
        return tuple(waiver for waiver in self.known if waiver.active(self.today))

    @property
    def expired(self) -> tuple[Waiver, ...]:
        return tuple(waiver for waiver in self.known if not waiver.active(self.today))

    def of(self, tables: Iterable[str], day: str) -> tuple[Waiver, ...]:
        """The active ones that may speak of a trading date."""
        return tuple(
            waiver
            for waiver in self.active
            if waiver.table in tables
            and (not waiver.first or waiver.first <= day)
            and (not waiver.last or day <= waiver.last)
        )


NO_WAIVERS = Waivers()


def _check_date(name: str, text: str) -> None:
    try:
        if date.fromisoformat(text).isoformat() == text:
            return
    except ValueError:
        pass  # told below, with dates of another spelling
    raise UsageError(f"a waiver's {name} {text!r} is not a date", "write it like 2026-03-27")
