"""Daily, once partitions are accepted: what would other policies have done, and at what cost?"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import Param, dag, task

from dags.common import (
    ACCEPTED,
    DEFAULTS,
    START,
    date_param,
    due,
    landing,
    landing_param,
    partitions_asked,
    settings,
)
from dags.runs import log

DOC = """
### The day in the shadow

Runs when `validate_contract` has updated `accepted_partitions`, for the dates it names that the
champion has not seen; by hand, for `date`, or for every such date when none is given. Replays each
day through the live session's own policies and charges them by a judge that was fitted on other
days than the chooser; writes `shadow_baskets` and `shadow_daily`.

A date that speaks against the champion is in the log and the tables; it fails no task. Nor does a
champion whose window has too few dates for two halves: the log says so.

*Read:* `docs/shadow.md`, `docs/operations.md`.
"""


@dag(
    description="What other policies would have cost on accepted dates, by an independent judge",
    schedule=[ACCEPTED],
    start_date=START,
    catchup=False,
    max_active_runs=1,
    deadline=due(timedelta(hours=2)),
    dagrun_timeout=timedelta(hours=3),
    default_args=DEFAULTS,
    tags=["crossimpact", "shadow", "daily"],
    doc_md=DOC,
    params={
        "landing": landing_param(),
        "date": date_param("Date", "Replay this date only; empty: the dates just accepted"),
        "horizon": Param(
            12,
            type="integer",
            minimum=1,
            maximum=96,
            title="Horizon",
            description="Intervals a replayed session plans ahead",
        ),
    },
)
def shadow_daily() -> None:
    @task
    def partitions(params: Any = None, triggering_asset_events: Any = None) -> list[dict[str, str]]:
        """The dates to replay, each with its landing zone; none without a champion."""
        from crossimpact.errors import StaleModel
        from pipelines.release import champion

        asked = partitions_asked(params, triggering_asset_events)
        if params["date"]:
            return asked
        try:
            since = champion(settings(params))[0].as_of
        except StaleModel as error:
            log.info("%s: nothing to put in the shadow", error)
            return []
        return [each for each in asked if each["date"] >= since]

    @task(
        map_index_template="{{ task.op_kwargs['partition']['date'] }}",
        doc_md="Both tables of one date.",
    )
    def shadow(partition: dict[str, str], params: Any = None) -> dict[str, Any]:
        from crossimpact.errors import EstimationError
        from dags import summaries
        from pipelines.shadow import Asked, run

        root, asked = landing(partition).root, Asked(params["horizon"])
        try:
            result = run(settings(params), root, partition["date"], asked)
        except EstimationError as error:  # a young desk: its champion has too few dates
            log.info("no shadow of %s: %s", partition["date"], error)
            return {"date": partition["date"], "rows": {}, "refused": [str(error)]}
        summaries.say(summaries.shadow(result))
        return {"date": result.date, "rows": result.rows, "refused": list(result.refused)}

    shadow.expand(partition=partitions())


shadow_daily()
