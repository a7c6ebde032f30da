"""Daily, once partitions are accepted: what did the fills cost, what does the model say?"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import dag, task

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

DOC = """
### Transaction cost analysis

Runs when `validate_contract` has updated `accepted_partitions`, for the dates it names; by hand,
for `date`, or for every accepted date when none is given. Splits each parent's shortfall exactly
into self, cross, timing, delay, fees and spread, and opportunity, each with its causes, priced by
the release that was live then, and writes marts and a one-page report per date.

*After unpausing,* run it once by hand: what was accepted while it was paused does not come again.

*Read:* [the desk's reports](/reports/index.html), also in the menu: a page a date, its week's
hotspots, the index; the log of each `tca` task names its own. `docs/reading_the_day.md`; the
DAGs: `docs/operations.md`.
"""


@dag(
    description="Splits the shortfall of accepted dates into its causes; marts and a page per date",
    schedule=[ACCEPTED],
    start_date=START,
    catchup=False,
    max_active_runs=1,
    deadline=due(timedelta(hours=2)),
    dagrun_timeout=timedelta(hours=3),
    default_args=DEFAULTS,
    tags=["crossimpact", "tca", "daily"],
    doc_md=DOC,
    params={
        "landing": landing_param(),
        "date": date_param("Date", "Analyse this date only; empty: the dates just accepted"),
    },
)
def daily_tca() -> None:
    @task
    def partitions(params: Any = None, triggering_asset_events: Any = None) -> list[dict[str, str]]:
        """The dates to analyse, each with its landing zone."""
        return partitions_asked(params, triggering_asset_events)

    @task(
        map_index_template="{{ task.op_kwargs['partition']['date'] }}",
        doc_md="Marts and [page](/reports/index.html) of one date.",
    )
    def tca(partition: dict[str, str], params: Any = None) -> dict[str, Any]:
        from dags import summaries
        from pipelines.tca import run_as_of

        root = landing(partition).root
        result = run_as_of(settings(params), root, partition["date"])
        summaries.say(summaries.tca(result))
        return result.to_dict()

    @task(trigger_rule="none_failed", doc_md="Pages that were made before an earlier date's marts.")
    def pages(found: list[dict[str, str]], params: Any = None) -> list[str]:
        """Dates are analysed side by side, and a page shows the dates before its own."""
        from pipelines.pages.reports import made_too_early
        from pipelines.tca import run_as_of

        zones = {partition["date"]: partition for partition in found}
        early = made_too_early(settings(params), zones)
        for date in early:
            run_as_of(settings(params), landing(zones[date]).root, date)
        return early

    found: Any = partitions()
    tca.expand(partition=found) >> pages(found)


daily_tca()
