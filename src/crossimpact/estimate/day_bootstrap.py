"""Intervals from days drawn with replacement: buckets of a day depend on each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, t

from crossimpact.model import Array

COVERAGE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A number with its 95% interval."""

    value: float
    low: float
    high: float


NOTHING = Estimate(float("nan"), float("nan"), float("nan"))


def counts(days: int, draws: int, seed: int) -> Array:
    """How often each day counts: once in the first row, as drawn in the others."""
    drawn = np.random.default_rng([seed, days]).multinomial(days, np.full(days, 1 / days), draws)
    return np.vstack((np.ones(days), drawn)).astype(float)


def estimate(values: Array, days: int) -> Estimate:
    """The first value, and the interval of the others: percentiles a little further out than
    their names, as few days vary too little when redrawn (Hesterberg 2015)."""
    wide = np.sqrt(days / (days - 1)) * t.ppf((1 - COVERAGE) / 2, days - 1)
    ends = norm.cdf([wide, -wide])
    low, high = np.quantile(values[1:], ends, method="inverted_cdf")
    return Estimate(
        float(values[0]), min(float(low), float(values[0])), max(float(high), float(values[0]))
    )
