"""Kernels of a schedule: ``G(t) = K g(t)``, a matrix times a decay (`crossimpact.kernel`).

A trade ``dX`` at s moves prices at ``t >= s`` by ``K g(t - s) dX``. ``K`` must be symmetric
positive semidefinite, or a round trip earns money (Schneider and Lillo 2019); ``g`` not constant,
or any schedule is best.
"""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from crossimpact.errors import Inadmissible, ProblemError
from crossimpact.kernel.base import DecayKernel, Mask, positive
from crossimpact.kernel.convex import ConvexDecay
from crossimpact.kernel.exponential import ExponentialDecay, ExponentialsDecay
from crossimpact.kernel.power_law import PowerLawDecay
from crossimpact.scaled import Array

#: Asymmetry and negative eigenvalues of K below this share of its largest entry are rounding.
TOLERANCE = 1e-9


@dataclass(frozen=True)
class Kernel(DecayKernel, ABC):
    """Base of all kernels: a decay and the matrix `K`.

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
        super().__post_init__()
        object.__setattr__(self, "K", _admissible(self.K))

    @property
    def assets(self) -> int:
        return len(self.K)

    @cached_property
    def diagonal(self) -> bool:
        """Whether assets do not move each other."""
        return not np.any(self.K - np.diag(np.diagonal(self.K)))

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


@dataclass(frozen=True)
class Exponential(ExponentialDecay, Kernel):
    """``G(t) = K exp(-rho t)``."""


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
class SumOfExponentials(ExponentialsDecay, Kernel):
    """``G(t) = K sum_k weights_k exp(-rhos_k t)``, at least one weighted rho > 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not any(weight * rho for weight, rho in zip(self.weights, self.rhos, strict=True)):
            raise ProblemError("the kernel does not decay: no weight has a rho > 0")


@dataclass(frozen=True)
class PowerLaw(PowerLawDecay, Kernel):
    """``G(t) = K (1 + t / tau)^-gamma``."""


@dataclass(frozen=True)
class Convex(ConvexDecay, Kernel):
    """``G(t) = K g(t)``, any non-increasing convex g."""


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
