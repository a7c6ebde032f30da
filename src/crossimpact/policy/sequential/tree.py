"""Orders in sequence when later volumes are uncertain: a scenario tree solved as one program.

A node of the tree is one order at one history: its volume is revealed when it starts, and its
schedule may depend on nothing later. All nodes are solved together, the branches sharing
the impact their common past left (a chain of `grid`, or of `kernel_qp`, with forks in it):
multi-stage recourse with any number of orders and assets, directions included.

What is predicted of an order at ``T_k`` beyond what was predicted at ``T_{k-1}`` is a part struck
at ``T_k``. Such revisions have mean zero given what was known before, so that their benchmark terms
vanish in expectation: under `tthc` the program minimises the expected full cost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from crossimpact.errors import ProblemError
from crossimpact.model import Array
from crossimpact.policy.sequential import active_set, kernel_qp, problem
from crossimpact.policy.sequential import grid as grid_form
from crossimpact.policy.sequential.bounds import units
from crossimpact.policy.sequential.contingent import Contingent
from crossimpact.policy.sequential.grid import STEPS, Pose, in_state_form, refine
from crossimpact.policy.sequential.kernel import Kernel
from crossimpact.policy.sequential.kernel_qp import Stakes
from crossimpact.policy.sequential.law import TOLERANCE
from crossimpact.policy.sequential.limits import Limits
from crossimpact.policy.sequential.mesh import coarsest
from crossimpact.policy.sequential.plan import Accuracy, Plan
from crossimpact.policy.sequential.problem import Problem
from crossimpact.policy.sequential.program import Index
from crossimpact.policy.sequential.risk import Risk
from crossimpact.policy.sequential.state_form import Grid


@dataclass(frozen=True, eq=False)
class Tree:
    """A scenario tree of N orders of M assets.

    Parameters
    ----------
    times
        Boundaries, shape (N+1,).
    parents
        Index of each node's parent, -1 for the one root, parents before children; shape (L,).
        All leaves are orders N-1.
    probabilities
        Of each node given its parent, > 0, siblings summing to 1; shape (L,).
    volumes
        Signed volume of each node's order, shape (L,) or (L, M).
    kernel
        Any; an `Exponential` one of many nodes is solved much faster.
    objective
        ``tthc``, or ``ttsc`` to hold every order against its own arrival price.
    monotone, limits, risk
        As of `Problem`.

    Raises
    ------
    ProblemError
        On a tree that is none, probabilities that are not positive or miss 1, and on all that
        `Problem` refuses.
    """

    times: Array
    parents: Index
    probabilities: Array
    volumes: Array
    kernel: Kernel
    objective: Literal["tthc", "ttsc"] = "tthc"
    monotone: bool = True
    limits: Limits = field(default_factory=Limits)
    risk: Risk | None = None

    def __post_init__(self) -> None:
        volumes = np.array(self.volumes, dtype=np.float64)
        object.__setattr__(self, "times", np.array(self.times, dtype=np.float64))
        object.__setattr__(self, "parents", np.array(self.parents, dtype=np.int64))
        object.__setattr__(self, "probabilities", np.array(self.probabilities, dtype=np.float64))
        object.__setattr__(self, "volumes", volumes[:, None] if volumes.ndim == 1 else volumes)
        self._check()

    def _check(self) -> None:
        nodes, parents, given = len(self.parents), self.parents, self.probabilities
        if not len(self.volumes) == len(given) == nodes or not nodes:
            raise ProblemError(
                f"{nodes} parents, {len(given)} probabilities and {len(self.volumes)} volumes",
                "give one of each per node",
            )
        early = (parents[1:] < 0) | (parents[1:] >= np.arange(1, nodes))
        if parents[0] != -1 or early.any():
            node = int(np.argmax(early)) + 1 if parents[0] == -1 else 0
            raise ProblemError(
                f"node {node} has parent {parents[node]}",
                "the first node is the root, with parent -1; all others come after theirs",
            )
        if not (np.isfinite(given).all() and given.min() > 0):
            node = int(np.argmin(np.where(np.isfinite(given), given, -np.inf)))
            raise ProblemError(f"node {node} has probability {given[node]:g}, must be > 0")
        total = np.bincount(parents[1:], given[1:], nodes)
        off = np.abs(total - 1) * (np.bincount(parents[1:], minlength=nodes) > 0)
        if off.max() > TOLERANCE or abs(given[0] - 1) > TOLERANCE:
            node = int(np.argmax(off))
            raise ProblemError(
                f"the children of node {node} have probabilities that sum to {total[node]:.12g}, "
                f"the root {given[0]:.12g}, both must be 1 within {TOLERANCE:g}"
            )
        for leaf in self.leaves:
            if self.orders[leaf] != len(self.times) - 2:
                raise ProblemError(
                    f"leaf {leaf} is order {self.orders[leaf]}, must be {len(self.times) - 2}",
                    "every scenario has all orders; a volume may be 0",
                )

    @cached_property
    def orders(self) -> Index:
        """Each node's order, (L,)."""
        depth = np.zeros(len(self.parents), dtype=np.int64)
        for node, parent in enumerate(self.parents[1:], start=1):
            depth[node] = depth[parent] + 1
        return depth

    @cached_property
    def leaves(self) -> Index:
        return np.setdiff1d(np.arange(len(self.parents)), self.parents)

    @cached_property
    def weights(self) -> Array:
        """Probability of reaching each node, (L,)."""
        weights = np.ones(len(self.parents))
        for node, parent in enumerate(self.parents[1:], start=1):
            weights[node] = weights[parent] * self.probabilities[node]
        return weights

    @cached_property
    def expected(self) -> Array:
        """Volumes of all orders as predicted at each node (known ones included), (L, N, M)."""
        nodes, assets = self.volumes.shape
        means = np.zeros((nodes, len(self.times) - 1, assets))
        for node in range(nodes - 1, -1, -1):
            order, parent = self.orders[node], self.parents[node]
            means[node, order] = self.volumes[node]
            if parent >= 0:
                means[parent, order:] += self.probabilities[node] * means[node, order:]
        for node, parent in enumerate(self.parents[1:], start=1):
            means[node, : self.orders[node]] = means[parent, : self.orders[node]]
        return means

    def path(self, node: int) -> list[int]:
        """Nodes from the root to `node`."""
        path = [int(node)]
        while self.parents[path[0]] >= 0:
            path.insert(0, int(self.parents[path[0]]))
        return path

    def scenario(self, leaf: int) -> Problem:
        """The problem of one scenario, its parts struck when they became known."""
        seen = self.expected[self.path(leaf)]  # (k, j, M): of order j, known at T_k
        parts = np.diff(seen, axis=0, prepend=0).swapaxes(0, 1)
        struck = problem.at_arrival(seen[-1]) if self.objective == "ttsc" else parts
        given = self.times, seen[-1], self.kernel, struck, parts
        return Problem(*given, self.monotone, self.limits, self.risk)

    @cached_property
    def scenarios(self) -> list[Problem]:
        """The problem of each leaf."""
        return [self.scenario(leaf) for leaf in self.leaves]

    @property
    def widest(self) -> Problem:
        """The scenario of the largest volume, which sets the scale."""
        return max(self.scenarios, key=lambda one: units(one)[0])

    @property
    def unit(self) -> float:
        """Volume that programs are scaled by."""
        return units(self.widest)[0]

    @cached_property
    def parts(self) -> Array:
        """What is struck when each node's order starts, (L, M)."""
        if self.objective == "ttsc":
            return self.volumes
        known = self.expected.sum(axis=1)
        return np.asarray(known - np.where(self.parents[:, None] < 0, 0.0, known[self.parents]))

    def credit(self, node: int) -> Array:
        """Volume expected to be struck when the node's order ends, (M,); none under `tthc`."""
        last = self.orders[node] == len(self.times) - 2
        if last or self.objective == "tthc":
            return np.zeros(self.volumes.shape[1])
        return np.asarray(self.expected[node, self.orders[node] + 1])


