"""Findings that are not of a row: what a date's feed did, and how it differs from the month before.

They are held against the landed dates before it (never against what a home holds), so the findings
of a date are the same whichever dates are asked.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

from crossimpact import contract
from pipelines.feed import Stretch, together
from pipelines.profile import Profile
from pipelines.trading_day import TradingDay

#: Names listed in a text.
SHOWN = 10
#: A number is a multiple of its month's median, or apart from it (shares).
APART = ("null_share", "zero_share")


@dataclass(frozen=True)
class Finding:
    """A day or feed rule that a date breaks.

    Attributes
    ----------
    rule, table, severity
        As declared; `note` is no fault.
    symbols
        Names it concerns, none when it is the whole table.
    start, end, duration_s
        The stretch of the feed, ISO 8601 in UTC; empty and 0 for the whole date.
    value, limit
        The number and what it was held against.
    text
        What happened, in a sentence.
    """

    rule: str
    table: str
    severity: str
    text: str
    symbols: tuple[str, ...] = ()
    start: str = ""
    end: str = ""
    duration_s: float = 0.0
    value: float | None = None
    limit: float | None = None

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "symbols": list(self.symbols)}

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Finding:
        """Inverse of `to_dict`."""
        return cls(**{**plain, "symbols": tuple(plain["symbols"])})


def findings(
    date: str, own: Profile, month: Sequence[Profile], day: TradingDay, dates: Sequence[str]
) -> list[Finding]:
    """All findings of a date.

    Parameters
    ----------
    date, own, day
        The date, its profile and its session.
    month
        Profiles of the landed dates before it, the last one last.
    dates
        Those dates.
    """
    return [
        *_feed(own, month, day),
        *_session(date, own, day, dates),
        *_numbers(own, month),
        *_names(own, month),
    ]


def _rule(rule: str, table: str) -> contract.DayRule:
    return next(r for r in contract.DAY_RULES if (r.id, r.table) == (rule, table))


def _found(rule: str, table: str, text: str, **facts: Any) -> Finding:
    declared = _rule(rule, table)
    return Finding(rule, table, declared.severity, text, **{"limit": declared.limit, **facts})


def _stretch(rule: str, stretch: Stretch, text: str, table: str = "market_snapshots") -> Finding:
    start, end = _iso(stretch.start), _iso(stretch.end)
    where = f"{start[11:19]} to {end[11:19]} UTC, {stretch.seconds:.0f} s"
    return _found(
        rule, table, f"{text}, {where}", symbols=stretch.names, start=start, end=end,
        duration_s=round(stretch.seconds, 6), value=round(stretch.seconds, 6),
    )  # fmt: skip


def _feed(own: Profile, month: Sequence[Profile], day: TradingDay) -> Iterator[Finding]:
    for stretch in own.market:
        if not _is_break(stretch, own, month, day):
            text = f"the whole feed is silent ({len(stretch.names)} names)"
            yield _stretch("market_silence", stretch, text)
    prints = dict(zip(own.single, own.prints_in, strict=True))
    wide, single = together(list(own.single), len(own.names))
    for stretch in wide:
        share = f"{len(stretch.names)} of {len(own.names)} names fall silent together"
        yield _stretch("feed_outage", stretch, f"{share}: {_listed(stretch.names)}")
    for stretch in single:
        count = prints.get(stretch, 0)
        why = (
            f"{count} prints meanwhile: its book is one-sided, locked at a limit, or not delivered"
            if count
            else "no print meanwhile: it is halted, or its whole feed is down"
        )
        yield _stretch("symbol_silence", stretch, f"{stretch.names[0]} alone is silent ({why})")
    for stretch in own.still:
        yield _stretch("frozen_book", stretch, f"the book of {stretch.names[0]} stands still")
    for name, at, multiple in own.catchups:
        text = f"a print of {name} is {multiple:,.0f} times its median"
        yield _found("catchup_print", "public_trades", f"{text}, {_iso(at)[11:19]} UTC",
                     symbols=(name,), start=_iso(at), end=_iso(at), value=multiple)  # fmt: skip


def _is_break(stretch: Stretch, own: Profile, month: Sequence[Profile], day: TradingDay) -> bool:
    """Between two of the calendar's hours, or at a time of day at which most dates have one."""
    if day.hours:
        inside = ((a.timestamp() * 1e6, b.timestamp() * 1e6) for a, b in day.hours)
        return not any(
            a < stretch.end and stretch.start < b and _long(stretch, a, b) for a, b in inside
        )
    if not month:
        return stretch.seconds >= contract.BREAK_S
    alike = (any(_same_time(stretch, own, other, past) for other in past.market) for past in month)
    return sum(alike) * 2 >= len(month)


def _long(stretch: Stretch, first: float, last: float) -> bool:
    overlap = min(stretch.end, last) - max(stretch.start, first)
    return overlap > contract.MAX_SNAPSHOT_AGE_S * 1e6


def _same_time(a: Stretch, own: Profile, b: Stretch, past: Profile) -> bool:
    """The same stretch of two days, an hour's change of clocks aside."""
    limit, hour = contract.SAME_TIME_S * 1e6, 3.6e9
    moves = [(getattr(a, edge) - own.midnight_us) - (getattr(b, edge) - past.midnight_us)
             for edge in ("start", "end")]  # fmt: skip
    return any(all(abs(move - shift) <= limit for move in moves) for shift in (0.0, hour, -hour))


