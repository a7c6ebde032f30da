"""One pass of coordinate ascent over all pairs' posteriors: the inner loop of `shrinkage`.

Pairs are updated one after the other, each given all updates before it, tile by tile: names are cut
into runs of `TILE`, and all pairs between two runs are one tile. What earlier tiles have changed
reaches a tile's gradients in two matrix products when its turn comes; within it compiled loops keep
them current, out of nearest memory. Own terms are kept as their few coefficients per row, as in
`pair_descent`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from crossimpact.model import Array

SMALL = 1e-4  # standard errors too few to be worth an update now; the next pass sees them
TILE = 64  # names: three tiles of this size fit the nearest cache


class Pairs(NamedTuple):
    """The pairs' state, (n, n) each, of which the upper triangle is read: see `shrinkage`."""

    theta: Array
    shared: Array
    near: Array
    slack: Array
    own: Array
    slab: Array
    spread: Array


class Known(NamedTuple):
    """What does not change from pass to pass: the rows, the pairs' strata and template."""

    gram: Array
    basis: Array
    weight: Array
    scale: Array
    curvature: Array
    label: NDArray[Any]
    centre: Array
    stray: Array


def sweep(pairs: Pairs, gradient: Array, known: Known, prior: Array) -> float:
    """Update the pairs' couplings and probabilities; the largest move in standard errors.

    `gradient` is that of each row at `pairs.theta` on entry, see `shrinkage.row_gradients`; it is
    not touched.
    """
    n, gram = len(known.weight), known.gram
    change = np.zeros((n, n))  # of M in this pass
    nuisance = np.zeros((n, known.basis.shape[2]))  # what a row's changes are in its own terms
    runs = [slice(start, min(start + TILE, n)) for start in range(0, n, TILE)]
    blocks = [np.ascontiguousarray(gram[run, run]) for run in runs]
    largest = 0.0
    for a, rows in enumerate(runs):
        done = slice(0, rows.start)
        inside = gradient[rows, rows] - change[rows, done] @ gram[done, rows]
        moves = np.zeros_like(inside)
        moved = _within(rows.start, inside, blocks[a], moves, nuisance, prior, *pairs, *known)
        change[rows, rows] = moves + moves.T
        upper = np.triu(pairs.theta[rows, rows], 1)
        pairs.theta[rows, rows] = upper + upper.T
        largest = max(largest, moved)
        for b in range(a + 1, len(runs)):
            columns, past = runs[b], slice(0, runs[b].start)
            mine = gradient[rows, columns] - change[rows, past] @ gram[past, columns]
            theirs = _turned(gradient[columns, rows])
            theirs -= gram[rows, done] @ change[done, columns]
            moves = np.zeros_like(mine)
            moved = _between(
                rows.start, columns.start, mine, theirs, blocks[a], blocks[b],
                _turned(known.basis[columns, rows]), moves, nuisance, prior, *pairs, *known,
            )  # fmt: skip
            if moved:
                change[rows, columns], change[columns, rows] = moves, moves.T
                pairs.theta[columns, rows] = pairs.theta[rows, columns].T
                largest = max(largest, moved)
    return largest


def _turned(tile: Array) -> Array:
    """A tile with its first two axes swapped, laid out anew."""
    return np.ascontiguousarray(tile.swapaxes(0, 1))


@njit(cache=True, error_model="numpy")
def _within(
    start: int, gradient: Array, block: Array, moves: Array, nuisance: Array, prior: Array,
    theta: Array, shared: Array, near: Array, slack: Array, own: Array, slab: Array, spread: Array,
    gram: Array, basis: Array, weight: Array, scale: Array, curvature: Array,
    label: NDArray[Any], centre: Array, stray: Array,
) -> float:  # fmt: skip
    """All pairs of one run of names; `moves` (upper triangle) of M are filled in."""
    size, rank, largest = len(block), basis.shape[2], 0.0
    mine, theirs, earlier = np.empty(size), np.empty(size), np.empty(size)
    for a in range(size):
        i = start + a
        for k in range(a + 1, size):
            mine[k], theirs[k] = gradient[a, k], gradient[k, a]
        for b in range(a):
            earlier[b] = moves[b, a]
        subtract_rows(block, earlier, a, a + 1, mine)
        subtract_rows(moves, block[a], a, a + 1, theirs)
        for c in range(a + 1, size):
            j = start + c
            if curvature[i, j] <= 0.0:
                continue
            left, right = mine[c], theirs[c]
            for r in range(rank):
                left += nuisance[i, r] * basis[i, j, r]
                right += nuisance[j, r] * basis[j, i, r]
            step, moved = _updated(
                i, j, scale[i, j] * (weight[i] * left + weight[j] * right), prior,
                theta, shared, near, slack, own, slab, spread, curvature, label, centre, stray,
            )  # fmt: skip
            if moved < SMALL:
                continue
            largest = max(largest, moved)
            moved_by = scale[i, j] * step
            moves[a, c] = moved_by
            row = block[c]
            for k in range(c + 1, size):
                mine[k] -= moved_by * row[k]
            for r in range(rank):
                nuisance[i, r] += moved_by * basis[i, j, r]
                nuisance[j, r] += moved_by * basis[j, i, r]
    return largest


