"""Newton steps of a sequence of orders in state form, by a Riccati recursion over a tree of legs.

A *leg* is one order on ``(T_{j-1}, T_j)``: a start block, cells of constant rate, an end block.
Legs form a tree (a chain when nothing is uncertain). Trade `x_s` moves the decayed volume `y` by

    y' = a_s y + b_s x_s      (block: a = b = 1; cell of width h: a = e^{-rho h}, b = (1-a)/(rho h))

and costs ``1/2 (q y'Ky + 2 c y'Kx + d x'Kx)``, the exact integral ``rho int Y'KY dt`` over a cell.
For trades that are free, the value of what follows is quadratic in the state and in the leg's
multiplier ``mu`` of its volume constraint (sum of trades = volume, per asset):

    V(y, mu) = 1/2 y'Py + y'Qmu - 1/2 mu'Rmu + p'y + r'mu,

so a backward sweep costs one Cholesky factor of the free assets per trade: linear in the number of
trades. A fixed trade just leaves its row out, which is how active sets enter without penalties.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from crossimpact.model import Array
from crossimpact.policy.sequential.program import Index, Mask


@njit(cache=True, error_model="numpy")
def inverse_factor(matrix: Array) -> Array:
    """Inverse of the lower Cholesky factor; pivots are kept above rounding."""
    n = len(matrix)
    lower, inverse = np.zeros((n, n)), np.zeros((n, n))
    for i in range(n):
        for j in range(i + 1):
            total = matrix[i, j]
            for k in range(j):
                total -= lower[i, k] * lower[j, k]
            if i == j:
                lower[i, i] = np.sqrt(max(total, 1e-15 * matrix[i, i], 1e-300))
            else:
                lower[i, j] = total / lower[j, j]
    for i in range(n):
        for k in range(i):
            weight = lower[i, k] / lower[i, i]
            for j in range(k + 1):
                inverse[i, j] -= weight * inverse[k, j]
        inverse[i, i] = 1.0 / lower[i, i]
    return inverse


@njit(cache=True, error_model="numpy")
def factorise(
    coefficients: Array,
    first: Index,
    parent: Index,
    terminal: Array,
    K: Array,
    free: Mask,
    weights: Array,
) -> tuple[Array, Array, Array, Array]:
    """Backward sweep of the quadratic part.

    Parameters
    ----------
    coefficients
        Columns ``a, b, q, c, d`` per trade, shape (S, 5).
    first
        First trade of each leg and, last, S; shape (L + 1,). Parents come before children.
    parent
        Index of each leg's parent, -1 for a root; shape (L,).
    terminal
        Weight of ``1/2 y'Ky`` at each leg's end; shape (L,).
    K
        Price impact, symmetric PSD, shape (M, M).
    free
        Trades that may move, bool (S, M).
    weights
        Added to the diagonal of the trades' Hessian, >= 0, shape (S, M).

    Returns
    -------
    tuple
        Per trade the inverse factors (S, M, M) and gains (S, M, 2M), both packed to the free rows;
        per leg ``Q`` (L, M, M) at its start and the inverse factor of ``R`` (L, M, M).
    """
    S, M = free.shape
    L = len(parent)
    factors, gains = np.empty((S, M, M)), np.empty((S, M, 2 * M))
    mixed, closing = np.empty((L, M, M)), np.empty((L, M, M))
    ends = np.zeros((L, M, M))
    for leg in range(L - 1, -1, -1):
        P = ends[leg] + terminal[leg] * K
        Q, R = np.zeros((M, M)), np.zeros((M, M))
        for s in range(first[leg + 1] - 1, first[leg] - 1, -1):
            a, b, q, c, d = coefficients[s]
            rows = np.flatnonzero(free[s])
            f = len(rows)
            if f:
                hessian, sides = np.empty((f, f)), np.empty((f, 2 * M))
                for i in range(f):
                    m = rows[i]
                    for j in range(i + 1):
                        hessian[i, j] = b * b * P[m, rows[j]] + d * K[m, rows[j]]
                    hessian[i, i] += weights[s, m]
                    for j in range(M):
                        sides[i, j] = a * b * P[m, j] + c * K[m, j]
                        sides[i, M + j] = b * Q[m, j]
                    sides[i, M + m] += 1.0
                factors[s, :f, :f] = inverse_factor(hessian)
                gain = np.dot(np.ascontiguousarray(factors[s, :f, :f]), sides)
                gains[s, :f] = gain
                left = np.ascontiguousarray(gain[:, :M])
                right = np.ascontiguousarray(gain[:, M:])
                P = a * a * P + q * K - np.dot(left.T, left)
                Q = a * Q - np.dot(left.T, right)
                R = R + np.dot(right.T, right)
            else:
                P = a * a * P + q * K
                Q = a * Q
        for m in range(M):
            R[m, m] = max(R[m, m], 1e-12)
        closing[leg] = inverse_factor(R)
        mixed[leg] = Q
        if parent[leg] >= 0:
            left = np.dot(closing[leg], Q.T.copy())
            ends[parent[leg]] += P + np.dot(left.T, left)
    return factors, gains, mixed, closing


@njit(cache=True, error_model="numpy")
def step(
    coefficients: Array,
    first: Index,
    parent: Index,
    free: Mask,
    factors: Array,
    gains: Array,
    mixed: Array,
    closing: Array,
    gradient: Array,
    missing: Array,
) -> tuple[Array, Array]:
    """The Newton step for one right-hand side: changes of the trades and new multipliers.

    Parameters
    ----------
    gradient
        Of the smooth cost in the trades, shape (S, M).
    missing
        Volume the step has to add per leg, shape (L, M).

    Returns
    -------
    tuple
        Step ``dx`` (S, M), zero where not free, and ``mu`` (L, M) with
        ``gradient + H dx + weights dx + mu = 0`` on the free trades.
    """
    S, M = free.shape
    L = len(parent)
    ends, offsets = np.zeros((L, M)), np.zeros((L, M))
    local = np.zeros((S, M))
    for leg in range(L - 1, -1, -1):
        p, r = ends[leg].copy(), -missing[leg]
        for s in range(first[leg + 1] - 1, first[leg] - 1, -1):
            a, b = coefficients[s, 0], coefficients[s, 1]
            rows = np.flatnonzero(free[s])
            f = len(rows)
            side = np.empty(f)
            for i in range(f):
                side[i] = b * p[rows[i]] + gradient[s, rows[i]]
            p *= a
            for i in range(f):
                total = 0.0
                for j in range(i + 1):
                    total += factors[s, i, j] * side[j]
                local[s, i] = total
                for m in range(M):
                    p[m] -= gains[s, i, m] * total
                    r[m] -= gains[s, i, M + m] * total
        offsets[leg] = r
        if parent[leg] >= 0:
            ends[parent[leg]] += p + np.dot(mixed[leg], _solve(closing[leg], r))
    moves, multipliers, states = np.zeros((S, M)), np.empty((L, M)), np.zeros((L, M))
    for leg in range(L):
        y = states[parent[leg]].copy() if parent[leg] >= 0 else np.zeros(M)
        mu = _solve(closing[leg], np.dot(mixed[leg].T, y) + offsets[leg])
        multipliers[leg] = mu
        for s in range(first[leg], first[leg + 1]):
            rows = np.flatnonzero(free[s])
            f = len(rows)
            dx = np.zeros(f)
            for i in range(f):
                total = local[s, i]
                for m in range(M):
                    total += gains[s, i, m] * y[m] + gains[s, i, M + m] * mu[m]
                for j in range(i + 1):
                    dx[j] -= factors[s, i, j] * total
            y *= coefficients[s, 0]
            for i in range(f):
                moves[s, rows[i]] = dx[i]
                y[rows[i]] += coefficients[s, 1] * dx[i]
        states[leg] = y
    return moves, multipliers


@njit(cache=True, error_model="numpy")
def _solve(inverse: Array, side: Array) -> Array:
    """``(L L')^-1 side`` from the inverse factor ``L^-1``."""
    half: Array = np.dot(inverse, side)
    whole: Array = np.dot(inverse.T, half)
    return whole


@njit(cache=True, error_model="numpy")
def adjoint(
    coefficients: Array, first: Index, parent: Index, terminal: Array, credit: Array, trades: Array
) -> tuple[Array, Array]:
    """Gradient of the smooth cost before its product with K, and the states at the legs' ends.

    `credit` (L, M) is what is taken off the state at each leg's end (the benchmark terms).
    """
    S, M = trades.shape
    L = len(parent)
    before, states = np.empty((S, M)), np.empty((L, M))
    for leg in range(L):
        y = states[parent[leg]].copy() if parent[leg] >= 0 else np.zeros(M)
        for s in range(first[leg], first[leg + 1]):
            before[s] = y
            y = coefficients[s, 0] * y + coefficients[s, 1] * trades[s]
        states[leg] = y
    slopes, ends = np.empty((S, M)), np.zeros((L, M))
    for leg in range(L - 1, -1, -1):
        pull = ends[leg] + terminal[leg] * states[leg] - credit[leg]
        for s in range(first[leg + 1] - 1, first[leg] - 1, -1):
            a, b, q, c, d = coefficients[s]
            slopes[s] = b * pull + c * before[s] + d * trades[s]
            pull = a * pull + q * before[s] + c * trades[s]
        if parent[leg] >= 0:
            ends[parent[leg]] += pull
    return slopes, states
