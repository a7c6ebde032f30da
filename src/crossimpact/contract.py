"""The calibration data contract, version 2: the one declaration everything else reads.

The GX suites, the DuckDB casts, the simulator's writer and the docs page are generated from
`TABLES`. Rules that need more than one table live in `sql/checks/` and are listed in `CROSS_RULES`
by the same identifiers, so a violation report names every rule in one vocabulary. The rules across
rows are declared in `contract_rules`, those of whole days in `day_rules`.
"""

from __future__ import annotations

from typing import Literal

from crossimpact.contract_rules import CROSS_RULES as CROSS_RULES
from crossimpact.contract_rules import ID_DATES as ID_DATES
from crossimpact.contract_rules import MAX_AFTER_END_S as MAX_AFTER_END_S
from crossimpact.contract_rules import MAX_DECISION_DISTANCE as MAX_DECISION_DISTANCE
from crossimpact.contract_rules import MAX_FEE_SHARE as MAX_FEE_SHARE
from crossimpact.contract_rules import MAX_FEE_USD as MAX_FEE_USD
from crossimpact.contract_rules import MAX_FILL_DISTANCE as MAX_FILL_DISTANCE
from crossimpact.contract_rules import MAX_HOURS_FROM_SESSION as MAX_HOURS_FROM_SESSION
from crossimpact.contract_rules import MAX_MARK_DISTANCE as MAX_MARK_DISTANCE
from crossimpact.contract_rules import MAX_MARK_SKEW_S as MAX_MARK_SKEW_S
from crossimpact.contract_rules import MAX_NOTIONAL_ERROR as MAX_NOTIONAL_ERROR
from crossimpact.contract_rules import MAX_OVERFILL as MAX_OVERFILL
from crossimpact.contract_rules import MAX_OVERNIGHT_DISTANCE as MAX_OVERNIGHT_DISTANCE
from crossimpact.contract_rules import MAX_PRINT_DISTANCE as MAX_PRINT_DISTANCE
from crossimpact.contract_rules import MAX_SNAPSHOT_AGE_S as MAX_SNAPSHOT_AGE_S
from crossimpact.contract_rules import MAX_SPREAD as MAX_SPREAD
from crossimpact.contract_rules import MAX_SPREAD_TICKS as MAX_SPREAD_TICKS
from crossimpact.contract_rules import MULTIPLE_TOLERANCE as MULTIPLE_TOLERANCE
from crossimpact.contract_rules import PARENT_DATES as PARENT_DATES
from crossimpact.day_rules import BREAK_S as BREAK_S
from crossimpact.day_rules import DAY_RULES as DAY_RULES
from crossimpact.day_rules import FROZEN_S as FROZEN_S
from crossimpact.day_rules import FROZEN_TIMES as FROZEN_TIMES
from crossimpact.day_rules import LEAST_DATES as LEAST_DATES
from crossimpact.day_rules import OUTAGE_NAMES as OUTAGE_NAMES
from crossimpact.day_rules import OUTAGE_SHARE as OUTAGE_SHARE
from crossimpact.day_rules import SAME_TIME_S as SAME_TIME_S
from crossimpact.day_rules import TRAILING_DATES as TRAILING_DATES
from crossimpact.schema import SQL_TYPE as SQL_TYPE
from crossimpact.schema import Column as Column
from crossimpact.schema import CrossRule as CrossRule
from crossimpact.schema import DayRule as DayRule
from crossimpact.schema import Limit as Limit
from crossimpact.schema import RowRule as RowRule
from crossimpact.schema import Severity as Severity
from crossimpact.schema import Table as Table
from crossimpact.schema import Type as Type

VERSION = "2"
SYMBOL_PATTERN = "^[A-Z0-9][A-Z0-9._-]{0,23}$"
#: Printable: no control, format (bidirectional overrides), private-use or line-breaking characters.
PRINTABLE = r"[^\p{C}\p{Zl}\p{Zp}]"
#: An id is opaque: whatever text the desk's systems made, blanks and quotes included.
ID_PATTERN = f"^{PRINTABLE}{{1,128}}$"
NAME_PATTERN = f"^{PRINTABLE}{{1,64}}$"

#: A trading date may be ahead of UTC's: it is already tomorrow in the east.
MAX_DAYS_AHEAD = 1
BIG = 1e15  # no notional, size or price of this platform reaches it


def _symbol() -> Column:
    return Column("symbol", "str", "ticker", pattern=SYMBOL_PATTERN)


