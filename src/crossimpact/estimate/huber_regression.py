"""Huber's M-estimate of a regression by reweighted least squares, compiled.

Standard errors are the M-estimator's sandwich. Nothing here knows what is regressed on what.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from crossimpact.estimate import robust
from crossimpact.estimate.robust import INNER, OUTER, TINY
from crossimpact.model import Array

STEPS, SETTLE = 100, 10  # of the reweighting, and those in which the scale still moves


def huber(X: Array, y: Array, least: float = TINY) -> tuple[Array, Array]:
    """Coefficients, shape (k,), and their sandwich covariance; the scale is fixed once settled and
    never below `least`.

    Parameters
    ----------
    X, y
        Columns (T, k) and response (T,).
    """
    X, y = np.ascontiguousarray(X), np.ascontiguousarray(y)
    coef = reweighted(X, y, robust.HUBER_K, least)
    return coef, sandwich(X, y - X @ coef, robust.HUBER_K, least, 0.0)


@njit(cache=True, error_model="numpy")
def sandwich(X: Array, residual: Array, knee: float, least: float, excess: float) -> Array:
    """Covariance of an M-estimate with these residuals; `excess` over least squares' as Huber's
    loss has it when 0."""
    T, k = X.shape
    size = np.abs(residual)
    sigma = max(scale(size), least)
    if excess == 0.0:
        square, inside = 0.0, 0
        for value in size:
            psi = min(value / sigma, knee)
            square += psi * psi
            inside += psi < knee
        excess = square / T / max(inside / T, 0.1) ** 2
    bread = np.zeros((k, k))
    for t in range(T):
        for a in range(k):
            for b in range(k):
                bread[a, b] += X[t, a] * X[t, b]
    covariance = np.empty((k, k))
    covariance[:] = np.linalg.pinv(bread)
    covariance *= sigma**2 * excess
    return covariance


@njit(cache=True, error_model="numpy")
def reweighted(X: Array, y: Array, knee: float, least: float) -> Array:
    """Huber's coefficients with the knee at `knee` standard deviations."""
    T, k = X.shape
    coef, residual = np.zeros(k), np.empty(T)
    sigma = max(scale(np.abs(y - np.median(y))), least)
    for step in range(STEPS):
        for t in range(T):
            left = y[t]
            for a in range(k):
                left -= X[t, a] * coef[a]
            residual[t] = left
        if step < SETTLE:
            sigma = max(scale(np.abs(residual)), least)
        moved = _weighted_least_squares(X, y, residual, knee * sigma)
        largest = 0.0
        if step >= SETTLE:
            for t in range(T):
                change = 0.0
                for a in range(k):
                    change += X[t, a] * (moved[a] - coef[a])
                largest = max(largest, abs(change))
        coef = moved
        if step >= SETTLE and largest < 1e-8 * sigma:
            break
    return coef


@njit(cache=True, error_model="numpy")
def _weighted_least_squares(X: Array, y: Array, residual: Array, limit: float) -> Array:
    """Least squares with Huber's weights of `residual`, the shortest of equals."""
    T, k = X.shape
    gram, right = np.zeros((k, k)), np.zeros(k)
    for t in range(T):
        weight = min(1.0, limit / max(abs(residual[t]), 1e-12))
        for a in range(k):
            weighted = weight * X[t, a]
            right[a] += weighted * y[t]
            for b in range(a + 1):
                gram[a, b] += weighted * X[t, b]
    for a in range(k):
        for b in range(a):
            gram[b, a] = gram[a, b]
    found = np.empty(k)
    found[:] = np.linalg.lstsq(gram, right, 1e-12)[0]
    return found


@njit(cache=True, error_model="numpy")
def scale(size: Array) -> float:
    """`robust_scale` of residuals of these sizes."""
    count = len(size)
    if not count:
        return TINY
    at80, at99 = int(np.rint(INNER * (count - 1))), int(np.rint(OUTER * (count - 1)))
    above = np.partition(size, at80)[at80:]
    high, outer = above[0], np.partition(above, at99 - at80)[at99 - at80]
    far = 50 * high if high > TINY else np.inf
    cap, total = min(outer, far), 0.0
    for value in size:
        total += min(value, cap)
    return float(max(high / 1.2816, total / count / 4, TINY))
