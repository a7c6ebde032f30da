"""Inventory of a later order that may move forward: cases one can check by hand, and bounds."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from crossimpact.errors import ProblemError
from crossimpact.policy.sequential import solve
from crossimpact.policy.sequential.kernel import Exponential, Kernel, PowerLaw
from crossimpact.policy.sequential.limits import Limits
from crossimpact.policy.sequential.plan import Plan
from crossimpact.policy.sequential.problem import Problem, hybrid, stsh, tthc, ttsc

UNIT = Exponential(1.0, rho=1.0)  # type: ignore[arg-type]
LONG = PowerLaw(1.0, gamma=0.5)  # type: ignore[arg-type]


def free(problem: Problem, share: object = 1.0) -> Plan:
    return solve(replace(problem, discretion=share))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("volumes", "cost"),
    [
        ((1, 3), 4.0),  # 16 / (2 + 2): the first order is done by half time anyhow
        ((1, 1), 1.0),
        ((1, -1), 0.0),  # crossed at once
        ((1, -3), 1.0),  # the net sale of 2 over both periods, 4 / (2 + 2)
    ],
)
def test_full_discretion_is_one_order_over_both_periods(
    volumes: tuple[float, float], cost: float
) -> None:
    plan = free(tthc([0, 1, 2], volumes, UNIT))
    assert plan.cost == pytest.approx(cost, abs=1e-7)
    assert plan.residual < 1e-8


def test_full_discretion_under_a_power_law_is_one_order_too() -> None:
    whole = solve(stsh([0, 100], [4.0], LONG))
    assert free(tthc([0, 50, 100], [1, 3], LONG)).cost == pytest.approx(whole.cost, rel=2e-6)


def test_a_first_order_that_must_be_done_binds() -> None:
    """3 by half time is more than the half of 4: nothing is gained by moving more forward."""
    problem = tthc([0, 1, 2], [3, 1], UNIT)
    plan = free(problem)
    assert plan.cost == pytest.approx(solve(problem).cost, rel=1e-6)
    assert plan.early[1, 0] == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("build", [tthc, ttsc])
@pytest.mark.parametrize(("volumes", "kernel"), [((1, 3), UNIT), ((1, -3), UNIT), ((1, 3), LONG)])
def test_discretion_is_worth_more_the_larger_the_share(
    volumes: tuple[float, float], kernel: Kernel, build: object
) -> None:
    problem = build([0, 1, 2], volumes, kernel)  # type: ignore[operator]
    costs = [solve(problem).cost] + [free(problem, d).cost for d in (0.1, 0.4, 1.0)]
    assert all(b <= a + 1e-6 * abs(a) for a, b in pairwise(costs))
    assert costs[0] - costs[1] > 1e-3


def test_discretion_moves_no_more_than_its_share() -> None:
    plan = free(tthc([0, 1, 2], [1, 3], UNIT), 0.1)
    assert plan.early[:, 0] == pytest.approx([0, 0.3], abs=1e-8)
    done = [plan.volumes[plan.orders == j, 0].sum() for j in (0, 1)]
    assert done == pytest.approx([1, 3], abs=1e-9)
    assert (plan.volumes >= 0).all()
    assert {t for t, _ in plan.blocks(1)} == {0.0, 1.0, 2.0}


def test_discretion_waits_until_a_part_is_known() -> None:
    """Of the second order 2 is news at its start: only 1 may move. Of three orders, the part of the
    third known at T1 moves to the second period at most."""
    plan = free(tthc([0, 1, 2], [1, 3], UNIT, amend=2.0))
    assert plan.early[1, 0] <= 1 + 1e-9
    parts = np.zeros((3, 3))
    parts[0, 0], parts[1, 0], parts[2, 1] = 1, 1, 4
    three = free(hybrid([0, 1, 2, 3], [1, 1, 4], UNIT, parts), [0, 0, 1.0])
    third = (three.orders == 2) & (three.volumes[:, 0] > 0)
    assert three.starts[third].min() == 1.0 and three.early[2, 0] > 0.5


def test_no_discretion_is_the_plain_problem() -> None:
    problem = tthc([0, 1, 2], [1, 3], UNIT)
    assert free(problem, 0.0).method == "closed"
    late = hybrid([0, 1, 2], [1, 3], UNIT, [[1, 0], [0, 3]])
    assert free(late).cost == pytest.approx(solve(late).cost, rel=1e-7)  # nothing known to move


def test_assets_move_apart() -> None:
    problem = tthc([0, 1, 2], [[1, 1], [3, -2]], Exponential(np.eye(2), rho=1.0))
    alone = [free(tthc([0, 1, 2], v, UNIT)).cost for v in ([1, 3], [1, -2])]
    assert free(problem).cost == pytest.approx(sum(alone), rel=1e-6)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"discretion": 1.5}, "discretion is 1.5, must be 0 to 1"),
        ({"discretion": [0, 0.5, 1]}, r"shape \(3,\), must be a number or \(2,\)"),
        ({"discretion": 0.5, "monotone": False}, "monotone orders without caps"),
        ({"discretion": 0.5, "limits": Limits(block_cap=1.0, max_rate=5.0)}, "without caps"),
    ],
)
def test_discretion_refuses(changes: dict, says: str) -> None:
    with pytest.raises(ProblemError, match=says):
        replace(tthc([0, 1, 2], [1, 3], UNIT), **changes)
