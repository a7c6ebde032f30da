"""Which rows belong to a trading date: a named calendar's session, or the one the data tell.

A zone may name its market in `<landing>/calendar.toml`:

    exchange = "XNYS"                      # of `exchange_calendars`; or the hours themselves:
    zone = "Asia/Shanghai"
    hours = [["09:30", "11:30"], ["13:00", "15:00"]]
    closed = ["2026-11-27"]                # besides: days without a session,
    hours_on = {"2026-12-24" = [["09:30", "13:00"]]}   # and days with other hours
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any
from zoneinfo import ZoneInfo

from crossimpact import contract
from crossimpact.errors import UsageError
from pipelines.store.checked import checked

FILE = "calendar.toml"
#: Middle of a session, in hours after its date's midnight UTC, all around the world.
EARLIEST, LATEST = -2.0, 26.0
NOON = 12.0
Hours = tuple[tuple[datetime, datetime], ...]


@dataclass(frozen=True)
class Calendar:
    """What a zone says of its market: an exchange by its code, or a time zone and its hours."""

    exchange: str = ""
    zone: str = ""
    hours: list[list[str]] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    hours_on: dict[str, list[list[str]]] = field(default_factory=dict)

    def session(self, date: str) -> Hours:
        """The date's trading hours in UTC, breaks left out; none on a day without a session."""
        if date in self.closed:
            return ()
        if own := self.hours_on.get(date, [] if self.exchange else self.hours):
            zone = ZoneInfo(self.zone) if self.zone else _exchange(self.exchange, int(date[:4])).tz
            return tuple((_at(date, a, zone), _at(date, b, zone)) for a, b in own)
        return _exchange_hours(self.exchange, date) if self.exchange else ()


@dataclass(frozen=True)
class TradingDay:
    """A date's 24 hours, its trading hours where a calendar is named, and where both come from."""

    start: datetime
    end: datetime
    hours: Hours
    closed: bool
    source: str


def calendar(root: Path) -> Calendar | None:
    """What the landing zone says of its market, if it does.

    Raises
    ------
    UsageError
        When the file says anything else, or names an exchange or zone nobody knows.
    """
    path = root / FILE
    if not path.is_file():
        return None
    hint = "name an exchange, or a zone and hours; see pipelines/trading_day.py"
    try:
        found = checked(Calendar, tomllib.loads(path.read_text()), str(path), hint)
        if not (found.exchange or (found.zone and found.hours)):
            raise ValueError("neither an exchange nor a zone with hours")
        found.session("2024-01-03")
    except (ValueError, KeyError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path}: {error}", hint) from error
    return found


def trading_day(
    date: str, named: Calendar | None, middle: Callable[[str], float | None], earlier: Sequence[str]
) -> TradingDay:
    """The 24 hours around the middle of the date's session.

    Parameters
    ----------
    date
        The trading date.
    named
        The zone's calendar, if it has one.
    middle
        Middle of what is landed under a date, in hours after its midnight UTC (None: nothing).
    earlier
        Landed dates before it, the last first: where its own rows lie elsewhere, theirs hold.
    """
    midnight = datetime.fromisoformat(date).replace(tzinfo=UTC)
    hours = named.session(date) if named else ()
    if hours:
        centre, source = hours[0][0] + (hours[-1][1] - hours[0][0]) / 2, f"calendar {FILE}"
    else:
        centre, source = midnight + timedelta(hours=_usual(date, middle, earlier)), "the data"
    reach = timedelta(hours=contract.MAX_HOURS_FROM_SESSION)
    closed = named is not None and not hours
    return TradingDay(centre - reach, centre + reach, hours, closed, source)


def _usual(date: str, middle: Callable[[str], float | None], earlier: Sequence[str]) -> float:
    own = middle(date)
    others = [m for other in earlier if (m := middle(other)) is not None and _possible(m)]
    usual = median(others) if others else (own if own is not None and _possible(own) else NOON)
    here = (
        own is not None and _possible(own) and abs(own - usual) <= contract.MAX_HOURS_FROM_SESSION
    )
    return float(own if here and own is not None else usual)


def _possible(middle: float) -> bool:
    return EARLIEST <= middle <= LATEST


def _at(date: str, clock: str, zone: Any) -> datetime:
    return datetime.combine(
        datetime.fromisoformat(date), time.fromisoformat(clock), zone
    ).astimezone(UTC)


@cache
def _exchange(code: str, year: int) -> Any:
    import exchange_calendars  # seconds of imports for those who name an exchange

    try:
        return exchange_calendars.get_calendar(code, f"{year - 1}-12-01", f"{year + 1}-01-31")
    except exchange_calendars.errors.InvalidCalendarName as error:
        raise ValueError(f"exchange {code!r} is in no calendar") from error


def _exchange_hours(code: str, date: str) -> Hours:
    known = _exchange(code, int(date[:4]))
    if not known.is_session(date):
        return ()
    names = ("session_open", "session_break_start", "session_break_end", "session_close")
    times = [getattr(known, name)(date) for name in names]
    marks = [t.to_pydatetime() for t in times if t == t]  # a day without a break has no times of it
    return tuple(zip(marks[::2], marks[1::2], strict=True))
