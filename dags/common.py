"""What the DAGs share: assets, defaults, retry policy, parameters, the settings of a run."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, ExceptionRetryPolicy, Param, RetryAction, RetryRule
from airflow.sdk.definitions.callback import SyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

from dags.runs import log
from dags.schedule import UpcomingCronTimetable

if TYPE_CHECKING:
    from airflow.sdk import Context

    from pipelines.plan import RefitPlan
    from pipelines.store.landing import Landing
    from pipelines.store.settings import Run, Settings

DATE = r"^\d{4}-\d{2}-\d{2}$"
START = datetime(2024, 1, 1, tzinfo=UTC)
TASKS = 4  # mapped tasks at most where a task's start would cost more than its date

CODE = "code"  # of a plan that one task hands to others: what all of them have to run

ACCEPTED = Asset(
    name="accepted_partitions",
    group="crossimpact",
    extra={"description": "Partitions that passed the contract; starts daily_tca and shadow_daily"},
)
"""Partitions that passed the contract. An event's extra: `landing`, the new or changed `dates`,
their `rows`, and `sha`, the digest of every announced date."""

REFIT_WANTED = Asset(
    name="refit_wanted",
    group="crossimpact",
    extra={"description": "The champion no longer fits the market; starts monthly_refit"},
)
"""The champion no longer fits the market. An event's extra: `landing`, the champion's `flow` and
`bucket` (params of the refit it triggers), `release` that drifted, the `week` and `why`."""

RETRY_POLICY = ExceptionRetryPolicy(
    rules=[
        RetryRule(
            exception="crossimpact.errors.Unavailable",
            action=RetryAction.RETRY,
            reason="the registry may answer in a minute",
        ),
        RetryRule(
            exception="crossimpact.errors.CrossImpactError",
            action=RetryAction.FAIL,
            reason="the same input gives the same answer: mend it, then clear the task",
        ),
        RetryRule(exception=OSError, action=RetryAction.RETRY, reason="disk or network: try again"),
    ]
)


def say_why(context: Context) -> None:
    """One line in the task's log: which task failed, on what, and why; people are told, too."""
    instance = context["task_instance"]
    log.error("%s.%s: %s", instance.dag_id, instance.task_id, context.get("exception"))
    with suppress(Exception):  # whatever keeps an alert from leaving, it hides no failure
        tell_people(f"{instance.dag_id}.{instance.task_id}", context.get("exception"))


def tell_people(task: str, error: Any) -> None:
    """A failed task as an alert; one for want of a model is critical."""
    from crossimpact.errors import StaleModel
    from pipelines.alerts import outbox
    from pipelines.alerts.message import Message

    stale, now = isinstance(error, StaleModel), datetime.now(UTC)
    told = ("stale", "critical") if stale else ("failure", "warning")
    outbox.add(settings({}), Message(*told, f"{task} failed", str(error), "", now))  # type: ignore[arg-type]
    outbox.send(settings({}), now)


def name_in_log(context: Context) -> None:
    """From here on the task's lines name the partition it works on, and a release it learns of.

    Airflow's own logger writes them, as JSON, with DAG, task, run and map index.
    """
    from structlog.contextvars import bind_contextvars, unbind_contextvars

    from crossimpact import json_log

    def observe(known: Mapping[str, str]) -> None:
        unbind_contextvars("release", "partition")
        bind_contextvars(**{k: v for k, v in known.items() if k != "run_id"})

    given = getattr(context["task"], "op_kwargs", None) or {}
    asked = {**given, **(part if isinstance(part := given.get("partition"), Mapping) else {})}
    of = asked.get("date") or asked.get("regime") or ", ".join(asked.get("dates") or ())
    json_log.begin(observe, **({"partition": str(of)} if of else {}))


def say_late(context: Mapping[str, Any]) -> None:
    """One line in the log: which run is past its deadline, and not over."""
    run, deadline = context["dag_run"], context["deadline"]
    log.error(
        "%s: run %s was due at %s", run["dag_id"], run["dag_run_id"], deadline["deadline_time"]
    )


def due(within: timedelta) -> DeadlineAlert:
    """When a run has to be over, counted from when it was queued.

    Runs of assets have no logical date to count from. The executor says it: no triggerer is needed.
    The interval is stored in seconds: as an object, Airflow 3.3.2 fails to clear the run's tasks
    (`_recalculate_dagrun_queued_at_deadlines` reads a number).
    """
    return DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=within.total_seconds(),  # type: ignore[arg-type]
        callback=SyncCallback(say_late),
    )


DEFAULTS = {
    "owner": "execution-research",
    "retries": 3,
    "retry_delay": timedelta(minutes=1),
    "retry_exponential_backoff": 2,
    "max_retry_delay": timedelta(minutes=15),
    "retry_policy": RETRY_POLICY,
    "execution_timeout": timedelta(minutes=30),
    "on_failure_callback": [say_why],
    "on_execute_callback": [name_in_log],
}


def cron(expression: str) -> UpcomingCronTimetable:
    """Slots of a cron expression in UTC; what was missed while paused is not made up."""
    return UpcomingCronTimetable(expression, timezone="UTC")


