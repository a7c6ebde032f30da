"""Checks of what answers over a connection: clocks, Airflow's database, the registry."""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Iterator
from datetime import UTC, timedelta
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from urllib.error import HTTPError

from sqlalchemy import text

from crossimpact.consumer import source
from crossimpact.consumer.address import PASSWORD, USER, absent, refuse_credentials
from crossimpact.consumer.address import database as sqlite_file
from crossimpact.errors import CrossImpactError
from ops.credentials import PLATFORM
from ops.doctor.check import Check, Clock, ok, warn, wrong
from pipelines.monitoring import dag_runs
from pipelines.monitoring.home import REGISTRY_S, REQUEST_S, answers
from pipelines.store.settings import Settings

#: Airflow refuses a token whose time is further off (`[api_auth] jwt_leeway`); a header's whole
#: seconds and the way there may cost this much.
MOST_SKEW, SKEW = timedelta(seconds=10), timedelta(seconds=3)
TIMEOUT_S = 5


def clock(settings: Settings, now: Clock) -> Check:
    """This machine's clock against the servers'."""
    skews = {
        name: skew for name, url in _servers(settings) if (skew := _skew(url, now)) is not None
    }
    if not skews:
        return ok("no server to compare with")
    name = max(skews, key=lambda key: abs(skews[key]))
    found = f"{skews[name].total_seconds():+.0f} s against {name}"
    limit = f"{MOST_SKEW.total_seconds():.0f} s"
    todo = "set both clocks by NTP: beyond the limit every task's token is refused"
    if abs(skews[name]) > MOST_SKEW:
        return wrong(found, limit, todo)
    return warn(found, limit, todo) if abs(skews[name]) > SKEW else ok(found, limit)


def _servers(settings: Settings) -> Iterator[tuple[str, str]]:
    refuse_credentials(settings.mlflow_uri)
    if sqlite_file(settings.mlflow_uri) is None:
        yield "MLflow", f"{settings.mlflow_uri.rstrip('/')}/health"
    base = os.environ.get("AIRFLOW__API__BASE_URL", "")
    ports = settings.home / "run" / "ports.json"
    if not base and ports.exists():
        base = f"http://127.0.0.1:{json.loads(ports.read_text())['airflow']}"
    if base.startswith(("http://", "https://")) and "@" not in base:
        yield "Airflow", f"{base.rstrip('/')}/api/v2/version"


def _skew(url: str, now: Clock) -> timedelta | None:
    """This clock less the server's; None when the server does not say."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    start = now()
    try:
        with direct.open(url, timeout=TIMEOUT_S) as answer:
            said = answer.headers.get("Date")
    except HTTPError as error:
        said = error.headers.get("Date")
    except (OSError, HTTPException, ValueError):  # `registry` says what is wrong with it
        return None
    if not said:
        return None
    middle = start + (now() - start) / 2
    return middle - parsedate_to_datetime(said).astimezone(UTC)


def database(settings: Settings, now: Clock) -> Check:
    """Airflow's database: whether it answers, and how it keeps text."""
    found = dag_runs.database(settings.home)
    if found is None:
        return ok("no Airflow here")
    with found.connect() as connection:
        if connection.dialect.name != "postgresql":
            return ok(found.shown)
        encoding = connection.execute(text("SHOW server_encoding")).scalar_one()
    if encoding != "UTF8":
        todo = "make it anew (initdb -E UTF8 --locale=C.UTF-8): scheduler and workers die of this"
        return wrong(f"server_encoding {encoding}", "UTF8", todo)
    return ok(f"{found.shown}, UTF8")


def registry(settings: Settings, now: Clock) -> Check:
    """Whether the registry answers."""
    uri = settings.mlflow_uri
    if absent(uri):
        return ok("nothing was registered yet")
    if why := answers(uri):
        return wrong(
            why, f"answers within {REGISTRY_S:g} s", "is the server up, or the file whole?"
        )
    return ok(uri)


def login(settings: Settings, now: Clock) -> Check:
    """Whether the login that is set is known there, and may write."""
    if sqlite_file(settings.mlflow_uri) is not None:
        return ok("a file asks for none")
    name, password = os.environ.get(USER, ""), os.environ.get(PASSWORD, "")
    try:
        known = source.ask(
            settings.mlflow_uri, lambda one: one.login(name, password), REQUEST_S, REGISTRY_S
        )
    except CrossImpactError as error:
        return wrong(error.what, todo=error.hint)
    if known is None:
        return warn("anybody may write", todo="serve MLflow with `--app-name crossimpact`")
    if not known:
        return wrong(f"{name or 'nobody'} is not known", todo=f"set {USER} and {PASSWORD}")
    if known != PLATFORM:
        return warn(f"{known} reads", todo=f"refit and promote need the login {PLATFORM}")
    return ok(known)
