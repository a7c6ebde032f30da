"""Daily TCA of a large desk: CPU seconds and memory of all marts, beside the same tables in pandas.

    .venv/bin/python -m benchmarks.tca_scale            # 500 names, 5,000 orders, 200,000 fills
    .venv/bin/python -m benchmarks.tca_scale --orders 2500 --fills 100000 --without-pandas

The date is drawn straight into the warehouse: books every 5 s, prints, orders that last one to two
hours, a release with 4 pairs a name and a decay kernel. `marts` is everything that `crossimpact
tca` computes but the page. `pandas` computes the orders' money, drift and benchmarks order by
order, as a notebook does; its sums are compared with the marts'.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from crossimpact import contract
from crossimpact.kernel.decay import Decay
from crossimpact.model import Array, ImpactModel
from crossimpact.release.bundle import Release
from crossimpact.release.content import Policy, Window
from pipelines import features, tca_marts
from pipelines.pricing import Pricing
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse

DATE = "2026-03-02"
OPEN = np.datetime64("2026-03-02T14:30:00", "us")
SESSION_S, SNAPSHOT_S = 23_400, 5
POV = {"full": 0.15, "sector_block": 0.12, "one_factor": 0.11, "self_only": 0.1, "fixed_pov": 0.05}


@dataclass(frozen=True)
class Size:
    symbols: int
    orders: int
    fills: int


def times(seconds: Array) -> pa.Array:
    moments = OPEN + (seconds * 1e6).astype("timedelta64[us]")
    return pa.array(moments, pa.timestamp("us", "UTC"))


def draw(size: Size) -> dict[str, pa.Table]:
    """Tables of one date, as accepted."""
    rng = np.random.default_rng(1)
    names = np.array([f"N{i:04d}" for i in range(size.symbols)])
    steps = SESSION_S // SNAPSHOT_S
    walk = rng.normal(0, 2e-4, (steps, size.symbols)).cumsum(axis=0)
    mid = np.round(50 * np.exp(walk), 2)
    at = np.arange(steps) * SNAPSHOT_S
    symbol = rng.integers(0, size.symbols, size.orders)
    start = rng.uniform(60, SESSION_S - 8_000, size.orders).round()
    end = start + rng.uniform(3_600, 7_200, size.orders).round()
    side = rng.choice([-1, 1], size.orders)
    of = np.sort(rng.integers(0, size.orders, size.fills))
    second = (start[of] + 1 + rng.uniform(0, 1, size.fills) * (end - start - 2)[of]).round(3)
    px = np.round(mid[(second // SNAPSHOT_S).astype(int), symbol[of]] + 0.01 * side[of], 2)
    qty = rng.integers(1, 5, size.fills) * 100.0
    ordered = np.bincount(of, qty, size.orders) + 100.0
    decision = mid[(start // SNAPSHOT_S).astype(int), symbol]
    ids = np.array([f"o{k:05d}" for k in range(size.orders)])
    text = np.where(side > 0, "BUY", "SELL")
    prints = 400 * size.symbols
    who, when = rng.integers(0, size.symbols, prints), rng.uniform(0, SESSION_S - 1, prints)
    return {
        "instruments": pa.table(
            {
                "symbol": names,
                "sector": np.array([f"S{i % 10}" for i in range(size.symbols)]),
                "adv_notional": np.full(size.symbols, 5e8),
                "market_beta": rng.uniform(0.5, 1.5, size.symbols),
                "tick_size": np.full(size.symbols, 0.01),
                "lot_size": np.full(size.symbols, 1.0),
            }
        ),
        "parent_orders": pa.table(
            {
                "order_id": ids,
                "basket_id": np.array([f"b{k % 100}" for k in range(size.orders)]),
                "symbol": names[symbol],
                "side": text,
                "parent_qty": ordered,
                "parent_notional": ordered * decision,
                "decision_ts": times(start - 30),
                "decision_px": decision,
                "start_ts": times(start),
                "end_ts": times(end),
                "alpha_bps": np.zeros(size.orders),
            }
        ),
        "child_fills": pa.table(
            {
                "fill_id": np.array([f"f{k}" for k in range(size.fills)]),
                "order_id": ids[of],
                "symbol": names[symbol[of]],
                "side": text[of],
                "fill_ts": times(second),
                "fill_px": px,
                "fill_qty": qty,
                "venue": np.array(["X", "Y"])[rng.integers(0, 2, size.fills)],
                "liquidity": np.array(["PASSIVE", "AGGRESSIVE"])[rng.integers(0, 2, size.fills)],
                "fee": np.full(size.fills, 0.25),
                "exec_type": pa.nulls(size.fills, pa.string()),
                "ref_fill_id": pa.nulls(size.fills, pa.string()),
            }
        ),
        "market_snapshots": pa.table(
            {
                "symbol": np.tile(names, steps),
                "ts": times(np.repeat(at, size.symbols)),
                "bid_px": (mid - 0.01).ravel(),
                "ask_px": (mid + 0.01).ravel(),
                "bid_size": np.full(mid.size, 100.0),
                "ask_size": np.full(mid.size, 100.0),
                "short_vol_bps": np.full(mid.size, 2.0),
            }
        ),
        "benchmark_marks": pa.table(
            {
                "order_id": np.tile(ids, 3),
                "mark": np.repeat(["DECISION", "ARRIVAL", "CLOSE"], size.orders),
                "ts": times(np.concatenate((start - 30, start, np.full(size.orders, SESSION_S)))),
                "px": np.concatenate((decision, decision, mid[-1, symbol])),
            }
        ),
        "peer_flow": pa.table(
            {
                "symbol": pa.array([], pa.string()),
                "ts": pa.array([], pa.timestamp("us", "UTC")),
                "sector_flow": pa.array([], pa.float64()),
                "factor_flow": pa.array([], pa.float64()),
            }
        ),
        "public_trades": pa.table(
            {
                "symbol": names[who],
                "ts": times(when),
                "px": mid[(when // SNAPSHOT_S).astype(int), who],
                "qty": rng.integers(1, 9, prints) * 500.0,
                "aggressor_side": rng.choice([-1, 1], prints),
                "trade_id": pa.nulls(prints, pa.string()),
                "condition": pa.nulls(prints, pa.string()),
            }
        ),
    }


def land(settings: Settings, tables: Mapping[str, pa.Table]) -> None:
    """Publish the tables as accepted, and the date's features."""
    warehouse = Warehouse(settings)
    with warehouse.connect() as connection:
        for name, rows in tables.items():
            connection.register("given", rows)
            order = ", ".join(contract.TABLES[name].key or ("symbol", "ts"))
            query = f"SELECT * FROM given ORDER BY {order}"
            warehouse.publish(connection, query, "accepted", name, DATE, inputs={})
    features.build(settings, DATE)
    features.label(settings, [DATE], [DATE])


