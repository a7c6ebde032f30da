"""A date as the shadow reads it: market, orders, what was executed, from accepted rows, marts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossimpact.alignment import Alignment
from crossimpact.errors import CrossImpactError
from crossimpact.scaled import BPS, Array
from crossimpact.shadow.day import Day, Orders, Schedule, flows
from crossimpact.shadow.evidence import SUPPORT
from crossimpact.shadow.tables import Status
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse, scalar, sql

Columns = dict[str, NDArray[Any]]
#: By which a window may end after the last bucket and still be of the date, buckets.
LATE = 1.0


@dataclass(frozen=True)
class Recorded:
    """A date as it was: the day, what was executed, realized shortfalls by order (USD), and the
    baskets with an order that lasts beyond the date."""

    day: Day
    executed: Schedule
    realized_usd: Array
    spanning: frozenset[str]


def read(settings: Settings, date: str) -> Recorded:
    """The date from its partitions.

    Raises
    ------
    CrossImpactError
        When it has no parent orders, no public prints, or no prices.
    """
    warehouse = Warehouse(settings)
    for table in ("parent_orders", "public_trades"):
        manifest = warehouse.manifest("accepted", table, date)
        if manifest is None or not manifest.rows:
            what = {"parent_orders": "parent orders", "public_trades": "public trades: no volume"}
            raise CrossImpactError(
                f"{date} has no accepted {what[table]}, and without it there is no shadow",
                "land it, then run `crossimpact validate`",
            )
    market, orders, fills = _columns(settings, warehouse, date)
    if not (market["volume_usd"] > 0).any():
        raise CrossImpactError(
            f"{date} has no market volume beside the desk's own fills", "land all public_trades"
        )
    return _recorded(settings, date, market, orders, fills)


def mids(settings: Settings, date: str, day: Day) -> Array:
    """Mids of another date on a day's names and buckets, shape (B + 1, n); a name it does not have
    stands still."""
    warehouse = Warehouse(settings)
    with warehouse.connect() as connection:
        warehouse.attach(connection, settings.feature_layer, "buckets", [date], view=True)
        market = _fetched(connection.execute(sql("shadow/mids"), {"bucket_s": settings.bucket_s}))
    names = [str(name) for name in np.unique(market["symbol"])]
    found = _mids(market, int(market["t"].max()) + 1, len(names))
    rows = np.minimum(np.arange(day.shape[0] + 1), len(found) - 1)
    moved = Alignment.between(names, day.symbols)(found[rows], missing=1.0)
    return np.where(np.isfinite(moved), moved, 1.0)


def most_participation(settings: Settings, dates: Sequence[str], buckets: int) -> float:
    """The participation at or below which the share `SUPPORT` of the desk's notional on these dates
    was traded; 0 where it never traded, so that everything is beyond it."""
    warehouse = Warehouse(settings)
    with warehouse.connect() as connection:
        warehouse.attach(connection, settings.feature_layer, "buckets", dates, view=True)
        asked = {"buckets": buckets, "share": SUPPORT}
        return float(scalar(connection, sql("shadow/history"), asked) or 0.0)


def statuses(recorded: Recorded, known: NDArray[np.bool_]) -> tuple[Status, ...]:
    """Of each basket in order; `known` names have a model."""
    day, orders = recorded.day, recorded.day.orders
    traded = (day.volume > 0).T[orders.name] & (day.overlap > 0)
    labels, place = orders.by_basket
    without = set(place[~traded.any(axis=1)].tolist())
    unknown = set(place[~known[orders.name]].tolist())

    def status(k: int, label: str) -> Status:
        if label in recorded.spanning:
            return "spans days"
        if k in unknown:
            return "unknown name"
        return "no volume" if k in without else "ok"

    return tuple(status(k, label) for k, label in enumerate(labels))


def _columns(
    settings: Settings, warehouse: Warehouse, date: str
) -> tuple[Columns, Columns, Columns]:
    bucket = {"bucket_s": settings.bucket_s}
    with warehouse.connect() as connection:
        _attach(connection, settings, warehouse, date)
        for layer, table in (
            ("accepted", "parent_orders"), ("accepted", "child_fills"), ("marts", "tca_orders"),
        ):  # fmt: skip
            warehouse.attach(connection, layer, table, [date], view=True)
        return (
            _fetched(connection.execute(sql("shadow/market"), bucket)),
            _fetched(connection.execute(sql("shadow/orders"))),
            _fetched(connection.execute(sql("shadow/fills"), bucket)),
        )


def _attach(connection: Any, settings: Settings, warehouse: Warehouse, date: str) -> None:
    for layer, table in (
        (settings.feature_layer, "buckets"), (settings.feature_layer, "regimes"),
        ("accepted", "public_trades"),
    ):  # fmt: skip
        warehouse.attach(connection, layer, table, [date], view=True)


def _fetched(result: Any) -> Columns:
    """Columns as arrays, a missing number as NaN."""
    found = {}
    for name, column in result.fetchnumpy().items():
        masked = np.ma.asarray(column)
        is_number = masked.dtype.kind == "f"
        found[name] = np.ma.filled(masked, np.nan) if is_number else np.ma.filled(masked)
    return found


def _recorded(
    settings: Settings, date: str, market: Columns, orders: Columns, fills: Columns
) -> Recorded:
    symbols = tuple(str(name) for name in np.unique(market["symbol"]))
    B, n = int(market["t"].max()) + 1, len(symbols)
    mid = _mids(market, B, n)
    priced = np.asarray(np.isfinite(mid).all(axis=0), dtype=bool)
    grid = _Grid(market["ts"][market["t"] == 0][0], np.timedelta64(settings.bucket_s, "s"), B)
    parents, orders = _orders(date, grid, symbols, priced, orders)
    wide = {name: _wide(market, name, B, n) for name in ("spread_bps", "volume_usd", "q_usd")}
    day = Day(
        date=date,
        symbols=symbols,
        adv=_by_name(market, "adv_notional", n),
        opens=_moment(grid.first),
        bucket_min=settings.bucket_s / 60,
        regimes=_regimes(market, B),
        mid=np.where(priced, mid, 1.0),
        half_spread=np.nan_to_num(wide["spread_bps"]) * BPS / 2,
        volume=np.where(priced, np.nan_to_num(wide["volume_usd"]), 0.0),
        orders=parents,
        other_flow=np.zeros((B, n)),
    )
    executed = _executed(day, fills, grid)
    rest = np.nan_to_num(wide["q_usd"]) - flows(day, executed)
    late = grid.at(orders["end_ts"]) > B + LATE
    spanning = frozenset(b for b, out in zip(parents.baskets, late, strict=True) if out)
    whole = replace(day, other_flow=_orphans(day, fills, rest))
    return Recorded(whole, executed, orders["realized_usd"].astype(float), spanning)


@dataclass(frozen=True)
class _Grid:
    """When the first bucket begins, how wide they are, and how many."""

    first: np.datetime64
    width: np.timedelta64
    buckets: int

    def at(self, moments: NDArray[Any]) -> Array:
        """Moments in buckets since the first one began."""
        return np.asarray((moments - self.first) / self.width, dtype=np.float64)


def _orders(
    date: str, grid: _Grid, symbols: Sequence[str], priced: NDArray[np.bool_], orders: Columns
) -> tuple[Orders, Columns]:
    """The orders of names with prices, and their columns."""
    place = {symbol: i for i, symbol in enumerate(symbols)}
    there = np.array([s in place and bool(priced[place[s]]) for s in orders["symbol"]], dtype=bool)
    if not there.any():
        raise CrossImpactError(
            f"no parent order of {date} is of a name with prices", "check its snapshots"
        )
    kept = {name: column[there] for name, column in orders.items()}
    last = float(grid.buckets)
    return Orders(
        ids=tuple(map(str, kept["order_id"])),
        baskets=tuple(map(str, kept["basket_id"])),
        name=np.array([place[s] for s in kept["symbol"]], dtype=np.intp),
        quantity=kept["quantity"].astype(float),
        decision_px=kept["decision_px"].astype(float),
        start=np.clip(grid.at(kept["start_ts"]), 0.0, np.nextafter(last, 0.0)),
        end=np.clip(grid.at(kept["end_ts"]), 0.0, last),
        alpha_bps=kept["alpha_bps"].astype(float),
    ), kept


def _orphans(day: Day, fills: Columns, rest: Array) -> Array:
    """Own flow of orders that are not the date's, where there are fills of such."""
    known = set(day.orders.ids)
    return rest if any(str(o) not in known for o in fills["order_id"]) else np.zeros_like(rest)


