"""A break inside the window: the block from which the couplings are others than before.

With S_b the score of each kept pair on block b at the whole window's estimate and H_b its
information, ``R_b = S_b - H_b sum(S)/sum(H)`` sums to zero, and its partial sums ``C_k`` are of
variance ``v_k = H_<k H_>=k / H`` while nothing changes. Where each coupling moves by a share rho of
itself between k and later, ``E C_k^2 = v_k + (rho theta v_k)^2``; so the scan over k is

    T_k = sum_pairs w (C_k^2 / v_k - 1) / sqrt(2 sum w^2),   w = theta^2 v_k,

the locally best test against small rho; beyond `FAR` a pair's square counts by its logarithm. Its
null is a wild bootstrap (Liu 1988): signs of whole blocks, one for all pairs and regimes, since
names' noise goes together and prices of one day are one draw. A break is called where the largest
T_k has a p-value of at most `LEVEL` *and* couplings moved by `LEAST_CHANGE` or more: less is within
the spread of what the whole window lends to its later part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from crossimpact.estimate import shrinkage
from crossimpact.estimate.equations import Design, conditional, summed
from crossimpact.estimate.weighted_rows import Sums
from crossimpact.model import Array
from crossimpact.panel import Panel

BEFORE, AFTER = 3, 4  # blocks at least on either side of a break
MIN_BLOCKS = 10  # with fewer, signs have too few patterns
LEVEL = 0.001  # of the test, per fit: no draw beyond; at 1% one in forty steady desks was broken
LEAST_CHANGE = 0.15  # of a coupling, relative
DRAWS, AT_ONCE = 999, 50
FAR = 9.0  # squared standard errors beyond which a pair counts by their logarithm
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
    doubt
        Relative error of a coupling at the window's end because couplings may have moved inside it,
        whether or not a break is called.
    """

    block: int = 0
    p_value: float = 1.0
    change: float = 0.0
    date: str = ""
    doubt: float = 0.0

    def recorded(self) -> dict[str, Any]:
        """Plain data for a model's provenance; empty without a break."""
        if not self.block:
            return {}
        return {"break": {"from": self.date, "p": self.p_value, "change": self.change}}


NONE = Break()


def block_scores(
    days: Sequence[Sums | None], panel: Panel, whole: Design, scaled: Array, scale: Array,
    reference: Array | None = None, market: Array | None = None,
) -> BlockScores:  # fmt: skip
    """Scores of a regime's couplings by block.

    Parameters
    ----------
    days
        The regime's moments by block, None where it did not come.
    panel, reference, market
        As for `equations.summed`.
    whole
        All days together.
    scaled
        The whole window's couplings, bps, shape (n, n); pairs at zero are left out.
    scale
        ``sqrt(beta_i beta_j)``, shape (n, n).
    """
    first, second = np.nonzero(np.triu(scaled, 1))
    score, information = np.zeros((2, len(days), first.size))
    for b, day in enumerate(days):
        if day is None or not first.size:
            continue
        part = summed([day], panel, reference, market).equations
        weight = np.where(part.weight > 0, whole.equations.weight, 0.0)
        left = shrinkage.row_gradients(part, scaled)
        np.fill_diagonal(left, 0.0)  # own flow is in every row's nuisance
        told = conditional(replace(part, weight=weight), whole.precision, left)
        force = told.weight[:, None] * (left + told.xy - part.xy)
        score[b] = ((force + force.T) * scale)[first, second]
        information[b] = shrinkage.pair_curvature(told, scale)[first, second]
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
    if not regimes or blocks < MIN_BLOCKS:
        return NONE
    seen, change = (a[0] for a in _scan(regimes, np.ones((1, blocks))))
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (DRAWS, blocks))
    signs = signs[np.abs(signs.sum(axis=1)) < blocks]  # all alike are the scores as they were seen
    parts = np.array_split(signs, DRAWS // AT_ONCE)

    def scan_of(part: Array) -> tuple[Array, Array]:
        """Of the likeliest place of each draw, T_k and the change it seems to show."""
        drawn, moves = _scan(regimes, part)
        best = drawn.argmax(axis=1)
        draws = np.arange(len(part))
        return drawn[draws, best], np.maximum(moves[draws, best], 0.0)

    null, spurious = (np.concatenate(a) for a in zip(*map(scan_of, parts), strict=True))
    best = int(seen.argmax())
    p = float(1 + (null >= seen[best]).sum()) / (1 + DRAWS)
    moved = float(np.sqrt(max(change[best], 0.0)))
    # Means before and after differ by what a ramp still has to go from the window's mean to its
    # end, and by twice what it has to go from the mean of the part after a break.
    doubt = float(np.sqrt(max(change[best] - spurious.mean(), 0.0)))
    if p > LEVEL or moved < LEAST_CHANGE:
        return Break(p_value=p, change=moved, doubt=doubt)
    return Break(BEFORE + best, p, moved, dates[BEFORE + best], doubt / 2)


def _scan(regimes: Sequence[BlockScores], signs: Array) -> tuple[Array, Array]:
    """T_k and the relative change squared for every place a break may have, all regimes summed, of
    scores whose blocks bear the signs given, (draws, blocks); both (draws, places)."""
    blocks = signs.shape[1]
    before = np.tri(blocks)[BEFORE - 1 : blocks - AFTER]
    excess, moved = np.zeros((2, len(signs), len(before)))
    size, signal = np.zeros((2, len(before)))
    for regime in regimes:
        total = regime.information.sum(axis=0)
        bridge = regime.score - regime.information * (regime.score.sum(axis=0) / total)
        ahead = before @ regime.information
        variance = ahead * (total - ahead) / total
        partial = (signs[:, None, :] * before) @ bridge
        partial = partial - (signs @ bridge)[:, None, :] * (ahead / total)
        weight = regime.coupling**2 * variance
        z2 = np.divide(partial**2, variance, out=np.ones_like(partial), where=variance > 0)
        excess = excess + (weight * (_tame(z2) - 1)).sum(axis=2)
        moved = moved + (weight * (z2 - 1)).sum(axis=2)
        size = size + 2 * (weight**2).sum(axis=1)
        signal = signal + (weight**2).sum(axis=1)
    scale = np.sqrt(np.maximum(size, 1e-300))
    return np.asarray(excess / scale), np.asarray(moved / np.maximum(signal, 1e-300))


def _tame(z2: Array) -> Array:
    far, tame = z2 > FAR, z2.copy()
    tame[far] = FAR * (1 + np.log(z2[far] / FAR))
    return tame
