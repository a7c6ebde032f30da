"""A date's own flow as the library reads it, and what the models say of it as relations.

`read_day` makes dense arrays of the date's buckets; `causes` asks the library whose flow moved the
mids; `predictions`, `levels` and `own_left` give that back as rows, for the money to be summed in
SQL.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from crossimpact.attribution import own_carried
from crossimpact.errors import CrossImpactError
from crossimpact.model import Array, ImpactModel
from crossimpact.tca import Prediction, peer_moves, purified_market
from pipelines.store.warehouse import Warehouse, sql

Index = NDArray[np.intp]


@dataclass(frozen=True)
class Day:
    """A date's flows as the library wants them, (T, n): own q and the peers', over ADV; moves of
    the mids, bps, NaN where unknown; starts and regimes of its buckets, its names, its cells."""

    moments: tuple[datetime, ...]
    regimes: tuple[str, ...]
    symbols: tuple[str, ...]
    q: Array
    adv: Array
    beta: Array
    moves: Array
    sector_flow: Array
    factor_flow: Array
    cells: pa.Table

    def places(self, table: pa.Table) -> tuple[NDArray[np.bool_], Index, Index]:
        """Which rows of a relation with `ts` and `symbol` lie in the day, and their (t, i)."""
        t = _places(self.moments, table["ts"].to_pylist())
        i = _places(self.symbols, table["symbol"].to_pylist())
        inside = (t >= 0) & (i >= 0)
        return inside, t[inside], i[inside]


@dataclass(frozen=True)
class Causes:
    """Whose flow moved the mids, (T, n): the desk's by prediction, its peers' and the market's, bps
    over each bucket; `variance` (n,) of what is left a bucket, bps squared, NaN where unknown."""

    prediction: Prediction
    peers: Array
    market: Array
    variance: Array


def extent(warehouse: Warehouse, date: str) -> tuple[datetime, datetime]:
    """First and last moment at which a release is asked for a price: a decision, a bucket."""
    layer = warehouse.settings.feature_layer
    with warehouse.connect() as connection:
        for name, table in (("accepted", "parent_orders"), (layer, "buckets")):
            warehouse.attach(connection, name, table, [date], view=True)
        found = connection.execute(sql("marts/tca_extent")).fetchone()
    if found is None or found[1] is None:
        raise CrossImpactError(f"{date} has no bucket in layer {layer}", "build the features first")
    return found[0], found[1]


def read_day(connection: duckdb.DuckDBPyConnection) -> Day:
    """The date's own flow, densely: no cell means nothing could be measured, and counts as zero."""
    cells = connection.sql(sql("marts/tca_flow")).to_arrow_table()
    t, i = (cells[name].to_numpy() for name in ("t", "i"))
    symbols, first_of_symbol = np.unique(i, return_index=True)
    buckets, first_of_bucket = np.unique(t, return_index=True)

    def wide(name: str, missing: float = 0.0) -> Array:
        values = np.full((len(buckets), len(symbols)), missing)
        values[t, i] = cells[name].to_numpy()
        return values

    return Day(
        tuple(cells["ts"].take(first_of_bucket).to_pylist()),
        tuple(cells["regime"].take(first_of_bucket).to_pylist()),
        tuple(cells["symbol"].take(first_of_symbol).to_pylist()),
        wide("q_adv"),
        cells["adv_notional"].to_numpy()[first_of_symbol],
        cells["market_beta"].to_numpy()[first_of_symbol],
        wide("move_bps", np.nan),
        wide("sector_flow_adv"),
        wide("factor_flow_adv"),
        cells,
    )


def causes(day: Day, prediction: Prediction, models: Mapping[str, ImpactModel]) -> Causes:
    """The mids' moves of the day by whose flow made them."""
    peers = peer_moves(models, day.regimes, day.symbols, day.sector_flow, day.factor_flow)
    expected = prediction.moved_bps + peers
    market = purified_market(day.moves, expected, day.adv, day.beta)
    left = day.moves - expected - market
    known = np.isfinite(left).sum(axis=0)
    total = np.where(np.isfinite(left), left**2, 0.0).sum(axis=0)
    variance = np.divide(total, known, out=np.full(len(day.symbols), np.nan), where=known > 0)
    return Causes(prediction, peers, market, variance)