def landing_param() -> Param:
    """The landing zone; `$CROSSIMPACT_LANDING` when not given."""
    return Param(
        os.environ.get("CROSSIMPACT_LANDING"),
        type=["null", "string"],
        minLength=1,
        title="Landing zone",
        description="Folder with <table>/date=YYYY-MM-DD/ partitions in the contract's layout",
    )


def date_param(title: str, description: str) -> Param:
    """An optional trading date."""
    return Param(None, type=["null", "string"], pattern=DATE, title=title, description=description)


def flow_param() -> Param:
    """Whose flow is q."""
    return Param(
        "own",
        type="string",
        enum=["own", "public"],
        title="Flow",
        description="own: q is the desk's executed flow; public: net aggressor flow of all prints",
    )


def bucket_param() -> Param:
    """Bucket width."""
    return Param(
        "5min",
        type="string",
        pattern=r"^\d+(s|min|h)$",
        title="Bucket width",
        description="A width that divides the day, from 5s to 1h",
    )


def runs_of(dates: Sequence[str]) -> list[list[str]]:
    """The dates in at most `TASKS` runs of about equal size."""
    size = -(-len(dates) // TASKS)
    return [list(dates[first : first + size]) for first in range(0, len(dates), size or 1)]


def announced(triggering: Mapping[Any, Any]) -> list[Any]:
    """The asset events that triggered this run; none when it was started by clock or by hand."""
    return [event for group in triggering.values() for event in group]


def partitions_asked(
    params: Mapping[str, Any], triggering: Mapping[Any, Any]
) -> list[dict[str, str]]:
    """The traded dates a daily run is about, each with its landing zone: the one asked for, else
    those that were just accepted, else all that ever were."""
    from pipelines.store import layout
    from pipelines.store.warehouse import Warehouse

    if params["date"]:
        layout.refuse_future(params["date"], datetime.now(UTC), "date asked for")
        return [{"landing": params["landing"], "date": params["date"]}]
    traded = Warehouse(settings(params)).dates("accepted", "parent_orders")
    if events := announced(triggering):
        zones = {
            date: event.extra["landing"]
            for event in events
            for date in event.extra.get("dates", ())
        }
    else:
        zones = dict.fromkeys(traded, params["landing"])
    return [{"landing": zones[date], "date": date} for date in traded if date in zones]


def settings(params: Mapping[str, Any]) -> Settings:
    """Settings of this run: home from `$CROSSIMPACT_HOME`, flow and bucket from its params."""
    from pipelines.store.settings import Settings, default_home, parse_bucket

    return Settings(
        default_home(),
        bucket_s=parse_bucket(params.get("bucket", "5min")),
        flow=params.get("flow", "own"),
        run=this_run(),
    )


def this_run() -> Run:
    """The DAG run a task belongs to, for the ledger of audits; nobody's where no task runs."""
    from airflow.sdk import get_current_context

    from pipelines.store.settings import Run

    try:
        run = get_current_context()["dag_run"]
    except (RuntimeError, KeyError):
        return Run()
    return Run(f"{run.dag_id}/{run.run_id}", datetime.now(UTC), "airflow")


def mlflow_links(settings: Settings, version: int, run: str) -> dict[str, str]:
    """Addresses of a release and its run in MLflow's pages, when a server keeps them."""
    from registry import pages

    return pages.urls(settings.mlflow_uri, version, run)


def handed_on(plan: RefitPlan) -> dict[str, Any]:
    """The plan for the tasks after this one, with the code that they have to be."""
    from pipelines.store import provenance

    return {**plan.to_dict(), CODE: provenance.deployed()}


def planned(plan: Mapping[str, Any]) -> RefitPlan:
    """The plan another task has returned, checked.

    Raises
    ------
    Unavailable
        When it was planned by other code: another worker, or this one once it is deployed anew, may
        do the task.
    """
    from crossimpact.errors import Unavailable
    from pipelines.plan import RefitPlan
    from pipelines.store import provenance

    ours, theirs = provenance.deployed(), plan.get(CODE)
    if theirs is not None and theirs != ours:
        raise Unavailable(
            f"this worker runs code {ours[:12]}, the run was planned by {theirs[:12]}",
            "deploy one version on every worker, then clear the run from `plan` on",
        )
    rest = {key: value for key, value in plan.items() if key != CODE}
    return RefitPlan.from_dict(rest, "plan of another task")


def settings_of(plan: RefitPlan) -> Settings:
    """Settings of a planned refit: what its plan says, whatever the params' defaults are by now."""
    from pipelines.store.settings import Settings, default_home

    return plan.under(Settings(default_home(), run=this_run()))


def landing(params: Mapping[str, Any]) -> Landing:
    """The landing zone of this run, or of a plan."""
    from pathlib import Path

    from crossimpact.errors import UsageError
    from pipelines.store.landing import Landing

    if not params.get("landing"):
        raise UsageError("no landing zone", "give param `landing` or set CROSSIMPACT_LANDING")
    return Landing(Path(params["landing"]))
