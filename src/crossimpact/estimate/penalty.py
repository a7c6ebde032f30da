"""A penalty on the rows of a matrix or on its pairs, and the coordinates in which it is one number.

See `paths` for the objective.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crossimpact.errors import EstimationError
from crossimpact.estimate.equations import Equations, own_share, remaining, spread_out
from crossimpact.model import Array

TOLERANCE = 1e-5


@dataclass(frozen=True)
class Penalty:
    """What deviates from where, and how dearly.

    Attributes
    ----------
    l1_ratio
        Share of the l1 part, in (0, 1].
    offset
        Template the deviations are measured from, shape (n, n); its diagonal is not read. Default:
        zero.
    tolerance
        Largest violation of the optimality conditions, as a share of the largest gradient at the
        offset (of the row's, or among pairs).
    """

    l1_ratio: float = 0.9
    offset: Array | None = None
    tolerance: float = TOLERANCE


@dataclass(frozen=True)
class Coordinates:
    """``M = offset + unit u``, curvature one in u (unit 0: none); minus the gradient in u at u = 0;
    both (n, n)."""

    unit: Array
    slope: Array


def standardise(equations: Equations, penalty: Penalty) -> Coordinates:
    """Of every row by itself."""
    _check(equations, penalty)
    return _coordinates(_curvature(equations), gradient_at_offset(equations, penalty)[0])


def standardise_pairs(equations: Equations, penalty: Penalty) -> Coordinates:
    """Of symmetric pairs, to which both rows speak."""
    _check(equations, penalty)
    if penalty.offset is not None and not np.array_equal(penalty.offset, penalty.offset.T):
        raise EstimationError("offset of a penalty on pairs is not symmetric")
    curvature, residual = _curvature(equations), gradient_at_offset(equations, penalty)[0]
    return _coordinates(curvature + curvature.T, residual + residual.T)


def _coordinates(curvature: Array, residual: Array) -> Coordinates:
    unit = np.zeros_like(curvature)
    np.divide(1.0, np.sqrt(curvature), out=unit, where=curvature > 0)
    return Coordinates(unit, unit * residual)


def _curvature(equations: Equations) -> Array:
    """``weight_i G_i[jj]``, zero on the diagonal and where the nuisance leaves nothing of j."""
    left = remaining(equations.gram, equations.basis)
    return np.asarray(equations.weight[:, None] * left)


def gradient_at_offset(equations: Equations, penalty: Penalty) -> tuple[Array, Array]:
    """Minus the gradient in M at the offset, (n, n), and the loss there, (n,)."""
    weight, basis = equations.weight, equations.basis
    if penalty.offset is None:
        return weight[:, None] * equations.xy, np.zeros(len(weight))
    offset = offset_of(penalty, len(weight))
    fitted = offset @ equations.gram - spread_out(basis, own_share(basis, offset))
    loss = weight / 2 * ((fitted - 2 * equations.xy) * offset).sum(axis=1)
    return weight[:, None] * (equations.xy - fitted), loss


def offset_of(penalty: Penalty, n: int) -> Array:
    """The template that deviations are measured from, zero diagonal, shape (n, n)."""
    offset = np.zeros((n, n)) if penalty.offset is None else penalty.offset.copy()
    np.fill_diagonal(offset, 0.0)
    return offset


def _check(equations: Equations, penalty: Penalty) -> None:
    n = len(equations.gram)
    square = {"gram": equations.gram, "xy": equations.xy, "offset": penalty.offset}
    for name, matrix in square.items():
        if matrix is not None and matrix.shape != (n, n):
            raise EstimationError(f"{name} has shape {matrix.shape}, not {(n, n)}")
    for name, values in (square | {"basis": equations.basis, "weight": equations.weight}).items():
        if values is not None and not np.isfinite(values).all():
            raise EstimationError(f"{name} is not finite")
    if (equations.weight < 0).any():
        raise EstimationError("a weight is negative")
    if not 0 < penalty.l1_ratio <= 1:
        raise EstimationError(f"l1_ratio is {penalty.l1_ratio:g}, must be in (0, 1]")
