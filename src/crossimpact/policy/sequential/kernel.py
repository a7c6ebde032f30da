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
from numpy.typing import ArrayLike, NDArray

from crossimpact.errors import Inadmissible, ProblemError
from crossimpact.model import Array

Mask = NDArray[np.bool_]
#: Asymmetry and negative eigenvalues of K below this share of its largest entry are rounding.
TOLERANCE = 1e-9
#: Points at which a kernel given as a function is examined.
CHECKED_POINTS = 1025
_NODES, _WEIGHTS = (x / 2 for x in np.polynomial.legendre.leggauss(96))
#: Pieces this many times their widths apart are averaged by so many terms of a series: 1e-16.
_FAR, _TERMS = 2.0, 14
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

    def far(self, gap: Array, one: Array, other: Array) -> Mask:
        return np.ones(gap.shape, dtype=bool)

    def apart(self, gap: Array, one: Array, other: Array) -> Array:
        return _apart_exponential(self.rho, gap, one, other)

    @cached_property
    def memory(self) -> float:
        return 1 / self.rho

    def check(self, horizon: float) -> None:
        """Refuse a decay that is none, or over at once, within rounding."""
        if not 1e-15 < self.rho * horizon < 1e15:
            raise ProblemError(
                f"rho {self.rho:g} over a horizon of {horizon:g} is a decay by "
                f"exp(-{self.rho * horizon:.3g}), the exponent must lie within 1e-15 to 1e15",
                "give rho per unit of the times",
            )


