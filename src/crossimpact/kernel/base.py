"""A decay kernel ``g(t)`` and its exact averages over blocks and cells of trading.

What a trade moved is worth ``g(t)`` of itself a time t later (Bouchaud et al. 2004; Obizhaeva and
Wang 2013 for the exponential; Alfonsi, Schied and Slynko 2012 for convex ones). ``g`` must be
non-increasing and convex, or a single order is best traded in both directions.

Everything a schedule costs is a sum of averages of g over pairs of pieces, a piece being a block
(one time) or a cell (an interval traded at a constant rate). With ``F`` the first and ``H`` the
second antiderivative of g, both zero at 0, these averages are differences of g, F and H: no
quadrature, and no discretisation.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from crossimpact.errors import ProblemError
from crossimpact.scaled import Array

Mask = NDArray[np.bool_]


class DecayKernel(ABC):
    """Base of all decays: what follows from `shape`, `first` and `second`."""

    def __post_init__(self) -> None:
        return  # the last of a chain of checks

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


def positive(name: str, value: float) -> None:
    if not (np.isfinite(value) and value > 0):
        raise ProblemError(f"{name} of the kernel is {value:g}, must be finite and > 0")


def _swapped(a: Array, b: Array, c: Array, d: Array) -> tuple[Array, Array, Array, Array]:
    return c, d, a, b
