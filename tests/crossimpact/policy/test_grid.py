"""Programs on a grid are certified, and agree with formulas, SLSQP and the published table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from crossimpact.errors import ProblemError
from crossimpact.policy.sequential import active_set, grid, solve
from crossimpact.policy.sequential.closed import unconstrained
from crossimpact.policy.sequential.contingent import kkt_residual
from crossimpact.policy.sequential.kernel import Exponential, PowerLaw
from crossimpact.policy.sequential.limits import Limits
from crossimpact.policy.sequential.plan import Plan
from crossimpact.policy.sequential.problem import Problem, hybrid, stsh, tthc, ttsc
from crossimpact.policy.sequential.state_form import Grid
from tests.crossimpact.policy.residuals import grid_residual

UNIT = Exponential(1.0, rho=1.0)
OBJECTIVES = {"ttsc": ttsc, "tthc": tthc}
LIMITS = [
    Limits(no_blocks=True),
    Limits(block_cap=0.4, max_rate=3.0),
    Limits(spread=0.1),
    Limits(full_span=True),
    Limits(full_span=True, block_cap=0.5),
]
sizes = st.floats(0.1, 5.0)
signed = st.one_of(sizes, sizes.map(lambda v: -v))
thorough = settings(max_examples=25, deadline=None)


def random_problem(
    seed: int, orders: int = 3, assets: int = 4, rank: int | None = None, **options: object
) -> Problem:
    """Any signs, any part of an order struck at any time before it starts, a coupled K."""
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=(assets, rank or assets))
    K = factor @ factor.T / assets + (0.0 if rank else 0.1) * np.eye(assets)
    parts = rng.normal(size=(orders, orders, assets)) * np.tri(orders)[:, :, None]
    times = np.concatenate(([0.0], np.cumsum(rng.uniform(0.3, 1.5, orders))))
    kernel = Exponential((K + K.T) / 2, rho=rng.uniform(0.5, 4.0))
    return hybrid(times, parts.sum(axis=1), kernel, parts, **options)  # type: ignore[arg-type]


def floors(problem: Problem) -> np.ndarray:
    assert isinstance(problem.kernel, Exponential)
    return grid.floors(problem, problem.kernel.rho)


def one_sided(volumes: Sequence[float], objective: str, monotone: Sequence[bool]) -> float:
    """Cost when only some of the two orders must be monotone."""
    problem = OBJECTIVES[objective]([0, 1, 2], volumes, UNIT)
    mesh = Grid.of(problem.times, np.arange(2), np.arange(2) - 1, 48)
    credit = np.vstack((problem.c, np.zeros((1, 1))))
    system, program = grid.pose(problem, mesh, problem.volumes, credit, np.ones(2))
    loose = ~np.array(monotone)[mesh.legs, None]
    program = replace(
        program,
        lower=np.where(loose, -np.inf, program.lower),
        upper=np.where(loose, np.inf, program.upper),
    )
    found = active_set.solve(system, program)
    trades = found.x * np.abs(problem.volumes).max()
    return Plan(problem, *mesh.pieces, trades, found.residual).cost


@pytest.mark.parametrize(
    ("volumes", "objective", "none", "first", "second", "both"),
    [
        ((1, 3), "ttsc", 2.312500, 2.333333, 2.312500, 2.333333),
        ((1, 3), "tthc", 4.000000, 4.211621, 4.000000, 4.211621),
        ((3, 1), "ttsc", 1.812500, 1.812500, 2.168850, 2.168850),
        ((1, -3), "ttsc", 3.812500, 3.819089, 3.812500, 3.819089),
        ((1, -1), "ttsc", 0.812500, 0.812500, 0.812500, 0.812500),
        ((3, -1), "ttsc", 3.312500, 3.312500, 3.500000, 3.500000),
    ],
)
def test_what_each_sign_constraint_costs(
    volumes: tuple[float, float], objective: str, none: float, first: float, second: float,
    both: float,
) -> None:  # fmt: skip
    for wanted, signs in (
        (none, (False, False)), (first, (True, False)), (second, (False, True)),
        (both, (True, True)),
    ):  # fmt: skip
        assert one_sided(volumes, objective, signs) == pytest.approx(wanted, abs=2e-6)


def test_the_published_schedule() -> None:
    plan = grid.solve(tthc([0, 1, 2], [1, 3], UNIT), steps=200)
    assert plan.cost == pytest.approx(4.211621210652, rel=1e-8)
    assert plan.blocks(0)[0] == (0.0, pytest.approx(0.837553, abs=1e-5))
    assert [t for t, _ in plan.blocks(0)] == [0.0]  # no block at the end
    assert plan.blocks(1) == [
        (1.0, pytest.approx(0.750621, abs=1e-5)),
        (2.0, pytest.approx(1.124689, abs=1e-5)),
    ]
    traded = sum((end - start) * rate for start, end, rate in plan.rates(0))
    assert traded == pytest.approx(0.162447, abs=1e-5)
    assert plan.rates(0)[-1][1] == pytest.approx(0.193955, abs=1 / 200)


@pytest.mark.parametrize("volumes", [(1, 3), (3, 1), (1, -3), (3, -1)])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_ten_cells_give_a_millionth(volumes: tuple[float, float], objective: str) -> None:
    problem = OBJECTIVES[objective]([0, 1, 2], volumes, UNIT)
    exact = solve(problem).cost
    coarse, fine = (grid.solve(problem, steps).cost - exact for steps in (10, 160))
    assert -1e-12 <= fine <= 1e-8
    assert coarse < 2e-5


@thorough
@given(
    v=st.tuples(sizes, signed),
    z=st.tuples(sizes, sizes),
    objective=st.sampled_from(["ttsc", "tthc"]),
)
def test_agrees_with_the_closed_form(
    v: tuple[float, float], z: tuple[float, float], objective: str
) -> None:
    problem = OBJECTIVES[objective]([0, z[0], sum(z)], v, UNIT)
    found, exact = grid.solve(problem, 40), solve(problem)
    scale = problem.scale * np.abs(problem.volumes).max()
    assert found.residual < 1e-8
    assert -1e-10 * scale < found.cost - exact.cost < 3e-5 * scale
    assert found.benchmark_impact == pytest.approx(exact.benchmark_impact, abs=2e-2 * scale)


@pytest.mark.parametrize("seed", range(6))
def test_without_signs_it_is_the_closed_form_for_any_matrix(seed: int) -> None:
    problem = random_problem(seed, monotone=False)
    found, exact = grid.solve(problem, 3), unconstrained(problem)
    assert found.cost == pytest.approx(exact.cost, rel=1e-10)
    assert found.benchmark_impact == pytest.approx(exact.benchmark_impact, abs=1e-8)
    assert kkt_residual(found) < 1e-8


@pytest.mark.parametrize("limits", [Limits(), *LIMITS])
@pytest.mark.parametrize("monotone", [True, False])
@pytest.mark.parametrize("seed", [0, 1])
def test_certified_by_the_kernel_alone(seed: int, monotone: bool, limits: Limits) -> None:
    problem = random_problem(seed, monotone=monotone)
    largest = np.abs(problem.volumes).max()
    if limits.block_cap is not None:
        limits = replace(limits, block_cap=0.6 * largest)
    if limits.max_rate is not None:
        limits = replace(limits, max_rate=3 * largest)
    problem = replace(problem, limits=limits)
    plan = grid.solve(problem, 12)
    assert plan.residual < 1e-8
    assert grid_residual(plan, floors(problem)) < 1e-8


def test_the_certificate_sees_what_is_not_optimal() -> None:
    plan = grid.solve(random_problem(3), 12)
    moved = plan.volumes.copy()
    moved[[0, 5], 0] += np.array([1e-3, -1e-3])
    assert grid_residual(replace(plan, volumes=moved)) > 1e-4


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_semidefinite_matrices_are_solved(rank: int) -> None:
    problem = random_problem(rank, assets=5, rank=rank)
    plan = grid.solve(problem, 12)
    assert grid_residual(plan) < 1e-8


def test_many_assets_on_fine_grids_start_from_coarse_ones() -> None:
    problem = random_problem(5, orders=3, assets=8)
    fine, direct = grid.solve(problem, 100), grid.solve(problem, 25)
    assert grid_residual(fine) < 1e-8
    assert fine.cost == pytest.approx(direct.cost, rel=1e-5)
    assert fine.cost <= direct.cost


@pytest.mark.parametrize("volumes", [(1, 3), (3, 1), (1, -3), (3, -1)])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_nodes_on_the_edges_make_it_exact(volumes: tuple[float, float], objective: str) -> None:
    problem = OBJECTIVES[objective]([0, 1, 2], volumes, UNIT)
    exact, sharp = solve(problem), grid.solve(problem, 12, sharpen=6)
    assert sharp.cost == pytest.approx(exact.cost, abs=1e-12)
    assert sharp.benchmark_impact == pytest.approx(exact.benchmark_impact, abs=1e-6)
    assert kkt_residual(sharp) < 1e-7  # in continuous time
    assert grid_residual(sharp) < 1e-8


@pytest.mark.parametrize("seed", range(5))
def test_edges_of_many_orders_are_found_by_what_is_traded_there(seed: int) -> None:
    problem = random_problem(seed, orders=5, assets=1)
    rough, sharp = grid.solve(problem, 24), grid.solve(problem, 24, sharpen=8)
    finest = grid.solve(problem, 160)
    assert sharp.cost <= rough.cost
    assert sharp.cost == pytest.approx(
        finest.cost, abs=1e-6
    )  # trading for less than a cell: unseen
    assert kkt_residual(sharp) < 1e-4


def test_sharpening_never_costs() -> None:
    for seed in range(3):
        problem = random_problem(seed, orders=4, assets=6)
        rough, sharp = grid.solve(problem, 10), grid.solve(problem, 10, sharpen=3)
        assert sharp.cost < rough.cost
        assert grid_residual(sharp) < 1e-8


def test_assets_that_do_not_move_each_other_are_scheduled_apart() -> None:
    kappa, v = np.array([0.5, 2.0, 1.0]), np.array([[1.0, 2.0, -1.0], [3.0, -1.0, 0.0]])
    together = grid.solve(ttsc([0, 1, 2], v, Exponential(np.diag(kappa), rho=1.0)), 20)
    for i in range(3):
        alone = grid.solve(ttsc([0, 1, 2], v[:, i], Exponential(kappa[i], rho=1.0)), 20)
        assert together.volumes[:, i] == pytest.approx(alone.volumes[:, 0], abs=1e-8)


# -- invariances ---------------------------------------------------------------------------------


@thorough
@given(seed=st.integers(0, 10**6), size=st.floats(0.01, 100), pace=st.floats(0.05, 20))
def test_cost_is_invariant(seed: int, size: float, pace: float) -> None:
    problem = random_problem(seed, assets=2)
    kernel = problem.kernel
    assert isinstance(kernel, Exponential)
    cost = grid.solve(problem, 10).cost
    near = pytest.approx(cost, rel=1e-7, abs=1e-9)
    parts = problem.benchmark
    flipped = hybrid(problem.times, -problem.volumes, kernel, -parts)
    assert grid.solve(flipped, 10).cost == near
    scaled = hybrid(problem.times, size * problem.volumes, kernel, size * parts)
    assert grid.solve(scaled, 10).cost / size**2 == near
    slower = Exponential(kernel.K, rho=kernel.rho / pace)
    stretched = hybrid(problem.times * pace, problem.volumes, slower, parts)
    assert grid.solve(stretched, 10).cost == near
    dearer = Exponential(size * kernel.K, rho=kernel.rho)
    assert grid.solve(hybrid(problem.times, problem.volumes, dearer, parts), 10).cost / size == near


@thorough
@given(v=st.tuples(sizes, sizes), z=st.tuples(sizes, sizes))
def test_known_buys_may_be_read_backwards(v: tuple[float, float], z: tuple[float, float]) -> None:
    forth = grid.solve(tthc([0, z[0], sum(z)], v, UNIT), 15)
    back = grid.solve(tthc([0, z[1], sum(z)], v[::-1], UNIT), 15)
    assert forth.cost == pytest.approx(back.cost, rel=1e-9)
    assert forth.volumes == pytest.approx(back.volumes[::-1], abs=1e-6 * max(v))


def test_the_same_bytes_every_time() -> None:
    once, again = (grid.solve(random_problem(1), 30).volumes for _ in range(2))
    assert once.tobytes() == again.tobytes()


# -- against a general solver ----------------------------------------------------------------------


@pytest.mark.parametrize(("objective", "volumes"), [("tthc", (1, 3)), ("ttsc", (1, -3))])
def test_atoms_by_slsqp_converge_from_above(objective: str, volumes: tuple[float, float]) -> None:
    """Trades at grid points only, a general solver: off by the square of the step, from above."""
    problem = OBJECTIVES[objective]([0, 1, 2], volumes, UNIT)
    best = solve(problem).cost
    errors = [atoms(problem, n) - best for n in (10, 20)]
    assert errors[0] > errors[1] > 0
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.25)


def atoms(problem: Problem, n: int) -> float:
    times = np.concatenate((np.linspace(0, 1, n + 1), np.linspace(1, 2, n + 1)))
    order = np.repeat([0, 1], n + 1)
    G = np.exp(-np.abs(times[:, None] - times))
    linear = -np.where(order == 0, np.exp(-np.abs(1 - times)), 0.0) * problem.c[0, 0]
    side = np.sign(problem.volumes[order, 0])
    start = problem.volumes[order, 0] / (n + 1)
    sums = (order == np.arange(2)[:, None]).astype(float)
    found = minimize(
        lambda x: 0.5 * x @ G @ x + linear @ x, start, jac=lambda x: G @ x + linear,
        bounds=[(0, None) if s > 0 else (None, 0) for s in side],
        constraints={
            "type": "eq", "fun": lambda x: sums @ x - problem.volumes[:, 0], "jac": lambda x: sums,
        },
        method="SLSQP", options={"ftol": 1e-14, "maxiter": 1000},
    )  # fmt: skip
    return float(found.fun)


# -- limits --------------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("volumes", [(1, 3), (1, -1)])
def test_limits_hold_and_cost(volumes: tuple[float, float], objective: str) -> None:
    build = OBJECTIVES[objective]
    free = grid.solve(build([0, 1, 2], volumes, UNIT)).cost
    limits = Limits(block_cap=0.4, max_rate=2.9)
    capped = grid.solve(build([0, 1, 2], volumes, UNIT, limits=limits))
    blocks, width = capped.starts == capped.ends, capped.ends - capped.starts
    assert np.abs(capped.volumes[blocks]).max() <= 0.4
    assert (np.abs(capped.volumes[~blocks, 0]) <= 2.9 * width[~blocks] * (1 + 1e-12)).all()
    bare = grid.solve(build([0, 1, 2], volumes, UNIT, limits=Limits(no_blocks=True)))
    assert not bare.volumes[blocks].any()
    assert min(capped.cost, bare.cost) > free
    looser = grid.solve(build([0, 1, 2], volumes, UNIT, limits=Limits(block_cap=0.5, max_rate=2.9)))
    assert free - 1e-12 < looser.cost < capped.cost + 1e-12


def test_full_span_never_waits_nor_stops() -> None:
    spanned = grid.solve(ttsc([0, 1, 2], [1, 3], UNIT, limits=Limits(full_span=True)))
    rates = spanned.volumes[:, 0] / np.where(spanned.ends > spanned.starts, 1, np.inf) * 24
    for order, volume in enumerate([1, 3]):
        cells = (spanned.orders == order) & (spanned.ends > spanned.starts)
        assert rates[cells].min() >= volume / 3 * (1 - 1e-9)
    assert spanned.cost > grid.solve(ttsc([0, 1, 2], [1, 3], UNIT)).cost
    one = stsh([0, 2], [2.0], UNIT, limits=Limits(full_span=True))
    assert grid.solve(one).cost == pytest.approx(4 / (2 + 2))  # alone, nothing changes


def test_crossing_a_buy_with_a_sell_pays_the_spread() -> None:
    crossed = tthc([0, 1, 2], [1, -1], UNIT, limits=Limits(spread=0.1))
    assert grid.solve(crossed).cost == pytest.approx(0.2, abs=1e-9)
    assert grid.solve(tthc([0, 1, 2], [1, -1], UNIT)).cost == pytest.approx(0, abs=1e-9)


def test_a_spread_ends_trading_back_and_forth() -> None:
    """Without signs order 1 buys more than it needs and sells it again; a spread makes it dear."""
    build = partial(tthc, [0, 1, 2], [1, 3], UNIT, monotone=False)
    plans = [grid.solve(build(limits=Limits(spread=spread))) for spread in (0.0, 0.05, 5.0)]
    traded = [np.abs(plan.volumes).sum() for plan in plans]
    assert traded[0] > traded[1] > traded[2] == pytest.approx(4.0)


def test_caps_that_leave_one_schedule_give_it() -> None:
    limits = Limits(no_blocks=True, max_rate=3.0)
    plan = grid.solve(tthc([0, 1, 2], [1, 3], UNIT, limits=limits), 10)
    second = plan.volumes[(plan.orders == 1) & (plan.ends > plan.starts), 0]
    assert second == pytest.approx(np.full(10, 0.3))


@pytest.mark.parametrize(
    ("limits", "number", "limit"),
    [
        (Limits(no_blocks=True, max_rate=2.0), "volume 3", "room for 2"),
        (Limits(block_cap=0.5, max_rate=1.5), "volume 3", "room for 2.5"),
        (Limits(full_span=True, max_rate=0.9), "rate of 1", "cap is 0.9"),
    ],
)
def test_infeasible_caps_name_the_number_and_the_limit(
    limits: Limits, number: str, limit: str
) -> None:
    with pytest.raises(ProblemError, match=f"{number}.*{limit}"):
        grid.solve(tthc([0, 1, 2], [1, 3], UNIT, limits=limits))


def test_what_it_cannot_solve() -> None:
    with pytest.raises(ProblemError, match=r"not PowerLaw.*kernel_qp"):
        grid.solve(tthc([0, 1, 2], [1, 3], PowerLaw(1.0, gamma=0.5)))
    with pytest.raises(ProblemError, match=r"steps is 0, must be >= 1"):
        grid.solve(tthc([0, 1, 2], [1, 3], UNIT), steps=0)


def test_an_order_of_nothing() -> None:
    plan = grid.solve(ttsc([0, 1, 2], [0, 2], UNIT))
    assert not plan.volumes[plan.orders == 0].any()
    assert plan.cost == pytest.approx(4 / 3)
