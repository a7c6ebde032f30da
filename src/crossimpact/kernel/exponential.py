"""Exponential decay: one rate, or a sum of rates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from crossimpact.errors import ProblemError
from crossimpact.kernel.base import DecayKernel, Mask, positive
from crossimpact.scaled import Array

_SERIES = [(-1.0) ** k / np.prod(np.arange(1.0, k + 3)) for k in range(12)]


@dataclass(frozen=True)
class ExponentialDecay(DecayKernel):
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
class ExponentialsDecay(DecayKernel):
    """``g(t) = sum_k weights_k exp(-rhos_k t)``; a rho of 0 is linear permanent impact.

    Parameters
    ----------
    weights
        >= 0, not all zero.
    rhos
        >= 0, one per weight.
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


def _apart_exponential(rho: float, gap: Array, one: Array, other: Array) -> Array:
    """A product: the decay across the gap and the average decay within each piece."""
    return np.asarray(np.exp(-rho * gap) * _faded(rho * one) * _faded(rho * other))


def _faded(z: Array) -> Array:
    """``(1 - exp(-z)) / z``, 1 at 0."""
    wide = np.where(z > 0, z, 1.0)
    return np.where(z > 0, -np.expm1(-wide) / wide, 1.0)
