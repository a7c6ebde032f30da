"""Predicted and realized cross cost of each bucket: what calibration and guardrail levels see."""

from __future__ import annotations

import numpy as np

from crossimpact.estimate.market_control import market_move
from crossimpact.model import Array, ImpactModel
from crossimpact.panel import Panel


def bucket_cross(model: ImpactModel, panel: Panel) -> tuple[Array, Array]:
    """Predicted and realized cross cost per bucket, per root-sum-square of its notionals, bps.

    Realized is what slippage leaves after the model's own terms and what peer flow moved (the
    coefficients the model was fitted with, in its provenance), and the market's own move likewise.
    """
    own = np.sign(panel.q) * model.alpha + model.self_bps(panel.q)
    if "peer_bps" in model.provenance:
        own = own + panel.peer_move(np.array(model.provenance["peer_bps"], dtype=float))
    own = own + market_move(model, panel.q)
    return bucket_costs(panel, model.cross_bps(panel.q), panel.response - own)


def bucket_costs(panel: Panel, cross: Array, realized: Array) -> tuple[Array, Array]:
    """Predicted and realized cross cost per bucket over the root-sum-square of its notionals, bps.

    Buckets without a known, traded cell are left out; the scaling makes the noise of small and
    large buckets comparable.
    """
    Q = np.where(np.isfinite(realized), panel.q * panel.adv, 0.0)
    size = np.sqrt((Q**2).sum(axis=1))
    rows = size > 0
    x, y = (Q * cross).sum(axis=1), (Q * np.nan_to_num(realized)).sum(axis=1)
    return x[rows] / size[rows], y[rows] / size[rows]
