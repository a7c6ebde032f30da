"""Orders in sequence under any convex kernel: blocks and cells with exact kernel averages, dense.

The cost of volumes x on pieces (blocks, cells of constant rate) is ``1/2 x'(C (x) K)x`` exactly, C
being the kernel's averages over pairs of pieces, so only the shape of the optimum within a cell is
approximated: the error falls with the fourth power of the step. For exponential kernels this is the
second, independent way to what `grid` finds; the work grows with the cube of pieces times assets.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.linalg import lu_factor, lu_solve

from crossimpact.errors import ProblemError
from crossimpact.model import Array
from crossimpact.policy.sequential import active_set
from crossimpact.policy.sequential.bounds import bounds, units
from crossimpact.policy.sequential.grid import STEPS, Grid
from crossimpact.policy.sequential.kernel import Kernel
from crossimpact.policy.sequential.plan import Plan
from crossimpact.policy.sequential.problem import Limits, Problem, stsh
from crossimpact.policy.sequential.program import Index, Mask, Step

#: Pieces times assets up to which a dense factor is asked for.
LARGEST = 6000
_RIDGE = 1e-10  # in Newton steps only


@dataclass(frozen=True, eq=False)
class Dense:
    """The smooth cost of pieces (a `program.System`) by its matrix ``C (x) K``.

    `C` (S, S), `K` (M, M), `credit` (S, M): what the benchmark takes off each piece's marginal cost
    before its product with K.
    """

    first: Index
    C: Array
    K: Array
    credit: Array

    @cached_property
    def curvature(self) -> Array:
        """The block's own cost, for every piece; positive also where K has a zero row."""
        diagonal = np.maximum(np.diagonal(self.K), 1e-3)
        return np.broadcast_to(diagonal, self.credit.shape).copy()

    def gradient(self, x: Array) -> Array:
        return np.asarray((self.C @ x - self.credit) @ self.K)

    def newton(self, free: Mask, weights: Array) -> Step:
        rows, assets = np.nonzero(free)
        legs = np.repeat(np.arange(len(self.first) - 1), np.diff(self.first))
        groups = legs[rows] * len(self.K) + assets
        n, used = len(rows), np.unique(groups)
        system = np.zeros((n + len(used), n + len(used)))
        system[:n, :n] = self.C[np.ix_(rows, rows)] * self.K[np.ix_(assets, assets)]
        system[np.arange(n), np.arange(n)] += weights[free] + _RIDGE
        column = n + np.searchsorted(used, groups)
        system[np.arange(n), column] = system[column, np.arange(n)] = 1.0
        factors = lu_factor(system, overwrite_a=True, check_finite=False)

        def step(gradient: Array, missing: Array) -> tuple[Array, Array]:
            side = np.concatenate((-gradient[free], missing.ravel()[used]))
            solved = lu_solve(factors, side, check_finite=False)
            dx, mu = np.zeros(free.shape), np.zeros(missing.size)
            dx[free], mu[used] = solved[:n], solved[n:]
            return dx, mu.reshape(missing.shape)

        return step


def solve(problem: Problem, steps: int = STEPS) -> Plan:
    """The optimal schedule on `steps` cells per order under any kernel, certified to 1e-8.

    Raises
    ------
    ProblemError
        When `steps` < 1, or pieces times assets exceed `LARGEST`.
    ScheduleError
        When the optimum could not be certified.
    """
    size = problem.orders * (steps + 2) * problem.assets
    if steps < 1 or size > LARGEST:
        raise ProblemError(
            f"{problem.orders} orders of {steps} cells and {problem.assets} assets make {size} "
            f"unknowns, must be 1 cell or more and at most {LARGEST} unknowns",
            "take fewer cells, or an exponential kernel, which `grid` solves at any size",
        )
    orders = np.arange(problem.orders)
    grid = Grid.of(problem.times, orders, orders - 1, steps)
    kernel, ends = problem.kernel, (grid.starts, grid.ends)
    inner = problem.times[1:-1]
    before = grid.legs[:, None] < np.arange(1, problem.orders)[None, :]
    volume, impact = units(problem)
    credit = (kernel.coupling(ends, (inner, inner)) * before) @ problem.c / volume
    top = float(kernel.shape(np.zeros(1))[0])
    C = kernel.coupling(ends, ends)
    system = Dense(grid.first, C / top, kernel.K / impact, credit / top)
    least = floors(problem, steps)
    program = bounds(problem, grid.pieces, grid.legs, problem.volumes, least)
    found = active_set.solve(system, program.scaled(volume, impact * top))
    return Plan(problem, *grid.pieces, found.x * volume, found.residual, "kernel_qp")


def floors(problem: Problem, steps: int) -> Array:
    """Least rate per unit of volume under `Limits.full_span`: the slowest of each order alone."""
    rates = np.zeros(problem.orders)
    if problem.limits.full_span:
        alone: Kernel = replace(problem.kernel, K=np.ones((1, 1)))
        for j, (start, end) in enumerate(zip(problem.times[:-1], problem.times[1:], strict=True)):
            plan = solve(stsh([start, end], [1.0], alone, limits=Limits()), steps)
            rates[j] = plan.volumes[1:-1].min() * steps / (end - start)
    return rates
