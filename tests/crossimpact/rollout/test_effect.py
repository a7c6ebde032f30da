"""The policy's effect: identities, unbiasedness, bounds at all looks, power as stated."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crossimpact.errors import EstimationError
from crossimpact.rollout import confidence
from crossimpact.rollout.effect import adjusted, control_weights, effect, effect_path, scores
from tests.crossimpact.rollout.desk import slice_of

ALPHA, PLANNED = 0.05, 60
WEIGHTS = np.array([1.0, 0.5, 0.0])


def test_at_one_chance_and_one_day_shape_the_effect_is_the_difference_of_means() -> None:
    of, _ = slice_of(1, 40, effect=-7.0, seed=4)
    of = replace(of, propensity=np.full(40, 0.25))
    two = replace(of, date=np.repeat(["2026-01-01", "2026-01-02"], 20))
    a, b = scores(of, of.is_bps)
    means = of.is_bps[of.treated].mean() - of.is_bps[~of.treated].mean()
    assert a.sum() / b.sum() == pytest.approx(means, rel=1e-12)
    assert effect(two, two.is_bps, alpha=ALPHA, planned_days=PLANNED).days == 2


def test_what_all_baskets_of_a_day_share_does_not_move_the_effect() -> None:
    of, _ = slice_of(20, 10, seed=6)
    shocks = np.random.default_rng(0).normal(0, 500, 20)[of.day]
    plain = effect(of, of.is_bps, alpha=ALPHA, planned_days=PLANNED)
    shocked = effect(of, of.is_bps + shocks, alpha=ALPHA, planned_days=PLANNED)
    assert shocked.value == pytest.approx(plain.value, abs=1e-9)
    assert shocked.se == pytest.approx(plain.se, abs=1e-9)


def test_the_effect_is_unbiased_and_its_error_is_as_told_over_quarters() -> None:
    found = []
    for seed in range(200):
        of, _ = slice_of(63, 10, seed=3000 + 2 * seed)
        y = adjusted(of, WEIGHTS) - 5.0 * of.treated
        one = effect(of, y, alpha=ALPHA, planned_days=PLANNED)
        found.append((one.value, one.se))
    value, se = np.array(found).T
    assert abs(value.mean() + 5.0) < 3 * value.std() / np.sqrt(200)
    assert se.mean() == pytest.approx(value.std(), rel=0.15)


def test_controls_are_weighed_before_the_slice_and_take_out_what_they_explain() -> None:
    before, _ = slice_of(60, 10, seed=8)
    weights = control_weights(before)
    assert weights == pytest.approx(WEIGHTS, abs=0.5)
    of, _ = slice_of(60, 10, seed=9)
    plain = effect(of, of.is_bps, alpha=ALPHA, planned_days=PLANNED)
    better = effect(of, adjusted(of, weights), alpha=ALPHA, planned_days=PLANNED)
    assert better.se < plain.se
    few, _ = slice_of(2, 10, seed=8)
    assert control_weights(few).tolist() == [0, 0, 0]


def test_the_bounds_leave_out_no_difference_in_at_most_five_percent_of_quarters() -> None:
    """Looked at daily over 200 A/A quarters."""
    wrong = 0
    for seed in range(200):
        of, _ = slice_of(63, 10, seed=3000 + 2 * seed)
        _, _, low, high = effect_path(of, adjusted(of, WEIGHTS), alpha=ALPHA, planned_days=PLANNED)
        wrong += bool(((low > 0) | (high < 0)).any())
    assert wrong <= 10


@pytest.mark.parametrize("size", [-8.0, -12.0, -16.0])
def test_stated_power_is_within_five_points_of_what_slices_show(size) -> None:
    days, runs, shown, sds = 63, 200, 0, []
    for seed in range(runs):
        of, _ = slice_of(days, 10, seed=3000 + 2 * seed)
        y = adjusted(of, WEIGHTS) + size * of.treated
        _, se, low, high = effect_path(of, y, alpha=ALPHA, planned_days=PLANNED)
        shown += bool(((low > 0) | (high < 0)).any())
        sds.append(se[-1] * np.sqrt(days))
    each = [confidence.power(size, sd, days, ALPHA, PLANNED) for sd in sds[::10]]
    stated = float(np.mean(each))
    assert abs(stated - shown / runs) <= 0.05 + 2 * np.sqrt(stated * (1 - stated) / runs)


def test_days_needed_is_where_the_power_reaches_what_is_wanted() -> None:
    days = confidence.days_needed(5.0, 15.0, ALPHA, PLANNED, 0.8)
    assert days is not None
    assert confidence.power(5.0, 15.0, days, ALPHA, PLANNED) >= 0.8
    assert confidence.power(5.0, 15.0, days - 1, ALPHA, PLANNED) < 0.8
    assert confidence.power(5.0, 15.0, 9, ALPHA, PLANNED) == 0.0
    assert confidence.days_needed(0.01, 15.0, ALPHA, PLANNED, 0.8) is None


def test_nothing_is_said_in_the_first_days_nor_without_a_draw() -> None:
    of, _ = slice_of(9, 10, seed=1)
    early = effect(of, of.is_bps, alpha=ALPHA, planned_days=PLANNED)
    assert (early.low, early.high) == (-np.inf, np.inf) and np.isfinite(early.value)
    none = effect(of.where(of.day < 0), np.empty(0), alpha=ALPHA, planned_days=PLANNED)
    assert np.isnan(none.value) and none.days == 0


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [("propensity", 1.0, "propensity"), ("is_bps", np.nan, "is_bps of basket B0")],
)
def test_outcomes_refuse_what_is_no_number_and_what_was_not_randomised(column, value, told) -> None:
    of, _ = slice_of(2, 10, seed=1)
    bad = getattr(of, column).copy()
    bad[0] = value
    with pytest.raises(EstimationError, match=told):
        replace(of, **{column: bad})
