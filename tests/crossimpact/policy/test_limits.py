"""Hard limits: each fires, alone, with its article and numbers; lowering works, raising waits."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossimpact.errors import GateRefused, UsageError
from crossimpact.policy import limits as module
from crossimpact.policy.limits import (
    ARTICLES,
    FILE,
    LimitMemory,
    Limits,
    Order,
    Sent,
    approved,
    check,
    looser,
    lowered,
)

LIMITS = Limits(1e6, 0.01, 3, 100.0, 0.2, 5e6, 5, 500.0)
GOOD = Order("A", 1000.0, 100.0, 100.0, 1e8, 0.1)
#: Per limit: an order, a memory and a gross that break this one alone.
BREACHES = {
    "max_child_notional_usd": (replace(GOOD, quantity=-10_001.0, adv_usd=1e10), LimitMemory(), 0),
    "max_child_adv": (replace(GOOD, adv_usd=9.9e6), LimitMemory(), 0.0),
    "max_targets_per_min": (GOOD, LimitMemory(tuple(Sent(-1e3, s, 1.0) for s in "BCD")), 0.0),
    "price_collar_bps": (replace(GOOD, reference=98.9), LimitMemory(), 0.0),
    "max_participation": (replace(GOOD, participation=-0.201), LimitMemory(), 0.0),
    "max_gross_usd": (GOOD, LimitMemory(), 4.95e6),
    "max_decisions_without_review": (GOOD, LimitMemory(decisions=5), 0.0),
    "duplicate_window_ms": (GOOD, LimitMemory((Sent(-499.0, "A", 1000.0),)), 0.0),
}
#: A limit that never binds.
OFF = {
    field.name: 1e-9 if field.name == "duplicate_window_ms" else 1e12 for field in fields(Limits)
}
OFF |= {"max_child_adv": 1.0, "max_participation": 1.0, "max_targets_per_min": 10**9}


def test_every_limit_has_an_article_a_line_with_its_unit_and_a_breach_here() -> None:
    names = [field.name for field in fields(Limits)]
    assert list(ARTICLES) == names and set(BREACHES) == set(names)
    lines = (Path(module.__file__).with_name(FILE)).read_text().splitlines()
    for name in names:
        (line,) = [row for row in lines if row.startswith(name)]
        article = ARTICLES[name].rpartition(" ")[0] if "Art" in ARTICLES[name] else ""
        assert "#" in line and article.split(" ")[0] in line


@pytest.mark.parametrize("name", BREACHES)
def test_each_limit_fires_alone_and_without_it_the_child_leaves(name: str) -> None:
    order, memory, used = BREACHES[name]
    assert check(LIMITS, LimitMemory(), [GOOD], 0.0, 0.0)[0] == (GOOD,)
    allowed, refused, _ = check(LIMITS, memory, [order], 0.0, used)
    assert allowed == () and [row.limit for row in refused] == [name]
    assert ARTICLES[name] in str(refused[0]) and "limit" in str(refused[0])
    mutated = replace(LIMITS, **{name: OFF[name]})
    assert check(mutated, memory, [order], 0.0, used)[0] == (order,), "another limit fired as well"


@pytest.mark.parametrize(
    "bad",
    [
        {"quantity": math.nan}, {"mid": math.nan}, {"reference": math.nan}, {"reference": 0.0},
        {"adv_usd": None}, {"adv_usd": 0.0}, {"adv_usd": math.nan}, {"participation": math.nan},
        {"quantity": math.inf}, {"mid": math.inf},
    ],
)  # fmt: skip
def test_what_is_not_a_number_never_leaves(bad) -> None:
    allowed, refused, _ = check(LIMITS, LimitMemory(), [replace(GOOD, **bad)], 0.0, 0.0)
    assert allowed == () and len(refused) == 1


def test_messages_and_duplicates_are_forgotten_in_time() -> None:
    row = LimitMemory(tuple(Sent(0.0, s, 1.0) for s in "BCD"))
    assert check(LIMITS, row, [GOOD], 59_999.0, 0.0)[0] == ()
    allowed, _, after = check(LIMITS, row, [GOOD], 60_000.0, 0.0)
    assert allowed == (GOOD,) and after.sent == (Sent(60_000.0, "A", 1000.0),)
    again = check(LIMITS, after, [GOOD], 60_500.0, 0.0)
    assert again[0] == (GOOD,)


def test_repeated_execution_stops_until_somebody_looks() -> None:
    memory = LimitMemory()
    for turn in range(5):
        allowed, _, memory = check(LIMITS, memory, [GOOD], turn * 6e4, 0.0)
        assert allowed
    assert check(LIMITS, memory, [GOOD], 6e6, 0.0)[0] == ()
    assert check(LIMITS, memory.reviewed(), [GOOD], 6e6, 0.0)[0] == (GOOD,)


ORDERS = st.builds(
    Order, st.sampled_from("ABC"), st.floats(-2e4, 2e4), st.floats(1, 200), st.floats(1, 200),
    st.one_of(st.none(), st.floats(1e6, 1e9)), st.floats(-0.3, 0.3),
)  # fmt: skip


@given(st.lists(st.tuples(st.lists(ORDERS, max_size=4), st.floats(0, 1e5)), max_size=8))
@settings(max_examples=80, deadline=None)
def test_whatever_is_asked_what_leaves_is_within_every_limit(decisions) -> None:
    memory, used, sent, now = LimitMemory(), 0.0, [], 0.0
    for orders, wait in decisions:
        now += wait
        allowed, refused, memory = check(LIMITS, memory, orders, now, used)
        assert len(allowed) + len(refused) == len(orders) or refused[0].symbol == ""
        for order in allowed:
            notional = abs(order.quantity) * order.mid
            used += notional
            assert notional <= 1e6 and notional <= 0.01 * order.adv_usd
            assert abs(order.participation) <= 0.2
            assert abs(order.mid / order.reference - 1) <= 0.01 + 1e-12
            sent.append(now)
        assert used <= 5e6 and sum(now - at < 6e4 for at in sent) <= 3
        assert len(memory.sent) <= 3  # the memory does not grow


def test_lowering_is_taken_up_and_raising_waits() -> None:
    tighter = replace(LIMITS, max_gross_usd=1e6, duplicate_window_ms=900.0)
    assert lowered(LIMITS, tighter) == (tighter, ())
    mixed = replace(tighter, max_child_adv=0.05)
    assert lowered(LIMITS, mixed) == (tighter, ("max_child_adv",))
    assert looser(LIMITS, replace(LIMITS, duplicate_window_ms=1.0)) == ("duplicate_window_ms",)


def test_raising_needs_a_second_name() -> None:
    higher = replace(LIMITS, max_gross_usd=6e6)
    for approver in ("", "ann"):
        with pytest.raises(GateRefused, match=r"max_gross_usd 5e\+06 to 6e\+06") as refused:
            approved(LIMITS, higher, "ann", approver)
        assert refused.value.exit_code == 4
    assert approved(LIMITS, higher, "ann", "bob") == higher
    assert approved(None, higher, "ann", "") == higher
    assert approved(higher, LIMITS, "ann", "") == LIMITS


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("max_gross = 1", "unknown limits: max_gross"),
        ("max_gross_usd = -1", "limit max_gross_usd is -1"),
        ("max_gross_usd = nan", "limit max_gross_usd is nan"),
        ('max_gross_usd = "1"', "limit max_gross_usd is '1'"),
        ("max_child_adv = 2", r"max_child_adv is 2; give a share in \(0, 1\]"),
        ("max_gross_usd = ", "cannot be read"),
    ],
)
def test_a_wrong_limits_file_is_refused_by_its_word(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(UsageError, match=told):
        Limits.read(tmp_path / FILE)


def test_a_homes_file_decides_what_it_names(tmp_path: Path) -> None:
    shipped = Limits.read()
    assert Limits.read(tmp_path / "absent.toml") == shipped
    (tmp_path / FILE).write_text("max_gross_usd = 7\n")
    assert Limits.read(tmp_path / FILE) == replace(shipped, max_gross_usd=7)
