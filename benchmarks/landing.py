"""A drawn desk as a landing zone: what the platform would be handed, and `truth.json` beside it.

The mid bridges each bucket's drawn move, with a step noise as large as the bucket's own noise, so
volatility shows the session's U and the stressed spells; spreads and depth do the same. Every slice
prints on the two ticks around the price that gives the drawn slippage, in the proportion that gives
it, against the *quoted* mid at the bucket's start.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
from numpy.typing import NDArray

from benchmarks.desks import BUCKETS, Desk, seasonality
from crossimpact import contract
from crossimpact.model import BPS, Array, from_scaled
from crossimpact.panel import REGIMES, Panel

Ints = NDArray[np.int64]
Columns = dict[str, Any]

STEP_S, STEPS = 5, 60  # seconds between snapshots, and snapshots in a bucket
TICK = 0.01
SPREAD_BPS, STRESS_SPREAD, STRESS_DEPTH = 4.0, 1.6, 0.5
#: Fills further than this from the mid at the bucket's start would break the contract, bps.
FARTHEST_BPS = 700.0
_VENUES = np.array(["XLIT", "XDRK"], dtype=object)
_LIQUIDITY = np.array(["PASSIVE", "AGGRESSIVE"], dtype=object)
_MARKS = np.array(["DECISION", "ARRIVAL", "INTERVAL_MID", "CLOSE"], dtype=object)
_TYPES = {
    "str": pa.string(), "f64": pa.float64(), "i64": pa.int64(), "ts": pa.timestamp("us", tz="UTC"),
}  # fmt: skip


@dataclass(frozen=True)
class Quotes:
    """A session's top of book, arrays (snapshots, n); snapshots every `STEP_S` from the open."""

    bid: Array
    ask: Array
    bid_size: Array
    ask_size: Array
    ts: NDArray[np.datetime64]

    @property
    def mid(self) -> Array:
        return (self.bid + self.ask) / 2


def write_landing(desk: Desk, folder: Path) -> Path:
    """Write the desk's window to `folder`/landing and what is true to `folder`/truth.json.

    Returns
    -------
    Path
        The landing zone, replaced if it was there.
    """
    landing = folder / "landing"
    shutil.rmtree(landing, ignore_errors=True)
    rng = np.random.default_rng([desk.seed, 1])
    for date, panel, quotes in sessions(rng, desk):
        for name, columns in _tables(rng, panel, quotes).items():
            _write(landing, name, date, columns)
    folder.joinpath("truth.json").write_text(json.dumps(truth(desk)))
    return landing


def truth(desk: Desk) -> dict[str, Any]:
    """Plain data: planted numbers per regime, and the regime of every bucket."""
    panel = desk.head
    regimes = {
        regime: {
            "alpha_bps": desk.alpha[regime].tolist(),
            "beta_bps": desk.beta[regime].tolist(),
            "gamma_bps": from_scaled(desk.scaled[regime], panel.adv).tolist(),
        }
        for regime in REGIMES
    }
    labels = zip(panel.ts.astype("M8[s]"), panel.regime.tolist(), strict=True)
    return {
        "kind": desk.kind,
        "seed": desk.seed,
        "symbols": panel.symbols,
        "sectors": panel.sectors,
        "adv": panel.adv.tolist(),
        "regimes": regimes,
        "buckets": [{"ts": f"{ts}Z", "regime": regime} for ts, regime in labels],
    }


# -- the market --------------------------------------------------------------------------------


def sessions(rng: np.random.Generator, desk: Desk) -> Iterator[tuple[str, Panel, Quotes]]:
    """Each date of the window with its part of the panel and its quotes."""
    opened = rng.uniform(60, 400, desk.head.n)
    for date in np.unique(desk.head.date).tolist():
        rows = desk.head.date == date
        panel = desk.head.where(rows)
        path = _path(rng, panel, desk.noise[rows], opened)
        yield date, panel, _quotes(rng, panel, path)
        opened = np.clip(path[-1], 60, 400)


def _path(rng: np.random.Generator, panel: Panel, noise: Array, opened: Array) -> Array:
    """Mids at the open and after each snapshot step, (B x STEPS + 1, n)."""
    edges = opened * np.cumprod(1 + BPS * panel.move, axis=0)
    starts = np.vstack((opened, edges[:-1]))
    steps = rng.normal(size=(BUCKETS, STEPS, panel.n)) * (noise / np.sqrt(STEPS))[:, None]
    total = 1e4 * np.log(edges / starts)
    steps += ((total - steps.sum(axis=1)) / STEPS)[:, None]
    inside = starts[:, None] * np.exp(BPS * np.cumsum(steps, axis=1))
    return np.vstack((opened, inside.reshape(-1, panel.n)))


