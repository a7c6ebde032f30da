"""Where the files of a run lie: below the server's own root, or below the home's with SQLite.

Both write `mlflow-artifacts:/<below the root>` in their database, never an absolute path: a home
may be moved, copied, restored or served, and always means its own files.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from crossimpact.errors import Unavailable

if TYPE_CHECKING:
    from mlflow import MlflowClient

SQLITE = "sqlite:///"
ROOT = "mlflow-artifacts:/"
PROXIED = re.compile(r"mlflow-artifacts:/+((?:(?!\.{1,2}(?:/|$))[\w.-]+/?)+)")
#: As homes wrote it before: the last two parts are the run's, the rest is where the home once was.
ABSOLUTE = re.compile(r"(?:file:)?/.*/([0-9a-f]{32}/artifacts)/?")

RELATIVE = (
    f"UPDATE experiments SET artifact_location = '{ROOT}' "
    f"WHERE artifact_location NOT LIKE '{ROOT}%'",
    f"UPDATE runs SET artifact_uri = '{ROOT}' || run_uuid || '/artifacts' "
    f"WHERE artifact_uri NOT LIKE '{ROOT}%'",
    f"UPDATE model_versions SET source = '{ROOT}' || run_id || '/artifacts', "
    "storage_location = NULL "
    f"WHERE run_id IS NOT NULL AND source NOT LIKE '{ROOT}%'",
)


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
    found = PROXIED.fullmatch(artifact_uri) or ABSOLUTE.fullmatch(artifact_uri)
    if not found:
        raise Unavailable(f"the files of a run lie at {artifact_uri[:200]!r}, not in this home")
    return database.parent / "artifacts" / found[1]


def log(client: MlflowClient, uri: str, run: str, files: Path, path: str | None = None) -> None:
    """Copy a folder's files to a run's, below `path`."""
    home = _local(client, uri, run)
    if home is None:
        client.log_artifacts(run, str(files), path)
    else:
        home.log_artifacts(str(files), path)


def _local(client: MlflowClient, uri: str, run: str) -> Any:
    """MLflow's own access to a folder of this disk, None for a server."""
    if (file := database(uri)) is None:
        return None
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

    return LocalArtifactRepository(folder(file, client.get_run(run).info.artifact_uri).as_uri())


def made(file: Path) -> bool:
    """Whether the database is there with all its tables; MLflow's last step is an experiment.

    Raises
    ------
    Unavailable
        When the file is there and cannot be read; MLflow would try for two minutes.
    """
    if not file.exists():
        return False
    try:
        with _opened(file, "ro") as db:
            tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
            asked = "SELECT count(*) FROM experiments"
            return "experiments" in tables and bool(db.execute(asked).fetchone()[0])
    except sqlite3.Error as error:
        raise Unavailable(
            f"{file} cannot be opened: {error}", "is it MLflow's database, and may you read it?"
        ) from error


def make_relative(file: Path) -> None:
    """Forget the absolute places that a database of an earlier version names; none is followed."""
    if file.exists() and made(file):
        with contextlib.suppress(sqlite3.OperationalError), _opened(file, "rw") as db, db:
            for statement in RELATIVE:  # read-only, or busy: `folder` reads the old places too
                db.execute(statement)


def _opened(file: Path, mode: str) -> contextlib.closing[sqlite3.Connection]:
    address = f"file:{quote(str(file))}?mode={mode}"
    return contextlib.closing(sqlite3.connect(address, uri=True, timeout=5))
