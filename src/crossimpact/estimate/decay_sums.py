"""The sums from which a decay kernel is fitted: one day's, which add up over days.

A push x (bps, as its fills pay it) leaves a state that decays at rate rho,
``E_t = exp(-rho D) E_{t-1} + x_t``, zero before the session's first bucket, and the mid moves by
its changes ``dE_t``. Days hold the products of dE for a grid of rates, of each regime's own and
cross pushes, with each other and with the mid moves. A rate between those of the grid is a
combination of them (`Rates.mix`), so that its sums follow without another look at the data.

Each name's level and what it answers to its peers' flows are taken out of both sides day by day;
cells count by one over their noise, the name's of the day times the bucket's, and a response
further than `CLIP` of its standard deviations counts as that far.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from threadpoolctl import threadpool_limits

from crossimpact.errors import EstimationError
from crossimpact.estimate.own_terms import fitted, projector
from crossimpact.estimate.pilot import CLIP, bucket_noise
from crossimpact.estimate.robust import robust_spread
from crossimpact.kernel.decay import states
from crossimpact.model import Array, ImpactModel
from crossimpact.panel import Panel, tick_scale

Models = Mapping[str, ImpactModel]

STEP = 2.0  # ratio of neighbouring half-lives of the grid
MINUTE = np.timedelta64(60_000_000, "us")
PASSES = 2  # of clipping far responses


@dataclass(frozen=True)
class Rates:
    """A grid of decay rates, permanent first.

    Attributes
    ----------
    bucket_min, session_min
        Width of a bucket and length of the longest session, minutes.
    """

    bucket_min: float
    session_min: float

    @property
    def session_buckets(self) -> int:
        return round(self.session_min / self.bucket_min)

    @cached_property
    def half_lives_min(self) -> Array:
        """The grid's half-lives, minutes, increasing, from a sixth of a bucket to twice the
        session; permanent impact comes before them in every sum."""
        span = 12 * self.session_min / self.bucket_min
        count = 1 + int(np.ceil(np.log(span) / np.log(STEP)))
        return np.asarray(self.bucket_min / 6 * STEP ** np.arange(count))

    @property
    def per_min(self) -> Array:
        """The grid's rates, 0 for permanent impact first."""
        return np.append(0.0, np.log(2) / self.half_lives_min)

    @property
    def pilot(self) -> NDArray[np.int64]:
        """Permanent impact and two rates of the grid, for a first look."""
        count = len(self.half_lives_min)
        return np.array([0, count // 2, 3 * count // 4])

    def mix(self, half_lives_min: Array) -> Array:
        """Weights of the grid's exponentials that make those of other half-lives, shape (...,
        rates); inf is permanent impact. Right within .004 of a unit push at every lag."""
        half = np.asarray(half_lives_min, dtype=float)
        transient = np.isfinite(half)
        inside = np.where(transient, half, self.bucket_min)
        weights = np.zeros((*half.shape, len(self.half_lives_min) + 1))
        weights[..., 1:] = self._spline(np.log(inside)) * transient[..., None]
        weights[..., 0] = ~transient
        return weights

    @cached_property
    def _spline(self) -> CubicSpline:
        grid = np.log(self.half_lives_min)
        return CubicSpline(grid, np.eye(len(grid)))


@dataclass(frozen=True)
class DaySums:
    """Sums of one day over its known cells, in units of their noise.

    K rates, and m columns: own and cross push of each regime in turn.

    Attributes
    ----------
    gram, xy, yy
        Products of the state's changes with each other (K, m, K, m), with the mid moves (K, m), and
        of these with themselves.
    pushed
        Squares of the pushes before anything is taken out of them (m,).
    """

    date: str
    gram: Array
    xy: Array
    yy: float
    pushed: Array


@dataclass(frozen=True)
class DecaySums:
    """Sums by day: gram (days, K, m, K, m), xy (days, K, m), yy (days,), pushed (days, m)."""

    rates: Rates
    regimes: tuple[str, ...]
    dates: tuple[str, ...]
    gram: Array
    xy: Array
    yy: Array
    pushed: Array

    @classmethod
    def of_days(cls, rates: Rates, regimes: tuple[str, ...], days: Iterable[DaySums]) -> DecaySums:
        """Days in any order: they are put in order of their dates.

        Raises
        ------
        EstimationError
            When a date comes twice or there is none.
        """
        ordered = sorted(days, key=lambda day: day.date)
        dates = tuple(day.date for day in ordered)
        if not dates or len(set(dates)) != len(dates):
            raise EstimationError(f"{len(dates)} days of {len(set(dates))} dates for a decay")
        columns = (
            np.array([getattr(day, name) for day in ordered], dtype=float)
            for name in ("gram", "xy", "yy", "pushed")
        )
        return cls(rates, regimes, dates, *columns)

    def of_regime(self, regime: str, coefficients: Array) -> DecaySums:
        """One regime's sums, with what `coefficients` (rates, m) say of the others taken out."""
        k = self.regimes.index(regime)
        own = slice(2 * k, 2 * k + 2)
        others = coefficients.copy()
        others[:, own] = 0.0
        xy = self.xy - np.einsum("dkmln,ln->dkm", self.gram, others)
        yy = self.yy - ((self.xy + xy) * others).sum(axis=(1, 2))
        gram = self.gram[:, :, own, :, own]
        return replace(
            self, regimes=(regime,), gram=gram, xy=xy[:, :, own], yy=yy, pushed=self.pushed[:, own]
        )

    @property
    def days(self) -> int:
        return len(self.dates)


def rates_of(panel: Panel) -> Rates:
    """The grid for a panel's buckets and sessions.

    Raises
    ------
    EstimationError
        When no date has two buckets, or a bucket does not start on its date's grid.
    """
    gaps, length = [], 0.0
    for date in np.unique(panel.date):
        minutes = np.unique(panel.ts[panel.date == date]).astype("datetime64[us]")
        gaps.append(np.diff(minutes) / MINUTE)
        length = max(length, float((minutes[-1] - minutes[0]) / MINUTE))
    every = np.concatenate(gaps) if gaps else np.empty(0)
    if not every.size:
        raise EstimationError("no date has two buckets: nothing can be seen to decay")
    width = float(np.median(every))
    return Rates(width, length + width)


def decay_sums(panel: Panel, models: Models, rates: Rates | None = None) -> DecaySums:
    """Sums of every date of a panel.

    Parameters
    ----------
    panel
        All buckets of the window, raw flows, on the models' symbols.
    models
        By regime; what a bucket of another regime pushed is not known and taken for none, and its
        moves are left out.
    rates
        The grid; the panel's own by default.
    """
    rates = rates or rates_of(panel)
    dates = [str(date) for date in np.unique(panel.date)]
    with threadpool_limits(limits=1):  # the same digits whatever the machine's cores
        days = [day_sums(panel.where(panel.date == date), models, rates) for date in dates]
    return DecaySums.of_days(rates, tuple(models), days)


def day_sums(day: Panel, models: Models, rates: Rates) -> DaySums:
    """Sums of one date; arguments as `decay_sums`."""
    slots = slots_of(day, rates.bucket_min)
    push = on_slots(pushes(day, models), slots)
    changes = state_changes(push, rates)
    if not np.array_equal(slots, np.arange(len(push))):  # whole sessions need no copy
        changes = changes[slots]
    pushed_only = changes[:, :, rates.pilot].sum(axis=3)
    y, root = cells_of(day, pushed_only, np.isin(day.regime, list(models)))
    features = changes.reshape(*changes.shape[:2], -1)
    gram, xy, yy = products(day, features, y, root)
    shape = changes.shape[2:]
    pushed = ((push[slots] * root[:, :, None]) ** 2).sum(axis=(0, 1))
    return DaySums(str(day.date[0]), gram.reshape(shape + shape), xy.reshape(shape), yy, pushed)


def slots_of(day: Panel, bucket_min: float) -> NDArray[np.int64]:
    """Place of each bucket in its session, counted from the first one; gaps are skipped.

    Raises
    ------
    EstimationError
        When a bucket starts off the grid or comes twice.
    """
    since = (day.ts - day.ts.min()) / MINUTE / bucket_min
    slots = np.rint(since).astype(np.int64)
    off = np.abs(since - slots) > 1e-6
    if off.any() or len(np.unique(slots)) != len(slots):
        at = day.ts[int(np.argmax(off))] if off.any() else day.ts[0]
        raise EstimationError(
            f"bucket {at} of {day.date[0]} is off the grid of {bucket_min:g} minutes, or comes "
            "twice",
            "build the features of the date again",
        )
    return np.asarray(slots)


def pushes(panel: Panel, models: Models) -> Array:
    """Own and cross push of each regime in turn where it rules, bps as fills pay it, zero
    elsewhere, shape (T, n, 2 regimes)."""
    result = np.zeros((*panel.q.shape, 2 * len(models)))
    for k, (regime, model) in enumerate(models.items()):
        if model.symbols != panel.symbols:
            raise EstimationError(
                f"the model of regime {regime} is of other symbols than the panel",
                "bring the panel onto the model's symbols first",
            )
        rows = panel.regime == regime
        result[rows, :, 2 * k] = model.self_bps(panel.q[rows])
        result[rows, :, 2 * k + 1] = model.cross_bps(panel.q[rows])
    return result


def on_slots(values: Array, slots: NDArray[np.int64]) -> Array:
    """Values of a session's buckets with zeros in its gaps."""
    whole = np.zeros((int(slots.max()) + 1, *values.shape[1:]))
    whole[slots] = values
    return whole


def state_changes(push: Array, rates: Rates) -> Array:
    """``dE`` of each rate, shape (T, n, rates, m), from a session's pushes (T, n, m)."""
    result = np.empty((*push.shape[:2], len(rates.per_min), push.shape[2]))
    walk = states(push, rates.per_min.tolist(), rates.bucket_min)
    for change, ends in zip(result, walk, strict=True):
        before, after = ends
        np.subtract(after, before, out=change.transpose(1, 0, 2))
    return result


def cells_of(day: Panel, impact: Array, ruled: NDArray[np.bool_]) -> tuple[Array, Array]:
    """The day's mid moves with far ones moved in, and the root of each cell's weight, 0 where
    nothing is known, both (T, n). A mid that never moves is not known, nor one while all halt.

    Noise is what is left of each name's moves once `impact` (T, n, columns), level and peers are
    out of them: were impact left in it, cells with much of it would count for less.
    """
    still = day.seen.move == 0
    known = np.isfinite(day.move) & ruled[:, None] & ~still.all(axis=1, keepdims=True)
    known &= ~(still | ~np.isfinite(day.move)).all(axis=0)
    own = np.concatenate((impact, nuisance(day)), axis=2) * known[:, :, None]
    solve = projector(own)
    y = np.where(known, day.move, 0.0)
    tick = tick_scale(np.where(known, day.seen.move, np.nan))
    bucket = np.ones((len(y), 1))
    for _ in range(PASSES):
        fit = fitted(own, solve, y)
        far = np.where(known, np.abs(y - fit), np.nan)
        name = np.maximum(robust_spread(far / bucket, axis=0), tick)
        spread = robust_spread(far / name, axis=1)
        bucket = bucket_noise(spread, known.sum(axis=1), day.regime)[:, None]
        noise = name * bucket
        y = np.where(known, fit + np.clip(y - fit, -CLIP * noise, CLIP * noise), 0.0)
    return y, np.where(known, 1.0 / noise, 0.0)


def products(day: Panel, features: Array, y: Array, root: Array) -> tuple[Array, Array, float]:
    """``X'X, X'y, y'y`` of features (T, n, columns) in units of noise, each name's level and peer
    loadings out of both."""
    own = nuisance(day) * root[:, :, None]
    solve, x, y = projector(own), features * root[:, :, None], y * root
    shared = own.transpose(1, 2, 0) @ x.transpose(1, 0, 2)
    answer = np.einsum("tik,ti->ik", own, y)
    flat, explained = x.reshape(-1, x.shape[2]), (solve @ shared).reshape(-1, x.shape[2])
    gram = flat.T @ flat - shared.reshape(explained.shape).T @ explained
    xy = flat.T @ y.ravel() - explained.T @ answer.ravel()
    yy = float((y * y).sum() - np.einsum("ik,ikl,il->", answer, solve, answer))
    return (gram + gram.T) / 2, xy, yy


def nuisance(day: Panel) -> Array:
    """Each name's level and its peers' flows, (T, n, 3)."""
    return np.stack((np.ones_like(day.q), day.sector_flow, day.factor_flow), axis=2)
