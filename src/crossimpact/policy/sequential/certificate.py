"""Is a schedule the best one? Certificates that ask no solver.

Marginal costs come from the kernel, not from any state form or recursion, and the multipliers are
found anew; limits and spread are included. `continuous_residual` judges a schedule among all others
whatsoever, by the marginal cost at several moments within each piece: a grid that is too coarse is
off there.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from crossimpact.model import Array
from crossimpact.policy.sequential.bounds import bounds, units
from crossimpact.policy.sequential.contingent import Contingent
from crossimpact.policy.sequential.plan import Plan
from crossimpact.policy.sequential.program import Program, residual

#: Where within a piece `continuous_residual` looks, shares of its length.
MOMENTS = (0.0, 0.25, 0.5, 0.75, 1.0)


def continuous_residual(schedule: Plan | Contingent, floors: Array | None = None) -> float:
    """KKT residual of the schedule in continuous time, volumes in units of the largest one
    and marginal costs in units of its price move.

    Rounding for an exact schedule; on a mesh it falls with the square of the cells, slower where
    blocks or rates are forbidden.
    """
    return worst(schedule, floors, _moments)


def _moments(plan: Plan, order: int) -> Array:
    """Marginal costs of an order at each of `MOMENTS` within its pieces, (5 S, M)."""
    own = plan.orders == order
    starts, ends = plan.starts[own], plan.ends[own]
    times = np.concatenate([starts + share * (ends - starts) for share in MOMENTS])
    return plan.gradient(order, times)


def worst(
    schedule: Plan | Contingent,
    floors: Array | None,
    slopes_of: Callable[[Plan, int], Array],
) -> float:
    """Largest residual over all who decide; their marginal costs are means over their scenarios."""
    if isinstance(schedule, Plan):
        nodes = np.arange(schedule.problem.orders)[None, :]
        schedule = Contingent(np.ones(1), (schedule,), nodes)
    problem = schedule.plans[0].problem
    floors = np.zeros(problem.orders) if floors is None else floors
    volume = max(units(plan.problem)[0] for plan in schedule.plans)
    impact = units(problem)[1] * float(problem.kernel.shape(np.zeros(1))[0])
    worst = 0.0
    for order in range(problem.orders):
        for node in np.unique(schedule.nodes[:, order]):
            shared = np.flatnonzero(schedule.nodes[:, order] == node)
            weights = schedule.probabilities[shared] / schedule.probabilities[shared].sum()
            each = [slopes_of(schedule.plans[s], order) for s in shared]
            slopes = np.tensordot(weights, np.array(each), axes=1) / (volume * impact)
            plan = schedule.plans[shared[0]]
            worst = max(worst, _missed(plan, order, slopes, floors, (volume, impact)))
    return worst


def _missed(
    plan: Plan, order: int, slopes: Array, floors: Array, scale: tuple[float, float]
) -> float:
    """Residual of one order's S trades at slopes (K S, M), every trade judged at K moments."""
    own = plan.orders == order
    times = len(slopes) // int(own.sum())
    pieces = plan.orders[own], plan.starts[own], plan.ends[own]
    legs, volumes = np.zeros(own.sum(), dtype=np.intp), plan.problem.volumes[order][None, :]
    once = bounds(plan.problem, pieces, legs, volumes, floors).scaled(*scale)
    lower, upper, spread = (np.tile(x, (times, 1)) for x in (once.lower, once.upper, once.spread))
    trades = np.tile(plan.volumes[own] / scale[0], (times, 1))
    judged = Program(lower, upper, spread, times * once.volumes)
    return residual(judged, np.array([0, len(trades)]), trades, slopes)
