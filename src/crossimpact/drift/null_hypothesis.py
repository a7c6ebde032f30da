"""What an unchanged champion is compatible with, statistic by statistic.

A champion is an estimate, so the null is never that it is the truth: its pairs may be off by their
standard errors, all of them together by a tolerance, and its slope of costs by what the
walk-forward left open.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from crossimpact.drift.calibration import cost_slope, move_slope
from crossimpact.drift.distance import distances
from crossimpact.estimate.held_out import open_held_out
from crossimpact.model import Array, ImpactModel, to_scaled
from crossimpact.panel import Panel
from crossimpact.response import MOVES, Response
from crossimpact.slope import Slope

WORTHLESS = 0.5  # slope at which a prediction's squared error is that of none
ALLOWANCE = 1.5  # standard errors that the champion's pairs may have been off at promotion
TOLERANCE = 0.15  # by which all may have been off together: shrunk pairs err on one side
SIGN = 0.999  # one-sided confidence that a slope is below zero before it is called reversed
DROPPED = 0.5  # standard error of a pair the champion left out, over that of those it kept


@dataclass(frozen=True)
class OutOfSampleBaseline:
    """What the champion showed at promotion: its out-of-sample slope of realized on predicted cross
    cost with its standard error, and how it read slippage and mid move as one."""

    slope: float = 1.0
    se: float = 0.0
    response: Response = MOVES

    @classmethod
    def of(cls, metrics: Mapping[str, Any]) -> OutOfSampleBaseline:
        """From a release's metrics of one regime; unknown where nothing could be held out."""
        number = {name: float(metrics.get(name, "nan")) for name in ("oos_slope", "oos_slope_se")}
        return cls(number["oos_slope"], number["oos_slope_se"], Response.of(metrics))

    @property
    def cost_slopes(self) -> tuple[float, float]:
        """Slopes compatible with the baseline: 1, what was seen out of sample, and two of its
        standard errors around; everything when nothing was seen."""
        if not np.isfinite(self.slope + self.se):
            return -np.inf, np.inf
        return min(1.0, self.slope) - 2 * self.se, max(1.0, self.slope) + 2 * self.se


@dataclass(frozen=True)
class Measure:
    """A statistic of the week, what is compatible with an unchanged champion, the p-value of that,
    and a slope's upper bound at the confidence `SIGN`; NaN where there is none."""

    value: float = np.nan
    se: float = np.nan
    low: float = np.nan
    high: float = np.nan
    p: float = np.nan
    upper: float = np.nan


NOTHING = Measure()


def measure(model: ImpactModel, panel: Panel, baseline: OutOfSampleBaseline) -> dict[str, Measure]:
    """The week's statistics with what is compatible with an unchanged champion."""
    week, gamma_se = open_held_out(model, panel, baseline.response), champion_gamma_se(model)
    result = {}
    cost, moves = cost_slope(model, panel), move_slope(week, gamma_se)
    if cost is not None:
        result["cost_slope"] = _slope(cost, *baseline.cost_slopes)
    if moves is not None:
        slope, doubted = moves
        margin = TOLERANCE + ALLOWANCE * doubted
        low = 1 - margin
        result["move_slope"] = _slope(slope, low, 1 + margin)
        bound = min(WORTHLESS, low)
        result["harm"] = Measure(
            slope.value, slope.se, bound, np.nan, slope.p_below(bound), slope.upper(SIGN)
        )
    for name, d in distances(to_scaled(model.gamma, model.adv), gamma_se, ALLOWANCE, week).items():
        result[name] = Measure(d.value, np.nan, d.low, d.high, d.p)
    return result


def _slope(slope: Slope, low: float, high: float) -> Measure:
    return Measure(slope.value, slope.se, low, high, slope.p_outside(low, high))


def champion_gamma_se(model: ImpactModel) -> Array:
    """Standard error of each pair in scaled space, bps, (n, n): the model's own, and `DROPPED`
    times the typical one for a pair it left out, whose coupling need not be nothing."""
    se = to_scaled(model.gamma_se, model.adv)
    kept = np.isfinite(se) & (model.gamma != 0)
    typical = float(np.sqrt((se[kept] ** 2).mean())) if kept.any() else 0.0
    return np.asarray(np.where(kept, se, DROPPED * typical))
