"""Exact tests: sizes under the null, what they find, and the alarm's false alarms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crossimpact.rollout.randomisation_test import alarm, day_p_values, p_value
from tests.crossimpact.rollout.desk import slice_of


def test_p_values_are_uniform_or_larger_without_an_effect() -> None:
    p = np.array(
        [p_value(*_case(seed), draws=99, seed=seed) for seed in range(150)]
    )  # 20 days x 8 baskets
    for level in (0.05, 0.2, 0.5):
        assert (p <= level).mean() <= level + 3 * np.sqrt(level * (1 - level) / len(p))
    assert (p <= 0.5).mean() >= 0.35


def _case(seed: int):
    of, mechanism = slice_of(20, 8, seed=500 + 2 * seed)
    return of, of.is_bps, mechanism


def test_the_null_that_is_true_is_kept_and_another_one_is_not() -> None:
    of, mechanism = slice_of(60, 20, effect=25.0, seed=11)
    assert p_value(of, of.is_bps, mechanism, null=25.0, draws=199) > 0.05
    assert p_value(of, of.is_bps, mechanism, draws=199) <= 0.01


def test_a_days_p_values_are_uniform_or_larger_whatever_the_tails() -> None:
    of, _ = slice_of(400, 8, seed=21)
    heavy = np.random.default_rng(3).standard_cauchy(len(of))
    p = day_p_values(of, heavy, draws=199)
    for level in (0.05, 0.2, 0.5):
        assert (p <= level).mean() <= level + 3 * np.sqrt(level * (1 - level) / len(p))


def test_at_most_five_percent_of_quarters_without_harm_see_an_alarm() -> None:
    raised = 0
    for seed in range(200):
        of, _ = slice_of(63, 10, seed=3000 + 2 * seed)
        raised += bool(alarm(of, of.is_bps, margin=0.0, alpha=0.05, draws=99).raised)
    assert raised <= 10


@pytest.mark.parametrize("seed", range(3))
def test_harm_is_told_by_its_date_and_gain_is_none(seed) -> None:
    of, _ = slice_of(63, 20, effect=40.0, seed=40 + 2 * seed)
    found = alarm(of, of.is_bps, margin=0.0, alpha=0.05)
    assert found.raised and found.raised <= of.days[45]
    gain, _ = slice_of(63, 20, effect=-40.0, seed=40 + 2 * seed)
    assert not alarm(gain, gain.is_bps, margin=0.0, alpha=0.05).raised


def test_draws_are_made_by_unit() -> None:
    of, _ = slice_of(4, 6, seed=2)
    halves = replace(of, unit=np.array(["half 1", "half 2"] * 12))
    drawn = halves.uniforms(5, seed=0)
    for day in range(4):
        rows = halves.day == day
        assert len(np.unique(drawn[0, rows])) == 2