def solve(tree: Tree, steps: int | None = STEPS, *, sharpen: int = 0) -> Contingent:
    """The best schedule of every node, on `steps` cells per order, certified to 1e-8.

    `sharpen` is as in `grid.solve`, for an exponential kernel only. Without `steps` grids are
    refined until cost and blocks settle.

    Raises
    ------
    ProblemError
        When `steps` < 1, or pieces times assets are too many for `kernel_qp`.
    ScheduleError
        When the optimum could not be certified.
    """
    pose, legs = _pose(tree, steps), (tree.times, tree.orders, tree.parents)
    if in_state_form(tree):
        cells = steps or STEPS
        most = 0 if sharpen else grid_form.ENOUGH
        result, grid, accuracy = refine(
            lambda cells: Grid.of(*legs, cells), pose, cells, sharpen, most if steps is None else 0
        )
    else:
        result, grid, accuracy = kernel_qp.refined(tree.widest, legs, pose, steps)
    trades = np.split(result.x * tree.unit, grid.first[1:-1])
    return _contingent(tree, grid, trades, result.residual, accuracy)


def follow_means(tree: Tree, steps: int | None = STEPS) -> Contingent:
    """What a desk does that plans every order for the mean of those to come, and plans anew when
    the next volume is revealed; without `steps` on graded cells."""
    grid = _grid(tree, steps)
    settled: list[Array] = []
    worst = 0.0
    for node in range(len(tree.parents)):
        path = tree.path(node)[:-1]
        trades, residual = _planned(tree, node, [settled[one] for one in path], grid, steps)
        settled.append(trades)
        worst = max(worst, residual)
    return _contingent(tree, grid, settled, worst, Accuracy())


