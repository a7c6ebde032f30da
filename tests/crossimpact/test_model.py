"""The formula: gradients, identities and invariances that hold for every admissible model."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossimpact.errors import ModelError
from crossimpact.model import ImpactModel, canonical_json, from_scaled, to_scaled
from crossimpact.scaled import normalised


def make(seed: int, n: int = 5, *, symmetric: bool = False) -> ImpactModel:
    rng = np.random.default_rng(seed)
    adv = np.exp(rng.normal(18, 1, n))
    gamma = rng.normal(0, 500, (n, n)) * (rng.random((n, n)) < 0.6)
    if symmetric:
        gamma = from_scaled((gamma + gamma.T) / 2, adv)
    np.fill_diagonal(gamma, 0)
    return ImpactModel(
        symbols=tuple(f"S{i}" for i in range(n)),
        sectors=tuple("AB"[i % 2] for i in range(n)),
        adv=adv,
        regime="normal",
        alpha=rng.normal(1, 0.5, n),
        beta=rng.uniform(1000, 5000, n),
        gamma=gamma,
    )


def flows(seed: int, n: int = 5) -> np.ndarray:
    return np.random.default_rng(seed + 1000).normal(0, 1e-3, n)


def permuted(model: ImpactModel, order: np.ndarray) -> ImpactModel:
    """The same model with its names in another order."""
    vectors = ("adv", "alpha", "beta", "alpha_se", "beta_se", "reference")
    return replace(
        model,
        symbols=tuple(model.symbols[i] for i in order),
        sectors=tuple(model.sectors[i] for i in order),
        gamma=model.gamma[np.ix_(order, order)],
        gamma_se=model.gamma_se[np.ix_(order, order)],
        **{name: getattr(model, name)[order] for name in vectors},
    )


seeds = st.integers(0, 10_000)


@given(seeds)
@settings(max_examples=50, deadline=None)
def test_marginal_cost_is_the_gradient(seed):
    model, q = make(seed), flows(seed)
    Q, h = q * model.adv, 1.0
    numeric = [
        (model.cost((Q + h * e) / model.adv).total - model.cost((Q - h * e) / model.adv).total)
        / (2 * h)
        for e in np.eye(model.n)
    ]
    np.testing.assert_allclose(model.marginal_cost(q), numeric, rtol=1e-5, atol=1e-9)


@given(seeds, st.floats(0.1, 10))
@settings(max_examples=50, deadline=None)
def test_cost_scales_flips_and_starts_at_zero(seed, scale):
    model, q = make(seed), flows(seed)
    cost, scaled, flipped = model.cost(q), model.cost(scale * q), model.cost(-q)
    assert model.cost(0 * q).total == 0
    assert np.isclose(scaled.linear, scale * cost.linear)
    assert np.isclose(scaled.self_impact, scale**2 * cost.self_impact)
    assert np.isclose(scaled.cross, scale**2 * cost.cross)
    assert np.isclose(flipped.total, cost.total)


@given(seeds)
@settings(max_examples=50, deadline=None)
def test_cost_does_not_depend_on_order_currency_or_batching(seed):
    model, q = make(seed), flows(seed)
    order = np.random.default_rng(seed).permutation(model.n)
    shuffled = permuted(model, order)
    assert np.isclose(shuffled.cost(q[order]).total, model.cost(q).total)
    in_cents = replace(model, adv=100 * model.adv)
    assert np.isclose(in_cents.cost(q).total, 100 * model.cost(q).total)
    batch = model.cost(np.stack((q, 2 * q))).total
    np.testing.assert_allclose(batch, [model.cost(q).total, model.cost(2 * q).total])


@given(seeds)
@settings(max_examples=50, deadline=None)
def test_pair_costs_add_up_to_the_cross_cost(seed):
    model = make(seed)
    q = np.random.default_rng(seed).normal(0, 1e-3, (7, model.n))
    assert np.isclose(model.pair_cost(q).sum(), model.cost(q).cross.sum())


def test_the_contract_s_formula_by_hand():
    model = ImpactModel(
        ("A", "B"), ("x", "x"), np.array([1e8, 5e7]), "normal",
        np.array([1.0, 2.0]), np.array([1000.0, 2000.0]), np.array([[0, 500.0], [300.0, 0]]),
    )  # fmt: skip
    cost = model.cost(np.array([0.01, -0.02]))
    assert cost.linear == pytest.approx(1e-4 * (1e6 * 1 + 1e6 * 2))
    assert cost.self_impact == pytest.approx(1e-4 * (1e6 * 1000 * 0.01 + 1e6 * 2000 * 0.02))
    assert cost.cross == pytest.approx(1e-4 * (1e6 * 500 * -0.02 + -1e6 * 300 * 0.01))


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_plain_data_round_trip_keeps_every_bit(seed):
    model = make(seed)
    again = ImpactModel.from_dict(json.loads(canonical_json(model.to_dict())))
    assert again.digest == model.digest
    np.testing.assert_array_equal(again.gamma, model.gamma)


def test_scaled_space_is_symmetric_exactly_when_dollars_are():
    model = make(3, symmetric=True)
    dollars = model.gamma / model.adv
    np.testing.assert_allclose(dollars, dollars.T, rtol=1e-12)
    np.testing.assert_allclose(model.scaled, model.scaled.T, rtol=1e-12)
    np.testing.assert_allclose(
        from_scaled(to_scaled(model.gamma, model.adv), model.adv), model.gamma
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"adv": np.array([1e8, 0.0])}, "adv of B in regime normal is 0, must be > 0"),
        ({"beta": np.array([-1.0, 1.0])}, "beta of A in regime normal is -1"),
        ({"gamma": np.array([[1.0, 0], [0, 0]])}, "diagonal"),
        ({"gamma": np.array([[0, np.nan], [0, 0]])}, "gamma of regime normal is not finite"),
        ({"alpha": np.zeros(3)}, "shape"),
        ({"symbols": ("A", "A")}, "named twice"),
        ({"sectors": ("x",)}, "1 sectors for 2 symbols"),
        ({"transform": "cube"}, "transform of regime normal is 'cube'; give linear or sqrt"),
        ({"reference": np.array([1.0, 0.0])}, "reference of B in regime normal is 0, must be > 0"),
        ({"reference": np.array([1.0, np.inf])}, "reference of regime normal is not finite"),
        ({"transform": "sqrt", "reference": np.empty(0)}, "reference of regime normal has shape"),
    ],
)
def test_inadmissible_numbers_are_named(change, words):
    good = ImpactModel(
        ("A", "B"), ("x", "x"), np.ones(2) * 1e8, "normal", np.ones(2), np.ones(2), np.zeros((2, 2))
    )
    with pytest.raises(ModelError, match=words):
        replace(good, **change)


def test_text_among_the_numbers_is_refused():
    data = make(1, 2).to_dict()
    data["beta_bps"] = [1.0, "two"]
    with pytest.raises(ModelError, match="not a model"):
        ImpactModel.from_dict(data)


@pytest.mark.parametrize("index", [[2], [-1]])
def test_a_gamma_index_outside_the_symbols_is_refused(index):
    data = make(1, 2).to_dict()
    data["gamma"] = {"i": index, "j": [0], "bps": [1.0], "se": [None]}
    with pytest.raises(ModelError, match="index outside"):
        ImpactModel.from_dict(data)


@given(seeds, st.integers(1, 9))
@settings(max_examples=50, deadline=None)
def test_normalised_couplings_are_scaled_over_the_roots_of_beta(seed, n):
    model, silent = make(seed, n), np.random.default_rng(seed).random(n) < 0.3
    model = replace(model, beta=np.where(silent, 0.0, model.beta))
    root = np.sqrt(np.where(model.beta > 0, model.beta, model.beta.max() or 1.0))
    expected = model.scaled / np.outer(root, root)
    alone = ~(model.gamma.any(axis=0) | model.gamma.any(axis=1))
    expected[alone, alone] = 1.0
    np.testing.assert_allclose(normalised(model), expected, rtol=2e-15, atol=0)
