"""One day happens: orders are worked, flow moves quotes, fills are struck from the moved quotes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossimpact import contract
from crossimpact.model import BPS, Array
from crossimpact.simulate.market import (
    AGGRESSIVE_SHARE,
    PASSIVE_EARNS,
    PEER_FACTOR_BPS,
    PEER_SECTOR_BPS,
    REGIMES,
    SESSION_S,
    STRESS_DEPTH,
    STRESS_SPREAD,
    STRESS_VOL,
    TICK,
    Ints,
    Times,
    Truth,
)
from crossimpact.simulate.orders import (
    PEER_FLOW_SD,
    Parents,
    Peers,
    Slices,
    draw_parents,
    draw_peers,
    slice_parents,
)

#: Columns by table and name. Text is an object array (None = null); NaN in a nullable column is
#: null; times are datetime64[us], UTC.
Tables = dict[str, dict[str, NDArray[Any]]]

_SECOND = 1_000_000
#: Noise of a bucket in the normal regime, bps, and its split into market, sector and own variance.
_NOISE_BPS, _NOISE_SPLIT = 9.0, (0.25, 0.15, 0.60)
#: Quotes answer a bucket's flow with this time constant, as a fraction of the bucket.
_RESPONSE = 1 / 20
_TICKS_PER_UNIT = round(1 / TICK)
_VENUES = np.array(["XLIT", "XMID", "XDRK"], dtype=object)
_NULL = np.array([None], dtype=object)
_PRINT_EVERY_S = 30
_FEE_AGGRESSIVE, _FEE_PASSIVE = 0.003, -0.002


@dataclass(frozen=True)
class Quotes:
    """Recorded top of book, shape (snapshots, n), times in microseconds after the open."""

    bid: Array
    ask: Array
    open_ts: np.datetime64
    snapshot_us: int

    @property
    def mid(self) -> Array:
        return (self.bid + self.ask) / 2

    def mid_at(self, us: Ints, symbol: Ints) -> Array:
        """Last recorded mid at or before each moment."""
        k = us // self.snapshot_us
        mids: Array = (self.bid[k, symbol] + self.ask[k, symbol]) / 2
        return mids

    def clock(self, us: Ints) -> Times:
        times: Times = self.open_ts + us.astype("timedelta64[us]")
        return times


def simulate_day(truth: Truth, day: int) -> Tables:
    """Let one trading day happen.

    Parameters
    ----------
    truth
        From `plan_market`.
    day
        0 to ``spec.days - 1``; days are independent of each other and may be run in any order.

    Returns
    -------
    Tables
        Every table of the contract with its columns in order, free of broken rows.
    """
    rng = truth.spec.stream(3, day)
    peers = draw_peers(truth, rng)
    open_px = truth.open_px[day]
    parents = draw_parents(truth, peers, rng)
    slices = slice_parents(truth, parents, peers, open_px, rng)
    log_path, moves = _log_path(truth, day, _net_shares(truth, parents, slices), peers, rng)
    quotes = _quotes(truth, day, open_px * np.exp(BPS * log_path), rng)
    orders, start_us, end_us = _parent_orders(truth, day, parents, slices, peers, quotes, rng)
    fills, fill_us = _child_fills(truth, day, parents, slices, orders, quotes, rng)
    tables: Tables = {
        "instruments": _instruments(truth, rng),
        "parent_orders": orders,
        "child_fills": fills,
        "market_snapshots": _snapshots(truth, day, quotes, rng),
        "benchmark_marks": _marks(orders, parents.symbol, start_us, end_us, quotes),
        "peer_flow": _peer_flow(truth, day, peers),
        "public_trades": _prints(truth, day, fills, fill_us, peers, moves, quotes, rng),
    }
    return {
        name: {column: tables[name][column] for column in table.column_names}
        for name, table in contract.TABLES.items()
    }


# -- prices ------------------------------------------------------------------------------------


def _net_shares(truth: Truth, parents: Parents, slices: Slices) -> Array:
    """Signed executed shares by bucket and symbol."""
    net = np.zeros((truth.spec.buckets, truth.spec.symbols))
    signed = parents.side[slices.parent] * slices.shares * slices.executed
    np.add.at(net, (slices.bucket, parents.symbol[slices.parent]), signed)
    return net


def _log_path(
    truth: Truth, day: int, shares: Array, peers: Peers, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Log mids in bps from the open, (snapshots, n), and their moves by bucket, (B, n).

    Move of a bucket = noise + peers' flow + ``A q``, with q from the shares at the mid then.
    """
    spec, regime = truth.spec, truth.regime[day]
    shape = (spec.buckets, spec.steps, spec.symbols)
    peer = PEER_FLOW_SD * (
        PEER_SECTOR_BPS * peers.sector[:, truth.sector] + PEER_FACTOR_BPS * peers.market[:, None]
    )
    steps = _noise(truth, regime, rng) + peer[:, None, :] / spec.steps
    exogenous, impact = steps.sum(axis=1), np.empty((spec.buckets, spec.symbols))
    px = truth.open_px[day].copy()
    for b in range(spec.buckets):
        impact[b] = truth.matrices[regime[b]] @ (shares[b] * px / truth.adv)
        px *= np.exp(BPS * (exogenous[b] + impact[b]))
    phase = np.arange(spec.steps + 1) / (spec.steps * _RESPONSE)
    response = np.diff(-np.expm1(-phase)) / -np.expm1(-1 / _RESPONSE)
    steps += impact[:, None, :] * response[:, None]
    path = np.zeros((spec.buckets * spec.steps + 1, spec.symbols))
    np.cumsum(steps.reshape(-1, shape[2]), axis=0, out=path[1:])
    return path, exogenous + impact


