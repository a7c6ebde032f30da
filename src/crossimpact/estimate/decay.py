"""How impact decays: a kernel for all names, its intervals, and what may be said of it.

The mid's move in bucket t is a sum of changes of decaying states,

    r_ti = sum_m scale_m [ p x_m,t + (1 - p) dE_m,t(rho) ]_i + peers + level + noise,

m running over own and cross pushes of each regime. One shape (p, rho) for all, so that no round
trip over time makes money that none within a bucket does (`crossimpact.kernel.decay`); a scale for
each, as fills pay a part of what the mid keeps. Shape and scales are fitted together, by weighted
least squares on the sums of `decay_sums`; intervals redraw days.

A decay ships when it predicts later days better than permanent impact by two standard errors, and
its half-life is told from the session's length; a second rate on the same terms. Otherwise what is
left stays, or nothing is, and the reason says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import numpy as np
from scipy.stats import t
from threadpoolctl import threadpool_limits

from crossimpact.estimate.day_bootstrap import COVERAGE, NOTHING, Estimate, counts, estimate
from crossimpact.estimate.decay_shape import (
    Family,
    Quadratic,
    Shapes,
    best_one_rate,
    best_permanent,
    best_two_rates,
    coefficients,
    coefficients_by_regime,
    shortest_half_life,
)
from crossimpact.estimate.decay_sums import DecaySums
from crossimpact.estimate.robust import random_effects
from crossimpact.kernel.decay import Decay, DecayErrors
from crossimpact.model import Array

Status = Literal["decays", "permanent", "gone", "unknown"]

MIN_DAYS = 5  # in which the desk pushed: fewer tell no day's luck from the desk
DRAWS = 200
BETTER_SE = 2.0  # standard errors by which a richer shape must predict later days better
STEPS = 5  # in which the second half of the days is predicted
SEEN = 1e-4  # of the pushes' square that must be left once each name's level is taken out
GONE = 0.25  # of a push, left a bucket later, below which the interval's upper end says it is gone
ALL = 1.0  # of what fills pay: where so much may be left nothing is known to be gone
LAGS = 25  # buckets after a push for which the curve's errors are kept


@dataclass(frozen=True)
class DecayFit:
    """What the days tell of the decay.

    Attributes
    ----------
    status
        ``decays``; ``permanent``: no decay is told from impact that stays; ``gone``: nothing
        outlives its bucket; ``unknown``: the data cannot tell.
    reason
        Why it is not ``decays``, or which shape ships.
    decays
        The kernel of each regime, one shape; empty when gone or unknown.
    half_life_min, permanent
        As estimated, also when permanent impact ships; inf without a transient part.
    scale_self, scale_cross
        By regime: what the mid keeps at the bucket's end per bps the fills paid.
    gain, gain_se
        Share of the squared moves of later days that the shipped family explains beyond permanent
        impact, and its standard error over days.
    slope
        Of later days' moves on what the shipped family, fitted on the days before each, says of
        them: 1 is calibrated.
    days
        In which the desk pushed.
    by_regime
        Each regime's own fit where their shapes differ, else empty.
    """

    status: Status
    reason: str
    decays: Mapping[str, Decay] = field(default_factory=dict)
    half_life_min: Estimate = NOTHING
    permanent: Estimate = NOTHING
    scale_self: Mapping[str, Estimate] = field(default_factory=dict)
    scale_cross: Mapping[str, Estimate] = field(default_factory=dict)
    gain: float = float("nan")
    gain_se: float = float("nan")
    slope: Estimate = NOTHING
    days: int = 0
    by_regime: Mapping[str, DecayFit] = field(default_factory=dict)


def fit_decay(sums: DecaySums, draws: int = DRAWS, seed: int = 0) -> DecayFit:
    """Fit the kernel.

    Parameters
    ----------
    sums
        Of every date of the window, `decay_sums`.
    draws
        Of days with replacement, for the intervals.
    seed
        Of the draws: equal sums and seed, equal numbers.

    Returns
    -------
    DecayFit
        Never raises for thin data: the status is ``unknown`` and the reason says why.
    """
    days = int((sums.pushed.sum(axis=1) > 0).sum())
    lacking = _lacking(sums, days)
    if lacking:
        return DecayFit("unknown", lacking, days=days)
    with threadpool_limits(limits=1):  # the same digits whatever the machine's cores
        return _fitted(sums, days, draws, seed)


def _fitted(sums: DecaySums, days: int, draws: int, seed: int) -> DecayFit:
    family, why = _family(sums)
    gain, se = later_gain(sums, partial(coefficients, family=family), STAYS)
    quadratic = Quadratic.weighted(sums, counts(sums.days, draws, seed))
    found = _settled(family(quadratic), sums)
    fit = replace(_described(sums, found), gain=gain, gain_se=se, days=days, reason=why)
    status, reason = _verdict(sums, found, fit)
    if status == "decays" and _regimes_differ(sums, family):
        whole = found.coefficients(sums.rates)[0]
        apart = partial(coefficients_by_regime, family=family)
        fit = replace(fit, slope=later_slope(sums, apart))
        return _by_regime(sums, whole, fit, draws, seed)
    if status == "permanent":
        family, found = best_permanent, _settled(best_permanent(quadratic), sums)
        stays = _described(sums, found)
        fit = replace(fit, scale_self=stays.scale_self, scale_cross=stays.scale_cross)
    slope = later_slope(sums, partial(coefficients, family=family))
    fit = replace(fit, status=status, reason=reason or why, slope=slope)
    there = status in ("decays", "permanent")
    return replace(fit, decays=_kernels(sums, found, fit)) if there else fit


def _family(sums: DecaySums) -> tuple[Family, str]:
    """One rate, or two where they predict later days better."""
    one, two = (partial(coefficients, family=f) for f in (best_one_rate, best_two_rates))
    if _better(later_gain(sums, one, STAYS)) and _better(later_gain(sums, two, one)):
        return best_two_rates, "a permanent part and two rates: they predict later days better"
    return best_one_rate, "a permanent part and one rate"


def _regimes_differ(sums: DecaySums, family: Family) -> bool:
    """Whether a shape for each regime predicts later days better than one for all."""
    if len(sums.regimes) == 1:
        return False
    apart = partial(coefficients_by_regime, family=family)
    return _better(later_gain(sums, apart, partial(coefficients, family=family)))


def _by_regime(sums: DecaySums, whole: Array, fit: DecayFit, draws: int, seed: int) -> DecayFit:
    """Each regime by itself, what `whole` says of the others taken out."""
    fits = {r: fit_decay(sums.of_regime(r, whole), draws, seed) for r in sums.regimes}
    kept = {regime: one for regime, one in fits.items() if one.decays}
    return replace(
        fit,
        reason="a shape for each regime predicts later days better",
        decays={regime: one.decays[regime] for regime, one in kept.items()},
        scale_self={regime: one.scale_self[regime] for regime, one in kept.items()},
        scale_cross={regime: one.scale_cross[regime] for regime, one in kept.items()},
        by_regime=fits,
    )


def _better(gain: tuple[float, float]) -> bool:
    return gain[0] > BETTER_SE * gain[1]


def _lacking(sums: DecaySums, days: int) -> str:
    """Why nothing can be told, empty when something can."""
    if days < MIN_DAYS:
        return f"{days} sessions with flow and moves, {MIN_DAYS} needed to tell a decay"
    own = sums.gram[:, 0][:, :, 0].diagonal(axis1=1, axis2=2).sum(axis=0)[::2].sum()
    if own < SEEN * sums.pushed.sum(axis=0)[::2].sum():
        return "flow is constant through each session: what stays is not told from a name's level"
    return ""


Coefficients = Callable[[Quadratic], Array]
STAYS: Coefficients = partial(coefficients, family=best_permanent)


def later_gain(sums: DecaySums, rich: Coefficients, plain: Coefficients) -> tuple[float, float]:
    """How much better one family predicts later days than another: share of their squared moves,
    and its standard error, days taken as independent.

    The second half of the days is walked through in `STEPS`, fitted on all days before each.
    """
    gains: list[Array] = []
    for days, better, worse in _later(sums, rich, plain):
        gains.append(days.explained(better) - days.explained(worse))
    gained, total = np.concatenate(gains), float(sums.yy[sums.days // 2 :].sum())
    se = float(gained.std(ddof=1) * np.sqrt(len(gained)))
    return float(gained.sum()) / total, se / total


def later_slope(sums: DecaySums, family: Coefficients) -> Estimate:
    """Slope of later days' moves on what a family says of them, days taken as independent; walked
    through as in `later_gain`. NaN when nothing is predicted, or on fewer than two days."""
    said, came = [], []
    for days, found in _later(sums, family):
        both = (days.xy * found).sum(axis=(1, 2))
        came.append(both)
        said.append(2 * both - days.explained(found))
    x, y = np.concatenate(said), np.concatenate(came)
    if len(x) < 2 or not x.sum() > 0:
        return NOTHING
    slope = float(y.sum() / x.sum())
    se = np.sqrt(((y - slope * x) ** 2).sum() * len(x) / (len(x) - 1)) / x.sum()
    reach = float(se * t.isf((1 - COVERAGE) / 2, len(x) - 1))
    return Estimate(slope, slope - reach, slope + reach)


def _later(sums: DecaySums, *families: Coefficients) -> Iterator[tuple[Any, ...]]:
    """The second half of the days in `STEPS`: each step's days one by one, and what every family
    makes of all days before them."""
    blocks = np.array_split(np.arange(sums.days // 2, sums.days), STEPS)
    blocks = [block for block in blocks if block.size]
    before = np.array([np.arange(sums.days) < block[0] for block in blocks], dtype=float)
    training = Quadratic.weighted(sums, before)
    for block, *found in zip(blocks, *(family(training) for family in families), strict=True):
        yield Quadratic.weighted(sums, np.eye(sums.days)[block]), *found


def _settled(found: Shapes, sums: DecaySums) -> Shapes:
    """The scales of each kind shrunk to the market's as far as the regimes are alike; one whose
    pushes were never seen is the market's, and a cross one without any pushes is own impact's."""
    scales, seen = found.scales.copy(), sums.pushed.sum(axis=0) > 0
    se = scales[1:].std(axis=0, ddof=1)
    for kind in (0, 1):
        columns = np.arange(kind, scales.shape[1], 2)
        known = columns[seen[columns]]
        if not known.size:
            scales[:, columns] = scales[:, :1] if kind else 0.0
            continue
        spread = np.maximum(se[known], 1e-6)
        _, between = random_effects(scales[0, known], spread)
        weight = 1 / (spread**2 + between)
        market = (scales[:, known] @ weight / weight.sum())[:, None]
        keep = between / (spread**2 + between)
        scales[:, known] = market + keep * (scales[:, known] - market)
        scales[:, columns[~seen[columns]]] = market
    return replace(found, scales=scales)


def _described(sums: DecaySums, found: Shapes) -> DecayFit:
    scales = [estimate(column, sums.days) for column in found.scales.T]
    return DecayFit(
        "decays", "",
        half_life_min=estimate(found.half_life_min, sums.days),
        permanent=estimate(found.permanent, sums.days),
        scale_self=dict(zip(sums.regimes, scales[::2], strict=True)),
        scale_cross=dict(zip(sums.regimes, scales[1::2], strict=True)),
    )  # fmt: skip


def _verdict(sums: DecaySums, found: Shapes, fit: DecayFit) -> tuple[Status, str]:
    """What the estimate may be called, and why it is not a decay."""
    own = estimate(found.scales[:, ::2].max(axis=1), sums.days)
    bucket = sums.rates.bucket_min
    if own.low <= 0:
        kept = f"the mid keeps {own.value:.2f} ({own.low:.2f} to {own.high:.2f}) of own impact"
        if own.high >= ALL:
            return "unknown", f"too few or too noisy days to tell: {kept} at the bucket's end"
        return "gone", f"gone within the bucket: {kept} at its end"
    left = estimate(found.left(np.array([bucket]))[:, 0], sums.days)
    if left.high < GONE:
        return "gone", (
            f"gone within the bucket: {left.value:.2f} ({left.low:.2f} to {left.high:.2f}) of it "
            f"is left {bucket:g} minutes after its end"
        )
    if not fit.gain > BETTER_SE * fit.gain_se:
        return "permanent", (
            "not separable from permanent: a decay explains "
            f"{100 * fit.gain:.2f} +- {100 * fit.gain_se:.2f} points more of later days' moves"
        )
    half_life = fit.half_life_min
    if half_life.high >= sums.rates.session_min:
        return "permanent", (
            f"not separable from permanent: the half-life's interval, {half_life.low:.0f} to "
            f"{half_life.high:.0f} minutes, reaches the session's {sums.rates.session_min:g}"
        )
    edge = shortest_half_life(sums.rates)
    if half_life.value <= edge * 1.01:
        return (
            "decays",
            f"the half-life lies at the search's edge and is at most {edge:.3g} minutes",
        )
    return "decays", ""


def _kernels(sums: DecaySums, found: Shapes, fit: DecayFit) -> dict[str, Decay]:
    """The kernel of each regime: the days' own shape and scales with their errors."""
    half_lives, shares = found.half_lives_min[0], found.shares[0]
    there = np.flatnonzero(shares > 0)
    there = there[np.argsort(-half_lives[there])]
    kernels = {}
    for k, regime in enumerate(sums.regimes):
        own, cross = found.scales[:, 2 * k], found.scales[:, 2 * k + 1]
        kernels[regime] = Decay(
            tuple((shares[there] / shares[there].sum()).tolist()),
            tuple((np.log(2) / half_lives[there]).tolist()),
            float(own[0]),
            float(cross[0]),
            sums.rates.bucket_min,
            errors=_errors(sums, found, fit, own, cross),
        )
    return kernels


def _errors(sums: DecaySums, found: Shapes, fit: DecayFit, own: Array, cross: Array) -> DecayErrors:
    lags = sums.rates.bucket_min * np.arange(float(min(LAGS, sums.rates.session_buckets)))
    left = found.left(lags)[1:]
    errors = DecayErrors(
        scale_self_se=float(own[1:].std(ddof=1)),
        scale_cross_se=float(cross[1:].std(ddof=1)),
        lags_min=tuple(lags.tolist()),
        se_self=tuple((own[1:, None] * left).std(axis=0, ddof=1).tolist()),
        se_cross=tuple((cross[1:, None] * left).std(axis=0, ddof=1).tolist()),
    )
    if fit.status != "decays":
        return errors
    return replace(
        errors,
        half_life_lo=fit.half_life_min.low,
        half_life_hi=fit.half_life_min.high,
        permanent_lo=fit.permanent.low,
        permanent_hi=fit.permanent.high,
    )
