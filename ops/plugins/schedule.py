"""What Airflow has to be told of by a plugin: the DAGs' timetable."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from dags.schedule import UpcomingCronTimetable


class SchedulePlugin(AirflowPlugin):
    """Airflow stores a DAG's timetable by name and looks the name up here."""

    name = "crossimpact_schedule"
    timetables = [UpcomingCronTimetable]  # noqa: RUF012 - declared so by Airflow
