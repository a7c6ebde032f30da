"""Elastic-net paths on shared normal equations: every row by itself, or one number per pair.

With ``G_i = gram - basis_i basis_i'``, the ``i``-th row of a matrix M is fitted by minimising

    weight_i / 2 (M_i' G_i M_i - 2 M_i' xy_i)
        + lambda sum_j (l1_ratio |u_ij| + (1 - l1_ratio) / 2 u_ij^2),
    u_ij = (M_ij - offset_ij) sqrt(h_ij),     h_ij = weight_i G_i[jj].

In u every coordinate has unit curvature. With ``weight_i = 1 / T_i`` this is
``sklearn.linear_model.ElasticNet(alpha=lambda)`` on T_i rows of columns with unit mean square; with
one over the noise variance, lambda is in t-statistics. Pairs minimise the sum over rows with M
symmetric, one penalised u_ij per unordered pair and ``h_ij = weight_i G_i[jj] + weight_j G_j[ii]``.

Covariance updates over a growing active set, warm starts along the path; a solution is accepted
when the gradients of *all* coordinates, computed anew, meet the optimality conditions. One thread,
fixed order, no reassociated sums: the same input gives the same bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossimpact.errors import EstimationError
from crossimpact.estimate.coordinate_descent import (
    MAX_SWEEPS,
    extrapolate,
    extrapolation,
    losses,
)
from crossimpact.estimate.equations import Equations
from crossimpact.estimate.pair_descent import pair_gradient, solve_pairs
from crossimpact.estimate.penalty import (
    Penalty,
    gradient_at_offset,
    offset_of,
    standardise,
    standardise_pairs,
)
from crossimpact.estimate.row_descent import solve_rows
from crossimpact.model import Array

BLOCK = 64  # rows solved at a time: what bounds the memory of a cross-validation


@dataclass(frozen=True)
class CrossValidation:
    """How each penalty did on flows it was not fitted to.

    Attributes
    ----------
    loss
        ``weight_i / 2 (M_i' G_i M_i - 2 M_i' xy_i)`` of the held-out equations, shape (folds, L, n)
        for n rows; (folds, L, 1), their sum, for pairs. Below zero: better than M = 0.
    selected
        Number of folds in which an entry deviates from its offset, shape (L, n, n).
    """

    loss: Array
    selected: NDArray[np.uint8]

    @property
    def best(self) -> NDArray[np.int64]:
        """Index of the penalty with the least loss over all folds, shape (n,) or, for pairs, (1,);
        of equals the first."""
        return np.asarray(self.loss.sum(axis=0).argmin(axis=0))


def row_lambdas(
    equations: Equations, penalty: Penalty, count: int = 50, smallest: float = 1e-2
) -> Array:
    """Geometric grid per row, shape (count, n), from the least lambda without any deviation down to
    `smallest` times that. A row without information has zeros."""
    slope = standardise(equations, penalty).slope
    top = np.abs(slope).max(axis=1, initial=0.0) / penalty.l1_ratio
    return np.asarray(np.geomspace(1.0, smallest, count)[:, None] * top)


def pair_lambdas(
    equations: Equations, penalty: Penalty, count: int = 50, smallest: float = 1e-2
) -> Array:
    """Geometric grid for all pairs, shape (count,): see `row_lambdas`."""
    slope = standardise_pairs(equations, penalty).slope
    top = np.abs(slope).max(initial=0.0) / penalty.l1_ratio
    return np.asarray(np.geomspace(1.0, smallest, count) * top)


def row_paths(equations: Equations, penalty: Penalty, lambdas: Array) -> Array:
    """Elastic net of every row by itself.

    Parameters
    ----------
    equations
        What the rows minimise.
    lambdas
        Shape (L,), or (L, n) for a grid per row; fastest in decreasing order.

    Returns
    -------
    Array
        M of each penalty, shape (L, n, n), zero diagonal. Entries without curvature (no flow, flow
        collinear with the row's nuisance) and rows of zero weight stay at their offset.

    Raises
    ------
    EstimationError
        On a non-finite number, a wrong shape or range, or no convergence.
    """
    n = len(equations.gram)
    paths = np.empty((len(lambdas), n, n))
    for rows, block in _row_deviations(equations, penalty, lambdas):
        paths[:, rows] = block.swapaxes(0, 1)
    paths += offset_of(penalty, n)
    return paths


def pair_paths(equations: Equations, penalty: Penalty, lambdas: Array) -> Array:
    """Elastic net of all pairs jointly: M symmetric, both rows of a pair inform its one number.

    Parameters and errors as in `row_paths`, `lambdas` of shape (L,), offset symmetric.

    Returns
    -------
    Array
        M of each penalty, shape (L, n, n), symmetric, zero diagonal.
    """
    n = len(equations.gram)
    paths = np.empty((len(lambdas), n, n))
    for at, deviation in enumerate(_pair_deviations(equations, penalty, lambdas)):
        paths[at] = deviation
    paths += offset_of(penalty, n)
    return paths


def cross_validate_rows(
    training: Sequence[Equations], held_out: Sequence[Equations], penalty: Penalty, lambdas: Array
) -> CrossValidation:
    """Loss of each row and penalty on each fold's held-out equations, and what each fold selects.

    One pair of equations per fold; `lambdas`, of shape (L,) or (L, n), mean the same in all of them
    when weights are per observation (``1 / T``).
    """
    n, L = len(training[0].gram), len(lambdas)
    loss, selected = np.empty((len(training), L, n)), np.zeros((L, n, n), dtype=np.uint8)
    for fold, (train, test) in enumerate(zip(training, held_out, strict=True)):
        residual, at_offset = gradient_at_offset(test, penalty)
        for rows, block in _row_deviations(train, penalty, lambdas):
            result = np.empty(block.shape[:2])
            losses(test.gram, test.basis[rows], test.weight[rows], residual[rows], block, result)
            loss[fold, :, rows] = (at_offset[rows, None] + result).T
            selected[:, rows] += (block != 0).swapaxes(0, 1)
    return CrossValidation(loss, selected)


def cross_validate_pairs(
    training: Sequence[Equations],
    held_out: Sequence[Equations],
    penalty: Penalty,
    lambdas: Array,
    patience: int | None = None,
) -> CrossValidation:
    """`cross_validate_rows` for pairs: one loss per penalty, summed over the rows.

    The folds go down the penalties together. With `patience` they stop after so many in a row that
    were worse than the best: what comes next is the larger part of the work, and worse still. The
    result then covers the penalties that were solved.
    """
    n = len(training[0].gram)
    residuals, at_offset = zip(
        *(gradient_at_offset(test, penalty) for test in held_out), strict=True
    )
    fold_losses: list[Array] = []
    selected: list[NDArray[np.uint8]] = []
    solutions = [_pair_deviations(train, penalty, lambdas) for train in training]
    for of_folds in zip(*solutions, strict=True):
        found, chosen = np.empty(len(training)), np.zeros((n, n), dtype=np.uint8)
        for fold, (test, deviation) in enumerate(zip(held_out, of_folds, strict=True)):
            result = np.empty((n, 1))
            e = test.gram, test.basis, test.weight, residuals[fold]
            losses(*e, deviation[:, None], result)
            found[fold] = at_offset[fold].sum() + result.sum()
            chosen += deviation != 0
        fold_losses.append(found)
        selected.append(chosen)
        if patience and _worse_since(fold_losses) >= patience:
            break
    return CrossValidation(np.stack(fold_losses, axis=1)[:, :, None], np.stack(selected))


def _worse_since(fold_losses: Sequence[Array]) -> int:
    """How many penalties ago the least loss was."""
    return len(fold_losses) - 1 - int(np.argmin([loss.sum() for loss in fold_losses]))


# -- solvers: deviations from the offset ---------------------------------------------------------


def _grid(lambdas: Array, columns: int) -> Array:
    """Penalties as (L, columns)."""
    grid = np.asarray(lambdas, dtype=np.float64)
    grid = np.broadcast_to(grid[:, None] if grid.ndim == 1 else grid, (len(grid), columns))
    if not (np.isfinite(grid) & (grid >= 0)).all():
        raise EstimationError("a penalty is negative or not finite")
    return grid


def _row_deviations(
    equations: Equations, penalty: Penalty, lambdas: Array
) -> Iterator[tuple[slice, Array]]:
    """Paths (rows, L, n) of one block of rows after the other."""
    n, L = len(equations.gram), len(lambdas)
    coordinates, grid = standardise(equations, penalty), _grid(lambdas, n).T
    tolerance = penalty.tolerance * np.abs(coordinates.slope).max(axis=1, initial=0.0)
    gram = np.ascontiguousarray(equations.gram, dtype=np.float64)
    for start in range(0, n, BLOCK):
        rows = slice(start, min(start + BLOCK, n))
        paths = np.zeros((rows.stop - start, L, n))
        failed = solve_rows(
            gram,
            np.ascontiguousarray(equations.basis[rows].swapaxes(1, 2)),
            equations.weight[rows],
            coordinates.unit[rows],
            coordinates.slope[rows],
            np.ascontiguousarray(grid[rows] * penalty.l1_ratio),
            np.ascontiguousarray(grid[rows] * (1 - penalty.l1_ratio)),
            tolerance[rows],
            paths,
        )
        if failed >= 0:
            i, at = divmod(failed, L)
            raise _unsolved(f"row {start + i}", grid[start + i, at])
        yield rows, paths


def _pair_deviations(equations: Equations, penalty: Penalty, lambdas: Array) -> Iterator[Array]:
    """Deviation (n, n) of one penalty after the other; the array is overwritten by the next."""
    n = len(equations.gram)
    coordinates, grid = standardise_pairs(equations, penalty), _grid(lambdas, 1)[:, 0]
    gram = np.ascontiguousarray(equations.gram, dtype=np.float64)
    basis = np.ascontiguousarray(equations.basis, dtype=np.float64)
    residual = gradient_at_offset(equations, penalty)[0]
    tolerance = penalty.tolerance * np.abs(coordinates.slope).max(initial=0.0)
    deviation, before, gradient = np.zeros((n, n)), np.zeros((n, n)), residual.copy()
    partners, degree = np.empty((n, n), dtype=np.int32), np.zeros(n, dtype=np.int32)
    pairs, count = np.empty((n * (n - 1) // 2, 4), dtype=np.int32), 0
    for at, level in enumerate(grid):
        extrapolate(deviation.ravel(), before.ravel(), extrapolation(grid, at))
        pair_gradient(
            gram, basis, equations.weight, residual, partners, degree, deviation, gradient
        )
        count = solve_pairs(
            gram,
            basis,
            equations.weight,
            coordinates.unit,
            residual,
            level * penalty.l1_ratio,
            level * (1 - penalty.l1_ratio),
            tolerance,
            gradient,
            partners,
            degree,
            pairs,
            count,
            deviation,
        )
        if count < 0:
            raise _unsolved("the fit of all pairs", level)
        yield deviation


def _unsolved(what: str, level: float) -> EstimationError:
    return EstimationError(
        f"{what} did not converge in {MAX_SWEEPS} sweeps at penalty {level:g}",
        "the flows are nearly collinear: use a larger penalty or a smaller l1_ratio",
    )
