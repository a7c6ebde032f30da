"""Convex programs of trades: a smooth quadratic cost, bounds, a spread, and volumes per leg.

    minimise f(x) + sum_s spread_s |x_s|  with  lower <= x <= upper,  sum over a leg = its volume

per asset. The cost is known by its gradient and by Newton steps: the Riccati recursion gives them
for exponential kernels, a dense factor for all others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from crossimpact.model import Array

Index = NDArray[np.int64]
Mask = NDArray[np.bool_]
Step = Callable[[Array, Array], tuple[Array, Array]]


class System(Protocol):
    """The smooth cost: trades in rows (S), assets in columns (M), legs in groups of rows."""

    @property
    def first(self) -> Index:
        """First trade of each leg and, last, S; shape (L+1,)."""

    @property
    def curvature(self) -> Array:
        """A positive scale of the Hessian's diagonal, shape (S, M)."""

    def gradient(self, x: Array) -> Array:
        """Of the smooth cost at trades `x`, shape (S, M)."""

    def newton(self, free: Mask, weights: Array) -> Step:
        """``step(gradient, missing) -> dx, mu`` for the free trades, with `weights` added to the
        diagonal of the Hessian: ``gradient + (H + weights) dx + mu = 0``, ``sum dx = missing``."""


@dataclass(frozen=True)
class Program:
    """Bounds and spread per trade, shape (S, M), and volumes per leg, shape (L, M)."""

    lower: Array
    upper: Array
    spread: Array
    volumes: Array

    @property
    def unbounded(self) -> bool:
        """Whether nothing but the volumes binds."""
        return not (np.isfinite([self.lower, self.upper]).any() or self.spread.any())

    def scaled(self, volume: float, impact: float) -> Program:
        """In units of `volume` and of the price move `impact` per unit."""
        return Program(
            self.lower / volume,
            self.upper / volume,
            self.spread / (volume * impact),
            self.volumes / volume,
        )

    def project(self, z: Array, c: Array) -> tuple[Array, Mask, Array]:
        """Proximal step of bounds and spread at `z` with weight `c`: the trade, whether it is held
        there (at a bound or at the spread's kink), and the slope of the spread where it is not."""
        held_back = z - np.clip(z, -self.spread / c, self.spread / c)
        x = np.clip(held_back, self.lower, self.upper)
        held = (held_back <= self.lower) | (held_back >= self.upper)
        held |= (x == 0) & (self.spread > 0)
        return x, held, self.spread * np.sign(x)


@dataclass(frozen=True)
class Optimum:
    """Trades (S, M), multipliers of the volumes (L, M), the certificate, and the work it took."""

    x: Array
    multipliers: Array
    residual: float
    factorisations: int


def spread_over(first: Index, values: Array) -> Array:
    """Rows per leg repeated for its trades."""
    return np.repeat(values, np.diff(first), axis=0)


def sums(first: Index, x: Array) -> Array:
    """Volume per leg, (L, M)."""
    return np.add.reduceat(x, first[:-1], axis=0)


def residual(
    program: Program, first: Index, x: Array, gradient: Array, multipliers: Array | None = None
) -> float:
    """KKT residual of trades `x` with the smooth cost's `gradient`, whatever solver found them.

    Largest of: a missed volume, a bound passed, and ``|x - prox(x - (gradient + mu))|``, which is
    zero exactly at the optimum; without `multipliers`, with those that serve `x` best.
    """
    missed = np.abs(sums(first, x) - program.volumes).max()
    passed = max(float(np.max(program.lower - x)), float(np.max(x - program.upper)), 0.0)

    def drift(mu: Array) -> Array:
        moved = program.project(x - gradient - spread_over(first, mu), np.ones_like(x))[0]
        return np.asarray(moved - x)

    if multipliers is None:
        multipliers = _balanced(drift, first, program, np.abs(gradient).max())
    return float(max(missed, passed, np.abs(drift(multipliers)).max()))


def _balanced(
    drift: Callable[[Array], Array], first: Index, program: Program, steepest: float
) -> Array:
    """Multipliers at which the largest and the smallest drift of each leg cancel, by bisection."""
    size = steepest + program.spread.max(initial=0.0) + 1.0
    low, high = np.full(program.volumes.shape, -size), np.full(program.volumes.shape, size)
    for _ in range(60):
        middle = (low + high) / 2
        moves = drift(middle)
        top = np.maximum.reduceat(moves, first[:-1], axis=0)
        up = top + np.minimum.reduceat(moves, first[:-1], axis=0) > 0
        low, high = np.where(up, middle, low), np.where(up, high, middle)
    return np.asarray((low + high) / 2)
