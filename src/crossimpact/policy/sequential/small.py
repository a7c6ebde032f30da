"""Small matrices inside compiled loops.

Plain loops rather than BLAS: as fast at the sizes of a desk, and a quarter of the time to compile.
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
def solve_factored(inverse: Array, side: Array) -> Array:
    """``(L L')^-1 side`` from the inverse factor ``L^-1``."""
    half, whole = np.zeros(len(side)), np.zeros(len(side))
    for i in range(len(side)):
        for j in range(i + 1):
            half[i] += inverse[i, j] * side[j]
    for i in range(len(side)):
        for j in range(i + 1):
            whole[j] += inverse[i, j] * half[i]
    return whole


@njit(cache=True, error_model="numpy")
def product(left: Array, right: Array) -> Array:
    """``left right``."""
    product = np.zeros((len(left), right.shape[1]))
    for i in range(len(left)):
        for k in range(len(right)):
            weight = left[i, k]
            for j in range(right.shape[1]):
                product[i, j] += weight * right[k, j]
    return product


@njit(cache=True, error_model="numpy")
def gram(matrix: Array) -> Array:
    """``matrix' matrix``."""
    n, width = matrix.shape
    product = np.zeros((width, width))
    for k in range(n):
        for i in range(width):
            weight = matrix[k, i]
            for j in range(width):
                product[i, j] += weight * matrix[k, j]
    return product


@njit(cache=True, error_model="numpy")
def chosen(mask: Mask) -> Index:
    """Where a mask is true."""
    rows, count = np.empty(len(mask), np.int64), 0
    for m in range(len(mask)):
        if mask[m]:
            rows[count] = m
            count += 1
    return rows[:count]
