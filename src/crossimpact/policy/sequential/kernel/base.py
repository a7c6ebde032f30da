"""How impact decays: ``G(t) = K g(t)``, and its exact averages over blocks and cells.

A trade ``dX`` at s moves prices at ``t >= s`` by ``K g(t - s) dX`` (Bouchaud et al. 2004; Obizhaeva
and Wang 2013 for the exponential; Alfonsi, Schied and Slynko 2012 for convex kernels). ``K`` must
be symmetric positive semidefinite, or a round trip earns money (Schneider and Lillo 2019); ``g``
non-increasing, convex and not constant, or a single order is best traded in both directions.

Everything a schedule costs is a sum of averages of g over pairs of pieces, a piece being a block
(one time) or a cell (an interval traded at a constant rate). With ``F`` the first and ``H`` the
second antiderivative of g, both zero at 0, these averages are differences of g, F and H: no
quadrature, and no discretisation.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossimpact.errors import Inadmissible, ProblemError
from crossimpact.model import Array

Mask = NDArray[np.bool_]
#: Asymmetry and negative eigenvalues of K below this share of its largest entry are rounding.
TOLERANCE = 1e-9


@dataclass(frozen=True)
class Kernel(ABC):
    """Base of all kernels: the matrix `K` and what follows from `shape`, `first` and `second`.

    Parameters
    ----------
    K
        Price move per unit traded at lag 0, shape (M, M), or a number for one asset (> 0).
        Symmetric positive semidefinite.

    Raises
    ------
    ProblemError
        When K is not square, not finite, asymmetric, or has a negative eigenvalue: by how much.
    """

    K: Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "K", _admissible(self.K))

    @property
    def assets(self) -> int:
        return len(self.K)

    @cached_property
    def diagonal(self) -> bool:
        """Whether assets do not move each other."""
        return not np.any(self.K - np.diag(np.diagonal(self.K)))

    @abstractmethod
    def shape(self, t: Array) -> Array:
        """``g(t)`` for t >= 0."""

    @abstractmethod
    def first(self, t: Array) -> Array:
        """``F(t)``, the integral of g over (0, t)."""

    @abstractmethod
    def second(self, t: Array) -> Array:
        """``H(t)``, the integral of F over (0, t)."""

    def check(self, horizon: float) -> None:
        """Refuse a g that is not non-increasing, convex and non-negative on (0, horizon)."""
        return  # a formula is, whatever the horizon, once its parameters are

    def coupling(self, rows: tuple[Array, Array], columns: tuple[Array, Array]) -> Array:
        """Average of ``g(|t - s|)`` over t in each row's piece and s in each column's.

        Parameters
        ----------
        rows, columns
            (starts, ends) of the pieces, shapes (n,) and (m,); a block has start = end.

        Returns
        -------
        Array
            Shape (n, m): 1/2 x' coupling x is the cost of volumes x spread over the pieces (K = 1).
        """
        (a, b), (c, d) = rows, columns
        a, b, c, d = np.broadcast_arrays(a[:, None], b[:, None], c[None, :], d[None, :])
        result = np.empty(a.shape)
        gap = np.maximum(c - b, a - d)
        far = (gap >= 0) & self.far(gap, b - a, d - c)
        if far.any():
            result[far] = self.apart(gap[far], (b - a)[far], (d - c)[far])
        cell, wide = b > a, d > c
        for chosen, average in (
            (~cell & ~wide, self._point_point),
            (cell & ~wide, self._cell_point),
            (~cell & wide, lambda *ends: self._cell_point(*_swapped(*ends))),
            (cell & wide, self._cell_cell),
        ):
            near = chosen & ~far
            if near.any():
                result[near] = average(a[near], b[near], c[near], d[near])
        return result

    @property
    def components(self) -> list[tuple[Kernel, Array]]:
        """Decays g and matrices with ``G = sum K g``."""
        return [(self, self.K)]

    def terms(
        self, rows: tuple[Array, Array], columns: tuple[Array, Array]
    ) -> list[tuple[Array, Array]]:
        """Couplings C (n, m) and matrices K (M, M): volumes x in the columns' pieces cost one more
        unit in the rows' pieces ``sum C x K'``."""
        return [(self.coupling(rows, columns), self.K)]

    def felt(
        self, rows: tuple[Array, Array], columns: tuple[Array, Array], volumes: Array
    ) -> Array:
        """Marginal cost in the rows' pieces of volumes (m, M) in the columns', shape (n, M): the
        price move of what came before, and what it will cost those that come after."""
        parts = (C @ volumes @ K.T for C, K in self.terms(rows, columns))
        return np.asarray(sum(parts))

    def far(self, gap: Array, one: Array, other: Array) -> Mask:
        """Of disjoint pieces, `gap` >= 0 apart and of these widths, those `apart` averages."""
        return np.zeros(gap.shape, dtype=bool)

    def apart(self, gap: Array, one: Array, other: Array) -> Array:
        """`coupling` of pieces that do not overlap, without the cancellation of differences."""
        raise NotImplementedError

    @cached_property
    def memory(self) -> float:
        """``g(0) / |g'(0)|``: the time over which a block wears off at first."""
        step = 1e-8
        for _ in range(60):  # a convex g loses the most at first, so the step only has to be short
            top, after = self.shape(np.array([0.0, step]))
            if top > after and 1 - after / top < 1e-4:
                return float(step * top / (top - after))
            step *= 0.1 if top > after else 10.0
        return float(step)

    def _point_point(self, a: Array, b: Array, c: Array, d: Array) -> Array:
        return self.shape(np.abs(a - c))

    def _cell_point(self, a: Array, b: Array, c: Array, d: Array) -> Array:
        upper, lower = b - c, a - c
        area = np.sign(upper) * self.first(np.abs(upper)) - np.sign(lower) * self.first(
            np.abs(lower)
        )
        return np.asarray(area / (b - a))

    def _cell_cell(self, a: Array, b: Array, c: Array, d: Array) -> Array:
        ahead, left, behind, right = self.second(np.abs(np.stack((b - c, a - c, a - d, b - d))))
        return np.asarray(((ahead - left) + (behind - right)) / ((b - a) * (d - c)))