def _id(name: str, doc: str, *, nullable: bool = False) -> Column:
    return Column(name, "str", doc, nullable=nullable, pattern=ID_PATTERN)


def _positive(name: str, doc: str) -> Column:
    return Column(name, "f64", doc, above=0.0, at_most=BIG)


def _signed(name: str, doc: str, *, nullable: bool = False) -> Column:
    return Column(name, "f64", doc, nullable=nullable, at_least=-BIG, at_most=BIG)


def _side() -> Column:
    return Column("side", "str", "BUY or SELL", values=("BUY", "SELL"))


def _ts(name: str, doc: str) -> Column:
    return Column(name, "ts", doc + " (UTC)")


def _bounded_notional(price: str, quantity: str) -> RowRule:
    notional = f"{price} * {quantity}"
    rule = f"NOT isfinite({notional}) OR {notional} <= {BIG:.0f}"  # not finite is another rule's
    return RowRule("notional_bounded", rule, f"{price} x {quantity} is at most {BIG:g}", quantity)


INSTRUMENTS = Table(
    "instruments",
    "a symbol on a date",
    (
        _symbol(),
        Column("sector", "str", "sector name", pattern=NAME_PATTERN),
        _positive("adv_notional", "trailing average daily traded notional, USD"),
        Column(
            "market_beta", "f64", "beta to the market", nullable=True, at_least=-100, at_most=100
        ),
        _positive("tick_size", "price increment"),
        _positive("lot_size", "shares per lot, may be a fraction"),
    ),
    key=("symbol",),
)

PARENT_ORDERS = Table(
    "parent_orders",
    "a parent order",
    (
        _id("order_id", "unique id of the parent"),
        _id("basket_id", "basket the parent belongs to", nullable=True),
        _symbol(),
        _side(),
        _positive("parent_qty", "ordered quantity, shares, may be fractional"),
        _positive("parent_notional", "parent_qty x decision_px within 1%, USD"),
        _ts("decision_ts", "when the decision was taken"),
        _positive("decision_px", "mid at the decision"),
        _ts("start_ts", "first moment the parent may trade"),
        _ts("end_ts", "last moment the parent may trade"),
        Column(
            "alpha_bps",
            "f64",
            "expected alpha over the horizon, signed in the order's favour, bps",
            nullable=True,
            at_least=-1e5,
            at_most=1e5,
        ),
    ),
    key=("order_id",),
    clock="start_ts",
    lasting=True,
    row_rules=(
        RowRule(
            "window_finite",
            "isfinite(decision_ts) AND isfinite(start_ts) AND isfinite(end_ts)",
            "decision, start and end are finite times",
            "end_ts",
        ),
        RowRule(
            "window_ordered",
            "decision_ts <= start_ts AND start_ts < end_ts",
            "decision_ts <= start_ts < end_ts",
            "start_ts",
        ),
        RowRule(
            "notional_consistent",
            f"abs(parent_notional - parent_qty * decision_px)"
            f" <= {MAX_NOTIONAL_ERROR} * abs(parent_qty * decision_px)",
            "parent_notional = parent_qty x decision_px within 1%",
            "parent_notional",
        ),
    ),
)

CHILD_FILLS = Table(
    "child_fills",
    "an execution",
    (
        _id("fill_id", "id of the execution, unique at its venue"),
        _id("order_id", "parent of the execution"),
        _symbol(),
        _side(),
        _ts("fill_ts", "time of the execution"),
        _positive("fill_px", "execution price"),
        _positive("fill_qty", "executed quantity, shares, may be fractional"),
        Column("venue", "str", "venue name", pattern=NAME_PATTERN),
        Column("liquidity", "str", "PASSIVE or AGGRESSIVE", values=("PASSIVE", "AGGRESSIVE")),
        _signed("fee", "fee of the execution, USD, rebates negative"),
        Column(
            "exec_type",
            "str",
            "NEW (as when null), CORRECT or BUST of the execution it refers to",
            nullable=True,
            values=("NEW", "CORRECT", "BUST"),
        ),
        _id("ref_fill_id", "execution of the same venue that it corrects or busts", nullable=True),
    ),
    key=("fill_id", "venue"),
    row_rules=(
        _bounded_notional("fill_px", "fill_qty"),
        RowRule(
            "fee_bounded",
            f"abs(fee) <= {MAX_FEE_USD} OR abs(fee) <= {MAX_FEE_SHARE} * fill_px * fill_qty",
            f"the fee is at most {MAX_FEE_USD:g} USD or {MAX_FEE_SHARE:.0%} of the notional",
            "fee",
        ),
        RowRule(
            "ref_given",
            "coalesce(exec_type, 'NEW') = 'NEW' OR ref_fill_id IS NOT NULL",
            "a correction or bust names the execution it is of",
            "ref_fill_id",
        ),
    ),
    clock="fill_ts",
    lasting=True,
)

