"""Daily: check what the desk landed against the data contract, and announce what was accepted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from airflow.sdk import dag, task

from crossimpact.errors import UsageError
from dags.common import (
    ACCEPTED,
    DEFAULTS,
    START,
    cron,
    date_param,
    due,
    landing,
    landing_param,
    runs_of,
    settings,
)
from dags.runs import log, staleness

RECENT = 20  # dates over which shares are judged: a small table's one broken row is no verdict

DOC = """
### Contract check

Every landed date is checked on its own: rows that keep the contract go to `accepted`, broken rows
to `quarantine` with the rule they broke. Then one verdict over all of them: a missing table, a
wrong type, too many duplicates or too large a quarantined share **fail the run** and nothing
downstream starts. Otherwise the asset `accepted_partitions` is updated and the daily TCA runs on
the dates whose accepted rows are new or have changed since the last update.

*If it fails:* read the one-line reason at the end of the task's log, mend the landed files, clear
the failed tasks. Dates whose files did not change are not checked twice. When nothing landed for a
week, the log of `verdict` says so.

Every verdict, of blocked dates too, is in the ledger of audits: `crossimpact audit day D`, and the
pages `audit-<month>.html` below `reports/`, which list the worst venues, symbols and files.

*Read:* `docs/contract.md` (tables, columns, rules), `docs/audit.md`, `docs/operations.md`.
"""


@dataclass(frozen=True)
class Accepted:
    """A date's accepted partitions: their rows, and one digest of all."""

    rows: int
    sha: str


def accepted(params: Any, date: str) -> Accepted:
    """What was published of a date."""
    from pipelines.store.warehouse import Warehouse, text_sha256

    warehouse, tables = Warehouse(settings(params)), landing(params).tables()
    manifests = [m for table in tables if (m := warehouse.manifest("accepted", table, date))]
    return Accepted(
        sum(manifest.rows for manifest in manifests),
        text_sha256(*(manifest.sha256 for manifest in manifests)),
    )


def old_news(dates: list[str], run: Any) -> str:
    """A sentence when nothing has landed for long; this check alone does not fail for it."""
    try:
        return staleness(dates[-1], run)
    except UsageError as error:
        return error.what


@dag(
    description="Checks landed dates against the data contract and announces the accepted ones",
    schedule=cron("30 22 * * MON-FRI"),
    start_date=START,
    catchup=False,
    max_active_runs=1,
    deadline=due(timedelta(hours=2)),
    dagrun_timeout=timedelta(hours=3),
    default_args=DEFAULTS,
    tags=["crossimpact", "data", "daily"],
    doc_md=DOC,
    params={
        "landing": landing_param(),
        "date": date_param("Date", "Check this date only; empty: every landed date"),
    },
)
def validate_contract() -> None:
    @task
    def pending(params: Any = None) -> list[list[str]]:
        """The dates to check, in runs of equal size: one GX run serves all dates of a task."""
        from datetime import UTC, datetime

        from pipelines import validate
        from pipelines.store import layout

        dates = [params["date"]] if params["date"] else landing(params).all_dates()
        if dates:
            layout.refuse_future(dates[-1], datetime.now(UTC), "landing zone or date asked for")
        if not dates:
            validate.verdict(settings(params), landing(params), dates)  # blocks: nothing is landed
        return runs_of(dates)

    @task(
        map_index_template="{{ task.op_kwargs['dates'][0] }}",
        doc_md="Split the dates' rows into accepted and quarantined.",
    )
    def validate(dates: list[str], params: Any = None) -> list[str]:
        from pipelines.validate import validate_dates

        validate_dates(settings(params), landing(params), dates)
        return dates

    @task(inlets=[ACCEPTED], outlets=[ACCEPTED])
    def verdict(
        runs: list[list[str]],
        params: Any = None,
        inlet_events: Any = None,
        outlet_events: Any = None,
        dag_run: Any = None,
    ) -> dict[str, Any]:
        """Block, or announce the accepted partitions that the last event did not know."""
        from airflow.sdk.exceptions import AirflowSkipException

        from dags import summaries
        from pipelines import validate
        from pipelines.audit.ledger import Ledger
        from pipelines.pages.audit import build

        dates = [date for run in runs for date in run]
        recent = dates[-RECENT:]
        result = validate.verdict(settings(params), landing(params), recent)
        found = {date: accepted(params, date) for date in dates}
        last = list(inlet_events[ACCEPTED].ascending(False).limit(1))
        known = last[0].extra.get("sha", {}) if last else {}
        fresh = [date for date in dates if found[date].sha != known.get(date)]
        summaries.say(summaries.contract(result, fresh, old_news(dates, dag_run)))
        if Ledger.of(settings(params)).dates():
            build(settings(params), recent)
            log.info("audit pages: %s", settings(params).reports)
        if not fresh:
            raise AirflowSkipException(f"all {len(dates)} dates are announced already")
        outlet_events[ACCEPTED].extra = {
            "landing": params["landing"],
            "dates": fresh,
            "rows": sum(found[date].rows for date in fresh),
            "sha": known | {date: found[date].sha for date in dates},
        }
        return result.to_dict()

    verdict(validate.expand(dates=pending()))


validate_contract()
