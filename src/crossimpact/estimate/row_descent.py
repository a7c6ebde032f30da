"""The elastic net of every row by itself: the compiled inner loops of `paths`.

Gradients are updated, never residuals of the data. While sweeping, only those of active coordinates
are kept; the others' are computed anew from the solution when it is checked.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from crossimpact.estimate.coordinate_descent import (
    MAX_SWEEPS,
    SAFETY,
    Index,
    add_columns,
    extrapolate,
    extrapolation,
    soft,
    stride_of,
    violation,
)
from crossimpact.model import Array


@njit(cache=True, error_model="numpy")
def solve_rows(
    gram: Array,
    basis: Array,
    weight: Array,
    unit: Array,
    slope: Array,
    thresholds: Array,
    ridges: Array,
    tolerance: Array,
    paths: Array,
) -> int:
    """Fill `paths` (rows, L, n), zero on entry, with the deviations of each row.

    `basis` is (rows, r, n), `unit` and `slope` (rows, n), `thresholds` and `ridges` (rows, L).
    Returns -1, or ``row * L + penalty`` of the first that did not converge.
    """
    rows, L = thresholds.shape
    sub = np.empty(gram.shape)
    for i in range(rows):
        solved = row_path(
            gram, basis[i], weight[i], unit[i], slope[i],
            thresholds[i], ridges[i], tolerance[i], sub, paths[i],
        )  # fmt: skip
        if solved < L:
            return int(i * L + solved)
    return -1


@njit(cache=True, error_model="numpy")
def row_path(
    gram: Array,
    basis: Array,
    weight: float,
    unit: Array,
    slope: Array,
    thresholds: Array,
    ridges: Array,
    tolerance: float,
    sub: Array,
    path: Array,
) -> int:
    """Fill `path` (L, n) with a row's deviations; how many penalties were solved.

    `sub` is work space (n, n): the Gram of the active coordinates, by position in `active`.
    """
    n = len(unit)
    active, inside = np.empty(n, dtype=np.int64), np.zeros(n, dtype=np.bool_)
    u, last, pull = np.zeros(n), np.zeros(n), np.empty(n)
    gradient, count = slope.copy(), 0
    for at in range(len(thresholds)):
        threshold, ridge, sweeps = thresholds[at], ridges[at], 0
        extrapolate(u[:count], last, extrapolation(thresholds, at))
        limit = strong_limit(thresholds, at, tolerance)
        while True:
            for j in range(n):
                if abs(gradient[j]) > limit and not inside[j]:
                    append(gram, basis, weight, unit, active, count, j, sub)
                    inside[j] = True
                    count += 1
            active_gradient(sub, slope, active, count, u, pull)
            sweeps += sweep_row(sub, count, threshold, ridge, tolerance, u, pull)
            row_gradient(gram, basis, weight, unit, slope, active, count, u, gradient)
            worst, limit = 0.0, threshold + tolerance
            for a in range(count):
                worst = max(worst, violation(gradient[active[a]], u[a], threshold, ridge))
            for j in range(n):
                if not inside[j]:
                    worst = max(worst, abs(gradient[j]) - threshold)
            if worst <= tolerance:
                break
            if sweeps >= MAX_SWEEPS:
                return at
        for a in range(count):
            path[at, active[a]] = unit[active[a]] * u[a]
    return len(thresholds)


@njit(cache=True, error_model="numpy")
def strong_limit(levels: Array, at: int, tolerance: float) -> float:
    """Size of a gradient at the last solution that makes a coordinate active at the next one.

    The sequential strong rule (Tibshirani et al. 2012); what it misses, the check finds.
    """
    level = float(levels[at])
    if at == 0:
        return level + tolerance
    return min(max(2 * level - float(levels[at - 1]), level / 2), level + tolerance)


@njit(cache=True, error_model="numpy")
def active_gradient(
    sub: Array, slope: Array, active: Index, count: int, u: Array, pull: Array
) -> None:
    """Minus the gradient of the active coordinates, by position."""
    for a in range(count):
        pull[a] = slope[active[a]]
    for b in range(count):
        if u[b] != 0:
            column, step = sub[b], u[b]
            for a in range(count):
                pull[a] -= step * column[a]


@njit(cache=True, error_model="numpy")
def append(
    gram: Array,
    basis: Array,
    weight: float,
    unit: Array,
    active: Index,
    count: int,
    j: int,
    sub: Array,
) -> None:
    """Make `j` the last active coordinate."""
    active[count] = j
    for a in range(count + 1):
        k = active[a]
        value = gram[j, k]
        for r in range(len(basis)):
            value -= basis[r, j] * basis[r, k]
        value *= weight * unit[j] * unit[k]
        sub[a, count] = value
        sub[count, a] = value


@njit(cache=True, error_model="numpy")
def sweep_row(
    sub: Array, count: int, threshold: float, ridge: float, tolerance: float, u: Array, pull: Array
) -> int:
    """Coordinate descent on the active coordinates until they meet their optimality conditions."""
    inverse = np.empty(count)
    for a in range(count):
        inverse[a] = 1 / (sub[a, a] + ridge)
    for sweep in range(MAX_SWEEPS):
        stride, a = stride_of(sweep, count), -1
        for _ in range(count):
            a += stride
            if a >= count:
                a -= count
            column = sub[a]
            new = soft(pull[a] + column[a] * u[a], threshold) * inverse[a]
            if new != u[a]:
                step = new - u[a]
                u[a] = new
                for b in range(count):
                    pull[b] -= step * column[b]
        worst = 0.0
        for a in range(count):
            worst = max(worst, violation(pull[a], u[a], threshold, ridge))
        if worst <= SAFETY * tolerance:
            return sweep + 1
    return MAX_SWEEPS


@njit(cache=True, error_model="numpy")
def row_gradient(
    gram: Array,
    basis: Array,
    weight: float,
    unit: Array,
    slope: Array,
    active: Index,
    count: int,
    u: Array,
    gradient: Array,
) -> None:
    """Minus the gradient of every coordinate, from nothing but u."""
    n = len(unit)
    entry, own, fitted = np.zeros(n), np.zeros(len(basis)), np.zeros(n)
    for a in range(count):
        k = active[a]
        entry[a] = unit[k] * u[a]
        for r in range(len(basis)):
            own[r] += entry[a] * basis[r, k]
    add_columns(gram, active, count, entry, fitted)
    for r in range(len(basis)):
        nuisance, share = basis[r], own[r]
        for j in range(n):
            fitted[j] -= share * nuisance[j]
    for j in range(n):
        gradient[j] = slope[j] - weight * unit[j] * fitted[j]
