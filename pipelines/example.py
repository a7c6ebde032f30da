"""An example landing zone: one date, an example row a table, that keeps the whole contract."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from crossimpact import contract
from crossimpact.errors import UsageError

ARROW: Mapping[str, pa.DataType] = {
    "str": pa.string(), "f64": pa.float64(), "i64": pa.int64(), "ts": pa.timestamp("us", tz="UTC"),
}  # fmt: skip
OPEN = datetime.time(14, 30, tzinfo=datetime.UTC)
Row = dict[str, Any]


def write(root: Path, date: str) -> dict[str, int]:
    """Write the zone; rows per table. A filled order has three marks, so there are three of them.

    Raises
    ------
    UsageError
        When the folder is there and holds something.
    """
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise UsageError(f"{root} is not an empty folder", "name one that is empty, or a new one")
    written = {}
    for name, rows in _rows(date).items():
        schema = pa.schema([(c.name, ARROW[c.type]) for c in contract.TABLES[name].columns])
        folder = root / name / f"date={date}"
        folder.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(rows, schema), folder / "part-0.parquet")
        written[name] = len(rows)
    return written


def _rows(date: str) -> dict[str, list[Row]]:
    opened = datetime.datetime.combine(datetime.date.fromisoformat(date), OPEN)

    def at(seconds: int) -> datetime.datetime:
        return opened + datetime.timedelta(seconds=seconds)

    symbol = {"symbol": "AAA"}
    marks = (("DECISION", 5), ("ARRIVAL", 10), ("CLOSE", 300))
    return {
        "instruments": [symbol | {"sector": "technology", "adv_notional": 2e8, "market_beta": 1.1,
                                  "tick_size": 0.01, "lot_size": 1.0}],
        "parent_orders": [symbol | {
            "order_id": "ORDER-1", "basket_id": "BASKET-1", "side": "BUY", "parent_qty": 500.0,
            "parent_notional": 50_000.0, "decision_ts": at(5), "decision_px": 100.0,
            "start_ts": at(10), "end_ts": at(300), "alpha_bps": 2.0,
        }],
        "child_fills": [symbol | {
            "fill_id": "FILL-1", "order_id": "ORDER-1", "side": "BUY", "fill_ts": at(20),
            "fill_px": 100.01, "fill_qty": 500.0, "venue": "XNYS", "liquidity": "AGGRESSIVE",
            "fee": 1.5,
        }],
        "market_snapshots": [symbol | {"ts": at(0), "bid_px": 99.99, "ask_px": 100.01,
                                       "bid_size": 800.0, "ask_size": 600.0}],
        "benchmark_marks": [{"order_id": "ORDER-1", "mark": mark, "ts": at(s), "px": 100.0}
                            for mark, s in marks],
        "peer_flow": [symbol | {"ts": at(0), "sector_flow": 1e6, "factor_flow": -5e5}],
        "public_trades": [symbol | {"ts": at(15), "px": 100.01, "qty": 200.0,
                                    "aggressor_side": 1}],
    }  # fmt: skip
