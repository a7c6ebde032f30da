"""How near an estimate of a desk's couplings is to what was planted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.desks import Desk
from crossimpact.model import Array, from_scaled
from crossimpact.panel import Panel

#: A pair is an edge when it costs at least this at typical flow, bps.
EDGE_BPS = 0.3


@dataclass(frozen=True)
class Score:
    """How near an estimate is to what was planted.

    Attributes
    ----------
    f1
        Of the edges above `EDGE_BPS` at typical flow; 1 when there are none and none was found.
    error
        Frobenius, in scaled space, over the truth's norm (over that of beta when nothing is true).
    correlation
        Predicted with true cross cost of the fresh buckets; NaN when either is constant.
    slope
        Of true on predicted cross cost, through the origin; NaN when nothing is predicted.
    gain
        Share of the true cross moves of the fresh buckets explained: 0 for self-only, negative when
        self-only would have predicted better out of sample. When nothing is true, minus the
        predicted cross moves' square over the self moves'.
    """

    f1: float
    error: float
    correlation: float
    slope: float
    gain: float


def edges(scaled: Array, panel: Panel) -> NDArray[np.bool_]:
    """Pairs above `EDGE_BPS` at typical flow on either side, upper triangle as a vector."""
    bps = np.abs(from_scaled(scaled, panel.adv)) * panel.typical_flow()
    return np.asarray(np.maximum(bps, bps.T)[np.triu_indices(len(scaled), 1)] > EDGE_BPS)


def score(estimate: Array, desk: Desk, regime: str) -> Score:
    """Score an estimate of ``desk.scaled[regime]``, shape (n, n), bps."""
    truth, fresh = desk.scaled[regime], desk.fresh.of_regime(regime)
    own = np.diag(desk.beta[regime])
    head = desk.head.of_regime(regime)
    found, there = edges(estimate, head), edges(truth, head)
    size = found.sum() + there.sum()
    x = fresh.q * np.sqrt(fresh.adv)
    moves, true_moves = x @ estimate.T, x @ truth.T
    cost, true_cost = (x * moves).sum(axis=1), (x * true_moves).sum(axis=1)
    norm = np.linalg.norm(truth if truth.any() else own)
    scale = true_moves if truth.any() else x @ own
    missed = np.sum((moves - true_moves) ** 2 / fresh.adv)
    at_stake = np.sum(scale**2 / fresh.adv)
    varies = cost.std() > 0 and true_cost.std() > 0
    return Score(
        f1=float(2 * (found & there).sum() / size) if size else 1.0,
        error=float(np.linalg.norm(estimate - truth) / norm),
        correlation=float(np.corrcoef(cost, true_cost)[0, 1]) if varies else float("nan"),
        slope=float(cost @ true_cost / (cost @ cost)) if cost.any() else float("nan"),
        gain=float((np.sum(true_moves**2 / fresh.adv) - missed) / at_stake),
    )
