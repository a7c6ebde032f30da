"""Schedule orders in sequence: a problem file, or a desk's orders under a promoted matrix."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from crossimpact.errors import ProblemError
from crossimpact.model import Array
from crossimpact.policy.sequential import adapt, branch, cells, solve, value_of_adapting
from crossimpact.policy.sequential.certificate import continuous_residual
from crossimpact.policy.sequential.compare import compare, myopic, understatement, warning
from crossimpact.policy.sequential.contingent import Contingent, kkt_residual
from crossimpact.policy.sequential.law import Normal, Scenarios
from crossimpact.policy.sequential.plan import Plan
from crossimpact.policy.sequential.problem import Problem
from crossimpact.policy.sequential.recourse import two_stage
from pipelines.sequence.problem_file import Task, read

#: A schedule certified to this residual is called optimal.
CERTIFIED = 1e-8
#: Standard deviations at which a normal law's second order is written out.
SHOWN = (-2.0, -1.0, 0.0, 1.0, 2.0)


@dataclass(frozen=True)
class Answer:
    """What `crossimpact sequence` prints; `extra` holds what goes beyond the fixed fields.

    Attributes
    ----------
    cost
        The stated objective's value, an expectation when the second order is uncertain; of
        ``myopic`` the total of the separate costs, which is how a myopic desk measures itself.
    cost_ttsc, cost_tthc, cost_full
        The same schedule under the other metrics, spread included.
    benchmark_impact
        Price move when each inner boundary is struck, a number or one per asset.
    schedule
        Per order, asset and scenario (None: whatever the scenario): blocks and rates.
    status
        ``optimal``; ``approximate`` when the schedule still changed by more than `Accuracy.reached`
        allows when its mesh was last refined; ``uncertified`` when the solver did not finish.
    kkt_residual
        Distance from optimality in units of the largest volume's impact: of an exact schedule in
        continuous time, of any other among all schedules on its own pieces.
    continuous_residual
        The same among all schedules whatsoever, in continuous time: the largest difference in
        marginal cost that trading at other moments would still find. None of ``myopic`` orders and
        of those with discretion.
    accuracy_cost, accuracy_blocks
        What the last refinement of the mesh changed (`Accuracy`); of an exact schedule rounding.
    """

    cost: float
    cost_ttsc: float
    cost_tthc: float
    cost_full: float
    benchmark_impact: list[Any]
    schedule: list[dict[str, Any]]
    status: str
    kkt_residual: float
    continuous_residual: float | None
    accuracy_cost: float | None
    accuracy_blocks: float | None
    method: str
    extra: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        fixed = {name: value for name, value in vars(self).items() if name != "extra"}
        return fixed | self.extra


def run(
    path: Path, *, project: bool = False, comparison: bool = False, report: Path | None = None
) -> Answer:
    """Schedule a problem file.

    Parameters
    ----------
    project
        Replace an inadmissible K by the nearest admissible one instead of refusing it.
    comparison
        Add the table of the four schedules under both metrics.
    report
        Folder to write a page with figures into.
    """
    return answer(read(path, project=project), comparison=comparison, report=report)


def answer(
    task: Task,
    units: Array | None = None,
    *,
    comparison: bool = False,
    facts: dict[str, Any] | None = None,
    report: Path | None = None,
) -> Answer:
    """Solve a task; volumes are given back times `units`, price moves over them, shape (M,).

    `facts` go with the answer: where a desk's matrix came from (`sequence_orders.Desk`).
    """
    problem = task.problem
    units = np.ones(problem.assets) if units is None else units
    result = _solve(task)
    moves = (result.benchmark_impact / units).tolist()
    continuous, accuracy = _continuous(result), result.accuracy
    residual = result.residual if result.method != "closed" else continuous or 0.0
    extra = _extra(task, result, units, comparison) | (facts or {})
    if report is not None:
        extra["report"] = str(_page(task, result, units, extra, report))
    return Answer(
        cost=result.cost,
        cost_ttsc=result.ttsc,
        cost_tthc=result.tthc,
        cost_full=result.full + result.spread_cost,
        benchmark_impact=moves if task.vectors else [move for (move,) in moves],
        schedule=_schedule(task, result, units),
        status=_status(result, residual),
        kkt_residual=residual,
        continuous_residual=continuous,
        accuracy_cost=_known(accuracy.cost),
        accuracy_blocks=_known(accuracy.blocks),
        method=result.method,
        extra=extra,
    )


def _solve(task: Task) -> Plan | Contingent:
    if task.law is None:
        return myopic(task.problem) if task.objective == "myopic" else solve(task.problem)
    if task.objective == "myopic":
        raise ProblemError("objective myopic takes no uncertain order", "it would ignore it")
    if isinstance(task.law, Scenarios | Normal):
        return adapt(task.problem, task.law)
    return branch(task.law)


def _value_of_adapting(task: Task) -> float:
    """Of the stochastic solution: expected cost of planning for means less the optimum."""
    if isinstance(task.law, Scenarios | Normal):
        return value_of_adapting(task.problem, task.law)
    from crossimpact.policy.sequential import tree

    if task.law is None:
        return 0.0
    return max(0.0, tree.value_of_stochastic_solution(task.law, cells(task.law)))


def _continuous(found: Plan | Contingent) -> float | None:
    if found.method in ("myopic", "discretion"):
        return None
    return kkt_residual(found) if found.method == "closed" else continuous_residual(found)


def _status(found: Plan | Contingent, residual: float) -> str:
    if residual > CERTIFIED:
        return "uncertified"
    return "optimal" if found.accuracy.reached else "approximate"


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value


def _extra(task: Task, found: Plan | Contingent, units: Array, comparison: bool) -> dict[str, Any]:
    extra: dict[str, Any] = {}
    if task.problem.risk is not None:
        extra["risk_charge"] = found.risk_charge
    if np.any(task.problem.discretion) and isinstance(found, Plan):
        extra["discretion"] = _discretion(task, found, units)
    if isinstance(found, Contingent):
        extra["scenarios"] = [
            {"scenario": s, "p": p} | _volumes(task, plan.problem)
            for s, (p, plan) in enumerate(_shown(task, found))
        ]
        extra["value_of_stochastic_solution"] = _value_of_adapting(task)
    elif task.objective in ("myopic", "ttsc") and found.tthc > 0:
        extra["understatement"] = understatement(found)
    if task.law is None and task.objective == "ttsc" and task.problem.orders > 1:
        best = solve(replace(task.problem, benchmark=task.problem.parts))
        extra["warning"] = warning(found, best.tthc) if isinstance(found, Plan) else ""
    if comparison and task.law is None and task.problem.orders > 1:
        table = compare(task.problem)
        extra["warning"] = table.warning
        extra["comparison"] = [
            {"schedule": r.name, "ttsc": r.ttsc, "tthc": r.tthc, "full": r.full} for r in table.rows
        ]
    return extra


def _discretion(task: Task, found: Plan, units: Array) -> dict[str, Any]:
    """What it is worth, and what of each order was traded before its own period."""
    without = solve(replace(task.problem, discretion=0.0)) if found.method != "myopic" else found
    early = found.early * units
    return {
        "share": np.asarray(task.problem.discretion).tolist(),
        "value": max(0.0, without.cost - found.cost),
        "cost_without": without.cost,
        "moved": (early if task.vectors else early[:, 0]).tolist(),
    }


def _page(
    task: Task, found: Plan | Contingent, units: Array, extra: dict[str, Any], folder: Path
) -> Path:
    """The page of a task: schedules compared where nothing is uncertain and orders follow."""
    from pipelines.pages import sequence_page

    many = task.law is None and task.problem.orders > 1
    release = {
        name.capitalize(): extra[name]
        for name in ("release", "regime", "rung", "reason", "decay")
        if extra.get(name)
    } | _told(task, found, extra)
    return sequence_page.write(
        compare(task.problem) if many else found,
        folder,
        symbols=extra.get("symbols", ()),
        units=units,
        currency="USD" if extra.get("release") else "",
        vss=extra.get("value_of_stochastic_solution"),
        facts=release,
    )[0]


def _told(task: Task, found: Plan | Contingent, extra: dict[str, Any]) -> dict[str, str]:
    """What the page says of accuracy, risk and discretion."""
    told = {}
    if not np.isnan(found.accuracy.cost):
        told["Accuracy"] = (
            f"cost within {found.accuracy.cost:.1g}, blocks within {found.accuracy.blocks:.1g} of "
            "themselves when the cells were last refined"
        )
    if task.problem.risk is not None:
        told["Risk"] = f"{found.risk_charge:.6g} of the cost is the charge for risk"
    if worth := extra.get("discretion"):
        told["Discretion"] = (
            f"worth {worth['value']:.6g}: {worth['cost_without']:.6g} without it; moved forward "
            f"{worth['moved']}"
        )
    return told


def _shown(task: Task, found: Contingent) -> list[tuple[float | None, Plan]]:
    """The scenarios written out: all, but of a normal law in closed form a few volumes."""
    if not isinstance(task.law, Normal) or found.method != "closed":
        return list(zip(found.probabilities.tolist(), found.plans, strict=True))
    volumes = task.law.location + task.law.sd * np.array(SHOWN)
    even = Scenarios(np.full(len(volumes), 1 / len(volumes)), volumes)
    return [(None, plan) for plan in two_stage(task.problem, even, first=found.plans[0]).plans]


def _volumes(task: Task, problem: Problem) -> dict[str, Any]:
    """What a scenario's later orders turned out to be: one order's `volume`, or all `volumes`."""
    volumes = problem.volumes if task.vectors else problem.volumes[:, 0]
    later = volumes[1:].tolist()
    return {"volume": later[0]} if len(later) == 1 else {"volumes": later}


def _schedule(task: Task, found: Plan | Contingent, units: Array) -> list[dict[str, Any]]:
    """Rows per order; what is decided before scenarios part is listed once, the rest in each."""
    if isinstance(found, Plan):
        return [row for order in range(task.problem.orders) for row in _rows(found, order, units)]
    plans = [plan for _, plan in _shown(task, found)]
    rows = _rows(plans[0], 0, units)
    for scenario, plan in enumerate(plans):
        for order in range(1, task.problem.orders):
            rows += _rows(plan, order, units, scenario)
    return rows


def _rows(
    plan: Plan, order: int, units: Array, scenario: int | None = None
) -> list[dict[str, Any]]:
    return [
        {
            "order": order,
            "asset": asset,
            "scenario": scenario,
            "blocks": [[t, volume * unit] for t, volume in plan.blocks(order, asset)],
            "rates": [[t0, t1, rate * unit] for t0, t1, rate in plan.rates(order, asset)],
        }
        for asset, unit in enumerate(units.tolist())
    ]
