"""The registry as a reader meets it: an alias and a version's files, as bytes and bounded.

MLflow itself is not imported: that takes seconds, and its client retries. A server is asked over
its REST interface on one connection, which `hang_up` ends from another thread; the embedded
database is opened read-only. Nothing found here is trusted: the caller has the ledger's digest.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sqlite3
from base64 import b64encode
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, urlencode, urlsplit

from crossimpact.errors import StaleModel, Unavailable
from registry import artifacts, sealed
from registry.connection import PASSWORD, SQLITE, USER, refuse_credentials, served
from registry.pages import FOLDER, MODEL

API = "/api/2.0/mlflow"
MAX_ANSWER = 1 << 20
#: What MLflow calls a thing that is not there.
MISSING = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")

ALIAS = "SELECT version FROM registered_model_aliases WHERE name = ? AND alias = ?"
ARTIFACTS = """
SELECT runs.artifact_uri
FROM model_versions JOIN runs ON runs.run_uuid = model_versions.run_id
WHERE model_versions.name = ? AND model_versions.version = ?
"""


class Source(Protocol):
    """Where releases are registered; `Unavailable` when it does not answer."""

    def alias(self, name: str) -> int | None:
        """The version an alias points at, None when there is no such alias."""

    def files(self, version: int) -> dict[str, bytes]:
        """The files of a version's release; `StaleModel` when they are not a release's."""

    def hang_up(self) -> None:
        """End it, also under another thread that waits for it."""


def connect(uri: str, timeout_s: float) -> Source:
    """The registry at `uri`, for one pull; no single step of it waits longer than `timeout_s`."""
    refuse_credentials(uri)
    if served(uri):
        return Server(uri, timeout_s)
    return Embedded(Path(uri.removeprefix(SQLITE)), timeout_s)


class Server:
    """An MLflow server; user and password come from MLflow's own environment variables."""

    def __init__(self, uri: str, timeout_s: float) -> None:
        parts = urlsplit(uri)
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self._line = kind(parts.hostname or "", parts.port, timeout=timeout_s)
        self._where, self._path = f"MLflow at {self._line.host}:{self._line.port}", parts.path
        self._ended = False

    def alias(self, name: str) -> int | None:
        found = self._ask("registered-models/alias", name=MODEL, alias=name)
        return int(found["model_version"]["version"]) if found else None

    def files(self, version: int) -> dict[str, bytes]:
        found = self._ask("model-versions/get", name=MODEL, version=version)
        if not found:
            raise StaleModel(f"{self._where} has no version {version} of {MODEL}")
        run = found["model_version"]["run_id"]
        listed = self._ask("artifacts/list", run_id=run, path=FOLDER) or {}
        sizes = {
            str(entry["path"]).removeprefix(f"{FOLDER}/"): _size(entry)
            for entry in listed.get("files", [])
        }
        where = f"version {version} of {MODEL}"
        sealed.expect(sizes, where)
        return {name: self._file(run, name, size or 0, where) for name, size in sizes.items()}

    def hang_up(self) -> None:
        self._ended = True
        with contextlib.suppress(OSError, AttributeError):
            self._line.sock.shutdown(socket.SHUT_RDWR)
        self._line.close()

    def _file(self, run: str, name: str, size: int, where: str) -> bytes:
        status, content = self._get("/get-artifact", size, run_id=run, path=f"{FOLDER}/{name}")
        if status != 200 or len(content) != size:
            raise sealed.refused(where, f"has {name} of {size} bytes, got {len(content)}")
        return content

    def _ask(self, what: str, **query: Any) -> Any:
        """The answer to a question; None when there is no such thing."""
        status, content = self._get(f"{API}/{what}", MAX_ANSWER, **query)
        try:
            answer = json.loads(content)
            if status in (400, 404) and answer["error_code"] in MISSING:
                return None
        except (ValueError, KeyError, TypeError, RecursionError):
            answer = None
        if status != 200 or not isinstance(answer, dict):
            user = f" to user {os.environ.get(USER) or 'nobody'}" if status in (401, 403) else ""
            raise Unavailable(f"{self._where} answered {status} to {what}{user}")
        return answer

    def _get(self, path: str, limit: int, /, **query: Any) -> tuple[int, bytes]:
        """Status and at most `limit` + 1 bytes."""
        if self._ended:
            raise Unavailable(f"{self._where} was given up on")
        try:
            self._line.request("GET", f"{self._path}{path}?{urlencode(query)}", headers=_login())
            answer = self._line.getresponse()
            return answer.status, answer.read(limit + 1)
        except (OSError, HTTPException) as error:
            raise Unavailable(f"{self._where} failed: {error or type(error).__name__}") from error


class Embedded:
    """MLflow's SQLite database and a folder of files beside it."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        self._path, self._timeout_s = path, timeout_s

    def alias(self, name: str) -> int | None:
        row = self._row(ALIAS, MODEL, name)
        return int(row[0]) if row else None

    def files(self, version: int) -> dict[str, bytes]:
        row = self._row(ARTIFACTS, MODEL, version)
        if row is None:
            raise StaleModel(f"{self._path} has no version {version} of {MODEL}")
        return sealed.contents(artifacts.folder(self._path, str(row[0])) / FOLDER)

    def hang_up(self) -> None:
        """It waits `timeout_s` at most."""

    def _row(self, query: str, *values: Any) -> Any:
        try:
            address = f"file:{quote(str(self._path))}?mode=ro"
            with contextlib.closing(
                sqlite3.connect(address, uri=True, timeout=self._timeout_s)
            ) as db:
                return db.execute(query, values).fetchone()
        except sqlite3.Error as error:
            raise Unavailable(f"{self._path} failed: {error}") from error


def _size(entry: dict[str, Any]) -> int | None:
    return None if entry.get("is_dir") else int(entry.get("file_size", 0))


def _login() -> dict[str, str]:
    user, password = os.environ.get(USER), os.environ.get(PASSWORD)
    if not user or password is None:
        return {}
    return {"Authorization": f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"}
