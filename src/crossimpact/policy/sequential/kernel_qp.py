"""Orders in sequence under any convex kernel: blocks and cells with exact kernel averages, dense.

The cost of volumes x on pieces (blocks, cells of constant rate) is ``1/2 x'(C (x) K)x`` exactly, C
being the kernel's averages over pairs of pieces, so only the shape of the optimum within a cell is
approximated, and `mesh` refines the cells until that no longer shows. For exponential kernels this
is the second, independent way to what `grid` finds; the work grows with the cube of pieces times
assets.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.linalg import lu_factor, lu_solve

from crossimpact.errors import ProblemError
from crossimpact.model import Array
from crossimpact.policy.sequential.bounds import bounds, units
from crossimpact.policy.sequential.grid import Grid, Pose, refine
from crossimpact.policy.sequential.kernel import Kernel
from crossimpact.policy.sequential.limits import Limits
from crossimpact.policy.sequential.mesh import Legs, coarsest, settle
from crossimpact.policy.sequential.plan import Accuracy, Plan
from crossimpact.policy.sequential.problem import Problem, stsh
from crossimpact.policy.sequential.program import Index, Mask, Optimum, Program, Step

#: Pieces times assets up to which a dense factor is asked for.
LARGEST = 6000
#: Pieces times assets beyond which a mesh is not refined: seconds.
ENOUGH = 2000
_RIDGE = 1e-10  # in Newton steps only


@dataclass(frozen=True, eq=False)
class Dense:
    """The smooth cost of pieces (a `program.System`) by its matrix ``C (x) K``.

    `C` (S, S), `K` (M, M), `credit` (S, M): what the benchmark takes off each piece's marginal cost
    before its product with K; `weights` (S,): the pieces' probabilities.
    """

    first: Index
    C: Array
    K: Array
    credit: Array
    weights: Array

    @cached_property
    def curvature(self) -> Array:
        """The block's own cost, for every piece; positive also where K has a zero row."""
        diagonal = np.maximum(np.diagonal(self.K), 1e-3)
        return np.asarray(self.weights[:, None] * diagonal)

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


def solve(problem: Problem, steps: int | None = None, *, largest: int = ENOUGH) -> Plan:
    """The optimal schedule under any kernel, certified to 1e-8 on its own pieces.

    Parameters
    ----------
    problem
        Any.
    steps
        Equal cells per order; by default graded ones, refined until cost and blocks settle.
    largest
        Pieces times assets beyond which nothing is refined further.

    Raises
    ------
    ProblemError
        When `steps` < 1, or pieces times assets exceed `LARGEST`.
    ScheduleError
        When the optimum could not be certified.
    """
    credit = np.vstack((problem.c, np.zeros((1, problem.assets))))
    orders, ones = np.arange(problem.orders), np.ones(problem.orders)
    least = floors(problem, steps)
    found, grid, accuracy = refined(
        problem.kernel,
        (problem.times, orders, orders - 1),
        lambda grid: pose(problem, grid, problem.volumes, credit, ones, least),
        steps,
        largest,
    )
    trades = found.x * units(problem)[0]
    return Plan(problem, *grid.pieces, trades, found.residual, "kernel_qp", accuracy)


def refined(
    kernel: Kernel,
    legs: Legs,
    pose: Pose,
    steps: int | None,
    largest: int = ENOUGH,
) -> tuple[Optimum, Grid, Accuracy]:
    """Solve on so many equal cells per leg, or on graded ones, refined until they settle."""
    if steps is None:
        return settle(pose, coarsest(kernel, legs, largest), largest)
    return refine(lambda cells: Grid.of(*legs, cells), pose, steps)


def pose(
    problem: Problem, grid: Grid, volumes: Array, credit: Array, weights: Array, least: Array
) -> tuple[Dense, Program]:
    """Smooth cost and bounds of a tree of legs, scaled to volume 1 and impact 1, as `grid.pose`;
    `least` are the `floors`.

    Two pieces meet where the leg of one is that of the other or before it, with the probability of
    the later one.
    """
    size = len(grid.starts) * problem.assets
    if size > LARGEST:
        raise ProblemError(
            f"{len(grid.orders)} orders in {len(grid.starts)} pieces of {problem.assets} assets "
            f"make {size} unknowns, limit {LARGEST}",
            "take fewer cells, or an exponential kernel, which `grid` solves at any size",
        )
    kernel, legs, ends = problem.kernel, grid.legs, (grid.starts, grid.ends)
    volume, impact = units(problem)
    top = float(kernel.shape(np.zeros(1))[0])
    past = np.eye(len(grid.orders), dtype=bool)  # past[l, k]: k is l or before it
    for leg, parent in enumerate(grid.parents):
        past[leg] |= past[parent] & (parent >= 0)
    meeting = np.where(past, weights[:, None], 0.0)
    meeting = np.maximum(meeting, meeting.T)
    C = kernel.coupling(ends, ends) * meeting[np.ix_(legs, legs)] / top
    struck = grid.ends[grid.first[1:] - 1]
    reach = kernel.coupling(ends, (struck, struck)) * past.T[legs]
    system = Dense(grid.first, C, kernel.K / impact, reach @ credit / (volume * top), weights[legs])
    program = bounds(problem, grid.pieces, legs, volumes, least)
    program = replace(program, spread=program.spread * weights[legs, None])
    return system, program.scaled(volume, impact * top)


def floors(problem: Problem, steps: int | None = None) -> Array:
    """Least rate per unit of volume under `Limits.full_span`: the slowest of each order alone."""
    rates = np.zeros(problem.orders)
    if problem.limits.full_span:
        alone: Kernel = replace(problem.kernel, K=np.ones((1, 1)))
        for j, (start, end) in enumerate(zip(problem.times[:-1], problem.times[1:], strict=True)):
            plan = solve(stsh([start, end], [1.0], alone, limits=Limits()), steps)
            rates[j] = min(rate for _, _, rate in plan.rates(0))
    return rates
