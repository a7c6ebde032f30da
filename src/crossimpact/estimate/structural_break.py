"""A break inside the window: the block from which the couplings are others than before.

With S_b the score of each kept pair on block b at the whole window's estimate and H_b its
information, ``R_b = S_b - H_b sum(S)/sum(H)`` sums to zero, and its partial sums ``C_k`` are of
variance ``v_k = H_<k H_>=k / H`` while nothing changes. Where each coupling moves by a share rho of
itself between k and later, ``E C_k^2 = v_k + (rho theta v_k)^2``; so the scan over k is

    T_k = sum_pairs w (min(C_k^2 / v_k, CAP) - 1) / sqrt(2 sum w^2),   w = theta^2 v_k,

the locally best test against small rho, no pair counting more than `CAP`. Its null is a wild
bootstrap (Liu 1988): signs of whole blocks, one for all pairs and regimes, since names' noise goes
together and prices of one day are one draw. A break is called where the largest T_k has a p-value
of at most `LEVEL` *and* couplings moved by `LEAST_CHANGE` or more: less is within the spread of
what the earlier part lends to the later one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from crossimpact.estimate import shrinkage
from crossimpact.estimate.equations import conditional, summed
from crossimpact.estimate.gram import Moments
from crossimpact.model import Array
from crossimpact.panel import Panel

BEFORE, AFTER = 3, 4  # blocks at least on either side of a break
LEVEL = 0.01  # of the test, per fit
LEAST_CHANGE = 0.15  # of a coupling, relative
DRAWS = 999
CAP = 9.0  # squared standard errors beyond which a pair counts no more
MOST_PAIRS = 3000  # with the most information; more tell the same


@dataclass(frozen=True)
class BlockScores:
    """Scores and information of one regime's kept pairs by block, (blocks, pairs); couplings theta
    in units of ``sqrt(beta_i beta_j)``, (pairs,)."""

    score: Array
    information: Array
    coupling: Array


@dataclass(frozen=True)
class Break:
    """A break, or that none was found.

    Attributes
    ----------
    block
        First block after it; 0 without a break.
    p_value
        Of no change at all, over all places of a break; 1 where too few blocks or pairs tell.
    change
        Root mean square change of a coupling, relative, at the likeliest place.
    date
        First date after it, empty without one.
    """

    block: int = 0
    p_value: float = 1.0
    change: float = 0.0
    date: str = ""

    def recorded(self) -> dict[str, Any]:
        """Plain data for a model's provenance; empty without a break."""
        if not self.block:
            return {}
        return {"break": {"from": self.date, "p": self.p_value, "change": self.change}}


NONE = Break()


def block_scores(
    days: Sequence[Moments | None], panel: Panel, scaled: Array, scale: Array,
    reference: Array | None = None, market: Array | None = None,
) -> BlockScores:  # fmt: skip
    """Scores of a regime's couplings by block.

    Parameters
    ----------
    days
        The regime's moments by block, None where it did not come.
    panel, reference, market
        As for `equations.summed`.
    scaled
        The whole window's couplings, bps, shape (n, n); pairs at zero are left out.
    scale
        ``sqrt(beta_i beta_j)``, shape (n, n).
    """
    whole = summed([day for day in days if day is not None], panel, reference, market)
    first, second = np.nonzero(np.triu(scaled, 1))
    score, information = np.zeros((2, len(days), first.size))
    for b, day in enumerate(days):
        if day is None:
            continue
        part = summed([day], panel, reference, market)
        weight = np.where(part.equations.weight > 0, whole.equations.weight, 0.0)
        equations = replace(part.equations, weight=weight)
        left = shrinkage.row_gradients(equations, scaled)
        np.fill_diagonal(left, 0.0)  # own flow is in every row's nuisance
        equations = conditional(replace(whole, equations=equations), left)
        force = equations.weight[:, None] * shrinkage.row_gradients(equations, scaled)
        score[b] = ((force + force.T) * scale)[first, second]
        information[b] = shrinkage.pair_curvature(equations, scale)[first, second]
    seen = (information > 0).sum(axis=0) > BEFORE
    worth = np.where(seen, information.sum(axis=0) * (scaled / scale)[first, second] ** 2, -1.0)
    most = np.sort(np.argsort(-worth, kind="stable")[: min(MOST_PAIRS, int(seen.sum()))])
    coupling = (scaled / scale)[first, second]
    return BlockScores(score[:, most], information[:, most], coupling[most])


def detect(regimes: Sequence[BlockScores], dates: Sequence[str]) -> Break:
    """The break that the regimes' scores show together.

    Parameters
    ----------
    regimes
        Scores on the same blocks; a change is the desk's, so all are read as one.
    dates
        First date of each block.
    """
    regimes = [r for r in regimes if r.coupling.size]
    blocks = len(dates)
    if not regimes or blocks < BEFORE + AFTER:
        return NONE
    bridges = [_bridge(r.score, r.information) for r in regimes]
    seen, change = _scan(bridges, regimes)
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (DRAWS, blocks, 1))
    null = [
        _scan(
            [_bridge(b * sign, r.information) for b, r in zip(bridges, regimes, strict=True)],
            regimes,
        )[0].max()
        for sign in signs
    ]
    best = int(seen.argmax())
    p = float(1 + (np.array(null) >= seen[best]).sum()) / (1 + DRAWS)
    moved = float(np.sqrt(max(change[best], 0.0)))
    if p > LEVEL or moved < LEAST_CHANGE:
        return Break(p_value=p, change=moved)
    return Break(BEFORE + best, p, moved, dates[BEFORE + best])


def _bridge(score: Array, information: Array) -> Array:
    """Scores at the estimate that makes them sum to zero."""
    return np.asarray(score - information * (score.sum(axis=0) / information.sum(axis=0)))


def _scan(bridges: Sequence[Array], regimes: Sequence[BlockScores]) -> tuple[Array, Array]:
    """T_k and the relative change squared for every place a break may have, all regimes summed."""
    excess, size, signal = 0.0, 0.0, 0.0
    for bridge, regime in zip(bridges, regimes, strict=True):
        inside = slice(BEFORE - 1, len(bridge) - AFTER)
        total = regime.information.sum(axis=0)
        before = np.cumsum(regime.information, axis=0)[inside]
        variance = before * (total - before) / total
        partial = np.cumsum(bridge, axis=0)[inside]
        weight = regime.coupling**2 * variance
        z2 = np.divide(partial**2, variance, out=np.ones_like(partial), where=variance > 0)
        excess = excess + (weight * (np.minimum(z2, CAP) - 1)).sum(axis=1)
        size = size + 2 * (weight**2).sum(axis=1)
        signal = signal + (weight**2).sum(axis=1)
    safe = np.maximum(size, 1e-300)
    return np.asarray(excess / np.sqrt(safe)), np.asarray(excess / np.maximum(signal, 1e-300))
