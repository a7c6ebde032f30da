"""When the clock starts a run: never for a slot that was missed, whatever was paused how long."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pendulum
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dags import schedule
from dags.schedule import GRACE, UpcomingCronTimetable

CRONS = ("30 22 * * MON-FRI", "0 4 * * SAT", "0 3 1 * *")
NOWS = st.datetimes(datetime(2025, 1, 1), datetime(2030, 12, 31), timezones=st.just(UTC))
START = pendulum.datetime(2024, 1, 1)
PAUSED = st.timedeltas(timedelta(0), timedelta(days=400))


def slot(timetable, now, last=None, catchup=False):
    """The moment of the next run, as the scheduler would ask for it at `now`."""
    from airflow.timetables.base import DataInterval, TimeRestriction

    restriction = TimeRestriction(START, None, catchup)
    interval = DataInterval.exact(pendulum.instance(last)) if last else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schedule, "utcnow", lambda: pendulum.instance(now))
        patch.setattr("airflow.timetables.trigger.utcnow", lambda: pendulum.instance(now))
        found = timetable.next_dagrun_info(
            last_automated_data_interval=interval, restriction=restriction
        )
    return found.run_after


@pytest.mark.parametrize("cron", CRONS)
@settings(max_examples=60, deadline=None)
@given(now=NOWS, paused=PAUSED)
def test_next_slot_lies_ahead_after_any_pause(cron, now, paused):
    timetable = UpcomingCronTimetable(cron, timezone="UTC")
    never = slot(timetable, now)
    assert never >= now - GRACE
    last = slot(timetable, now - paused - timedelta(days=70))
    again = slot(timetable, now, last=last)
    assert again > last
    assert again >= now - GRACE
    # a slot of the expression, and the first one: none lies between
    assert timetable._align_to_next(pendulum.instance(max(now - GRACE, last + GRACE))) == again


@pytest.mark.parametrize("cron", CRONS)
def test_a_slot_the_scheduler_comes_late_to_is_not_lost_and_not_run_twice(cron):
    timetable = UpcomingCronTimetable(cron, timezone="UTC")
    due = slot(timetable, datetime(2026, 11, 10, tzinfo=UTC))
    soon = due + timedelta(seconds=30)
    assert slot(timetable, soon) == due
    assert slot(timetable, soon, last=due) > due
    assert slot(timetable, due + GRACE + timedelta(seconds=1)) > due


@pytest.mark.parametrize("cron", CRONS)
def test_airflows_own_timetable_would_run_a_missed_slot_at_once(cron):
    """Why there is a timetable of our own: `run_immediately=False` does not keep it from that."""
    from airflow.timetables.trigger import CronTriggerTimetable

    now = datetime(2026, 11, 25, 17, tzinfo=UTC)
    theirs = CronTriggerTimetable(cron, timezone="UTC", run_immediately=False)
    assert slot(theirs, now) < now < slot(UpcomingCronTimetable(cron, timezone="UTC"), now)


def test_a_backfill_gets_every_slot_of_its_range():
    timetable = UpcomingCronTimetable("0 3 1 * *", timezone="UTC")
    moment, found = None, []
    for _ in range(3):
        moment = slot(timetable, datetime(2026, 11, 25, tzinfo=UTC), moment, catchup=True)
        found.append(moment.to_date_string())
    assert found == ["2024-01-01", "2024-02-01", "2024-03-01"]


def test_timetable_survives_the_database_by_the_name_its_plugin_gives():
    from airflow.serialization.decoders import decode_timetable
    from airflow.serialization.encoders import encode_timetable

    timetable = UpcomingCronTimetable("0 3 1 * *", timezone="UTC")
    stored = encode_timetable(timetable)
    back = decode_timetable(stored)
    assert type(back) is UpcomingCronTimetable
    assert back.serialize() == timetable.serialize()
