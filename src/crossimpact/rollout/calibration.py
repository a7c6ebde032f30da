"""Whether the judge of the counterfactual is right where it can be checked: on what was done."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from crossimpact.rollout.effect import within_day
from crossimpact.rollout.outcomes import CONTROLS, Outcomes

EXPECTED, MARKET = CONTROLS.index("other_expected_bps"), CONTROLS.index("market_bps")


@dataclass(frozen=True)
class JudgeCalibration:
    """Realized cost, less the market's move, on what the judge expected of the same schedule.

    Attributes
    ----------
    slope, low, high
        1 is a judge that is right, above 1 one that expects too little; 95% interval with the day
        as the unit. NaN with fewer than two days, or where nothing is expected.
    expected_bps, realized_bps
        Means over baskets.
    """

    slope: float
    low: float
    high: float
    days: int
    baskets: int
    expected_bps: float
    realized_bps: float


def judge_calibration(of: Outcomes) -> JudgeCalibration:
    """Slope of realized on expected cost over baskets, what a day's baskets share taken out."""
    days, n = len(of.days), len(of)
    if not n:
        return JudgeCalibration(np.nan, np.nan, np.nan, 0, 0, np.nan, np.nan)
    expected, realized = of.controls[:, EXPECTED], of.is_bps - of.controls[:, MARKET]
    x, y = within_day(of, expected), within_day(of, realized)
    means = float(expected.mean()), float(realized.mean())
    if days < 2 or not (x**2).sum() > 0:
        return JudgeCalibration(np.nan, np.nan, np.nan, days, n, *means)
    slope = float(x @ y / (x @ x))
    by_day = np.add.reduceat(x * (y - slope * x), of.first)
    se = float(np.sqrt((by_day**2).sum() * days / (days - 1)) / (x @ x))
    wide = se * float(stdtrit(days - 1, 0.975))
    return JudgeCalibration(slope, slope - wide, slope + wide, days, n, *means)
