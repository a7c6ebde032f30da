"""Every name's regression on its own terms, compiled: one pass over the buckets it traded in.

Regressors of a name are a level, the size of its flow and its two peer flows, all times the side it
traded on; a peer flow that never changes is none.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from crossimpact.estimate.huber_regression import reweighted, sandwich
from crossimpact.model import Array

LEVERAGE = 30.0  # typical flows beyond which a bucket weighs less, by its size (Mallows)
SAME_SIZE = 1e-3  # relative spread of |q| below which its effect is not identified
ANSWERS = 7  # alpha, beta, their standard errors, level, coefficients of the peers


@njit(cache=True, error_model="numpy")
def fit_names(
    start: NDArray[np.int64], q: Array, peers: Array, blend: Array, signed: Array, level: float,
    least: Array, knee: float,
) -> Array:  # fmt: skip
    """`ANSWERS` of every name by Huber's loss, NaN where size and spread are one number.

    Parameters
    ----------
    start
        Where a name's cells begin among those of all names, and the end of the last, (n + 1,).
    q, peers, blend, signed
        Flow, peer flows (cells, 2), response that tells beta, response that tells alpha.
    level
        1, or 0 for a fit through the origin.
    least
        Smallest scale of each name's noise, shape (n,).
    """
    found = np.full((len(least), ANSWERS), np.nan)
    for i in range(len(least)):
        cells = slice(start[i], start[i + 1])
        mine, responses = q[cells], (blend[cells], signed[cells])
        if not told(mine):
            continue
        X, unit, tame = regressors(mine, peers[cells], level)
        tamed, y = X * tame.reshape(-1, 1), np.sign(mine) * responses[0] * tame
        coef = reweighted(tamed, y, knee, least[i])
        covariance = sandwich(tamed, y - tamed @ coef, knee, least[i], 0.0)
        left = beyond(X, coef, np.sign(mine) * responses[1])
        alpha, variance = 0.0, 0.0
        if level:  # through the origin nobody asks for the spread
            one = np.ones((len(left), 1))
            middle = reweighted(one, left, knee, least[i])
            alpha = middle[0]
            variance = sandwich(one, left - alpha, knee, least[i], 0.0)[0, 0]
        found[i] = answers(X, unit, coef, covariance, alpha, variance)
    return found


@njit(cache=True, error_model="numpy")
def told(q: Array) -> bool:
    """Whether flows differ in size: alpha and beta are one number otherwise."""
    size = np.abs(q)
    return bool(size.std() >= SAME_SIZE * size.mean())


@njit(cache=True, error_model="numpy")
def regressors(q: Array, peers: Array, level: float) -> tuple[Array, Array, Array]:
    """Columns of mean size one, (T, 4), the units they are in, and the weights of their rows."""
    T, size = len(q), np.abs(q)
    X, unit = np.empty((T, 4)), np.empty(4)
    X[:, 0], X[:, 1] = level, size
    for a in range(2):
        changes = peers[:, a].max() > peers[:, a].min()
        X[:, 2 + a] = np.sign(q) * peers[:, a] if changes else np.zeros(T)
    for a in range(4):
        unit[a] = max(np.abs(X[:, a]).mean(), 1e-300)
        X[:, a] /= unit[a]
    return X, unit, np.minimum(1.0, LEVERAGE * np.median(size) / size)


@njit(cache=True, error_model="numpy")
def beyond(X: Array, coef: Array, y: Array) -> Array:
    """What all but the level leaves of a response."""
    left = y.copy()
    for a in range(1, 4):
        left -= coef[a] * X[:, a]
    return left


@njit(cache=True, error_model="numpy")
def answers(
    X: Array, unit: Array, coef: Array, covariance: Array, alpha: float, variance: float
) -> Array:
    """`ANSWERS` in the units of the data; alpha's error holds what one in the slopes adds to it."""
    for a in range(1, 4):
        for b in range(1, 4):
            variance += X[:, a].mean() * covariance[a, b] * X[:, b].mean()
    found = np.empty(ANSWERS)
    found[0], found[1] = alpha, coef[1] / unit[1]
    found[2], found[3] = np.sqrt(variance), np.sqrt(covariance[1, 1]) / unit[1]
    found[4], found[5], found[6] = coef[0], coef[2] / unit[2], coef[3] / unit[3]
    return found
