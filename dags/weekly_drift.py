"""Weekly: has the market moved away from the champion?"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import dag, task

from dags.common import (
    DEFAULTS,
    REFIT_WANTED,
    START,
    cron,
    date_param,
    due,
    landing,
    landing_param,
    settings,
)
from dags.runs import as_of, staleness

DOC = """
### Drift

Confronts the champion with the last week's data and publishes the verdict: `ok`, `watch`, `refit`
or `demote`, in a mart, on the release's page in MLflow and in the ledger. `demote` holds the
condemned regimes to the lower rung it names, at once; it and `refit` update the asset
`refit_wanted`, which starts `monthly_refit` on this run's landing zone, once per release and week.

A backfilled run looks at the week before its own date. Data older than a week are told in the log;
a run of the clock whose data are more than 45 days old fails: nothing has landed.

*If it fails* with *stale model*, there is no champion yet: promote one. Cleared tasks repeat
nothing.

*Read:* `docs/estimation.md` (what is tested), `docs/operations.md`.
"""


@dag(
    description="Confronts the champion with the last week; demotes it or asks for a refit",
    schedule=cron("0 4 * * SAT"),
    start_date=START,
    catchup=False,
    max_active_runs=1,
    deadline=due(timedelta(minutes=90)),
    dagrun_timeout=timedelta(hours=2),
    default_args=DEFAULTS,
    tags=["crossimpact", "model", "weekly"],
    doc_md=DOC,
    params={
        "landing": landing_param(),
        "as_of": date_param(
            "As of", "Last date looked at; empty: the run's own date, by hand the last landed one"
        ),
    },
)
def weekly_drift() -> None:
    @task(multiple_outputs=False)
    def drift(params: Any = None, dag_run: Any = None) -> dict[str, Any]:
        """Compare the champion with the recent past."""
        from datetime import UTC, datetime

        from dags import summaries
        from pipelines import drift, refit

        root, last = landing(params).root, as_of(params, dag_run)
        now = datetime.now(UTC)
        week = refit.plan(settings(params), root, last, drift.WEEK, now=now).dates
        old = staleness(week[-1], dag_run)
        found = drift.run(settings(params), root, last)
        summaries.say(summaries.drift(found, old))
        return found.to_dict()

    @task(multiple_outputs=False)
    def announce(found: dict[str, Any], params: Any = None) -> dict[str, Any]:
        """Tell MLflow and the ledger; demote what the week condemns."""
        from datetime import UTC, datetime

        from pipelines import verdict
        from pipelines.drift import Result

        week = Result(**found)
        return verdict.announce(settings(params), week, who="weekly_drift", now=datetime.now(UTC))

    @task(inlets=[REFIT_WANTED], outlets=[REFIT_WANTED])
    def want_refit(
        found: dict[str, Any],
        params: Any = None,
        inlet_events: Any = None,
        outlet_events: Any = None,
    ) -> None:
        """Ask for a refit when a regime needs one and the same week has not asked yet."""
        from airflow.sdk.exceptions import AirflowSkipException

        from pipelines import release

        verdicts = {row["verdict"] for row in found["regimes"].values()}
        if not verdicts & {"refit", "demote"}:
            raise AirflowSkipException(f"the verdict is {found['verdict']}: no refit is wanted")
        week = {name: found[name] for name in ("release", "week")}
        if any(week.items() <= event.extra.items() for event in inlet_events[REFIT_WANTED]):
            raise AirflowSkipException(f"the week of {found['week']} has asked already")
        fitted = release.show(settings(params))
        outlet_events[REFIT_WANTED].extra = week | {
            "landing": params["landing"],
            "flow": fitted.flow,
            "bucket": f"{fitted.bucket_s}s",
            "why": {name: row["reason"] for name, row in found["regimes"].items()},
        }

    found = drift()
    announce(found) >> want_refit(found)


weekly_drift()
