"""Averages of a kernel are integrals; what manipulates prices is refused with its size."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from crossimpact.errors import ProblemError
from crossimpact.policy.sequential.kernel import (
    Convex,
    Exponential,
    Kernel,
    PowerLaw,
    SumOfExponentials,
    project,
)

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
