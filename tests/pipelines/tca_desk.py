"""A hand-made date in a warehouse: accepted and feature partitions written row by row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from crossimpact import contract
from crossimpact.model import ImpactModel
from crossimpact.release.bundle import Release
from crossimpact.release.content import Policy, Window
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse

POV = {"full": 0.15, "sector_block": 0.12, "one_factor": 0.11, "self_only": 0.1, "fixed_pov": 0.05}

DATE = "2024-03-05"
OPEN = datetime(2024, 3, 5, 14, 30, tzinfo=UTC)
ADV = 1_000_000.0
ARROW = {
    "str": pa.string(),
    "f64": pa.float64(),
    "i64": pa.int64(),
    "ts": pa.timestamp("us", tz="UTC"),
}
FEATURES = {
    "buckets": {
        "ts": "ts",
        "symbol": "str",
        "sector": "str",
        "adv_notional": "f64",
        "mid_start": "f64",
        "mid_end": "f64",
        "vol_bps": "f64",
        "q_usd": "f64",
        "gross_usd": "f64",
        "q_adv": "f64",
        "s_bps": "f64",
        "move_bps": "f64",
        "sector_flow_adv": "f64",
        "factor_flow_adv": "f64",
    },
    "regimes": {"ts": "ts", "regime": "str", "stress": "f64"},
}


def at(seconds: float) -> datetime:
    """Seconds after the open."""
    return OPEN + timedelta(seconds=seconds)


def instrument(symbol: str, sector: str = "tech") -> dict[str, Any]:
    return {
        "symbol": symbol,
        "sector": sector,
        "adv_notional": ADV,
        "market_beta": 1.0,
        "tick_size": 0.01,
        "lot_size": 1,
    }


def parent(
    order_id: str,
    symbol: str = "AAA",
    side: str = "BUY",
    qty: float = 100,
    decision_px: float = 10.0,
    basket_id: str | None = "B1",
) -> dict[str, Any]:
    return {
        "order_id": order_id,
        "basket_id": basket_id,
        "symbol": symbol,
        "side": side,
        "parent_qty": qty,
        "parent_notional": qty * decision_px,
        "decision_ts": at(0),
        "decision_px": decision_px,
        "start_ts": at(0),
        "end_ts": at(3600),
        "alpha_bps": None,
    }


def fill(
    fill_id: str, order: Mapping[str, Any], seconds: float, px: float, qty: float, fee: float = 0.0
) -> dict[str, Any]:
    return {
        "fill_id": fill_id,
        "order_id": order["order_id"],
        "symbol": order["symbol"],
        "side": order["side"],
        "fill_ts": at(seconds),
        "fill_px": px,
        "fill_qty": qty,
        "venue": "X",
        "liquidity": "PASSIVE",
        "fee": fee,
    }


def quote(symbol: str, seconds: float, mid: float, half: float = 0.01) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "ts": at(seconds),
        "bid_px": mid - half,
        "ask_px": mid + half,
        "bid_size": 100.0,
        "ask_size": 100.0,
        "short_vol_bps": None,
    }


def mark(order_id: str, name: str, px: float) -> dict[str, Any]:
    return {"order_id": order_id, "mark": name, "ts": at(0), "px": px}


def publish(settings: Settings, layer: str, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """One partition of `DATE`, in the contract's (or the features') columns."""
    if table in contract.TABLES:
        types = {c.name: c.type for c in contract.TABLES[table].columns}
    else:
        types = FEATURES[table]
    schema = pa.schema([(name, ARROW[kind]) for name, kind in types.items()])
    warehouse = Warehouse(settings)
    with warehouse.connect() as connection:
        connection.register("given", pa.Table.from_pylist([dict(r) for r in rows], schema))
        warehouse.publish(
            connection, "SELECT * FROM given", layer, table, DATE, inputs={"by": "hand"}
        )


def desk(
    home: Path,
    parents: Sequence[Mapping[str, Any]],
    fills: Sequence[Mapping[str, Any]] = (),
    quotes: Sequence[Mapping[str, Any]] = (),
    marks: Sequence[Mapping[str, Any]] = (),
    *,
    sectors: Mapping[str, str] | None = None,
    regimes: Sequence[str] = ("normal", "normal", "stressed"),
    mids: Mapping[str, float] | None = None,
    moves: Mapping[str, Sequence[float]] | None = None,
    betas: Mapping[str, float] | None = None,
) -> Settings:
    """Settings of a home whose warehouse holds the given date; own flow is summed from `fills`."""
    settings = Settings(home)
    sectors = sectors or {"AAA": "tech", "BBB": "tech", "CCC": "energy"}
    tables = {
        "parent_orders": parents,
        "child_fills": fills,
        "market_snapshots": quotes,
        "benchmark_marks": marks,
        "instruments": [
            instrument(symbol, sector) | {"market_beta": (betas or {}).get(symbol, 1.0)}
            for symbol, sector in sectors.items()
        ],
    }
    for table, rows in tables.items():
        publish(settings, "accepted", table, rows)
    publish(
        settings,
        settings.feature_layer,
        "buckets",
        list(_buckets(fills, sectors, len(regimes), mids or {}, moves or {})),
    )
    publish(
        settings,
        settings.feature_layer,
        "regimes",
        [{"ts": at(300 * t), "regime": r, "stress": 0.0} for t, r in enumerate(regimes)],
    )
    return settings


def _buckets(
    fills: Sequence[Mapping[str, Any]],
    sectors: Mapping[str, str],
    buckets: int,
    mids: Mapping[str, float],
    moves: Mapping[str, Sequence[float]],
) -> Iterable[dict[str, Any]]:
    for t in range(buckets):
        for symbol, sector in sectors.items():
            q = sum(signed_notional(f) for f in fills if f["symbol"] == symbol and bucket(f) == t)
            yield {
                "ts": at(300 * t),
                "symbol": symbol,
                "sector": sector,
                "adv_notional": ADV,
                "mid_start": mids.get(symbol),
                "move_bps": moves[symbol][t] if symbol in moves else None,
                "q_usd": q,
                "gross_usd": abs(q),
                "q_adv": q / ADV,
            }


def bucket(row: Mapping[str, Any]) -> int:
    return int((row["fill_ts"] - OPEN).total_seconds() // 300)


def signed_notional(row: Mapping[str, Any]) -> float:
    return float((1 if row["side"] == "BUY" else -1) * row["fill_qty"] * row["fill_px"])


def model(
    regime: str = "normal",
    symbols: Sequence[str] = ("AAA", "BBB", "CCC"),
    *,
    beta: float = 200.0,
    gamma: float = 50.0,
    sectors: Sequence[str] | None = None,
) -> ImpactModel:
    n = len(symbols)
    return ImpactModel(
        symbols=tuple(symbols),
        sectors=tuple(sectors or ["tech"] * n),
        adv=np.full(n, ADV),
        regime=regime,
        alpha=np.full(n, 1.0),
        beta=np.full(n, beta),
        gamma=gamma * (np.ones((n, n)) - np.eye(n)),
    )


def release(*models: ImpactModel, bucket_s: int = 300) -> Release:
    """A release of the given models; a regime without one trades at a fixed POV."""
    fitted = {m.regime: m for m in models}
    missing = Policy("fixed_pov", "12 buckets, 50 needed", POV)
    full = Policy("full", "", POV)
    return Release(
        as_of="2024-03-01",
        window=Window("2024-02-01", "2024-02-29", 20),
        flow="own",
        bucket_s=bucket_s,
        contract_version="1",
        code_version="0.1.0",
        data_digest="0" * 64,
        models=fitted,
        fallback={r: full if r in fitted else missing for r in ("normal", "stressed", "unknown")},
        report={},
    )
