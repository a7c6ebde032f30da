"""The certificate, both ways: a proof no sampled round trip contradicts, or a trip that pays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossimpact.errors import ModelError
from crossimpact.manipulation import (
    certificate,
    margin,
    mismatch,
    sequence_cost,
    worst_flow,
)
from crossimpact.model import ImpactModel
from crossimpact.scaled import TOLERANCE, from_scaled, normalised

seeds = st.integers(0, 10_000)
property_test = settings(max_examples=60, deadline=None)


def model(seed: int, coupling: np.ndarray, transform: str = "linear") -> ImpactModel:
    """A model with given couplings, in units of its own random impacts."""
    rng, n = np.random.default_rng(seed), len(coupling)
    adv, beta = np.exp(rng.normal(18, 1, n)), rng.uniform(500, 5000, n)
    scaled = coupling * np.sqrt(np.outer(beta, beta))
    np.fill_diagonal(scaled, 0)
    return ImpactModel(
        symbols=tuple(f"S{i}" for i in range(n)),
        sectors=("x",) * n,
        adv=adv,
        regime="normal",
        alpha=rng.uniform(0, 2, n),
        beta=beta,
        gamma=from_scaled(scaled, adv),
        transform=transform,
        reference=rng.uniform(5e-4, 5e-3, n),
    )


def correlation(seed: int, n: int, rank: int) -> np.ndarray:
    """A random correlation matrix; singular when `rank` < n."""
    factors = np.random.default_rng(seed).normal(size=(n, rank))
    factors /= np.linalg.norm(factors, axis=1, keepdims=True)
    return factors @ factors.T


def round_trips(seed: int, n: int, buckets: int = 6) -> np.ndarray:
    trips = np.random.default_rng(seed + 1).normal(0, 1e-3, (200, buckets, n))
    trips[:, -1] = -trips[:, :-1].sum(axis=1)
    return trips


def pays(found, of: ImpactModel, carry: float) -> None:
    """The control's other half: the returned sequence is a round trip, and makes that money."""
    assert not found.admissible and found.round_trip is not None and found.profit_usd > 0
    assert not found.round_trip.sum(axis=0).any()
    assert not np.cumsum(found.round_trip, axis=0)[-1].any()
    total = float(sequence_cost(of, found.round_trip, carry).total)
    assert total == pytest.approx(-found.profit_usd) and total < 0


@given(seeds, st.integers(2, 8), st.integers(1, 8), st.sampled_from((0.0, 0.5, 1.0)))
@property_test
def test_a_symmetric_psd_model_passes_and_no_round_trip_contradicts(seed, n, rank, carry):
    good = model(seed, correlation(seed, n, rank))
    found = certificate(good)
    assert found.admissible and found.method == "proved"
    assert found.round_trip is None and found.profit_usd == 0
    for trip in round_trips(seed, n):
        cost = sequence_cost(good, trip, carry)
        scale = float(good.cost(trip).self_impact.sum())
        assert cost.self_impact + cost.cross >= -1e-9 * scale


@given(seeds, st.integers(2, 8), st.floats(1e-4, 2))
@property_test
def test_an_indefinite_model_fails_with_a_flow_bought_and_sold_back(seed, n, below):
    symmetric = np.random.default_rng(seed).normal(size=(n, n))
    symmetric = np.triu(symmetric, 1) + np.triu(symmetric, 1).T
    symmetric *= -(1 + below) / np.linalg.eigvalsh(symmetric)[0]
    bad = model(seed, symmetric)
    found = certificate(bad)
    assert found.smallest_eigenvalue == pytest.approx(-below, abs=1e-9)
    pays(found, bad, carry=0.0)
    assert float(bad.cost(found.round_trip).total.sum()) == pytest.approx(-found.profit_usd)
    lasting = sequence_cost(bad, found.round_trip, 1.0)
    assert lasting.self_impact + lasting.cross < 0  # and if the moves last it still pays


@given(seeds, st.integers(2, 6), st.floats(5e-3, 1))
@property_test
def test_an_asymmetric_model_fails_with_a_loop(seed, n, size):
    skew = np.random.default_rng(seed).normal(size=(n, n))
    skew = (skew - skew.T) / np.abs(skew - skew.T).max() * size
    bad = model(seed, correlation(seed, n, n) + skew)
    found = certificate(bad)
    assert found.asymmetry == pytest.approx(size) and found.smallest_eigenvalue >= -TOLERANCE
    pays(found, bad, carry=1.0)
    assert not sequence_cost(bad, found.round_trip, 0.0).total < 0  # only lasting moves pay it
    traded = (found.round_trip != 0).any(axis=0)
    assert traded.sum() == 2


def test_a_loop_too_long_to_write_down_is_refused_all_the_same():
    bad = model(0, np.array([[1.0, 1e-6], [-1e-6, 1.0]]))
    found = certificate(bad)
    assert not found.admissible and found.round_trip is None and found.profit_usd == 0


def test_the_trip_outgrows_any_spread():
    bad = model(1, np.array([[1.0, 1.01], [1.01, 1.0]]))
    dear = replace(bad, alpha=np.full(2, 500.0))
    pays(certificate(dear), dear, carry=0.0)


def test_a_name_without_impact_condemns_only_what_couples_to_it():
    free = replace(model(2, np.eye(3)), beta=np.array([1000.0, 0.0, 2000.0]))
    assert certificate(free).admissible and certificate(free).smallest_eigenvalue == 1
    gamma = np.zeros((3, 3))
    gamma[0, 1] = 50.0
    coupled = replace(free, gamma=from_scaled(gamma + gamma.T, free.adv))
    pays(certificate(coupled), coupled, carry=0.0)


