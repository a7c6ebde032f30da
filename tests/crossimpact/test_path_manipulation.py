"""The certificate of a kernel: a proof no path contradicts, or a round trip that pays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossimpact.errors import ModelError
from crossimpact.kernel.decay import Decay
from crossimpact.model import ImpactModel
from crossimpact.path_manipulation import (
    PathCertificate,
    Propagator,
    best_pump,
    largest_coupling,
    path_certificate,
    separate_decay_bound,
)
from crossimpact.scaled import TOLERANCE, normalised
from tests.crossimpact.kernel.test_decay import decays
from tests.crossimpact.test_manipulation import correlation, model, round_trips

seeds = st.integers(0, 10_000)
property_test = settings(max_examples=40, deadline=None)


def with_kernel(
    seed: int, coupling: np.ndarray, kernel: Decay, transform: str = "linear"
) -> ImpactModel:
    return replace(model(seed, coupling, transform), kernel=kernel)


def pays(found: PathCertificate, of: ImpactModel) -> None:
    """The returned path is a round trip, and makes that money by the model's own prices."""
    assert not found.admissible and found.round_trip is not None and found.profit_usd > 0
    assert not found.round_trip.sum(axis=0).any()
    total = float(of.path_cost(found.round_trip).total.sum())
    assert total == pytest.approx(-found.profit_usd) and total < 0


def impact(of: ImpactModel, trip: np.ndarray) -> float:
    cost = of.path_cost(trip)
    return float((cost.total - cost.linear).sum())


@given(seeds, st.integers(1, 6), decays())
@property_test
def test_the_verdict_is_that_of_the_spectral_density_at_every_frequency(seed, n, kernel):
    priced = with_kernel(seed, correlation(seed, n, n), kernel)
    found, propagator = path_certificate(priced), Propagator.of(priced)
    thetas = np.union1d(np.geomspace(1e-7, np.pi, 30), np.linspace(0, np.pi, 30)[1:])
    seen = min(
        float(np.linalg.eigvalsh(propagator.spectral_density(theta))[0]) / 2 for theta in thetas
    )
    assert found.smallest_eigenvalue == pytest.approx(seen, rel=1e-4, abs=1e-4)
    assert found.admissible == (found.smallest_eigenvalue >= -TOLERANCE)


@given(seeds, st.integers(1, 6), st.integers(1, 6), decays())
@property_test
def test_an_admissible_kernel_is_contradicted_by_no_round_trip(seed, n, rank, kernel):
    limit = kernel.largest_scale
    fits = replace(
        kernel,
        scale_self=min(kernel.scale_self, limit),
        scale_cross=min(kernel.scale_self, limit),
        overnight=0.0,
    )
    good = with_kernel(seed, correlation(seed, n, rank), fits)
    found = path_certificate(good)
    assert found.admissible and found.linear_admissible and found.method == "proved"
    assert found.round_trip is None and found.profit_usd == 0
    turns = np.tile([[1e-3], [-1e-3]], (20, n))
    for trip in [*round_trips(seed, n, 12)[:60], turns]:
        scale = float(good.cost(trip).self_impact.sum())
        assert impact(good, trip) >= -1e-9 * scale


@given(seeds, st.integers(1, 5), decays(), st.floats(1.05, 2))
@property_test
def test_scales_beyond_the_limit_pay_whoever_turns_round_every_bucket(seed, n, kernel, beyond):
    scale = beyond * kernel.largest_scale
    bad = replace(kernel, scale_self=scale, scale_cross=scale)
    priced = with_kernel(seed, correlation(seed, n, n), bad)
    found = path_certificate(priced)
    assert found.theta == np.pi and found.smallest_eigenvalue < 0
    pays(found, priced)
    assert len(found.round_trip) < 60


