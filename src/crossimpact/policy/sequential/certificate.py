"""Is a schedule the best one on its own pieces? A certificate that asks no solver.

Marginal costs come from the kernel's averages over pairs of pieces, not from any state form or
recursion, and the multipliers are found anew. `plan.kkt_residual` judges in continuous time, where
a grid is off by its step; this one judges the program that was solved, limits and spread included.
"""

from __future__ import annotations

import numpy as np

from crossimpact.model import Array
from crossimpact.policy.sequential.bounds import bounds, units
from crossimpact.policy.sequential.plan import Contingent, Plan
from crossimpact.policy.sequential.program import residual


def grid_residual(schedule: Plan | Contingent, floors: Array | None = None) -> float:
    """KKT residual of the schedule among all schedules on the same pieces.

    Parameters
    ----------
    schedule
        With every piece of its grid, those not traded included.
    floors
        Least rates per unit of volume under ``full_span``, shape (N,).

    Returns
    -------
    float
        Largest violation of the optimality conditions of `program.residual`, volumes in units of
        the largest one and marginal costs in units of its price move. A solution has < 1e-8.
    """
    if isinstance(schedule, Plan):
        nodes = np.arange(schedule.problem.orders)[None, :]
        schedule = Contingent(np.ones(1), (schedule,), nodes)
    problem = schedule.plans[0].problem
    floors = np.zeros(problem.orders) if floors is None else floors
    volume = max(units(plan.problem)[0] for plan in schedule.plans)
    impact = units(problem)[1]
    order_of = {int(node): j for row in schedule.nodes for j, node in enumerate(row)}
    worst = 0.0
    for node, order in order_of.items():
        shared = np.flatnonzero(schedule.nodes[:, order] == node)
        weights = schedule.probabilities[shared] / schedule.probabilities[shared].sum()
        plans = [schedule.plans[s] for s in shared]
        own = plans[0].orders == order
        pieces = plans[0].orders[own], plans[0].starts[own], plans[0].ends[own]
        slopes = sum(
            w * marginal(plan)[plan.orders == order] for w, plan in zip(weights, plans, strict=True)
        )
        legs, volumes = np.zeros(own.sum(), dtype=np.intp), plans[0].problem.volumes[order][None, :]
        program = bounds(problem, pieces, legs, volumes, floors).scaled(volume, impact)
        trades = plans[0].volumes[own] / volume
        first = np.array([0, len(trades)])
        worst = max(worst, residual(program, first, trades, slopes / (volume * impact)))
    return worst


def marginal(plan: Plan) -> Array:
    """Marginal cost of trading more in each piece, spread aside, shape (n, M)."""
    kernel, pieces = plan.problem.kernel, (plan.starts, plan.ends)
    inner = plan.problem.times[1:-1]
    reach = kernel.coupling(pieces, (inner, inner))
    before = plan.orders[:, None] < np.arange(1, plan.problem.orders)[None, :]
    felt = kernel.coupling(pieces, pieces) @ plan.volumes
    return np.asarray((felt - (reach * before) @ plan.problem.c) @ kernel.K)
