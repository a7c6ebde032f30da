"""A program as a solver takes it: scaled unknowns, vectors, bounds and rows; see `Matrices`.

The largest flow is 1 in the unknowns' units, and what a typical name's own impact costs there is
the unit of J.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse

from crossimpact.policy.scheduling.caps import Caps
from crossimpact.policy.scheduling.desk import Flags
from crossimpact.policy.scheduling.matrices import CapRows, Matrices
from crossimpact.policy.scheduling.program import Program
from crossimpact.scaled import Array


@dataclass(frozen=True, eq=False)
class Posed:
    """A program's unknowns: flows where `free`, shape (P, H)."""

    program: Program
    caps: Caps
    free: Flags

    @cached_property
    def matrices(self) -> Matrices:
        return self.program.layout.matrices(self.free)

    @property
    def count(self) -> int:
        """How many flows are unknown."""
        return self.matrices.count

    @cached_property
    def _scale(self) -> float:
        """Of the unknowns: the largest flow is 1."""
        unit = self.program.layout.unit[self.program.layout.name]
        return float((self.caps.most / unit[:, None]).max())

    @cached_property
    def size(self) -> Array:
        """USD of each unknown at 1, shape (count,)."""
        return np.asarray(self.matrices.unit * self._scale)

    @cached_property
    def price(self) -> float:
        """USD of J at 1."""
        return self.matrices.typical * self._scale**2

    @cached_property
    def linear(self) -> Array:
        """Gradient at no flow, over the flows."""
        at_rest = self.program.at_rest.ravel()[self.matrices.places]
        return np.asarray(at_rest * self.size / self.price)

    @cached_property
    def bounds(self) -> tuple[Array, Array]:
        """Of the flows, low and high; the factors have none."""
        most = self.caps.most.ravel()[self.matrices.places]
        return np.zeros(self.count), most / self.size

    @cached_property
    def rows(self) -> CapRows:
        return self.matrices.rows(self.caps)

    @cached_property
    def row_size(self) -> Array:
        """USD of each of these rows at 1."""
        return np.asarray(self.rows.norms * self._scale)

    @property
    def caps_matrix(self) -> sparse.csc_matrix:
        """Their weights, shape (rows, unknowns)."""
        return self.rows.matrix

    def dense_caps(self) -> Array:
        """Their weights over the flows alone, shape (rows, count)."""
        result = np.zeros((len(self.rows.norms), self.count), order="F")
        result[self.rows.row, self.rows.column] = self.rows.weight
        return result

    @cached_property
    def row_limits(self) -> tuple[Array, Array]:
        """Of the rows that can bind, low and high."""
        low, high = (limit[self.rows.which] for limit in self.caps.limits)
        return low / self.row_size, high / self.row_size
