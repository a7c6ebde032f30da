"""An uncertain second order: optimal in expectation, and worth more than planning for the mean."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from crossimpact.errors import ProblemError
from crossimpact.policy.sequential import adapt
from crossimpact.policy.sequential.closed import two_orders
from crossimpact.policy.sequential.contingent import kkt_residual
from crossimpact.policy.sequential.kernel import Exponential, PowerLaw
from crossimpact.policy.sequential.law import Normal, Scenarios
from crossimpact.policy.sequential.problem import tthc, ttsc
from crossimpact.policy.sequential.recourse import two_stage, value_of_stochastic_solution

KERNEL = Exponential(1.0, rho=1.0)
OBJECTIVES = [ttsc, tthc]


@st.composite
def laws(draw: st.DrawFn) -> Scenarios:
    """Two to six volumes of either direction."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    n = draw(st.integers(2, 6))
    return Scenarios(rng.dirichlet(np.ones(n)), rng.normal(size=n) * draw(st.floats(0.1, 10)))


@settings(deadline=None, max_examples=60)
@given(laws(), st.sampled_from(OBJECTIVES), st.floats(-3, 3).filter(lambda v: abs(v) > 0.01))
def test_optimal_in_expectation_whatever_the_direction(law, objective, first) -> None:
    problem = objective([0, 1, 2.5], [first, float(law.mean[0])], KERNEL)
    found = adapt(problem, law)
    assert kkt_residual(found) < 1e-10
    assert value_of_stochastic_solution(problem, law) >= -1e-12
    for plan, volume in zip(found.plans, law.volumes, strict=True):
        assert plan.volumes[plan.orders == 1].sum() == pytest.approx(volume[0])


@settings(deadline=None, max_examples=30)
@given(laws())
def test_unbiased_revisions_make_the_hybrid_the_expected_full_cost(law: Scenarios) -> None:
    found = adapt(tthc([0, 1, 2], [1, float(law.mean[0])], KERNEL), law)
    assert found.cost == pytest.approx(found.full)
    assert found.tthc == pytest.approx(found.full)


def test_certainty_equivalence_and_its_price() -> None:
    law = Scenarios([0.25, 0.5, 0.25], [2.0, 3.0, 4.0])
    for objective in OBJECTIVES:
        problem = objective([0, 1, 2], [1, 3], KERNEL)
        found, sure = adapt(problem, law), two_orders(problem)
        assert found.cost == pytest.approx(sure.cost + 0.5 / 3)  # variance over 2 + z2
        assert value_of_stochastic_solution(problem, law) == pytest.approx(0, abs=1e-14)


def test_it_fails_when_a_scenario_would_wait() -> None:
    problem, law = tthc([0, 1, 2], [1, 0], KERNEL), Scenarios([0.5, 0.5], [-2.0, 2.0])
    assert value_of_stochastic_solution(problem, law) > 1e-3


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize(("mean", "sd"), [(3.0, 0.5), (0.0, 2.0), (-1.0, 1.0), (0.8, 0.3)])
def test_a_normal_law_is_the_limit_of_many_scenarios(objective, mean: float, sd: float) -> None:
    n = 500
    draws = mean + sd * norm.ppf((np.arange(n) + 0.5) / n)
    many = Scenarios(np.full(n, 1 / n), draws)
    problem = objective([0, 1, 2], [1, mean], KERNEL)
    exact = adapt(problem, Normal(mean, sd))
    left = adapt(objective([0, 1, 2], [1, float(many.mean[0])], KERNEL), many)
    assert kkt_residual(exact) < 1e-10
    assert exact.benchmark_impact == pytest.approx(left.benchmark_impact, abs=1e-3)
    assert exact.cost == pytest.approx(left.cost, abs=6e-3 * max(1.0, sd**2))


def test_a_wide_normal_law_is_integrated_exactly() -> None:
    """While no scenario waits the cost grows by the variance over 2 + z2, to rounding."""
    sure = two_orders(tthc([0, 1, 2], [1, 30], KERNEL)).cost
    found = adapt(tthc([0, 1, 2], [1, 30], KERNEL), Normal(30.0, 2.0))
    assert found.cost == pytest.approx(sure + 4 / 3, rel=1e-12)


def test_a_normal_law_of_no_width_is_certain() -> None:
    sure = two_orders(tthc([0, 1, 2], [1, 3], KERNEL)).cost
    assert adapt(tthc([0, 1, 2], [1, 3], KERNEL), Normal(3.0, 1e-6)).cost == pytest.approx(sure)


def test_assets_that_move_each_other_when_no_sign_binds() -> None:
    K = Exponential([[1, 0.4], [0.4, 2]], rho=1.0)
    law = Scenarios([0.5, 0.5], [[3.0, 4.0], [4.0, 5.0]])
    first = np.array([[2.0, 2.5], [3.5, 4.5]])
    for objective in OBJECTIVES:
        problem = objective([0, 1, 2], first, K, monotone=False)
        assert kkt_residual(adapt(problem, law)) < 1e-12


def test_two_assets_that_do_not_move_each_other() -> None:
    law = Scenarios([0.5, 0.5], [[3.0, -2.0], [1.0, 1.0]])
    problem = tthc([0, 1, 2], [[1, 2], [2.0, -0.5]], Exponential(np.diag([1.0, 2.0]), rho=1.0))
    assert kkt_residual(adapt(problem, law)) < 1e-12


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Scenarios([0.5, 0.4], [1, 2]), "sum to 0.9, must be 1"),
        (lambda: Scenarios([1.2, -0.2], [1, 2]), "scenario 1 has probability -0.2, must be > 0"),
        (lambda: Scenarios([0.5, 0.5], [1, np.nan]), "not a finite number"),
        (lambda: Scenarios([1.0], [1, 2]), "1 probabilities for volumes of shape"),
        (lambda: Normal(1.0, -1.0), "sd -1, sd must be > 0"),
    ],
)
def test_a_bad_law_is_refused(make, message: str) -> None:
    with pytest.raises(ProblemError, match=message):
        make()


def test_a_law_that_does_not_fit_is_refused() -> None:
    law = Scenarios([0.5, 0.5], [1.0, 3.0])
    with pytest.raises(ProblemError, match="off its law's mean by 1, limit"):
        two_stage(tthc([0, 1, 2], [1, 3], KERNEL), law)
    with pytest.raises(ProblemError, match="exponential decay"):
        two_stage(tthc([0, 1, 2], [1, 2], PowerLaw(1.0, gamma=0.5)), law)
