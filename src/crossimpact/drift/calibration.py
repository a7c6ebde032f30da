"""Calibration of a week: how much of what the champion predicts is realized, and how sure that is.

Two slopes, both 1 when calibrated: realized on predicted cross *cost* of each bucket, in dollars,
where the largest names speak loudest; and the factor on the champion's cross *moves* that all
names together ask for, each weighted by its noise, which is several times as sure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

from crossimpact.drift.week import OWN, Week
from crossimpact.estimate.bucket_costs import bucket_cross
from crossimpact.model import Array, ImpactModel
from crossimpact.panel import Panel

PRIOR_DAYS = 4.0  # days' worth of belief that buckets are independent within a day


@dataclass(frozen=True)
class Slope:
    """A slope through the origin, its standard error and the degrees of freedom of that."""

    value: float
    se: float
    df: float

    def p_below(self, bound: float) -> float:
        """p-value of the null that the slope is at least `bound`."""
        return float(t.cdf((self.value - bound) / self.se, self.df))

    def upper(self, confidence: float) -> float:
        """One-sided upper bound of the slope."""
        return self.value + self.se * float(t.ppf(confidence, self.df))

    def p_outside(self, low: float, high: float) -> float:
        """p-value of the null that the slope lies between `low` and `high`."""
        above = float(t.sf((self.value - high) / self.se, self.df))
        return min(1.0, 2 * min(self.p_below(low), above))


def fit_slope(information: Array, score: Array, date: NDArray[np.str_]) -> Slope | None:
    """Slope ``sum(score) / sum(information)`` of a week's buckets; None without information.

    Five days are too few to trust their spread and buckets of a day too dependent to trust theirs:
    the variance between days is moderated by that between buckets (Smyth 2004, the moderated t),
    and their degrees of freedom add up.

    Parameters
    ----------
    information, score
        ``x'Wx`` and ``x'Wy`` of each bucket, shape (T,).
    date
        Of each bucket, shape (T,).
    """
    total = float(information.sum())
    if not total > 0 or len(score) <= OWN:
        return None
    value = float(score.sum()) / total
    left = score - value * information
    by_bucket = float((left**2).sum()) * len(left) / (len(left) - OWN)
    days = np.unique(date, return_inverse=True)[1]
    by_day = np.bincount(days, left)
    free = len(by_day) - 1
    between = float((by_day**2).sum()) * len(by_day) if free else 0.0  # times free, over free
    variance = (PRIOR_DAYS * by_bucket + between) / (PRIOR_DAYS + free)
    return Slope(value, float(np.sqrt(variance)) / total, PRIOR_DAYS + free) if variance else None


def cost_slope(model: ImpactModel, panel: Panel) -> Slope | None:
    """Realized on predicted cross cost; None when nothing is predicted."""
    traded = (np.isfinite(panel.s) & (panel.q != 0)).any(axis=1)
    predicted, realized = bucket_cross(model, panel)
    return fit_slope(predicted**2, predicted * realized, panel.date[traded])


def move_slope(week: Week, doubt: Array) -> tuple[Slope, float] | None:
    """The factor on the champion's cross moves, and how far the champion's own standard errors
    alone put it off 1; None when nothing is predicted.

    Parameters
    ----------
    week
        See `week.open_week`.
    doubt
        Standard errors of the champion's couplings in scaled space, shape (n, n).
    """
    loud, x, weighted = week.weighted_cross()
    information = (x * weighted).sum(axis=1)
    e = week.left[:, loud] / week.noise[loud]
    slope = fit_slope(information, information + (weighted * e).sum(axis=1), week.date)
    if slope is None:
        return None
    pull = np.zeros_like(doubt)
    pull[loud] = (weighted / week.noise[loud]).T @ week.flow
    pull = np.triu(pull + pull.T, 1) * doubt
    return slope, float(np.sqrt((pull**2).sum())) / float(information.sum())
