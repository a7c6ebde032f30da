"""Formulas: optimal in continuous time, invariant where they must be, right at their thresholds."""

from __future__ import annotations

from dataclasses import replace
from math import cosh, exp

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from crossimpact.errors import ProblemError
from crossimpact.policy.sequential import grid, solve
from crossimpact.policy.sequential.closed import (
    following,
    levels,
    same_way,
    slope,
    two_orders,
    unconstrained,
)
from crossimpact.policy.sequential.contingent import kkt_residual
from crossimpact.policy.sequential.kernel import Exponential, PowerLaw
from crossimpact.policy.sequential.problem import Problem, hybrid, stsh, tthc, ttsc
from tests.crossimpact.policy.problems import pairs, sequences, volumes

KERNEL = Exponential(1.0, rho=1.0)


@settings(deadline=None, max_examples=200)
@given(pairs())
def test_pairs_are_optimal_and_complete(problem: Problem) -> None:
    plan = two_orders(problem)
    assert kkt_residual(plan) < 1e-10
    assert same_way(plan)
    for order in (0, 1):
        assert plan.volumes[plan.orders == order].sum() == pytest.approx(problem.volumes[order, 0])


@settings(deadline=None, max_examples=200)
@given(volumes, volumes, st.floats(-6, 4), st.floats(-6, 4), st.floats(-3, 3))
def test_pairs_of_any_horizon(first: float, second: float, a: float, b: float, c: float) -> None:
    """Half-lives from a millionth of the horizon to a million of them."""
    times = np.cumsum([0.0, 10**a, 10**b])
    problem = tthc(times, [first, second * 10**c], KERNEL, amend=0.3 * second)
    plan = two_orders(problem)
    assert kkt_residual(plan) < 1e-9
    assert plan.residual < 1e-9
    assert plan.volumes.sum() == pytest.approx(problem.volumes.sum(), abs=1e-9 * problem.scale)


@settings(deadline=None, max_examples=60)
@given(sequences())
def test_free_sequences_are_optimal_and_cost_their_formula(problem: Problem) -> None:
    plan = unconstrained(problem)
    assert kkt_residual(plan) < 1e-10
    assert plan.volumes.sum(axis=0) == pytest.approx(problem.volumes.sum(axis=0))
    (y, m), K = levels(problem), problem.kernel.K
    z = problem.kernel.rho * np.diff(problem.times)  # type: ignore[attr-defined]
    cost = m[-1] @ K @ m[-1] / 2 + z @ np.einsum("ji,ik,jk->j", y, K, y)
    assert plan.cost == pytest.approx(cost - (problem.c @ K * m[:-1]).sum())


@settings(deadline=None, max_examples=30)
@given(pairs())
def test_a_program_on_a_grid_agrees(problem: Problem) -> None:
    exact, found = two_orders(problem), grid.solve(problem, steps=40)
    unit = problem.kernel.K[0, 0] * np.abs(problem.volumes).max() ** 2
    assert exact.cost <= found.cost + 1e-9 * unit
    assert found.cost == pytest.approx(exact.cost, abs=2e-4 * unit)


@settings(deadline=None, max_examples=50)
@given(pairs(), st.floats(0.1, 10))
def test_invariances(problem: Problem, size: float) -> None:
    cost = two_orders(problem).cost
    unit = problem.kernel.K[0, 0] * np.abs(problem.volumes).max() ** 2

    def again(**changes: object) -> float:
        return two_orders(replace(problem, **changes)).cost  # type: ignore[arg-type]

    def scaled(by: float) -> float:
        return again(
            volumes=by * problem.volumes, benchmark=by * problem.benchmark, parts=by * problem.parts
        )

    rho = problem.kernel.rho / size  # type: ignore[attr-defined]
    assert scaled(-1.0) == pytest.approx(cost, abs=1e-9 * unit)
    assert scaled(size) == pytest.approx(size**2 * cost, abs=1e-9 * unit * size**2)
    clock = again(times=size * problem.times + 3, kernel=Exponential(problem.kernel.K, rho=rho))
    assert clock == pytest.approx(cost, abs=1e-9 * unit)


@settings(deadline=None, max_examples=50)
@given(pairs())
def test_a_fully_known_pair_may_be_reversed_in_time(problem: Problem) -> None:
    times, pair = problem.times, np.abs(problem.volumes)
    forward = two_orders(tthc(times, pair, problem.kernel))
    backward = two_orders(tthc(times[-1] - times[::-1], pair[::-1], problem.kernel))
    unit = problem.kernel.K[0, 0] * pair.max() ** 2
    assert forward.cost == pytest.approx(backward.cost, abs=1e-9 * unit)


@settings(deadline=None, max_examples=50)
@given(volumes, st.floats(0.1, 5), st.floats(0.1, 3))
def test_a_single_order(volume: float, duration: float, rho: float) -> None:
    plan = solve(stsh([1.0, 1.0 + duration], [volume], Exponential(2.0, rho=rho)))
    z = rho * duration
    assert [v for _, v in plan.blocks(0)] == pytest.approx([volume / (2 + z)] * 2)
    assert plan.rates(0)[0][2] == pytest.approx(rho * volume / (2 + z))
    assert plan.cost == pytest.approx(2 * volume**2 / (2 + z))


