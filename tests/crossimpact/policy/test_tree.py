"""Scenario trees: one program for all nodes, against formulas, chains and identities."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossimpact.errors import ProblemError
from crossimpact.policy.sequential import adapt, grid, tree
from crossimpact.policy.sequential.kernel import Exponential, PowerLaw, SumOfExponentials
from crossimpact.policy.sequential.law import Normal, Scenarios
from crossimpact.policy.sequential.limits import Limits
from crossimpact.policy.sequential.problem import tthc, ttsc
from crossimpact.policy.sequential.recourse import two_stage
from crossimpact.policy.sequential.tree import Tree, follow_means, solve
from tests.crossimpact.policy.residuals import grid_residual

UNIT = Exponential(1.0, rho=1.0)
OBJECTIVES = {"ttsc": ttsc, "tthc": tthc}
PAIR = Exponential([[1.0, 0.3], [0.3, 0.7]], rho=1.5)


def star(first: float, volumes: list[float], p: list[float], objective: str = "tthc") -> Tree:
    """Two orders, the second known by its law."""
    n = len(volumes)
    return Tree([0, 1, 2], [-1] + n * [0], [1.0, *p], [first, *volumes], UNIT, objective)  # type: ignore[arg-type]


def three_stages(seed: int, objective: str = "tthc", **options: object) -> Tree:
    """Three orders of two assets, any direction: 1 + 2 + 6 nodes."""
    rng = np.random.default_rng(seed)
    parents = [-1, 0, 0, 1, 1, 1, 2, 2, 2]
    p = np.concatenate(([1.0], rng.dirichlet([3, 3]), *rng.dirichlet([2, 2, 2], 2)))
    volumes = rng.normal(size=(9, 2)) * 2
    return Tree([0, 1, 1.6, 2.5], parents, p, volumes, PAIR, objective, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize(
    ("volumes", "p"),
    [([2, 4], [0.5, 0.5]), ([-2, 4], [0.4, 0.6]), ([0, 0.2, 3], [0.3, 0.3, 0.4]), ([-3], [1.0])],
)
def test_two_orders_agree_with_the_closed_form(
    volumes: list[float], p: list[float], objective: str
) -> None:
    found = solve(star(1.0, volumes, p, objective), 80)
    law = Scenarios(np.array(p), np.array(volumes))
    exact = two_stage(OBJECTIVES[objective]([0, 1, 2], [1.0, law.mean[0]], UNIT), law)
    assert found.cost == pytest.approx(exact.cost, rel=1e-7, abs=1e-7)
    assert found.tthc == pytest.approx(exact.tthc, rel=1e-4)
    assert found.ttsc == pytest.approx(exact.ttsc, rel=1e-3)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_certainty_equivalence(objective: str) -> None:
    """While no order would trade against itself the first one is that of the mean, and the cost
    is the mean's plus ``Var / (2 + z2)``."""
    uncertain = star(1.0, [2.6, 3.4], [0.5, 0.5], objective)
    certain = grid.solve(OBJECTIVES[objective]([0, 1, 2], uncertain.expected[0], UNIT))
    found = solve(uncertain)
    first = found.plans[0].orders == 0
    assert found.plans[0].volumes[first] == pytest.approx(certain.volumes[first], abs=1e-8)
    assert found.cost == pytest.approx(certain.cost + 0.16 / 3, rel=1e-9)
    assert tree.value_of_stochastic_solution(uncertain) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_unbiased_revisions_are_priced_at_the_full_cost(seed: int) -> None:
    uncertain = three_stages(seed)
    for plan in (solve(uncertain, 10), follow_means(uncertain, 10)):
        assert plan.cost == pytest.approx(plan.full, rel=1e-10)
        assert plan.tthc == pytest.approx(plan.full, rel=1e-10)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6), objective=st.sampled_from(["ttsc", "tthc"]))
def test_planning_for_the_mean_is_never_better(seed: int, objective: str) -> None:
    uncertain = three_stages(seed, objective)
    best, means = solve(uncertain, 6), follow_means(uncertain, 6)
    assert grid_residual(best) < 1e-8
    assert means.cost >= best.cost - 1e-9


def test_planning_for_the_mean_can_be_worse() -> None:
    assert tree.value_of_stochastic_solution(star(1.0, [0, 2], [0.5, 0.5])) > 1e-3


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_tree_without_branches_is_a_chain(objective: str) -> None:
    volumes = np.array([[1.0, -2.0], [3.0, 0.5], [-1.0, 0.0]])
    alone = Tree([0, 1, 2, 3], [-1, 0, 1], [1, 1, 1], volumes, PAIR, objective)  # type: ignore[arg-type]
    chain = grid.solve(OBJECTIVES[objective]([0, 1, 2, 3], volumes, PAIR), 10)
    found = solve(alone, 10)
    assert found.cost == pytest.approx(chain.cost, rel=1e-10)
    assert found.plans[0].volumes == pytest.approx(chain.volumes, abs=1e-9)


