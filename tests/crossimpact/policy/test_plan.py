"""Plans price themselves exactly: against brute force, order by order, and as certificates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossimpact.errors import ProblemError
from crossimpact.policy.sequential.contingent import Contingent, kkt_residual
from crossimpact.policy.sequential.kernel import Exponential, PowerLaw, SumOfExponentials
from crossimpact.policy.sequential.limits import Limits
from crossimpact.policy.sequential.plan import Plan
from crossimpact.policy.sequential.problem import Problem, at_arrival, tthc, ttsc
from tests.crossimpact.policy.problems import sequences

KERNELS = [
    Exponential([[1.0, 0.3], [0.3, 0.5]], rho=1.5),
    PowerLaw([[1.0, 0.3], [0.3, 0.5]], gamma=0.5),
]


def random_plan(problem: Problem, seed: int) -> Plan:
    """Blocks and cells of any sign, cells that overlap between assets and orders' blocks."""
    rng = np.random.default_rng(seed)
    pieces = []
    for order in range(problem.orders):
        begin, end = problem.times[order : order + 2]
        for _ in range(3):
            a, b = np.sort(rng.uniform(begin, end, 2))
            pieces += [(order, a, b, rng.normal(size=problem.assets))]
            pieces += [(order, a, a, rng.normal(size=problem.assets))]
        pieces += [(order, t, t, rng.normal(size=problem.assets)) for t in (begin, end)]
    return Plan.of(problem, pieces)


def in_slices(plan: Plan, n: int = 400) -> Plan:
    """Each cell as n small blocks, each in the middle of its slice."""
    pieces = []
    for order, a, b, volume in zip(plan.orders, plan.starts, plan.ends, plan.volumes, strict=True):
        times = a + (b - a) * (np.arange(n) + 0.5) / n if b > a else [a]
        pieces += [(order, t, t, volume / len(times)) for t in times]
    return Plan.of(plan.problem, pieces)


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: type(kernel).__name__)
@pytest.mark.parametrize("seed", range(3))
def test_cells_are_the_limit_of_small_blocks(kernel: Exponential, seed: int) -> None:
    problem = ttsc([0, 1, 2.5], [[1, 2], [3, -1]], kernel)
    plan = random_plan(problem, seed)
    slices = in_slices(plan)
    assert plan.benchmark_impact == pytest.approx(slices.benchmark_impact, rel=1e-3)
    # n slices leave each cell's impact on itself short by g(0) / 2n of what a cell has
    assert plan.full == pytest.approx(slices.full, rel=2e-2)


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: type(kernel).__name__)
@pytest.mark.parametrize("seed", range(3))
def test_trade_by_trade_against_the_benchmarks(kernel: Exponential, seed: int) -> None:
    """Every block pays the impact before it and half its own, less what its price was struck at."""
    problem = ttsc([0, 1, 2.5], [[1, 2], [3, -1]], kernel)
    plan = in_slices(random_plan(problem, seed), n=5)
    ranked = np.lexsort((plan.orders, plan.starts))
    arrival, paid = {0: np.zeros(2)}, 0.0
    for place, i in enumerate(ranked):
        order, t = plan.orders[i], plan.starts[i]
        before = ranked[:place]
        for k in range(1, problem.orders):
            if k not in arrival and order >= k:
                lag = problem.times[k] - plan.starts[before]
                arrival[k] = kernel.K @ (kernel.shape(lag) @ plan.volumes[before])
        here = kernel.K @ (kernel.shape(t - plan.starts[before]) @ plan.volumes[before])
        own = kernel.K @ plan.volumes[i] / 2
        paid += plan.volumes[i] @ (here + own - arrival[order])
    assert arrival[1] == pytest.approx(plan.benchmark_impact[0])
    # the plan's own volumes, not the problem's, are what was held against the prices
    held = plan.volumes[plan.orders == 1].sum(axis=0)
    assert plan.full - held @ plan.benchmark_impact[0] == pytest.approx(paid)


def test_struck_between_two_ordered_blocks() -> None:
    problem = ttsc([0, 1, 2], [1, -1], Exponential(1.0, rho=1.0))
    plan = Plan.of(problem, [(0, 1, 1, 1.0), (1, 1, 1, -1.0)])
    assert plan.benchmark_impact.tolist() == [[1.0]]
    assert plan.price_move([1.0]).tolist() == [[0.0]]
    assert plan.price_move([1.0], before=True).tolist() == [[0.0]]
    assert (plan.full, plan.ttsc, plan.tthc) == (0.0, 1.0, 0.0)


