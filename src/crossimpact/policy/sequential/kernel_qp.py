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

from crossimpact.errors import Inadmissible
from crossimpact.model import Array
from crossimpact.policy.sequential import active_set
from crossimpact.policy.sequential.bounds import bounds, units
from crossimpact.policy.sequential.grid import Pose, refine
from crossimpact.policy.sequential.kernel import Kernel
from crossimpact.policy.sequential.limits import Limits
from crossimpact.policy.sequential.mesh import Legs, coarsest, settle
from crossimpact.policy.sequential.plan import Accuracy, Plan
from crossimpact.policy.sequential.problem import Problem, stsh
from crossimpact.policy.sequential.program import Index, Mask, Optimum, Program, Step
from crossimpact.policy.sequential.risk import exposure
from crossimpact.policy.sequential.state_form import Grid

#: Pieces times assets up to which a dense factor is asked for.
LARGEST = 6000
#: Pieces times assets beyond which a mesh is not refined: seconds.
ENOUGH = 2000
_RIDGE = 1e-10  # in Newton steps only


@dataclass(frozen=True, eq=False)
class Dense:
    """The smooth cost of pieces (a `program.System`) by its matrix ``sum C (x) K``.

    `terms`: couplings C (S, S) and matrices K (M, M); `flat` (S, M): the gradient at no trades;
    `weights` (S,): the pieces' probabilities.
    """

    first: Index
    terms: list[tuple[Array, Array]]
    flat: Array
    weights: Array

    @cached_property
    def curvature(self) -> Array:
        """The block's own cost, for every piece; positive also where K has a zero row."""
        diagonal = np.maximum(np.diagonal(sum(K for _, K in self.terms)), 1e-3)
        return np.asarray(self.weights[:, None] * diagonal)

    def gradient(self, x: Array) -> Array:
        return np.asarray(self.flat + sum(C @ x @ K.T for C, K in self.terms))

    def newton(self, free: Mask, weights: Array) -> Step:
        rows, assets = np.nonzero(free)
        legs = np.repeat(np.arange(len(self.first) - 1), np.diff(self.first))
        groups = legs[rows] * free.shape[1] + assets
        n, used = len(rows), np.unique(groups)
        system = np.zeros((n + len(used), n + len(used)))
        for C, K in self.terms:
            system[:n, :n] += C[np.ix_(rows, rows)] * K[np.ix_(assets, assets)]
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
    orders, least = np.arange(problem.orders), floors(problem, steps)
    result, grid, accuracy = refined(
        problem,
        (problem.times, orders, orders - 1),
        lambda grid: pose(problem, grid, Stakes.of(problem), least),
        steps,
        largest,
    )
    trades = result.x * units(problem)[0]
    return Plan(problem, *grid.pieces, trades, result.residual, "kernel_qp", accuracy)


def refined(
    problem: Problem, legs: Legs, pose: Pose, steps: int | None, largest: int = ENOUGH
) -> tuple[Optimum, Grid, Accuracy]:
    """Solve on so many equal cells per leg, or on graded ones, refined until they settle; on the
    problem's dates where it has some, which no mesh comes between."""
    if problem.limits.dates is not None:
        _, orders, parents = legs
        grid = Grid.points([problem.dates(int(j)) for j in orders], orders, parents)
        result = active_set.solve(*pose(grid))
        return result, grid, Accuracy(result.residual, result.residual)
    if steps is None:
        return settle(pose, coarsest(problem.kernel, legs, largest), largest)
    return refine(lambda cells: Grid.of(*legs, cells), pose, steps)


@dataclass(frozen=True, eq=False)
class Stakes:
    """What hangs on a tree of L legs: their volumes, what the benchmark takes off the price at
    their ends and what is struck at their starts, each (L, M), and their probabilities (L,)."""

    volumes: Array
    credit: Array
    parts: Array
    weights: Array

    @classmethod
    def of(cls, problem: Problem) -> Stakes:
        """Of orders that are certain."""
        credit = np.vstack((problem.c, np.zeros((1, problem.assets))))
        return cls(problem.volumes, credit, problem.strikes[1], np.ones(problem.orders))