@settings(deadline=None, max_examples=50)
@given(st.floats(0.1, 4), st.floats(0.1, 4), st.floats(1.05, 1.95))
def test_the_pause_of_a_known_pair_solves_its_equation(z1: float, z2: float, share: float) -> None:
    """Between the ratios where it begins and where order 1 is a single block."""
    low, high = (1 + z2) / (1 + z1), (2 + z2) * cosh(z1) - exp(-z1)
    ratio = low + (share - 1) * (high - low)
    plan = two_orders(tthc([0, z1, z1 + z2], [1, ratio], KERNEL))
    x = brentq(lambda x: ratio * (1 + z1 - x) - (2 + z2) * cosh(x) + exp(-x), 0, z1, xtol=1e-14)
    y = 1 / (1 + z1 - x)
    assert plan.blocks(0) == [(0.0, pytest.approx(y, rel=1e-8))]
    assert plan.rates(0)[0][1] == pytest.approx(z1 - x, abs=1e-8)
    assert plan.rates(1)[0][2] == pytest.approx(y * cosh(x), rel=1e-8)


def test_the_published_pause() -> None:
    plan = two_orders(tthc([0, 1, 2], [1, 3], KERNEL))
    ((_, end, rate),) = plan.rates(0)
    assert 1 - end == pytest.approx(0.806045312, abs=1e-9)
    assert rate * end == pytest.approx(0.162447, abs=1e-6)
    assert plan.cost == pytest.approx(4.211621210652, abs=1e-12)


@pytest.mark.parametrize(
    ("z2", "ratio"),
    [(0.5, 4.0), (1.0, 2.0), (1.5, 1.481749), (2.0, 1.293638), (4.0, 1.083143)],
)
def test_full_back_loading_begins_where_it_should(z2: float, ratio: float) -> None:
    for factor, loaded in ((0.999, False), (1.001, True)):
        plan = two_orders(ttsc([0, 1, 1 + z2], [1, factor * ratio], KERNEL))
        assert (plan.blocks(0) == [(1.0, 1.0)]) is loaded


def test_separate_costs_can_be_negative() -> None:
    plan = two_orders(ttsc([0, 1, 1e4], [1, 3], KERNEL))
    assert plan.cost == pytest.approx(0.5 - 3, abs=1e-2)
    assert plan.tthc > 0


@pytest.mark.parametrize("z", [0.1, 1.0, 5.0])
@pytest.mark.parametrize("m", [0.2, 1.0, 3.0])
def test_the_second_orders_slope_is_continuous(m: float, z: float) -> None:
    for edge in (-m, 0.0, m * exp(-z), m * (1 + z)):
        below, above = slope(m, edge - 1e-9, z), slope(m, edge + 1e-9, z)
        assert below == pytest.approx(above, abs=1e-6)
        assert slope(m, edge, z) == pytest.approx(below, abs=1e-6)


@settings(deadline=None, max_examples=100)
@given(st.floats(0.01, 5), st.floats(-10, 10), st.floats(0.05, 5))
def test_the_second_order_trades_its_volume(m: float, v: float, z: float) -> None:
    stage = following(m, v, z)
    assert stage.start + stage.level * (z - stage.pause) + stage.end == pytest.approx(v, abs=1e-9)
    if stage.level and stage.pause:
        assert stage.level == pytest.approx(m * exp(-stage.pause))


def test_two_assets_that_do_not_move_each_other_are_two_problems() -> None:
    K = np.diag([1.0, 4.0])
    both = solve(ttsc([0, 1, 2], [[1, 3], [3, -1]], Exponential(K, rho=1.0)))
    alone = [
        solve(ttsc([0, 1, 2], pair, Exponential(k, rho=1.0)))
        for pair, k in (([1, 3], 1.0), ([3, -1], 4.0))
    ]
    assert both.method == "closed"
    assert both.cost == pytest.approx(sum(plan.cost for plan in alone))
    assert np.array(both.blocks(0, 1)) == pytest.approx(np.array(alone[1].blocks(0)))


@settings(deadline=None, max_examples=30)
@given(sequences(monotone=True))
def test_whoever_answers_the_schedule_is_certified_and_keeps_its_signs(problem: Problem) -> None:
    plan = solve(problem)
    assert plan.residual < 1e-8
    trades = plan.volumes * np.sign(problem.volumes)[plan.orders]
    assert trades.min() >= -1e-9 * np.abs(problem.volumes).max()
    free = solve(replace(problem, monotone=False))
    assert free.method == "closed"
    assert free.cost <= plan.cost + 1e-9


def test_formulas_refuse_what_they_do_not_know() -> None:
    with pytest.raises(ProblemError, match="needs an exponential kernel, not PowerLaw"):
        unconstrained(tthc([0, 1, 2], [1, 3], PowerLaw(1.0, gamma=0.5)))
    with pytest.raises(ProblemError, match="no closed form for 3 monotone orders"):
        two_orders(ttsc([0, 1, 2, 3], [1, 3, 1], KERNEL))
    coupled = Exponential([[1, 0.5], [0.5, 1]], rho=1.0)
    parts = np.zeros((2, 2, 2))
    with pytest.raises(ProblemError, match="2 assets"):
        two_orders(hybrid([0, 1, 2], np.zeros((2, 2)), coupled, parts))


def test_the_convex_form_is_solved_where_the_raw_one_is_not_convex() -> None:
    """rho (T2 - T1) > 2: with free volumes the separate costs have a negative eigenvalue."""
    problem = ttsc([0, 1, 7], [1, 3], KERNEL)
    exact, found = two_orders(problem), grid.solve(problem, steps=100)
    assert kkt_residual(exact) < 1e-12
    assert found.cost == pytest.approx(exact.cost, abs=1e-6)