def _executed(day: Day, fills: Columns, grid: _Grid) -> Schedule:
    place = {order: k for k, order in enumerate(day.orders.ids)}
    shares, crossing = np.zeros((2, len(place), grid.buckets))
    bucket = np.clip(grid.at(fills["ts"]).astype(int), 0, grid.buckets - 1)
    at = np.array([place.get(str(order), -1) for order in fills["order_id"]], dtype=np.intp)
    ours = at >= 0
    for total, name in ((shares, "shares"), (crossing, "crossing")):
        np.add.at(total, (at[ours], bucket[ours]), fills[name][ours])
    return Schedule(shares, crossing)


def _wide(market: Columns, name: str, buckets: int, names: int) -> Array:
    values = np.full((buckets, names), np.nan)
    values[market["t"], market["i"]] = market[name]
    return values


def _by_name(market: Columns, name: str, names: int) -> Array:
    values = np.zeros(names)
    values[market["i"]] = market[name]
    return values


def _mids(market: Columns, buckets: int, names: int) -> Array:
    """At each bucket's start and the close; the last known one where there is no book, the first
    known one before; NaN of a name without any."""
    starts, ends = (_wide(market, f"mid_{side}", buckets, names) for side in ("start", "end"))
    mid = np.vstack((starts, np.full((1, names), np.nan)))
    mid[1:] = np.where(np.isfinite(mid[1:]), mid[1:], ends)
    for order in (range(1, buckets + 1), range(buckets - 1, -1, -1)):
        step = 1 if order.start == 1 else -1
        for b in order:
            mid[b] = np.where(np.isfinite(mid[b]), mid[b], mid[b - step])
    return mid


def _regimes(market: Columns, buckets: int) -> tuple[str, ...]:
    labels = ["unknown"] * buckets
    for t, regime in zip(market["t"].tolist(), market["regime"], strict=True):
        labels[t] = str(regime)
    return tuple(labels)


def _moment(value: Any) -> datetime:
    return datetime.fromtimestamp(value.astype("datetime64[us]").astype(int) / 1e6, UTC)
