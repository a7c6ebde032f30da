"""Bounds that hold at every look, and how many looks it takes.

The mixture of Robbins (1970) in the asymptotic form of Waudby-Smith et al. (2024, "Time-uniform
central limit theory"): for a sum S_t of t scores of spread sigma,

    P(some t: |S_t| >= sigma sqrt(2 (t + 1/r) log(sqrt(t r + 1) / alpha))) <= alpha,

with r chosen so that the bound is tightest at a planned look. As sigma is estimated from the same
days, each look's bound is that of Student's t at the normal bound's tail. Looking once, the bound
is 1.6 times as tight: that is the price of looking daily.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, stdtrit

from crossimpact.model import Array

#: Days before which nothing is said: the spread is not known yet.
FIRST = 10
#: Days that are looked ahead at most.
HORIZON = 1250
PATHS = 1600
SEED = 20


def radius(days: ArrayLike, alpha: float, planned: int) -> Array:
    """How far a sum of so many daily scores may be off zero by chance, at all looks together, in
    spreads of one score; infinite before `FIRST`.

    Parameters
    ----------
    planned
        Look at which the bound is tightest for its spread.
    """
    t, r = np.asarray(days, dtype=float), _tuned(alpha, planned)
    z = np.sqrt(2 * (1 + 1 / (t * r)) * np.log(np.sqrt(t * r + 1) / alpha))
    wide = -np.sqrt(t) * stdtrit(np.maximum(t - 1, 1), ndtr(-z))
    return np.where(t < FIRST, np.inf, wide)


def power(effect: float, day_sd: float, days: int, alpha: float, planned: int) -> float:
    """Chance that looking daily for so many days shows a difference of `effect`.

    Parameters
    ----------
    day_sd
        Standard error of the effect from one day, in the units of `effect`.
    """
    if not (day_sd > 0 and np.isfinite(day_sd)) or days < FIRST:
        return 0.0
    return float(_shown_by(abs(effect) / day_sd, alpha, planned)[min(days, HORIZON) - 1])


def days_needed(
    effect: float, day_sd: float, alpha: float, planned: int, wanted: float
) -> int | None:
    """Days of looking until `power` reaches `wanted`; None beyond `HORIZON`."""
    if not (day_sd > 0 and np.isfinite(day_sd)):
        return None
    reached = _shown_by(abs(effect) / day_sd, alpha, planned) >= wanted
    return int(reached.argmax()) + 1 if reached.any() else None


def _shown_by(drift: float, alpha: float, planned: int) -> Array:
    """Share of random walks of that drift that have left the bound by each day, (HORIZON,).

    The spread is estimated from each walk's own days, as it is from real ones.
    """
    days = np.arange(1, HORIZON + 1, dtype=np.float32)
    walk, squares = _walks()
    moved = walk + np.float32(drift) * days
    squares = squares + np.float32(2 * drift) * walk + np.float32(drift**2) * days
    variance = np.maximum(squares - moved**2 / days, 0) / np.maximum(days - 1, 1)
    bound = radius(days, alpha, planned).astype(np.float32)
    known = np.isfinite(bound)
    out = (moved**2 >= np.where(known, bound, 0) ** 2 * variance) & known
    left = np.where(out.any(axis=1), out.argmax(axis=1), HORIZON)
    return np.asarray(np.cumsum(np.bincount(left, minlength=HORIZON + 1)[:HORIZON]) / PATHS)


@cache
def _walks() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Random walks without drift and the sums of their squared steps, (PATHS, HORIZON) each; the
    same ones for every question."""
    steps = np.random.default_rng(SEED).standard_normal((PATHS, HORIZON), dtype=np.float32)
    return np.cumsum(steps, axis=1), np.cumsum(steps**2, axis=1)


def _tuned(alpha: float, planned: int) -> float:
    """r at which the bound is tightest at a look."""
    evidence = -2 * np.log(alpha)
    return float((evidence + np.log1p(evidence)) / planned)
