"""Coordinate descent on normal equations: what `row_descent` and `pair_descent` share, compiled.

numba's cache of a kernel does not notice a change in another file it calls into: after a change
here, delete the `__pycache__` beside it.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from crossimpact.model import Array

Index = NDArray[np.int32] | NDArray[np.int64]

MAX_SWEEPS = 100_000
SAFETY = 0.9  # share of the tolerance sweeps use up, the rest is for rounding in the check


@njit(cache=True, error_model="numpy")
def violation(gradient: float, u: float, threshold: float, ridge: float) -> float:
    """Distance of minus the gradient from the subdifferential of the penalty at u."""
    if u > 0:
        return abs(gradient - ridge * u - threshold)
    if u < 0:
        return abs(gradient - ridge * u + threshold)
    return max(abs(gradient) - threshold, 0.0)


@njit(cache=True, error_model="numpy")
def soft(pull: float, threshold: float) -> float:
    """`pull` moved toward zero by `threshold`, at most to zero."""
    return pull - min(max(pull, -threshold), threshold)


@njit(cache=True, error_model="numpy")
def stride_of(sweep: int, count: int) -> int:
    """A step through `count` coordinates that meets each once, another one in every sweep.

    Names that share a market make coordinate descent in a fixed order crawl: what one step takes
    from the common mode the next puts back. Changing orders needs ten times fewer sweeps.
    """
    stride = 1 + 7919 * (sweep + 1) % max(count, 1)
    while True:
        a, b = stride, count
        while b:
            a, b = b, a % b
        if a == 1:
            return stride
        stride += 1


@njit(cache=True, error_model="numpy")
def extrapolation(levels: Array, at: int) -> float:
    """Length of the next step along the path over that of the last, 0 where there is none."""
    if at < 2 or not levels[at] < levels[at - 1] < levels[at - 2]:
        return 0.0
    return min(float((levels[at - 1] - levels[at]) / (levels[at - 2] - levels[at - 1])), 1.0)


@njit(cache=True, error_model="numpy")
def extrapolate(u: Array, last: Array, ahead: float) -> None:
    """Move `u` to where a straight path would go, but not across zero; `last` becomes `u`."""
    for k in range(len(u)):
        now = u[k]
        there = now + ahead * (now - last[k])
        last[k] = now
        if there * now > 0:
            u[k] = there


@njit(cache=True, error_model="numpy")
def add_columns(gram: Array, names: Index, count: int, entry: Array, fitted: Array) -> None:
    """Add ``sum_a entry[a] gram[names[a]]`` to `fitted`, four columns at a time."""
    whole = count - count % 4
    for a in range(0, whole, 4):
        w, x, y, z = entry[a], entry[a + 1], entry[a + 2], entry[a + 3]
        W, X, Y, Z = gram[names[a]], gram[names[a + 1]], gram[names[a + 2]], gram[names[a + 3]]
        for j in range(len(fitted)):
            fitted[j] += w * W[j] + x * X[j] + y * Y[j] + z * Z[j]
    for a in range(whole, count):
        w, W = entry[a], gram[names[a]]
        for j in range(len(fitted)):
            fitted[j] += w * W[j]


@njit(cache=True, error_model="numpy")
def losses(
    gram: Array, basis: Array, weight: Array, residual: Array, paths: Array, loss: Array
) -> None:
    """Loss ``weight/2 d'G d - d'residual`` of each d in `paths` (rows, L, n), to `loss` (rows, L).

    `basis` is (rows, n, r), `residual` (rows, n).
    """
    n, R = len(gram), basis.shape[2]
    support, own = np.empty(n, dtype=np.int64), np.empty(R)
    for i in range(len(paths)):
        for at in range(paths.shape[1]):
            d, count, linear, square = paths[i, at], 0, 0.0, 0.0
            own[:] = 0.0
            for j in range(n):
                if d[j] != 0:
                    support[count] = j
                    count += 1
            for a in range(count):
                j = support[a]
                column, cross = gram[j], 0.0
                for b in range(a):
                    cross += column[support[b]] * d[support[b]]
                square += d[j] * (2 * cross + column[j] * d[j])
                linear += d[j] * residual[i, j]
                for r in range(R):
                    own[r] += d[j] * basis[i, j, r]
            for r in range(R):
                square -= own[r] * own[r]
            loss[i, at] = weight[i] / 2 * square - linear
