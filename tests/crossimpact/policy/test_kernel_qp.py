"""General kernels: the dense program is the state form's where both apply, else certified."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossimpact.errors import ProblemError
from crossimpact.policy.sequential import grid, kernel_qp, solve
from crossimpact.policy.sequential.kernel import (
    Convex,
    Exponential,
    Kernel,
    PowerLaw,
    SumOfExponentials,
)
from crossimpact.policy.sequential.limits import Limits
from crossimpact.policy.sequential.problem import stsh, tthc
from tests.crossimpact.policy.residuals import grid_residual
from tests.crossimpact.policy.test_grid import LIMITS, OBJECTIVES, UNIT, random_problem

LONG_MEMORY: list[Kernel] = [
    PowerLaw(1.0, gamma=0.4),
    PowerLaw(1.0, gamma=1.0),
    SumOfExponentials(1.0, (0.5, 0.3, 0.2), (0.2, 2.0, 20.0)),
    Convex(1.0, lambda t: np.exp(-np.sqrt(t + 0.01))),
]


@pytest.mark.parametrize("limits", [Limits(), *LIMITS])
@pytest.mark.parametrize("monotone", [True, False])
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("volumes", [(1, 3), (3, -1)])
def test_same_program_as_the_state_form(
    volumes: tuple[float, float], objective: str, monotone: bool, limits: Limits
) -> None:
    problem = OBJECTIVES[objective]([0, 1, 2], volumes, UNIT, monotone=monotone, limits=limits)
    dense, state = kernel_qp.solve(problem, 12), grid.solve(problem, 12)
    # under a full span the dense route finds the floors itself
    assert dense.cost == pytest.approx(state.cost, rel=1e-10, abs=1e-10)
    assert dense.volumes == pytest.approx(state.volumes, abs=1e-8)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), monotone=st.booleans())
def test_same_program_with_coupled_assets(seed: int, monotone: bool) -> None:
    problem = random_problem(seed, orders=2, assets=3, monotone=monotone)
    dense, state = kernel_qp.solve(problem, 8), grid.solve(problem, 8)
    assert dense.cost == pytest.approx(state.cost, rel=1e-8, abs=1e-9)
    assert dense.volumes == pytest.approx(state.volumes, abs=1e-6)


@pytest.mark.parametrize("kernel", LONG_MEMORY, ids=lambda kernel: type(kernel).__name__)
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("volumes", [(1, 3), (2, -1)])
def test_any_convex_kernel_is_certified(
    volumes: tuple[float, float], objective: str, kernel: Kernel
) -> None:
    plan = kernel_qp.solve(OBJECTIVES[objective]([0, 1, 2.5], volumes, kernel), largest=200)
    assert grid_residual(plan) < 1e-8
    side = np.sign(plan.problem.volumes)[plan.orders]
    assert (plan.volumes * side >= 0).all()


def test_one_exponential_is_a_sum_of_one() -> None:
    alone = kernel_qp.solve(tthc([0, 1, 2], [1, 3], SumOfExponentials(2.0, (1.0,), (1.0,))), 100)
    exact = solve(tthc([0, 1, 2], [1, 3], Exponential(2.0, rho=1.0)))
    assert alone.cost == pytest.approx(exact.cost, rel=1e-7)


@pytest.mark.parametrize(("objective", "cost"), [("ttsc", 3.833333333), ("tthc", 6.611621211)])
def test_linear_permanent_impact_moves_no_schedule(objective: str, cost: float) -> None:
    g, build = 0.3, OBJECTIVES[objective]
    lasting = SumOfExponentials(1.0, (1.0, g), (1.0, 0.0))
    fading = kernel_qp.solve(build([0, 1, 2], [1, 3], UNIT), 60)
    both = kernel_qp.solve(build([0, 1, 2], [1, 3], lasting), 60)
    assert both.volumes == pytest.approx(fading.volumes, abs=1e-7)
    assert both.cost == pytest.approx(cost, abs=1e-6)


@pytest.mark.parametrize("gamma", [0.3, 0.5, 1.5])
def test_a_single_order_under_a_power_law_is_its_own_mirror(gamma: float) -> None:
    plan = kernel_qp.solve(stsh([0, 2], [1.0], PowerLaw(1.0, gamma=gamma)), 30)
    assert plan.volumes[:, 0] == pytest.approx(plan.volumes[::-1, 0], abs=1e-10)
    assert (plan.volumes > 0).all()


@pytest.mark.parametrize("gamma", [0.5, 1.5])
def test_cells_converge_with_the_fourth_power_of_the_step(gamma: float) -> None:
    """Where trading never pauses; an edge inside a cell costs about as little, irregularly."""
    problem = stsh([0, 1], [1.0], PowerLaw(1.0, gamma=gamma))
    costs = np.array([kernel_qp.solve(problem, steps).cost for steps in (3, 6, 12, 96)])
    errors = costs[:-1] - costs[-1]
    assert (errors > 0).all()
    assert np.log2(errors[:-1] / errors[1:]) == pytest.approx(4, abs=0.7)


def test_slower_decay_costs_more() -> None:
    def cost(gamma: float) -> float:
        return kernel_qp.solve(tthc([0, 1, 2], [1, 3], PowerLaw(1.0, gamma=gamma)), 12).cost

    assert cost(0.2) > cost(0.5) > cost(1.0)


def test_a_full_span_keeps_the_pace_of_the_order_alone() -> None:
    kernel = PowerLaw(1.0, gamma=0.5)
    problem = tthc([0, 1, 2], [1, 3], kernel, limits=Limits(full_span=True))
    plan, floors = kernel_qp.solve(problem, 16), kernel_qp.floors(problem, 16)
    cells = plan.ends > plan.starts
    pace = plan.volumes[cells, 0] * 16 / problem.volumes[plan.orders[cells], 0]
    assert (pace >= floors[plan.orders[cells]] * (1 - 1e-9)).all()
    assert floors.min() > 0.1
    assert grid_residual(plan, floors) < 1e-8


def test_too_large_for_a_dense_factor() -> None:
    problem = stsh([0, 1], np.ones((1, 40)), PowerLaw(np.eye(40), gamma=0.5))
    with pytest.raises(ProblemError, match=r"make 8080 unknowns, limit 6000"):
        kernel_qp.solve(problem, 200)