@pytest.mark.parametrize(("permanent", "limit"), [(1.0, 2.0), (0.0, 1.5), (0.5, 12 / 7)])
def test_the_largest_scale_by_hand(permanent, limit):
    """A half-life of one bucket: r = 1/2; the permanent part counts 1/2, the other 2/3."""
    kernel = Decay.from_half_life(5.0, permanent, bucket_min=5.0)
    assert kernel.largest_scale == pytest.approx(limit)
    at_it = replace(kernel, scale_self=limit * (1 - 1e-12), scale_cross=limit * (1 - 1e-12))
    assert path_certificate(with_kernel(0, np.eye(2), at_it)).admissible


def test_a_cross_scale_beyond_what_the_matrix_bears_pays_a_slow_round_trip():
    """Positive definite couplings, but not as strongly as the mid keeps them."""
    pair = np.array([[1.0, 0.8], [0.8, 1.0]])
    kernel = Decay.from_half_life(60.0, scale_self=1.0, scale_cross=1.5, bucket_min=5.0)
    priced = with_kernel(1, pair, kernel)
    found = path_certificate(priced)
    assert found.theta == 0.0 and not found.linear_admissible
    pays(found, priced)
    cover = replace(priced, alpha=np.full(2, 300.0))
    pays(path_certificate(cover), cover)
    assert path_certificate(replace(priced, kernel=replace(kernel, scale_cross=1.1))).admissible


@given(seeds, st.integers(2, 6), decays())
@property_test
def test_the_largest_coupling_is_where_admissible_ends(seed, n, kernel):
    priced = with_kernel(seed, correlation(seed, n, n), kernel)
    share = largest_coupling(priced)
    assert path_certificate(priced).admissible == (share == 1.0)
    less = path_certificate(replace(priced, gamma=0.999 * share * priced.gamma))
    if max(kernel.scale_self, 1.0) <= kernel.largest_scale:
        assert share > 0 and less.admissible
    if 0 < share < 0.99:
        more = replace(priced, gamma=1.001 * share * priced.gamma)
        assert not path_certificate(more).admissible


@given(seeds, st.integers(2, 5), st.floats(0.05, 1))
@settings(max_examples=15, deadline=None)
def test_asymmetric_couplings_with_a_permanent_part_pay_a_loop(seed, n, size):
    skew = np.random.default_rng(seed).normal(size=(n, n))
    skew = (skew - skew.T) / np.abs(skew - skew.T).max() * size
    kernel = Decay.from_half_life(np.inf, bucket_min=5.0)
    priced = with_kernel(seed, correlation(seed, n, n) + skew, kernel)
    found = path_certificate(priced)
    assert not found.admissible
    if found.round_trip is not None:  # a faint asymmetry takes longer than is spelt out
        pays(found, priced)
    assert found.round_trip is not None or size < 0.3


def separate(coupling: np.ndarray, own: float, cross: float) -> Propagator:
    """Self and cross that decay to these shares in a bucket."""
    own_part = np.diag(np.diagonal(coupling))
    return Propagator(coupling, np.array([own, cross]), np.array([own_part, coupling - own_part]))


def earned(of: Propagator, path: np.ndarray) -> float:
    """Minus the cost, by the double sum it is."""
    total = 0.0
    for b in range(len(path)):
        total += path[b] @ of.now @ path[b]
        for a in range(b):
            left = np.tensordot(of.ratios ** (b - a - 1.0), of.carried, 1)
            total += path[b] @ left @ path[a]
    return -float(total)


@pytest.mark.parametrize(("own_min", "cross_min"), [(20.0, 60.0), (60.0, 20.0)])
def test_separate_decays_beyond_the_bound_pay(own_min, cross_min):
    """Control: bound 1 / 0.9, ratio 3; at a ratio of 1 the same matrix is safe."""
    coupling = np.array([[1.0, 0.9], [0.9, 1.0]])
    priced = model(0, coupling)
    assert separate_decay_bound(priced) == pytest.approx(1 / 0.9)
    np.testing.assert_allclose(normalised(priced), coupling)
    own, cross = 0.5 ** (0.1 / np.array([own_min, cross_min]))  # buckets of six seconds
    bad = separate(coupling, own, cross)
    lowest, theta = bad.smallest()
    assert lowest < -TOLERANCE
    assert separate(coupling, own, own).smallest()[0] > 0
    coarse = separate(coupling, *0.5 ** (5 / np.array([own_min, cross_min])))
    if cross_min > own_min:  # slow enough to be seen in buckets of five minutes, and spelt out
        lowest, theta = coarse.smallest()
        trip = coarse.round_trip(theta)
        assert lowest < -TOLERANCE and trip is not None
        np.testing.assert_allclose(trip.sum(axis=0), 0, atol=1e-9)
        assert earned(coarse, trip) > 0


