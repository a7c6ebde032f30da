"""The program as a solver takes it: scaled unknowns, one matrix, bounds and rows.

An unknown is a flow with room, in units in which every name's own impact is about 1 and the largest
flow is 1. In factored form each family of factors (couplings, and risk) adds unknowns ``z = E' x``,
interval by interval, with a quadratic of their own: ``E T E'`` over a kernel in time K becomes
``z' (T x K) z``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse

from crossimpact.policy.scheduling.caps import Caps
from crossimpact.policy.scheduling.desk import Flags, Index
from crossimpact.policy.scheduling.program import Program
from crossimpact.scaled import Array


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


@dataclass(frozen=True, eq=False)
class Posed:
    """A program's unknowns: flows where `free`, shape (P, H)."""

    program: Program
    caps: Caps
    free: Flags

    # -- scales --------------------------------------------------------------------------------

    @cached_property
    def count(self) -> int:
        """How many flows are unknown."""
        return int(self.free.sum())

    @cached_property
    def _unit(self) -> Array:
        """USD of a line's unknown at 1, shape (P,)."""
        unit = self.program.unit[self.program.desk.lines.name]
        return np.asarray(unit * (self.caps.most / unit[:, None]).max())

    @cached_property
    def size(self) -> Array:
        """USD of each unknown at 1, shape (count,)."""
        return np.broadcast_to(self._unit[:, None], self.free.shape)[self.free]

    @cached_property
    def price(self) -> float:
        """USD of J at 1."""
        own = self.program.couplings.own
        typical = float(np.median(own[own > 0])) if (own > 0).any() else 1.0
        lines = self.program.desk.lines
        scale = float(self._unit[0] / self.program.unit[lines.name[0]])
        return typical * scale**2

    # -- vectors -------------------------------------------------------------------------------

    @cached_property
    def linear(self) -> Array:
        """Gradient at no flow, over the flows."""
        return np.asarray(self.program.at_rest[self.free] * self.size / self.price)

    @cached_property
    def bounds(self) -> tuple[Array, Array]:
        """Of the flows, low and high; the factors have none."""
        return np.zeros(self.count), self.caps.most[self.free] / self.size

    # -- caps ----------------------------------------------------------------------------------

    @cached_property
    def _scaled_rows(self) -> tuple[Index, Index, Array, Array]:
        """The rows over the unknowns (row, column and weight of each entry), and USD of each row
        at 1."""
        row, column, weight = self.caps.entries
        if self.count < self.free.size:
            used = self.free.ravel()[column]
            row, column, weight = row[used], column[used], weight[used]
            column = (np.cumsum(self.free.ravel()) - 1)[column]
        data = weight * self.size[column]
        norms = np.zeros(len(self.caps.rows))
        np.maximum.at(norms, row, np.abs(data))
        norms[norms == 0] = 1.0
        return row, column, data / norms[row], norms

    @property
    def row_size(self) -> Array:
        """USD of each row at 1."""
        return self._scaled_rows[3]

    @cached_property
    def caps_matrix(self) -> sparse.csc_matrix:
        """The rows' weights, shape (rows, unknowns)."""
        row, column, weight, norms = self._scaled_rows
        shape = (len(norms), self.count + self.extra)
        return sparse.csc_matrix((weight, (row, column)), shape=shape)

    def dense_caps(self) -> Array:
        """The rows' weights over the flows alone, shape (rows, count)."""
        row, column, weight, norms = self._scaled_rows
        result = np.zeros((len(norms), self.count), order="F")
        result[row, column] = weight
        return result

    @cached_property
    def row_limits(self) -> tuple[Array, Array]:
        """Of the rows, low and high."""
        low, high = self.caps.limits
        return low / self.row_size, high / self.row_size

    # -- the Hessian ---------------------------------------------------------------------------

    @cached_property
    def families(self) -> tuple[Family, ...]:
        """Factors of couplings and of risk that some line is exposed to."""
        program, lines = self.program, self.program.desk.lines
        couplings, result = program.couplings, []
        if couplings.middle.size:
            weight = program.signed * couplings.level[lines.name]
            factor = couplings.sector[lines.name]
            kernel = program.cross_kernel
            result.append(_family(factor, weight, 2 * couplings.middle, kernel, along_path=True))
        share = program.desk.state.risk
        if share.aversion:
            factor, volatility, _ = program.factors
            T = share.market + share.sector * np.eye(int(factor.max()) + 1)
            result.append(
                _family(factor, volatility, share.aversion * T, self._held, along_path=False)
            )
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
    def _scaled(self) -> Array:
        """Of a sum over lines in USD to one over unknowns, shape (P,)."""
        return np.asarray(self._unit / math.sqrt(self.price))

    @cached_property
    def quadratic(self) -> sparse.csc_matrix:
        """The Hessian's upper triangle: a block per pair of lines that is coupled by itself, and
        one per family."""
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
        program, lines = self.program, self.program.desk.lines
        first, second, single = self._pairs
        i, alike = lines.name[first], lines.name[first] == lines.name[second]
        sign = 2 * program.signed[first] * program.signed[second]
        own = sign * program.couplings.own[i] * alike
        cross = sign * np.where(alike, -program.couplings.shared[i], single)
        blocks = own[:, None, None] * self._folded(program.own_kernel, first, second)
        blocks += cross[:, None, None] * self._folded(program.cross_kernel, first, second)
        if aversion := program.desk.state.risk.aversion:
            _, volatility, alone = program.factors
            risk = aversion * alone[first] * volatility[second] * alike
            blocks += risk[:, None, None] * self._held
        blocks[first == second] += 2 * program.curvature[:, None, None]
        blocks *= (self._scaled[first] * self._scaled[second])[:, None, None]
        return first, second, blocks

    @cached_property
    def _pairs(self) -> tuple[Index, Index, Array]:
        """Pairs of lines of one name, and of names coupled by themselves, with that coupling."""
        lines, couplings = self.program.desk.lines, self.program.couplings
        i, j, single = couplings.singles
        every = np.arange(len(lines))
        line_of = np.full(self.program.model.n, -1)
        line_of[lines.name] = every
        if (line_of[lines.name] == every).all():  # one line a name
            both = (line_of[i] >= 0) & (line_of[j] >= 0)
            first, second = line_of[i[both]], line_of[j[both]]
            return (
                np.append(every, first),
                np.append(every, second),
                np.append(np.zeros(len(lines)), single[both]),
            )
        of = sparse.csr_matrix(
            (np.ones(len(lines)), (every, lines.name)), shape=(len(lines), self.program.model.n)
        )
        first, second = (of @ of.T + abs(of @ couplings.pairs @ of.T)).nonzero()
        single = np.asarray(couplings.pairs[lines.name[first], lines.name[second]]).ravel()
        return first, second, single

    def _folded(self, kernel: Array, first: Index, second: Index) -> Array:
        """A kernel over paths as one over flows of pairs of lines, (..., H, H): what a flow does
        not leave is not traded after the deadline."""
        due, H = self.program.due, self.free.shape[1]
        after = np.where(due, self.program.desk.lines.intervals, 0)
        i, j = after[first], after[second]
        a, b = due[first][..., None, None], due[second][..., None, None]
        result = kernel[:H, :H] - a * kernel[i, :H][..., None, :] - b * kernel[j, :H][..., :, None]
        return np.asarray(result + a * b * kernel[i, j][..., None, None])

    @cached_property
    def factors(self) -> sparse.csc_matrix:
        """Rows ``z - E' x = 0``, over all unknowns, x being what flows make of paths: a flow counts
        in its interval, and against it after its deadline."""
        line, step = np.nonzero(self.free)
        due = self.program.due
        after = self.program.desk.lines.intervals
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

    def dense(self) -> Array:
        """The Hessian over the flows alone, factors multiplied out, shape (count, count)."""
        program, lines = self.program, self.program.desk.lines
        (P, H), name, signed = self.free.shape, lines.name, program.signed
        own = np.where(name[:, None] == name, program.couplings.own[name], 0.0)
        both = 2 * np.outer(signed, signed)
        cross = program.couplings.dense[np.ix_(name, name)]
        first, second = np.indices((P, P))
        blocks = (both * own)[..., None, None] * self._folded(program.own_kernel, first, second)
        blocks += (both * cross)[..., None, None] * self._folded(
            program.cross_kernel, first, second
        )
        result = np.swapaxes(blocks, 1, 2).reshape(P * H, P * H)
        result += _over_time(np.diag(2 * program.curvature), np.ones((H, H)))
        if aversion := program.desk.state.risk.aversion:
            result += _over_time(aversion * program.exposed(np.eye(P)), self._held)
        unit = np.repeat(self._scaled, H)
        result *= np.outer(unit, unit)
        kept = np.flatnonzero(self.free.ravel())
        return np.asarray(result if len(kept) == P * H else result[np.ix_(kept, kept)])


def _over_time(lines: Array, steps: Array) -> Array:
    return np.asarray(lines * steps[0, 0] if steps.size == 1 else np.kron(lines, steps))


def _family(
    factor: Index, weight: Array, middle: Array, kernel: Array, *, along_path: bool
) -> Family:
    """The family with the factors somebody is exposed to."""
    used, factor = np.unique(factor, return_inverse=True)
    return Family(factor, weight, middle[np.ix_(used, used)], kernel, along_path)
