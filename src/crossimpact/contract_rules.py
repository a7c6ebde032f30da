"""The contract's rules across rows and tables, and every number they are held against.

A `CrossRule` is a query in `sql/checks/<id>.sql`, judged in the order given: each sees the rows
that those before it condemned; those of a book alone are the tape's (`pipelines/tape.py`).
"""

from __future__ import annotations

from crossimpact.schema import CrossRule, Limit

#: A snapshot older than this is no state to price against, and a longer silence is a coverage gap.
MAX_SNAPSHOT_AGE_S = 60
#: A fill, a decision price or a mark further than this from the prevailing mid is a violation.
MAX_FILL_DISTANCE = 0.10
MAX_DECISION_DISTANCE = 0.10
MAX_MARK_DISTANCE = 0.10
#: Nor may a price from before the day's first book be this far from it: the night moves prices.
MAX_OVERNIGHT_DISTANCE = 0.40
#: A public print further than this from the prevailing mid is not aggressor flow.
MAX_PRINT_DISTANCE = 0.03
#: A spread (share of the mid) beyond which a book prices nothing, by least ADV (USD); or ticks.
MAX_SPREAD = ((1e7, 0.10), (1e6, 0.20), (0.0, 0.50))
MAX_SPREAD_TICKS = 5
#: A parent's notional against quantity x decision price.
MAX_NOTIONAL_ERROR = 0.01
#: Fractional fills add up to their order's quantity within this share of it.
MAX_OVERFILL = 1e-9
#: A fee above both is no fee.
MAX_FEE_USD = 100.0
MAX_FEE_SHARE = 0.05
#: A closing print is stamped after the bell: so long after its order's end it still counts.
MAX_AFTER_END_S = 10
#: Clocks of marks and of their orders may differ by this.
MAX_MARK_SKEW_S = 60
#: Prices and quantities are multiples of tick and lot within this share of one.
MULTIPLE_TOLERANCE = 1e-3
#: A row lies this close to the middle of its trading date's session: a day is 24 hours.
MAX_HOURS_FROM_SESSION = 12
#: A fill may name a parent of so many trading dates before; ids are unique over so many.
PARENT_DATES = 10
ID_DATES = 20

