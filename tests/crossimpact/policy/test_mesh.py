"""Kernels of several time scales on long horizons: right blocks, and an accuracy that is true."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import beta, gamma

from crossimpact.model import Array
from crossimpact.policy.sequential import kernel_qp, solve
from crossimpact.policy.sequential.certificate import continuous_residual
from crossimpact.policy.sequential.kernel import Kernel, PowerLaw, SumOfExponentials
from crossimpact.policy.sequential.mesh import graded
from crossimpact.policy.sequential.plan import Plan
from crossimpact.policy.sequential.problem import stsh, tthc, ttsc


def exact(weights: Array, rhos: Array, T: float) -> tuple[float, float]:
    """First block and cost of a unit order under a sum of K exponentials, in closed form.

    The marginal cost is constant for blocks a at both ends and the rate
    ``c + sum_i b_i cosh(mu_i (t - T/2))``, the mu_i^2 being the K-1 roots of
    ``sum_k w_k rho_k / (rho_k^2 - mu^2) = 0``, one between each two rho_k^2, and every
    ``exp(-rho_k t)`` cancelling: K equations for a, c and the b_i up to a factor.
    """
    order = np.argsort(rhos)
    w, r = weights[order], rhos[order]

    def poles(m: float) -> float:
        return float((w * r / (r**2 - m)).sum())

    between = zip(r[:-1] ** 2, r[1:] ** 2, strict=True)
    mu = np.sqrt([brentq(poles, a + 1e-12 * (b - a), b - 1e-12 * (b - a)) for a, b in between])
    tail = np.exp(-mu * T)
    waves = (tail / (r[:, None] + mu) + 1 / (r[:, None] - mu)) / (1 + tail)
    block, *b = np.linalg.solve(np.column_stack((np.ones_like(r), -waves)), 1 / r)
    volume = 2 * block + T + np.array(b) @ (2 * (1 - tail) / (mu * (1 + tail)))
    return block / volume, float((w / r).sum()) / volume


def alone(T: float, kernel: Kernel) -> Plan:
    plan = solve(stsh([0, T], [1.0], kernel))
    assert plan.accuracy.reached and plan.residual < 1e-8
    return plan


@pytest.mark.parametrize(
    ("weights", "rhos", "T", "block", "cost"),
    [
        ((0.5, 0.5), (0.1, 1000.0), 10.0, 0.0033554795, 0.16779075),
        ((0.7, 0.3), (5.0, 0.01), 390.0, 0.0050857372, 0.052257137),
        ((0.2, 0.3, 0.5), (0.01, 1.0, 50.0), 100.0, None, None),
    ],
)
def test_solve_sum_of_exponentials_with_rates_apart(
    weights: tuple[float, ...], rhos: tuple[float, ...], T: float, block: float | None,
    cost: float | None,
) -> None:  # fmt: skip
    known = exact(np.array(weights), np.array(rhos), T)
    if block is not None:
        assert known == (pytest.approx(block, rel=1e-7), pytest.approx(cost, rel=1e-7))
    plan = alone(T, SumOfExponentials(1.0, weights, rhos))  # type: ignore[arg-type]
    assert 0 <= plan.cost / known[1] - 1 < plan.accuracy.cost
    assert abs(plan.volumes[0, 0] / known[0] - 1) < 3 * plan.accuracy.blocks


@pytest.mark.parametrize(
    ("g", "T", "block", "cost"),
    [
        (0.5, 5, 0.17610, None),
        (0.5, 100, 0.030693, 0.11151939),
        (0.5, 1_000, 0.0061071, 0.039339665),
        (0.5, 23_400, 0.00059860, 0.0084774679),
        (0.5, 1e6, 0.00003615, 0.0013088417),
        (0.3, 1_000, 0.0099611, 0.10238603),
        (0.3, 23_400, 0.0013092, 0.040266778),
    ],
)
def test_solve_power_law_on_a_long_horizon(
    g: float, T: float, block: float, cost: float | None
) -> None:
    plan = alone(T, PowerLaw(1.0, gamma=g))  # type: ignore[arg-type]
    assert plan.volumes[0, 0] == pytest.approx(block, rel=3e-4)
    assert plan.volumes[-1, 0] == pytest.approx(plan.volumes[0, 0], rel=1e-6)
    if cost is not None:
        assert plan.cost == pytest.approx(cost, rel=1e-6)


@pytest.mark.parametrize("g", [0.3, 0.5, 0.7])
def test_solve_power_law_meets_its_limit_from_below(g: float) -> None:
    """``t^-g`` is more than ``(1 + t)^-g`` (Gatheral, Schied and Slynko 2012): costs times T^g."""
    limit = np.pi / (2 * np.cos(np.pi * g / 2) * beta((1 + g) / 2, (1 + g) / 2))
    costs = [alone(T, PowerLaw(1.0, gamma=g)).cost * T**g for T in (1e2, 1e4, 1e6)]  # type: ignore[arg-type]
    assert costs[0] < costs[1] < costs[2] < limit
    assert costs[2] > limit * {0.3: 0.9998, 0.5: 0.998, 0.7: 0.97}[g]


def test_power_law_tau_is_its_unit_of_time() -> None:
    minutes = alone(390.0, PowerLaw(1.0, gamma=0.5, tau=2.0))  # type: ignore[arg-type]
    seconds = alone(60 * 390.0, PowerLaw(1.0, gamma=0.5, tau=120.0))  # type: ignore[arg-type]
    assert seconds.cost == pytest.approx(minutes.cost, rel=1e-12)
    assert seconds.volumes == pytest.approx(minutes.volumes, abs=1e-12)


def test_power_law_coupling_of_tiny_cells_far_apart() -> None:
    """Second differences of 1e9 lose all digits here; exponentials ``(1 + t)^-g`` is made of keep
    them: ``Gamma(g) (1 + t)^-g = int s^(g-1) exp(-s (1 + t)) ds``."""
    g, logs = 0.5, np.arange(-90.0, 6.0, 0.12)
    rates = np.exp(logs)
    weights = 0.12 * rates**g * np.exp(-rates) / gamma(g)
    terms = SumOfExponentials(1.0, tuple(weights), tuple(rates))  # type: ignore[arg-type]
    nodes = graded(0.0, 1e6, 1.0)
    pieces = np.append(nodes[:1], nodes), np.append(nodes, nodes[-1:])
    coupling = PowerLaw(1.0, gamma=g).coupling(pieces, pieces)  # type: ignore[arg-type]
    assert coupling == pytest.approx(terms.coupling(pieces, pieces), rel=1e-11, abs=0)


@pytest.mark.parametrize("build", [tthc, ttsc])
def test_accuracy_bounds_what_a_finer_mesh_still_changes(build: object) -> None:
    """Several orders that wait, two coupled assets: the edges are found too."""
    kernel = PowerLaw([[1.0, 0.4], [0.4, 0.8]], gamma=0.5)  # type: ignore[arg-type]
    problem = build([0, 60, 390], [[1, -2], [3, 0.5]], kernel)  # type: ignore[operator]
    plan, finer = kernel_qp.solve(problem), kernel_qp.solve(problem, largest=3000)
    coarse = kernel_qp.solve(problem, largest=600)
    assert plan.accuracy.reached
    assert abs(coarse.cost - plan.cost) < coarse.accuracy.cost * abs(coarse.full) * 3
    assert abs(plan.cost - finer.cost) <= 1e-6 * plan.full
    assert continuous_residual(plan) < continuous_residual(coarse) < 1e-3


def test_continuous_residual_sees_what_equal_cells_do_not() -> None:
    """The published complaint: a residual of rounding beside a block 182% too large."""
    problem = stsh([0, 23_400], [1.0], PowerLaw(1.0, gamma=0.5))  # type: ignore[arg-type]
    equal, mended = kernel_qp.solve(problem, 96), solve(problem)
    assert equal.residual < 1e-12 and equal.volumes[0, 0] > 2.8 * mended.volumes[0, 0]
    assert not equal.accuracy.reached
    assert continuous_residual(equal) > 20 * continuous_residual(mended)


def test_many_assets_settle_or_say_so() -> None:
    rng = np.random.default_rng(1)
    factors = rng.normal(size=(6, 2))
    kernel = PowerLaw(0.2 * factors @ factors.T + np.eye(6), gamma=0.4)
    problem = tthc([0, 100, 200], rng.normal(size=(2, 6)), kernel)
    plan = kernel_qp.solve(problem, largest=700)
    assert np.isfinite(plan.accuracy.cost) and not plan.accuracy.reached