@dataclass(frozen=True)
class Distance(Kernel):
    """``|t - s|``, not a decay: what the risk of an inventory is made of (`risk`)."""

    def shape(self, t: Array) -> Array:
        return np.asarray(t)

    def first(self, t: Array) -> Array:
        return np.asarray(t**2 / 2)

    def second(self, t: Array) -> Array:
        return np.asarray(t**3 / 6)

    def far(self, gap: Array, one: Array, other: Array) -> Mask:
        return np.ones(gap.shape, dtype=bool)

    def apart(self, gap: Array, one: Array, other: Array) -> Array:
        return np.asarray(gap + (one + other) / 2)


def project(K: ArrayLike) -> Array:
    """The nearest symmetric positive semidefinite matrix (Frobenius norm; Higham 1988)."""
    K = np.atleast_2d(np.asarray(K, dtype=np.float64))
    values, vectors = np.linalg.eigh((K + K.T) / 2)
    nearest = (vectors * np.maximum(values, 0.0)) @ vectors.T
    return np.asarray((nearest + nearest.T) / 2)


def _admissible(given: ArrayLike) -> Array:
    K: Array = np.atleast_2d(np.array(given, dtype=np.float64))
    if K.ndim != 2 or K.shape[0] != K.shape[1]:
        raise ProblemError(f"K has shape {K.shape}, must be square")
    if not np.isfinite(K).all():
        i, j = np.argwhere(~np.isfinite(K))[0]
        raise ProblemError(f"K[{i}][{j}] is {K[i, j]}, must be finite")
    if len(K) == 1:
        positive("kappa", K[0, 0])
    limit = TOLERANCE * np.abs(K).max()
    hint = "repair the matrix, or ask for the nearest admissible one with --project"
    skew = np.abs(K - K.T)
    if skew.max() > limit:
        i, j = sorted(np.unravel_index(np.argmax(skew), K.shape))
        raise Inadmissible(
            f"K is asymmetric: K[{i}][{j}] = {K[i, j]:g}, K[{j}][{i}] = {K[j, i]:g}, "
            f"apart by {skew.max():.3g}, limit {limit:.3g}",
            hint,
        )
    lowest = float(np.linalg.eigvalsh((K + K.T) / 2)[0])
    if lowest < -limit:
        raise Inadmissible(
            f"K is not positive semidefinite: smallest eigenvalue {lowest:.6g}, limit {-limit:.3g}",
            hint,
        )
    symmetric: Array = (K + K.T) / 2
    symmetric.setflags(write=False)
    return symmetric


def positive(name: str, value: float) -> None:
    if not (np.isfinite(value) and value > 0):
        raise ProblemError(f"{name} of the kernel is {value:g}, must be finite and > 0")


def _swapped(a: Array, b: Array, c: Array, d: Array) -> tuple[Array, Array, Array, Array]:
    return c, d, a, b
