"""One pass of coordinate ascent over all pairs' posteriors: the compiled inner loop of `shrinkage`.

Pairs are updated one after the other, row by row, each given all updates before it. What a pass has
changed so far reaches a row's gradients when that row's turn comes, in whole columns, and never
those of pairs that were done: a third of the work of keeping every gradient current, and none of it
scattered. Own terms are kept as their few coefficients per row, as in `pair_descent`.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from crossimpact.model import Array

SMALL = 1e-4  # standard errors too few to be worth an update now; the next pass sees them


@njit(cache=True, error_model="numpy")
def sweep(
    theta: Array,
    gradient: Array,
    shared: Array,
    near: Array,
    slack: Array,
    own: Array,
    slab: Array,
    spread: Array,
    gram: Array,
    basis: Array,
    weight: Array,
    scale: Array,
    curvature: Array,
    label: NDArray[np.int64],
    prior: Array,
    centre: Array,
    stray: Array,
) -> float:
    """Update `theta` and the pairs' probabilities; the largest move in standard errors.

    `gradient` is that of each row at `theta` on entry, see `shrinkage.row_gradients`; it is not
    touched. The other arrays are as in `shrinkage.fit_posterior`.
    """
    n, rank, largest = len(weight), basis.shape[2], 0.0
    change = np.zeros((n, n))  # of M in this pass, (i, j) for i < j
    nuisance = np.zeros((n, rank))  # what the changes of a row are in its own terms
    mine, theirs, earlier = np.empty(n), np.empty(n), np.empty(n)
    for i in range(n):
        for k in range(i + 1, n):
            mine[k], theirs[k] = gradient[i, k], gradient[k, i]
        for a in range(i):
            earlier[a] = change[a, i]
        subtract_rows(gram, earlier, i, i + 1, mine)
        subtract_rows(change, gram[i], i, i + 1, theirs)
        for j in range(i + 1, n):
            h = curvature[i, j]
            if h <= 0.0:
                continue
            left, right = mine[j], theirs[j]
            for r in range(rank):
                left += nuisance[i, r] * basis[i, j, r]
                right += nuisance[j, r] * basis[j, i, r]
            force = scale[i, j] * (weight[i] * left + weight[j] * right)
            pi, omega, mu, tau = prior[label[i, j]]
            c = centre[i, j]
            estimate, noise = theta[i, j] + force / h, 1.0 / h
            wide = noise + tau * tau
            zero = -0.5 * estimate**2 / noise
            drawn, alike, loose = -0.5 * (estimate - mu) ** 2 / wide, -np.inf, np.inf
            if omega > 0.0 and c != 0.0:
                v = stray[i, j] * stray[i, j]
                loose = noise + v
                alike = -0.5 * (estimate - c) ** 2 / loose
                near[i, j] = (estimate * v + c * noise) / loose
                slack[i, j] = np.sqrt(noise * v / loose)
            else:
                omega = 0.0
            top = max(zero, drawn, alike)
            nothing = (1.0 - pi - omega) / np.sqrt(noise) * np.exp(zero - top)
            drawn = pi / np.sqrt(wide) * np.exp(drawn - top)
            alike = omega / np.sqrt(loose) * np.exp(alike - top)
            total = nothing + drawn + alike
            shared[i, j], own[i, j] = alike / total, drawn / total
            slab[i, j] = (estimate * tau * tau + mu * noise) / wide
            spread[i, j] = np.sqrt(noise * tau * tau / wide)
            step = shared[i, j] * near[i, j] + own[i, j] * slab[i, j] - theta[i, j]
            moved = abs(step) * np.sqrt(h)
            if moved < SMALL:
                continue
            largest = max(largest, moved)
            theta[i, j] += step
            theta[j, i] = theta[i, j]
            moved_by = scale[i, j] * step
            change[i, j] = moved_by
            row = gram[j]
            for k in range(j + 1, n):
                mine[k] -= moved_by * row[k]
            for r in range(rank):
                nuisance[i, r] += moved_by * basis[i, j, r]
                nuisance[j, r] += moved_by * basis[j, i, r]
    return largest


@njit(cache=True, error_model="numpy")
def subtract_rows(rows: Array, factor: Array, count: int, first: int, target: Array) -> None:
    """Take ``sum_a factor[a] rows[a]`` of the first `count` rows off `target`, from `first` on."""
    n, whole = len(target), count - count % 4
    for a in range(0, whole, 4):
        w, x, y, z = factor[a], factor[a + 1], factor[a + 2], factor[a + 3]
        if w == 0.0 and x == 0.0 and y == 0.0 and z == 0.0:
            continue
        W, X, Y, Z = rows[a], rows[a + 1], rows[a + 2], rows[a + 3]
        for k in range(first, n):
            target[k] -= w * W[k] + x * X[k] + y * Y[k] + z * Z[k]
    for a in range(whole, count):
        w, W = factor[a], rows[a]
        for k in range(first, n):
            target[k] -= w * W[k]
