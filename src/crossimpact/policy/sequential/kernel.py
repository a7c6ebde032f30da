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
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from crossimpact.errors import ProblemError
from crossimpact.model import Array

#: Asymmetry and negative eigenvalues of K below this share of its largest entry are rounding.
TOLERANCE = 1e-9
#: Points at which a kernel given as a function is examined.
CHECKED_POINTS = 1025
_NODES, _WEIGHTS = (x / 2 for x in np.polynomial.legendre.leggauss(96))
_SERIES = [(-1.0) ** k / np.prod(np.arange(1.0, k + 3)) for k in range(12)]


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
        cell, wide = b > a, d > c
        result = np.empty((len(a), len(c)))
        for row, column, average in (
            (~cell, ~wide, self._point_point),
            (cell, ~wide, self._cell_point),
            (~cell, wide, lambda *ends: self._cell_point(*(x.T for x in _swapped(*ends))).T),
            (cell, wide, self._cell_cell),
        ):
            if row.any() and column.any():
                ends = a[row, None], b[row, None], c[None, column], d[None, column]
                result[np.ix_(row, column)] = average(*ends)
        return result

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
class Exponential(Kernel):
    """``g(t) = exp(-rho t)``: impact has one half-life, ``ln 2 / rho``.

    Parameters
    ----------
    rho
        Decay per unit of time, > 0. Typical: 1 to 10 over a session.
    """

    rho: float

    def __post_init__(self) -> None:
        super().__post_init__()
        _positive("rho", self.rho)

    def shape(self, t: Array) -> Array:
        return np.asarray(np.exp(-self.rho * t))

    def first(self, t: Array) -> Array:
        return np.asarray(-np.expm1(-self.rho * t) / self.rho)

    def second(self, t: Array) -> Array:
        return _second_exponential(self.rho, t)

    def check(self, horizon: float) -> None:
        """Refuse a decay that is none, or over at once, within rounding."""
        if not 1e-15 < self.rho * horizon < 1e15:
            raise ProblemError(
                f"rho {self.rho:g} over a horizon of {horizon:g} is a decay by "
                f"exp(-{self.rho * horizon:.3g}), the exponent must lie within 1e-15 to 1e15",
                "give rho per unit of the times",
            )


@dataclass(frozen=True)
class PowerLaw(Kernel):
    """``g(t) = (1 + t)^-gamma``: long memory. Typical gamma: 0.2 to 0.6 (Bouchaud et al. 2004)."""

    gamma: float

    def __post_init__(self) -> None:
        super().__post_init__()
        _positive("gamma", self.gamma)

    def shape(self, t: Array) -> Array:
        return np.asarray((1 + t) ** -self.gamma)

    def first(self, t: Array) -> Array:
        return _power(t, 1 - self.gamma)

    def second(self, t: Array) -> Array:
        t = np.asarray(t, dtype=np.float64)
        if self.gamma == 1:
            result = np.asarray((1 + t) * np.log1p(t) - t)
        else:
            result = np.asarray((_power(t, 2 - self.gamma) - t) / (1 - self.gamma))
        small = t * (1 + self.gamma) < 0.05  # the binomial series where that would cancel
        k = np.arange(1.0, 12.0)
        factors = np.cumprod(np.append(1.0, -(self.gamma + k - 1) / k))
        series = factors / (np.arange(1.0, 13.0) * np.arange(2.0, 14.0))
        result[small] = t[small] ** 2 * np.polynomial.polynomial.polyval(t[small], series)
        return result


