"""What a run knows of itself: its own date, how old its data are, who started it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from typing import Any, Protocol
from urllib.parse import quote

from crossimpact.errors import UsageError

log = logging.getLogger("crossimpact")

#: Runs that stand for a moment of the calendar, whenever they happen to start.
OF_THE_CLOCK = ("scheduled", "backfill")
#: Data older than this are told to whoever reads of the run.
OLD_DAYS = 7
#: Set in a deployment, runs that no person started promote what the gates let through, unasked.
AUTO_PROMOTE = "CROSSIMPACT_AUTO_PROMOTE"


#: What Airflow writes as the user of `DAG.test()`: a process with the home at hand, and no login.
NO_LOGIN = "dag_test"


class Run(Protocol):
    """Airflow's DAG run, as far as it is asked here."""

    dag_id: str
    run_id: str
    run_type: Any
    logical_date: Any
    run_after: Any
    triggering_user_name: str | None


def own_date(run: Run) -> str | None:
    """The last date a run of the clock could have seen: the day before its slot. Else None."""
    if run.run_type not in OF_THE_CLOCK or run.logical_date is None:
        return None
    before: date = (run.logical_date - timedelta(days=1)).date()
    return before.isoformat()


def as_of(params: Mapping[str, Any], run: Run) -> str | None:
    """The last date the run may read: what was asked, else its own; None: the last landed one."""
    return params["as_of"] or own_date(run)


def age(last: str, run: Run) -> int:
    """Days from the last date of the data to the run's own moment."""
    moment = run.logical_date if own_date(run) else run.run_after
    days: int = (moment.date() - date.fromisoformat(last)).days
    return days


def staleness(last: str, run: Run) -> str:
    """A sentence on data that are old for this run; empty when they are not.

    Raises
    ------
    UsageError
        When a run of the clock finds data so old that what is fitted on them has expired.
    """
    from pipelines.store.settings import Settings, default_home  # not when a DAG is parsed

    days = age(last, run)
    if days <= OLD_DAYS:
        return ""
    message = f"the data end on {last}, {days} days before this run"
    most = Settings(default_home()).policy.release.valid_for_days
    if days > most and own_date(run):
        raise UsageError(
            f"{message}; a run of the clock takes {most} days at most",
            "land newer dates, or trigger the DAG with `as_of` if these are meant",
        )
    return message


def triggered_by(run: Run) -> str | None:
    """The login that triggered the run, a backfill's included; None for the clock and assets."""
    user = run.triggering_user_name
    return user if user and user != NO_LOGIN else None


def promotes_unasked(run: Run, events: Iterable[Any]) -> bool:
    """Whether no human is asked: the deployment says so, and no person started the run.

    An asset event made by hand over Airflow's API counts as a person; whose, Airflow does not say.
    """
    by_hand = any(event.extra.get("from_rest_api") for event in events)
    unasked = os.environ.get(AUTO_PROMOTE, "") == "1"
    return unasked and not by_hand and triggered_by(run) is None


def origin(run: Run) -> dict[str, str]:
    """Tags that lead from MLflow back to the run; where the base address is known its address, and
    that of the desk's reports."""
    from airflow.sdk.configuration import conf

    base = conf.get("api", "base_url", fallback="")
    tags = {"airflow.dag_id": run.dag_id, "airflow.run_id": run.run_id}
    if user := triggered_by(run):
        tags["airflow.triggered_by"] = user
    if base:
        run_id = quote(run.run_id, safe="")
        tags["airflow.url"] = f"{base.rstrip('/')}/dags/{run.dag_id}/runs/{run_id}"
        tags["reports.url"] = f"{base.rstrip('/')}/reports/index.html"
    return tags
