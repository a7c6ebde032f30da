"""Prices of a day: noise, peers and the desk's own flow move the path; quotes sit around it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crossimpact.model import BPS, Array
from crossimpact.simulate.market import (
    PEER_FACTOR_BPS,
    PEER_SECTOR_BPS,
    STRESS_SPREAD,
    STRESS_VOL,
    Truth,
)
from crossimpact.simulate.orders import PEER_FLOW_SD, Plan
from crossimpact.simulate.spec import SECOND, TICK, DeskSpec, Ints, Times

#: Noise of a bucket in the normal regime, bps, and its split into market, sector and own variance.
_NOISE_BPS, _NOISE_SPLIT = 9.0, (0.25, 0.15, 0.60)
_TICKS_PER_UNIT = round(1 / TICK)


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

    def us(self, clock: Times) -> Ints:
        """Microseconds after the open, inverse of `clock`."""
        return (clock - self.open_ts).astype(np.int64)

    def clock(self, us: Ints) -> Times:
        times: Times = self.open_ts + us.astype("timedelta64[us]")
        return times


def net_shares(truth: Truth, plan: Plan) -> Array:
    """Signed executed shares by bucket and symbol."""
    parents, slices = plan.parents, plan.slices
    net = np.zeros((truth.spec.buckets, truth.spec.symbols))
    signed = parents.side[slices.parent] * slices.shares * slices.executed
    np.add.at(net, (slices.bucket, parents.symbol[slices.parent]), signed)
    return net


@dataclass(frozen=True)
class Path:
    """What a day's prices do, before quotes.

    Attributes
    ----------
    mids
        Log mids in bps from the open, (snapshots, n).
    moves
        Their moves by bucket, (buckets, n).
    left
        What is left of each of the kernel's exponentials at the close, bps, (terms, n).
    """

    mids: Array
    moves: Array
    left: Array


def log_path(truth: Truth, day: int, plan: Plan, left: Array, rng: np.random.Generator) -> Path:
    """Log mids of a day that begins with so much `left` of the one before, (terms, n).

    Move of a bucket = noise + peers' flow + what ``A q`` pushes, with q from the shares at the mid
    then, + what fades of earlier pushes. Fills pay ``A q`` on average; the mid keeps it over the
    fill ratio.
    """
    spec, regime, peers = truth.spec, truth.regime[day], plan.peers
    peer = PEER_FLOW_SD * (
        PEER_SECTOR_BPS * peers.sector[:, truth.sector] + PEER_FACTOR_BPS * peers.market[:, None]
    )
    steps = _noise(truth, regime, rng) + peer[:, None, :] / spec.steps
    shares, exogenous, impact = net_shares(truth, plan), steps.sum(axis=1), np.zeros_like(peer)
    px, matrices = truth.open_px[day].copy(), truth.matrices(day) / spec.fill_ratio
    phase = np.arange(spec.steps + 1) / spec.steps
    built, faded = _built_up(phase, spec.fill_ratio), _faded(spec, phase)
    weights = np.array(spec.kernel.weights)[:, None]
    for b in range(spec.buckets):
        push = matrices[regime[b]] @ (shares[b] * px / truth.adv)
        path = built[:, None] * push + faded @ left
        steps[b] += np.diff(path, axis=0)
        impact[b] = path[-1]
        left = left * (1 + faded[-1][:, None]) + weights * push
        px *= np.exp(BPS * (exogenous[b] + impact[b]))
    mids = np.zeros((spec.buckets * spec.steps + 1, spec.symbols))
    np.cumsum(steps.reshape(-1, spec.symbols), axis=0, out=mids[1:])
    return Path(mids, exogenous + impact, left)


def _built_up(phase: Array, ratio: float) -> Array:
    """Part of a bucket's push that is in the mid at a phase of the bucket, 0 to 1: concave, and
    `ratio` on average."""
    return np.asarray(1 - (1 - phase) ** (ratio / (1 - ratio)))


def _faded(spec: DeskSpec, phase: Array) -> Array:
    """What each of the kernel's exponentials has lost at a phase of a bucket, (phases, terms)."""
    minutes = phase[:, None] * spec.bucket_s / 60
    return np.asarray(np.expm1(-minutes * np.array(spec.kernel.rates_per_min)))


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


def by_snapshot(truth: Truth, day: int, stressed: float) -> Array:
    """1 in normal and `stressed` in stressed buckets, by snapshot, shape (snapshots, 1)."""
    by_step = np.repeat(truth.regime[day], truth.spec.steps)
    return np.where(np.append(by_step, by_step[-1]) == 1, stressed, 1.0)[:, None]


def quote(truth: Truth, day: int, path: Array, rng: np.random.Generator) -> Quotes:
    """Bid and ask on the tick grid, as close around the path as the grid allows."""
    spread = 2 * truth.half_spread["normal"] * by_snapshot(truth, day, STRESS_SPREAD)
    wide = BPS * path * spread * np.exp(rng.normal(0.0, 0.15, path.shape)) / TICK
    ticks = np.maximum(1, np.round(wide))
    bid = np.maximum(1, np.round(path / TICK - ticks / 2))
    return Quotes(
        bid / _TICKS_PER_UNIT,
        (bid + ticks) / _TICKS_PER_UNIT,
        truth.spec.open_ts(day),
        truth.spec.snapshot_s * SECOND,
    )


def on_tick(px: Array) -> Array:
    """Nearest price of the grid, at least one tick."""
    return np.maximum(1, np.round(px / TICK)) / _TICKS_PER_UNIT
