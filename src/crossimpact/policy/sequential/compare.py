"""The same orders scheduled four ways, each priced under both metrics.

A schedule that minimises the total of the separate costs (`ttsc`) back-loads the first order: its
last trades lift the price the second one is held against, which that metric books as a gain. The
comparison says what such a schedule costs by the `tthc` metric, which pays for the lift.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from crossimpact.model import Array
from crossimpact.policy.sequential import solve
from crossimpact.policy.sequential.plan import Accuracy, Plan
from crossimpact.policy.sequential.problem import Problem, at_arrival, at_start

#: Understatements below this share of the true cost raise no warning.
NOTABLE = 0.05


@dataclass(frozen=True)
class Row:
    """A schedule's cost under both metrics, in the problem's units.

    Attributes
    ----------
    name
        ``myopic``, ``ttsc``, ``tthc`` or ``deterministic``.
    ttsc, tthc, full
        As of `Plan`.
    excess
        `tthc` over the least one, less 1; NaN when that is not positive.
    back_loading
        Volume-weighted mean time of the orders' trades within their horizons, 0 (all at the start)
        to 1 (all at the end); an order by itself trades at 0.5.
    """

    name: str
    ttsc: float
    tthc: float
    full: float
    excess: float
    back_loading: Array


@dataclass(frozen=True)
class Comparison:
    """The table, the plans behind it, and the warning (empty when there is nothing to warn of)."""

    rows: tuple[Row, ...]
    plans: Mapping[str, Plan]
    understatement: float
    warning: str


def myopic(problem: Problem) -> Plan:
    """Every order scheduled as if it were alone, as most desks do."""
    plans = [solve(_alone(problem, order)) for order in range(problem.orders)]
    return Plan(
        problem,
        np.concatenate([plan.orders + order for order, plan in enumerate(plans)]),
        np.concatenate([plan.starts for plan in plans]),
        np.concatenate([plan.ends for plan in plans]),
        np.concatenate([plan.volumes for plan in plans]),
        max(plan.residual for plan in plans),
        "myopic",
        Accuracy(
            max(plan.accuracy.cost for plan in plans), max(plan.accuracy.blocks for plan in plans)
        ),
    )


def compare(problem: Problem) -> Comparison:
    """Schedule the orders four ways and price each under both metrics.

    ``myopic`` orders do not know each other; ``ttsc`` minimises the separate costs; ``tthc`` the
    hybrid cost of `problem.parts`; ``deterministic`` treats everything as known at the start (the
    same as ``tthc`` when it is).
    """
    volumes = problem.volumes
    benchmarks = {
        "ttsc": at_arrival(volumes),
        "tthc": problem.parts,
        "deterministic": at_start(volumes),
    }
    plans = {"myopic": myopic(problem)}
    for name, benchmark in benchmarks.items():
        plans[name] = solve(replace(problem, benchmark=benchmark))
    least = plans["tthc"].tthc
    rows = tuple(
        Row(
            name,
            plan.ttsc,
            plan.tthc,
            plan.full,
            plan.tthc / least - 1 if least > 0 else float("nan"),
            back_loading(plan),
        )
        for name, plan in plans.items()
    )
    share = understatement(plans["ttsc"])
    return Comparison(rows, plans, share, warning(plans["ttsc"], least))


def understatement(plan: Plan) -> float:
    """How much the separate-cost metric understates a plan's hybrid cost, a share of the latter."""
    return 1 - plan.ttsc / plan.tthc if plan.tthc > 0 else float("nan")


def warning(plan: Plan, least: float) -> str:
    """What to tell a desk that optimises separate costs; empty when it is not worth telling.

    `least` is the least hybrid cost.
    """
    gap = plan.tthc - plan.ttsc
    if not gap > NOTABLE * abs(plan.tthc):
        return ""
    loads = back_loading(plan)[:-1]
    order, asset = np.unravel_index(int(np.argmax(loads)), loads.shape)
    return (
        f"separate costs show {plan.ttsc:.6g} where the schedule costs {plan.tthc:.6g} "
        f"({gap / abs(plan.tthc):.0%} understated); the best schedule costs {least:.6g}. "
        f"Order {order} of asset {asset} is back-loaded: its mean trade is at "
        f"{loads[order, asset]:.0%} of its horizon, 50% by itself"
    )


def back_loading(plan: Plan) -> Array:
    """Volume-weighted mean trading time of each order within its horizon, 0 to 1, shape (N, M)."""
    times, size = plan.problem.times, np.abs(plan.volumes)
    begin, end = times[plan.orders], times[plan.orders + 1]
    place = ((plan.starts + plan.ends) / 2 - begin) / (end - begin)
    moment, total = (np.zeros(plan.problem.volumes.shape) for _ in range(2))
    np.add.at(moment, plan.orders, size * place[:, None])
    np.add.at(total, plan.orders, size)
    return np.divide(moment, total, out=np.full_like(moment, 0.5), where=total > 0)


def _own_dates(problem: Problem, order: int) -> Array | None:
    return None if problem.limits.dates is None else problem.dates(order)


def _alone(problem: Problem, order: int) -> Problem:
    """One order of the problem by itself, under the same limits."""
    volumes, rate = problem.volumes[order : order + 1], problem.limits.max_rate
    own = None if rate is None else np.asarray(rate)[order : order + 1]
    return replace(
        problem,
        times=problem.times[order : order + 2],
        volumes=volumes,
        benchmark=at_start(volumes),
        parts=at_start(volumes),
        limits=replace(problem.limits, max_rate=own, dates=_own_dates(problem, order)),
        discretion=0.0,
    )
