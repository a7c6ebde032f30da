"""Data drift: an exact test over days, and a change large enough to be worth a look."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest

from crossimpact.drift.conditions import CONDITIONS, MIN_REFERENCE, MIN_WEEK, Shift, shifts

REFERENCE = {name: np.linspace(0.9, 1.1, 20) for name in CONDITIONS}


def large(shift: Shift) -> bool:
    return shift.value < shift.low or shift.value > shift.high


def test_wholly_separate_days_have_the_exact_p_value():
    week = {name: 2.5 * np.linspace(0.95, 1.05, 5) for name in CONDITIONS}
    for name, shift in shifts(week, REFERENCE).items():
        assert shift.p == pytest.approx(2 / comb(25, 5))
        assert large(shift)
        assert shift.value == pytest.approx(1.5 if name == "regime_share" else 2.5)


def test_days_of_one_kind_are_no_shift():
    week = {name: np.array([0.93, 0.97, 1.0, 1.04, 1.08]) for name in CONDITIONS}
    for shift in shifts(week, REFERENCE).values():
        assert shift.p > 0.5 and not large(shift)


def test_a_shift_may_be_significant_and_yet_small():
    week = {name: np.full(5, 1.2) for name in CONDITIONS}
    for shift in shifts(week, REFERENCE).values():
        assert shift.p < 1e-3 and not large(shift)


@pytest.mark.parametrize("days", [(MIN_WEEK - 1, 20), (5, MIN_REFERENCE - 1)])
def test_too_few_days_say_nothing(days):
    now, then = (np.linspace(1, 2, count) for count in days)
    found = shifts({"flow": now}, {"flow": then})
    assert all(np.isnan(found[name].p) and not large(found[name]) for name in CONDITIONS)


def test_days_without_the_regime_are_left_out():
    week = {"vol": np.array([np.nan, 3.0, 3.0, 3.0])}
    assert shifts(week, {"vol": np.append(np.ones(20), np.nan)})["vol"].value == 3
