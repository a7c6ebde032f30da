"""N orders of M assets under an exponential kernel: the convex program in state form.

Cells of constant rate between blocks at every boundary represent the optimum exactly but for the
cell in which an asset starts or stops, so the cost is off by the fourth power of the step: 10 cells
an order give 1e-6. With ``y`` the decayed volume, ``dy = -rho y dt + dX``,

    full = 1/2 y(T_N)'K y(T_N) + rho int y'K y dt,        m_k = K y(T_k),

and what a cell adds is a quadratic form in the state before it and its own trade (`riccati`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from crossimpact.model import Array
from crossimpact.policy.sequential.program import Index, Mask, Program, Step
from crossimpact.policy.sequential.riccati import adjoint, factorise, step

#: Added to K (scaled to 1) in Newton steps only, so that a semidefinite K has them; the gradient is
#: exact, so repeated steps take the effect out again.
RIDGE = 1e-6


@dataclass(frozen=True, eq=False)
class Grid:
    """Pieces of a tree of legs: per leg a block, cells, a block.

    Attributes
    ----------
    first
        First piece of each leg and, last, their number; shape (L+1,).
    orders, parents
        Each leg's order, and its parent (-1: none); parents come first. Shape (L,).
    starts, ends
        Of the pieces, equal for blocks; shape (S,).
    """

    first: Index
    orders: Index
    parents: Index
    starts: Array
    ends: Array

    @classmethod
    def of(cls, times: Array, orders: Index, parents: Index, cells: int) -> Grid:
        """`cells` equal cells per leg."""
        edges = [np.linspace(times[j], times[j + 1], cells + 1) for j in orders]
        return cls.at(edges, orders, parents)

    @classmethod
    def at(cls, edges: list[Array], orders: Index, parents: Index) -> Grid:
        """Cells between the `edges` of each leg, its horizon's ends included."""
        starts = [np.concatenate((e[:1], e)) for e in edges]
        ends = [np.concatenate((e, e[-1:])) for e in edges]
        first = np.cumsum([0] + [len(s) for s in starts])
        return cls(first, orders, parents, np.concatenate(starts), np.concatenate(ends))

    @classmethod
    def points(cls, dates: list[Array], orders: Index, parents: Index) -> Grid:
        """Blocks at the `dates` of each leg and nothing else."""
        at = np.concatenate(dates)
        return cls(np.cumsum([0] + [len(d) for d in dates]), orders, parents, at, at)

    def chain(self, legs: list[int]) -> Grid:
        """These legs alone, one after the other."""
        rows = [slice(self.first[leg], self.first[leg + 1]) for leg in legs]
        starts, ends = (np.concatenate([x[row] for row in rows]) for x in (self.starts, self.ends))
        first = np.cumsum([0] + [row.stop - row.start for row in rows])
        return Grid(first, self.orders[legs], np.arange(len(legs)) - 1, starts, ends)

    @property
    def legs(self) -> Index:
        """Each piece's leg, (S,)."""
        return np.repeat(np.arange(len(self.orders)), np.diff(self.first))

    @property
    def pieces(self) -> tuple[NDArray[np.intp], Array, Array]:
        """Order, start and end of each piece, (S,) each."""
        return self.orders[self.legs].astype(np.intp), self.starts, self.ends

    def nodes(self, leg: int) -> Array:
        """Where a leg's cells meet, its horizon's ends included."""
        return np.asarray(self.starts[self.first[leg] + 1 : self.first[leg + 1]])

    def leg(self, leg: int, program: Program, x: Array) -> tuple[Array, ...]:
        """A leg's pieces as `edges` wants them: starts, ends, bounds and trades."""
        arrays = self.starts, self.ends, program.lower, program.upper, x
        return tuple(array[self.first[leg] : self.first[leg + 1]] for array in arrays)

    def coefficients(self, rho: float) -> Array:
        """``a, b, q, c, d`` of `riccati` per piece, shape (S, 5)."""
        z = rho * (self.ends - self.starts)
        wide = np.where(z > 0, z, 1.0)
        lost = -np.expm1(-z)
        # rho h - 2(1-a) + (1-a^2)/2 cancels to z^3/3: its series where that would hurt
        small = z**3 * (1 / 3 - z / 4 + 7 * z**2 / 60 - z**3 / 24 + 31 * z**4 / 2520)
        full = z - 2 * lost - np.expm1(-2 * z) / 2
        d = 2 * np.where(z < 0.02, small, full) / wide**2
        return np.column_stack(
            (
                1 - lost,
                np.where(z > 0, lost / wide, 1.0),
                -np.expm1(-2 * z),
                lost**2 / wide,
                d,
            )
        )


@dataclass(frozen=True, eq=False)
class StateForm:
    """The smooth cost of a tree of legs (a `program.System`), in units of `scale` of K.

    `weights` (L,) are the legs' probabilities, `credit` (L, M) what the benchmark takes off the
    state at each leg's end (already weighted), `terminal` the legs nothing follows.
    """

    grid: Grid
    rho: float
    K: Array
    weights: Array
    credit: Array

    @cached_property
    def first(self) -> Index:
        return self.grid.first

    @cached_property
    def terminal(self) -> Array:
        """Weight of the state left at each leg's end: its probability where nothing follows."""
        last = np.ones(len(self.weights), dtype=bool)
        last[self.grid.parents[self.grid.parents >= 0]] = False
        return np.where(last, self.weights, 0.0)

    @cached_property
    def coefficients(self) -> Array:
        table = self.grid.coefficients(self.rho)
        table[:, 2:] *= self.weights[self.grid.legs, None]
        return table

    @cached_property
    def curvature(self) -> Array:
        """The block's own cost, for every piece; positive also where K has a zero row."""
        diagonal = np.maximum(np.diagonal(self.K), 1e-3)
        return np.asarray(self.weights[self.grid.legs, None] * diagonal)

    def gradient(self, x: Array) -> Array:
        slopes, _ = adjoint(
            self.coefficients, self.first, self.grid.parents, self.terminal, self.credit, x
        )
        return np.asarray(slopes @ self.K)

    def newton(self, free: Mask, weights: Array) -> Step:
        shape = self.coefficients, self.first, self.grid.parents
        definite = self.K + RIDGE * np.eye(len(self.K))
        parts = factorise(*shape, self.terminal, definite, free, weights)
        return lambda gradient, missing: step(*shape, free, *parts, gradient, missing)