@dataclass(frozen=True, eq=False)
class Points:
    """Points in time (n,), amounts at each (n, M), and with what probability each piece meets each
    point (S, n)."""

    at: Array
    amounts: Array
    meeting: Array


def pose(problem: Problem, grid: Grid, stakes: Stakes, least: Array) -> tuple[Dense, Program]:
    """Smooth cost and bounds of a tree of legs, scaled to volume 1 and impact 1, as `grid.pose`;
    `least` are the `floors`.

    Two pieces meet where the leg of one is that of the other or before it, with the probability of
    the later one.
    """
    check_size(grid, problem)
    legs, weights = grid.legs, stakes.weights
    past = np.eye(len(grid.orders), dtype=bool)  # past[l, k]: k is l or before it
    for leg, parent in enumerate(grid.parents):
        past[leg] |= past[parent] & (parent >= 0)
    meeting = np.where(past, weights[:, None], 0.0)
    meeting = np.maximum(meeting, meeting.T)
    struck = Points(grid.ends[grid.first[1:] - 1], stakes.credit, past.T[legs])
    opened = Points(grid.starts[grid.first[:-1]], stakes.parts, meeting[legs])
    terms, flat = smooth(problem, grid, meeting[np.ix_(legs, legs)], struck, opened)
    program = bounds(problem, grid.pieces, legs, stakes.volumes, least)
    program = replace(program, spread=program.spread * weights[legs, None])
    return Dense(grid.first, terms, flat, weights[legs]), program.scaled(*scales(problem))


def smooth(
    problem: Problem, grid: Grid, meeting: Array, struck: Points, opened: Points
) -> tuple[list[tuple[Array, Array]], Array]:
    """`Dense.terms` and `Dense.flat`, scaled: `struck` amounts are credited with the price moves at
    their points, `opened` ones are exposed from theirs on; `meeting` (S, S) as in `Points`."""
    pieces, end = (grid.starts, grid.ends), float(problem.times[-1])
    volume, impact = scales(problem)
    terms = [(C * meeting, K / impact) for C, K in problem.kernel.terms(pieces, pieces)]
    lifts = problem.kernel.terms(pieces, (struck.at, struck.at))
    flat = -sum((C * struck.meeting) @ struck.amounts @ K.T for C, K in lifts)
    if problem.risk is not None:
        curvature = problem.risk.curvature
        terms.append((exposure(pieces, pieces, end) * meeting, curvature / impact))
        held = exposure(pieces, (opened.at, opened.at), end) * opened.meeting
        flat = flat - held @ opened.amounts @ curvature
    return terms, np.asarray(flat) / (volume * impact)


def scales(problem: Problem) -> tuple[float, float]:
    """Largest volume, and largest price move of a unit traded at once."""
    volume, impact = units(problem)
    return volume, impact * float(problem.kernel.shape(np.zeros(1))[0])


def check_size(grid: Grid, problem: Problem) -> None:
    """Refuse what a dense factor does not reach."""
    size = len(grid.starts) * problem.assets
    if size > LARGEST:
        raise Inadmissible(
            f"{len(grid.orders)} orders in {len(grid.starts)} pieces of {problem.assets} assets "
            f"make {size} unknowns, limit {LARGEST}",
            "take fewer cells, or an exponential kernel, which `grid` solves at any size",
        )


def floors(problem: Problem, steps: int | None = None) -> Array:
    """Least rate per unit of volume under `Limits.full_span`: the slowest of each order alone."""
    rates = np.zeros(problem.orders)
    if problem.limits.full_span:
        alone: Kernel = replace(problem.kernel, K=np.ones((1, 1)))
        for j, (start, end) in enumerate(zip(problem.times[:-1], problem.times[1:], strict=True)):
            plan = solve(stsh([start, end], [1.0], alone, limits=Limits()), steps)
            rates[j] = min(rate for _, _, rate in plan.rates(0))
    return rates
