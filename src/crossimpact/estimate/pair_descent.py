"""The joint elastic net of all pairs: the compiled inner loops of `paths`.

Gradients are updated, never residuals of the data. While sweeping, only those of active pairs are
kept; the others' are computed anew from the solution when it is checked.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from crossimpact.estimate.coordinate_descent import (
    MAX_SWEEPS,
    SAFETY,
    Index,
    add_columns,
    soft,
    stride_of,
    violation,
)
from crossimpact.model import Array


@njit(cache=True, error_model="numpy")
def solve_pairs(
    gram: Array,
    basis: Array,
    weight: Array,
    unit: Array,
    residual: Array,
    threshold: float,
    ridge: float,
    tolerance: float,
    gradient: Array,
    partners: Index,
    degree: Index,
    pairs: Index,
    count: int,
    deviation: Array,
) -> int:
    """Solve one penalty from the solution of the one before; the number of active pairs, or -1.

    Active pairs are rows (i, j, place of j among i's partners, of i among j's) of `pairs`;
    `partners[i, :degree[i]]` are the names i shares one with. `gradient` (n, n) is minus each row's
    own gradient in M, `deviation` (n, n) the solution.
    """
    n, sweeps = len(gram), 0
    pull, own = np.empty((n, n)), np.empty((n, basis.shape[2]))
    while True:
        worst = 0.0
        for p in range(count):
            i, j = pairs[p, 0], pairs[p, 1]
            slope = unit[i, j] * (gradient[i, j] + gradient[j, i])
            worst = max(worst, violation(slope, deviation[i, j] / unit[i, j], threshold, ridge))
        before = count
        count = append_pairs(unit, gradient, threshold + tolerance, partners, degree, pairs, count)
        if count == before and worst <= tolerance:
            return count
        if sweeps >= MAX_SWEEPS:
            return -1
        own[:] = 0.0
        for i in range(n):
            for a in range(degree[i]):
                pull[i, a] = gradient[i, partners[i, a]]
        sweeps += sweep_pairs(
            gram, basis, weight, unit, threshold, ridge, tolerance,
            partners, degree, pairs, count, pull, own, deviation,
        )  # fmt: skip
        pair_gradient(gram, basis, weight, residual, partners, degree, deviation, gradient)


@njit(cache=True, error_model="numpy")
def append_pairs(
    unit: Array,
    gradient: Array,
    limit: float,
    partners: Index,
    degree: Index,
    pairs: Index,
    count: int,
) -> int:
    """Add every pair whose gradient exceeds `limit`; the number of active pairs."""
    n = len(unit)
    active = np.zeros(n, dtype=np.bool_)
    for i in range(n):
        active[:] = False
        for a in range(degree[i]):
            active[partners[i, a]] = True
        for j in range(i + 1, n):
            if active[j] or abs(unit[i, j] * (gradient[i, j] + gradient[j, i])) <= limit:
                continue
            pairs[count, 0], pairs[count, 1] = i, j
            pairs[count, 2], pairs[count, 3] = degree[i], degree[j]
            partners[i, degree[i]], partners[j, degree[j]] = j, i
            degree[i] += 1
            degree[j] += 1
            count += 1
    return count


@njit(cache=True, error_model="numpy")
def sweep_pairs(
    gram: Array,
    basis: Array,
    weight: Array,
    unit: Array,
    threshold: float,
    ridge: float,
    tolerance: float,
    partners: Index,
    degree: Index,
    pairs: Index,
    count: int,
    pull: Array,
    own: Array,
    deviation: Array,
) -> int:
    """Coordinate descent on the active pairs until a sweep moves none by much.

    Row i's gradient at its a-th partner j is kept as ``pull[i, a] + basis[i, j] . own[i]``: a step
    then costs the number of partners, not of names, and the nuisance is not downdated.
    """
    for sweep in range(MAX_SWEEPS):
        worst, stride, p = 0.0, stride_of(sweep, count), -1
        for _ in range(count):
            p += stride
            if p >= count:
                p -= count
            i, j, a, b = pairs[p]
            slope = pull[i, a] + pull[j, b]
            for r in range(basis.shape[2]):
                slope += basis[i, j, r] * own[i, r] + basis[j, i, r] * own[j, r]
            scale = unit[i, j]
            u = deviation[i, j] / scale
            new = soft(scale * slope + u, threshold) / (1 + ridge)  # unit curvature
            if new != u:
                m = scale * new
                step = m - deviation[i, j]
                deviation[i, j] = m
                deviation[j, i] = m
                move(gram, basis, weight[i], i, j, step, partners, degree, pull, own)
                move(gram, basis, weight[j], j, i, step, partners, degree, pull, own)
                worst = max(worst, abs(new - u) * (1 + ridge))
        if worst <= SAFETY * tolerance:
            return sweep + 1
    return MAX_SWEEPS


@njit(cache=True, error_model="numpy")
def move(
    gram: Array,
    basis: Array,
    weight: float,
    i: int,
    j: int,
    step: float,
    partners: Index,
    degree: Index,
    pull: Array,
    own: Array,
) -> None:
    """What moving entry (i, j) by `step` does to the gradients of row i at its partners."""
    if weight == 0:
        return
    column, near, slopes, weighted = gram[j], partners[i], pull[i], weight * step
    for a in range(degree[i]):
        slopes[a] -= weighted * column[near[a]]
    for r in range(basis.shape[2]):
        own[i, r] += weighted * basis[i, j, r]


@njit(cache=True, error_model="numpy")
def pair_gradient(
    gram: Array,
    basis: Array,
    weight: Array,
    residual: Array,
    partners: Index,
    degree: Index,
    deviation: Array,
    gradient: Array,
) -> None:
    """Minus the gradient of every row at every name, from nothing but the deviations."""
    n, R = len(gram), basis.shape[2]
    entry, own, fitted = np.empty(n), np.empty(R), np.empty(n)
    for i in range(n):
        if weight[i] == 0:
            continue
        fitted[:] = 0.0
        own[:] = 0.0
        for a in range(degree[i]):
            j = partners[i, a]
            entry[a] = deviation[i, j]
            for r in range(R):
                own[r] += entry[a] * basis[i, j, r]
        add_columns(gram, partners[i], degree[i], entry, fitted)
        for k in range(n):
            for r in range(R):
                fitted[k] -= own[r] * basis[i, k, r]
            gradient[i, k] = residual[i, k] - weight[i] * fitted[k]
