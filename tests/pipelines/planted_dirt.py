"""Many rows of many kinds of dirt, planted at random in a simulated day, and the rules they break.

Another desk than the demo's (`crossimpact.simulate.dirt`): its own kinds, sizes drawn at random,
and as many rows a kind as asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from crossimpact import contract
from crossimpact.simulate import DeskSpec, plan_market, simulate_day
from pipelines import simulate
from pipelines.date_report import DateReport
from pipelines.store.landing import Landing
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse
from pipelines.validate import validate_dates

F, P, S, M, B, T = (
    "child_fills", "parent_orders", "market_snapshots", "benchmark_marks", "peer_flow",
    "public_trades",
)  # fmt: skip
Hit = tuple[str, int, str]
#: What a broken cell becomes, from what it was, its order's row (of fills), and chance.
Change = Callable[[Any, dict[str, Any], np.random.Generator], Any]


@dataclass(frozen=True)
class Kind:
    """Dirt of one cell: table, column, what it becomes, the rule it breaks; `added`: in a copy."""

    table: str
    column: str
    change: Change
    rule: str
    added: bool = False


def always(value: Any) -> Change:
    return lambda cell, order, rng: value


def times(low: float, high: float) -> Change:
    return lambda cell, order, rng: cell * rng.uniform(low, high)


def seconds(low: float, high: float) -> Callable[[np.random.Generator], np.timedelta64]:
    return lambda rng: np.timedelta64(int(1e6 * rng.uniform(low, high)), "us")


def moved(low: float, high: float, of: str = "") -> Change:
    """So many seconds after it was, or after a moment of its order."""
    shift = seconds(low, high)
    return lambda cell, order, rng: (order[of] if of else cell) + shift(rng)


NAN, INF = float("nan"), float("inf")
DAY = 86400
KINDS: dict[str, Kind] = {
    "negative price": Kind(F, "fill_px", times(-2, -0.5), "fill_px.range"),
    "NaN price": Kind(F, "fill_px", always(NAN), "fill_px.range"),
    "infinite price": Kind(F, "fill_px", always(INF), "fill_px.range"),
    "no price": Kind(F, "fill_px", always(0.0), "fill_px.range"),
    "negative quantity": Kind(F, "fill_qty", times(-2, -0.5), "fill_qty.range"),
    "NaN quantity": Kind(F, "fill_qty", always(NAN), "fill_qty.range"),
    "fill without a name": Kind(F, "symbol", always(None), "symbol.not_null"),
    "lower case name": Kind(F, "symbol", lambda c, o, r: c.lower(), "symbol.pattern"),
    "other name": Kind(F, "symbol", lambda c, o, r: "ZZZZ", "order_agrees"),
    "other side": Kind(
        F, "side", lambda c, o, r: {"BUY": "SELL", "SELL": "BUY"}[c], "order_agrees"
    ),
    "unknown side": Kind(F, "side", always("B"), "side.values"),
    "order of nobody": Kind(F, "order_id", lambda c, o, r: f"{c}?", "order_known"),
    "before its order": Kind(F, "fill_ts", moved(-300, -1, "start_ts"), "fill_in_window"),
    "long after its order": Kind(F, "fill_ts", moved(11, 300, "end_ts"), "fill_in_window"),
    "stamped after the bell": Kind(F, "fill_ts", moved(1, 9, "end_ts"), "fill_after_end"),
    "above the market": Kind(F, "fill_px", times(1.2, 3), "fill_near_mid"),
    "below the market": Kind(F, "fill_px", times(0.3, 0.8), "fill_near_mid"),
    "fill again": Kind(F, "fee", lambda c, o, r: c, "unique_key", added=True),
    "more than its order": Kind(
        F, "fill_qty", lambda c, o, r: o["parent_qty"] * r.uniform(1.5, 9), "not_overfilled"
    ),
    "enormous fee": Kind(F, "fee", lambda c, o, r: r.uniform(1e7, 1e9), "fee_bounded"),
    "no venue": Kind(F, "venue", always(None), "venue.not_null"),
    "venue with a control character": Kind(F, "venue", always("X\u202e"), "venue.pattern"),
    "unknown liquidity": Kind(F, "liquidity", always("TAKER"), "liquidity.values"),
    "fill without an id": Kind(F, "fill_id", always(None), "fill_id.not_null"),
    "fill of another month": Kind(F, "fill_ts", moved(-40 * DAY, -30 * DAY), "date_in_partition"),
    "negative bid": Kind(S, "bid_px", times(-2, -0.5), "bid_px.range"),
    "NaN ask": Kind(S, "ask_px", always(NAN), "ask_px.range"),
    "crossed book": Kind(S, "ask_px", times(0.9, 0.99), "book_not_crossed"),
    "negative size": Kind(S, "bid_size", times(-2, -0.5), "bid_size.range"),
    "stub quote": Kind(S, "ask_px", times(4, 9), "spread_bounded"),
    "yesterday's book": Kind(S, "ts", moved(-DAY, -DAY), "date_in_partition", added=True),
    "book again": Kind(S, "bid_size", times(1, 2), "unique_key", added=True),
    "book without a name": Kind(S, "symbol", always(None), "symbol.not_null"),
    "window upside down": Kind(P, "end_ts", moved(-9, -1, "start_ts"), "window_ordered", True),
    "notional off": Kind(P, "parent_notional", times(1.05, 2), "notional_consistent", True),
    "order of an unknown name": Kind(P, "symbol", always("ZZZZ"), "parent_symbol_known", True),
    "order for nothing": Kind(P, "parent_qty", always(0.0), "parent_qty.range", True),
    "mark off the market": Kind(M, "px", times(1.5, 9), "mark_near_mid"),
    "mark hours early": Kind(M, "ts", moved(-36000, -25200), "mark_in_window"),
    "unknown mark": Kind(M, "mark", always("OPEN"), "mark.values"),
    "NaN flow": Kind(B, "sector_flow", always(NAN), "sector_flow.range"),
    "flow off its grid": Kind(B, "ts", moved(-60, -1), "peer_on_grid"),
    "infinite flow": Kind(B, "factor_flow", always(-INF), "factor_flow.range"),
    "print without a side": Kind(T, "aggressor_side", always(0), "aggressor_side.values"),
    "print off the market": Kind(T, "px", times(1.05, 2), "print_near_mid"),
    "NaN print": Kind(T, "qty", always(NAN), "qty.range"),
    "print again": Kind(T, "qty", lambda c, o, r: c, "repeated_print", added=True),
    "print of tomorrow": Kind(T, "ts", moved(DAY, DAY), "date_in_partition"),
}
Columns = dict[str, NDArray[Any]]
CASCADES = {rule.id for rule in contract.CROSS_RULES if rule.cascade}


@dataclass(frozen=True)
class Recall:
    """What was planted and what was found: by (table, row, rule) and date.

    Attributes
    ----------
    planted
        Hits per kind.
    found
        Every hit, cascades left out.
    clean
        Hits of the same days before anything was planted.
    """

    planted: dict[str, set[tuple[str, Hit]]]
    found: set[tuple[str, Hit]]
    clean: set[tuple[str, Hit]]

    @property
    def recall(self) -> float:
        """Share of planted rows found under the right rule."""
        every = set().union(*self.planted.values())
        return len(every & self.found) / len(every)

    @property
    def false_positives(self) -> set[tuple[str, Hit]]:
        """Hits of rows that nobody touched."""
        rows = {(d, table, row) for hits in self.planted.values() for d, (table, row, _) in hits}
        return {hit for hit in self.found if (hit[0], *hit[1][:2]) not in rows} - self.clean


def recall(root: Path, spec: DeskSpec, rows: int) -> Recall:
    """Judge a simulated desk clean, then with up to `rows` rows of each kind on every date."""
    truth, rng = plan_market(spec), np.random.default_rng(spec.seed)
    planted: dict[str, set[tuple[str, Hit]]] = {name: set() for name in KINDS}
    for day, date in enumerate(spec.dates):
        tables = simulate_day(truth, day)
        simulate._write_day(root / "clean", date, tables)
        copies = {name: {k: v.copy() for k, v in table.items()} for name, table in tables.items()}
        for kind, hit in plant(copies, rows, rng):
            planted[kind].add((date, hit))
        simulate._write_day(root / "dirty", date, copies)
    clean, dirty = (judged(root, name) for name in ("clean", "dirty"))
    return Recall(planted, dirty, clean)


def judged(root: Path, name: str) -> set[tuple[str, Hit]]:
    """Every (date, (table, row, rule)) of a landing zone, cascades left out."""
    landing, settings = Landing(root / name), Settings(root / f"{name}-home")
    reports: list[DateReport] = validate_dates(settings, landing, landing.all_dates())
    assert not any(report.problems for report in reports)
    hits = set()
    for report in reports:
        for table in report.rules:
            (path,) = Warehouse(settings).files("violations", table, [report.date])
            for row in pq.ParquetFile(path).read(["row", "rule_id"]).to_pylist():
                if row["rule_id"] not in CASCADES:
                    hits.add((report.date, (table, row["row"], row["rule_id"])))
    return hits


def plant(
    tables: dict[str, Columns], rows: int, rng: np.random.Generator
) -> Iterator[tuple[str, Hit]]:
    """Break rows of a day in place, none of them twice."""
    orders = _orders(tables[P])
    free = {name: list(rng.permutation(_free(tables[name], name))) for name in tables}
    for name, kind in KINDS.items():
        for _ in range(min(rows, len(free[kind.table]) // 4)):
            columns = tables[kind.table]
            row = int(free[kind.table].pop())
            order = orders.get(columns["order_id"][row], {}) if "order_id" in columns else {}
            if kind.added:
                row = _append(columns, row)
                if kind.table == P:
                    columns["order_id"][row] = f"{columns['order_id'][row]}-{name}-{row}"
            columns[kind.column][row] = kind.change(columns[kind.column][row], order, rng)
            yield name, (kind.table, row, kind.rule)


def _orders(parents: Columns) -> dict[str, dict[str, Any]]:
    names = [*parents]
    rows = zip(*parents.values(), strict=True)
    return {row[0]: dict(zip(names, row, strict=True)) for row in rows}


def _free(columns: Columns, name: str) -> NDArray[np.int64]:
    """Rows that may be broken: of marks those on which no other row hangs."""
    size = len(next(iter(columns.values())))
    if name == M:
        return np.flatnonzero(columns["mark"] == "INTERVAL_MID")
    return np.arange(size)


def _append(columns: Columns, row: int) -> int:
    for name, values in columns.items():
        columns[name] = np.concatenate([values, values[[row]]])
    return len(values)
