"""The contract's rules of whole days and feeds, and the numbers they are held against.

A `DayRule` is of a date's table, or of a stretch of its feed.
"""

from __future__ import annotations

from crossimpact.contract_rules import MAX_SNAPSHOT_AGE_S
from crossimpact.schema import DayRule

#: Dates whose middle value a date is held against, and how many there must be.
TRAILING_DATES = 20
LEAST_DATES = 3
#: Names that fall silent together are a feed's outage: at least so many, and this share of them.
OUTAGE_NAMES = 3
OUTAGE_SHARE = 0.3
#: A silence of the whole market this long, on a date without any before it, is taken for a break.
BREAK_S = 2700
#: A book that does not change for so long, and much longer than it does otherwise that day.
FROZEN_S = 600
FROZEN_TIMES = 3
#: Whether two stretches are the same one of two dates, and two clocks the same.
SAME_TIME_S = 600

_MONTH = "median of the 20 landed dates before it"

DAY_RULES: tuple[DayRule, ...] = (
    DayRule(
        "market_silence",
        "market_snapshots",
        "warn",
        "no silence of every name in the session, but at a time at which there always is one",
        MAX_SNAPSHOT_AGE_S,
        _MONTH,
    ),
    DayRule(
        "feed_outage",
        "market_snapshots",
        "warn",
        "no three names, and 30% of them, fall silent at one time",
        MAX_SNAPSHOT_AGE_S,
    ),
    DayRule(
        "symbol_silence",
        "market_snapshots",
        "warn",
        "no name is silent for more than 60 s of the session by itself",
        MAX_SNAPSHOT_AGE_S,
    ),
    DayRule(
        "frozen_book",
        "market_snapshots",
        "warn",
        "no book stands still for 10 minutes, three times as long as it does otherwise that day",
        FROZEN_S,
    ),
    DayRule(
        "catchup_print",
        "public_trades",
        "warn",
        "no print is 1000 times its name's median, and 1% of its ADV",
        1000,
    ),
    DayRule(
        "clocks_agree",
        "public_trades",
        "warn",
        "prints lie in the session that the books tell (5% may not)",
        0.05,
    ),
    DayRule(
        "clocks_agree",
        "peer_flow",
        "warn",
        "peer flow lies in the session that the books tell (5% may not)",
        0.05,
    ),
    DayRule(
        "fill_clock", "child_fills", "warn", "fills are stamped as their own prints are, in s", 1.0
    ),
    DayRule(
        "peer_flow_complete",
        "peer_flow",
        "warn",
        "a row for each name and bucket (5% may be missing)",
        0.05,
    ),
    DayRule("peer_flow_zero", "peer_flow", "warn", "less than 90% of the flows are zero", 0.9),
    DayRule(
        "session_day",
        "market_snapshots",
        "warn",
        "the calendar has a session on the date; without one, no first Saturday or Sunday",
    ),
    DayRule(
        "snapshot_interval",
        "market_snapshots",
        "warn",
        "the median time between a name's books is at most 5 s",
        5.5,
    ),
    DayRule(
        "repeated_instruments",
        "instruments",
        "warn",
        "rows are not those of the date before, where they change from date to date",
        0.0,
        _MONTH,
    ),
    *(
        DayRule("rows", table, "warn", "rows, at most 1.6 times as many or as few", 1.6, _MONTH)
        for table in (
            "instruments",
            "parent_orders",
            "child_fills",
            "market_snapshots",
            "peer_flow",
            "public_trades",
        )
    ),
    DayRule(
        "symbols",
        "market_snapshots",
        "warn",
        "every name that was there on each of the dates before it",
        0.0,
        _MONTH,
    ),
    DayRule("notional", "child_fills", "warn", "USD filled, at most 4 times", 4.0, _MONTH),
    DayRule("notional", "public_trades", "warn", "USD printed, at most 4 times", 4.0, _MONTH),
    DayRule(
        "null_share", "market_snapshots", "warn", "share of nulls, at most 0.3 apart", 0.3, _MONTH
    ),
    DayRule("zero_share", "peer_flow", "warn", "share of zeros, at most 0.3 apart", 0.3, _MONTH),
    DayRule("spread", "market_snapshots", "warn", "median spread, at most 3 times", 3.0, _MONTH),
    DayRule("fee_per_share", "child_fills", "warn", "median |fee|, at most 5 times", 5.0, _MONTH),
    DayRule("adv_jump", "instruments", "warn", "a name's ADV, at most 3 times", 3.0, _MONTH),
    DayRule(
        "price_jump", "market_snapshots", "warn", "a name's price, at most 1.5 times", 1.5, _MONTH
    ),
)
