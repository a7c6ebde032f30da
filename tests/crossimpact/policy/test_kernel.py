"""Averages of a kernel are integrals; what manipulates prices is refused with its size."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.integrate import quad, trapezoid

from crossimpact.errors import Inadmissible, ProblemError
from crossimpact.policy.sequential import solve
from crossimpact.policy.sequential.certificate import continuous_residual
from crossimpact.policy.sequential.kernel import (
    Convex,
    Exponential,
    ExponentialByAsset,
    Kernel,
    PowerLaw,
    SumOfExponentials,
    project,
)
from crossimpact.policy.sequential.problem import tthc, ttsc
from tests.crossimpact.policy.residuals import grid_residual

KERNELS: list[Kernel] = [
    Exponential(1.0, rho=1.3),
    Exponential(1.0, rho=1e-4),
    PowerLaw(1.0, gamma=0.4),
    PowerLaw(1.0, gamma=1.0),
    PowerLaw(1.0, gamma=2.0),
    PowerLaw(1.0, gamma=1.5),
    SumOfExponentials(1.0, weights=(0.7, 0.2, 0.1), rhos=(5.0, 0.5, 0.0)),
    Convex(1.0, function=lambda t: 1 / (1 + t * t) ** 0.25 / (1 + t)),
]


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: type(kernel).__name__)
@pytest.mark.parametrize("t", [1e-3, 0.05, 0.21, 1.0, 7.0])
def test_antiderivatives(kernel: Kernel, t: float) -> None:
    def shape(s: float) -> float:
        return float(kernel.shape(np.array([s]))[0])

    at = np.array([t])
    assert kernel.first(at)[0] == pytest.approx(quad(shape, 0, t)[0], rel=1e-12)
    moment = quad(lambda s: (t - s) * shape(s), 0, t, epsabs=0, epsrel=1e-12)[0]
    assert kernel.second(at)[0] == pytest.approx(moment, rel=1e-10)
    assert kernel.first(np.zeros(1))[0] == kernel.second(np.zeros(1))[0] == 0


spans = st.tuples(st.floats(0, 3), st.floats(0, 1) | st.just(0.0)).map(lambda s: (s[0], sum(s)))


@settings(deadline=None, max_examples=40)
@given(st.lists(spans, min_size=1, max_size=6), st.sampled_from(KERNELS))
@example([(1.5, 2.5), (2.0, 2.0)], KERNELS[0])
def test_coupling_is_the_average_over_both_pieces(spans: list, kernel: Kernel) -> None:
    spans = [span if span[1] - span[0] > 1e-3 else (span[0], span[0]) for span in spans]
    pieces = tuple(np.array(spans).T)
    coupling = kernel.coupling(pieces, pieces)
    assert coupling == pytest.approx(coupling.T, abs=1e-9)
    (a, b), (c, d) = spans[0], spans[-1]
    wanted = _mean(lambda t: _mean(lambda s: kernel.shape(abs(t - s)), c, d, t), a, b, c, d)
    assert coupling[0, -1] == pytest.approx(wanted, rel=1e-9, abs=1e-12)


def _mean(function: Callable, start: float, end: float, *kinks: float) -> float:
    """Average over (start, end) of a function that is smooth between its kinks."""
    if start == end:
        return float(function(start))
    edges = np.unique(np.clip([start, end, *kinks], start, end))
    nodes, weights = np.polynomial.legendre.leggauss(20)
    total = 0.0
    for low, high in pairwise(edges):
        at = (low + high) / 2 + (high - low) / 2 * nodes
        total += weights @ np.array([float(function(t)) for t in at]) * (high - low) / 2
    return total / (end - start)


@settings(deadline=None, max_examples=40)
@given(st.lists(spans, min_size=2, max_size=8), st.sampled_from(KERNELS))
def test_no_schedule_costs_less_than_nothing(spans: list, kernel: Kernel) -> None:
    spans = [span if span[1] - span[0] > 1e-3 else (span[0], span[0]) for span in spans]
    pieces = tuple(np.array(spans).T)
    assert np.linalg.eigvalsh(kernel.coupling(pieces, pieces))[0] > -1e-8


@pytest.mark.parametrize(
    ("K", "message"),
    [
        ([[1, 0.5], [0.4, 1]], r"asymmetric.*apart by 0.1, limit 1e-09.*--project"),
        ([[1, 1.05], [1.05, 1]], r"smallest eigenvalue -0.05, limit -1.05e-09.*--project"),
        ([[1, 2, 3]], r"shape \(1, 3\)"),
        ([[1, np.nan], [np.nan, 1]], r"K\[0\]\[1\] is nan"),
        (0.0, "kappa of the kernel is 0"),
        (-1.0, "kappa of the kernel is -1"),
    ],
)
def test_a_matrix_that_manipulates_prices_is_refused(K: object, message: str) -> None:
    with pytest.raises(ProblemError, match=message):
        Exponential(K, rho=1.0)  # type: ignore[arg-type]


def test_rounding_is_not_refused() -> None:
    K = np.array([[1.0, 1.0 + 1e-13], [1.0 - 1e-13, 1.0]])
    assert (Exponential(K, rho=1.0).K == 1.0).all()


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 1000))
def test_projection_is_the_nearest(seed: int) -> None:
    rng = np.random.default_rng(seed)
    K = rng.normal(size=(4, 4))
    nearest = project(K)
    Exponential(nearest + 1e-12 * np.eye(4), rho=1.0)
    other = rng.normal(size=(4, 4))
    away = nearest + 0.1 * (other @ other.T - nearest)  # admissible matrices are convex
    assert np.linalg.norm(K - nearest) <= np.linalg.norm(K - away) + 1e-12
    assert project(nearest) == pytest.approx(nearest, abs=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Exponential(1.0, rho=0.0), "rho of the kernel is 0"),
        (lambda: PowerLaw(1.0, gamma=-0.5), "gamma of the kernel is -0.5"),
        (lambda: SumOfExponentials(1.0, (1.0, -0.1), (1.0, 2.0)), "weight 1 of the kernel is -0.1"),
        (lambda: SumOfExponentials(1.0, (1.0,), (1.0, 2.0)), "1 weights for 2 rhos"),
        (lambda: SumOfExponentials(1.0, (1.0,), (0.0,)), "does not decay"),
        (lambda: Convex(1.0, np.cos).check(3.0), "increases at lag|not convex at lag"),
        (lambda: Convex(1.0, lambda t: 1 - t).check(3.0), "is negative at lag 3, by 2"),
        (lambda: Convex(1.0, lambda t: np.exp(-(t**2))).check(3.0), "not convex"),
        (lambda: Convex(1.0, np.ones_like).check(3.0), "does not decay"),
        (lambda: Convex(1.0, lambda t: t**-0.5).check(3.0), "not a finite number"),
    ],
)
def test_a_kernel_that_does_not_decay_is_refused(make: object, message: str) -> None:
    with pytest.raises(ProblemError, match=message), np.errstate(divide="ignore"):
        make()  # type: ignore[operator]


# -- one decay per asset -------------------------------------------------------------------------


def test_by_asset_full_cost_is_that_of_the_decayed_volumes() -> None:
    """``1/2 Y'KY + 1/2 int Y'(KR + RK)Y dt`` at the end of any schedule, here summed up by hand."""
    kernel = ExponentialByAsset([[1.0, 0.5], [0.5, 1.0]], rhos=(1.0, 3.0))  # type: ignore[arg-type]
    plan = solve(tthc([0, 1, 2], [[1, 1], [3, -2]], kernel))
    rhos, t = np.array(kernel.rhos), np.linspace(0, 2, 4_001)
    Y = plan.price_move(t) @ np.linalg.inv(kernel.K)
    rate = np.einsum("ti,ij,tj->t", Y, kernel.K * (rhos[:, None] + rhos), Y)
    end = Y[-1] @ kernel.K @ Y[-1]
    assert plan.full == pytest.approx(0.5 * (end + trapezoid(rate, t)), rel=2e-3)
    assert grid_residual(plan) < 1e-8 and plan.accuracy.reached
    assert continuous_residual(plan) < 1e-5


def test_by_asset_with_one_rho_is_exponential() -> None:
    K = [[1.0, 0.5], [0.5, 1.0]]
    same, one = ExponentialByAsset(K, rhos=(1.0, 1.0)), Exponential(K, rho=1.0)  # type: ignore[arg-type]
    plans = [solve(ttsc([0, 1, 2], [[1, 1], [3, -2]], kernel)) for kernel in (same, one)]
    assert plans[0].cost == pytest.approx(plans[1].cost, rel=1e-6)
    assert plans[0].benchmark_impact == pytest.approx(plans[1].benchmark_impact, rel=1e-4)


def test_by_asset_uncoupled_assets_are_scheduled_apart() -> None:
    both = solve(tthc([0, 1, 2], [[1, 1], [3, 3]], ExponentialByAsset(np.eye(2), rhos=(1.0, 3.0))))
    alone = [solve(tthc([0, 1, 2], [1, 3], Exponential(1.0, rho=rho))).cost for rho in (1.0, 3.0)]  # type: ignore[arg-type]
    assert both.cost == pytest.approx(sum(alone), rel=1e-6)


def test_by_asset_refuses_decays_that_make_round_trips_pay() -> None:
    """The round trip of the message, priced: it earns what it says."""
    K, rhos, h = np.array([[1.0, 0.9], [0.9, 1.0]]), np.array([0.1, 10.0]), 0.5
    with pytest.raises(Inadmissible, match=r"eigenvalue of K R \+ R K is -3.34.* earns 3.34 t"):
        ExponentialByAsset(K, rhos=tuple(rhos))
    lowest, v = (x[..., 0] for x in np.linalg.eigh(K * (rhos[:, None] + rhos)))
    kernel = ExponentialByAsset(K, rhos=(1.0, 1.0))
    object.__setattr__(kernel, "rhos", tuple(rhos))
    pieces = np.array([0, 0, h, h, 2 * h]), np.array([0, h, h, 2 * h, 2 * h])
    trades = np.array([v, v * rhos * h, -2 * v, -v * rhos * h, v])
    assert trades.sum(axis=0) == pytest.approx(0)
    cost = 0.5 * (trades * kernel.felt(pieces, pieces, trades)).sum()
    assert cost == pytest.approx(lowest * h, rel=1e-9) and cost < 0
