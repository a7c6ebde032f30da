"""Data drift: are flows, spreads, volatility and regimes those the champion was fitted on?

Days, not buckets, are compared: within a day they go together. The test is the exact two-sample
one of Kolmogorov and Smirnov, so any change of the days' distribution counts; a change must also be
large to be worth a look, for with enough days every change is significant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import ks_2samp

from crossimpact.model import Array

MIN_WEEK, MIN_REFERENCE = 3, 10  # days; fewer and nothing is said
#: Worth a look: the median day is this many times what it was, or as many times smaller ...
FACTOR = {"flow": 2.0, "spread": 1.5, "vol": 1.5}
#: ... or differs by this much.
DIFFERENCE = {"regime_share": 0.25}
CONDITIONS = (*FACTOR, *DIFFERENCE)


@dataclass(frozen=True)
class Shift:
    """One condition of a week against the days the champion was fitted on.

    Attributes
    ----------
    value
        Median day over median day, or their difference for a share; NaN when not known.
    low, high
        Between which it is not worth a look.
    p
        Of the null that both are days of one kind; NaN with too few days.
    """

    value: float
    low: float
    high: float
    p: float


def shifts(week: Mapping[str, Array], reference: Mapping[str, Array]) -> dict[str, Shift]:
    """Compare a week's days with the champion's, condition by condition.

    Parameters
    ----------
    week, reference
        By condition one number per day, NaN where the day has none: ``flow`` (fraction of ADV),
        ``spread`` (bps) and ``vol`` (bps) of the regime's buckets, ``regime_share`` of the buckets.
    """
    return {name: _shift(name, week.get(name), reference.get(name)) for name in CONDITIONS}


def _shift(name: str, week: Array | None, reference: Array | None) -> Shift:
    low, high = (
        (-DIFFERENCE[name], DIFFERENCE[name])
        if name in DIFFERENCE
        else (1 / FACTOR[name], FACTOR[name])
    )
    now, then = (_known(values) for values in (week, reference))
    if len(now) < MIN_WEEK or len(then) < MIN_REFERENCE:
        return Shift(np.nan, low, high, np.nan)
    middle, usual = float(np.median(now)), float(np.median(then))
    p = float(ks_2samp(now, then, method="exact").pvalue)
    if name in DIFFERENCE:
        return Shift(middle - usual, low, high, p)
    return Shift(middle / usual if usual > 0 else np.nan, low, high, p)


def _known(values: Array | None) -> Array:
    array = np.empty(0) if values is None else np.asarray(values, dtype=float)
    return np.asarray(array[np.isfinite(array)])
