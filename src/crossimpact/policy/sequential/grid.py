"""N orders of M assets under an exponential kernel: solved on grids, each from the last one's.

The program is posed in state form (`state_form`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import numpy as np

from crossimpact.errors import ProblemError
from crossimpact.model import Array
from crossimpact.policy.sequential import active_set
from crossimpact.policy.sequential.bounds import bounds, units
from crossimpact.policy.sequential.edges import edges, with_edges
from crossimpact.policy.sequential.kernel import Exponential, Kernel
from crossimpact.policy.sequential.limits import Limits
from crossimpact.policy.sequential.plan import FLOOR, Accuracy, Plan
from crossimpact.policy.sequential.problem import Problem
from crossimpact.policy.sequential.program import Optimum, Program, System
from crossimpact.policy.sequential.risk import Risk
from crossimpact.policy.sequential.state_form import Grid, StateForm

#: Cells per order by default: 1e-6 of the cost and better.
STEPS = 24
#: Cost, over that of the largest volume at once, below which a sharper grid gains nothing.
ROUNDING = 1e-13
#: Trades of a problem of many assets beyond which its grid is not refined: seconds.
ENOUGH = 60_000
_COARSE = 12  # cells per order from which finer grids start


def solve(problem: Problem, steps: int = STEPS, *, sharpen: int = 0, largest: int = 0) -> Plan:
    """The optimal schedule on a grid of `steps` cells per order, certified to 1e-8.

    Fine grids start from coarse ones: the active set of one predicts that of the next.

    Parameters
    ----------
    problem
        Under an `Exponential` kernel.
    steps
        Cells per order, >= 1. The cost is off by about 1e-6 at 10, less than 1e-8 at 100.
    sharpen
        Most rounds of adding the times at which assets start or stop to the grid (`edges`): each
        divides what is off by about 60, until only rounding is left.
    largest
        Trades up to which the cells are halved until cost and blocks settle (`Accuracy`).

    Raises
    ------
    ProblemError
        When the kernel is not exponential, or `steps` < 1.
    ScheduleError
        When the optimum could not be certified.
    """
    credit = np.vstack((problem.c, np.zeros((1, problem.assets))))
    orders = np.arange(problem.orders)
    ones = np.ones(problem.orders)
    result, grid, accuracy = refine(
        lambda cells: Grid.of(problem.times, orders, orders - 1, cells),
        lambda grid: pose(problem, grid, problem.volumes, credit, ones),
        steps,
        sharpen,
        largest,
    )
    trades = result.x * units(problem)[0]
    return Plan(problem, *grid.pieces, trades, result.residual, "grid", accuracy)


Pose = Callable[[Grid], tuple[System, Program]]


def refine(
    build: Callable[[int], Grid], pose: Pose, steps: int, sharpen: int = 0, largest: int = 0
) -> tuple[Optimum, Grid, Accuracy]:
    """Solve on grids of more and more cells, each from the last one's solution, then with edges.

    What has not settled at `steps` goes on, twice the cells each time, up to `largest` trades.
    """
    first, *finer = levels(steps)
    grid = build(first)
    posed = pose(grid)
    result, accuracy = active_set.solve(*posed), Accuracy()
    room = largest / (result.x.size / first)
    finer += [steps * 2**k for k in range(1, 10) if steps * 2**k <= room]
    for cells in finer:
        if cells > steps and accuracy.reached:
            break
        last = grid, *posed, result.x
        coarse, grid = grid, build(cells)
        posed = pose(grid)
        result = active_set.solve(*posed, prolong(result, coarse, grid))
        accuracy = changed(last, (grid, *posed, result.x))
    even = [grid.nodes(leg) for leg in range(len(grid.orders))]
    for _ in range(sharpen):
        at = [edges(*grid.leg(leg, posed[1], result.x)) for leg in range(len(even))]
        sharper = Grid.at(list(map(with_edges, even, at)), grid.orders, grid.parents)
        reposed = pose(sharper)
        try:
            better = active_set.solve(*reposed, prolong(result, grid, sharper))
        except active_set.ScheduleError:
            break
        if not value(*posed, result.x) - value(*reposed, better.x) > ROUNDING:
            break
        result, grid, posed = better, sharper, reposed
    return result, grid, _halving(grid, pose, (*posed, result)) if sharpen else accuracy


def _halving(grid: Grid, pose: Pose, solved: tuple[System, Program, Optimum]) -> Accuracy:
    """What halving every cell would change: nothing once all edges are nodes."""
    system, program, result = solved
    nodes = [grid.nodes(leg) for leg in range(len(grid.orders))]
    finer = Grid.at([np.union1d(n, (n[1:] + n[:-1]) / 2) for n in nodes], grid.orders, grid.parents)
    reposed = pose(finer)
    try:
        better = active_set.solve(*reposed, prolong(result, grid, finer))
    except active_set.ScheduleError:
        return Accuracy()
    return changed((grid, system, program, result.x), (finer, *reposed, better.x))


Solved = tuple[Grid, System, Program, Array]


def changed(coarse: Solved, fine: Solved) -> Accuracy:
    """What a finer grid changed, relative to what it has."""
    (before, after), unit = [value(*one[1:]) for one in (coarse, fine)], size(*fine[1:])
    had, has = blocks(coarse[0], coarse[3]), blocks(fine[0], fine[3])
    largest = np.abs(fine[2].volumes).max() or 1.0
    moved = np.abs(has - had) / np.maximum(np.abs(has), FLOOR * largest)
    return Accuracy(abs(after - before) / unit, float(moved.max()))


def blocks(grid: Grid, x: Array) -> Array:
    """First and last block of each leg, (L, 2, M)."""
    return np.stack((x[grid.first[:-1]], x[grid.first[1:] - 1]), axis=1)


def size(system: System, program: Program, x: Array) -> float:
    """What impact, benchmark and spread add up to, signs aside; not nothing where they are."""
    flat = system.gradient(np.zeros_like(x))
    parts = 0.5 * x * (system.gradient(x) - flat), x * flat, program.spread * np.abs(x)
    return sum(abs(float(part.sum())) for part in parts) + FLOOR


class Posed(Protocol):
    """What decides who answers, of a `Problem` or of a `tree.Tree`."""

    @property
    def kernel(self) -> Kernel: ...
    @property
    def limits(self) -> Limits: ...
    @property
    def risk(self) -> Risk | None: ...


def in_state_form(posed: Posed) -> bool:
    """Whether one decayed volume per asset tells all: exponential decay, no risk, any moment."""
    exponential = isinstance(posed.kernel, Exponential)
    return exponential and posed.risk is None and posed.limits.dates is None


def value(system: System, program: Program, x: Array) -> float:
    """What the program minimises, at trades `x`."""
    slopes = system.gradient(x) + system.gradient(np.zeros_like(x))
    return float(0.5 * (x * slopes).sum() + (program.spread * np.abs(x)).sum())


def levels(steps: int) -> list[int]:
    """Cells per order of the grids to solve one after the other: each finer, by four if need be."""
    if steps < 1:
        raise ProblemError(f"steps is {steps}, must be >= 1")
    cells = [steps]
    while cells[0] >= 4 * _COARSE:
        cells.insert(0, -(-cells[0] // 4))
    return cells if len(cells) > 1 or steps == 1 else [-(-steps // 2), steps]


def pose(
    problem: Problem, grid: Grid, volumes: Array, credit: Array, weights: Array
) -> tuple[StateForm, Program]:
    """Smooth cost and bounds of a tree of legs, scaled to volume 1 and impact 1.

    `volumes`, `credit` (L, M) and `weights` (L,) as in `StateForm`, unscaled.
    """
    kernel = problem.kernel
    if not isinstance(kernel, Exponential):
        raise ProblemError(
            f"the state form needs an exponential kernel, not {type(kernel).__name__}",
            "use kernel_qp",
        )
    volume, impact = units(problem)
    system = StateForm(grid, kernel.rho, kernel.K / impact, weights, credit / volume)
    program = bounds(problem, grid.pieces, grid.legs, volumes, floors(problem, kernel.rho))
    program = replace(program, spread=program.spread * weights[grid.legs, None])
    return system, program.scaled(volume, impact)


def floors(problem: Problem, rho: float) -> Array:
    """Least rate per unit of volume under `Limits.full_span`: that of the order on its own."""
    return np.asarray(rho / (2 + rho * np.diff(problem.times)))


def prolong(coarse: Optimum, grid: Grid, finer: Grid) -> Optimum:
    """Trades of a coarse grid spread over a finer one."""
    legs = finer.legs
    middle = (finer.starts + finer.ends) / 2
    x = np.empty((len(legs), coarse.x.shape[1]))
    for leg in range(len(grid.orders)):
        old = slice(grid.first[leg], grid.first[leg + 1])
        new = slice(finer.first[leg], finer.first[leg + 1])
        cell = np.searchsorted(grid.ends[old][1:-1], middle[new][1:-1]) + 1
        width = (finer.ends - finer.starts)[new][1:-1] / (grid.ends - grid.starts)[old][cell]
        x[new.start], x[new.stop - 1] = coarse.x[old.start], coarse.x[old.stop - 1]
        x[new.start + 1 : new.stop - 1] = coarse.x[old][cell] * width[:, None]
    return replace(coarse, x=x)
