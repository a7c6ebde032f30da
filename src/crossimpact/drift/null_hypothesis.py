"""What an unchanged champion is compatible with, statistic by statistic.

A champion is an estimate, so the null is never that it is the truth: its pairs may be off by their
standard errors, all of them together by a tolerance, and its half-life by its interval.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crossimpact.drift.calibration import move_slope
from crossimpact.drift.decay_shift import MOST, DecayShift
from crossimpact.drift.distance import distances
from crossimpact.estimate.held_out import open_held_out
from crossimpact.kernel.decay import Decay
from crossimpact.model import Array, ImpactModel, to_scaled
from crossimpact.panel import Panel
from crossimpact.response import Response
from crossimpact.slope import Slope

WORTHLESS = 0.5  # slope at which a prediction's squared error is that of none
ALLOWANCE = 1.5  # standard errors that the champion's pairs may have been off at promotion
TOLERANCE = 0.15  # by which all may have been off together: shrunk pairs err on one side
SIGN = 0.999  # one-sided confidence that a slope is below zero before it is called reversed
DROPPED = 0.5  # standard error of a pair the champion left out, over that of those it kept


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


def measure(model: ImpactModel, panel: Panel, response: Response) -> dict[str, Measure]:
    """The week's statistics with what is compatible with an unchanged champion."""
    week, gamma_se = open_held_out(model, panel, response), champion_gamma_se(model)
    result = {}
    moves = move_slope(week, gamma_se)
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


def decay_measures(kernel: Decay, shift: DecayShift) -> dict[str, Measure]:
    """Size and half-life of the week's impact; what is compatible is the champion's own interval,
    and `TOLERANCE` around."""
    result = {}
    if shift.size is not None and kernel.scale_self > 0:
        margin = TOLERANCE + ALLOWANCE * (kernel.errors.scale_self_se or 0.0) / kernel.scale_self
        result["own_size"] = _slope(shift.size, 1 - margin, 1 + margin)
    if shift.log_half_life is not None and np.isfinite(kernel.half_life_min):
        at, errors = kernel.half_life_min, kernel.errors
        low = (errors.half_life_lo or at) / (1 + TOLERANCE)
        high = (errors.half_life_hi or at) * (1 + TOLERANCE)
        found = shift.log_half_life
        value = at * float(np.exp(np.clip(found.value, -MOST, MOST)))
        p = found.p_outside(float(np.log(low / at)), float(np.log(high / at)))
        result["half_life"] = Measure(value, np.nan, low, high, p)
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
