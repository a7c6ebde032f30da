"""Risk aversion and trading dates: limits that are known in closed form."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import trapezoid

from crossimpact.errors import Inadmissible, ProblemError
from crossimpact.policy.sequential import kernel_qp, solve
from crossimpact.policy.sequential.certificate import continuous_residual
from crossimpact.policy.sequential.kernel import Exponential, PowerLaw
from crossimpact.policy.sequential.limits import Limits
from crossimpact.policy.sequential.plan import Plan
from crossimpact.policy.sequential.problem import Problem, hybrid, stsh, tthc, ttsc
from crossimpact.policy.sequential.risk import Risk
from crossimpact.policy.sequential.tree import Tree
from crossimpact.policy.sequential.tree import solve as solve_tree
from tests.crossimpact.policy.residuals import grid_residual

UNIT = Exponential(1.0, rho=1.0)  # type: ignore[arg-type]


def left(plan: Plan, times: np.ndarray) -> np.ndarray:
    """Volume of asset 0 struck and not yet traded, by counting."""
    problem, width = plan.problem, np.where(plan.ends > plan.starts, plan.ends - plan.starts, 1.0)
    (at, _), parts = problem.strikes
    cell = plan.ends > plan.starts
    done = np.clip((times[:, None] - plan.starts) / width, 0.0, 1.0)
    done = np.where(cell, done, times[:, None] >= plan.starts)
    return np.asarray((times[:, None] >= at) @ parts[:, 0] - done @ plan.volumes[:, 0])


def test_solve_risk_averse_meets_almgren_chriss() -> None:
    """Impact that is gone at once is a temporary cost ``eta v^2`` with eta = kappa / rho; then
    inventory falls like ``sinh(k (T - t))``, ``k^2 = aversion sigma^2 / eta``. What is left of the
    blocks is of size k / rho."""
    rho, k = 250.0, 3.0
    fast = Exponential(1.0, rho=rho)  # type: ignore[arg-type]
    problem = replace(stsh([0, 1], [1.0], fast), risk=Risk(k**2 / rho, 1.0))
    plan = solve(problem)
    times = np.linspace(0, 1, 201)
    assert left(plan, times) == pytest.approx(
        np.sinh(k * (1 - times)) / np.sinh(k), abs=1.5 * k / rho
    )
    assert plan.cost == pytest.approx(k / rho / np.tanh(k), rel=4e-2)
    assert plan.accuracy.reached and continuous_residual(plan) < 1e-3


def test_solve_risk_neutral_with_impact_gone_at_once_is_twap() -> None:
    fast = Exponential(1.0, rho=500.0)  # type: ignore[arg-type]
    free, timid = stsh([0, 1], [1.0], fast), Risk(1e-9, 1.0)
    for plan in (solve(free), solve(replace(free, risk=timid))):
        assert left(plan, np.linspace(0, 1, 101)) == pytest.approx(np.linspace(1, 0, 101), abs=3e-3)


@pytest.mark.parametrize("build", [tthc, ttsc])
def test_risk_charge_is_the_integral_of_what_is_exposed(build: object) -> None:
    """Under ttsc nothing of the second order is at risk before it starts."""
    risk = Risk(0.3, 0.5)
    plan = solve(replace(build([0, 1, 2], [1, 3], UNIT), risk=risk))  # type: ignore[operator]
    times = np.linspace(0, 2, 8_001)
    counted = 0.15 * trapezoid(left(plan, times) ** 2, times)
    assert plan.risk_charge == pytest.approx(counted, rel=1e-3)
    assert plan.cost == plan.priced(plan.problem.benchmark) + plan.risk_charge
    assert grid_residual(plan) < 1e-8


def test_more_aversion_is_less_risk_and_more_impact() -> None:
    kernel = PowerLaw([[1.0, 0.3], [0.3, 0.6]], gamma=0.5)  # type: ignore[arg-type]
    base = tthc([0, 2, 4], [[1, -1], [2, 1]], kernel)
    sigma = [[1.0, 0.5], [0.5, 1.0]]
    problems = [base] + [replace(base, risk=Risk(a, sigma)) for a in (0.001, 0.01)]
    plans = [kernel_qp.solve(problem, 12) for problem in problems]
    shares = [plan.risk_charge / plan.problem.risk.aversion for plan in plans[1:]]
    assert shares[0] > shares[1]
    assert plans[0].full < plans[1].full < plans[2].full


def test_a_tree_of_one_branch_prices_risk_like_a_chain() -> None:
    risk = Risk(0.2, 1.0)
    chain = solve(replace(tthc([0, 1, 2], [1, 3], UNIT), risk=risk))
    tree = Tree([0, 1, 2], [-1, 0], [1, 1], [1, 3], UNIT, risk=risk)  # type: ignore[arg-type]
    assert solve_tree(tree, None).cost == pytest.approx(chain.cost, rel=1e-9)


@pytest.mark.parametrize(
    ("aversion", "covariance", "error", "says"),
    [
        (0.0, 1.0, ProblemError, "risk.aversion is 0, must be finite and > 0"),
        (1.0, [[1.0, 2.0]], ProblemError, "must be square"),
        (1.0, [[1.0, 2.0], [2.0, 1.0]], Inadmissible, "smallest eigenvalue -1, limit 2e-09"),
        (1.0, [[1.0, 0.2], [0.0, 1.0]], Inadmissible, "asymmetric by 0.2"),
    ],
)
def test_risk_refuses(aversion: float, covariance: object, error: type, says: str) -> None:
    with pytest.raises(error, match=says):
        Risk(aversion, covariance)  # type: ignore[arg-type]


# -- trading dates -------------------------------------------------------------------------------


def dated(problem: Problem, dates: object) -> Plan:
    return solve(replace(problem, limits=Limits(dates=dates)))  # type: ignore[arg-type]


def test_solve_on_dates_is_the_published_schedule() -> None:
    """Alfonsi, Fruth and Schied 2010: blocks at the ends ``V / (2 + (N-1)(1-a))`` of a sort,
    ``a = exp(-rho T / N)``; N = 4 steps, rho = 3."""
    plan = dated(stsh([0, 1], [1.0], Exponential(1.0, rho=3.0)), np.arange(5) / 4)  # type: ignore[arg-type]
    end, inner = 0.279103, 0.147264
    assert plan.volumes[:, 0] == pytest.approx([end, inner, inner, inner, end], abs=1e-6)
    assert plan.cost == pytest.approx(0.205471, abs=1e-6)
    a = np.exp(-0.75)
    assert plan.volumes[0, 0] == pytest.approx(1 / (2 + 3 * (1 - a)), rel=1e-12)
    assert plan.rates(0) == [] and plan.accuracy.reached


def test_more_dates_cost_less_down_to_continuous_trading() -> None:
    problem = tthc([0, 1, 2], [1, 3], UNIT)
    costs = [dated(problem, np.linspace(0, 2, 2 * n + 1)).cost for n in (1, 2, 4, 8, 64)]
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] == pytest.approx(4.211621, abs=1e-4) and costs[-1] > 4.211621


def test_dates_of_coupled_assets_in_a_tree_and_with_caps() -> None:
    pair = PowerLaw([[1.0, 0.4], [0.4, 1.0]], gamma=0.5)  # type: ignore[arg-type]
    tree = Tree(
        [0, 1, 2], [-1, 0, 0], [1, 0.5, 0.5], [[1, 1], [2, -1], [0, 3]], pair,
        limits=Limits(dates=[0.0, 0.5, 1.0, 1.7, 2.0], block_cap=1.5),
    )  # type: ignore[arg-type]  # fmt: skip
    found = solve_tree(tree, None)
    assert found.accuracy.reached and grid_residual(found) < 1e-8
    assert {t for plan in found.plans for t, _ in plan.blocks(1)} <= {1.0, 1.7, 2.0}


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        (Limits(dates=[0.0, 1.0]), r"order 1 has no date in its horizon \(1.5, 2\)"),
        (Limits(dates=[-1.0, 2.0]), "dates run from -1 to 2, the orders from 0 to 2"),
        (Limits(dates=[0.0, 2.0], max_rate=1.0), "dates and max_rate contradict"),
        (Limits(dates=[0.0, 2.0], block_cap=1.0), "order 1 .* volume 3, its caps leave room for 1"),
    ],
)
def test_dates_that_are_refused(limits: Limits, says: str) -> None:
    with pytest.raises(ProblemError, match=says):
        hybrid([0, 1.5, 2], [1, 3], UNIT, [[1, 0], [3, 0]], limits=limits)
