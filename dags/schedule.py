"""When the clock starts a run: at slots that lie ahead, so that unpausing a DAG starts nothing."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk.timezone import coerce_datetime, utcnow
from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction
from airflow.timetables.trigger import CronTriggerTimetable

#: A slot may be this old: the scheduler takes a moment to come to it.
GRACE = timedelta(minutes=10)


class UpcomingCronTimetable(CronTriggerTimetable):
    """A cron expression whose missed slots are not made up.

    Airflow's own runs the last past slot at once when a DAG with `catchup=False` is unpaused, the
    first time and every time after; its `run_immediately` has no say once there is a start date or
    an earlier run. A backfill gets the slots of its range, as ever.
    """

    def next_dagrun_info(
        self, *, last_automated_data_interval: DataInterval | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        """The first slot that is not older than `GRACE` and has not been run."""
        if restriction.catchup:
            return super().next_dagrun_info(
                last_automated_data_interval=last_automated_data_interval, restriction=restriction
            )
        moments = [utcnow() - GRACE]
        if restriction.earliest is not None:
            moments.append(restriction.earliest)
        if last_automated_data_interval is not None:
            moments.append(last_automated_data_interval.end + timedelta(microseconds=1))
        ahead = restriction._replace(earliest=coerce_datetime(max(moments)), catchup=True)
        return super().next_dagrun_info(last_automated_data_interval=None, restriction=ahead)
