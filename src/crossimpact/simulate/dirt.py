"""Broken rows, each with the contract rule it breaks.

A broken row breaks nothing else: broken parents have no fills, a gap in the snapshots has no fill
in it, a dead instrument is traded by nobody. So the rows with a violation are the rows named here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from crossimpact import contract
from crossimpact.simulate.columns import Tables
from crossimpact.simulate.market import Truth
from crossimpact.simulate.orders import PARENTS_PER_SYMBOL

#: Share of a table's rows that may be broken: safely below what blocks.
MAX_SHARE = 0.9 * min(table.quarantined.share for table in contract.TABLES.values())
#: Every kind appears about once in so many days.
_DAYS_PER_ROUND = 10
_GAP_S = 180


@dataclass(frozen=True)
class Spoiled:
    """A broken row: its table, its 0-based row in the day's file, the rule it breaks."""

    table: str
    row: int
    rule: str


@dataclass
class _Day:
    """A day's tables while they are being spoiled."""

    tables: Tables
    truth: Truth
    rng: np.random.Generator
    touched: set[tuple[str, int]] = field(default_factory=set)

    def pick(self, table: str, rows: NDArray[Any]) -> int:
        """An untouched row among `rows`; -1 when there is none."""
        free = [row for row in self.rng.permutation(rows)[:50] if (table, row) not in self.touched]
        row = int(free[0]) if free else -1
        self.touched.add((table, row))
        return row

    def any_row(self, table: str) -> int:
        return self.pick(table, np.arange(self.size(table)))

    def size(self, table: str) -> int:
        return len(next(iter(self.tables[table].values())))

    def append(self, table: str, source: int, **changes: Any) -> int:
        """A copy of row `source` with `changes`, at the end of the file."""
        for name, values in self.tables[table].items():
            extra = values[[source]]
            extra[0] = changes.get(name, extra[0])
            self.tables[table][name] = np.concatenate([values, extra])
        row = self.size(table) - 1
        self.touched.add((table, row))
        return row


@dataclass(frozen=True)
class _Kind:
    """A way to break a row: returns the row, or -1 when the day offers none."""

    table: str
    rule: str
    spoil: Callable[[_Day], int]


def _cell(
    table: str,
    column: str,
    rule: str,
    change: Callable[[Any], Any],
    where: tuple[str, str] | None = None,
) -> _Kind:
    """One cell of a random row (of those `where` a column has a value) is changed."""

    def spoil(day: _Day) -> int:
        columns = day.tables[table]
        rows = np.flatnonzero(columns[where[0]] == where[1]) if where else None
        row = day.any_row(table) if rows is None else day.pick(table, rows)
        if row >= 0:
            columns[column][row] = change(columns[column][row])
        return row

    return _Kind(table, _rule(table, column, rule), spoil)


def _rule(table: str, column: str, rule: str) -> str:
    """The contract's identifier: a rule on a cell carries its column's name."""
    columns = {column.name: column for column in contract.TABLES[table].columns}
    kinds: dict[str, contract.CellRule] = {kind: kind for kind in get_args(contract.CellRule)}
    return contract.cell_rule_id(columns[column], kinds[rule]) if rule in kinds else rule


def _snapshot_gap(day: _Day) -> int:
    """Three minutes of silence of a name the desk does not trade then; the row that ends it."""
    snapshots, fills = day.tables["market_snapshots"], day.tables["child_fills"]
    rows = 1 + _GAP_S // day.truth.spec.snapshot_s
    for _ in range(200):
        start = int(day.rng.integers(0, day.size("market_snapshots") - rows))
        symbol, ts = snapshots["symbol"][start], snapshots["ts"]
        if snapshots["symbol"][start + rows] != symbol:
            continue
        during = (fills["fill_ts"] >= ts[start]) & (fills["fill_ts"] <= ts[start + rows])
        if not (during & (fills["symbol"] == symbol)).any():
            silent = np.arange(start + 1, start + rows)
            for name, values in snapshots.items():
                snapshots[name] = np.delete(values, silent)
            day.touched |= {("market_snapshots", start), ("market_snapshots", start + 1)}
            return start + 1
    return -1


def _snapshot_out_of_order(day: _Day) -> int:
    """Two neighbours of one name change places; the second is late."""
    columns = day.tables["market_snapshots"]
    same = columns["symbol"][1:] == columns["symbol"][:-1]
    row = day.pick("market_snapshots", np.flatnonzero(same))
    for values in columns.values():
        values[[row, row + 1]] = values[[row + 1, row]]
    day.touched.add(("market_snapshots", row + 1))
    return row + 1


def _duplicate_fill(day: _Day) -> int:
    """A fill takes the id and the venue of the one before."""
    fills = day.tables["child_fills"]
    row = day.pick("child_fills", np.arange(1, len(fills["fill_id"])))
    if row >= 0:
        for name in contract.CHILD_FILLS.key:
            fills[name][row] = fills[name][row - 1]
        day.touched.add(("child_fills", row - 1))
    return row