@dataclass(frozen=True)
class ExponentialByAsset(Kernel):
    """``G_ij(t) = K_ij exp(-rho_j t)``: what asset j's trades moved decays at j's own rate.

    With ``dY_j = -rho_j Y_j dt + dX_j`` prices move by ``K Y`` and, R being diag(rhos),

        full = 1/2 Y(T)' K Y(T) + 1/2 int Y' (K R + R K) Y dt,

    so that no round trip earns money exactly when ``K R + R K`` is positive semidefinite (of matrix
    decays in general: Alfonsi, Kloeck and Schied 2016). Else one does: with v the eigenvector of
    its negative eigenvalue, hold Y at v, then at -v for as long, and close.

    Parameters
    ----------
    rhos
        Decay per unit of time, > 0, one per asset.
    """

    rhos: tuple[float, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        rhos = np.asarray(self.rhos, dtype=np.float64)
        if rhos.shape != (self.assets,):
            raise ProblemError(f"{rhos.size} rhos for {self.assets} assets", "give one of each")
        for value in rhos.tolist():
            _positive("rho", value)
        object.__setattr__(self, "rhos", tuple(rhos.tolist()))
        lyapunov = self.K * (rhos[:, None] + rhos)
        values, vectors = np.linalg.eigh(lyapunov)
        limit = TOLERANCE * float(np.abs(lyapunov).max())
        if values[0] < -limit:
            v = ", ".join(f"{x:.3g}" for x in vectors[:, 0])
            raise Inadmissible(
                f"these rhos make round trips pay: the smallest eigenvalue of K R + R K is "
                f"{values[0]:.6g}, limit {-limit:.3g}; buying ({v}), holding that impact for a "
                f"time t, reversing it for as long and closing earns {-values[0]:.3g} t",
                "bring the rhos of coupled assets closer together",
            )

    def shape(self, t: Array) -> Array:
        """Of the asset that decays fastest, as `first` and `second`."""
        return Exponential(np.ones((1, 1)), max(self.rhos)).shape(t)

    def first(self, t: Array) -> Array:
        return Exponential(np.ones((1, 1)), max(self.rhos)).first(t)

    def second(self, t: Array) -> Array:
        return Exponential(np.ones((1, 1)), max(self.rhos)).second(t)

    @cached_property
    def memory(self) -> float:
        return 1 / max(self.rhos)

    @property
    def components(self) -> list[tuple[Kernel, Array]]:
        rhos = np.array(self.rhos)
        return [(Exponential(np.ones((1, 1)), r), self.K * (rhos == r)) for r in np.unique(rhos)]

    def terms(
        self, rows: tuple[Array, Array], columns: tuple[Array, Array]
    ) -> list[tuple[Array, Array]]:
        """What came before decays at its own rate, what comes after at that of the row's asset."""
        terms = []
        for g, K in self.components:
            coupling = g.coupling(rows, columns)
            past = _past(g, coupling, rows, columns)
            terms += [(past, K), (coupling - past, K.T)]
        return terms


@dataclass(frozen=True)
class PowerLaw(Kernel):
    """``g(t) = (1 + t / tau)^-gamma``: long memory.

    Parameters
    ----------
    gamma
        > 0, typically 0.2 to 0.6 (Bouchaud et al. 2004).
    tau
        Time scale below which impact has not begun to decay, in the unit of the times, > 0. The
        limit ``t^-gamma`` is infinite at 0 and prices no block (Gatheral, Schied and Slynko 2012).
    """

    gamma: float
    tau: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _positive("gamma", self.gamma)
        if self.tau == 0:
            raise ProblemError(
                "tau of the kernel is 0: t^-gamma is infinite at 0 and prices no block",
                "give a small tau, say a thousandth of the shortest order",
            )
        _positive("tau", self.tau)

    def shape(self, t: Array) -> Array:
        return np.asarray((1 + t / self.tau) ** -self.gamma)

    def first(self, t: Array) -> Array:
        return self.tau * _power(t / self.tau, 1 - self.gamma)

    def second(self, t: Array) -> Array:
        t = np.asarray(t, dtype=np.float64) / self.tau
        if self.gamma == 1:
            result = np.asarray((1 + t) * np.log1p(t) - t)
        elif self.gamma == 2:
            result = np.asarray(t - np.log1p(t))
        else:
            result = np.asarray((_power(t, 2 - self.gamma) - t) / (1 - self.gamma))
        small = t * (1 + self.gamma) < 0.05  # the binomial series where that would cancel
        k = np.arange(1.0, 12.0)
        factors = np.cumprod(np.append(1.0, -(self.gamma + k - 1) / k))
        series = factors / (np.arange(1.0, 13.0) * np.arange(2.0, 14.0))
        result[small] = t[small] ** 2 * np.polynomial.polynomial.polyval(t[small], series)
        return np.asarray(self.tau**2 * result)

    def far(self, gap: Array, one: Array, other: Array) -> Mask:
        return np.asarray(gap + self.tau >= _FAR * (one + other))

    def apart(self, gap: Array, one: Array, other: Array) -> Array:
        """Taylor's series about the distance D of the middles: with h and k the half widths,

        E (D + x - y)^n = 2 / ((n+1) (n+2)) sum_j (h+k)^2j (h-k)^(n-2j) for n even, 0 for n odd.
        """
        whole = self.tau + gap + (one + other) / 2
        wide, apart = ((one + other) / 2 / whole) ** 2, ((one - other) / 2 / whole) ** 2
        total, moment, power = np.ones_like(whole), np.ones_like(whole), np.ones_like(whole)
        factor = 1.0
        for n in range(2, 2 * _TERMS, 2):
            factor *= (self.gamma + n - 2) * (self.gamma + n - 1) / (n * (n - 1))
            power = power * apart
            moment = moment * wide + power
            total += factor * 2 / ((n + 1) * (n + 2)) * moment
        return np.asarray((whole / self.tau) ** -self.gamma * total)

    @cached_property
    def memory(self) -> float:
        return self.tau / self.gamma


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

    def far(self, gap: Array, one: Array, other: Array) -> Mask:
        return np.ones(gap.shape, dtype=bool)

    def apart(self, gap: Array, one: Array, other: Array) -> Array:
        return self._sum(lambda rho: _apart_exponential(rho, gap, one, other))

    @cached_property
    def memory(self) -> float:
        weights, rhos = np.array(self.weights), np.array(self.rhos)
        return float(weights[rhos > 0].sum() / (weights @ rhos))

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
        _positive("kappa", K[0, 0])
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


def _past(
    g: Kernel, coupling: Array, rows: tuple[Array, Array], columns: tuple[Array, Array]
) -> Array:
    """The part of the coupling in which the column's trade comes first; half of a piece's own."""
    a, b, c, d = np.broadcast_arrays(
        rows[0][:, None], rows[1][:, None], columns[0][None, :], columns[1][None, :]
    )
    past = coupling * (1 + np.sign((a + b) - (c + d))) / 2
    within, around = (a == b) & (c < a) & (a < d), (c == d) & (a < c) & (c < b)
    past[within] = g.first((a - c)[within]) / (d - c)[within]
    past[around] = g.first((b - c)[around]) / (b - a)[around]
    return np.asarray(past)


def _apart_exponential(rho: float, gap: Array, one: Array, other: Array) -> Array:
    """A product: the decay across the gap and the average decay within each piece."""
    return np.asarray(np.exp(-rho * gap) * _faded(rho * one) * _faded(rho * other))


def _faded(z: Array) -> Array:
    """``(1 - exp(-z)) / z``, 1 at 0."""
    wide = np.where(z > 0, z, 1.0)
    return np.where(z > 0, -np.expm1(-wide) / wide, 1.0)


def _power(t: Array, p: float) -> Array:
    """``((1 + t)^p - 1) / p``, its limit ``log(1 + t)`` at p = 0."""
    log = np.log1p(t)
    return np.asarray(np.expm1(p * log) / p if p else log)


def _swapped(a: Array, b: Array, c: Array, d: Array) -> tuple[Array, Array, Array, Array]:
    return c, d, a, b
