"""Trial desks: panels with planted couplings, drawn from another world than the demo desk's.

`crossimpact.simulate` lets orders move a price path; here the panel's own equation is drawn, with
flows, noise and couplings it never produces: baskets worked together, chased peer flow, fat tails,
names that hardly trade, flows that are nearly copies of each other, couplings that wander. The
couplings of a desk live in scaled dollar space, ``Y = M x + noise`` with ``x_j = q_j sqrt(adv_j)``.

    desk = draw("confounded", seed=0)
    desk.head, desk.fresh        # panels: the window to fit, and its continuation to score on
    desk.scaled["stressed"]      # what is true at the window's end
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.couplings import KINDS, SECTORS, Traits, World, plan
from crossimpact.model import Array, from_scaled
from crossimpact.panel import REGIMES, Panel

Bools = NDArray[np.bool_]

BUCKETS = 78  # five-minute buckets in a session
FRESH_DAYS = 20
FIRST_DATE = "2026-01-05"
OPEN = np.timedelta64((14 * 60 + 30) * 60, "s")

BASKETS = 12  # worked per day
FLOW = 1.4e-3  # median fraction of ADV executed in a bucket
NOISE_BPS, FILL_BPS = 9.0, 3.0  # mid move over a bucket, and fills around the mid, calm mid-session
FILLS = 4  # at most in a bucket
#: Part of what the mid keeps of own and cross impact at a bucket's end that its fills pay.
FILL_RATIO, SELF_FILL_RATIO = 0.6, 0.65
STRESS_NOISE = 1.7
PEER_FLOW = 3e-3  # scale of the others' net flow, fraction of ADV


@dataclass(frozen=True)
class Desk:
    """A drawn desk.

    Attributes
    ----------
    kind, seed
        What was asked.
    head, fresh
        The window, and the sessions right after it, drawn from what is true at the window's end.
    scaled
        True couplings per regime at the window's end, symmetric, zero diagonal, bps, (n, n).
    alpha, beta
        True self impact per regime, bps, (n,).
    cross
        True cross move of each bucket of the window, bps, (T, n).
    noise
        Standard deviation of the mid noise in the window, bps, (T, n).
    """

    kind: str
    seed: int
    head: Panel
    fresh: Panel
    scaled: Mapping[str, Array]
    alpha: Mapping[str, Array]
    beta: Mapping[str, Array]
    cross: Array
    noise: Array

    def share(self, regime: str) -> float:
        """Share of the variance of slippage that true cross terms explain in `regime`."""
        rows = self.head.regime == regime
        traded = self.head.q[rows] != 0
        cross = np.where(traded, self.cross[rows], np.nan)
        return float(np.nanvar(cross) / np.nanvar(self.head.response[rows]))


def draw(
    kind: str, seed: int, *, symbols: int = 40, days: int | None = None,
    fill_ratio: float = FILL_RATIO, self_fill_ratio: float = SELF_FILL_RATIO,
) -> Desk:  # fmt: skip
    """Draw a desk.

    Parameters
    ----------
    kind
        A key of `KINDS`.
    seed
        Equal seeds, equal desks; kinds share nothing.
    symbols
        Names, at least one per sector.
    days
        Sessions of the window; the kind's own by default.
    fill_ratio, self_fill_ratio
        What fills pay of the cross and own impact that the mid keeps at the bucket's end, 0.5 to 1:
        a push builds up through the bucket while its fills are spread over it.
    """
    traits = KINDS[kind]
    rng = np.random.default_rng([seed, list(KINDS).index(kind)])
    cut = BUCKETS * (traits.days if days is None else days)
    length = cut + BUCKETS * FRESH_DAYS
    world = plan(rng, traits, symbols)
    stressed = _spells(rng, length)
    peers = _peers(rng, world.sector, length)
    q = _flows(rng, traits, world, peers[0] + 0.6 * peers[1])
    noise = NOISE_BPS * _scale(stressed)[:, None] * np.exp(rng.normal(0, 0.25, symbols))
    cross = _cross(world, q, stressed, np.clip(np.arange(length) / cut, 0, 1))
    own = _by_regime(world.beta, stressed) * q
    drift = noise * _shocks(rng, traits, world.sector, length) + _peer_moves(rng, peers)
    move = cross / fill_ratio + own / self_fill_ratio + drift
    at = _fill_moments(rng, q.shape)
    path = drift * at.mean(axis=0) + noise * _bridge(rng, at)
    path += cross / fill_ratio * built_up(at, fill_ratio).mean(axis=0)
    path += own / self_fill_ratio * built_up(at, self_fill_ratio).mean(axis=0)
    s = _slippage(rng, traits, world, stressed, q, path)
    panel = _panel(world, stressed, q, s, move, peers)
    window = np.arange(length) < cut
    return Desk(
        kind, seed, panel.where(window), panel.where(~window),
        world.end, world.alpha, world.beta, cross[:cut], noise[:cut],
    )  # fmt: skip


def _panel(
    world: World, stressed: Bools, q: Array, s: Array, move: Array, peers: tuple[Array, Array]
) -> Panel:
    day, bucket = np.divmod(np.arange(len(q)), BUCKETS)
    sessions = np.busday_offset(FIRST_DATE, np.arange(day[-1] + 1), roll="forward")
    dates: NDArray[np.datetime64] = sessions[day].astype("datetime64[us]")
    return Panel(
        ts=dates + OPEN + bucket * np.timedelta64(300, "s"),
        date=dates.astype("datetime64[D]").astype(str),
        regime=np.where(stressed, "stressed", "normal"),
        symbols=tuple(f"T{i:03d}" for i in range(q.shape[1])),
        sectors=tuple(f"sector {k}" for k in world.sector.tolist()),
        adv=world.adv,
        q=q,
        s=s,
        move=move,
        sector_flow=peers[0],
        factor_flow=peers[1],
    )


# -- flows -------------------------------------------------------------------------------------


def _spells(rng: np.random.Generator, length: int) -> Bools:
    """Stressed buckets: spells of four and more, a quarter of the time or so."""
    stressed, t = np.zeros(length, dtype=bool), 0
    while t < length:
        t += 1 + int(rng.exponential(60))
        stay = 4 + int(rng.exponential(20))
        stressed[t : t + stay] = True
        t += stay
    return stressed


def _peers(rng: np.random.Generator, sector: NDArray[np.int64], length: int) -> tuple[Array, Array]:
    """The others' flow, sector and factor, over each symbol's ADV."""
    by_sector = rng.standard_t(5, (length, SECTORS))[:, sector]
    market = np.repeat(rng.standard_t(5, (length, 1)), len(sector), axis=1)
    return PEER_FLOW * by_sector, PEER_FLOW * market


def _flows(rng: np.random.Generator, traits: Traits, world: World, peers: Array) -> Array:
    """Signed fractions of ADV executed, (T, n), chasing the peers' flow where the desk does."""
    n = len(world.adv)
    side = np.concatenate([_baskets(rng, world.sector) for _ in range(len(peers) // BUCKETS)])
    if traits.follow:
        side = _followed(rng, side, traits.follow)
    rarely = rng.random(n) < traits.rare
    side *= (rng.random(side.shape) < 0.9) & ~(rarely & (rng.random(side.shape) < 0.9))
    size = _sizes(rng, traits, side.shape)
    if traits.rare:  # small names are traded larger against their volume
        size *= np.clip((world.adv / np.median(world.adv)) ** -0.3, 0.3, 3)
    chased = traits.chase * peers / PEER_FLOW
    return np.asarray(np.where(side != 0, (side + chased) * size, 0.0))


def _baskets(rng: np.random.Generator, sector: NDArray[np.int64]) -> Array:
    """A day's signs: most of a sector, mostly on one side, or eight names, for 3 to 19 buckets."""
    side = np.zeros((BUCKETS, len(sector)))
    for _ in range(BASKETS):
        first = rng.integers(0, BUCKETS - 6)
        if rng.random() < 0.5:
            names = np.flatnonzero(
                (sector == rng.integers(SECTORS)) & (rng.random(len(sector)) < 0.8)
            )
            signs = rng.choice([-1, 1]) * np.where(rng.random(len(names)) < 0.2, -1, 1)
        else:
            names = rng.choice(len(sector), 8, replace=False)
            signs = rng.choice([-1, 1], 8)
        side[first : first + rng.integers(3, 20), names] = signs
    return side


def _followed(rng: np.random.Generator, side: Array, share: float) -> Array:
    """Some names trade when every fifth does, four in five of them on its side."""
    names = np.arange(side.shape[1])
    leader = np.where(rng.random(len(names)) < share, names // 5 * 5, names)
    sign = np.where((leader != names) & (rng.random(len(names)) < 0.2), -1, 1)
    return np.asarray(side[:, leader] * sign)


def _sizes(rng: np.random.Generator, traits: Traits, shape: tuple[int, ...]) -> Array:
    """Fractions of ADV: log-normal, fat-tailed, or nearly common to all names of a bucket."""
    if traits.heavy:
        return FLOW * np.minimum(0.8 * np.abs(rng.standard_t(2.2, shape)) + 0.2, 30)
    if traits.follow:
        return FLOW * np.exp(rng.normal(0, 0.15, shape) + rng.normal(0, 0.5, (shape[0], 1)))
    return FLOW * np.exp(rng.normal(0, 0.6, shape))


# -- prices ------------------------------------------------------------------------------------


def seasonality(length: int) -> Array:
    """The U of a session: 1 at noon, 1.5 at its ends, (length,)."""
    return np.asarray(1 + 0.5 * (np.arange(length) % BUCKETS / (BUCKETS / 2) - 1) ** 2)


def _scale(stressed: Bools) -> Array:
    return np.where(stressed, STRESS_NOISE, 1.0) * seasonality(len(stressed))


def _shocks(
    rng: np.random.Generator, traits: Traits, sector: NDArray[np.int64], length: int
) -> Array:
    """Unit noise, a share of it common to the market (0.7 of that share) and to sectors (0.3)."""
    own = _own_shocks(rng, traits, (length, len(sector)))
    market, by_sector = rng.normal(size=(length, 1)), rng.normal(size=(length, SECTORS))[:, sector]
    common = np.sqrt(0.7) * market + np.sqrt(0.3) * by_sector
    return np.asarray(np.sqrt(1 - traits.common) * own + np.sqrt(traits.common) * common)


def _own_shocks(rng: np.random.Generator, traits: Traits, shape: tuple[int, ...]) -> Array:
    return rng.standard_t(3, shape) / np.sqrt(3) if traits.heavy else rng.normal(size=shape)


def _peer_moves(rng: np.random.Generator, peers: tuple[Array, Array]) -> Array:
    """What the others' flow moves, bps."""
    n = peers[0].shape[1]
    by_sector = rng.uniform(300, 1200, n) * peers[0]
    return np.asarray(by_sector + rng.uniform(200, 800, n) * peers[1])


def built_up(at: Array, ratio: float) -> Array:
    """Part of a bucket's push that the mid shows at moments `at` of it, 0 to 1: concave, and
    `ratio` in the mean over the bucket."""
    return np.asarray(1 - (1 - at) ** (ratio / (1 - ratio)) if ratio < 1 else np.ones_like(at))


def _fill_moments(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Moments of each cell's fills in its bucket, ascending; fewer fills repeat, (FILLS, T, n)."""
    at = rng.random((FILLS, *shape), dtype=np.float64)
    count = rng.integers(1, FILLS + 1, shape)
    first = np.arange(FILLS)[:, None, None] % count
    return np.sort(np.take_along_axis(at, first, axis=0), axis=0)


def _bridge(rng: np.random.Generator, at: Array) -> Array:
    """Mean over its fills of how far the path strays from its straight line, in units of the
    bucket's noise: a Brownian bridge read at `at`, ascending."""
    left = np.diff(at, axis=0, prepend=0.0)
    walk, last, total = np.zeros(at.shape[1:]), np.zeros(at.shape[1:]), np.zeros(at.shape[1:])
    for moment, step in zip(at, left, strict=True):
        room = np.maximum(1 - last, 1e-12)
        walk = walk * (1 - moment) / room
        walk = walk + np.sqrt(step * (1 - moment) / room) * rng.normal(size=walk.shape)
        last, total = moment, total + walk
    return total / len(at)


def _slippage(
    rng: np.random.Generator, traits: Traits, world: World, stressed: Bools, q: Array, move: Array
) -> Array:
    """What fills cost: alpha, the path's move until they fell on their side, and their own."""
    fills = FILL_BPS * _scale(stressed)[:, None] * _own_shocks(rng, traits, q.shape)
    cost = _by_regime(world.alpha, stressed) + np.sign(q) * (move + fills)
    return np.asarray(np.where(q != 0, cost, np.nan))


def _cross(world: World, q: Array, stressed: Bools, progress: Array) -> Array:
    """True cross move, bps, of couplings on their way through the window."""
    moves = {}
    for regime in REGIMES:
        first, last = (q @ from_scaled(m[regime], world.adv).T for m in (world.start, world.end))
        moves[regime] = first + progress[:, None] * (last - first)
    return _by_regime(moves, stressed)


def _by_regime(values: Mapping[str, Array], stressed: Bools) -> Array:
    """Each bucket's values, (T, n), from those per regime, (n,) or (T, n)."""
    return np.asarray(np.where(stressed[:, None], values["stressed"], values["normal"]))
