"""The market's tables of a day: instruments, snapshots, peer flow, public prints."""

from __future__ import annotations

import numpy as np

from crossimpact.model import BPS, Array
from crossimpact.simulate.columns import Columns, text
from crossimpact.simulate.market import STRESS_DEPTH, Truth
from crossimpact.simulate.orders import PEER_FLOW_SD, Peers
from crossimpact.simulate.prices import Quotes, by_snapshot, on_tick
from crossimpact.simulate.spec import SECOND, SESSION_S, TICK

_PRINT_EVERY_S = 30


def instruments(truth: Truth, rng: np.random.Generator) -> Columns:
    n = truth.spec.symbols
    wobble = np.exp(rng.normal(0.0, 0.01, n))
    return {
        "symbol": text(*truth.symbols),
        "sector": text(*truth.sector_names)[truth.sector],
        "adv_notional": np.round(truth.adv * wobble, 2),
        "market_beta": np.where(np.arange(n) % 10 == 9, np.nan, truth.market_beta),
        "tick_size": np.full(n, TICK),
        "lot_size": truth.lot,
    }


def snapshots(truth: Truth, day: int, quotes: Quotes, rng: np.random.Generator) -> Columns:
    """Symbol by symbol in time order."""
    count, n = quotes.bid.shape
    depth = truth.adv / truth.spec.buckets / 20 / truth.open_px[day] / truth.lot
    depth = depth * by_snapshot(truth, day, STRESS_DEPTH)
    sizes = depth * np.exp(rng.normal(-0.08, 0.4, (2, count, n)))
    bid_size, ask_size = np.maximum(1, np.round(sizes)) * truth.lot
    vol = _trailing_std(np.diff(np.log(quotes.mid), axis=0) / BPS, 300 // truth.spec.snapshot_s)
    vol[rng.random(vol.shape) < 0.5] = np.nan
    ts = quotes.clock(np.arange(count) * quotes.snapshot_us)
    return {
        "symbol": np.repeat(text(*truth.symbols), count),
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


def peer_flow(truth: Truth, day: int, peers: Peers) -> Columns:
    buckets, n = truth.spec.buckets, truth.spec.symbols
    sector = PEER_FLOW_SD * peers.sector[:, truth.sector] * truth.sector_adv
    factor = np.repeat(PEER_FLOW_SD * peers.market * truth.adv.sum(), n)
    return {
        "symbol": np.tile(text(*truth.symbols), buckets),
        "ts": np.repeat(truth.bucket_ts(day), n),
        "sector_flow": np.round(sector.ravel(), 2),
        "factor_flow": np.round(factor, 2),
    }


def prints(
    truth: Truth,
    day: int,
    fills: Columns,
    peers: Peers,
    moves: Array,
    quotes: Quotes,
    rng: np.random.Generator,
) -> Columns:
    """The desk's own prints among others', whose aggressors lean with the move and the peers."""
    n, names = truth.spec.symbols, text(*truth.symbols)
    symbol = np.repeat(np.arange(n), rng.poisson(SESSION_S / _PRINT_EVERY_S, n))
    us = rng.integers(0, SESSION_S * SECOND, len(symbol))
    bucket = us // (truth.spec.bucket_s * SECOND)
    lean = 0.06 * moves[bucket, symbol] + 0.4 * peers.sector[bucket, truth.sector[symbol]]
    side = np.where(rng.random(len(us)) < 1 / (1 + np.exp(-np.clip(lean, -4, 4))), 1, -1)
    edge = BPS * side * truth.half_spread_at(day, bucket, symbol)
    px = on_tick(quotes.mid_at(us, symbol) * (1 + edge))
    typical = truth.adv[symbol] * _PRINT_EVERY_S / SESSION_S / px / truth.lot[symbol]
    lots = np.maximum(1, np.round(typical * np.exp(rng.normal(-0.5, 1.0, len(us)))))
    own = np.where(fills["side"] == "BUY", 1, -1) * np.where(
        fills["liquidity"] == "AGGRESSIVE", 1, -1
    )
    times = np.concatenate([us, quotes.us(fills["fill_ts"])])
    order = np.argsort(times, kind="stable")
    return {
        "symbol": np.concatenate([names[symbol], fills["symbol"]])[order],
        "ts": quotes.clock(times[order]),
        "px": np.concatenate([px, fills["fill_px"]])[order],
        "qty": np.concatenate([lots * truth.lot[symbol], fills["fill_qty"]])[order],
        "aggressor_side": np.concatenate([side, own])[order],
    }
