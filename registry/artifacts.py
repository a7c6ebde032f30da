"""Where the files of a run lie: below the server's own root, or below the home's with SQLite.

Both write `mlflow-artifacts:/<below the root>` in their database, never an absolute path: a home
may be moved, copied, restored or served, and always means its own files.
"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from crossimpact.consumer.address import database, folder
from crossimpact.errors import Unavailable

if TYPE_CHECKING:
    from mlflow import MlflowClient

ROOT = "mlflow-artifacts:/"

RELATIVE = (
    f"UPDATE experiments SET artifact_location = '{ROOT}' "
    f"WHERE artifact_location NOT LIKE '{ROOT}%'",
    f"UPDATE runs SET artifact_uri = '{ROOT}' || run_uuid || '/artifacts' "
    f"WHERE artifact_uri NOT LIKE '{ROOT}%'",
    f"UPDATE model_versions SET source = '{ROOT}' || run_id || '/artifacts', "
    "storage_location = NULL "
    f"WHERE run_id IS NOT NULL AND source NOT LIKE '{ROOT}%'",
)


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