def _noise(truth: Truth, regime: Ints, rng: np.random.Generator) -> Array:
    """Market, sector and own noise per snapshot step, (B, steps, n), bps."""
    spec = truth.spec
    grid = (spec.buckets, spec.steps)
    market, sector, own = np.sqrt(_NOISE_SPLIT)
    steps = own * rng.standard_normal((*grid, spec.symbols))
    steps += market * truth.market_beta * rng.standard_normal((*grid, 1))
    steps += sector * rng.standard_normal((*grid, len(truth.sector_names)))[..., truth.sector]
    scale = spec.noise_scale * _NOISE_BPS * np.sqrt(spec.bucket_s / 300 / spec.steps)
    by_bucket = scale * np.where(regime == 1, STRESS_VOL, 1.0)
    noise: Array = steps * truth.volatility * by_bucket[:, None, None]
    return noise


def _by_snapshot(truth: Truth, day: int, stressed: float) -> Array:
    """1 in normal and `stressed` in stressed buckets, by snapshot, shape (snapshots, 1)."""
    by_step = np.repeat(truth.regime[day], truth.spec.steps)
    return np.where(np.append(by_step, by_step[-1]) == 1, stressed, 1.0)[:, None]


def _quotes(truth: Truth, day: int, path: Array, rng: np.random.Generator) -> Quotes:
    """Bid and ask on the tick grid, as close around the path as the grid allows."""
    spread = 2 * truth.half_spread["normal"] * _by_snapshot(truth, day, STRESS_SPREAD)
    wide = BPS * path * spread * np.exp(rng.normal(0.0, 0.15, path.shape)) / TICK
    ticks = np.maximum(1, np.round(wide))
    bid = np.maximum(1, np.round(path / TICK - ticks / 2))
    return Quotes(
        bid / _TICKS_PER_UNIT,
        (bid + ticks) / _TICKS_PER_UNIT,
        truth.spec.open_ts(day),
        truth.spec.snapshot_s * _SECOND,
    )


def _on_tick(px: Array) -> Array:
    """Nearest price of the grid, at least one tick."""
    return np.maximum(1, np.round(px / TICK)) / _TICKS_PER_UNIT


# -- the desk's own tables ---------------------------------------------------------------------


def _parent_orders(
    truth: Truth,
    day: int,
    parents: Parents,
    slices: Slices,
    peers: Peers,
    quotes: Quotes,
    rng: np.random.Generator,
) -> tuple[dict[str, NDArray[Any]], Ints, Ints]:
    """The orders, with their windows in microseconds after the open."""
    size, bucket_us = len(parents.symbol), truth.spec.bucket_s * _SECOND
    margin = _margin_us(truth)
    start = parents.first * bucket_us + rng.integers(0, margin, size)
    end = parents.last * bucket_us - rng.integers(0, margin, size)
    decision = np.maximum(0, start - rng.integers(60 * _SECOND, 1200 * _SECOND, size))
    px = quotes.mid_at(decision, parents.symbol)
    qty = np.bincount(slices.parent, slices.shares, size).astype(np.int64)
    legs = np.bincount(parents.basket)[parents.basket]
    date = truth.spec.dates[day].replace("-", "")
    lean = parents.side * peers.sector[parents.first, truth.sector[parents.symbol]]
    alpha = np.round(2 * lean + rng.normal(1.0, 3.0, size), 2)
    orders = {
        "order_id": _ids(f"P{date}-", np.arange(size)),
        "basket_id": np.where(legs > 1, _ids(f"B{date}-", parents.basket), _NULL),
        "symbol": _text(truth.symbols)[parents.symbol],
        "side": _sides(parents.side),
        "parent_qty": qty,
        "parent_notional": np.round(qty * px, 2),
        "decision_ts": quotes.clock(decision),
        "decision_px": px,
        "start_ts": quotes.clock(start),
        "end_ts": quotes.clock(end),
        "alpha_bps": np.where(rng.random(size) < 0.3, np.nan, alpha),
    }
    return orders, start, end


