"""Slope of realized on predicted: 1 is a calibrated model, 0 a useless one.

Least squares of y on x, with weights W inside a bucket t, adds up over buckets:

    slope = sum_t score_t / sum_t information_t,   information_t = x'Wx, score_t = x'Wy

and its error is read off what each bucket's score leaves, ``score_t - slope information_t`` (the
sandwich of White 1980): bucket noise grows with the notional traded. The fits differ in what they
may assume of those remainders, not in the slope.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit  # scipy.stats takes longer to import than a page to make

from crossimpact.model import Array
from crossimpact.panel import OWN

PRIOR_DAYS = 4.0  # days' worth of belief that buckets are independent within a day


@dataclass(frozen=True)
class Slope:
    """A slope, its standard error and the degrees of freedom of that.

    Attributes
    ----------
    value, se, df
        NaN where nothing is predicted, or too little to tell.
    n
        Buckets used.
    """

    value: float
    se: float
    df: float
    n: int

    def p_below(self, bound: float) -> float:
        """p-value of the null that the slope is at least `bound`."""
        return float(stdtr(self.df, (self.value - bound) / self.se))

    def upper(self, confidence: float) -> float:
        """One-sided upper bound of the slope."""
        return self.value + self.se * float(stdtrit(self.df, confidence))

    def lower(self, confidence: float) -> float:
        """One-sided lower bound of the slope."""
        return self.value - self.se * float(stdtrit(self.df, confidence))

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Two-sided confidence interval."""
        one_sided = (1 + confidence) / 2
        return self.lower(one_sided), self.upper(one_sided)

    def p_outside(self, low: float, high: float) -> float:
        """p-value of the null that the slope lies between `low` and `high`."""
        above = float(stdtr(self.df, (high - self.value) / self.se))
        return min(1.0, 2 * min(self.p_below(low), above))


#: Nothing is predicted, or too little to tell.
NOTHING_TOLD = Slope(np.nan, np.nan, np.nan, 0)


def through_origin(predicted: Array, realized: Array) -> Slope:
    """Slope through the origin, buckets taken as independent; NaN when nothing is predicted.

    Parameters
    ----------
    predicted, realized
        Same length and unit, finite.
    """
    value, total, left = _fit(predicted**2, predicted * realized)
    n = len(predicted)
    return Slope(value, float(np.sqrt((left**2).sum())) / total, n - 1, n)


def between_days(information: Array, score: Array, date: NDArray[np.str_]) -> Slope | None:
    """Slope of a few days' buckets through the origin; None without information.

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
    value, total, left = _fit(information, score)
    n = len(score)
    if np.isnan(value) or n <= OWN:
        return None
    by_bucket = float((left**2).sum()) * n / (n - OWN)
    days = np.unique(date, return_inverse=True)[1]
    by_day = np.bincount(days, left)
    free = len(by_day) - 1
    between = float((by_day**2).sum()) * len(by_day) if free else 0.0  # times free, over free
    variance = (PRIOR_DAYS * by_bucket + between) / (PRIOR_DAYS + free)
    df = PRIOR_DAYS + free
    return Slope(value, float(np.sqrt(variance)) / total, df, n) if variance else None


def _fit(information: Array, score: Array) -> tuple[float, float, Array]:
    """The slope, all information, and what is left of each bucket's score; NaN without any."""
    total = float(information.sum())
    total = total if total > 0 else np.nan
    value = float(score.sum()) / total
    return value, total, np.asarray(score - value * information)
