"""Weekly: has the market moved away from the champion?"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import CronTriggerTimetable, dag, task

from dags.common import DEFAULTS, START, date_param, landing, landing_param, settings

DOC = """
### Drift

Compares the last weeks' data with the champion, pair by pair and in total. Writes a drift mart and
report; promotes nothing. Fails with exit reason *stale model* when there is no champion.
"""


@dag(
    schedule=CronTriggerTimetable("0 4 * * SAT", timezone="UTC"),
    start_date=START,
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=2),
    default_args=DEFAULTS,
    tags=["crossimpact", "model", "weekly"],
    doc_md=DOC,
    params={
        "landing": landing_param(),
        "as_of": date_param("As of", "Last date looked at; empty: the last landed date"),
    },
)
def weekly_drift() -> None:
    @task
    def drift(params: Any = None) -> dict[str, Any]:
        """Compare the champion with the recent past."""
        from pipelines import drift

        return drift.run(settings(params), landing(params).root, params["as_of"]).to_dict()

    drift()


weekly_drift()
