"""Stability rules: what leaves is symmetric, capped, PSD and well conditioned, whatever came in."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from crossimpact.estimate.stability import (
    MAX_CONDITION,
    MAX_COUPLING,
    MIN_EIGENVALUE,
    coupling,
    project_psd,
    smallest_eigenvalue,
    stabilise,
)
from crossimpact.model import ImpactModel, from_scaled


def model(seed: int, size: float, n: int = 6, *, symmetric: bool = False) -> ImpactModel:
    rng = np.random.default_rng(seed)
    adv, beta = np.exp(rng.normal(18, 1, n)), rng.uniform(500, 5000, n)
    M = rng.normal(0, size, (n, n)) * np.sqrt(np.outer(beta, beta)) * (rng.random((n, n)) < 0.5)
    M = (M + M.T) / 2 if symmetric else M
    np.fill_diagonal(M, 0)
    names = tuple(f"S{i}" for i in range(n))
    return ImpactModel(names, ("x",) * n, adv, "normal", np.ones(n), beta, from_scaled(M, adv))


@given(st.integers(0, 10_000), st.floats(0.01, 5))
@settings(max_examples=100, deadline=None)
def test_whatever_comes_in_an_admissible_model_leaves(seed, size):
    stable, rows, reason = stabilise(model(seed, size))
    correlation = coupling(stable)
    np.testing.assert_allclose(correlation, correlation.T, atol=1e-12)
    assert np.abs(correlation).max() <= MAX_COUPLING + 1e-12
    assert smallest_eigenvalue(stable) >= MIN_EIGENVALUE - 1e-12
    assert stable.condition_number <= MAX_CONDITION
    assert [row.rule for row in rows][:4] == [
        "symmetrise", "cap", "project_psd", "limit_condition",
    ]  # fmt: skip
    assert bool(reason) == any(row.rule == "block_fallback" for row in rows)


@given(st.integers(0, 10_000))
@settings(max_examples=50, deadline=None)
def test_no_round_trip_makes_money_on_an_admissible_model(seed):
    stable, _, _ = stabilise(model(seed, 1.0))
    q = np.random.default_rng(seed).normal(0, 1e-3, (200, stable.n))
    cost = stable.cost(q)
    assert (cost.self_impact + cost.cross >= -1e-9).all()


def test_an_indefinite_matrix_has_a_profitable_round_trip_before_and_none_after():
    """The control: the certificate must be able to fail."""
    bad = model(5, 2.0, symmetric=True)
    values, vectors = np.linalg.eigh((bad.scaled + bad.scaled.T) / 2)
    assert values[0] < 0
    q = vectors[:, 0] / np.sqrt(bad.adv) * 1e3
    before = bad.cost(q)
    after = stabilise(bad)[0].cost(q)
    assert before.self_impact + before.cross < 0 <= after.self_impact + after.cross


def test_projection_keeps_signs_and_sparsity_and_touches_no_good_matrix():
    bad = model(7, 0.6, symmetric=True)
    mended, row = project_psd(bad)
    np.testing.assert_array_equal(np.sign(mended.gamma), np.sign(bad.gamma))
    assert row.changed and smallest_eigenvalue(mended) >= MIN_EIGENVALUE - 1e-12
    again, second = project_psd(mended)
    assert not second.changed or np.allclose(again.gamma, mended.gamma, rtol=1e-9)


def test_a_hopeless_matrix_falls_back_to_its_blocks_and_says_so():
    hopeless = model(11, 6.0, n=40)
    block = np.zeros((hopeless.n, hopeless.n))
    block[0, 1] = block[1, 0] = 0.2 * np.sqrt(hopeless.beta[0] * hopeless.beta[1])
    stable, rows, reason = stabilise(hopeless, block)
    assert "couplings" in reason and any(row.rule == "block_fallback" for row in rows)
    assert stable.edges == 1
    assert stabilise(hopeless)[0].edges == 0
