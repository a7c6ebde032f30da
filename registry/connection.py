"""A client of MLflow, on SQLite or on a server, whose failures name the store and what to do."""

from __future__ import annotations

import contextlib
import getpass
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from crossimpact.consumer.address import (
    PASSWORD,
    SQLITE,
    USER,
    database,
    is_server,
    refuse_credentials,
)
from crossimpact.errors import Unavailable
from crossimpact.release import hash_chain
from registry import artifacts

if TYPE_CHECKING:
    from mlflow import MlflowClient

#: How long the first use of a new database, which makes its tables, may keep others waiting.
TABLES_S = 300.0
ENDPOINT = re.compile(r"endpoint /api/[\d.]+/mlflow/(\S+)")

#: Nothing leaves the machine; nothing hangs on a dead server; no chatter in the log or on stdout.
os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")


@contextmanager
def session(uri: str) -> Iterator[MlflowClient]:
    """A client whose failures are ours.

    Raises
    ------
    UsageError
        When the address is none, or holds credentials; then it is not repeated.
    Unavailable
        When the store does not answer, does not know the user, or does not let him.
    """
    refuse_credentials(uri)
    is_server(uri)
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield _client(uri)
    except (MlflowException, SQLAlchemyError) as error:
        raise _told(uri, error) from error


def user() -> str:
    """Whom MLflow's pages name as who did it: the login there, else the one here."""
    return os.environ.get(USER) or os.environ.get("CROSSIMPACT_USER") or getpass.getuser()


def first_line(error: Exception) -> str:
    """What MLflow says; what it says below is advice on MLflow."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def _told(uri: str, error: Exception) -> Unavailable:
    code, text = getattr(error, "error_code", ""), first_line(error)
    user = os.environ.get(USER) or "nobody"
    if code == "UNAUTHENTICATED":
        return Unavailable(
            f"MLflow at {uri} does not know user {user}, or by another password",
            f"set {USER} and {PASSWORD}",
        )
    if code == "PERMISSION_DENIED":
        endpoint = ENDPOINT.search(text)
        return Unavailable(
            f"MLflow at {uri} does not permit user {user} {endpoint[1] if endpoint else 'that'}",
            "it takes EDIT on the registered model and its experiment, which an administrator "
            "of that server grants",
        )
    return Unavailable(f"MLflow at {uri} failed: {text}", "is the server up, or the file writable?")


@cache
def _client(uri: str) -> MlflowClient:
    from mlflow import MlflowClient

    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # `session` tells it
    file = database(uri)
    if file is None:
        return MlflowClient(tracking_uri=uri, registry_uri=uri)
    with contextlib.nullcontext() if artifacts.made(file) else _making(file):
        plain = f"{SQLITE}{_plain(file)}"
        client = MlflowClient(tracking_uri=plain, registry_uri=plain)
        client.search_registered_models(max_results=1)
    artifacts.make_relative(file)
    return client


@contextmanager
def _making(file: Path) -> Iterator[None]:
    """Alone, as two at once fail to make its tables, and sure that it can be made at all."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with hash_chain.hold(file.with_name(file.name + ".lock"), TABLES_S):
            file.touch()
            yield
    except OSError as error:
        raise Unavailable(f"{file} cannot be made: {error.strerror}", "is it writable?") from error


def _plain(file: Path) -> Path:
    """The file by a path that is its own address: SQLAlchemy takes `?` and `%` for its own."""
    if not set("?%#") & set(str(file)):
        return file
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)  # kept as long as the client
    return Path(f"/proc/self/fd/{folder}") / file.name
