"""Risk of what is not traded yet: a desk's aversion to the price moving before it is.

A part of an order is exposed from the moment its price is struck until it is traded. With b the
parts struck (points at the boundaries) and x the trades, what is exposed at t is ``R(t)``, the sum
of ``b - x`` up to t, and its price varies by ``R' Sigma R`` per unit of time (Almgren and Chriss
2001). The charge is ``aversion int R' Sigma R dt``, a quadratic form of ``b - x``:

    int R_a R_b dt = T - E max(s, t) = T - (mean s + mean t + E |s - t|) / 2,

s and t falling into the pieces a and b: the coupling of a kernel once more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from crossimpact.errors import Inadmissible, ProblemError
from crossimpact.model import Array
from crossimpact.policy.sequential.kernel import TOLERANCE, Distance
from crossimpact.policy.sequential.limits import numbers

_DISTANCE = Distance(np.ones((1, 1)))
Pieces = tuple[Array, Array]


@dataclass(frozen=True, eq=False)
class Risk:
    """What a unit of variance is charged.

    Parameters
    ----------
    aversion
        Cost per unit of variance, > 0.
    covariance
        Of the assets' prices per unit of time, (price per unit)^2: shape (M, M), symmetric positive
        semidefinite, or a number for one asset.

    Raises
    ------
    ProblemError
        On numbers that are none or have the wrong shape.
    Inadmissible
        On a covariance that is none: by how much.
    """

    aversion: float
    covariance: Array

    def __init__(self, aversion: float, covariance: ArrayLike) -> None:
        if not (np.isfinite(aversion) and aversion > 0):
            raise ProblemError(f"risk.aversion is {aversion:g}, must be finite and > 0")
        matrix = np.atleast_2d(numbers("risk.covariance", covariance))
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
            raise ProblemError(f"risk.covariance has shape {matrix.shape}, must be square")
        limit = TOLERANCE * float(np.abs(matrix).max())
        skew = float(np.abs(matrix - matrix.T).max())
        lowest = float(np.linalg.eigvalsh((matrix + matrix.T) / 2)[0])
        if skew > limit or lowest < -limit:
            raise Inadmissible(
                f"risk.covariance is no covariance: asymmetric by {skew:.3g}, smallest eigenvalue "
                f"{lowest:.6g}, limit {limit:.3g}"
            )
        object.__setattr__(self, "aversion", float(aversion))
        object.__setattr__(self, "covariance", (matrix + matrix.T) / 2)

    @property
    def curvature(self) -> Array:
        """Marginal charge per unit exposed and unit of time, (M, M)."""
        return 2 * self.aversion * self.covariance


def exposure(rows: Pieces, columns: Pieces, end: float) -> Array:
    """``int R_a R_b dt`` up to `end` of a unit traded in each row's and each column's piece."""
    middles = (rows[0] + rows[1])[:, None] / 2, (columns[0] + columns[1])[None, :] / 2
    apart = _DISTANCE.coupling(rows, columns)
    return np.asarray(end - (middles[0] + middles[1] + apart) / 2)
