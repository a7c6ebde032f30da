"""What the last order may turn out to be: scenarios, or a normal law."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crossimpact.errors import ProblemError
from crossimpact.model import Array

#: Probabilities that miss 1 by less are rounding.
TOLERANCE = 1e-9
#: A normal law is cut off at so many standard deviations, in panels of `PANEL` of them.
REACH, PANEL = 9.0, 1.5


@dataclass(frozen=True)
class Scenarios:
    """A discrete law of the last order's volume.

    Parameters
    ----------
    probabilities
        > 0, summing to 1, shape (L,).
    volumes
        Signed, of either direction, shape (L,) or (L, M).

    Raises
    ------
    ProblemError
        On wrong shapes, NaN, or probabilities that are not positive or miss 1.
    """

    probabilities: Array
    volumes: Array

    def __post_init__(self) -> None:
        p, v = (np.array(x, dtype=np.float64) for x in (self.probabilities, self.volumes))
        v = v[:, None] if v.ndim == 1 else v
        if p.ndim != 1 or not p.size or v.ndim != 2 or len(v) != len(p):
            raise ProblemError(f"{p.size} probabilities for volumes of shape {v.shape}")
        if not (np.isfinite(p).all() and np.isfinite(v).all()):
            raise ProblemError("a scenario's probability or volume is not a finite number")
        if p.min() <= 0:
            worst = int(np.argmin(p))
            raise ProblemError(f"scenario {worst} has probability {p[worst]:g}, must be > 0")
        if abs(p.sum() - 1) > TOLERANCE:
            raise ProblemError(
                f"the scenarios' probabilities sum to {p.sum():.12g}, must be 1 +- {TOLERANCE:g}"
            )
        object.__setattr__(self, "probabilities", p / p.sum())
        object.__setattr__(self, "volumes", v)

    @property
    def mean(self) -> Array:
        return np.asarray(self.probabilities @ self.volumes)

    def nodes(self, cuts: Array, asset: int = 0) -> tuple[Array, Array]:
        """Probabilities and volumes of one asset."""
        return self.probabilities, self.volumes[:, asset]

    def drawn(self, cuts: Array) -> Scenarios:
        """Itself."""
        return self


@dataclass(frozen=True)
class Normal:
    """A normal law of the last order's volume, one asset.

    Parameters
    ----------
    location
        Its mean, the predicted part.
    sd
        Standard deviation of the amended part, > 0, in the unit of `location`.
    """

    location: float
    sd: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.location) and np.isfinite(self.sd) and self.sd > 0):
            raise ProblemError(
                f"a normal law has mean {self.location:g} and sd {self.sd:g}, sd must be > 0"
            )

    @property
    def mean(self) -> Array:
        return np.array([self.location])

    def nodes(self, cuts: Array, asset: int = 0) -> tuple[Array, Array]:
        """Gauss-Legendre between the cuts, where F2' changes its formula: exact to rounding."""
        reach = np.arange(-REACH, REACH + PANEL / 2, PANEL)
        inside = (cuts - self.location) / self.sd
        edges = np.unique(np.concatenate((reach, inside[np.abs(inside) < REACH])))
        p, at = _quadrature(edges, 10)
        return p, self.location + self.sd * at

    def scenarios(self) -> Scenarios:
        """The law as some thirty scenarios, Gauss-Legendre, apart for buys and sells: 1e-4."""
        edges = np.union1d([-5.0, -2.5, 0.0, 2.5, 5.0], np.clip(-self.location / self.sd, -5, 5))
        p, at = _quadrature(edges, 6)
        return Scenarios(p, self.location + self.sd * at)

    def drawn(self, cuts: Array) -> Scenarios:
        """The law as scenarios that integrate what is smooth between the cuts exactly."""
        p, v = self.nodes(cuts)
        return Scenarios(p, v)


def _quadrature(edges: Array, points: int) -> tuple[Array, Array]:
    """Weights and nodes of a standard normal, Gauss-Legendre between the edges."""
    nodes, weights = np.polynomial.legendre.leggauss(points)
    half = np.diff(edges)[:, None] / 2
    at = (edges[:-1, None] + half + half * nodes).ravel()
    p = (half * weights).ravel() * np.exp(-(at**2) / 2)
    return p / p.sum(), at
