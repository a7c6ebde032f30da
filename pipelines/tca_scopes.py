"""Costs of orders by desk, basket, symbol, sector and regime: their noise and how they spread."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import numpy as np
import pyarrow as pa

from crossimpact.model import Array
from pipelines.tca_day import Causes, Day
from pipelines.tca_noise import Exposures

#: Column of `tca_orders` by which orders are grouped -> scope.
SCOPES = {
    "": "desk",
    "basket_id": "basket",
    "symbol": "symbol",
    "sector": "sector",
    "regime": "regime",
}
#: Of these, there are orders enough for an interval.
SPREAD = ("desk", "sector", "regime")
LEVELS = (0.50, 0.90, 0.95)
#: Resamples of the bootstrap, its seed, ends of its interval; fewer orders tell no interval.
DRAWS, SEED, ENDS, LEAST = 500, 7, (0.025, 0.975), 10
NOISE = pa.schema(
    [("scope", pa.string()), ("name", pa.string()), ("residual_sd_usd", pa.float64())]
)
QUANTILES = pa.schema(
    [("scope", pa.string()), ("name", pa.string())]
    + [(f"p{100 * q:.0f}{end}_bps", pa.float64()) for q in LEVELS for end in ("", "_low", "_high")]
)


def register(
    connection: duckdb.DuckDBPyConnection, day: Day, found: Causes, exposures: Exposures
) -> None:
    """Make the relations `scope_noise` and `quantiles` beside `tca_orders`."""
    orders = connection.sql(
        "SELECT order_id, basket_id, symbol, sector, regime, total_bps FROM tca_orders"
        " ORDER BY order_id"
    ).to_arrow_table()
    noise = list(_noise(orders, day, found, exposures))
    connection.register("scope_noise", pa.Table.from_pylist(noise, NOISE))
    spread = list(_quantiles(orders))
    connection.register("quantiles", pa.Table.from_pylist(spread, QUANTILES))


def _labels(orders: pa.Table, column: str) -> list[str]:
    if not column:
        return [""] * orders.num_rows
    return [name or "" for name in orders[column].to_pylist()]


def _noise(
    orders: pa.Table, day: Day, found: Causes, exposures: Exposures
) -> Iterator[dict[str, object]]:
    for column, scope in SCOPES.items():
        label = dict(zip(orders["order_id"].to_pylist(), _labels(orders, column), strict=True))
        sd = exposures.sd(day, found, [label[order] for order in exposures.orders])
        yield from (
            {"scope": scope, "name": name, "residual_sd_usd": value}
            for name, value in sd.items()
            if value == value
        )


def _quantiles(orders: pa.Table) -> Iterator[dict[str, object]]:
    costs = orders["total_bps"].to_numpy()
    for column, scope in SCOPES.items():
        labels = np.array(_labels(orders, column), dtype=object)
        for name in sorted(set(labels)):
            some = costs[(labels == name) & np.isfinite(costs)]
            if len(some):
                yield {"scope": scope, "name": name, **spread(some, interval=scope in SPREAD)}


def spread(costs: Array, *, interval: bool) -> dict[str, float | None]:
    """Quantiles of orders' costs, with bootstrap intervals (orders resampled, seed fixed)."""
    told: dict[str, float | None] = {}
    values = np.quantile(costs, LEVELS)
    drawn = None
    if interval and len(costs) >= LEAST:
        rng = np.random.default_rng([SEED, len(costs)])
        drawn = np.quantile(rng.choice(np.sort(costs), (DRAWS, len(costs))), LEVELS, axis=1)
    for k, level in enumerate(LEVELS):
        low, high = (None, None) if drawn is None else np.quantile(drawn[k], ENDS).tolist()
        name = f"p{100 * level:.0f}"
        told |= {f"{name}_bps": float(values[k]), f"{name}_low_bps": low, f"{name}_high_bps": high}
    return told