@njit(cache=True, error_model="numpy")
def _between(
    top: int, side: int, mine: Array, theirs: Array, rows: Array, columns: Array,
    turned: Array, moves: Array, nuisance: Array, prior: Array,
    theta: Array, shared: Array, near: Array, slack: Array, own: Array, slab: Array, spread: Array,
    gram: Array, basis: Array, weight: Array, scale: Array, curvature: Array,
    label: NDArray[Any], centre: Array, stray: Array,
) -> float:  # fmt: skip
    """All pairs of two runs of names, from `top` and from `side`: gradients of the first's rows at
    the second's names and the other way round, both indexed first by first; their Gram blocks,
    and the basis of the second's rows, `turned` alike."""
    rank, largest = basis.shape[2], 0.0
    for a in range(len(rows)):
        i = top + a
        subtract_rows(moves, rows[a], a, 0, theirs[a])
        for c in range(len(columns)):
            j = side + c
            if curvature[i, j] <= 0.0:
                continue
            left, right = mine[a, c], theirs[a, c]
            for r in range(rank):
                left += nuisance[i, r] * basis[i, j, r]
                right += nuisance[j, r] * turned[a, c, r]
            step, moved = _updated(
                i, j, scale[i, j] * (weight[i] * left + weight[j] * right), prior,
                theta, shared, near, slack, own, slab, spread, curvature, label, centre, stray,
            )  # fmt: skip
            if moved < SMALL:
                continue
            largest = max(largest, moved)
            moved_by = scale[i, j] * step
            moves[a, c] = moved_by
            row = columns[c]
            for k in range(c + 1, len(columns)):
                mine[a, k] -= moved_by * row[k]
            for r in range(rank):
                nuisance[i, r] += moved_by * basis[i, j, r]
                nuisance[j, r] += moved_by * turned[a, c, r]
    return largest


@njit(cache=True, error_model="numpy")
def _updated(
    i: int, j: int, force: float, prior: Array,
    theta: Array, shared: Array, near: Array, slack: Array, own: Array, slab: Array, spread: Array,
    curvature: Array, label: NDArray[Any], centre: Array, stray: Array,
) -> tuple[float, float]:  # fmt: skip
    """A pair's posterior given the force on it, and its step, also in standard errors; one below
    `SMALL` is not taken."""
    h = curvature[i, j]
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
    if moved >= SMALL:
        theta[i, j] += step
    return step, moved


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


@njit(cache=True, error_model="numpy")
def counts(
    groups: int, strata: int, label: NDArray[Any], curvature: Array,
    shared: Array, own: Array, slab: Array,
) -> tuple[Array, Array]:  # fmt: skip
    """Sums over the pairs that have curvature: one, own and shared probability by stratum,
    (3, strata); own probability, and that times its slab mean, by group, (2, groups)."""
    by_stratum, by_group = np.zeros((3, strata)), np.zeros((2, groups))
    for i in range(len(label)):
        for j in range(i + 1, len(label)):
            if curvature[i, j] > 0.0:
                k, p = label[i, j], own[i, j]
                by_stratum[0, k] += 1.0
                by_stratum[1, k] += p
                by_stratum[2, k] += shared[i, j]
                by_group[0, k % groups] += p
                by_group[1, k % groups] += p * slab[i, j]
    return by_stratum, by_group


@njit(cache=True, error_model="numpy")
def squares(
    mean: Array, label: NDArray[Any], curvature: Array, own: Array, slab: Array, spread: Array
) -> Array:
    """Sums of own probability times ``(slab - mean)^2 + spread^2`` by group, (groups,)."""
    groups = len(mean)
    found = np.zeros(groups)
    for i in range(len(label)):
        for j in range(i + 1, len(label)):
            if curvature[i, j] > 0.0:
                g = label[i, j] % groups
                far = slab[i, j] - mean[g]
                found[g] += own[i, j] * (far**2 + spread[i, j] ** 2)
    return found
