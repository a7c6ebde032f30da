"""Meshes graded to the kernel, refined until cost and blocks settle.

Under a kernel with several time scales the rate varies fastest next to a boundary: within the
kernel's memory of it, which may be a millionth of the horizon. Equal cells do not see that and the
block swallows what happens there. So cells grow from both ends of a leg in proportion to their
distance, from a small part of the memory on; each round halves them all, and cuts those next to a
time at which an asset starts or stops into eight. A round divides the cost's error by four or more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from crossimpact.model import Array
from crossimpact.policy.sequential import active_set
from crossimpact.policy.sequential.grid import Pose, changed, prolong
from crossimpact.policy.sequential.kernel import Kernel
from crossimpact.policy.sequential.plan import Accuracy
from crossimpact.policy.sequential.program import Index, Mask, Optimum, Program
from crossimpact.policy.sequential.state_form import Grid

#: Share of the kernel's memory in which cells begin, and how much wider each next one is; of many
#: legs and assets the first growth that leaves room to refine.
BEGIN, GROWTH = 0.03, (0.5, 1.0, 2.0, 4.0)
#: Halvings of a cell next to an edge, and of all others, in a round.
AT_EDGES, ELSEWHERE = 3, 1
#: Rounds after which nothing more is to be gained.
ROUNDS = 8


def graded(start: float, end: float, memory: float, growth: float = GROWTH[0]) -> Array:
    """Nodes from `start` to `end`, cells growing by `growth` from both ends to the middle."""
    half = (end - start) / 2
    first = min(BEGIN * memory, half / 4)
    reach = np.log1p(half / first)
    away = first * np.expm1(np.linspace(0.0, reach, int(np.ceil(reach / np.log1p(growth))) + 1))
    nodes = np.concatenate((start + away[:-1], [(start + end) / 2], (end - away[:-1])[::-1]))
    return np.unique(nodes)


Legs = tuple[Array, Index, Index]


def lay(kernel: Kernel, legs: Legs, growth: float = GROWTH[0]) -> Grid:
    """Graded cells for legs: their boundaries, and each one's order and parent."""
    times, orders, parents = legs
    spans = [(float(times[j]), float(times[j + 1])) for j in orders]
    return Grid.at([graded(*span, kernel.memory, growth) for span in spans], orders, parents)


def coarsest(kernel: Kernel, legs: Legs, largest: int) -> Grid:
    """Where refining starts."""
    grids = (lay(kernel, legs, growth) for growth in GROWTH[:-1])
    fit = (grid for grid in grids if 2.5 * len(grid.starts) * kernel.assets <= largest)
    return next(fit, lay(kernel, legs, GROWTH[-1]))


def settle(
    pose: Pose,
    grid: Grid,
    largest: int,
    together: bool = False,
    tidy: Callable[[Grid, Array], Array] = lambda grid, x: x,
) -> tuple[Optimum, Grid, Accuracy]:
    """Solve and refine until the cost and every block keep still (`Accuracy.reached`).

    Stops short of `largest` pieces times assets; the accuracy says how far it got. It is the change
    in the last round, several times what is left. Legs of one order (or period) that must keep the
    same cells are refined `together`; `tidy` chooses among trades of one cost.
    """

    def solved(grid: Grid, guess: Optimum | None) -> Optimum:
        system, program = posed
        result = active_set.solve(system, program, guess)
        return replace(result, x=tidy(grid, result.x))

    posed = pose(grid)
    result = solved(grid, None)
    accuracy = Accuracy()
    for _ in range(ROUNDS):
        finer = _within(largest // result.x.shape[1], grid, posed[1], result.x, together)
        if finer is None:
            break
        last = grid, *posed, result.x
        posed = pose(finer)
        result = solved(finer, prolong(result, grid, finer))
        accuracy, grid = changed(last, (finer, *posed, result.x)), finer
        if accuracy.reached:
            break
    return result, grid, accuracy


def _within(pieces: int, grid: Grid, program: Program, x: Array, together: bool) -> Grid | None:
    """The grid halved, edges more finely if there is room for so many pieces."""
    finer = (halved(grid, program, x, cuts, together) for cuts in (AT_EDGES, ELSEWHERE))
    return next((one for one in finer if len(one.starts) <= pieces), None)


def halved(
    grid: Grid, program: Program, x: Array, at_edges: int = AT_EDGES, together: bool = False
) -> Grid:
    """Every cell in two, those where a trade meets or leaves a bound `at_edges` times."""
    edges = [_edges(*grid.leg(leg, program, x)[2:]) for leg in range(len(grid.orders))]
    nodes = []
    for leg, order in enumerate(grid.orders):
        starts, ends, *_ = grid.leg(leg, program, x)
        same = np.flatnonzero(grid.orders == order) if together else [leg]
        edge = np.any([edges[one] for one in same], axis=0)
        nodes.append(_split(starts[1:-1], ends[1:-1], np.where(edge, at_edges, ELSEWHERE)))
    return Grid.at(nodes, grid.orders, grid.parents)


def _edges(lower: Array, upper: Array, trades: Array) -> Mask:
    """Which cells are next to where some asset's trades meet or leave a bound."""
    held = (trades <= lower) | (trades >= upper)
    turns = (held[1:] != held[:-1]).any(axis=1)
    return np.asarray((np.append(turns, False) | np.append(False, turns))[1:-1])


def _split(starts: Array, ends: Array, times: Index) -> Array:
    """Nodes of cells cut into ``2^times`` equal ones each."""
    parts = [
        start + (end - start) * np.arange(2**k) / 2**k
        for start, end, k in zip(starts.tolist(), ends.tolist(), times.tolist(), strict=True)
    ]
    return np.concatenate((*parts, ends[-1:]))
