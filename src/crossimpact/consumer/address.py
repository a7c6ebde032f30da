"""Addresses of a registry: a server or a file of SQLite, and where a release lies in it.

A server's user and password come from `MLFLOW_TRACKING_USERNAME` and `MLFLOW_TRACKING_PASSWORD`
alone, which MLflow sends as a header: an address that holds them would end up in logs and messages.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import quote, urlsplit

from crossimpact.errors import Unavailable, UsageError

#: Names the desk of this process where several share a registry; unset on a registry of one desk.
DESK = "CROSSIMPACT_DESK"
DESK_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")


def of_desk(name: str) -> str:
    """A name in the registry that is this process' desk's own; an odd desk cannot leave its place.

    A process works for one desk, as it has one home.
    """
    desk = os.environ.get(DESK, "")
    return f"{name}-{quote(desk, safe='')}" if desk else name


def check_desk() -> None:
    """Raise the `UsageError` of a desk whose name is none."""
    desk = os.environ.get(DESK, "")
    if desk and not DESK_NAME.fullmatch(desk):
        raise UsageError(
            f"{DESK} is {desk[:64]!r}, no name of a desk",
            "1 to 32 of a-z, 0-9 and -, none of them - at either end",
        )


MODEL = of_desk("crossimpact-gamma")
FOLDER = "release"  # of a run's artefacts
SQLITE = "sqlite:///"
USER, PASSWORD = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"
#: Where the files of a run lie, below the server's own root or the home's.
PROXIED = re.compile(r"mlflow-artifacts:/+((?:(?!\.{1,2}(?:/|$))[\w.-]+/?)+)")
#: As homes wrote it before: the last two parts are the run's, the rest is where the home once was.
ABSOLUTE = re.compile(r"(?:file:)?/.*/([0-9a-f]{32}/artifacts)/?")


def refuse_credentials(uri: str) -> None:
    """An address that holds them would end up in logs; it is not repeated."""
    if not uri.startswith(SQLITE) and "@" in uri:
        raise UsageError(
            "the address of MLflow holds credentials", f"give them as {USER} and {PASSWORD}"
        )


def is_server(uri: str) -> bool:
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


def database(uri: str) -> Path | None:
    """File of the embedded database, None for a server."""
    return Path(uri.removeprefix(SQLITE)) if uri.startswith(SQLITE) else None


def absent(uri: str) -> bool:
    """Whether the embedded database is not there, as before the first registration."""
    file = database(uri)
    return file is not None and not file.exists()


def folder(database: Path, artifact_uri: str) -> Path:
    """The files of a run of that database, whatever place its location named once.

    Raises
    ------
    Unavailable
        When the location is not of a run of this home.
    """
    result = PROXIED.fullmatch(artifact_uri) or ABSOLUTE.fullmatch(artifact_uri)
    if not result:
        raise Unavailable(f"the files of a run lie at {artifact_uri[:200]!r}, not in this home")
    return database.parent / "artifacts" / result[1]