MARKET_SNAPSHOTS = Table(
    "market_snapshots",
    "a symbol's top of book, every 1 to 5 s",
    (
        _symbol(),
        _ts("ts", "time of the snapshot"),
        _positive("bid_px", "best bid"),
        _positive("ask_px", "best ask"),
        Column("bid_size", "f64", "size at the best bid, shares", at_least=0, at_most=BIG),
        Column("ask_size", "f64", "size at the best ask, shares", at_least=0, at_most=BIG),
        Column(
            "short_vol_bps",
            "f64",
            "std of 1-snapshot mid returns over the trailing 5 minutes, bps; derived when null",
            nullable=True,
            at_least=0,
            at_most=1e5,
        ),
    ),
    key=("symbol", "ts"),
    clock="ts",
    row_rules=(
        RowRule(
            "book_not_crossed", "bid_px <= ask_px", "bid <= ask; a locked book is a state", "ask_px"
        ),
    ),
)

BENCHMARK_MARKS = Table(
    "benchmark_marks",
    "a mark of a parent order",
    (
        _id("order_id", "parent of the mark"),
        Column(
            "mark",
            "str",
            "which mark",
            values=("DECISION", "ARRIVAL", "INTERVAL_MID", "CLOSE"),
        ),
        _ts("ts", "time of the mark"),
        _positive("px", "price of the mark"),
    ),
    key=("order_id", "mark"),
    clock="ts",
)

PEER_FLOW = Table(
    "peer_flow",
    "a symbol in a bucket",
    (
        _symbol(),
        _ts("ts", "bucket start"),
        _signed("sector_flow", "net signed notional of the sector's other participants, USD"),
        _signed("factor_flow", "the same for the market factor, USD"),
    ),
    key=("symbol", "ts"),
    optional=True,
    clock="ts",
)

PUBLIC_TRADES = Table(
    "public_trades",
    "a public print",
    (
        _symbol(),
        _ts("ts", "time of the print"),
        _positive("px", "price"),
        _positive("qty", "quantity, shares"),
        Column("aggressor_side", "i64", "+1 buyer, -1 seller", values=(1, -1)),
        _id("trade_id", "id of the print, unique in its symbol", nullable=True),
        Column(
            "condition",
            "str",
            "sale condition codes, as landed",
            nullable=True,
            pattern=NAME_PATTERN,
        ),
    ),
    key=("symbol", "trade_id"),
    row_rules=(_bounded_notional("px", "qty"),),
    optional=True,
    eventful=True,
    clock="ts",
)

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        INSTRUMENTS,
        PARENT_ORDERS,
        CHILD_FILLS,
        MARKET_SNAPSHOTS,
        BENCHMARK_MARKS,
        PEER_FLOW,
        PUBLIC_TRADES,
    )
}

#: The desk's own tables: demanded together, as soon as one of them is landed on any date.
DESK_TABLES = ("parent_orders", "child_fills", "benchmark_marks")

#: Columns the landing reader adds: where a row came from, and, when a cell did not cast,
#: the row as landed (JSON) and the first such cell's column.
ORIGIN = ("file", "row")
UNCAST = "uncast"
LOST = "lost"

#: Rules of rows every table has beside its columns' own: key, partition date, cells that cast.
UNIQUE_KEY = "unique_key"
DATE_IN_PARTITION = "date_in_partition"
CAST = "cast"

#: Rules of a whole partition (two of how many of its rows are broken): breaking one blocks.
MISSING_TABLE = "missing_table"
MISSING_PARTITION = "missing_partition"
UNREADABLE = "unreadable"
COLUMN_SET = "column_set"
COLUMN_TYPE = "column_type"
ROW_COUNT = "row_count"
DUPLICATE_SHARE = "duplicate_share"
QUARANTINE_SHARE = "quarantine_share"
MANIFEST = "manifest"
#: A note, no fault: a cast that lost nothing.
COERCED = "coerced"

CellRule = Literal["not_null", "range", "pattern", "values"]


def cell_rule_id(column: Column, rule: CellRule) -> str:
    """Identifier of a rule on one cell, `<column>.<rule>`, e.g. `fill_px.range`."""
    return f"{column.name}.{rule}"
