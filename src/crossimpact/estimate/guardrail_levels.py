"""Guardrail levels: what the calibration window saw, and beyond which a model is not to be trusted.

A quantile of the window's own buckets, so that a level is a statement about the desk: as many
buckets were beyond `amber` and `red` as the desk's policy says.
"""

from __future__ import annotations

import numpy as np

from crossimpact.estimate.bucket_costs import bucket_cross
from crossimpact.model import Array, ImpactModel
from crossimpact.panel import Panel
from crossimpact.release.policy import DEFAULT, GuardrailQuantiles


def levels(
    model: ImpactModel, panel: Panel, quantiles: GuardrailQuantiles = DEFAULT.refit.guardrails
) -> dict[str, dict[str, float]]:
    """Levels of one regime from the buckets it was fitted on.

    Parameters
    ----------
    model
        The regime's model.
    panel
        The regime's buckets, on the model's symbols.
    quantiles
        Where `amber` and `red` stand.

    Returns
    -------
    dict
        Per quantity `amber` and `red`, all positive: `cross_bps`, predicted cross cost of a bucket
        per root-sum-square of its notionals; `unexplained_bps`, size of realized less predicted,
        same unit; `q_adv`, size of a name's flow in a bucket, ADV fraction. Empty quantities are
        left out.
    """
    panel = panel.plausible()[0]
    predicted, realized = bucket_cross(model, panel)
    seen = {
        "cross_bps": np.abs(predicted),
        "unexplained_bps": np.abs(realized - predicted),
        "q_adv": np.abs(panel.q[panel.q != 0]),
    }
    return {
        name: _levels(values, quantiles)
        for name, values in seen.items()
        if np.isfinite(values).any()
    }


def _levels(values: Array, quantiles: GuardrailQuantiles) -> dict[str, float]:
    known = values[np.isfinite(values)]
    return {
        "amber": float(np.quantile(known, quantiles.amber)),
        "red": float(np.quantile(known, quantiles.red)),
    }
