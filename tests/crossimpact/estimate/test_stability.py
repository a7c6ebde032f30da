"""Stability rules: what leaves is symmetric, capped, PSD and well conditioned, whatever came in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossimpact.estimate.stability import (
    MAX_CONDITION,
    MAX_COUPLING,
    MIN_EIGENVALUE,
    cap,
    coupling,
    project_psd,
    stabilise,
)
from crossimpact.manipulation import certificate, margin, smallest_eigenvalue, worst_flow
from crossimpact.model import ImpactModel, from_scaled
from tests.crossimpact.test_model import permuted


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
    assert [row.rule for row in rows][:5] == [
        "symmetrise", "cap", "project_psd", "bound_concave", "limit_condition",
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


@given(st.integers(0, 10_000), st.floats(0.1, 1.5))
@settings(max_examples=50, deadline=None)
def test_projection_only_shrinks_and_moves_less_than_one_factor_would(seed, size):
    bad, _ = cap(model(seed, size, symmetric=True))
    mended, row = project_psd(bad)
    before, after = coupling(bad), coupling(mended)
    assert (after * before >= 0).all() and (np.abs(after) <= np.abs(before) * (1 + 1e-12)).all()
    assert smallest_eigenvalue(mended) >= MIN_EIGENVALUE - 1e-12
    uniform = (1 - MIN_EIGENVALUE) / (1 - row.value) if row.changed else 1.0
    moved = np.linalg.norm(after - before)
    assert moved <= (1 - uniform) * np.linalg.norm(before) + 1e-9
    assert bool(row.changed) == (row.value < MIN_EIGENVALUE) == (moved > 0)


@pytest.mark.parametrize("seed", [7, 8, 20])
def test_projection_meets_the_first_order_conditions_of_the_nearest(seed):
    """``X - C = Z + box multipliers`` with Z PSD and living where the eigenvalue bound is met."""
    bad, _ = cap(model(seed, 0.6, symmetric=True))
    C, X = coupling(bad), coupling(project_psd(bad)[0])
    values, vectors = np.linalg.eigh(np.eye(len(X)) + X)
    V = vectors[:, values < MIN_EIGENVALUE + 1e-4]
    i, j = np.nonzero(np.triu(C, 1))
    share = X[i, j] / C[i, j]
    inner = (share > 1e-3) & (share < 1 - 1e-3)
    basis = np.einsum("pa,pb->pab", V[i], V[j]).reshape(len(i), -1)
    S = np.linalg.lstsq(basis[inner], (X - C)[i, j][inner], rcond=1e-6)[0]
    Z = basis @ S * np.sign(C[i, j])
    np.testing.assert_allclose(Z[inner], ((share - 1) * np.abs(C[i, j]))[inner], atol=2e-3)
    assert (Z[share >= 1 - 1e-3] >= -2e-3).all()
    assert (np.abs(C[i, j]) + Z)[share <= 1e-3].max(initial=-1.0) <= 2e-3
    S = S.reshape(V.shape[1], -1)
    assert inner.sum() >= 2 and np.linalg.eigvalsh((S + S.T) / 2)[0] >= 0


@given(st.integers(0, 10_000), st.floats(0.05, 3), st.sampled_from(("linear", "sqrt")))
@settings(max_examples=60, deadline=None)
def test_stabilise_is_idempotent_equivariant_and_blind_to_the_currency(seed, size, transform):
    rng = np.random.default_rng(seed)
    first = replace(model(seed, size), transform=transform, reference=rng.uniform(1e-4, 1e-2, 6))
    stable, rows, reason = stabilise(first)
    again, second, _ = stabilise(stable)
    assert again.digest == stable.digest and not any(row.changed for row in second)

    order = rng.permutation(first.n)
    shuffled, _, other_reason = stabilise(permuted(first, order))
    size_of = np.abs(stable.gamma).max(initial=1.0)
    np.testing.assert_allclose(
        shuffled.gamma, stable.gamma[np.ix_(order, order)], atol=1e-9 * size_of
    )
    in_cents, cents_rows, _ = stabilise(replace(first, adv=100 * first.adv))
    np.testing.assert_allclose(in_cents.gamma, stable.gamma, atol=1e-9 * size_of)
    assert reason == other_reason
    assert [row.changed for row in cents_rows] == [row.changed for row in rows]
    # an edge may go, none may come: a pair is coupled when either side was
    assert not ((stable.gamma != 0) & ~((first.gamma != 0) | (first.gamma.T != 0))).any()
    assert worst_flow(stable)[0] >= 0.98 * MIN_EIGENVALUE
    found = certificate(stable)
    assert found.admissible and found.round_trip is None
    assert found.method == ("proved" if margin(stable) >= 0 else "searched")
    assert transform == "sqrt" or found.method == "proved"


def test_standard_errors_shrink_with_their_couplings_and_go_with_them():
    bad = replace(model(3, 1.0, symmetric=True), gamma_se=np.ones((6, 6)))
    mended, _ = project_psd(bad)
    kept = mended.gamma != 0
    ratio = np.divide(mended.gamma, bad.gamma, out=np.ones_like(bad.gamma), where=bad.gamma != 0)
    np.testing.assert_allclose(mended.gamma_se[kept], ratio[kept])
    assert np.isnan(mended.gamma_se[~kept]).all()


def test_a_hopeless_matrix_falls_back_to_its_blocks_and_says_so():
    hopeless = model(11, 6.0, n=40)
    block = np.zeros((hopeless.n, hopeless.n))
    block[0, 1] = block[1, 0] = 0.2 * np.sqrt(hopeless.beta[0] * hopeless.beta[1])
    stable, rows, reason = stabilise(hopeless, block)
    assert "couplings" in reason and any(row.rule == "block_fallback" for row in rows)
    assert stable.edges == 1
    assert stabilise(hopeless)[0].edges == 0
