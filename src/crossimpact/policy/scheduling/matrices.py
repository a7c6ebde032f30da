"""The quadratic part of a program as a solver takes it: sparse in factors, or dense.

An unknown is a flow with room, in units in which every name's own impact is about 1. In factored
form each family of factors (couplings, and risk) adds unknowns ``z = E' x``, interval by interval,
with a quadratic of their own: ``E T E'`` over a kernel in time K becomes ``z' (T x K) z``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy import sparse

from crossimpact.policy.scheduling.caps import Caps
from crossimpact.policy.scheduling.desk import Flags, Index
from crossimpact.scaled import Array

if TYPE_CHECKING:
    from crossimpact.policy.scheduling.layout import Layout


@dataclass(frozen=True)
class Family:
    """Flows by line add up in k factors: line p counts `weight[p]` in factor `factor[p]`, E. Its
    part of the Hessian is ``E T E'`` times K, with T `middle`, (k, k), and K `kernel`, over the
    steps of a path (`along_path`, leftovers counted) or of the horizon."""

    factor: Index
    weight: Array
    middle: Array
    kernel: Array
    along_path: bool

    @cached_property
    def size(self) -> float:
        """Sum in a factor at which its own curvature is about 1."""
        curvature = float(np.abs(np.diagonal(self.middle)).max() * self.kernel[0, 0])
        return 1 / math.sqrt(curvature) if curvature > 0 else 1.0


class CapRows(NamedTuple):
    """The rows of caps that can bind, over the unknowns: which they are of all rows; row, column
    and weight of each entry; and what one unit of a row is in units of flow. `made_of` are `which`
    and the entries of all rows over all flows; `solver` holds one that is set up, or nothing.
    """

    made_of: tuple[Index, Index, Index, Array]
    which: Index
    row: Index
    column: Index
    weight: Array
    norms: Array
    matrix: sparse.csc_matrix
    solver: list[Any]


@dataclass(frozen=True, eq=False)
class Matrices:
    """Of flows that are free, shape (P, H)."""

    layout: Layout
    free: Flags
    _rows: list[CapRows] = field(default_factory=list)

    @cached_property
    def count(self) -> int:
        """How many flows are unknown."""
        return int(self.free.sum())

    @cached_property
    def places(self) -> Index:
        """The unknowns among the flattened flows, shape (count,)."""
        return np.flatnonzero(self.free)

    @cached_property
    def typical(self) -> float:
        """Own impact of a typical name, which sets the scale of J."""
        own = self.layout.couplings.own
        return float(np.median(own[own > 0])) if (own > 0).any() else 1.0

    @cached_property
    def unit(self) -> Array:
        """USD of each unknown at 1 but for a common factor, shape (count,)."""
        unit = self.layout.unit[self.layout.name]
        return np.asarray(np.repeat(unit, self.free.shape[1])[self.places])

    @cached_property
    def _scaled(self) -> Array:
        """Of a sum over lines in USD to one over unknowns, shape (P,)."""
        return np.asarray(self.layout.unit[self.layout.name] / math.sqrt(self.typical))

    # -- factors -------------------------------------------------------------------------------

    @cached_property
    def families(self) -> tuple[Family, ...]:
        """Factors of couplings and of risk that some line is exposed to."""
        layout, result = self.layout, []
        couplings, share = layout.couplings, layout.risk
        if couplings.middle.size:
            weight = layout.signed * couplings.level[layout.name]
            factor = couplings.sector[layout.name]
            kernel = layout.cross_kernel
            result.append(_family(factor, weight, 2 * couplings.middle, kernel, along_path=True))
        if share.aversion:
            weight, factor = layout.sign * layout.volatility, layout.sector
            T = share.aversion * (share.market + share.sector * np.eye(int(factor.max()) + 1))
            result.append(_family(factor, weight, T, self._held, along_path=False))
        return tuple(result)

    @cached_property
    def extra(self) -> int:
        """How many unknowns the factors are."""
        return sum(len(family.middle) * len(family.kernel) for family in self.families)

    @cached_property
    def _held(self) -> Array:
        """In how many intervals two flows have both left the position, (H, H)."""
        steps = np.arange(self.free.shape[1])
        return np.asarray(len(steps) - np.maximum.outer(steps, steps), dtype=np.float64)

    @cached_property
    def factors(self) -> sparse.csc_matrix:
        """Rows ``z - E' x = 0``, over all unknowns, x being what flows make of paths: a flow counts
        in its interval, and against it after its deadline."""
        line, step = np.nonzero(self.free)
        due, after = self.layout.due, self.layout.intervals
        column = np.arange(self.count)
        entries, start = [], 0
        for family in self.families:
            K = len(family.kernel)
            weight = self._scaled * family.weight / family.size
            at = start + family.factor * K
            entries.append((at[line] + step, column, -weight[line]))
            if family.along_path:
                late = np.flatnonzero(due[line])
                of = line[late]
                entries.append((at[of] + after[of], column[late], weight[of]))
            start += len(family.middle) * K
        entries.append((np.arange(start), self.count + np.arange(start), np.ones(start)))
        rows, columns, data = (np.concatenate(part) for part in zip(*entries, strict=True))
        shape = (start, self.count + start)
        return sparse.csc_matrix((data, (rows, columns)), shape=shape)

    # -- the Hessian ---------------------------------------------------------------------------

    @cached_property
    def quadratic(self) -> sparse.csc_matrix:
        """Its upper triangle: a block per pair of lines that is coupled by itself, and one per
        family."""
        first, second, blocks = self._blocks
        place = np.full(self.free.shape, -1)
        place[self.free] = np.arange(self.count)
        row = np.broadcast_to(place[first][:, :, None], blocks.shape)
        column = np.broadcast_to(place[second][:, None, :], blocks.shape)
        used = (row >= 0) & (column >= row)
        entries = [(blocks[used], row[used], column[used])]
        start = self.count
        for family in self.families:
            matrix = np.kron(family.middle, family.kernel) * family.size**2
            rows, columns = np.nonzero(np.triu(matrix))
            values = np.asarray(matrix[rows, columns], dtype=np.float64)
            entries.append((values, rows + start, columns + start))
            start += len(matrix)
        data, rows, columns = (np.concatenate(part) for part in zip(*entries, strict=True))
        return sparse.csc_matrix((data, (rows, columns)), shape=(start, start))

    @cached_property
    def _blocks(self) -> tuple[Index, Index, Array]:
        """Pairs of lines with a block of their own, and the blocks, shape (pairs, H, H)."""
        layout, couplings = self.layout, self.layout.couplings
        first, second, single = self._pairs
        i, alike = layout.name[first], layout.name[first] == layout.name[second]
        sign = 2 * layout.signed[first] * layout.signed[second]
        own = sign * couplings.own[i] * alike
        cross = sign * np.where(alike, -couplings.shared[i], single)
        blocks = own[:, None, None] * self._folded(layout.own_kernel, first, second)
        blocks += cross[:, None, None] * self._folded(layout.cross_kernel, first, second)
        if aversion := layout.risk.aversion:
            volatility = layout.sign * layout.volatility
            risk = aversion * layout.alone * volatility[first] * volatility[second] * alike
            blocks += risk[:, None, None] * self._held
        blocks[first == second] += 2 * layout.curvature[:, None, None]
        blocks *= (self._scaled[first] * self._scaled[second])[:, None, None]
        return first, second, blocks

    @cached_property
    def _pairs(self) -> tuple[Index, Index, Array]:
        """Pairs of lines of one name, and of names coupled by themselves, with that coupling."""
        name, couplings, n = self.layout.name, self.layout.couplings, self.layout.model.n
        i, j, single = couplings.singles
        every = np.arange(len(name))
        line_of = np.full(n, -1)
        line_of[name] = every
        if self.layout.one_a_name:
            both = (line_of[i] >= 0) & (line_of[j] >= 0)
            first, second = line_of[i[both]], line_of[j[both]]
            return (
                np.append(every, first),
                np.append(every, second),
                np.append(np.zeros(len(name)), single[both]),
            )
        of = sparse.csr_matrix((np.ones(len(name)), (every, name)), shape=(len(name), n))
        first, second = (of @ of.T + abs(of @ couplings.pairs @ of.T)).nonzero()
        single = np.asarray(couplings.pairs[name[first], name[second]]).ravel()
        return first, second, single

    def _folded(self, kernel: Array, first: Index, second: Index) -> Array:
        """A kernel over paths as one over flows of pairs of lines, (..., H, H): what a flow does
        not leave is not traded after the deadline."""
        due, H = self.layout.due, self.free.shape[1]
        after = np.where(due, self.layout.intervals, 0)
        i, j = after[first], after[second]
        a, b = due[first][..., None, None], due[second][..., None, None]
        result = kernel[:H, :H] - a * kernel[i, :H][..., None, :] - b * kernel[j, :H][..., :, None]
        return np.asarray(result + a * b * kernel[i, j][..., None, None])

    @cached_property
    def dense(self) -> Array:
        """The Hessian over the flows alone, factors multiplied out, shape (count, count)."""
        layout = self.layout
        (P, H), name, signed = self.free.shape, layout.name, layout.signed
        own = np.where(name[:, None] == name, layout.couplings.own[name], 0.0)
        both = 2 * np.outer(signed, signed)
        cross = layout.couplings.dense[np.ix_(name, name)]
        first, second = np.indices((P, P))
        blocks = (both * own)[..., None, None] * self._folded(layout.own_kernel, first, second)
        blocks += (both * cross)[..., None, None] * self._folded(layout.cross_kernel, first, second)
        result = np.swapaxes(blocks, 1, 2).reshape(P * H, P * H)
        result += np.kron(np.diag(2 * layout.curvature), np.ones((H, H)))
        if aversion := layout.risk.aversion:
            result += np.kron(aversion * layout.exposed(np.eye(P)), self._held)
        unit = np.repeat(self._scaled, H)
        result *= np.outer(unit, unit)
        return np.asfortranarray(result[np.ix_(self.places, self.places)])

    # -- caps ----------------------------------------------------------------------------------

    def rows(self, caps: Caps) -> CapRows:
        """The rows that can bind over the unknowns: most of a horizon's cannot, and each makes the
        factors fuller. The last ones are kept while they are the same and their weights stay."""
        which = np.flatnonzero(caps.can_bind)
        told = (which, *caps.entries)
        if not (self._rows and all(map(np.array_equal, self._rows[0].made_of, told))):
            self._rows[:] = [self._rows_of(caps, which)]
        return self._rows[0]

    def _rows_of(self, caps: Caps, which: Index) -> CapRows:
        row, column, weight = caps.entries
        used = self.free.ravel()[column] & caps.can_bind[row]
        place = np.cumsum(caps.can_bind) - 1
        row, column = place[row[used]], (np.cumsum(self.free.ravel()) - 1)[column[used]]
        data = weight[used] * self.unit[column]
        norms = np.zeros(len(which))
        np.maximum.at(norms, row, np.abs(data))
        norms[norms == 0] = 1.0
        data = data / norms[row]
        shape = (len(norms), self.count + self.extra)
        matrix = sparse.csc_matrix((data, (row, column)), shape=shape)
        return CapRows((which, *caps.entries), which, row, column, data, norms, matrix, [])


def _family(
    factor: Index, weight: Array, middle: Array, kernel: Array, *, along_path: bool
) -> Family:
    """The family with the factors somebody is exposed to."""
    used, factor = np.unique(factor, return_inverse=True)
    return Family(factor, weight, middle[np.ix_(used, used)], kernel, along_path)
