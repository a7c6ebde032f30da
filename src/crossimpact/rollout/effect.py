"""The policy's effect on a basket's cost, from randomised baskets, with the day as the unit.

With Z whether a basket was given to the policy, p the chance of that, y its cost and bars for the
day's mean over baskets, the effect tau solves ``sum_d S_d(tau) = 0``,

    S_d(tau) = sum_b (Z - p)((y - tau Z) - mean_d(y - tau Z)) = A_d - tau B_d,

so ``tau = sum A / sum B`` (Robins, Mark and Newey 1992, E-estimation; within a day and at one
chance it is the difference of means). At the true effect ``y - tau Z`` is what the basket would
have cost as a control, which no draw moves: the S_d have mean zero given all before, whatever
moved the market and although earlier days set the chances. Their spread is the error.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crossimpact.model import Array
from crossimpact.rollout import confidence
from crossimpact.rollout.outcomes import Outcomes

#: Baskets before the slice per control, until its weight is believed.
BASKETS_PER_CONTROL = 20


@dataclass(frozen=True)
class Effect:
    """Policy less control; negative is cheaper.

    Attributes
    ----------
    value, se
        Of one look, in the units of what was compared; NaN when nothing was randomised.
    low, high
        Bounds that hold at all looks together (`confidence.radius`); infinite in the first days.
    days, baskets, treated
        Days with both arms drawn from, and their baskets.
    """

    value: float
    se: float
    low: float
    high: float
    days: int
    baskets: int
    treated: int

    @property
    def day_sd(self) -> float:
        """Standard error of one day, to plan by."""
        return float(self.se * np.sqrt(self.days))


def effect(of: Outcomes, y: Array, *, alpha: float, planned_days: int) -> Effect:
    """The effect on `y`, (n,), with bounds of level ``1 - alpha`` at all looks together.

    Parameters
    ----------
    planned_days
        Look at which the bounds are to be tightest.
    """
    path = effect_path(of, y, alpha=alpha, planned_days=planned_days)
    last = path[:, -1].tolist() if path.size else [np.nan, np.nan, -np.inf, np.inf]
    value, se, low, high = last
    return Effect(value, se, low, high, len(of.days), len(of), int(of.treated.sum()))


def effect_path(of: Outcomes, y: Array, *, alpha: float, planned_days: int) -> Array:
    """Value, standard error, low and high of the effect as seen after each day, (4, days)."""
    a, b = scores(of, y)
    t, drawn = np.arange(1, len(a) + 1), np.cumsum(b)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.where(drawn > 0, np.cumsum(a) / drawn, np.nan)
        squares = np.cumsum(a**2) - 2 * value * np.cumsum(a * b) + value**2 * np.cumsum(b**2)
        sd = np.sqrt(np.maximum(squares, 0) / (t - 1))
        wide = confidence.radius(t, alpha, planned_days) * sd / drawn
        known = np.isfinite(value) & np.isfinite(wide)
        se = np.sqrt(t) * sd / drawn
    low, high = np.where(known, value - wide, -np.inf), np.where(known, value + wide, np.inf)
    return np.array([value, np.where(np.isfinite(se), se, np.nan), low, high])


def scores(of: Outcomes, y: Array) -> tuple[Array, Array]:
    """A and B of every day, (days,) each."""
    if not len(of):
        return np.empty(0), np.empty(0)
    drawn = of.treated - of.propensity
    return (
        np.add.reduceat(drawn * within_day(of, y), of.first),
        np.add.reduceat(drawn * within_day(of, of.treated.astype(float)), of.first),
    )


def within_day(of: Outcomes, values: Array) -> Array:
    """Values less their day's mean; (n,) or (n, k)."""
    counts = np.diff([*of.first, len(of)])
    means = np.add.reduceat(values, of.first, axis=0) / counts.reshape(-1, *[1] * (values.ndim - 1))
    return np.asarray(values - np.repeat(means, counts, axis=0))


def control_weights(before: Outcomes) -> Array:
    """Weight of each control, (3,): least squares on the days before the slice (CUPED: Deng et al.
    2013), zero while there are too few baskets to tell.

    They were fixed before the first draw, so no draw can move them.
    """
    x = within_day(before, before.controls) if len(before) else np.empty((0, 3))
    if len(x) < BASKETS_PER_CONTROL * x.shape[1]:
        return np.zeros(x.shape[1])
    weights, *_ = np.linalg.lstsq(x, within_day(before, before.is_bps), rcond=1e-8)
    return np.asarray(weights)


def adjusted(of: Outcomes, weights: Array) -> Array:
    """Cost less what the controls explain of it, bps, (n,)."""
    return np.asarray(of.is_bps - of.controls @ weights)
