"""A client of MLflow, on SQLite or on a server, whose failures name the store and what to do.

A server's user and password come from `MLFLOW_TRACKING_USERNAME` and `MLFLOW_TRACKING_PASSWORD`
alone, which MLflow sends as a header: an address that holds them would end up in logs and messages.
"""

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
from urllib.parse import urlsplit

from crossimpact.errors import Unavailable, UsageError
from crossimpact.release import hash_chain
from registry import artifacts
from registry.artifacts import SQLITE as SQLITE

if TYPE_CHECKING:
    from mlflow import MlflowClient

USER, PASSWORD = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"
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
    served(uri)
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield _client(uri)
    except (MlflowException, SQLAlchemyError) as error:
        raise _told(uri, error) from error


def refuse_credentials(uri: str) -> None:
    """An address that holds them would end up in logs; it is not repeated."""
    if not uri.startswith(SQLITE) and "@" in uri:
        raise UsageError(
            "the address of MLflow holds credentials", f"give them as {USER} and {PASSWORD}"
        )


def served(uri: str) -> bool:
    """Whether a server answers there, which keeps the artefacts too.

    Raises
    ------
    UsageError
        When it is neither a server's address nor a file of SQLite.
    """
    if uri.startswith(SQLITE):
        return False
    try:
        parts = urlsplit(uri)
        name = (parts.hostname or "").encode("idna")  # no part of a name has over 63 letters
        whole = parts.scheme in ("http", "https") and name and parts.port != 0
    except ValueError:
        whole = False
    if not whole:
        raise UsageError(
            f"{uri[:200]!r} is no address of MLflow", "write http://HOST:PORT, or sqlite:///FILE"
        )
    return True


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
    file = artifacts.database(uri)
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