@dataclass(frozen=True)
class SumOfExponentials(Kernel):
    """``g(t) = sum_k weights_k exp(-rhos_k t)``; a rho of 0 is linear permanent impact.

    Parameters
    ----------
    weights
        >= 0, not all zero.
    rhos
        >= 0, one per weight, at least one weighted rho > 0.
    """

    weights: tuple[float, ...]
    rhos: tuple[float, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        weights, rhos = np.asarray(self.weights, float), np.asarray(self.rhos, float)
        if weights.shape != rhos.shape or weights.ndim != 1:
            raise ProblemError(f"{weights.size} weights for {rhos.size} rhos", "give one of each")
        for name, values in (("weight", weights), ("rho", rhos)):
            bad = ~(np.isfinite(values) & (values >= 0))
            if bad.any():
                k = int(np.argmax(bad))
                raise ProblemError(f"{name} {k} of the kernel is {values[k]:g}, must be >= 0")
        if not (weights * rhos).any():
            raise ProblemError("the kernel does not decay: no weight has a rho > 0")
        object.__setattr__(self, "weights", tuple(weights.tolist()))
        object.__setattr__(self, "rhos", tuple(rhos.tolist()))

    def shape(self, t: Array) -> Array:
        return self._sum(lambda rho: np.exp(-rho * t))

    def first(self, t: Array) -> Array:
        return self._sum(lambda rho: -np.expm1(-rho * t) / rho if rho else t)

    def second(self, t: Array) -> Array:
        return self._sum(lambda rho: _second_exponential(rho, t) if rho else t**2 / 2)

    def _sum(self, term: Callable[[float], Array]) -> Array:
        terms = (w * term(rho) for w, rho in zip(self.weights, self.rhos, strict=True))
        return np.asarray(sum(terms))


@dataclass(frozen=True)
class Convex(Kernel):
    """Any non-increasing convex g, given as a function of an array of lags.

    Its antiderivatives are 96-point Gauss-Legendre sums over (0, t): exact to rounding for a smooth
    g, about 1e-4 relative for one with kinks.

    Parameters
    ----------
    function
        ``g(t)`` for t >= 0, vectorised, finite at 0 (an infinite one prices no block).
    """

    function: Callable[[Array], Array]

    def shape(self, t: Array) -> Array:
        return np.asarray(self.function(t), dtype=np.float64)

    def first(self, t: Array) -> Array:
        return np.asarray(t * self._moment(t, _WEIGHTS))

    def second(self, t: Array) -> Array:
        return np.asarray(t**2 * self._moment(t, _WEIGHTS * (0.5 - _NODES)))

    def _moment(self, t: Array, weights: Array) -> Array:
        lags = np.multiply.outer(np.asarray(t, float), _NODES + 0.5)
        return np.asarray(self.shape(lags) @ weights)

    def check(self, horizon: float) -> None:
        t = np.linspace(0.0, horizon, CHECKED_POINTS)
        g = self.shape(t)
        if g.shape != t.shape or not np.isfinite(g).all():
            raise ProblemError("the kernel is not a finite number at every lag of the horizon")
        if not g[0] > 0:
            raise ProblemError(f"the kernel at lag 0 is {g[0]:g}, must be > 0")
        slack = TOLERANCE * g[0]
        for name, values, lags in (
            ("increases", -np.diff(g), t[1:]),
            ("is not convex", np.diff(g, 2), t[1:-1]),
            ("is negative", g, t),
        ):
            if values.min() < -slack:
                k = int(np.argmin(values))
                raise ProblemError(
                    f"the kernel {name} at lag {lags[k]:g}, by {-values[k]:.3g}, limit {slack:.3g}",
                    "a schedule needs a non-increasing, convex, non-negative kernel",
                )
        if g[0] - g[-1] <= slack:
            raise ProblemError("the kernel does not decay over the horizon: any schedule is best")


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
        _positive("kappa", K[0, 0])
    limit = TOLERANCE * np.abs(K).max()
    hint = "repair the matrix, or ask for the nearest admissible one with --project"
    skew = np.abs(K - K.T)
    if skew.max() > limit:
        i, j = sorted(np.unravel_index(np.argmax(skew), K.shape))
        raise ProblemError(
            f"K is asymmetric: K[{i}][{j}] = {K[i, j]:g}, K[{j}][{i}] = {K[j, i]:g}, "
            f"apart by {skew.max():.3g}, limit {limit:.3g}",
            hint,
        )
    lowest = float(np.linalg.eigvalsh((K + K.T) / 2)[0])
    if lowest < -limit:
        raise ProblemError(
            f"K is not positive semidefinite: smallest eigenvalue {lowest:.6g}, limit {-limit:.3g}",
            hint,
        )
    symmetric: Array = (K + K.T) / 2
    symmetric.setflags(write=False)
    return symmetric


def _positive(name: str, value: float) -> None:
    if not (np.isfinite(value) and value > 0):
        raise ProblemError(f"{name} of the kernel is {value:g}, must be finite and > 0")


def _second_exponential(rho: float, t: Array) -> Array:
    """``(rho t - 1 + exp(-rho t)) / rho^2``; a series where that would cancel."""
    t = np.asarray(t, dtype=np.float64)
    x = rho * t
    result = np.asarray((x + np.expm1(-x)) / rho**2)
    small = x < 0.2
    if small.any():
        result[small] = t[small] ** 2 * np.polynomial.polynomial.polyval(x[small], _SERIES)
    return result


def _power(t: Array, p: float) -> Array:
    """``((1 + t)^p - 1) / p``, its limit ``log(1 + t)`` at p = 0."""
    log = np.log1p(t)
    return np.asarray(np.expm1(p * log) / p if p else log)


def _swapped(a: Array, b: Array, c: Array, d: Array) -> tuple[Array, Array, Array, Array]:
    return c, d, a, b
