"""Orders in sequence: the schedule when one trade's impact is the next trade's price.

`solve` picks who answers: a formula where one holds, one scalar root for a pair of orders, else a
program on a grid. `myopic` and `compare` price the alternatives.
"""

from __future__ import annotations

import numpy as np

from crossimpact.policy.sequential.closed import same_way, two_orders, unconstrained
from crossimpact.policy.sequential.kernel import Exponential
from crossimpact.policy.sequential.plan import Contingent, Plan
from crossimpact.policy.sequential.problem import Problem
from crossimpact.policy.sequential.recourse import Normal, Scenarios, two_stage


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
    exponential = isinstance(problem.kernel, Exponential)
    if exact and exponential and not problem.limits.bind:
        plan = closed_form(problem)
        if plan is not None:
            return plan
    if exponential:
        from crossimpact.policy.sequential import grid

        return grid.solve(problem)
    from crossimpact.policy.sequential import kernel_qp

    return kernel_qp.solve(problem)


def closed_form(problem: Problem) -> Plan | None:
    """The exact schedule under exponential decay where one is known, caps aside."""
    free = problem.monotone or not np.any(problem.limits.spread)
    plan = unconstrained(problem) if free else None
    if plan is not None and (not problem.monotone or same_way(plan)):
        return plan
    if problem.monotone and problem.orders == 2 and problem.kernel.diagonal:
        return two_orders(problem)
    return None


def adapt(problem: Problem, law: Scenarios | Normal) -> Contingent:
    """The optimal first order when the second is known by its law, and the second in each case.

    Raises
    ------
    ProblemError
        When the law does not fit the problem, or neither a closed form nor a tree answers it.
    """
    return two_stage(problem, law)
