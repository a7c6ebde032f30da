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
from crossimpact.policy.sequential.small import (
    chosen,
    gram,
    inverse_factor,
    product,
    solve_factored,
)


@njit(cache=True, error_model="numpy")
def _back(
    P: Array, Q: Array, R: Array, K: Array,
    coefficients: Array, free: Mask, weights: Array, factors: Array, gains: Array,
) -> None:  # fmt: skip
    """One trade of the backward sweep, in place."""
    M = len(K)
    a, b, q = coefficients[0], coefficients[1], coefficients[2]
    c, d = coefficients[3], coefficients[4]
    rows = chosen(free)
    f = len(rows)
    hessian, sides = np.empty((f, f)), np.zeros((f, 2 * M))
    for i in range(f):
        m = rows[i]
        for j in range(i + 1):
            hessian[i, j] = b * b * P[m, rows[j]] + d * K[m, rows[j]]
        hessian[i, i] += weights[m]
        for j in range(M):
            sides[i, j] = a * b * P[m, j] + c * K[m, j]
            sides[i, M + j] = b * Q[m, j]
        sides[i, M + m] += 1.0
    factor = inverse_factor(hessian)
    gain = product(factor, sides)
    change = gram(gain)
    for i in range(f):
        for j in range(f):
            factors[i, j] = factor[i, j]
        for j in range(2 * M):
            gains[i, j] = gain[i, j]
    for i in range(M):
        for j in range(M):
            P[i, j] = a * a * P[i, j] + q * K[i, j] - change[i, j]
            Q[i, j] = a * Q[i, j] - change[i, M + j]
            R[i, j] += change[M + i, M + j]


@njit(cache=True, error_model="numpy")
def _close(P: Array, Q: Array, R: Array, closing: Array) -> None:
    """The leg's multiplier put at its best: what is left is quadratic in the state, in place."""
    M = len(R)
    for m in range(M):
        R[m, m] = max(R[m, m], 1e-12)
    inverse = inverse_factor(R)
    turned = np.empty((M, M))
    for i in range(M):
        for j in range(M):
            closing[i, j] = inverse[i, j]
            turned[i, j] = Q[j, i]
    passed = gram(product(inverse, turned))
    for i in range(M):
        for j in range(M):
            P[i, j] += passed[i, j]


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
    mixed, closing = np.zeros((L, M, M)), np.zeros((L, M, M))
    ends = np.zeros((L, M, M))
    for leg in range(L - 1, -1, -1):
        P, Q, R = ends[leg], mixed[leg], np.zeros((M, M))
        for i in range(M):
            for j in range(M):
                P[i, j] += terminal[leg] * K[i, j]
        for s in range(first[leg + 1] - 1, first[leg] - 1, -1):
            _back(P, Q, R, K, coefficients[s], free[s], weights[s], factors[s], gains[s])
        _close(P, Q, R, closing[leg])
        if parent[leg] >= 0:
            for i in range(M):
                for j in range(M):
                    ends[parent[leg], i, j] += P[i, j]
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
        p, r = ends[leg], offsets[leg]
        for m in range(M):
            r[m] = -missing[leg, m]
        for s in range(first[leg + 1] - 1, first[leg] - 1, -1):
            a, b = coefficients[s, 0], coefficients[s, 1]
            rows = chosen(free[s])
            f = len(rows)
            side = np.empty(f)
            for i in range(f):
                side[i] = b * p[rows[i]] + gradient[s, rows[i]]
            for m in range(M):
                p[m] *= a
            for i in range(f):
                total = 0.0
                for j in range(i + 1):
                    total += factors[s, i, j] * side[j]
                local[s, i] = total
                for m in range(M):
                    p[m] -= gains[s, i, m] * total
                    r[m] -= gains[s, i, M + m] * total
        if parent[leg] >= 0:
            back = solve_factored(closing[leg], r)
            for i in range(M):
                ends[parent[leg], i] += p[i]
                for j in range(M):
                    ends[parent[leg], i] += mixed[leg, i, j] * back[j]
    moves, multipliers, states = np.zeros((S, M)), np.empty((L, M)), np.zeros((L, M))
    for leg in range(L):
        y, side = states[leg], offsets[leg]
        for i in range(M):
            if parent[leg] >= 0:
                y[i] = states[parent[leg], i]
            for j in range(M):
                side[j] += mixed[leg, i, j] * y[i]
        mu = solve_factored(closing[leg], side)
        for m in range(M):
            multipliers[leg, m] = mu[m]
        for s in range(first[leg], first[leg + 1]):
            rows = chosen(free[s])
            f = len(rows)
            dx = np.zeros(f)
            for i in range(f):
                total = local[s, i]
                for m in range(M):
                    total += gains[s, i, m] * y[m] + gains[s, i, M + m] * mu[m]
                for j in range(i + 1):
                    dx[j] -= factors[s, i, j] * total
            for m in range(M):
                y[m] *= coefficients[s, 0]
            for i in range(f):
                moves[s, rows[i]] = dx[i]
                y[rows[i]] += coefficients[s, 1] * dx[i]
    return moves, multipliers


@njit(cache=True, error_model="numpy")
def adjoint(
    coefficients: Array, first: Index, parent: Index, terminal: Array, credit: Array, trades: Array
) -> tuple[Array, Array]:
    """Gradient of the smooth cost before its product with K, and the states at the legs' ends.

    `credit` (L, M) is what is taken off the state at each leg's end (the benchmark terms).
    """
    S, M = trades.shape
    L = len(parent)
    before, states = np.empty((S, M)), np.zeros((L, M))
    for leg in range(L):
        for m in range(M):
            y = states[parent[leg], m] if parent[leg] >= 0 else 0.0
            for s in range(first[leg], first[leg + 1]):
                before[s, m] = y
                y = coefficients[s, 0] * y + coefficients[s, 1] * trades[s, m]
            states[leg, m] = y
    slopes, ends = np.empty((S, M)), np.zeros((L, M))
    for leg in range(L - 1, -1, -1):
        for m in range(M):
            pull = ends[leg, m] + terminal[leg] * states[leg, m] - credit[leg, m]
            for s in range(first[leg + 1] - 1, first[leg] - 1, -1):
                a, b, q = coefficients[s, 0], coefficients[s, 1], coefficients[s, 2]
                c, d = coefficients[s, 3], coefficients[s, 4]
                slopes[s, m] = b * pull + c * before[s, m] + d * trades[s, m]
                pull = a * pull + q * before[s, m] + c * trades[s, m]
            if parent[leg] >= 0:
                ends[parent[leg], m] += pull
    return slopes, states
