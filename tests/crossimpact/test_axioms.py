"""Axioms of a cost: what must not matter does not, whatever the model and either transform."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossimpact.model import ImpactModel, canonical_json
from tests.crossimpact.test_model import make, permuted

seeds = st.integers(0, 10_000)
transforms = st.sampled_from(("linear", "sqrt"))
axiom = settings(max_examples=60, deadline=None)


def draw(seed: int, transform: str) -> tuple[ImpactModel, np.ndarray]:
    """A model with some standard errors, and a flow with idle names."""
    rng = np.random.default_rng(seed + 7)
    model = make(seed)
    error = np.where((model.gamma != 0) & (rng.random(model.gamma.shape) < 0.5), 10.0, np.nan)
    model = replace(
        model, transform=transform, reference=rng.uniform(1e-4, 1e-2, model.n), gamma_se=error
    )
    return model, rng.normal(0, 1e-3, model.n) * (rng.random(model.n) < 0.8)


def parts(model: ImpactModel, q: np.ndarray) -> np.ndarray:
    cost = model.cost(q)
    return np.array([cost.linear, cost.self_impact, cost.cross])


@given(seeds, transforms)
@axiom
def test_no_flow_costs_nothing_and_a_side_is_as_dear_as_the_other(seed, transform):
    model, q = draw(seed, transform)
    assert not parts(model, 0 * q).any() and not model.marginal_cost(0 * q).any()
    np.testing.assert_array_equal(parts(model, -q), parts(model, q))
    np.testing.assert_array_equal(model.marginal_cost(-q), -model.marginal_cost(q))


@given(seeds, transforms, st.floats(0.01, 100))
@axiom
def test_a_currency_scales_dollars_and_leaves_bps(seed, transform, rate):
    model, q = draw(seed, transform)
    abroad = replace(model, adv=rate * model.adv)
    np.testing.assert_allclose(parts(abroad, q), rate * parts(model, q), rtol=1e-12)
    np.testing.assert_array_equal(abroad.cross_bps(q), model.cross_bps(q))
    np.testing.assert_allclose(abroad.marginal_cost(q), model.marginal_cost(q), rtol=1e-12)


@given(seeds, transforms, st.floats(0.01, 100))
@axiom
def test_a_unit_of_flow_is_a_matter_of_the_coefficients(seed, transform, unit):
    """Flow in percent instead of fractions: adv per unit, beta, gamma and q0 follow."""
    model, q = draw(seed, transform)
    other = replace(
        model,
        adv=model.adv / unit,
        beta=model.beta / unit,
        gamma=model.gamma / unit,
        reference=model.reference * unit,
    )
    np.testing.assert_allclose(parts(other, q * unit), parts(model, q), rtol=1e-9)


@given(seeds, transforms)
@axiom
def test_the_order_of_the_names_does_not_matter(seed, transform):
    model, q = draw(seed, transform)
    order = np.random.default_rng(seed).permutation(model.n)
    shuffled = permuted(model, order)
    np.testing.assert_allclose(parts(shuffled, q[order]), parts(model, q), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(shuffled.cross_bps(q[order]), model.cross_bps(q)[order], atol=1e-9)
    np.testing.assert_allclose(shuffled.marginal_cost(q[order]), model.marginal_cost(q)[order])
    np.testing.assert_allclose(
        shuffled.pair_cost(q[order]), model.pair_cost(q)[np.ix_(order, order)], atol=1e-12
    )


def listed_twice(model: ImpactModel, share: float) -> ImpactModel:
    """The first symbol under two names that split its ADV: what moves one moves the other."""
    rows = np.r_[0, np.arange(model.n)]
    weight = np.r_[share, 1 - share, np.ones(model.n - 1)]
    full = (model.gamma + np.diag(model.beta))[np.ix_(rows, rows)] * weight
    return ImpactModel(
        symbols=(*model.symbols[:1], "TWIN", *model.symbols[1:]),
        sectors=tuple(model.sectors[i] for i in rows),
        adv=model.adv[rows] * weight,
        regime=model.regime,
        alpha=model.alpha[rows],
        beta=np.diagonal(full),
        gamma=full - np.diag(np.diagonal(full)),
        transform=model.transform,
        reference=model.reference[rows],
    )


@given(seeds, transforms, st.floats(0.05, 0.95), st.floats(0, 1))
@axiom
def test_a_flow_split_over_two_names_of_one_symbol_costs_the_same(seed, transform, share, cut):
    """Any split in a linear model; in a concave one the split that trades both at one rate."""
    model, q = draw(seed, transform)
    cut = share if transform == "sqrt" else cut
    twins = listed_twice(model, share)
    split = np.r_[q[0] * cut / share, q[0] * (1 - cut) / (1 - share), q[1:]]
    np.testing.assert_allclose(split @ twins.adv, q @ model.adv, rtol=1e-9)
    assert np.isclose(twins.cost(split).total, model.cost(q).total, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(
        (twins.self_bps(split) + twins.cross_bps(split))[1:],
        model.self_bps(q) + model.cross_bps(q),
        atol=1e-9,
    )


@given(seeds, transforms)
@axiom
def test_marginal_cost_is_the_gradient_of_either_transform(seed, transform):
    model, q = draw(seed, transform)
    q = np.where(q == 0, 1e-4, q)  # away from the kinks
    step = 1e-6 * np.abs(q)
    numeric = [
        (model.cost(q + e).total - model.cost(q - e).total) / (2 * s * adv)
        for e, s, adv in zip(np.diag(step), step, model.adv, strict=True)
    ]
    size = np.abs(model.marginal_cost(q)).max()
    np.testing.assert_allclose(model.marginal_cost(q), numeric, rtol=1e-5, atol=1e-6 * size)


@given(seeds)
@axiom
def test_the_transforms_agree_at_the_reference_and_the_square_root_is_concave(seed):
    model, _ = draw(seed, "sqrt")
    sides = np.sign(np.random.default_rng(seed).normal(size=model.n))
    at = sides * model.reference
    straight = replace(model, transform="linear")
    np.testing.assert_allclose(parts(model, at), parts(straight, at), rtol=1e-12)
    np.testing.assert_allclose(model.flow(4 * at), 2 * at)
    np.testing.assert_array_equal(model.flow(-at), -model.flow(at))
    scaled = parts(model, 4 * at) / parts(model, at)
    np.testing.assert_allclose(scaled[:2], [4, 8])  # Q, and Q sqrt(Q)
    assert np.isclose(model.pair_cost(at).sum(), model.cost(at).cross)


@given(seeds, transforms)
@axiom
def test_plain_data_carries_the_transform_bit_for_bit(seed, transform):
    model, q = draw(seed, transform)
    again = ImpactModel.from_dict(json.loads(canonical_json(model.to_dict())))
    assert again.digest == model.digest and again.transform == transform
    np.testing.assert_array_equal(again.reference, model.reference)
    np.testing.assert_array_equal(parts(again, q), parts(model, q))
    other = replace(model, transform="linear" if transform == "sqrt" else "sqrt")
    assert other.digest != model.digest


def test_a_model_written_before_there_were_transforms_is_linear_and_keeps_its_digest():
    data = make(4).to_dict()
    assert "transform" not in data and "reference_adv" not in data
    old = ImpactModel.from_dict(data)
    assert old.transform == "linear" and (old.reference == 1).all()
    assert old.digest == make(4).digest


@pytest.mark.parametrize("transform", ["linear", "sqrt"])
def test_the_self_only_rung_keeps_the_transform(transform):
    model, q = draw(1, transform)
    alone = model.self_only()
    assert alone.transform == transform and alone.cost(q).cross == 0
    np.testing.assert_array_equal(alone.self_bps(q), model.self_bps(q))
