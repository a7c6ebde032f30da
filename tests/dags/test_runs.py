"""Which date a run stands for, how old its data are, and who started it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from crossimpact.errors import UsageError
from crossimpact.release.policy import DEFAULT
from dags import runs

SLOT = datetime(2026, 4, 1, 3, tzinfo=UTC)
NOW = datetime(2026, 11, 28, 17, tzinfo=UTC)


@dataclass
class Run:
    run_type: str = "manual"
    logical_date: datetime | None = None
    run_after: datetime = NOW
    triggering_user_name: str | None = None
    dag_id: str = "monthly_refit"
    run_id: str = "manual__2026-11-28T17:00:00+00:00"


BACKFILL, SCHEDULED = Run("backfill", SLOT), Run("scheduled", SLOT, SLOT)
BY_HAND, BY_ASSET = Run(logical_date=NOW, triggering_user_name="anna"), Run("asset_triggered")


@pytest.mark.parametrize(
    ("run", "own"),
    [(BACKFILL, "2026-03-31"), (SCHEDULED, "2026-03-31"), (BY_HAND, None), (BY_ASSET, None)],
)
def test_a_run_of_the_clock_reads_to_the_day_before_its_slot_others_all_that_landed(run, own):
    assert runs.own_date(run) == own
    assert runs.as_of({"as_of": None}, run) == own
    assert runs.as_of({"as_of": "2026-02-02"}, run) == "2026-02-02"  # what was asked wins


@pytest.mark.parametrize("run", [BACKFILL, SCHEDULED, BY_HAND, BY_ASSET])
def test_old_data_are_told_and_a_run_of_the_clock_does_not_take_expired_ones(run):
    moment = (run.logical_date if run in (BACKFILL, SCHEDULED) else run.run_after).date()

    def said(days: int) -> str:
        return runs.staleness((moment - timedelta(days)).isoformat(), run)

    assert [said(days) for days in (0, 1, runs.OLD_DAYS)] == [""] * 3
    for days in (runs.OLD_DAYS + 1, DEFAULT.release.valid_for.days):
        assert f"{days} days before this run" in said(days)
    if run in (BACKFILL, SCHEDULED):
        with pytest.raises(UsageError, match="takes 45 days at most; land newer dates"):
            said(DEFAULT.release.valid_for.days + 1)
    else:
        assert "246 days before" in said(246)


def events(**extra: Any) -> list[Any]:
    return [SimpleNamespace(extra=extra)]


@pytest.mark.parametrize(
    ("run", "events", "unasked"),
    [
        (SCHEDULED, [], True),
        (BY_ASSET, events(week="2026-03-09"), True),
        (BY_ASSET, events(from_rest_api=True), False),  # a person made the event
        (Run(triggering_user_name="dag_test"), [], True),  # DAG.test() in a process of the home
        (BY_HAND, [], False),
        (Run("backfill", SLOT, triggering_user_name="anna"), [], False),
    ],
)
def test_only_runs_that_no_person_started_promote_unasked(monkeypatch, run, events, unasked):
    monkeypatch.setenv(runs.AUTO_PROMOTE, "1")
    assert runs.promotes_unasked(run, events) is unasked
    monkeypatch.delenv(runs.AUTO_PROMOTE)
    assert not runs.promotes_unasked(run, events)


def test_origin_leads_back_to_the_run(monkeypatch):
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "http://127.0.0.1:18080/")
    assert runs.origin(BY_HAND) == {
        "airflow.dag_id": "monthly_refit",
        "airflow.run_id": BY_HAND.run_id,
        "airflow.triggered_by": "anna",
        "airflow.url": "http://127.0.0.1:18080/dags/monthly_refit/runs/"
        "manual__2026-11-28T17%3A00%3A00%2B00%3A00",
        "reports.url": "http://127.0.0.1:18080/reports/index.html",
    }
    monkeypatch.delenv("AIRFLOW__API__BASE_URL")
    assert not {"airflow.url", "reports.url"} & runs.origin(BY_HAND).keys()


def test_ages_count_calendar_days():
    assert runs.age(date(2026, 3, 31).isoformat(), SCHEDULED) == 1
