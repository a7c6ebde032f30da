"""Calibration of a week: how much of what the champion predicts is realized, and how sure that is.

The slope is that of the walk-forward and of daily TCA: the factor on the champion's cross moves
that all names together ask for, each weighted by its noise. A slope of costs in dollars, where the
largest names speak loudest, would be several times less sure.
"""

from __future__ import annotations

import numpy as np

from crossimpact.estimate.held_out import HeldOut
from crossimpact.model import Array
from crossimpact.slope import Slope


def move_slope(week: HeldOut, gamma_se: Array) -> tuple[Slope, float] | None:
    """The factor on the champion's cross moves, and how far the champion's own standard errors
    alone put it off 1; None when nothing is predicted.

    Parameters
    ----------
    week
        See `held_out.open_held_out`.
    gamma_se
        Standard errors of the champion's couplings in scaled space, shape (n, n).
    """
    slope = week.slope()
    if slope is None:
        return None
    has_response, _, weighted = week.weighted_cross()
    pull = np.zeros_like(gamma_se)
    pull[has_response] = (weighted / week.noise[has_response]).T @ week.flow
    pull = np.triu(pull + pull.T, 1) * gamma_se
    return slope, float(np.sqrt((pull**2).sum())) / float(week.calibration()[0].sum())
