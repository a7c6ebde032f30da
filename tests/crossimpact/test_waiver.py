"""Waivers: what they cover, until when, and what is refused as one."""

from __future__ import annotations

import pytest

from crossimpact.errors import UsageError
from crossimpact.waiver import Waiver, Waivers

WAIVER = Waiver("fill_near_mid", "child_fills", "ann", "auction prints", "2026-03-27")


@pytest.mark.parametrize(
    ("scope", "asked", "covered"),
    [
        ({}, ("fill_near_mid", "child_fills", "2026-01-02", "AAA"), True),
        ({}, ("fill_near_mid", "child_fills", "2026-01-02", ""), True),
        ({}, ("order_known", "child_fills", "2026-01-02", "AAA"), False),
        ({}, ("fill_near_mid", "public_trades", "2026-01-02", "AAA"), False),
        ({"symbols": ("AAA",)}, ("fill_near_mid", "child_fills", "2026-01-02", "BBB"), False),
        ({"symbols": ("AAA",)}, ("fill_near_mid", "child_fills", "2026-01-02", ""), False),
        ({"first": "2026-01-02"}, ("fill_near_mid", "child_fills", "2026-01-02", "A"), True),
        ({"first": "2026-01-03"}, ("fill_near_mid", "child_fills", "2026-01-02", "A"), False),
        ({"last": "2026-01-01"}, ("fill_near_mid", "child_fills", "2026-01-02", "A"), False),
        ({"last": "2026-01-02"}, ("fill_near_mid", "child_fills", "2026-01-02", "A"), True),
    ],
)
def test_a_waiver_covers_its_scope_and_nothing_else(scope, asked, covered) -> None:
    facts = {k: v for k, v in vars(WAIVER).items() if k not in scope}
    assert Waiver(**facts, **scope).covers(*asked) is covered


def test_a_waiver_counts_up_to_its_last_day_and_is_told_afterwards() -> None:
    for today, active in (("2026-03-26", 1), ("2026-03-27", 1), ("2026-03-28", 0), ("", 0)):
        waivers = Waivers((WAIVER,), today)
        assert (len(waivers.active), len(waivers.expired)) == (active, 1 - active)
        assert waivers.of(["child_fills"], "2026-01-02") == waivers.active
    assert Waivers((WAIVER,), "2026-01-01").of(["instruments"], "2026-01-02") == ()


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ({"owner": " "}, "owner is empty"),
        ({"expires": "soon"}, "'soon' is not a date"),
        ({"expires": ""}, "expires '' is not a date"),
        ({"first": "20260102"}, "first '20260102'"),
        ({"first": "2026-02-02", "last": "2026-02-01"}, "it ends"),
    ],
)
def test_what_is_no_waiver_is_refused_by_its_field(cell, words) -> None:
    with pytest.raises(UsageError, match=words):
        Waiver(**{**vars(WAIVER), **cell})