def release(size: Size, names: list[str], sectors: list[str]) -> Release:
    """Both regimes by models with 4 pairs a name and a decay kernel."""
    rng = np.random.default_rng(2)
    gamma = np.zeros((size.symbols, size.symbols))
    i, j = rng.integers(0, size.symbols, (2, 2 * size.symbols))
    gamma[i, j] = gamma[j, i] = 20.0
    np.fill_diagonal(gamma, 0)
    kernel = Decay.from_half_life(30.0, 0.3, scale_self=1.5, scale_cross=1.5)
    n = size.symbols
    models = {
        regime: ImpactModel(
            tuple(names), tuple(sectors), np.full(n, 5e8), regime, np.ones(n), np.full(n, 300.0),
            gamma, kernel=kernel,
        )
        for regime in ("normal", "stressed")
    }  # fmt: skip
    full, none = Policy("full", "", POV), Policy("fixed_pov", "no label", POV)
    return Release(
        as_of="2026-02-27", window=Window("2026-02-01", "2026-02-27", 20), flow="own",
        bucket_s=300, contract_version="2", code_version="0", data_digest="0" * 64, models=models,
        fallback={"normal": full, "stressed": full, "unknown": none}, report={},
    )  # fmt: skip


def in_pandas(tables: Mapping[str, pa.Table]) -> pd.DataFrame:
    """The orders' money and benchmarks, order by order."""
    frames = {name: rows.to_pandas() for name, rows in tables.items()}
    books = frames["market_snapshots"].sort_values(["symbol", "ts"])
    books["mid"] = (books["bid_px"] + books["ask_px"]) / 2
    fills = frames["child_fills"].sort_values("fill_ts")
    mids = books[["symbol", "ts", "mid"]].sort_values("ts")
    fills = pd.merge_asof(fills, mids, left_on="fill_ts", right_on="ts", by="symbol")
    by_order = dict(iter(fills.groupby("order_id")))
    by_name = {name: rows.set_index("ts") for name, rows in books.groupby("symbol")}
    prints = frames["public_trades"].sort_values("ts")
    tape = {name: rows.set_index("ts") for name, rows in prints.groupby("symbol")}
    marks = frames["benchmark_marks"].pivot(index="order_id", columns="mark", values="px")
    rows = [
        _order(order, by_order.get(order["order_id"]), marks, by_name, tape)
        for order in frames["parent_orders"].to_dict("records")
    ]
    return pd.DataFrame(rows).set_index("order_id").sort_index()


