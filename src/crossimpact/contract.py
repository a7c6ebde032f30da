"""The calibration data contract, version 2: the one declaration everything else reads.

The GX suites, the DuckDB casts, the simulator's writer and the docs page are generated from
`TABLES`. Rules that need more than one table live in `sql/checks/` and are listed in `CROSS_RULES`
by the same identifiers, so a violation report names every rule in one vocabulary.
"""

from __future__ import annotations

from typing import Literal

from crossimpact.schema import SQL_TYPE as SQL_TYPE
from crossimpact.schema import Column as Column
from crossimpact.schema import CrossRule as CrossRule
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

#: Share of duplicate keys, and of quarantined rows, above which a table blocks the refit.
MAX_DUPLICATE_SHARE = 0.001
MAX_QUARANTINE_SHARE = 0.01
#: A snapshot older than this is no state to price against, and a longer silence is a coverage gap.
MAX_SNAPSHOT_AGE_S = 60
#: A fill further than this from the prevailing mid is a violation.
MAX_FILL_DISTANCE = 0.10
#: A parent's notional against quantity x decision price.
MAX_NOTIONAL_ERROR = 0.01
#: Fractional fills add up to their order's quantity within this share of it.
MAX_OVERFILL = 1e-9
#: A row's clock may lie this far from noon UTC of its partition's date (the trading date is local).
MAX_HOURS_FROM_NOON = 36
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
    return RowRule("notional_bounded", rule, f"{price} x {quantity} is at most {BIG:g}")


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
    row_rules=(
        RowRule(
            "window_finite",
            "isfinite(decision_ts) AND isfinite(start_ts) AND isfinite(end_ts)",
            "decision, start and end are finite times",
        ),
        RowRule(
            "window_ordered",
            "decision_ts <= start_ts AND start_ts < end_ts",
            "decision_ts <= start_ts < end_ts",
        ),
        RowRule(
            "notional_consistent",
            f"abs(parent_notional - parent_qty * decision_px)"
            f" <= {MAX_NOTIONAL_ERROR} * abs(parent_qty * decision_px)",
            "parent_notional = parent_qty x decision_px within 1%",
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
    ),
    key=("fill_id", "venue"),
    row_rules=(_bounded_notional("fill_px", "fill_qty"),),
    clock="fill_ts",
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
        RowRule("book_not_crossed", "bid_px < ask_px", "locked and crossed quotes are violations"),
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
    ),
    key=(),
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

CROSS_RULES: tuple[CrossRule, ...] = (
    CrossRule("order_known", "child_fills", "quarantine", "the fill's order is in parent_orders"),
    CrossRule(
        "order_agrees", "child_fills", "quarantine", "same symbol and side as the fill's order"
    ),
    CrossRule(
        "fill_in_window", "child_fills", "quarantine", "start_ts <= fill_ts <= end_ts of its order"
    ),
    CrossRule("fill_near_mid", "child_fills", "quarantine", "within 10% of the prevailing mid"),
    CrossRule(
        "snapshot_fresh", "child_fills", "quarantine", "a snapshot no older than 60 s at the fill"
    ),
    CrossRule(
        "fill_symbol_known", "child_fills", "quarantine", "the fill's symbol is in instruments"
    ),
    CrossRule(
        "not_overfilled",
        "child_fills",
        "quarantine",
        "filled quantity, in time order, never exceeds parent_qty (within 1e-9 of it)",
    ),
    CrossRule(
        "parent_symbol_known",
        "parent_orders",
        "quarantine",
        "the parent's symbol is in instruments",
    ),
    CrossRule(
        "marks_complete",
        "parent_orders",
        "quarantine",
        "a filled parent has DECISION, ARRIVAL and CLOSE marks",
    ),
    CrossRule(
        "mark_order_known", "benchmark_marks", "quarantine", "the mark's order is in parent_orders"
    ),
    CrossRule(
        "snapshots_increase",
        "market_snapshots",
        "quarantine",
        "per symbol and file, snapshots strictly increase in time",
    ),
    CrossRule(
        "snapshot_gap",
        "market_snapshots",
        "warn",
        "per symbol, no silence of more than 60 s inside the session",
    ),
)

#: Columns the landing reader adds: where a row came from, and its text when a cell did not cast.
ORIGIN = ("date", "file", "row")
UNCAST = "uncast"

#: Rules of rows every table has beside its columns' own: key, partition date, cells that cast.
UNIQUE_KEY = "unique_key"
DATE_IN_PARTITION = "date_in_partition"
CAST = "cast"

#: Rules of a whole partition (or, the last two, of a table over all dates): breaking one blocks.
MISSING_TABLE = "missing_table"
MISSING_PARTITION = "missing_partition"
UNREADABLE = "unreadable"
COLUMN_SET = "column_set"
COLUMN_TYPE = "column_type"
ROW_COUNT = "row_count"
REPEATED_PARTITION = "repeated_partition"
DUPLICATE_SHARE = "duplicate_share"
QUARANTINE_SHARE = "quarantine_share"

CellRule = Literal["not_null", "range", "pattern", "values"]


def cell_rule_id(column: Column, rule: CellRule) -> str:
    """Identifier of a rule on one cell, `<column>.<rule>`, e.g. `fill_px.range`."""
    return f"{column.name}.{rule}"