def _child_fills(
    truth: Truth,
    day: int,
    parents: Parents,
    slices: Slices,
    orders: dict[str, NDArray[Any]],
    quotes: Quotes,
    rng: np.random.Generator,
) -> tuple[dict[str, NDArray[Any]], Ints]:
    """1 to 4 fills per executed slice, in time order, with their times after the open."""
    parent, bucket, qty = _split(truth, parents, slices, rng)
    size, margin, bucket_us = len(parent), _margin_us(truth), truth.spec.bucket_s * _SECOND
    us = bucket * bucket_us + rng.integers(margin, bucket_us - margin, size)
    order = np.argsort(us, kind="stable")
    parent, bucket, qty, us = parent[order], bucket[order], qty[order], us[order]
    symbol, side = parents.symbol[parent], parents.side[parent]
    aggressive = rng.random(size) < AGGRESSIVE_SHARE
    half = _half_spread(truth, day, bucket, symbol)
    edge = side * half * np.where(aggressive, 1.0, -PASSIVE_EARNS) + rng.normal(0.0, 0.2, size)
    venue = np.where(aggressive, rng.choice(3, size, p=[0.8, 0.1, 0.1]), rng.integers(0, 3, size))
    fee = qty * np.where(aggressive, _FEE_AGGRESSIVE, _FEE_PASSIVE)
    fills = {
        "fill_id": _ids(f"F{truth.spec.dates[day].replace('-', '')}-", np.arange(size)),
        "order_id": orders["order_id"][parent],
        "symbol": orders["symbol"][parent],
        "side": orders["side"][parent],
        "fill_ts": quotes.clock(us),
        "fill_px": _on_tick(quotes.mid_at(us, symbol) * (1 + BPS * edge)),
        "fill_qty": qty,
        "venue": _VENUES[venue],
        "liquidity": np.where(aggressive, _text(("AGGRESSIVE",)), _text(("PASSIVE",))),
        "fee": np.round(fee, 6),
    }
    return fills, us


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


def _marks(
    orders: dict[str, NDArray[Any]], symbol: Ints, start: Ints, end: Ints, quotes: Quotes
) -> dict[str, NDArray[Any]]:
    """DECISION, ARRIVAL, INTERVAL_MID and CLOSE of every parent."""
    mid, size = quotes.mid, len(symbol)
    total = np.vstack([np.zeros(mid.shape[1]), np.cumsum(mid, axis=0)])
    first, last = start // quotes.snapshot_us, end // quotes.snapshot_us + 1
    average = (total[last, symbol] - total[first, symbol]) / (last - first)
    close = np.full(size, (len(mid) - 1) * quotes.snapshot_us)
    marks = ("DECISION", "ARRIVAL", "INTERVAL_MID", "CLOSE")
    ts = [orders["decision_ts"], *map(quotes.clock, (start, end, close))]
    px = [orders["decision_px"], quotes.mid_at(start, symbol), average, mid[-1, symbol]]
    return {
        "order_id": np.repeat(orders["order_id"], len(marks)),
        "mark": np.tile(_text(marks), size),
        "ts": np.stack(ts, axis=1).ravel(),
        "px": np.stack(px, axis=1).ravel(),
    }


# -- the market's tables -----------------------------------------------------------------------