def _quotes(rng: np.random.Generator, panel: Panel, path: Array) -> Quotes:
    """Quotes on the tick grid around the path; wide and thin at a session's ends and in stress."""
    stressed = np.repeat(panel.regime == "stressed", STEPS)[:, None]
    season = np.repeat(seasonality(BUCKETS), STEPS)[:, None]
    mid = path[:-1]  # the close itself is not recorded: the last snapshot is 5 s before it
    wide = SPREAD_BPS * season * np.where(stressed, STRESS_SPREAD, 1.0)
    wide = wide * np.exp(rng.normal(0, 0.15, mid.shape))
    ticks = np.maximum(1, np.round(BPS * wide * mid / TICK))
    bid = np.round(mid / TICK - ticks / 2)
    depth = panel.adv / BUCKETS / 20 / mid / season * np.where(stressed, STRESS_DEPTH, 1.0)
    bid_size, ask_size = np.maximum(
        1, np.round(depth * np.exp(rng.normal(0, 0.4, (2, *mid.shape))))
    )
    ts = panel.ts[0] + np.arange(len(mid)) * np.timedelta64(STEP_S, "s")
    bid_px, ask_px = np.round(bid * TICK, 2), np.round((bid + ticks) * TICK, 2)
    return Quotes(bid_px, ask_px, bid_size, ask_size, ts)


# -- the tables --------------------------------------------------------------------------------


def _tables(rng: np.random.Generator, panel: Panel, quotes: Quotes) -> dict[str, Columns]:
    """Every table of the contract but the optional one, of one date."""
    slices = _slices(panel, quotes)
    orders = _orders(panel, quotes, slices)
    return {
        "instruments": instruments(panel),
        "parent_orders": {name: orders[name] for name in contract.PARENT_ORDERS.column_names},
        "child_fills": _fills(rng, panel, slices, orders),
        "market_snapshots": snapshots(panel, quotes),
        "benchmark_marks": _marks(panel, quotes, slices, orders),
        "peer_flow": _peer_flow(panel),
    }


@dataclass(frozen=True)
class Slices:
    """What was executed by bucket, in order of symbol and bucket, arrays of one length.

    `parent` numbers runs of consecutive buckets on one side; `low` shares print at `tick` ticks,
    `high` at the next one up.
    """

    symbol: Ints
    bucket: Ints
    side: Ints
    parent: Ints
    tick: Ints
    low: Ints
    high: Ints

    @property
    def shares(self) -> Ints:
        return self.low + self.high


def _slices(panel: Panel, quotes: Quotes) -> Slices:
    symbol, bucket = np.nonzero(panel.q.T)
    q = panel.q[bucket, symbol]
    side = np.sign(q).astype(np.int64)
    start = quotes.mid[bucket * STEPS, symbol]
    slippage = np.clip(panel.s[bucket, symbol], -FARTHEST_BPS, FARTHEST_BPS)
    px = start * (1 + BPS * side * slippage) / TICK
    shares = np.maximum(1, np.round(np.abs(q) * panel.adv[symbol] / (px * TICK))).astype(np.int64)
    tick = np.floor(px).astype(np.int64)
    high = np.round(shares * (px - tick)).astype(np.int64)
    new = (np.diff(symbol) != 0) | (np.diff(bucket) != 1) | (np.diff(side) != 0)
    parent = np.concatenate(([0], np.cumsum(new)))
    return Slices(symbol, bucket, side, parent, tick, shares - high, high)


def _orders(panel: Panel, quotes: Quotes, slices: Slices) -> Columns:
    """One order per run: decided at its first bucket's start, worked to its last bucket's end."""
    first = np.unique(slices.parent, return_index=True)[1]
    last = np.append(first[1:], len(slices.parent)) - 1
    symbol, bucket, size = slices.symbol[first], slices.bucket[first], len(first)
    qty = np.bincount(slices.parent, slices.shares).astype(np.int64)
    decided = quotes.mid[bucket * STEPS, symbol]
    day = str(panel.date[0]).replace("-", "")
    second = np.timedelta64(1, "s")
    return {
        "order_id": np.array([f"P{day}-{k:05d}" for k in range(size)], dtype=object),
        "basket_id": np.array([f"B{day}-{b:02d}" for b in bucket.tolist()], dtype=object),
        "symbol": _names(panel)[symbol],
        "side": np.where(slices.side[first] > 0, "BUY", "SELL").astype(object),
        "parent_qty": qty,
        "parent_notional": np.round(qty * decided, 2),
        "decision_ts": panel.ts[bucket],
        "decision_px": decided,
        "start_ts": panel.ts[bucket] + second,
        "end_ts": panel.ts[slices.bucket[last]] + 299 * second,
        "alpha_bps": np.full(size, np.nan),
        "code": symbol,
    }