CROSS_RULES: tuple[CrossRule, ...] = (
    CrossRule(
        "snapshots_increase",
        "market_snapshots",
        "quarantine",
        "per symbol and file, snapshots strictly increase in time",
        "ts",
    ),
    CrossRule(
        "spread_bounded",
        "market_snapshots",
        "quarantine",
        "the spread is at most 10% of the mid (20% below 1e7 USD ADV, 50% below 1e6), or 5 ticks",
        "ask_px",
    ),
    CrossRule(
        "in_session",
        "market_snapshots",
        "quarantine",
        "the book lies in the named calendar's session: outside it books are indicative",
        "ts",
        state=True,
    ),
    CrossRule(
        "snapshot_gap",
        "market_snapshots",
        "warn",
        "per symbol, no silence of more than 60 s inside the session",
        "ts",
    ),
    CrossRule(
        "print_near_mid", "public_trades", "quarantine", "within 3% of the prevailing mid", "px"
    ),
    CrossRule(
        "repeated_print",
        "public_trades",
        "warn",
        "no print of the same file, time, price, size and side landed before it",
        "ts",
        limit=Limit(0.01, 5),
    ),
    CrossRule(
        "print_in_two_files",
        "public_trades",
        "quarantine",
        "no other file of the date holds the same print",
        "ts",
    ),
    CrossRule(
        "peer_on_grid",
        "peer_flow",
        "quarantine",
        "bucket starts lie on the date's one grid",
        "ts",
    ),
    CrossRule(
        "busted",
        "child_fills",
        "quarantine",
        "a bust, and the execution it removes, are no executions",
        "exec_type",
        state=True,
    ),
    CrossRule(
        "corrected",
        "child_fills",
        "quarantine",
        "a corrected execution is replaced by its correction",
        "exec_type",
        state=True,
    ),
    CrossRule(
        "ref_known",
        "child_fills",
        "quarantine",
        "what a correction or bust names was executed that date, for its order at its venue",
        "ref_fill_id",
    ),
    CrossRule(
        "correction_series",
        "child_fills",
        "warn",
        "no two executions differ only in price and the last part of their id",
        "fill_id",
    ),
    CrossRule(
        "order_known",
        "child_fills",
        "quarantine",
        "the fill's order is a parent of the date or the 10 landed before it",
        "order_id",
    ),
    CrossRule(
        "order_agrees",
        "child_fills",
        "quarantine",
        "same symbol and side as the fill's order",
        "side",
    ),
    CrossRule(
        "fill_in_window",
        "child_fills",
        "quarantine",
        "start_ts <= fill_ts <= end_ts of its order, or a few seconds after it",
        "fill_ts",
    ),
    CrossRule(
        "fill_after_end",
        "child_fills",
        "warn",
        "fill_ts <= end_ts of its order (10 s later it is accepted, as a closing auction's print)",
        "fill_ts",
    ),
    CrossRule(
        "fill_near_mid",
        "child_fills",
        "quarantine",
        "within 10% of the prevailing mid",
        "fill_px",
    ),
    CrossRule(
        "snapshot_fresh",
        "child_fills",
        "quarantine",
        "a snapshot no older than 60 s at the fill",
        "fill_ts",
    ),
    CrossRule(
        "fill_symbol_known",
        "child_fills",
        "quarantine",
        "the fill's symbol is in instruments",
        "symbol",
    ),
    CrossRule(
        "fill_on_tick", "child_fills", "warn", "the price is a multiple of half a tick", "fill_px"
    ),
    CrossRule(
        "fill_on_lot", "child_fills", "warn", "the quantity is a multiple of the lot", "fill_qty"
    ),
    CrossRule(
        "not_overfilled",
        "child_fills",
        "quarantine",
        "no fill, nor, in time order, the quantity filled exceeds parent_qty (within 1e-9)",
        "fill_qty",
    ),
    CrossRule(
        "parent_symbol_known",
        "parent_orders",
        "quarantine",
        "the parent's symbol is in instruments",
        "symbol",
    ),
    CrossRule(
        "decision_near_mid",
        "parent_orders",
        "quarantine",
        "decision_px within 10% of the mid at decision_ts (before the first book: 40% of that)",
        "decision_px",
    ),
    CrossRule(
        "parent_on_lot",
        "parent_orders",
        "warn",
        "the quantity is a multiple of the lot",
        "parent_qty",
    ),
    CrossRule(
        "mark_order_known",
        "benchmark_marks",
        "quarantine",
        "the mark's order is a parent of the date or the 10 landed before it",
        "order_id",
    ),
    CrossRule(
        "mark_in_window",
        "benchmark_marks",
        "quarantine",
        "within 60 s: no mark before the decision, DECISION at it, ARRIVAL before the end",
        "ts",
    ),
    CrossRule(
        "mark_near_mid",
        "benchmark_marks",
        "quarantine",
        "within 10% of the mid at the mark's time (before the first book: 40% of that)",
        "px",
    ),
    CrossRule(
        "marks_complete",
        "parent_orders",
        "quarantine",
        "a filled parent has DECISION, ARRIVAL and CLOSE marks",
        "order_id",
    ),
    CrossRule(
        "mark_refused",
        "parent_orders",
        "quarantine",
        "none of the filled parent's DECISION, ARRIVAL and CLOSE marks is refused",
        "order_id",
        cascade=True,
    ),
    CrossRule(
        "instrument_refused",
        "parent_orders",
        "quarantine",
        "the instruments row of the parent's symbol is accepted",
        "symbol",
        cascade=True,
        query="parent_instrument_refused",
    ),
    CrossRule(
        "instrument_refused",
        "child_fills",
        "quarantine",
        "the instruments row of the fill's symbol is accepted",
        "symbol",
        cascade=True,
    ),
    CrossRule(
        "parent_refused",
        "child_fills",
        "quarantine",
        "the fill's order is accepted",
        "order_id",
        cascade=True,
    ),
    CrossRule(
        "parent_refused",
        "benchmark_marks",
        "quarantine",
        "the mark's order is accepted",
        "order_id",
        cascade=True,
        query="mark_parent_refused",
    ),
)