@pytest.mark.parametrize("weights", [(3.0, -2.0), (2.0, -1.0)])
def test_a_kernel_that_rises_before_it_falls_pays(weights):
    """Control: a difference of exponentials is neither decreasing nor convex."""
    hump = Propagator(np.eye(1), np.array([0.9, 0.2]), np.reshape(weights, (2, 1, 1)))
    lowest, theta = hump.smallest()
    trip = hump.round_trip(theta)
    assert lowest < -TOLERANCE and trip is not None
    np.testing.assert_allclose(trip.sum(axis=0), 0, atol=1e-9)
    assert earned(hump, trip) > 0


def test_the_toeplitz_form_is_the_cost():
    rng = np.random.default_rng(2)
    any_one = Propagator(rng.normal(size=(3, 3)), np.array([0.3, 0.9]), rng.normal(size=(2, 3, 3)))
    path = rng.normal(size=(6, 3))
    form = path.ravel() @ any_one.toeplitz(6) @ path.ravel() / 2
    assert form == pytest.approx(-earned(any_one, path))


@pytest.mark.parametrize("half_life", [5.0, 30.0, np.inf])
def test_square_root_pumps_pay_where_decay_is_slow(half_life):
    """And are free of them where it is fast: within a session, at the model's own prices."""
    kernel = Decay.from_half_life(half_life, bucket_min=5.0, scale_self=1.4, scale_cross=1.4)
    priced = with_kernel(3, correlation(3, 4, 4), kernel, "sqrt")
    found = path_certificate(priced)
    assert found.linear_admissible
    if half_life == np.inf:
        pays(found, priced)
        assert np.count_nonzero(found.round_trip.any(axis=0)) == 1
    else:
        assert found.admissible and found.method == "searched" and found.round_trip is None


def test_a_square_root_pump_is_paid_for_by_a_permanent_share_too():
    kernel = Decay.from_half_life(30.0, 0.3, bucket_min=5.0)
    priced = replace(with_kernel(3, np.eye(2), kernel, "sqrt"), alpha=np.full(2, 5.0))
    pays(path_certificate(priced), priced)


@pytest.mark.parametrize(
    ("half_life", "permanent", "share"),
    [(5, 0, -0.30), (15, 0, -0.24), (30, 0, -0.01), (60, 0, 0.37), (np.inf, 0, 7.5),
     (5, 0.3, 0.68), (15, 0.3, 0.71), (30, 0.3, 0.78), (60, 0.3, 1.1)],
)  # fmt: skip
def test_best_pump_earns_what_the_docs_say(half_life, permanent, share):
    kernel = Decay.from_half_life(half_life, permanent, bucket_min=5.0, scale_self=1.4)
    found, path = best_pump(kernel)
    assert found == pytest.approx(share, rel=0.05, abs=0.01)
    assert path.sum() == pytest.approx(0, abs=1e-9) and len(path) <= 78


def test_without_a_kernel_there_is_no_path_to_certify():
    with pytest.raises(ModelError, match="no kernel to certify"):
        path_certificate(model(0, np.eye(2)))


def test_the_certificate_is_plain_data():
    kernel = Decay.from_half_life(5.0, bucket_min=5.0, scale_self=1.9, scale_cross=1.9)
    told = path_certificate(with_kernel(0, np.eye(2), kernel)).to_dict()
    assert told["admissible"] is False and isinstance(told["round_trip"], list)