@given(seeds, st.integers(2, 8), st.sampled_from(("linear", "sqrt")), st.floats(0, 1.2))
@property_test
def test_the_margin_bounds_what_cross_impact_takes_back(seed, n, transform, size):
    """On random flows of many scales, on eigenvectors and on one large name against small ones."""
    coupled = model(seed, size * correlation(seed, n, 2), transform)
    rng = np.random.default_rng(seed)
    q = rng.normal(size=(400, n)) * np.exp(rng.normal(-7, 2, (400, n)))
    vectors = np.linalg.eigh(normalised(coupled))[1].T / np.sqrt(coupled.adv * coupled.beta)
    q = np.vstack((q, vectors, coupled.reference * vectors * np.abs(vectors)))
    cost = coupled.cost(q)
    share = 1 + cost.cross / cost.self_impact
    assert (share >= margin(coupled) - 1e-9).all()
    worst, flow = worst_flow(coupled)
    assert margin(coupled) - 1e-9 <= worst <= share.min() + 1e-4
    cost = coupled.cost(flow)
    assert 1 + cost.cross / cost.self_impact == pytest.approx(worst, abs=1e-9)


@given(seeds, st.floats(0, 1), st.floats(0, 1))
@property_test
def test_couplings_scaled_by_theta_gain_the_stated_margin(seed, size, theta):
    coupled = model(seed, size * correlation(seed, 5, 2), "sqrt")
    less = replace(coupled, gamma=theta * coupled.gamma)
    assert margin(less) >= 1 - theta * (1 - margin(coupled)) - 1e-9


@given(st.floats(1e-3, 1e3))
@property_test
def test_mismatch_is_the_maximum_it_claims(ratio):
    x = np.exp(np.linspace(-15, 15, 20_001))
    seen = (ratio * x * np.abs(1 - x) / (1 + ratio**2 * x**3)).max()
    assert seen <= mismatch(ratio) <= seen * (1 + 1e-4)


def test_a_sqrt_model_may_pay_although_its_matrix_is_positive_definite():
    """Two coupled names whose own impacts differ: the small one is moved for nothing."""
    pair = model(3, np.array([[1.0, 0.8], [0.8, 1.0]]), "sqrt")
    unequal = replace(pair, reference=np.array([1e-5, 1e-1]))
    found = certificate(unequal)
    assert found.smallest_eigenvalue == pytest.approx(0.2) and found.method == "proved"
    pays(found, unequal, carry=0.0)
    assert certificate(replace(unequal, transform="linear")).admissible


def test_equal_pairs_are_safe_and_the_proof_knows():
    pair = model(4, np.array([[1.0, 0.8], [0.8, 1.0]]), "sqrt")
    own = np.sqrt(pair.adv * pair.beta)
    found = certificate(replace(pair, reference=1e-3 * own[0] / own))
    assert found.admissible and found.method == "proved"


def test_many_small_names_against_a_large_one_pay_in_a_positive_sector():
    """Every coupling 0.3, as in a sector of 300: linear is safe, square root is not."""
    sector = model(5, np.full((300, 300), 0.3), "sqrt")
    own = np.sqrt(sector.adv * sector.beta)
    level = replace(sector, reference=1e-3 * own[0] / own)
    assert certificate(replace(level, transform="linear")).admissible
    pays(certificate(level), level, carry=0.0)


@given(seeds, st.floats(0.2, 1))
@settings(max_examples=20, deadline=None)
def test_a_sqrt_verdict_is_a_proof_or_a_search_and_says_which(seed, size):
    coupled = model(seed, size * correlation(seed, 6, 2), "sqrt")
    found = certificate(coupled)
    if not found.admissible:
        pays(found, coupled, carry=0.0)
    elif margin(coupled) < -TOLERANCE:
        assert found.method == "searched"
        cost = coupled.cost(round_trips(seed, 6).reshape(-1, 6))
        assert (cost.self_impact + cost.cross >= 0).all()
    else:
        assert found.method == "proved"
    again = certificate(coupled)
    assert again.profit_usd == found.profit_usd and again.method == found.method


def test_lasting_square_root_moves_pay_in_a_single_name():
    """Why a square-root model is judged within its buckets (Huberman and Stanzl 2004)."""
    alone = replace(model(6, np.eye(2), "sqrt"), alpha=np.zeros(2))
    pump = np.zeros((21, 2))
    pump[:20, 0], pump[20, 0] = 1e-3, -20e-3
    assert sequence_cost(alone, pump, 1.0).total < 0 < sequence_cost(alone, pump, 0.0).total


def test_a_carried_move_by_hand():
    pair = ImpactModel(
        ("A", "B"), ("x", "x"), np.array([1e8, 5e7]), "normal",
        np.zeros(2), np.array([1000.0, 2000.0]), np.array([[0, 500.0], [300.0, 0]]),
    )  # fmt: skip
    cost = sequence_cost(pair, [[0.01, 0.0], [-0.01, 0.02]])
    assert cost.self_impact == pytest.approx(1e-4 * (1e6 * (10 + 10 - 10) + 1e6 * 40))
    assert cost.cross == pytest.approx(1e-4 * (-1e6 * 10 + 1e6 * (-3 + 3)))
    with pytest.raises(ModelError, match="shape"):
        sequence_cost(pair, [0.01, 0.0])