@settings(deadline=None, max_examples=25)
@given(sequences(), st.integers(0, 100))
def test_price_moves_and_benchmarks_agree(problem: Problem, seed: int) -> None:
    plan = random_plan(problem, seed)
    inner = problem.times[1:-1]
    later = np.array(
        [plan.volumes[(plan.orders == k) & (plan.starts == t) & (plan.ends == t)].sum(axis=0)
         for k, t in enumerate(inner, start=1)]
    ).reshape(len(inner), problem.assets)  # fmt: skip
    if len(inner):
        after = plan.price_move(inner)
        assert after - later @ problem.kernel.K == pytest.approx(plan.benchmark_impact, abs=1e-9)


@settings(deadline=None, max_examples=25)
@given(sequences(), st.integers(0, 100))
def test_the_gradient_is_the_costs_slope(problem: Problem, seed: int) -> None:
    plan = random_plan(problem, seed)
    rng = np.random.default_rng(seed)
    order = int(rng.integers(problem.orders))
    t = rng.uniform(*problem.times[order : order + 2])
    extra = rng.normal(size=problem.assets)

    def cost(size: float) -> float:
        more = [(order, t, t, size * extra)]
        old = zip(plan.orders, plan.starts, plan.ends, plan.volumes, strict=True)
        return Plan.of(problem, [*old, *more]).cost

    slope = (cost(0.5) - cost(-0.5)) / 1.0  # exact for a quadratic
    assert plan.gradient(order, np.array([t]))[0] @ extra == pytest.approx(slope, abs=1e-8)


def test_linear_permanent_impact_adds_what_it_should() -> None:
    g, volumes = 0.3, [1.0, 3.0]
    plain = ttsc([0, 1, 2], volumes, Exponential(1.0, rho=1.0))
    plan = Plan.of(plain, [(0, 0, 1, 1.0), (1, 1, 1, 2.0), (1, 1.5, 2, 1.0)])
    kernel = SumOfExponentials(1.0, weights=(1.0, g), rhos=(1.0, 0.0))
    lasting = replace(plan, problem=replace(plain, kernel=kernel))
    assert lasting.full == pytest.approx(plan.full + g * 16 / 2)
    assert lasting.ttsc == pytest.approx(plan.ttsc + g * 16 / 2 - g * 3)


def test_spread_is_paid_on_everything_traded() -> None:
    limits = Limits(spread=[0.1, 0.2])
    problem = tthc([0, 1, 2], [[1, 1], [-1, 2]], KERNELS[0], limits=limits)
    plan = Plan.of(problem, [(0, 0, 1, [1, 1]), (1, 1, 1, [-1, 2])])
    assert plan.spread_cost == pytest.approx(0.1 * 2 + 0.2 * 3)
    assert plan.cost == pytest.approx(plan.full + plan.spread_cost)


def test_certificate_sees_what_is_not_optimal() -> None:
    problem = tthc([0, 1], [1], Exponential(1.0, rho=1.0))
    best = Plan.of(problem, [(0, 0, 0, 1 / 3), (0, 0, 1, 1 / 3), (0, 1, 1, 1 / 3)])
    assert kkt_residual(best) < 1e-15
    off = Plan.of(problem, [(0, 0, 0, 0.3), (0, 0, 1, 0.4), (0, 1, 1, 0.3)])
    assert kkt_residual(off) > 0.01
    late = Plan.of(problem, [(0, 1, 1, 1.0)])
    assert kkt_residual(late) > 0.5


def test_a_piece_outside_its_order_is_refused() -> None:
    problem = tthc([0, 1, 2], [1, 3], Exponential(1.0, rho=1.0))
    with pytest.raises(ProblemError, match=r"order 1 trades over \(0.5, 2\), outside .* \(1, 2\)"):
        Plan.of(problem, [(1, 0.5, 2.0, 3.0)])


def test_rates_of_equal_neighbours_are_joined() -> None:
    problem = tthc([0, 1, 2], [1, 3], Exponential(1.0, rho=1.0))
    plan = Plan.of(problem, [(0, 0.5, 1, 0.25), (0, 0, 0.5, 0.25), (0, 1, 1, 0.5), (0, 0, 0, 0.0)])
    assert plan.rates(0) == [(0.0, 1.0, 0.5)]
    assert plan.blocks(0) == [(1.0, 0.5)]


@settings(deadline=None, max_examples=10)
@given(sequences(), st.integers(0, 100))
def test_plans_priced_together_are_priced_alone(problem: Problem, seed: int) -> None:
    plans = tuple(random_plan(problem, seed + i) for i in range(3))
    p = np.array([0.2, 0.3, 0.5])
    nodes = np.arange(3)[:, None] * np.ones((1, problem.orders), np.intp)
    together = Contingent(p, plans, nodes)
    for name in ("full", "cost", "ttsc", "tthc"):
        alone = p @ np.array([getattr(plan, name) for plan in plans])
        assert getattr(together, name) == pytest.approx(alone)
    alone = sum(w * plan.benchmark_impact for w, plan in zip(p, plans, strict=True))
    assert together.benchmark_impact == pytest.approx(alone)
    assert plans[0].priced(at_arrival(problem.volumes)) == plans[0].ttsc