def predictions(day: Day, prediction: Prediction, models: Mapping[str, ImpactModel]) -> pa.Table:
    """The prediction as a relation: one row per bucket and symbol with a state."""
    t, i = day.cells["t"].to_numpy(), day.cells["i"].to_numpy()
    labels = np.array(prediction.priced_by, dtype=object)[t]
    modelled = np.isin(day.regimes, list(models))[t]
    for row in np.flatnonzero(modelled & (day.q[t, i] != 0) & ~prediction.priced[t, i]):
        labels[row] = f"none/{day.regimes[t[row]]} ({day.symbols[i[row]]} is not in the model)"
    return pa.table(
        {
            "ts": day.cells["ts"],
            "symbol": day.cells["symbol"],
            "self_bps": prediction.self_bps[t, i],
            "cross_bps": prediction.cross_bps[t, i],
            "priced_by": pa.array(labels, pa.string()),
        }
    )


def levels(day: Day, found: Causes) -> pa.Table:
    """What lies in each mid at each bucket's start and end, the bucket's own flow aside, bps; of
    self and cross also with it, `*_full_bps`. Peers and market add up from the day's start."""
    said = found.prediction
    states = {
        "self": (said.carried_self_bps, said.faded_self_bps, said.left_self_bps),
        "cross": (said.carried_cross_bps, said.faded_cross_bps, said.left_cross_bps),
        "peers": _added_up(found.peers),
        "market": _added_up(found.market),
    }
    columns = {
        f"{name}_{edge}_bps": values.ravel()
        for name, edges in states.items()
        for edge, values in zip(("start", "end", "full"), edges, strict=False)
    }
    return pa.table(_cells(day) | columns)


def own_left(
    day: Day, found: Causes, models: Mapping[str, ImpactModel], flows: pa.Table
) -> pa.Table:
    """What each order's earlier fills left in its name's mid, at the start and the end of the
    buckets in which it was filled; `flows` are the rows of `tca_order_flow`."""
    inside, t, i = day.places(flows)
    flows = flows.filter(pa.array(inside))
    orders, row = np.unique(flows["order_id"].to_numpy(zero_copy_only=False), return_inverse=True)
    columns = np.zeros(len(orders), dtype=np.intp)
    columns[row] = i
    q = np.zeros((len(orders), len(day.moments)))
    q[row, t] = flows["signed_usd"].to_numpy() / day.adv[i]
    kernels = {name: m.kernel for name, m in models.items() if m.kernel is not None}
    left = own_carried(found.prediction, kernels, day.regimes, columns, q)
    return pa.table(
        {
            "ts": flows["ts"],
            "order_id": flows["order_id"],
            "own_start_bps": left.start[t, row],
            "own_end_bps": left.end[t, row],
        }
    )


def _added_up(moves: Array) -> tuple[Array, Array]:
    """Level at each bucket's start and end."""
    level = np.vstack((np.zeros_like(moves[:1]), np.cumsum(moves, axis=0)))
    return level[:-1], level[1:]


def _cells(day: Day) -> dict[str, pa.Array]:
    """`ts` and `symbol` of every bucket and name, in the order of a ravelled (T, n)."""
    n, t = len(day.symbols), len(day.moments)
    moments = pa.array(day.moments, pa.timestamp("us", "UTC"))
    symbols = pa.array(day.symbols, pa.string())
    return {
        "ts": moments.take(pa.array(np.repeat(np.arange(t), n))),
        "symbol": symbols.take(pa.array(np.tile(np.arange(n), t))),
    }


def _places(names: tuple[object, ...], wanted: list[object]) -> Index:
    at = {name: place for place, name in enumerate(names)}
    return np.array([at.get(name, -1) for name in wanted], dtype=np.intp)