def _order(
    order: Mapping[str, Any],
    fills: pd.DataFrame | None,
    marks: pd.DataFrame,
    books: Mapping[str, pd.DataFrame],
    tape: Mapping[str, pd.DataFrame],
) -> dict[str, Any]:
    side = 1 if order["side"] == "BUY" else -1
    arrival, close = marks.loc[order["order_id"], ["ARRIVAL", "CLOSE"]]
    decided, ordered = order["decision_px"], order["parent_qty"]
    if fills is None:
        missed = side * ordered * (close - decided)
        return {"order_id": order["order_id"], "total": missed, "opportunity": missed}
    qty, px = fills["fill_qty"], fills["fill_px"]
    filled, fees = qty.sum(), fills["fee"].sum()
    opportunity = side * (ordered - filled) * (close - decided)
    span = slice(order["start_ts"], fills["fill_ts"].max())
    first = order["start_ts"].floor(f"{SNAPSHOT_S}s")
    book = books[order["symbol"]].loc[first : span.stop]
    seen = tape[order["symbol"]].loc[span]
    average = (qty * px).sum() / filled
    worse = np.where(np.isclose(seen["px"], average, rtol=1e-9, atol=0), 0.5,
                     (seen["px"] > average) == (side > 0))  # fmt: skip
    volume = seen["qty"].sum()
    return {
        "order_id": order["order_id"],
        "total": side * (qty * (px - decided)).sum() + fees + opportunity,
        "delay": side * filled * (arrival - decided),
        "spread": side * (qty * (px - fills["mid"])).sum(),
        "fees": fees,
        "opportunity": opportunity,
        "twap": 1e4 * side * (average / book["mid"].mean() - 1),
        "vwap": 1e4 * side * (average / ((seen["qty"] * seen["px"]).sum() / volume) - 1),
        "rpm": (worse * seen["qty"]).sum() / volume,
        "participation": filled / volume,
    }


def compare(warehouse: Warehouse, expected: pd.DataFrame) -> float:
    """Largest relative difference between the marts and pandas."""
    found = pd.DataFrame(warehouse.rows("marts", "tca_orders", DATE)).set_index("order_id")
    columns = {
        "total": "total_usd", "delay": "delay_usd", "spread": "spread_usd", "fees": "fees_usd",
        "opportunity": "opportunity_usd", "twap": "twap_bps", "vwap": "vwap_bps", "rpm": "rpm",
        "participation": "participation",
    }  # fmt: skip
    worst = 0.0
    for name, column in columns.items():
        a = found.loc[expected.index, column].astype(float)
        b = expected[name].fillna(0.0) if column.endswith("_usd") else expected[name]
        scale = max(1.0, float(b.abs().max()))
        worst = max(worst, float((a - b).abs().max()) / scale)
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--symbols", type=int, default=500)
    parser.add_argument("--orders", type=int, default=5_000)
    parser.add_argument("--fills", type=int, default=200_000)
    parser.add_argument("--without-pandas", action="store_true")
    chosen = parser.parse_args()
    size = Size(chosen.symbols, chosen.orders, chosen.fills)
    tables = draw(size)
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(Path(folder))
        land(settings, tables)
        names = tables["instruments"]["symbol"].to_pylist()
        by = release(size, names, tables["instruments"]["sector"].to_pylist())
        pricing = Pricing.by(by, DATE)
        before, began = time.process_time(), datetime.now(UTC)
        tca_marts.build(Warehouse(settings), DATE, pricing, {"by": "benchmark"})
        marts, wall = time.process_time() - before, (datetime.now(UTC) - began).total_seconds()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{size}: marts {marts:.1f} CPU s, {wall:.1f} s, peak of the process {peak:.0f} MB")
        if chosen.without_pandas:
            return
        before = time.process_time()
        expected = in_pandas(tables)
        pandas = time.process_time() - before
        worst = compare(Warehouse(settings), expected)
        print(f"pandas, money and benchmarks of the orders alone: {pandas:.1f} CPU s; ", end="")
        print(f"largest difference {worst:.1e}")


if __name__ == "__main__":
    main()
