"""The desk's own tables of a day: parent orders, their fills and marks."""

from __future__ import annotations

import numpy as np

from crossimpact.model import BPS
from crossimpact.simulate.columns import Columns, ids, text
from crossimpact.simulate.market import AGGRESSIVE_SHARE, PASSIVE_EARNS, Truth
from crossimpact.simulate.orders import Parents, Plan, Slices
from crossimpact.simulate.prices import Quotes, on_tick
from crossimpact.simulate.spec import SECOND, Ints

_VENUES = text("XLIT", "XMID", "XDRK")
_MARKS = text("DECISION", "ARRIVAL", "INTERVAL_MID", "CLOSE")
_FEE_AGGRESSIVE, _FEE_PASSIVE = 0.003, -0.002


def parent_orders(
    truth: Truth,
    day: int,
    plan: Plan,
    quotes: Quotes,
    rng: np.random.Generator,
) -> Columns:
    """Windows of whole buckets, decided one to twenty minutes before."""
    parents, slices = plan.parents, plan.slices
    size, bucket_us = len(parents.symbol), truth.spec.bucket_s * SECOND
    margin = truth.spec.margin_us
    start = parents.first * bucket_us + rng.integers(0, margin, size)
    end = parents.last * bucket_us - rng.integers(0, margin, size)
    decision = np.maximum(0, start - rng.integers(60 * SECOND, 1200 * SECOND, size))
    px = quotes.mid_at(decision, parents.symbol)
    qty = np.bincount(slices.parent, slices.shares, size).astype(np.int64)
    legs = np.bincount(parents.basket)[parents.basket]
    date = truth.spec.dates[day].replace("-", "")
    lean = parents.side * plan.peers.sector[parents.first, truth.sector[parents.symbol]]
    alpha = np.round(2 * lean + rng.normal(1.0, 3.0, size), 2)
    return {
        "order_id": ids(f"P{date}-", np.arange(size)),
        "basket_id": np.where(legs > 1, ids(f"B{date}-", parents.basket), text(None)),
        "symbol": text(*truth.symbols)[parents.symbol],
        "side": np.where(parents.side > 0, text("BUY"), text("SELL")),
        "parent_qty": qty,
        "parent_notional": np.round(qty * px, 2),
        "decision_ts": quotes.clock(decision),
        "decision_px": px,
        "start_ts": quotes.clock(start),
        "end_ts": quotes.clock(end),
        "alpha_bps": np.where(rng.random(size) < 0.3, np.nan, alpha),
    }


def child_fills(
    truth: Truth,
    day: int,
    plan: Plan,
    orders: Columns,
    quotes: Quotes,
    rng: np.random.Generator,
) -> Columns:
    """1 to 4 fills per executed slice, in time order."""
    parents = plan.parents
    parent, bucket, qty = _split(truth, parents, plan.slices, rng)
    size, margin, bucket_us = len(parent), truth.spec.margin_us, truth.spec.bucket_s * SECOND
    us = bucket * bucket_us + rng.integers(margin, bucket_us - margin, size)
    order = np.argsort(us, kind="stable")
    parent, bucket, qty, us = parent[order], bucket[order], qty[order], us[order]
    symbol, side = parents.symbol[parent], parents.side[parent]
    aggressive = rng.random(size) < AGGRESSIVE_SHARE
    half = truth.half_spread_at(day, bucket, symbol)
    edge = side * half * np.where(aggressive, 1.0, -PASSIVE_EARNS) + rng.normal(0.0, 0.2, size)
    venue = np.where(aggressive, rng.choice(3, size, p=[0.8, 0.1, 0.1]), rng.integers(0, 3, size))
    fee = qty * np.where(aggressive, _FEE_AGGRESSIVE, _FEE_PASSIVE)
    return {
        "fill_id": ids(f"F{truth.spec.dates[day].replace('-', '')}-", np.arange(size)),
        "order_id": orders["order_id"][parent],
        "symbol": orders["symbol"][parent],
        "side": orders["side"][parent],
        "fill_ts": quotes.clock(us),
        "fill_px": on_tick(quotes.mid_at(us, symbol) * (1 + BPS * edge)),
        "fill_qty": qty,
        "venue": _VENUES[venue],
        "liquidity": np.where(aggressive, text("AGGRESSIVE"), text("PASSIVE")),
        "fee": np.round(fee, 6),
    }


def _split(
    truth: Truth, parents: Parents, slices: Slices, rng: np.random.Generator
) -> tuple[Ints, Ints, Ints]:
    """Executed slices cut into up to four pieces of whole lots: parent, bucket, shares."""
    parent, bucket = slices.parent[slices.executed], slices.bucket[slices.executed]
    lot = truth.lot[parents.symbol[parent]]
    lots = slices.shares[slices.executed] // lot
    pieces = rng.integers(1, 5, len(parent))
    weight = rng.uniform(0.5, 1.5, (len(parent), 4)) * (np.arange(4) < pieces[:, None])
    share = np.cumsum(weight, axis=1) / weight.sum(axis=1, keepdims=True)
    cut = np.diff(np.round(share * lots[:, None]), axis=1, prepend=0).astype(np.int64)
    row, column = np.nonzero(cut)
    return parent[row], bucket[row], cut[row, column] * lot[row]


def marks(orders: Columns, symbol: Ints, quotes: Quotes) -> Columns:
    """DECISION, ARRIVAL, INTERVAL_MID and CLOSE of every parent."""
    mid, size = quotes.mid, len(symbol)
    start, end = quotes.us(orders["start_ts"]), quotes.us(orders["end_ts"])
    total = np.vstack([np.zeros(mid.shape[1]), np.cumsum(mid, axis=0)])
    first, last = start // quotes.snapshot_us, end // quotes.snapshot_us + 1
    average = (total[last, symbol] - total[first, symbol]) / (last - first)
    close = np.full(size, (len(mid) - 1) * quotes.snapshot_us)
    ts = [*(orders[f"{name}_ts"] for name in ("decision", "start", "end")), quotes.clock(close)]
    px = [orders["decision_px"], quotes.mid_at(start, symbol), average, mid[-1, symbol]]
    return {
        "order_id": np.repeat(orders["order_id"], len(_MARKS)),
        "mark": np.tile(_MARKS, size),
        "ts": np.stack(ts, axis=1).ravel(),
        "px": np.stack(px, axis=1).ravel(),
    }