def test_twins_are_one_scenario() -> None:
    whole = solve(star(1.0, [-1, 3], [0.4, 0.6]))
    split = solve(star(1.0, [-1, 3, 3], [0.4, 0.1, 0.5]))
    assert split.cost == pytest.approx(whole.cost, rel=1e-10)


def test_knowing_more_is_never_worse() -> None:
    """Perfect foresight is below the optimum: the benchmark terms vanish in both."""
    uncertain = three_stages(1)
    blind = solve(uncertain, 10)
    seen = [
        grid.solve(tthc(uncertain.times, p.problem.volumes, PAIR), 10).full for p in blind.plans
    ]
    assert blind.mean(seen) < blind.full


def test_nothing_is_known_before_its_time() -> None:
    found = solve(three_stages(2), 6)
    for order in range(3):
        for label in np.unique(found.nodes[:, order]):
            same = [found.plans[i] for i in np.flatnonzero(found.nodes[:, order] == label)]
            for plan in same[1:]:
                own = plan.orders == order
                assert (plan.volumes[own] == same[0].volumes[own]).all()


@pytest.mark.parametrize("monotone", [True, False])
def test_limits_bind_in_every_scenario(monotone: bool) -> None:
    limits = Limits(block_cap=2.0, max_rate=20.0, spread=0.05)
    found = solve(three_stages(3, monotone=monotone, limits=limits), 8)
    assert grid_residual(found) < 1e-8
    for plan in found.plans:
        assert np.abs(plan.volumes[plan.starts == plan.ends]).max() <= 2.0
    assert found.cost > solve(three_stages(3, monotone=monotone), 8).cost


@pytest.mark.parametrize(
    ("parents", "p", "volumes", "says"),
    [
        ([-1, 0, 0], [1, 0.5, 0.4], [1, 2, 3], "children of node 0 .* sum to 0.9"),
        ([-1, 0, 0], [1, 1.2, -0.2], [1, 2, 3], "node 2 has probability -0.2, must be > 0"),
        ([-1, 0, 2], [1, 1, 1], [1, 2, 3], "node 2 has parent 2"),
        ([-1, -1, 0], [1, 1, 1], [1, 2, 3], "node 1 has parent -1"),
        ([0, 0, 0], [1, 1, 1], [1, 2, 3], "node 0 has parent 0"),
        ([-1, 0, 1], [1, 1, 1], [1, 2, 3], "leaf 2 is order 2, must be 1"),
        ([-1, 0], [1, 1], [1, 2, 3], "2 parents, 2 probabilities and 3 volumes"),
    ],
)
def test_trees_that_are_none(
    parents: list[int], p: list[float], volumes: list[float], says: str
) -> None:
    with pytest.raises(ProblemError, match=says):
        Tree([0, 1, 2], parents, p, volumes, UNIT)  # type: ignore[arg-type]


def test_volumes_and_kernels_are_checked_like_any_problem() -> None:
    with pytest.raises(ProblemError, match="nan"):
        solve(star(1.0, [np.nan, 1.0], [0.5, 0.5]))
    many = star(1.0, list(range(1, 81)), [1 / 80] * 80)
    with pytest.raises(ProblemError, match=r"81 orders in .* unknowns, limit 6000"):
        solve(replace(many, kernel=PowerLaw(1.0, gamma=0.5)), 80)


@pytest.mark.parametrize("limits", [Limits(), Limits(block_cap=2.0, max_rate=20.0, spread=0.05)])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_same_tree_by_the_kernels_averages(objective: str, limits: Limits) -> None:
    """One exponential, told as a sum of one: the dense program knows of no state."""
    state = three_stages(4, objective, limits=limits)
    dense = replace(state, kernel=SumOfExponentials(PAIR.K, (1.0,), (PAIR.rho,)))
    found, other = solve(state, 8), solve(dense, 8)
    assert other.cost == pytest.approx(found.cost, rel=1e-9)
    for plan, twin in zip(found.plans, other.plans, strict=True):
        assert twin.volumes == pytest.approx(plan.volumes, abs=1e-7)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_trees_under_long_memory_are_certified(objective: str) -> None:
    uncertain = replace(three_stages(5, objective), kernel=PowerLaw(PAIR.K, gamma=0.5))
    found = solve(uncertain, 6)
    assert grid_residual(found) < 1e-8
    assert follow_means(uncertain, 6).cost >= found.cost - 1e-9


def test_a_normal_law_where_there_is_no_formula() -> None:
    """Drawn as scenarios, it costs what the formula's quadrature says, caps that do not bind."""
    law = Normal(0.5, 2.0)
    free = tthc([0, 1, 2], [3.0, 0.5], UNIT)
    capped = replace(free, limits=Limits(block_cap=100.0))
    exact, drawn = adapt(free, law), adapt(capped, law)
    assert (exact.method, drawn.method) == ("closed", "tree")
    assert drawn.cost == pytest.approx(exact.cost, rel=2e-4)
