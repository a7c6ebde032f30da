"""What Airflow has to be told of by a plugin: the DAGs' timetable."""

from __future__ import annotations

from typing import ClassVar

from airflow.plugins_manager import AirflowPlugin

from dags.schedule import UpcomingCronTimetable


class SchedulePlugin(AirflowPlugin):
    """Airflow stores a DAG's timetable by name and looks the name up here."""

    name = "crossimpact_schedule"
    timetables: ClassVar = [UpcomingCronTimetable]