def _fills(rng: np.random.Generator, panel: Panel, slices: Slices, orders: Columns) -> Columns:
    """The slices' prints, at uniform moments of their buckets."""
    tick = np.concatenate((slices.tick, slices.tick + 1))
    qty = np.concatenate((slices.low, slices.high))
    index = np.tile(np.arange(len(slices.tick)), 2)[qty > 0]
    tick, qty = tick[qty > 0], qty[qty > 0]
    ms = rng.integers(2_000, 298_000, len(qty))
    ts = panel.ts[slices.bucket[index]] + ms * np.timedelta64(1, "ms")
    order, parent = np.argsort(ts, kind="stable"), slices.parent[index]
    day = str(panel.date[0]).replace("-", "")
    columns = {
        "order_id": orders["order_id"][parent],
        "symbol": orders["symbol"][parent],
        "side": orders["side"][parent],
        "fill_ts": ts,
        "fill_px": np.round(tick * TICK, 2),
        "fill_qty": qty,
        "venue": np.array(["XLIT", "XDRK"], dtype=object)[rng.integers(0, 2, len(qty))],
        "liquidity": np.array(["PASSIVE", "AGGRESSIVE"], dtype=object)[
            rng.integers(0, 2, len(qty))
        ],
        "fee": np.round(0.002 * qty, 6),
    }
    ids = np.array([f"F{day}-{k:06d}" for k in range(len(qty))], dtype=object)
    return {"fill_id": ids, **{name: values[order] for name, values in columns.items()}}


def _marks(panel: Panel, quotes: Quotes, slices: Slices, orders: Columns) -> Columns:
    """The marks of every order at the last quoted mid."""
    code, size = orders["code"], len(orders["code"])
    close = np.full(size, quotes.ts[-1])
    ts = np.stack((orders["decision_ts"], orders["start_ts"], orders["end_ts"], close), axis=1)
    at = (ts - quotes.ts[0]) // np.timedelta64(STEP_S, "s")
    return {
        "order_id": np.repeat(orders["order_id"], 4),
        "mark": np.tile(
            np.array(["DECISION", "ARRIVAL", "INTERVAL_MID", "CLOSE"], dtype=object), size
        ),
        "ts": ts.ravel(),
        "px": quotes.mid[at, code[:, None]].ravel(),
    }


def instruments(panel: Panel) -> Columns:
    return {
        "symbol": _names(panel),
        "sector": np.array(panel.sectors, dtype=object),
        "adv_notional": panel.adv,
        "market_beta": np.full(panel.n, np.nan),
        "tick_size": np.full(panel.n, TICK),
        "lot_size": np.ones(panel.n, dtype=np.int64),
    }


def snapshots(panel: Panel, quotes: Quotes) -> Columns:
    count = len(quotes.ts)
    names = pa.array(list(panel.symbols), pa.string())
    codes = pa.array(np.repeat(np.arange(panel.n, dtype=np.int32), count))
    return {
        "symbol": names.take(codes),
        "ts": np.tile(quotes.ts, panel.n),
        "bid_px": quotes.bid.T.ravel(),
        "ask_px": quotes.ask.T.ravel(),
        "bid_size": quotes.bid_size.T.ravel(),
        "ask_size": quotes.ask_size.T.ravel(),
        "short_vol_bps": np.full(count * panel.n, np.nan),
    }


def _peer_flow(panel: Panel) -> Columns:
    return {
        "symbol": np.tile(_names(panel), len(panel.ts)),
        "ts": np.repeat(panel.ts, panel.n),
        "sector_flow": (panel.sector_flow * panel.adv).ravel(),
        "factor_flow": (panel.factor_flow * panel.adv).ravel(),
    }


def _names(panel: Panel) -> NDArray[Any]:
    return np.array(panel.symbols, dtype=object)


def _write(landing: Path, name: str, date: str, columns: Columns) -> None:
    """One Parquet file in the contract's types; NaN is null where null is allowed."""
    folder = landing / name / f"date={date}"
    folder.mkdir(parents=True)
    table = contract.TABLES[name]
    arrays = []
    for column in table.columns:
        values = columns[column.name]
        if not isinstance(values, pa.Array):
            values = pa.array(values, _TYPES[column.type], from_pandas=column.nullable)
        arrays.append(values)
    written = pa.table(arrays, names=list(table.column_names))
    pq.write_table(written, folder / "part-0.parquet", compression="zstd", compression_level=1)
