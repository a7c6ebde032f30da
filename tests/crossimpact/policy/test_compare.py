"""Four schedules, two metrics: each is best by its own, and the warning says what is hidden."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from crossimpact.policy.sequential.compare import back_loading, compare, myopic, understatement
from crossimpact.policy.sequential.kernel import Exponential, PowerLaw
from crossimpact.policy.sequential.limits import Limits
from crossimpact.policy.sequential.problem import Problem, tthc
from tests.crossimpact.policy.problems import pairs

KERNEL = Exponential(1.0, rho=1.0)


def test_the_articles_table() -> None:
    table = compare(tthc([0, 1, 2], [1, 3], KERNEL))
    costs = {row.name: (row.ttsc, row.tthc) for row in table.rows}
    assert costs["myopic"] == pytest.approx((8 / 3, 14 / 3))
    assert costs["ttsc"] == pytest.approx((7 / 3, 16 / 3))
    assert costs["tthc"] == pytest.approx((3.089416, 4.211621), abs=1e-6)
    assert costs["myopic"][0] / costs["ttsc"][0] == pytest.approx(1.142857, abs=1e-6)
    assert table.rows[0].excess == pytest.approx(0.108045, abs=1e-6)
    assert table.understatement == pytest.approx(1 - 0.4375)
    assert "2.33333 where the schedule costs 5.33333 (56% understated)" in table.warning
    assert "mean trade is at 100% of its horizon" in table.warning


@settings(deadline=None, max_examples=40)
@given(pairs())
def test_each_schedule_is_best_by_its_own_metric(problem: Problem) -> None:
    rows = {row.name: row for row in compare(problem).rows}
    unit = problem.kernel.K[0, 0] * np.abs(problem.volumes).max() ** 2
    for row in rows.values():
        assert rows["ttsc"].ttsc <= row.ttsc + 1e-9 * unit
        assert rows["tthc"].tthc <= row.tthc + 1e-9 * unit
        assert rows["deterministic"].full <= row.full + 1e-9 * unit


def test_no_warning_where_nothing_is_hidden() -> None:
    far = compare(tthc([0, 1, 2], [1, 1e-3], KERNEL))
    assert far.warning == ""


def test_a_single_order_trades_around_its_middle() -> None:
    assert back_loading(myopic(tthc([0, 1, 2], [1, 3], KERNEL))) == pytest.approx(0.5)


@pytest.mark.parametrize(
    "kernel", [KERNEL, PowerLaw(1.0, gamma=0.5)], ids=lambda kernel: type(kernel).__name__
)
def test_myopic_orders_do_not_know_each_other(kernel: Exponential) -> None:
    limits = Limits(max_rate=[[5.0], [9.0]])
    both = myopic(tthc([0, 1, 2], [1, 3], kernel, limits=limits))
    other = myopic(tthc([0, 1, 3], [1, -2], kernel, limits=limits))
    assert np.array(both.blocks(0)) == pytest.approx(np.array(other.blocks(0)))
    assert understatement(both) > 0
