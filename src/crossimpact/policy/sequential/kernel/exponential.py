"""Exponential decay: one rate, a rate an asset, or a sum of rates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from crossimpact.errors import Inadmissible, ProblemError
from crossimpact.model import Array
from crossimpact.policy.sequential.kernel.base import TOLERANCE, Kernel, Mask, positive

_SERIES = [(-1.0) ** k / np.prod(np.arange(1.0, k + 3)) for k in range(12)]


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
        positive("rho", self.rho)

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
            positive("rho", value)
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
