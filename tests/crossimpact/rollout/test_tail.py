"""Tails of arms: definitions on known numbers, coverage, and silence with too few baskets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crossimpact.rollout.tail import mean_beyond, quantile, tail_effects
from tests.crossimpact.rollout.desk import slice_of


def test_quantiles_and_cvar_of_equal_weights_are_those_of_the_sample() -> None:
    y = np.arange(1.0, 101.0)
    shares = np.arange(1, 101)[None] / 100
    assert quantile(0.9)(y, shares).item() == np.quantile(y, 0.9, method="inverted_cdf") == 90
    assert mean_beyond(0.95)(y, shares).item() == pytest.approx(y[95:].mean())


def test_weights_stand_for_the_baskets_that_were_less_likely_drawn() -> None:
    y, weight = np.array([1.0, 2.0, 3.0]), np.array([1.0, 1.0, 8.0])
    shares = np.cumsum(weight)[None] / weight.sum()
    repeated = np.repeat(y, weight.astype(int))
    assert quantile(0.5)(y, shares).item() == np.quantile(repeated, 0.5, method="inverted_cdf")
    assert mean_beyond(0.95)(y, shares).item() == 3.0


def test_a_shift_of_the_policys_costs_shifts_all_tails_alike() -> None:
    of, _ = slice_of(60, 20, seed=5)
    base = tail_effects(of, draws=200)
    moved = tail_effects(replace(of, is_bps=of.is_bps + 10.0 * of.treated), draws=200)
    for name, row in moved.items():
        assert row.value == pytest.approx(base[name].value + 10.0)
        assert row.se == pytest.approx(base[name].se)
    assert moved == tail_effects(replace(of, is_bps=of.is_bps + 10.0 * of.treated), draws=200)


def test_p90_intervals_hold_no_difference_in_nine_of_ten_slices() -> None:
    held = []
    for seed in range(40):
        of, _ = slice_of(60, 20, seed=900 + 2 * seed)
        row = tail_effects(of, draws=200, seed=seed)["p90_bps"]
        held.append(row.low <= 0 <= row.high)
    assert np.mean(held) >= 0.88  # 95% stated, 40 slices


def test_no_tail_is_told_of_too_few_baskets() -> None:
    of, _ = slice_of(5, 10, seed=5)
    assert all(np.isnan(row.value) for row in tail_effects(of, draws=50).values())
