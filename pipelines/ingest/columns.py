"""Columns a source may give: their kinds, which must be mapped, spellings read without a map."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from crossimpact import contract

Unit = Literal["s", "ms", "us", "ns"]
Kind = Literal["str", "f64", "i64", "ts", "date"]

#: Spellings read without being told, in upper case.
SIDES = {"BUY": "BUY", "B": "BUY", "BOT": "BUY", "BOUGHT": "BUY", "1": "BUY", "+1": "BUY"} | {
    "SELL": "SELL", "S": "SELL", "SLD": "SELL", "SOLD": "SELL", "-1": "SELL", "2": "SELL",
}  # fmt: skip
AGGRESSORS = {"1": 1, "+1": 1, "B": 1, "BUY": 1, "-1": -1, "S": -1, "SELL": -1}
LIQUIDITY = {"PASSIVE": "PASSIVE", "MAKER": "PASSIVE"} | {
    "AGGRESSIVE": "AGGRESSIVE", "TAKER": "AGGRESSIVE",
}  # fmt: skip
CODES: Mapping[str, Mapping[str, str | int]] = {
    "side": SIDES, "aggressor_side": AGGRESSORS, "liquidity": LIQUIDITY,
}  # fmt: skip

#: Columns of the contract that no map gives yet.
NOT_MAPPED = ("exec_type", "ref_fill_id", "trade_id", "condition")
#: Columns a source file may give, by its kind; contract tables give their own.
DATE: Mapping[str, Kind] = {"date": "date"}
BARS: Mapping[str, Kind] = {"symbol": "str", "notional": "f64", "volume": "f64", "close": "f64"}
KINDS: Mapping[str, Mapping[str, Kind]] = {
    **{
        name: {c.name: c.type for c in t.columns if c.name not in NOT_MAPPED}
        for name, t in contract.TABLES.items()
    },
    "instruments": {**DATE, **{c.name: c.type for c in contract.INSTRUMENTS.columns}},
    "daily_bars": {**DATE, **BARS},
}
#: Columns that must be mapped; the others have a default, are derived, or may be null.
REQUIRED: Mapping[str, tuple[str, ...]] = {
    "market_snapshots": ("symbol", "ts", "bid_px", "ask_px", "bid_size", "ask_size"),
    "public_trades": ("symbol", "ts", "px", "qty"),
    "daily_bars": ("symbol", "date"),
    "instruments": ("symbol",),
    "parent_orders": ("order_id", "symbol", "side", "parent_qty"),
    "child_fills": (
        "fill_id", "order_id", "symbol", "side", "fill_ts", "fill_px", "fill_qty", "venue",
        "liquidity",
    ),
    "benchmark_marks": ("order_id", "mark", "ts", "px"),
    "peer_flow": ("symbol", "ts", "sector_flow", "factor_flow"),
}  # fmt: skip
#: Keys of a cell by what the contract wants there.
CELL_KEYS: Mapping[Kind, tuple[str, ...]] = {
    "str": ("column", "constant", "filename", "codes"),
    "f64": ("column", "constant", "filename", "codes", "multiply", "divide"),
    "i64": ("column", "constant", "filename", "codes"),
    "ts": ("column", "epoch", "format", "zone", "date", "time", "time_unit"),
    "date": ("column", "constant", "filename", "format"),
}
