"""Huber's M-estimate of a regression by reweighted least squares, compiled."""

from __future__ import annotations

import numpy as np
from numba import njit

from crossimpact.estimate import robust
from crossimpact.estimate.robust import TINY, robust_scale, scale_ranks
from crossimpact.model import Array

STEPS, SETTLE = 100, 10  # of the reweighting, and those in which the scale still moves


def huber(X: Array, y: Array, least: float = TINY) -> Array:
    """Coefficients, shape (k,), the scale fixed once settled and never below `least`.

    Parameters
    ----------
    X, y
        Columns (T, k) and response (T,).
    """
    sigma = max(robust_scale(y - np.median(y)), least)
    X, y = np.ascontiguousarray(X), np.ascontiguousarray(y)
    return np.asarray(_reweighted(X, y, robust.HUBER_K, least, sigma, *scale_ranks(len(y))))


@njit(cache=True, error_model="numpy")
def _reweighted(
    X: Array, y: Array, knee: float, least: float, sigma: float, at80: int, at99: int
) -> Array:
    """`HUBER_K` is `knee`; see `robust_scale` for the ranks."""
    T, k = X.shape
    coef, residual = np.zeros(k), np.empty(T)
    for step in range(STEPS):
        for t in range(T):
            left = y[t]
            for a in range(k):
                left -= X[t, a] * coef[a]
            residual[t] = left
        if step < SETTLE:
            sigma = max(_scale(np.abs(residual), at80, at99), least)
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
    weight, weighted = np.empty(T), np.empty((k, T))
    for t in range(T):
        weight[t] = min(1.0, limit / max(abs(residual[t]), 1e-12))
    for t in range(T):
        for a in range(k):
            weighted[a, t] = weight[t] * X[t, a]
    found = np.empty(k)
    found[:] = np.linalg.lstsq(weighted @ X, weighted @ y, 1e-12)[0]
    return found


@njit(cache=True, error_model="numpy")
def _scale(size: Array, at80: int, at99: int) -> float:
    """`robust_scale` of residuals of these sizes."""
    high = np.partition(size, at80)[at80]
    far = 50 * high if high > TINY else np.inf
    cap, total = min(np.partition(size, at99)[at99], far), 0.0
    for value in size:
        total += min(value, cap)
    return float(max(high / 1.2816, total / len(size) / 4, TINY))
