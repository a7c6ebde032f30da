"""Paths of flows: the golden numbers, the gradient, and what a kernel must not change."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossimpact.attribution import order_costs, order_path
from crossimpact.errors import ModelError
from crossimpact.kernel.decay import Decay
from crossimpact.model import ImpactModel, canonical_json
from crossimpact.tca import Prediction, predict
from tests.crossimpact.test_model import make

seeds = st.integers(0, 10_000)
property_test = settings(max_examples=40, deadline=None)
#: One half-life a bucket, nothing permanent, scales 1; and everything permanent.
HALVING = Decay.from_half_life(5.0, bucket_min=5.0)
PERMANENT = Decay.from_half_life(np.inf, bucket_min=5.0)
BUCKETS = ("normal",) * 5


def pair(kernel: Decay | None) -> ImpactModel:
    return ImpactModel(
        ("A", "B"), ("x", "x"), np.full(2, 1e8), "normal", np.zeros(2), np.full(2, 1000.0),
        np.array([[0, 500.0], [500.0, 0]]), kernel=kernel,
    )  # fmt: skip


#: A buys 1m USD in buckets 0 to 2 (order 1, arrives at 0) and in 4 (order 2, arrives at 3), B in 0.
ORDERS = np.array([[0.01, 0.01, 0.01, 0, 0], [0, 0, 0, 0, 0.01]])
PATH = np.column_stack((ORDERS.sum(axis=0), [0.01, 0, 0, 0, 0]))


def predicted(kernel: Decay) -> Prediction:
    return predict({"normal": pair(kernel)}, BUCKETS, PATH, ("A", "B"))


def costs(kernel: Decay, arrivals: tuple[int, int]) -> dict[str, list[float]]:
    whole = predicted(kernel)
    path = order_path(whole, {"normal": kernel}, BUCKETS, 0, ORDERS, arrivals)
    found = order_costs(whole, path, 0, ORDERS, 1e8)
    return {name: value.tolist() for name, value in vars(found).items()}


def test_golden_states_of_a_halving_push():
    found = pair(HALVING).path_cost(PATH)
    np.testing.assert_allclose(found.carried_self_bps[:, 0], [0, 10, 15, 17.5, 8.75])
    np.testing.assert_allclose(found.carried_cross_bps[:, 0], [0, 5, 2.5, 1.25, 0.625])
    np.testing.assert_allclose(found.self_now, [2000, 1000, 1000, 0, 1000])
    np.testing.assert_allclose(found.cross_now, [1000, 0, 0, 0, 0])
    np.testing.assert_allclose(found.self_carried, [0, 1000, 1500, 0, 875])
    np.testing.assert_allclose(found.cross_carried, [0, 500, 250, 0, 62.5])
    np.testing.assert_allclose(found.total.sum(), 5000 + 1000 + 3375 + 812.5)


def test_golden_orders_of_a_halving_push():
    found = costs(HALVING, (0, 3))
    assert found["self_now"] == pytest.approx([3000, 1000])
    assert found["own_carried"] == pytest.approx([2500, 0])
    assert found["sibling_carried"] == pytest.approx([0, -875])
    assert found["cross_now"] == pytest.approx([500, 0])
    assert found["cross_carried"] == pytest.approx([750, -62.5])


@pytest.mark.parametrize(("arrival", "usd"), [(3, 62.5), (0, 1937.5)])
def test_a_later_benchmark_flatters_the_second_order(arrival, usd):
    whole = predicted(HALVING)
    path = order_path(whole, {"normal": HALVING}, BUCKETS, 0, ORDERS, (0, arrival))
    assert order_costs(whole, path, 0, ORDERS, 1e8).total[1] == pytest.approx(usd)


def test_golden_numbers_of_permanent_impact():
    found = pair(PERMANENT).path_cost(PATH)
    np.testing.assert_allclose(found.carried_self_bps[:, 0], [0, 10, 20, 30, 30])
    orders = costs(PERMANENT, (0, 3))
    assert orders["own_carried"] == pytest.approx([3000, 0])
    assert orders["sibling_carried"] == pytest.approx([0, 0])
    assert orders["cross_carried"] == pytest.approx([1000, 0])


def test_orders_add_up_to_the_path():
    """Against bucket 0, where nothing is carried yet, the orders' parts are the name's."""
    whole, found = pair(HALVING).path_cost(PATH), costs(HALVING, (0, 0))
    carried = whole.self_carried.sum() + whole.cross_carried.sum() - 0  # B trades in bucket 0 only
    assert sum(found["own_carried"]) + sum(found["sibling_carried"]) + sum(
        found["cross_carried"]
    ) == pytest.approx(carried)


def test_a_push_decays_as_its_own_regime_says():
    calm, stressed = pair(HALVING), replace(pair(PERMANENT), regime="stressed")
    regimes = ("stressed", "normal", "normal", "normal", "normal")
    found = predict({"normal": calm, "stressed": stressed}, regimes, PATH, ("A", "B"))
    np.testing.assert_allclose(found.carried_self_bps[:, 0], [0, 10, 20, 25, 17.5])
    bare = replace(stressed, kernel=None)
    found = predict({"normal": calm, "stressed": bare}, regimes, PATH, ("A", "B"))
    np.testing.assert_allclose(found.carried_self_bps[:, 0], [0, 0, 10, 15, 7.5])


def model(seed: int, transform: str = "linear") -> ImpactModel:
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.ones(3))
    kernel = Decay(
        tuple(weights), (0.0, *np.sort(rng.uniform(0.005, 0.3, 2))),
        scale_self=rng.uniform(1, 1.8), scale_cross=rng.uniform(1, 1.8), overnight=rng.random(),
    )  # fmt: skip
    return replace(
        make(seed), transform=transform, reference=rng.uniform(5e-4, 5e-3, 5), kernel=kernel
    )


@given(seeds, st.sampled_from(("linear", "sqrt")))
@property_test
def test_path_marginal_cost_is_the_gradient(seed, transform):
    priced, rng = model(seed, transform), np.random.default_rng(seed)
    q = rng.choice((-1, 1), (6, 5)) * rng.uniform(5e-4, 3e-3, (6, 5))
    days = [1, 1, 1, 2, 2, 2]
    found = priced.path_marginal_cost(q, days)
    for bucket, i in rng.integers(0, (6, 5), (6, 2)):
        step = np.zeros_like(q)
        step[bucket, i] = 1e-6
        up, down = (priced.path_cost(q + s * step, days).total.sum() for s in (1, -1))
        numeric = (up - down) / (2e-6 * priced.adv[i])
        np.testing.assert_allclose(found[bucket, i], numeric, rtol=1e-4, atol=1e-7)


@given(seeds, st.sampled_from(("linear", "sqrt")))
@property_test
def test_without_a_kernel_buckets_cost_what_they_cost_alone(seed, transform):
    bare = replace(model(seed, transform), kernel=None)
    q = np.random.default_rng(seed).normal(0, 1e-3, (6, 5))
    path, alone = bare.path_cost(q), bare.cost(q)
    assert not path.self_carried.any() and not path.cross_carried.any()
    assert not path.carried_self_bps.any() and not path.carried_cross_bps.any()
    np.testing.assert_array_equal(path.total, alone.total)
    np.testing.assert_array_equal(bare.path_marginal_cost(q), bare.marginal_cost(q))


@given(seeds)
@property_test
def test_now_costs_do_not_depend_on_the_kernel(seed):
    priced = model(seed)
    q = np.random.default_rng(seed).normal(0, 1e-3, (6, 5))
    path, alone = priced.path_cost(q), priced.cost(q)
    np.testing.assert_array_equal(path.linear, alone.linear)
    np.testing.assert_array_equal(path.self_now, alone.self_impact)
    np.testing.assert_array_equal(path.cross_now, alone.cross)


@given(seeds)
@property_test
def test_permanent_impact_of_scale_one_is_paid_in_full_by_what_comes_after(seed):
    """Slicing a permanent push costs the average of nothing and the whole, in the limit half."""
    lasting = replace(model(seed), kernel=PERMANENT, alpha=np.zeros(5))
    q = np.random.default_rng(seed).normal(0, 1e-3, 5)
    whole = lasting.cost(q).total
    slices = 50
    path = lasting.path_cost(np.tile(q / slices, (slices, 1))).total.sum()
    assert path == pytest.approx(whole * (1 + 1 / slices) / 2)


@given(seeds)
@property_test
def test_path_cost_flips_scales_and_ignores_idle_ends(seed):
    priced = replace(model(seed), alpha=np.zeros(5))
    q = np.random.default_rng(seed).normal(0, 1e-3, (5, 5))
    total = priced.path_cost(q).total.sum()
    assert priced.path_cost(-q).total.sum() == pytest.approx(total)
    assert priced.path_cost(3 * q).total.sum() == pytest.approx(9 * total)
    idle = np.zeros((3, 5))
    assert priced.path_cost(np.vstack((idle, q, idle))).total.sum() == pytest.approx(total)


def test_a_model_with_kernel_survives_plain_data_and_one_without_has_the_same_bytes():
    priced = model(1)
    again = ImpactModel.from_dict(json.loads(canonical_json(priced.to_dict())))
    assert again.kernel == priced.kernel and again.digest == priced.digest
    bare = replace(priced, kernel=None)
    assert "kernel" not in bare.to_dict() and bare.digest != priced.digest
    assert priced.self_only().kernel == priced.kernel


@pytest.mark.parametrize(
    ("q", "words"),
    [
        (np.zeros(2), r"a path of shape \(2,\) for 2 symbols"),
        (np.zeros((3, 3)), r"a path of shape \(3, 3\)"),
        (np.array([[0, 0], [0, np.nan]]), "flow of B in bucket 1 is not finite"),
    ],
)
def test_a_path_that_is_none_is_refused(q, words):
    for price in (pair(HALVING).path_cost, pair(None).path_marginal_cost):
        with pytest.raises(ModelError, match=words):
            price(q)


@pytest.mark.parametrize(
    ("flows", "arrivals", "words"),
    [
        (ORDERS, (0,), "for 1 orders"),
        (ORDERS[:, :4], (0, 3), "5 buckets"),
        (ORDERS, (0, 5), "outside 0..4"),
        (ORDERS, (-1, 0), "outside 0..4"),
    ],
)
def test_orders_that_do_not_fit_the_day_are_refused(flows, arrivals, words):
    with pytest.raises(ModelError, match=words):
        order_path(predicted(HALVING), {"normal": HALVING}, BUCKETS, 0, flows, arrivals)


@pytest.mark.parametrize("net", [0.0, 1e-9])
def test_opposite_orders_that_cross_inside_move_nothing(net):
    """Only the name's net flow pushes, and it is the larger order's."""
    flows = np.array([[0.01 + net, 0, 0, 0, 0], [-0.01, 0, 0, 0, 0]])
    q = np.column_stack((flows.sum(axis=0), np.zeros(5)))
    whole = predict({"normal": pair(HALVING)}, BUCKETS, q, ("A", "B"))
    path = order_path(whole, {"normal": HALVING}, BUCKETS, 0, flows, (0, 0))
    assert np.abs(path.own_bps).max() == pytest.approx(1000 * net)
    assert not path.own_bps[1].any() and not path.sibling_bps[0].any()
    np.testing.assert_allclose(path.sibling_bps[1], path.own_bps[0])