def _instruments(truth: Truth, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    n = truth.spec.symbols
    wobble = np.exp(rng.normal(0.0, 0.01, n))
    return {
        "symbol": _text(truth.symbols),
        "sector": _text(truth.sector_names)[truth.sector],
        "adv_notional": np.round(truth.adv * wobble, 2),
        "market_beta": np.where(np.arange(n) % 10 == 9, np.nan, truth.market_beta),
        "tick_size": np.full(n, TICK),
        "lot_size": truth.lot,
    }


def _snapshots(
    truth: Truth, day: int, quotes: Quotes, rng: np.random.Generator
) -> dict[str, NDArray[Any]]:
    """Symbol by symbol in time order."""
    count, n = quotes.bid.shape
    depth = truth.adv / truth.spec.buckets / 20 / truth.open_px[day] / truth.lot
    depth = depth * _by_snapshot(truth, day, STRESS_DEPTH)
    sizes = depth * np.exp(rng.normal(-0.08, 0.4, (2, count, n)))
    bid_size, ask_size = np.maximum(1, np.round(sizes)) * truth.lot
    vol = _trailing_std(np.diff(np.log(quotes.mid), axis=0) / BPS, 300 // truth.spec.snapshot_s)
    vol[rng.random(vol.shape) < 0.5] = np.nan
    ts = quotes.clock(np.arange(count) * quotes.snapshot_us)
    return {
        "symbol": np.repeat(_text(truth.symbols), count),
        "ts": np.tile(ts, n),
        "bid_px": quotes.bid.T.ravel(),
        "ask_px": quotes.ask.T.ravel(),
        "bid_size": bid_size.T.ravel(),
        "ask_size": ask_size.T.ravel(),
        "short_vol_bps": vol.T.ravel(),
    }


def _trailing_std(returns: Array, window: int) -> Array:
    """Sample deviation of the last `window` returns at each snapshot, NaN before the 12th."""
    zero = np.zeros((1, returns.shape[1]))
    total, squares = (np.cumsum(np.vstack([zero, x]), axis=0) for x in (returns, returns**2))
    last = np.arange(len(returns) + 1)
    first = np.maximum(0, last - max(window, 2))
    count = np.maximum(2, last - first)[:, None]
    mean = (total - total[first]) / count
    variance = (squares - squares[first] - count * mean**2) / (count - 1)
    return np.where((last < 12)[:, None], np.nan, np.round(np.sqrt(np.maximum(0, variance)), 4))


def _peer_flow(truth: Truth, day: int, peers: Peers) -> dict[str, NDArray[Any]]:
    buckets, n = truth.spec.buckets, truth.spec.symbols
    sector = PEER_FLOW_SD * peers.sector[:, truth.sector] * truth.sector_adv
    factor = np.repeat(PEER_FLOW_SD * peers.market * truth.adv.sum(), n)
    return {
        "symbol": np.tile(_text(truth.symbols), buckets),
        "ts": np.repeat(truth.bucket_ts(day), n),
        "sector_flow": np.round(sector.ravel(), 2),
        "factor_flow": np.round(factor, 2),
    }


def _prints(
    truth: Truth,
    day: int,
    fills: dict[str, NDArray[Any]],
    fill_us: Ints,
    peers: Peers,
    moves: Array,
    quotes: Quotes,
    rng: np.random.Generator,
) -> dict[str, NDArray[Any]]:
    """The desk's own prints among others', whose aggressors lean with the move and the peers."""
    n, names = truth.spec.symbols, _text(truth.symbols)
    symbol = np.repeat(np.arange(n), rng.poisson(SESSION_S / _PRINT_EVERY_S, n))
    us = rng.integers(0, SESSION_S * _SECOND, len(symbol))
    bucket = us // (truth.spec.bucket_s * _SECOND)
    lean = 0.06 * moves[bucket, symbol] + 0.4 * peers.sector[bucket, truth.sector[symbol]]
    side = np.where(rng.random(len(us)) < 1 / (1 + np.exp(-np.clip(lean, -4, 4))), 1, -1)
    edge = BPS * side * _half_spread(truth, day, bucket, symbol)
    px = _on_tick(quotes.mid_at(us, symbol) * (1 + edge))
    typical = truth.adv[symbol] * _PRINT_EVERY_S / SESSION_S / px / truth.lot[symbol]
    lots = np.maximum(1, np.round(typical * np.exp(rng.normal(-0.5, 1.0, len(us)))))
    own = np.where(fills["side"] == "BUY", 1, -1) * np.where(
        fills["liquidity"] == "AGGRESSIVE", 1, -1
    )
    times = np.concatenate([us, fill_us])
    order = np.argsort(times, kind="stable")
    return {
        "symbol": np.concatenate([names[symbol], fills["symbol"]])[order],
        "ts": quotes.clock(times[order]),
        "px": np.concatenate([px, fills["fill_px"]])[order],
        "qty": np.concatenate([lots * truth.lot[symbol], fills["fill_qty"]])[order],
        "aggressor_side": np.concatenate([side, own])[order],
    }


# -- small change ------------------------------------------------------------------------------


def _half_spread(truth: Truth, day: int, bucket: Ints, symbol: Ints) -> Array:
    by_regime = np.stack([truth.half_spread[regime] for regime in REGIMES])
    half: Array = by_regime[truth.regime[day][bucket], symbol]
    return half


def _margin_us(truth: Truth) -> int:
    """Windows open and close, and fills keep away from bucket edges, within this margin."""
    return int(_SECOND * min(2.0, truth.spec.bucket_s / 10))


def _sides(sign: Ints) -> NDArray[Any]:
    return np.where(sign > 0, _text(("BUY",)), _text(("SELL",)))


def _text(values: tuple[str, ...]) -> NDArray[Any]:
    return np.array(values, dtype=object)


def _ids(prefix: str, number: Ints) -> NDArray[Any]:
    return np.array([f"{prefix}{k:05d}" for k in number.tolist()], dtype=object)