def value_of_stochastic_solution(tree: Tree, steps: int | None = STEPS) -> float:
    """Expected cost of following the means less that of the optimum, >= 0 (Birge 1982).

    Both on the same cells, so that what a mesh costs is in neither.
    """
    grid = _grid(tree, steps)
    result = active_set.solve(*_pose(tree, steps)(grid))
    trades = np.split(result.x * tree.unit, grid.first[1:-1])
    best = _contingent(tree, grid, trades, result.residual, Accuracy())
    return follow_means(tree, steps).cost - best.cost


def _planned(
    tree: Tree, node: int, done: list[Array], cells: Grid, steps: int | None
) -> tuple[Array, float]:
    """The node's trades, its past settled and its future at its mean."""
    means, order = tree.expected[node], int(tree.orders[node])
    build: Callable[..., Problem] = getattr(problem, tree.objective)
    mean = build(tree.times, means, tree.kernel, monotone=tree.monotone, limits=tree.limits)
    mean = replace(mean, risk=tree.risk)
    grid = cells.chain([int(np.argmax(tree.orders == j)) for j in range(mean.orders)])
    system, program = _posed(mean, Stakes.of(mean), steps)(grid)
    for leg, trades in enumerate(done):
        rows = slice(grid.first[leg], grid.first[leg + 1])
        program.lower[rows] = program.upper[rows] = trades / units(mean)[0]
    result = active_set.solve(system, program)
    rows = slice(grid.first[order], grid.first[order + 1])
    return result.x[rows] * units(mean)[0], result.residual


def _grid(tree: Tree, steps: int | None) -> Grid:
    legs = tree.times, tree.orders, tree.parents
    if tree.limits.dates is not None:
        dates = [tree.widest.dates(int(j)) for j in tree.orders]
        return Grid.points(dates, tree.orders, tree.parents)
    return coarsest(tree.kernel, legs, kernel_qp.ENOUGH) if steps is None else Grid.of(*legs, steps)


def _pose(tree: Tree, steps: int | None) -> Pose:
    credit = np.array([tree.credit(node) for node in range(len(tree.parents))])
    weighted = credit * tree.weights[:, None]
    return _posed(tree.widest, Stakes(tree.volumes, weighted, tree.parts, tree.weights), steps)


def _posed(problem: Problem, stakes: Stakes, steps: int | None) -> Pose:
    """Who poses the program: the state form where it can."""
    if in_state_form(problem):
        given = stakes.volumes, stakes.credit, stakes.weights
        return lambda grid: grid_form.pose(problem, grid, *given)
    least = kernel_qp.floors(problem, steps)
    return lambda grid: kernel_qp.pose(problem, grid, stakes, least)


def _contingent(
    tree: Tree,
    grid: Grid,
    trades: list[Array],
    residual: float,
    accuracy: Accuracy,
) -> Contingent:
    plans = []
    orders, starts, ends = grid.pieces
    for leaf, scenario in zip(tree.leaves, tree.scenarios, strict=True):
        rows = np.concatenate(
            [np.arange(grid.first[one], grid.first[one + 1]) for one in tree.path(leaf)]
        )
        volumes = np.concatenate([trades[one] for one in tree.path(leaf)])
        plans.append(
            Plan(
                scenario,
                orders[rows],
                starts[rows],
                ends[rows],
                volumes,
                residual,
                "tree",
                accuracy,
            )
        )
    nodes: NDArray[np.intp] = np.array([tree.path(leaf) for leaf in tree.leaves], dtype=np.intp)
    return Contingent(tree.weights[tree.leaves], tuple(plans), nodes, residual, "tree", accuracy)
