"""Who is treated: salts, chances, strata, and the share of notional they give."""

from __future__ import annotations

from datetime import UTC, datetime, time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossimpact.errors import CrossImpactError, UsageError
from crossimpact.rollout.design import (
    DayDraw,
    Design,
    burn_in,
    chances,
    commitment,
    cuts,
    uniform,
)
from tests.crossimpact.rollout.desk import slice_of

SALT, DAY = bytes(range(32)), "2026-03-02"
OPEN = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)


def draw(**changes) -> DayDraw:
    known = {
        "date": DAY, "design": Design(0.25), "commitment": commitment(DAY, SALT),
        "cuts_usd": (1e5, 1e6), "chances": (0.2, 0.25, 0.3),
    }  # fmt: skip
    return DayDraw(**{**known, **changes})


def test_a_basket_has_one_arm_whenever_and_in_whatever_order_it_is_asked_for() -> None:
    names = [f"B{k}" for k in range(200)]
    once = {name: draw().arm(SALT, name, 5e5, OPEN) for name in names}
    again = {name: draw().arm(SALT, name, 5e5, OPEN) for name in reversed(names)}
    assert once == again and set(once.values()) == {"policy", "control"}
    other = {name: draw().arm(SALT[::-1], name, 5e5, OPEN) for name in names}
    assert once != other


def test_draws_are_uniform_and_the_chance_is_that_of_the_size() -> None:
    drawn = np.array([uniform(SALT, f"B{k}") for k in range(20_000)])
    assert abs(drawn.mean() - 0.5) < 4 * np.sqrt(1 / 12 / len(drawn))
    deciles = np.bincount((10 * drawn).astype(int), minlength=10)
    assert ((deciles - 2000) ** 2 / 2000).sum() < 27.9  # chi2, 9 df, p = .001
    assert [draw().chance(usd) for usd in (1e5, 1.01e5, 1e9)] == [0.2, 0.25, 0.3]


def test_a_salt_that_was_changed_is_told_by_its_date() -> None:
    draw().opens(SALT)
    with pytest.raises(CrossImpactError, match=f"salt of {DAY} was changed"):
        draw().opens(SALT[::-1])
    assert commitment(DAY, SALT) != commitment("2026-03-03", SALT)
    with pytest.raises(UsageError, match="3 bytes, 32 are needed"):
        commitment(DAY, b"abc")


@given(
    st.lists(st.floats(-1e9, 1e9), min_size=3, max_size=3),
    st.lists(st.floats(0, 1e8), min_size=3, max_size=3),
    st.floats(0.2, 0.3),
)
def test_chances_stay_within_their_bounds_and_lean_against_the_excess(excess, usual, share) -> None:
    found = chances(excess, usual, share)
    assert np.all((found >= 0.2 * share) & (found <= 0.9))
    assert np.all(found[np.array(excess) > 0] <= share)
    assert np.all(found[np.array(usual) == 0] == share)


@pytest.mark.parametrize(("baskets", "within"), [(10, 0.85), (40, 0.98)])
def test_the_share_of_notional_is_kept_within_two_points_over_a_month(baskets, within) -> None:
    """1,000 months of 21 days, sizes of five desks."""
    shares = []
    for seed in range(5):
        of, mechanism = slice_of(21, baskets, seed=1000 + 2 * seed)
        treated, _ = mechanism.draw(of, of.uniforms(200, seed))
        shares.extend(treated @ of.notional_usd / of.notional_usd.sum())
    assert np.mean(np.abs(np.array(shares) - 0.25) < 0.02) >= within
    assert abs(np.mean(shares) - 0.25) < 0.005


def test_strata_hold_equal_numbers_of_the_baskets_seen_before() -> None:
    seen = np.random.default_rng(2).lognormal(14, 1, 999)
    ends = cuts(seen, 3)
    counts = np.bincount([draw(cuts_usd=ends).stratum(usd) for usd in seen])
    assert counts.tolist() == [333, 333, 333]
    with pytest.raises(UsageError, match="no basket is known"):
        cuts([], 3)


def test_a_switchback_gives_a_half_day_one_arm_and_burns_in_after_the_change() -> None:
    design = Design(0.3, strata=1, kind="switchback", half_day=time(17, 45))
    made = draw(design=design, cuts_usd=(), chances=(0.5,))
    morning = {made.arm(SALT, f"B{k}", 1e5, OPEN) for k in range(50)}
    assert len(morning) == 1
    late = OPEN.replace(hour=18, minute=0)
    assert burn_in(late, design, {"normal": 6.0}) and not burn_in(late, design, {"normal": 4.0})
    assert not burn_in(OPEN, design, {"normal": 600.0})
    with pytest.raises(ValueError, match="strata = 1"):
        Design(0.3, strata=3, kind="switchback")
