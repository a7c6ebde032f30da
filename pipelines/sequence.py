"""Schedule orders in sequence: a problem file, or a desk's orders under a promoted matrix."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from crossimpact.errors import ProblemError
from crossimpact.model import Array
from crossimpact.policy.sequential import adapt, solve, value_of_adapting
from crossimpact.policy.sequential.compare import compare, myopic, understatement
from crossimpact.policy.sequential.plan import Contingent, Plan, kkt_residual
from crossimpact.policy.sequential.recourse import Normal, Scenarios, two_stage
from pipelines.config import Settings
from pipelines.sequence_problem import Objective, Task, read

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
    kkt_residual
        Distance from optimality in units of the largest volume's impact.
    """

    cost: float
    cost_ttsc: float
    cost_tthc: float
    cost_full: float
    benchmark_impact: list[Any]
    schedule: list[dict[str, Any]]
    status: str
    kkt_residual: float
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


def run_orders(
    settings: Settings,
    path: Path,
    which: str,
    regime: str,
    rho: float,
    *,
    times: list[float] | None = None,
    objective: Objective = "tthc",
    spread: bool = False,
    project: bool = False,
    comparison: bool = False,
    report: Path | None = None,
) -> Answer:
    """Schedule a desk's orders under a release's matrix; see `sequence_orders`."""
    from pipelines import sequence_orders  # the registry: half a second a problem file need not wait

    desk = sequence_orders.load(
        settings, path, which, regime, rho,
        times=times, objective=objective, spread=spread, project=project,
    )  # fmt: skip
    return answer(desk.task, desk.units, comparison=comparison, facts=desk.facts, report=report)


def answer(
    task: Task,
    units: Array | None = None,
    *,
    comparison: bool = False,
    facts: dict[str, Any] | None = None,
    report: Path | None = None,
) -> Answer:
    """Solve a task; volumes are given back times `units`, price moves over them, shape (M,)."""
    problem = task.problem
    units = np.ones(problem.assets) if units is None else units
    found = _solve(task)
    moves = (found.benchmark_impact / units).tolist()
    residual = _residual(task, found)
    extra = _extra(task, found, comparison) | (facts or {})
    if report is not None:
        extra["report"] = str(_page(task, found, units, extra, report))
    return Answer(
        cost=found.cost,
        cost_ttsc=found.ttsc,
        cost_tthc=found.tthc,
        cost_full=found.full + found.spread_cost,
        benchmark_impact=moves if task.vectors else [move for (move,) in moves],
        schedule=_schedule(task, found, units),
        status="optimal" if residual <= CERTIFIED else "uncertified",
        kkt_residual=residual,
        method=found.method,
        extra=extra,
    )


def _solve(task: Task) -> Plan | Contingent:
    if task.law is not None:
        if task.objective == "myopic":
            raise ProblemError("objective myopic takes no uncertain order", "it would ignore it")
        return adapt(task.problem, task.law)
    return myopic(task.problem) if task.objective == "myopic" else solve(task.problem)


def _residual(task: Task, found: Plan | Contingent) -> float:
    """In continuous time for the exact schedules, else the solver's on its grid."""
    return kkt_residual(found) if found.method == "closed" else found.residual


def _extra(task: Task, found: Plan | Contingent, comparison: bool) -> dict[str, Any]:
    extra: dict[str, Any] = {}
    if task.law is not None:
        volumes, probabilities = _shown(task.law)
        extra["scenarios"] = [
            {"scenario": s, "p": p, "volume": volume if task.vectors else volume[0]}
            for s, (p, volume) in enumerate(zip(probabilities, volumes.tolist(), strict=True))
        ]
        extra["value_of_stochastic_solution"] = value_of_adapting(task.problem, task.law)
    elif task.objective in ("myopic", "ttsc") and found.tthc > 0:
        extra["understatement"] = understatement(found)
    if comparison and task.law is None and task.problem.orders > 1:
        table = compare(task.problem)
        extra["warning"] = table.warning
        extra["comparison"] = [
            {"schedule": r.name, "ttsc": r.ttsc, "tthc": r.tthc, "full": r.full} for r in table.rows
        ]
    return extra


def _page(
    task: Task, found: Plan | Contingent, units: Array, extra: dict[str, Any], folder: Path
) -> Path:
    """The page of a task: schedules compared where nothing is uncertain and orders follow."""
    from pipelines import sequence_page

    many = task.law is None and task.problem.orders > 1
    release = {
        name.capitalize(): extra[name]
        for name in ("release", "regime", "rung", "reason")
        if extra.get(name)
    }
    return sequence_page.write(
        compare(task.problem) if many else found,
        folder,
        symbols=extra.get("symbols", ()),
        units=units,
        currency="USD" if release else "",
        vss=extra.get("value_of_stochastic_solution"),
        facts=release,
    )[0]


def _shown(law: Scenarios | Normal) -> tuple[Array, list[float | None]]:
    """Volumes of the second order that are written out, and their probabilities."""
    if isinstance(law, Scenarios):
        return law.volumes, list(law.probabilities.tolist())
    volumes = law.location + law.sd * np.array(SHOWN)
    return volumes[:, None], [None] * len(volumes)


def _schedule(task: Task, found: Plan | Contingent, units: Array) -> list[dict[str, Any]]:
    if isinstance(found, Plan):
        return [row for order in range(task.problem.orders) for row in _rows(found, order, units)]
    plans = found.plans
    if isinstance(task.law, Normal):
        volumes, _ = _shown(task.law)
        even = Scenarios(np.full(len(volumes), 1 / len(volumes)), volumes)
        plans = two_stage(task.problem, even, first=plans[0]).plans
    rows = _rows(plans[0], 0, units)
    for scenario, plan in enumerate(plans):
        rows += _rows(plan, 1, units, scenario)
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
