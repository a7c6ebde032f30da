"""Every reference case by two independent routes: formulas, and programs on a grid."""

from __future__ import annotations

import numpy as np
import pytest

from crossimpact.policy.sequential import adapt, grid, kernel_qp, solve
from crossimpact.policy.sequential.compare import myopic
from crossimpact.policy.sequential.contingent import Contingent, kkt_residual
from crossimpact.policy.sequential.kernel import Exponential
from crossimpact.policy.sequential.plan import Plan
from pipelines.sequence.problem_file import Task
from tests.crossimpact.policy import cases

CASES = cases.load()
CERTAIN = [
    name for name, (task, _) in CASES.items() if task.law is None and task.objective != "myopic"
]


def answer(task: Task) -> Plan | Contingent:
    if task.law is not None:
        return adapt(task.problem, task.law)
    return myopic(task.problem) if task.objective == "myopic" else solve(task.problem)


@pytest.mark.parametrize("name", CASES)
def test_costs_what_it_should(name: str) -> None:
    task, expect = CASES[name]
    found = answer(task)
    costs = {
        "cost": found.cost,
        "cost_ttsc": found.ttsc,
        "cost_tthc": found.tthc,
        "cost_full": found.full,
        "benchmark_impact": found.benchmark_impact[:, 0].tolist(),
    }
    for field in costs.keys() & expect.keys():
        assert costs[field] == pytest.approx(expect[field], rel=1e-6, abs=2e-6), field


@pytest.mark.parametrize(
    "name", [name for name, (_, expect) in CASES.items() if "blocks" in expect]
)
def test_trades_what_it_should(name: str) -> None:
    task, expect = CASES[name]
    found = answer(task)
    assert isinstance(found, Plan)
    for order in range(task.problem.orders):
        for given, wanted in (
            (found.blocks(order), expect["blocks"][order]),
            (found.rates(order), expect["rates"][order]),
        ):
            assert np.array(given) == pytest.approx(np.array(wanted), abs=2e-6)


@pytest.mark.parametrize("name", CASES)
def test_formulas_are_optimal_in_continuous_time(name: str) -> None:
    task, _ = CASES[name]
    found = answer(task)
    if found.method == "closed":
        assert kkt_residual(found) < 1e-12
    assert found.residual < 1e-8


@pytest.mark.parametrize("name", CERTAIN)
def test_programs_agree_with_formulas(name: str) -> None:
    problem, exact = CASES[name][0].problem, answer(CASES[name][0])
    routes = [kernel_qp] + [grid] * isinstance(problem.kernel, Exponential)
    for route in routes:
        found = route.solve(problem)
        assert found.residual < 1e-8
        assert found.cost == pytest.approx(exact.cost, rel=1e-5, abs=1e-6)
        assert found.cost >= exact.cost - 1e-9
