"""Calibration of a week: how much of what the champion predicts is realized, and how sure that is.

Two slopes, both 1 when calibrated: realized on predicted cross *cost* of each bucket, in dollars,
where the largest names speak loudest; and the factor on the champion's cross *moves* that all
names together ask for, each weighted by its noise, which is several times as sure.
"""

from __future__ import annotations

import numpy as np

from crossimpact.estimate.bucket_costs import bucket_cross
from crossimpact.estimate.held_out import HeldOut
from crossimpact.model import Array, ImpactModel
from crossimpact.panel import Panel
from crossimpact.slope import Slope, between_days


def cost_slope(model: ImpactModel, panel: Panel) -> Slope | None:
    """Realized on predicted cross cost; None when nothing is predicted."""
    traded = (np.isfinite(panel.s) & (panel.q != 0)).any(axis=1)
    predicted, realized = bucket_cross(model, panel)
    return between_days(predicted**2, predicted * realized, panel.date[traded])


def move_slope(week: HeldOut, gamma_se: Array) -> tuple[Slope, float] | None:
    """The factor on the champion's cross moves, and how far the champion's own standard errors
    alone put it off 1; None when nothing is predicted.

    Parameters
    ----------
    week
        See `held_out.open_held_out`.
    doubt
        Standard errors of the champion's couplings in scaled space, shape (n, n).
    """
    information, score = week.calibration()
    slope = between_days(information, score, week.date)
    if slope is None:
        return None
    has_response, _, weighted = week.weighted_cross()
    pull = np.zeros_like(gamma_se)
    pull[has_response] = (weighted / week.noise[has_response]).T @ week.flow
    pull = np.triu(pull + pull.T, 1) * gamma_se
    return slope, float(np.sqrt((pull**2).sum())) / float(information.sum())
