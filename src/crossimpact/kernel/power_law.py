"""Power-law decay: long memory."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from crossimpact.errors import ProblemError
from crossimpact.kernel.base import DecayKernel, Mask, positive
from crossimpact.scaled import Array

#: Pieces this many times their widths apart are averaged by so many terms of a series: 1e-16.
_FAR, _TERMS = 2.0, 14


@dataclass(frozen=True)
class PowerLawDecay(DecayKernel):
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
        positive("gamma", self.gamma)
        if self.tau == 0:
            raise ProblemError(
                "tau of the kernel is 0: t^-gamma is infinite at 0 and prices no block",
                "give a small tau, say a thousandth of the shortest order",
            )
        positive("tau", self.tau)

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


def _power(t: Array, p: float) -> Array:
    """``((1 + t)^p - 1) / p``, its limit ``log(1 + t)`` at p = 0."""
    log = np.log1p(t)
    return np.asarray(np.expm1(p * log) / p if p else log)
