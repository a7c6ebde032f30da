"""A date's own flow as the library reads it, and what the models say of it as relations.

`read_day` makes dense arrays of the date's buckets; `predictions` and `carried` give the model's
price moves back as rows of bucket and symbol, for the money to be summed in SQL.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import duckdb
import numpy as np
import pyarrow as pa

from crossimpact.errors import CrossImpactError
from crossimpact.model import Array, ImpactModel
from crossimpact.tca import Prediction, peer_moves
from pipelines.store.warehouse import Warehouse, sql


@dataclass(frozen=True)
class Day:
    """A date's flows as the library wants them, (T, n): own q and the peers', over ADV; starts and
    regimes of its buckets, its names and its cells."""

    moments: tuple[datetime, ...]
    regimes: tuple[str, ...]
    symbols: tuple[str, ...]
    q: Array
    adv: Array
    sector_flow: Array
    factor_flow: Array
    cells: pa.Table


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

    def wide(name: str) -> Array:
        values = np.zeros((len(buckets), len(symbols)))
        values[t, i] = cells[name].to_numpy()
        return values

    return Day(
        tuple(cells["ts"].take(first_of_bucket).to_pylist()),
        tuple(cells["regime"].take(first_of_bucket).to_pylist()),
        tuple(cells["symbol"].take(first_of_symbol).to_pylist()),
        wide("q_adv"),
        cells["adv_notional"].to_numpy()[first_of_symbol],
        wide("sector_flow_adv"),
        wide("factor_flow_adv"),
        cells,
    )


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


def carried(day: Day, prediction: Prediction, models: Mapping[str, ImpactModel]) -> pa.Table:
    """What lies in the price at each bucket's start and end, the bucket's own flow aside: left of
    earlier own and cross flow, and the peers' flow of the day."""
    t, i = day.cells["t"].to_numpy(), day.cells["i"].to_numpy()
    moved = peer_moves(models, day.regimes, day.symbols, day.sector_flow, day.factor_flow)
    peers = np.vstack((np.zeros_like(moved[:1]), np.cumsum(moved, axis=0)))
    states = {
        "self": (prediction.carried_self_bps, prediction.faded_self_bps),
        "cross": (prediction.carried_cross_bps, prediction.faded_cross_bps),
        "peers": (peers[:-1], peers[1:]),
    }
    columns = {"ts": day.cells["ts"], "symbol": day.cells["symbol"]}
    for name, (start, end) in states.items():
        columns |= {f"{name}_start_bps": start[t, i], f"{name}_end_bps": end[t, i]}
    return pa.table(columns)
