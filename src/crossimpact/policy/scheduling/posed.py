"""The program as a solver takes it: scaled unknowns, one matrix, bounds and rows.

An unknown is a flow with room, in units in which every name's own impact is about 1 and the largest
flow is 1. In factored form each family of factors (couplings, and risk) adds unknowns ``z = E' x``,
interval by interval, with a quadratic of their own: family ``E T E'`` over time kernel K becomes
``z' (T x K) z``.
"""

from __future__ import annotations

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
    """Flows by line add up in factors: exposure E, sparse (P, k), middle T, (k, k), kernel over
    time K, (H, H). Its part of the Hessian is ``E T E'`` times K."""

    exposure: sparse.csc_matrix
    middle: Array
    kernel: Array


@dataclass(frozen=True, eq=False)
class Posed:
    """A program's unknowns: flows where `free`, shape (P, H)."""

    program: Program
    caps: Caps
    free: Flags

    # -- scales --------------------------------------------------------------------------------

    @property
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

    @cached_property
    def _curved(self) -> float:
        """Of a Hessian per USD^2 to the unknowns', beside the lines' units."""
        return 1.0 / self.price

    # -- vectors -------------------------------------------------------------------------------

    @cached_property
    def linear(self) -> Array:
        """Gradient at no flow, over all unknowns."""
        slope = self.program.gradient(np.zeros(self.free.shape))[self.free]
        return np.append(slope * self.size / self.price, np.zeros(self._extra))

    @cached_property
    def bounds(self) -> tuple[Array, Array]:
        """Of the unknowns; none of the factors."""
        wide = np.full(self._extra, np.inf)
        upper = self.caps.most[self.free] / self.size
        return np.append(np.zeros(self.count), -wide), np.append(upper, wide)

    # -- caps ----------------------------------------------------------------------------------

    @cached_property
    def _scaled_rows(self) -> tuple[sparse.csr_matrix, Array]:
        kept = sparse.csr_matrix(self.caps.matrix[:, self.free.ravel()])
        kept = sparse.csr_matrix(kept @ sparse.diags(self.size))
        norms = abs(kept).max(axis=1).toarray().ravel() if kept.nnz else np.zeros(kept.shape[0])
        return kept, np.where(norms > 0, norms, 1.0)

    @property
    def row_size(self) -> Array:
        """USD of each row at 1."""
        return self._scaled_rows[1]

    @cached_property
    def caps_matrix(self) -> sparse.csc_matrix:
        matrix, norms = self._scaled_rows
        wide = sparse.csr_matrix((matrix.shape[0], self._extra))
        return sparse.csc_matrix(sparse.hstack([sparse.diags(1 / norms) @ matrix, wide]))

    @cached_property
    def row_limits(self) -> tuple[Array, Array]:
        low, high = self.caps.limits
        return low / self.row_size, high / self.row_size

    # -- the Hessian ---------------------------------------------------------------------------

    @cached_property
    def families(self) -> tuple[Family, ...]:
        """Factors of couplings and of risk that some line is exposed to."""
        program, lines = self.program, self.program.desk.lines
        result = []
        if program.couplings.middle.size:
            E = sparse.diags(program.signed) @ program.couplings.exposure[lines.name]
            result.append(_family(E, 2 * program.couplings.middle, program.cross_kernel))
        if risk := program.desk.state.risk.aversion:
            sectors, volatility, _ = program.factors
            E = sparse.csc_matrix((volatility, (np.arange(len(lines)), sectors)))
            share = program.desk.state.risk
            T = share.market + share.sector * np.eye(E.shape[1])
            result.append(_family(E, risk * T, self._held))
        return tuple(family for family in result if family.middle.size)

    @cached_property
    def _extra(self) -> int:
        return sum(len(family.middle) for family in self.families) * int(self.free.shape[1])

    @cached_property
    def _held(self) -> Array:
        """In how many intervals two flows have both left the position, (H, H)."""
        steps = np.arange(self.free.shape[1])
        return np.asarray(len(steps) - np.maximum.outer(steps, steps), dtype=np.float64)

    @cached_property
    def quadratic(self) -> sparse.csc_matrix:
        """The Hessian's upper triangle: a block per pair of lines that is coupled by itself, and
        one per family."""
        first, second, own, cross, alone = self._pairs
        kernels = self.program.own_kernel, self.program.cross_kernel
        blocks = own[:, None, None] * kernels[0] + cross[:, None, None] * kernels[1]
        if alone.any():
            blocks += alone[:, None, None] * self._held
        blocks[first == second] += 2 * self.program.curvature[:, None, None]
        unit = self._unit * np.sqrt(self._curved)
        blocks *= (unit[first] * unit[second])[:, None, None]
        place = np.full(self.free.shape, -1)
        place[self.free] = np.arange(self.count)
        row = np.broadcast_to(place[first][:, :, None], blocks.shape)
        column = np.broadcast_to(place[second][:, None, :], blocks.shape)
        used = (row >= 0) & (column >= row)
        entries = [(blocks[used], row[used], column[used])]
        start = self.count
        for family, scale in zip(self.families, self._factor_size, strict=True):
            matrix = sparse.triu(sparse.coo_matrix(np.kron(family.middle, family.kernel))).tocoo()
            entries.append((matrix.data * scale**2, matrix.row + start, matrix.col + start))
            start += matrix.shape[0]
        data, rows, columns = (np.concatenate(part) for part in zip(*entries, strict=True))
        return sparse.csc_matrix((data, (rows, columns)), shape=(start, start))

    @cached_property
    def _pairs(self) -> tuple[Index, Index, Array, Array, Array]:
        """Pairs of lines with a block of their own, and its parts by kernel: own, cross, risk."""
        program, lines = self.program, self.program.desk.lines
        own, shared = program.couplings.own, program.couplings.shared
        same = sparse.csr_matrix(
            (np.ones(len(lines)), (np.arange(len(lines)), lines.name)),
            shape=(len(lines), program.model.n),
        )
        pairs = same @ (program.couplings.pairs + sparse.identity(program.model.n)) @ same.T
        first, second = pairs.nonzero()
        i, j = lines.name[first], lines.name[second]
        sign = 2 * program.signed[first] * program.signed[second]
        single = np.asarray(program.couplings.pairs[i, j]).ravel()
        alike = i == j
        _, volatility, alone = program.factors
        risk = program.desk.state.risk.aversion * alone[first] * volatility[second] * alike
        cross = sign * np.where(alike, -shared[i], single)
        return first, second, sign * own[i] * alike, cross, risk

    @cached_property
    def _factor_size(self) -> list[float]:
        """Sums of factors at 1, per family, in which their own curvature is about 1."""
        sizes = [np.abs(np.diagonal(f.middle)).max() * f.kernel[0, 0] for f in self.families]
        return [float(1 / np.sqrt(size)) if size > 0 else 1.0 for size in sizes]

    @cached_property
    def factors(self) -> sparse.csc_matrix:
        """Rows ``z - E' x = 0``, over all unknowns."""
        H = self.free.shape[1]
        unit = sparse.diags(self._unit * np.sqrt(self._curved))
        sums = [
            sparse.kron((unit @ family.exposure).T, sparse.identity(H)) / scale
            for family, scale in zip(self.families, self._factor_size, strict=True)
        ]
        if not sums:
            return sparse.csc_matrix((0, self.count))
        flows = sparse.vstack(sums).tocsc()[:, self.free.ravel()]
        return sparse.csc_matrix(sparse.hstack([-flows, sparse.identity(self._extra)]))

    def dense(self) -> Array:
        """The Hessian over the flows alone, factors multiplied out, shape (count, count)."""
        upper = self.quadratic[: self.count, : self.count]
        result = np.asarray((upper + sparse.triu(upper, 1).T).toarray())
        if self.families:
            sums = np.asarray(-self.factors[:, : self.count].toarray())
            inner = self.quadratic[self.count :, self.count :]
            result += sums.T @ ((inner + sparse.triu(inner, 1).T) @ sums)
        return result


def _family(exposure: sparse.spmatrix, middle: Array, kernel: Array) -> Family:
    """The family without factors that nobody is exposed to."""
    exposure = sparse.csc_matrix(exposure)
    used = np.diff(exposure.indptr) > 0
    return Family(exposure[:, used], middle[np.ix_(used, used)], kernel)