def _parent_of(day: _Day, fill: int) -> int:
    order = day.tables["child_fills"]["order_id"][fill]
    return int(np.argmax(day.tables["parent_orders"]["order_id"] == order))


def _fill_outside_window(day: _Day) -> int:
    row = day.any_row("child_fills")
    if row >= 0:
        start = day.tables["parent_orders"]["start_ts"][_parent_of(day, row)]
        day.tables["child_fills"]["fill_ts"][row] = start - np.timedelta64(30, "s")
    return row


def _fill_after_end(day: _Day) -> int:
    """A last fill three seconds after the bell, which is accepted and warned of."""
    row = day.any_row("child_fills")
    if row >= 0:
        end = day.tables["parent_orders"]["end_ts"][_parent_of(day, row)]
        day.tables["child_fills"]["fill_ts"][row] = end + np.timedelta64(3, "s")
    return row


def _overfill(day: _Day) -> int:
    """A last fill at the end of the window, larger than the whole parent."""
    source = day.any_row("child_fills")
    if source < 0:
        return -1
    parents, parent = day.tables["parent_orders"], _parent_of(day, source)
    return day.append(
        "child_fills",
        source,
        fill_id=f"{day.tables['child_fills']['fill_id'][source]}-over",
        fill_ts=parents["end_ts"][parent],
        fill_qty=parents["parent_qty"][parent] + day.truth.lot.max(),
    )


