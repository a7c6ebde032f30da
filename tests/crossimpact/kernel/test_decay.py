"""The decay kernel: its curve, its recursion over buckets, and numbers that are none."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from crossimpact.errors import ModelError
from crossimpact.kernel.decay import Decay, DecayErrors, states
from crossimpact.plain_data import canonical_json
from crossimpact.policy.sequential.kernel import SumOfExponentials

property_test = settings(max_examples=40, deadline=None)


@st.composite
def decays(draw: st.DrawFn) -> Decay:
    rates = sorted(draw(st.sets(st.floats(0.001, 1), min_size=1, max_size=3)))
    if draw(st.booleans()):
        rates = [0.0, *rates]
    parts = np.array(draw(st.lists(st.floats(0.05, 1), min_size=len(rates), max_size=len(rates))))
    return Decay(
        tuple(parts / parts.sum()),
        tuple(rates),
        scale_self=draw(st.floats(0.5, 2)),
        scale_cross=draw(st.floats(0.5, 2)),
        bucket_min=draw(st.floats(0.5, 10)),
        overnight=draw(st.floats(0, 1)),
    )


@given(decays(), st.integers(0, 100))
@property_test
def test_carried_is_the_sum_over_earlier_buckets(decay, seed):
    push = np.random.default_rng(seed).normal(size=(9, 2))
    wanted = [
        sum((decay.value((b - a - 1) * decay.bucket_min) * push[a] for a in range(b)), np.zeros(2))
        for b in range(9)
    ]
    np.testing.assert_allclose(decay.carried(push), wanted, rtol=1e-12, atol=1e-12)


@given(decays(), st.integers(0, 100))
@property_test
def test_carried_is_additive_over_rates(decay, seed):
    push = np.random.default_rng(seed).normal(size=(7, 2))
    days = ["a"] * 3 + ["b"] * 4
    parts = [
        weight * replace(decay, weights=(1.0,), rates_per_min=(rate,)).carried(push, days)
        for weight, rate in zip(decay.weights, decay.rates_per_min, strict=True)
    ]
    np.testing.assert_allclose(decay.carried(push, days), sum(parts), rtol=1e-12, atol=1e-12)


def test_states_start_where_the_bucket_before_ended():
    walk = list(
        states(np.array([[8.0], [4.0], [2.0]]), (0.0, np.log(2) / 5), 5.0, list("aab"), 0.5)
    )
    starts, ends = (np.array([part[k].ravel() for part in walk]) for k in (0, 1))
    np.testing.assert_allclose(starts, [[0, 0], [8, 8], [6, 4]])
    np.testing.assert_allclose(ends, [[8, 8], [12, 8], [8, 4]])


@given(decays(), st.integers(0, 100))
@property_test
def test_felt_is_the_transpose_of_carried(decay, seed):
    rng = np.random.default_rng(seed)
    push, weight = rng.normal(size=(2, 8, 3))
    days = [1, 1, 1, 2, 3, 3, 3, 3]
    forward = (weight * decay.carried(push, days)).sum()
    assert forward == pytest.approx((decay.felt(weight, days) * push).sum(), abs=1e-12)


@given(decays(), st.integers(0, 100))
@property_test
def test_sessions_without_overnight_share_are_apart(decay, seed):
    push = np.random.default_rng(seed).normal(size=(8, 2))
    clean = replace(decay, overnight=0.0)
    days = ["mon"] * 3 + ["tue"] * 5
    apart = np.vstack((clean.carried(push[:3]), clean.carried(push[3:])))
    np.testing.assert_array_equal(clean.carried(push, days), apart)
    idle = np.vstack((push[:3], np.zeros((4, 2)), push[3:]))
    after = clean.carried(idle, ["mon"] * 7 + ["tue"] * 5)
    np.testing.assert_array_equal(np.delete(after, np.s_[3:7], axis=0), apart)


def test_the_overnight_share_carries_the_close():
    decay = Decay.from_half_life(5.0, bucket_min=5.0, overnight=0.25)
    state = decay.carried(np.array([8.0, 0.0, 0.0, 0.0]), ["mon", "mon", "tue", "tue"])
    np.testing.assert_allclose(state, [0, 8, 0.25 * 4, 0.25 * 2])


@given(decays())
@property_test
def test_the_curve_falls_from_one_and_is_the_solver_s(decay):
    lags = np.linspace(0, 200, 60)
    g = decay.value(lags)
    assert g[0] == pytest.approx(1) and (np.diff(g) <= 1e-15).all()
    assert (np.diff(g, 2) >= -1e-15).all() and (g >= decay.permanent - 1e-12).all()
    solver = SumOfExponentials(1.0, weights=decay.weights, rhos=decay.rates_per_min)
    np.testing.assert_array_equal(g, solver.shape(lags))
    area = quad(lambda t: float(decay.value(t)), 0, decay.bucket_min)[0]
    assert decay.kernel.first(np.array([decay.bucket_min]))[0] == pytest.approx(area)


@given(decays())
@property_test
def test_the_half_life_halves_the_transient_part(decay):
    left = float(decay.value(decay.half_life_min)) - decay.permanent
    assert left == pytest.approx((1 - decay.permanent) / 2)


@given(st.floats(1, 500), st.floats(0, 0.9))
@property_test
def test_from_half_life(half_life, permanent):
    decay = Decay.from_half_life(half_life, permanent)
    assert decay.half_life_min == pytest.approx(half_life)
    assert decay.permanent == permanent
    assert Decay.from_half_life(math.inf).permanent == 1
    assert Decay.from_half_life(half_life, 1.0).half_life_min == math.inf


def test_optimisers_get_the_slow_end_of_the_interval():
    known = Decay.from_half_life(30.0, 0.3, errors=DecayErrors(half_life_lo=25, half_life_hi=40))
    assert known.slow_end().half_life_min == pytest.approx(40)
    assert known.slow_end().permanent == 0.3
    unknown = Decay.from_half_life(30.0, 0.3)
    assert unknown.slow_end() is unknown


@given(decays())
@property_test
def test_the_spectral_range_is_what_the_series_sums_to(decay):
    """Of the transient part by its series, of the permanent one -1/2 (Abel)."""
    theta = np.linspace(1e-3, np.pi, 400)
    lags = np.arange(1, 4000)
    low, high = decay.spectral_range
    transient = decay.value((lags - 1) * decay.bucket_min) - decay.permanent
    if transient[-1] > 1e-9:
        return  # too slow to sum
    seen = (np.cos(np.outer(theta, lags)) @ transient) - decay.permanent / 2
    assert seen.min() == pytest.approx(low, abs=1e-6)
    assert seen.max() <= high + 1e-6
    assert transient.sum() - decay.permanent / 2 == pytest.approx(high, abs=1e-6)


@given(decays())
@property_test
def test_plain_data_round_trip(decay):
    told = DecayErrors(half_life_lo=1.5, scale_self_se=0.1, lags_min=(0, 5), se_self=(0.1, 0.2),
                       se_cross=(0.3, 0.4))  # fmt: skip
    for kernel in (decay, replace(decay, errors=told)):
        assert Decay.from_dict(json.loads(canonical_json(kernel.to_dict()))) == kernel


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"weights": (-0.1, 1.1)}, r"weights of the kernel\[0\] is -0.1, must be finite and >= 0"),
        ({"weights": (0.5, math.nan)}, r"weights of the kernel\[1\] is nan"),
        ({"weights": (0.5, 0.6)}, "weights sum to 1.1, not 1"),
        ({"weights": (1.0,)}, "1 weights for 2 rates"),
        ({"weights": "ab"}, "weights of the kernel is 'ab', must be a list of numbers"),
        ({"rates_per_min": (0.1, -0.1)}, r"rates_per_min of the kernel\[1\] is -0.1"),
        ({"rates_per_min": (0.1, 0.1)}, "do not increase"),
        ({"rates_per_min": (0.0, math.inf)}, "is inf, must be finite"),
        ({"scale_self": -1.0}, "scale_self of the kernel is -1"),
        ({"scale_cross": None}, "scale_cross of the kernel is None, must be a number"),
        ({"bucket_min": 0.0}, "bucket_min of the kernel is 0, must be > 0"),
        ({"overnight": 1.5}, "overnight of the kernel is 1.5, must be at most 1"),
    ],
)
def test_numbers_that_are_no_decay_are_named(change, words):
    with pytest.raises(ModelError, match=words):
        replace(Decay.from_half_life(30.0, 0.3), **change)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"half_life_lo": -1.0}, "half_life_lo of the kernel is -1"),
        ({"half_life_lo": 2.0, "half_life_hi": 1.0}, "between 2 and 1: swapped"),
        ({"permanent_hi": 1.5}, "permanent_hi of the kernel is 1.5, must be at most 1"),
        ({"lags_min": (1.0,)}, "not equally long"),
        ({"se_self": (math.nan,)}, r"se_self of the kernel\[0\] is nan"),
    ],
)
def test_uncertainties_that_are_none_are_named(change, words):
    with pytest.raises(ModelError, match=words):
        DecayErrors(**change)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda d: d.pop("weights"), "the kernel has the fields"),
        (lambda d: d.update(gamma=0.4), "the kernel has the fields"),
        (lambda d: d.update(type="power_law"), "of type 'power_law', not sum_of_exponentials"),
        (lambda d: d.update(errors=None), "errors of the kernel has the fields None"),
        (lambda d: d["errors"].pop("se_self"), "errors of the kernel has the fields"),
        (lambda d: d.update(weights=[0.3, -0.7]), "must be finite and >= 0"),
        (lambda d: d.update(weights=[0.3, None]), r"weights of the kernel\[1\] is None"),
    ],
)
def test_plain_data_of_no_decay_is_refused(edit, words):
    data = Decay.from_half_life(30.0, 0.3).to_dict()
    edit(data)
    with pytest.raises(ModelError, match=words):
        Decay.from_dict(data)
    with pytest.raises(ModelError, match="the kernel has the fields"):
        Decay.from_dict([1, 2])


def test_sessions_that_do_not_follow_each_other_are_refused():
    decay = Decay.from_half_life(30.0)
    with pytest.raises(ModelError, match="do not follow each other"):
        decay.carried(np.ones(3), ["a", "b", "a"])
    with pytest.raises(ModelError, match="2 session labels for 3 buckets"):
        decay.carried(np.ones(3), ["a", "b"])
    assert decay.carried(np.ones((0, 2)), []).shape == (0, 2)


@pytest.mark.parametrize(("half_life", "permanent"), [(0, 0), (-1, 0), (30, 1.1), (math.nan, 0)])
def test_a_half_life_that_is_none_is_refused(half_life, permanent):
    with pytest.raises(ModelError, match="is no decay"):
        Decay.from_half_life(half_life, permanent)
