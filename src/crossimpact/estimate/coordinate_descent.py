"""Coordinate descent on normal equations: the compiled inner loops of `paths`.

Gradients are updated, never residuals of the data. While sweeping, only those of active coordinates
are kept; the others' are computed anew from the solution when it is checked. One file, because
numba's cache of a kernel does not notice a change in another file it calls into.
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