def _session(date: str, own: Profile, day: TradingDay, dates: Sequence[str]) -> Iterator[Finding]:
    weekend = datetime.fromisoformat(date).weekday() >= 5
    table = "market_snapshots"
    if day.closed:
        yield _found("session_day", table, f"the calendar has no session on {date}")
    elif not day.hours and weekend and not any(_is_weekend(other) for other in dates):
        span = (own.close_us - own.open_us) / 3.6e9
        if span < 20:
            name = datetime.fromisoformat(date).strftime("%A")
            yield _found("session_day", table, f"{date} is a {name}, as no landed date before it")
    for table in ("public_trades", "peer_flow"):
        share, declared = own.numbers.get(f"clocks_agree.{table}"), _rule("clocks_agree", table)
        if share is not None and share > declared.limit:
            text = f"{share:.0%} of the rows lie outside the session that the books tell, "
            text += f"{_iso(own.midnight_us + own.open_us)[11:19]} to "
            text += f"{_iso(own.midnight_us + own.close_us)[11:19]} UTC: shifted by an hour?"
            yield _found("clocks_agree", table, text, value=share)


def _is_weekend(date: str) -> bool:
    return datetime.fromisoformat(date).weekday() >= 5


def _numbers(own: Profile, month: Sequence[Profile]) -> Iterator[Finding]:
    number = own.numbers.get
    lag = number("fill_clock.child_fills")
    if lag is not None and abs(lag) > _rule("fill_clock", "child_fills").limit:
        text = f"fills are stamped {lag:+.1f} s from the prints of the same price and size"
        yield _found("fill_clock", "child_fills", text, value=lag)
    gap = number("snapshot_interval.market_snapshots")
    if gap is not None and gap > _rule("snapshot_interval", "market_snapshots").limit:
        text = f"a name's books are {gap:.0f} s apart, the contract's are 1 to 5 s"
        yield _found("snapshot_interval", "market_snapshots", text, value=gap)
    if number("rows.peer_flow"):
        yield from _peer_flow(own, month)
    if month and own.instruments == month[-1].instruments and _changes(month):
        text = "the rows are those of the date before"
        yield _found("repeated_instruments", "instruments", text)
    for rule in contract.DAY_RULES:
        values = [past.numbers.get(f"{rule.id}.{rule.table}") for past in month]
        usual = [value for value in values if value is not None]
        value = number(f"{rule.id}.{rule.table}")
        if rule.window and value is not None and len(usual) >= contract.LEAST_DATES:
            yield from _against(rule, value, usual)


def _changes(month: Sequence[Profile]) -> bool:
    digests = [past.instruments for past in month]
    return len(digests) >= contract.LEAST_DATES and len(set(digests)) == len(digests)


def _peer_flow(own: Profile, month: Sequence[Profile]) -> Iterator[Finding]:
    number, table = own.numbers.get, "peer_flow"
    names = len(own.names)
    absent = 1 - (number("symbols.peer_flow") or 0) / names if names else 0.0
    shares = (number("sparse.peer_flow") or 0.0, number("short.peer_flow") or 0.0, absent)
    limit = _rule("peer_flow_complete", table).limit
    if max(shares) > limit:
        what = ("of the rows of its names and buckets", "of the session", "of the names")
        text = f"{max(shares):.0%} {what[shares.index(max(shares))]} have no peer flow"
        yield _found("peer_flow_complete", table, text, value=max(shares))
    zero = number("zero_share.peer_flow")
    limit = _rule("peer_flow_zero", table).limit
    usual = [past.numbers.get("zero_share.peer_flow") or 0.0 for past in month]
    always = len(usual) >= contract.LEAST_DATES and min(usual) >= limit  # a desk without peers
    if zero is not None and zero >= limit and not always:
        yield _found("peer_flow_zero", table, f"{zero:.0%} of the flows are zero", value=zero)


def _against(rule: contract.DayRule, value: float, usual: Sequence[float]) -> Iterator[Finding]:
    middle = median(usual)
    if rule.id in APART:
        if abs(value - middle) > rule.limit:
            text = f"{rule.id.replace('_', ' ')} {value:.0%}, the month's median {middle:.0%}"
            yield _found(rule.id, rule.table, text, value=value)
        return
    if middle <= 0 or value < 0:
        return
    limit = max(rule.limit, _spread(usual))
    if value == 0 or not 1 / limit <= value / middle <= limit:
        text = f"{rule.id.replace('_', ' ')} {value:,.6g}, the month's median {middle:,.6g}"
        yield _found(rule.id, rule.table, text, value=value / middle, limit=limit)


def _spread(usual: Sequence[float]) -> float:
    """What the month itself varies by: five of its median deviations from its middle."""
    middle = median(usual)
    moves = [abs(math.log(value / middle)) for value in usual if value > 0]
    return math.exp(5 * 1.4826 * median(moves)) if moves else 1.0


def _names(own: Profile, month: Sequence[Profile]) -> Iterator[Finding]:
    if len(month) >= contract.LEAST_DATES:
        always = set.intersection(*(set(past.names) for past in month))
        if lost := tuple(sorted(always - set(own.names))):
            text = f"{len(lost)} of {len(always)} names have no book: {_listed(lost)}"
            yield _found("symbols", "market_snapshots", text, symbols=lost, value=len(lost))
    for rule, table in (("adv_jump", "instruments"), ("price_jump", "market_snapshots")):
        limit = _rule(rule, table).limit
        moves = {}
        for name, value in own.by_name.get(rule, {}).items():
            usual = [x for past in month[-5:] if (x := past.by_name[rule].get(name)) is not None]
            if usual and not 1 / limit <= value / median(usual) <= limit:
                moves[name] = value / median(usual)
        if moves:
            worst = max(moves, key=lambda name: abs(math.log(moves[name])))
            what = f"{rule.partition('_')[0]} of {len(moves)} names, {worst} x{moves[worst]:.3g}"
            yield _found(rule, table, f"{what}: {_listed(tuple(moves))}",
                         symbols=tuple(sorted(moves)), value=moves[worst])  # fmt: skip


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _iso(us: int) -> str:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
