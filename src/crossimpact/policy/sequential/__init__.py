"""Orders in sequence: the schedule when one trade's impact is the next trade's price.

`solve` picks who answers: a formula where one holds, one scalar root for a pair of orders, else a
program on a grid. `myopic` and `compare` price the alternatives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from crossimpact.errors import ProblemError
from crossimpact.policy.sequential.closed import same_way, two_orders, unconstrained
from crossimpact.policy.sequential.contingent import Contingent
from crossimpact.policy.sequential.kernel import Exponential
from crossimpact.policy.sequential.law import Normal, Scenarios
from crossimpact.policy.sequential.plan import Plan
from crossimpact.policy.sequential.problem import Problem
from crossimpact.policy.sequential.recourse import (
    exact_recourse,
    two_stage,
    value_of_stochastic_solution,
)

if TYPE_CHECKING:
    from crossimpact.policy.sequential.tree import Tree

#: Rounds of placing the grid's nodes where assets start and stop, for up to so many assets (times
#: scenarios): enough to reach rounding; with more the grid would grow by all their edges.
ROUNDS, FEW = 6, 10
#: Cells per order of a problem of few assets.
FINE = 96


def solve(problem: Problem, *, exact: bool = True) -> Plan:
    """The optimal schedule of orders in sequence.

    Parameters
    ----------
    problem
        See `crossimpact.policy.sequential.problem` for the named objectives.
    exact
        False asks the numerical solvers even where a closed form holds.

    Returns
    -------
    Plan
        `plan.method` says who answered, `plan.residual` how far from optimal it may be.

    Raises
    ------
    ProblemError
        When the limits leave no schedule, or do not fit the kernel.
    """
    if exact and isinstance(problem.kernel, Exponential) and _free(problem):
        plan = closed_form(problem)
        if plan is not None:
            return plan
    if np.any(problem.discretion):
        from crossimpact.policy.sequential import discretion

        return discretion.solve(problem)
    from crossimpact.policy.sequential import grid

    if grid.in_state_form(problem):
        if problem.assets <= FEW:
            return grid.solve(problem, FINE, sharpen=ROUNDS)
        return grid.solve(problem, largest=grid.ENOUGH)
    from crossimpact.policy.sequential import kernel_qp

    return kernel_qp.solve(problem)


def _free(problem: Problem) -> bool:
    """Whether nothing but signs restricts the schedule, and impact is all it costs."""
    extra = problem.risk is not None or np.any(problem.discretion)
    return not problem.limits.bind and not extra


def closed_form(problem: Problem) -> Plan | None:
    """The exact schedule under exponential decay where one is known, caps aside."""
    if problem.monotone and problem.orders == 2 and problem.kernel.diagonal:
        return two_orders(problem)
    if not problem.monotone and np.any(problem.limits.spread):
        return None
    plan = unconstrained(problem)
    return plan if not problem.monotone or same_way(plan) else None


def adapt(problem: Problem, law: Scenarios | Normal) -> Contingent:
    """The optimal first order when the second is known by its law, and the second in each case.

    Exact where impact decays exponentially, no cap binds, and assets either do not move each other
    or never meet a sign; else, under `ttsc` or `tthc`, a program on a tree (a normal law drawn as
    `Normal.scenarios`).

    Raises
    ------
    ProblemError
        When the law does not fit the problem, or nobody can answer it.
    """
    if exact_recourse(problem, law):
        return two_stage(problem, law)
    return branch(fork(problem, law))


def value_of_adapting(problem: Problem, law: Scenarios | Normal) -> float:
    """Expected cost of planning the first order for the mean less the optimum, >= 0."""
    if exact_recourse(problem, law):
        return max(0.0, value_of_stochastic_solution(problem, law))
    from crossimpact.policy.sequential import tree

    forked = fork(problem, law)
    return max(0.0, tree.value_of_stochastic_solution(forked, cells(forked)))


def cells(tree: Tree) -> int | None:
    """Equal cells per order where those do, else graded ones."""
    from crossimpact.policy.sequential import grid

    return grid.STEPS if grid.in_state_form(tree) else None


def branch(tree: Tree) -> Contingent:
    """The optimal schedule of a scenario tree, on as fine a grid as its size allows."""
    from crossimpact.policy.sequential import tree as trees
    from crossimpact.policy.sequential.grid import in_state_form

    if in_state_form(tree) and tree.volumes.size <= 2 * FEW:
        return trees.solve(tree, FINE, sharpen=ROUNDS)
    return trees.solve(tree, None)


def fork(problem: Problem, law: Scenarios | Normal) -> Tree:
    """A tree with one fork, at the second order's start."""
    from crossimpact.policy.sequential.tree import Tree

    law = law.scenarios() if isinstance(law, Normal) else law
    struck = {"tthc": np.zeros_like(problem.c), "ttsc": law.mean[None, :]}
    for objective, c in struck.items():
        if problem.orders == 2 and np.allclose(problem.c, c, rtol=1e-9, atol=0):
            nodes = len(law.probabilities)
            return Tree(
                times=problem.times,
                parents=np.array([-1] + [0] * nodes),
                probabilities=np.concatenate(([1.0], law.probabilities)),
                volumes=np.vstack((problem.volumes[:1], law.volumes)),
                kernel=problem.kernel,
                objective=objective,  # type: ignore[arg-type]
                monotone=problem.monotone,
                limits=problem.limits,
                risk=problem.risk,
            )
    raise ProblemError(
        "an uncertain second order has no exact answer here (exponential decay, no caps, assets "
        "that do not move each other), and any other is for ttsc and tthc only",
        "drop the benchmark",
    )
