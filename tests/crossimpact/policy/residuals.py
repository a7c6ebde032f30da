"""Is a schedule the best one on its own pieces, by the program's optimality conditions?"""

from __future__ import annotations

import numpy as np

from crossimpact.model import Array
from crossimpact.policy.sequential.certificate import worst
from crossimpact.policy.sequential.contingent import Contingent
from crossimpact.policy.sequential.plan import Plan


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
    return worst(schedule, floors, lambda plan, order: marginal(plan)[plan.orders == order])


def marginal(plan: Plan) -> Array:
    """Marginal cost of trading more in each piece, spread aside, shape (n, M)."""
    slopes = np.empty_like(plan.volumes)
    for order in range(plan.problem.orders):
        own, inner = plan.orders == order, plan.problem.times[order + 1 : -1]
        pieces = plan.starts[own], plan.ends[own]
        slopes[own] = plan.slopes(pieces, (inner, inner), plan.problem.c[order:])
    return slopes
