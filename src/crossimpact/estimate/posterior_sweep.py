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
    """The pairs' state, (n, n) each: posterior means, and what the rows say of each pair by itself
    given all others' (upper triangle)."""

    theta: Array
    estimate: Array


class Known(NamedTuple):
    """What does not change from pass to pass: the rows, the pairs' strata and template. `turned` is
    the basis with names swapped: row j's at i, laid out for pairs (i, j)."""

    gram: Array
    basis: Array
    turned: Array
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
            theirs = gradient[columns, rows].T.copy()
            theirs -= gram[rows, done] @ change[done, columns]
            moves = np.zeros_like(mine)
            moved = _between(
                rows.start, columns.start, mine, theirs, blocks[a], blocks[b],
                moves, nuisance, prior, *pairs, *known,
            )  # fmt: skip
            if moved:
                change[rows, columns], change[columns, rows] = moves, moves.T
                pairs.theta[columns, rows] = pairs.theta[rows, columns].T
                largest = max(largest, moved)
    return largest


@njit(cache=True, error_model="numpy")
def _within(
    start: int, gradient: Array, block: Array, moves: Array, nuisance: Array, prior: Array,
    theta: Array, estimate: Array,
    gram: Array, basis: Array, turned: Array, weight: Array, scale: Array, curvature: Array,
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
                right += nuisance[j, r] * turned[i, j, r]
            step, moved = _updated(
                i, j, scale[i, j] * (weight[i] * left + weight[j] * right), prior,
                theta, estimate, curvature, label, centre, stray,
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
                nuisance[j, r] += moved_by * turned[i, j, r]
    return largest


@njit(cache=True, error_model="numpy")
def _between(
    top: int, side: int, mine: Array, theirs: Array, rows: Array, columns: Array,
    moves: Array, nuisance: Array, prior: Array,
    theta: Array, estimate: Array,
    gram: Array, basis: Array, turned: Array, weight: Array, scale: Array, curvature: Array,
    label: NDArray[Any], centre: Array, stray: Array,
) -> float:  # fmt: skip
    """All pairs of two runs of names, from `top` and from `side`: gradients of the first's rows at
    the second's names and the other way round, both indexed first by first; their Gram blocks."""
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
                right += nuisance[j, r] * turned[i, j, r]
            step, moved = _updated(
                i, j, scale[i, j] * (weight[i] * left + weight[j] * right), prior,
                theta, estimate, curvature, label, centre, stray,
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
                nuisance[j, r] += moved_by * turned[i, j, r]
    return largest


@njit(cache=True, error_model="numpy")
def _updated(
    i: int, j: int, force: float, prior: Array, theta: Array, estimate: Array,
    curvature: Array, label: NDArray[Any], centre: Array, stray: Array,
) -> tuple[float, float]:  # fmt: skip
    """A pair's step given the force on it, also in standard errors; one below `SMALL` is not
    taken."""
    h = curvature[i, j]
    estimate[i, j] = theta[i, j] + force / h
    shared, near, _, own, slab, _ = parts(
        estimate[i, j], 1.0 / h, centre[i, j], stray[i, j], prior[label[i, j]]
    )
    step = shared * near + own * slab - theta[i, j]
    moved = abs(step) * np.sqrt(h)
    if moved >= SMALL:
        theta[i, j] += step
    return step, moved


@njit(cache=True, error_model="numpy")
def parts(
    estimate: float, noise: float, centre: float, stray: float, prior: Array
) -> tuple[float, float, float, float, float, float]:
    """A pair's posterior from its estimate and the variance of that: probability, mean and standard
    deviation of being like the template, then of being drawn from the slab."""
    pi, omega, mu, tau = prior
    wide, loose = noise + tau * tau, noise + stray * stray
    zero, drawn, alike = -0.5 * estimate**2 / noise, -0.5 * (estimate - mu) ** 2 / wide, -np.inf
    if omega > 0.0 and centre != 0.0:
        alike = -0.5 * (estimate - centre) ** 2 / loose
    else:
        omega = 0.0
    top = max(zero, drawn, alike)
    nothing = (1.0 - pi - omega) / np.sqrt(noise) * np.exp(zero - top)
    drawn = pi / np.sqrt(wide) * np.exp(drawn - top)
    alike = omega / np.sqrt(loose) * np.exp(alike - top)
    total = nothing + drawn + alike
    near = (estimate * stray * stray + centre * noise) / loose
    slab = (estimate * tau * tau + mu * noise) / wide
    slack, spread = np.sqrt(noise / loose) * stray, np.sqrt(noise / wide) * tau
    return alike / total, near, slack, drawn / total, slab, spread


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
def told(
    theta: Array, estimate: Array, curvature: Array, label: NDArray[Any], centre: Array,
    stray: Array, centre_se: Array, prior: Array,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """Of each pair that has curvature: posterior standard deviation, probability of being coupled,
    and of being drawn from the slab; (n, n) each, symmetric."""
    n = len(label)
    sd, inclusion, drawn = np.zeros((n, n)), np.zeros((n, n)), np.zeros((n, n))
    for i in range(n):
        for j in range(i + 1, n):
            if curvature[i, j] <= 0.0:
                continue
            shared, near, slack, own, slab, spread = parts(
                estimate[i, j], 1.0 / curvature[i, j], centre[i, j], stray[i, j], prior[label[i, j]]
            )
            second = shared * (near**2 + slack**2 + centre_se[i, j] ** 2)
            second += own * (slab**2 + spread**2)
            sd[i, j] = sd[j, i] = np.sqrt(max(second - theta[i, j] ** 2, 0.0))
            inclusion[i, j] = inclusion[j, i] = shared + own
            drawn[i, j] = drawn[j, i] = own
    return sd, inclusion, drawn
