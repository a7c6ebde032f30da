"""A clean one-day landing small enough to read, and the means to break it in one place."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from crossimpact import contract
from pipelines.date_report import DateReport
from pipelines.store.landing import Landing
from pipelines.store.settings import Settings
from pipelines.validate import validate_dates

DATE = "2024-01-03"
OPEN = datetime(2024, 1, 3, 14, 30, tzinfo=UTC)
SYMBOLS = ("AAA", "BBB")
N_SNAPSHOTS = 300  # per symbol, 5 s apart
N_FILLS = 120

IDS = ("order_id", "fill_id", "ref_fill_id")
#: Columns that a desk may leave out, and this one does.
V2_ONLY = ("exec_type", "ref_fill_id", "trade_id", "condition")

ARROW = {
    "str": pa.string(),
    "f64": pa.float64(),
    "i64": pa.int64(),
    "ts": pa.timestamp("us", tz="UTC"),
}
Rows = list[dict[str, Any]]


def at(seconds: float) -> datetime:
    """A moment, in seconds after the open."""
    return OPEN + timedelta(seconds=seconds)


def days_between(first: str, second: str) -> timedelta:
    return datetime.fromisoformat(second) - datetime.fromisoformat(first)


def clean(date: str = DATE) -> dict[str, Rows]:
    """Rows of every table, by table; no row breaks any rule. Another date has other ids."""
    shift = days_between(DATE, date)
    tables = {
        "instruments": [_instrument(symbol) for symbol in SYMBOLS],
        "parent_orders": [_parent(f"o{i}", SYMBOLS[i % 2]) for i in range(N_FILLS)],
        "child_fills": [_fill(i) for i in range(N_FILLS)],
        "market_snapshots": [_snapshot(s, 5 * i) for i in range(N_SNAPSHOTS) for s in SYMBOLS],
        "benchmark_marks": [
            {"order_id": f"o{i}", "mark": mark, "ts": at(60), "px": 100.0}
            for i in range(N_FILLS)
            for mark in ("DECISION", "ARRIVAL", "CLOSE")
        ],
        "peer_flow": [
            {"symbol": s, "ts": at(300 * i), "sector_flow": -5.0, "factor_flow": 7.0}
            for i in range(5)
            for s in SYMBOLS
        ],
        "public_trades": [
            {"symbol": s, "ts": at(7 * i), "px": 100.0, "qty": 3.0, "aggressor_side": (-1) ** i}
            for i in range(100)
            for s in SYMBOLS
        ],
    }
    for name, rows in tables.items():
        times = [c.name for c in contract.TABLES[name].columns if c.type == "ts"]
        for row in rows:
            row |= {time: row[time] + shift for time in times}
    return renamed(tables, date)


def renamed(tables: dict[str, Rows], date: str) -> dict[str, Rows]:
    """Ids of a date of their own, but for `DATE`'s: they are unique over dates."""
    for rows in tables.values():
        for row in rows:
            row |= {name: row[name] + mark(date) for name in IDS if row.get(name)}
    return tables


def mark(date: str) -> str:
    """What the ids of a date end on."""
    return "" if date == DATE else f"@{date.replace('-', '')}"


def _instrument(symbol: str) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "sector": "tech",
        "adv_notional": 1e7,
        "market_beta": None,
        "tick_size": 0.01,
        "lot_size": 1,
    }


def _parent(order_id: str, symbol: str) -> dict[str, Any]:
    return {
        "order_id": order_id,
        "basket_id": None,
        "symbol": symbol,
        "side": "BUY",
        "parent_qty": 100,
        "parent_notional": 10_000.0,
        "decision_ts": at(60),
        "decision_px": 100.0,
        "start_ts": at(60),
        "end_ts": at(1200),
        "alpha_bps": None,
    }


def _fill(i: int) -> dict[str, Any]:
    return {
        "fill_id": f"f{i}",
        "order_id": f"o{i}",
        "symbol": SYMBOLS[i % 2],
        "side": "BUY",
        "fill_ts": at(100 + i),
        "fill_px": 100.01,
        "fill_qty": 100,
        "venue": "XNYS",
        "liquidity": "PASSIVE",
        "fee": -0.1,
    }


def _snapshot(symbol: str, second: float) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "ts": at(second),
        "bid_px": 99.99,
        "ask_px": 100.01,
        "bid_size": 100.0,
        "ask_size": 200.0,
        "short_vol_bps": None,
    }


def schema(table: str) -> pa.Schema:
    return pa.schema(
        [(c.name, ARROW[c.type]) for c in contract.TABLES[table].columns if c.name not in V2_ONLY]
    )


def folder(root: Path, table: str, date: str = DATE) -> Path:
    path = root / table / f"date={date}"
    path.mkdir(parents=True, exist_ok=True)
    return path


def write(
    root: Path, tables: Mapping[str, Rows], date: str = DATE, name: str = "part-0.parquet"
) -> Path:
    """Land `tables` as Parquet under `root`."""
    for table, rows in tables.items():
        given = {key for row in rows for key in row} & {*V2_ONLY}
        whole = schema(table)
        for extra in sorted(given):
            whole = whole.append(pa.field(extra, pa.string()))
        data = pa.Table.from_pylist(rows, schema=whole)
        pq.write_table(data, folder(root, table, date) / name)
    return root


def write_csv(root: Path, table: str, rows: Rows, date: str = DATE) -> Path:
    """Land one table as CSV in place of its Parquet file; returns the CSV's path."""
    data = pa.Table.from_pylist(rows, schema=schema(table))
    (folder(root, table, date) / "part-0.parquet").unlink(missing_ok=True)
    path = folder(root, table, date) / "part-0.csv"
    pa.csv.write_csv(data, path)
    return path


def validate_date(settings: Settings, landing: Landing, date: str) -> DateReport:
    """The report of one date."""
    return validate_dates(settings, landing, [date])[0]