def _parent(rule: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> _Kind:
    """One more parent, never filled, broken by `change`."""

    def spoil(day: _Day) -> int:
        source = day.any_row("parent_orders")
        if source < 0:
            return -1
        record = {name: values[source] for name, values in day.tables["parent_orders"].items()}
        order_id = f"{record['order_id']}-{rule}"
        return day.append("parent_orders", source, order_id=order_id, **change(record))

    return _Kind("parent_orders", rule, spoil)


def _stub_quote(day: _Day) -> int:
    """An ask of four times the market, for one snapshot in which the desk does not trade."""
    snapshots, fills = day.tables["market_snapshots"], day.tables["child_fills"]
    traded = np.isin(snapshots["symbol"], fills["symbol"])
    row = day.pick("market_snapshots", np.flatnonzero(~traded) if (~traded).any() else _quiet(day))
    if row >= 0:
        snapshots["ask_px"][row] *= 4
    return row


def _quiet(day: _Day) -> NDArray[Any]:
    """Snapshots of the session's first seconds, before any fill."""
    ts, first = day.tables["market_snapshots"]["ts"], day.tables["child_fills"]["fill_ts"].min()
    return np.flatnonzero((ts > ts.min()) & (ts < first))


def _print_again(day: _Day) -> int:
    source = day.any_row("public_trades")
    return -1 if source < 0 else day.append("public_trades", source)


def _decision_before_split(order: dict[str, Any]) -> dict[str, Any]:
    return {
        "decision_px": 10 * order["decision_px"],
        "parent_notional": 10 * order["decision_px"] * order["parent_qty"],
    }


def _dead_instrument(day: _Day) -> int:
    return day.append("instruments", 0, symbol="DEAD.NAME", adv_notional=0.0)


def _nan(_: Any) -> float:
    return float("nan")


def _inf(_: Any) -> float:
    return float("inf")


#: In order of precedence; what moves rows comes before what names them.
KINDS: dict[str, _Kind] = {
    "snapshot gap": _Kind("market_snapshots", "snapshot_gap", _snapshot_gap),
    "snapshot out of order": _Kind(
        "market_snapshots", "snapshots_increase", _snapshot_out_of_order
    ),
    "negative bid": _cell("market_snapshots", "bid_px", "range", lambda px: -px),
    "crossed book": _cell("market_snapshots", "ask_px", "book_not_crossed", lambda px: 0.99 * px),
    "NaN ask": _cell("market_snapshots", "ask_px", "range", _nan),
    "infinite bid size": _cell("market_snapshots", "bid_size", "range", _inf),
    "zero adv": _Kind(
        "instruments", _rule("instruments", "adv_notional", "range"), _dead_instrument
    ),
    "inverted window": _parent(
        "window_ordered", lambda order: {"start_ts": order["end_ts"], "end_ts": order["start_ts"]}
    ),
    "notional off": _parent(
        "notional_consistent", lambda order: {"parent_notional": 1.05 * order["parent_notional"]}
    ),
    "parent of unknown symbol": _parent("parent_symbol_known", lambda _: {"symbol": "GHOST"}),
    "negative fill price": _cell("child_fills", "fill_px", "range", lambda px: -px),
    "null symbol": _cell("child_fills", "symbol", "not_null", lambda _: None),
    "fill of unknown symbol": _cell(
        "child_fills", "symbol", "fill_symbol_known", lambda _: "GHOST"
    ),
    "bad side": _cell("child_fills", "side", "values", lambda _: "HOLD"),
    "unknown order": _cell("child_fills", "order_id", "order_known", lambda _: "P-GHOST"),
    "fill far from mid": _cell("child_fills", "fill_px", "fill_near_mid", lambda px: 1.5 * px),
    "fill outside window": _Kind("child_fills", "fill_in_window", _fill_outside_window),
    "duplicate fill": _Kind("child_fills", contract.UNIQUE_KEY, _duplicate_fill),
    "overfill": _Kind("child_fills", "not_overfilled", _overfill),
    "closing print": _Kind("child_fills", "fill_after_end", _fill_after_end),
    "fee of a billion": _cell("child_fills", "fee", "fee_bounded", lambda _: 1e9),
    "fill off tick": _cell("child_fills", "fill_px", "fill_on_tick", lambda px: px + 0.0013),
    "stub quote": _Kind("market_snapshots", "spread_bounded", _stub_quote),
    "decision before split": _parent("decision_near_mid", _decision_before_split),
    "parent off lot": _parent(
        "parent_on_lot",
        lambda order: {
            "parent_qty": order["parent_qty"] + 0.5,
            "parent_notional": (order["parent_qty"] + 0.5) * order["decision_px"],
        },
    ),
    "peer flow off its grid": _cell(
        "peer_flow", "ts", "peer_on_grid", lambda ts: ts - np.timedelta64(37, "s")
    ),
    "print far from mid": _cell("public_trades", "px", "print_near_mid", lambda px: 1.048 * px),
    "print again": _Kind("public_trades", "repeated_print", _print_again),
    "mark before split": _cell(
        "benchmark_marks", "px", "mark_near_mid", lambda px: 10 * px, where=("mark", "INTERVAL_MID")
    ),
    "mark ten hours early": _cell(
        "benchmark_marks",
        "ts",
        "mark_in_window",
        lambda ts: ts - np.timedelta64(10, "h"),
        where=("mark", "INTERVAL_MID"),
    ),
    "mark of unknown order": _cell(
        "benchmark_marks",
        "order_id",
        "mark_order_known",
        lambda _: "P-GHOST",
        where=("mark", "INTERVAL_MID"),
    ),
    "NaN peer flow": _cell("peer_flow", "sector_flow", "range", _nan),
    "print without side": _cell("public_trades", "aggressor_side", "values", lambda _: 0),
    "print of another day": _cell(
        "public_trades",
        "ts",
        contract.DATE_IN_PARTITION,
        lambda ts: ts - np.timedelta64(30, "D"),
    ),
}


def plan_dirt(truth: Truth) -> dict[int, list[str]]:
    """Kinds of broken rows by day: few enough that no table of the whole landing zone blocks.

    A table too small for one broken row stays clean; at most one instrument is broken.
    """
    rng, days = truth.spec.stream(4), truth.spec.days
    budget = {table: int(MAX_SHARE * rows) for table, rows in _least_rows(truth).items()}
    budget["instruments"] = min(1, budget["instruments"])
    plan: dict[int, list[str]] = {}
    when = {name: rng.permutation(days) for name in KINDS}
    for k in range(max(1, days // _DAYS_PER_ROUND)):
        for name, kind in KINDS.items():
            if budget[kind.table] > 0:
                budget[kind.table] -= 1
                plan.setdefault(int(when[name][k]), []).append(name)
    return plan


def _least_rows(truth: Truth) -> dict[str, float]:
    """Rows every table has at least, in the whole landing zone."""
    spec = truth.spec
    per_symbol_day = {
        "instruments": 1,
        "parent_orders": PARENTS_PER_SYMBOL,
        "child_fills": 40,
        "market_snapshots": spec.buckets * spec.steps,
        "benchmark_marks": 4 * PARENTS_PER_SYMBOL,
        "peer_flow": spec.buckets,
        "public_trades": 500,
    }
    return {table: rows * spec.symbols * spec.days for table, rows in per_symbol_day.items()}


def spoil(tables: Tables, truth: Truth, day: int, kinds: list[str]) -> tuple[Tables, list[Spoiled]]:
    """Break rows of a day.

    Parameters
    ----------
    tables
        From `simulate_day`; left as they are.
    truth, day
        What the tables came from.
    kinds
        Names in `KINDS`, from `plan_dirt`; one the day offers no room for is left out.

    Returns
    -------
    tuple
        The spoiled tables, and every broken row with its rule.
    """
    copies = {
        name: {column: values.copy() for column, values in columns.items()}
        for name, columns in tables.items()
    }
    state, spoiled = _Day(copies, truth, truth.spec.stream(5, day)), []
    for kind in (KINDS[name] for name in sorted(kinds, key=list(KINDS).index)):
        row = kind.spoil(state)
        if row >= 0:
            spoiled.append(Spoiled(kind.table, row, kind.rule))
    return copies, spoiled
