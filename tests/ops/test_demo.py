"""The demo's dates: near today, on any day of any year."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossimpact.consumer.client import Client
from crossimpact.errors import ContractViolation
from crossimpact.simulate import DeskSpec
from ops import demo

TODAYS = st.dates(date(2020, 1, 1), date(2060, 12, 31))
DAYS = st.integers(1, 60)
any_day = settings(max_examples=60, deadline=None)


def desk_on(today: date, days: int) -> DeskSpec:
    return DeskSpec(days=days, first_date=DeskSpec.first_date_before(today.isoformat(), days))


@any_day
@given(TODAYS, DAYS)
def test_the_desks_dates_are_weekdays_and_end_with_the_last_one_before_today(today, days):
    dates = [date.fromisoformat(text) for text in desk_on(today, days).dates]
    assert len(dates) == days
    assert all(day.weekday() < 5 for day in dates)
    assert dates == sorted(set(dates))
    between = [dates[-1] + timedelta(k) for k in range(1, (today - dates[-1]).days)]
    assert dates[-1] < today
    assert all(day.weekday() >= 5 for day in between)


@any_day
@given(TODAYS)
def test_the_week_drift_looks_at_is_never_empty_and_never_in_the_future(today):
    last = date.fromisoformat(desk_on(today, 20).dates[-1])
    monday = last - timedelta(last.weekday())
    week = [day for day in desk_on(today, 20).dates if day >= monday.isoformat()]
    assert 1 <= len(week) <= 5
    assert week[-1] < today.isoformat()


@any_day
@given(TODAYS, DAYS)
def test_a_desk_is_kept_while_it_is_recent_and_replaced_after(tmp_path_factory, today, days):
    spec = desk_on(today, days)
    truth = tmp_path_factory.mktemp("desk") / "truth.json"
    truth.write_text(json.dumps({"spec": demo.plain(spec)}))
    last = date.fromisoformat(spec.dates[-1])
    for age, kept in ((1, True), (30, True), (31, False), (400, False), (0, False), (-9, False)):
        later = last + timedelta(age)
        assert demo.is_recent(truth, desk_on(later, days), later) is kept
    assert not demo.is_recent(truth, replace(spec, seed=8), today)


def test_a_kept_desks_release_answers_live():
    """The desk is replaced well before its release expires."""
    from inspect import signature

    assert signature(Client).parameters["valid_for"].default > demo.KEPT


def test_a_demo_that_fails_says_why_and_ends_with_the_errors_code(tmp_path, capfd):
    def blocked(terminal):
        os.write(1, b"what the stages said")
        raise ContractViolation("child_fills.fill_px is missing")

    assert demo.show(tmp_path / "demo.log", blocked, as_json=True) == 3
    out, err = capfd.readouterr()
    assert out == "" and "child_fills.fill_px" in err.splitlines()[-1]


def test_today_is_a_date(capsys):
    with pytest.raises(SystemExit):
        demo.main(["--today", "tomorrow"])
    assert "--today" in capsys.readouterr().err
