"""The registry as a reader meets it: aliases, versions, and a version's files as bounded bytes.

Everybody who reads reads through here; MLflow's client only writes. It is not imported: that takes
seconds, and it retries. A server is asked over its REST interface on one connection, which
`hang_up` ends from another thread; the embedded database is opened read-only. Nothing found here is
trusted: the caller has the ledger's digest.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sqlite3
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import quote, urlencode, urlsplit

from crossimpact.consumer.address import (
    FOLDER,
    MODEL,
    PASSWORD,
    SQLITE,
    USER,
    folder,
    is_server,
    refuse_credentials,
)
from crossimpact.consumer.deadline import Worker
from crossimpact.consumer.version import Version
from crossimpact.errors import StaleModel, Unavailable, UsageError
from crossimpact.release import release_files

T = TypeVar("T")
API = "/api/2.0/mlflow"
MAX_ANSWER = 1 << 20
#: Versions asked for at once; digests fit one or two.
MAX_FOUND = 1000
#: How long a single request, and all of a question, may take where nobody trades on the answer.
REQUEST_S, QUESTION_S = 10.0, 60.0
#: What MLflow calls a thing that is not there.
MISSING = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")

ALIAS = "SELECT version FROM registered_model_aliases WHERE name = ? AND alias = ?"
ALIASES = "SELECT alias FROM registered_model_aliases WHERE name = ? AND version = ?"
VERSION = """
SELECT run_id FROM model_versions
WHERE name = ? AND version = ? AND current_stage <> 'Deleted_Internal'
"""
TAGS = "SELECT key, value FROM model_version_tags WHERE name = ? AND version = ?"
BY_DIGEST = """
SELECT version FROM model_version_tags
WHERE name = ? AND key = 'digest' AND value LIKE ? ORDER BY version DESC
"""
AUTHOR = "SELECT value FROM tags WHERE run_uuid = ? AND key = 'mlflow.user'"
ARTIFACTS = "SELECT artifact_uri FROM runs WHERE run_uuid = ?"


class Source(Protocol):
    """Where releases are registered; `Unavailable` when it does not answer."""

    def alias(self, name: str) -> int | None:
        """The version an alias points at, None when there is no such alias."""

    def version(self, number: int) -> Version | None:
        """A version as its tags tell it, None when there is no such version."""

    def by_digest(self, prefix: str) -> list[Version]:
        """The versions whose tag `digest` begins so, newest first."""

    def files(self, version: int) -> dict[str, bytes]:
        """The files of a version's release; `StaleModel` when they are not a release's."""

    def author(self, run: str) -> str:
        """Who registered a run, as MLflow has it; empty when nobody says."""

    def login(self, name: str, password: str) -> str | None:
        """The user whose name and password these are, empty when there is none such; None where
        nobody is asked for a login, which `login("", "")` finds out."""

    def hang_up(self) -> None:
        """End it, also under another thread that waits for it."""


def connect(uri: str, timeout_s: float) -> Source:
    """The registry at `uri`, for one pull; no single step of it waits longer than `timeout_s`."""
    refuse_credentials(uri)
    try:
        if is_server(uri):
            return Server(uri, timeout_s)
    except (ValueError, HTTPException) as error:
        raise UsageError(
            f"the address of MLflow is none: {error}", "write it like http://host:5000"
        ) from error
    return Embedded(Path(uri.removeprefix(SQLITE)), timeout_s)


def ask(
    uri: str, question: Callable[[Source], T], request_s: float | None = None,
    within_s: float = QUESTION_S,
) -> T:  # fmt: skip
    """The registry's answer to a question, which may take several requests.

    Raises
    ------
    Unavailable
        When it does not come in time, whatever hangs: the server, the network or the disk.
    """
    registry = connect(uri, request_s or REQUEST_S)
    try:
        until = time.monotonic() + within_s
        return Worker(f"MLflow at {uri}").run(partial(question, registry), until)
    finally:
        registry.hang_up()


class Server:
    """An MLflow server; user and password come from MLflow's own environment variables."""

    def __init__(self, uri: str, timeout_s: float) -> None:
        parts = urlsplit(uri)
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self._line = kind(parts.hostname or "", parts.port, timeout=timeout_s)
        self._where, self._path = f"MLflow at {self._line.host}:{self._line.port}", parts.path
        self._ended = False

    def alias(self, name: str) -> int | None:
        result = self._ask("registered-models/alias", name=MODEL, alias=name)
        with _sense(self._where, "registered-models/alias"):
            return int(result["model_version"]["version"]) if result else None

    def version(self, number: int) -> Version | None:
        result = self._ask("model-versions/get", name=MODEL, version=number)
        with _sense(self._where, "model-versions/get"):
            return _version(result["model_version"]) if result else None

    def by_digest(self, prefix: str) -> list[Version]:
        query = f"name = '{MODEL}' AND tags.digest LIKE '{prefix}%'"
        result = self._ask("model-versions/search", filter=query, max_results=MAX_FOUND) or {}
        with _sense(self._where, "model-versions/search"):
            versions = map(_version, result.get("model_versions", []))
            return sorted(versions, key=lambda version: -version.version)

    def files(self, version: int) -> dict[str, bytes]:
        result = self.version(version)
        if result is None:
            raise StaleModel(f"{self._where} has no version {version} of {MODEL}")
        listed = self._ask("artifacts/list", run_id=result.run_id, path=FOLDER) or {}
        with _sense(self._where, "artifacts/list"):
            sizes = {
                str(entry["path"]).removeprefix(f"{FOLDER}/"): _size(entry)
                for entry in listed.get("files", [])
            }
        where = f"version {version} of {MODEL}"
        release_files.expect(sizes, where)
        return {n: self._file(result.run_id, n, size or 0, where) for n, size in sizes.items()}

    def author(self, run: str) -> str:
        result = self._ask("runs/get", run_id=run) or {"run": {"data": {}}}
        with _sense(self._where, "runs/get"):
            tags = {tag["key"]: tag["value"] for tag in result["run"]["data"].get("tags", [])}
            return str(tags.get("mlflow.user", ""))

    def login(self, name: str, password: str) -> str | None:
        what = "users/current"
        header = _login(name, password)
        status, content = self._get(f"{API}/{what}", MAX_ANSWER, headers=header)
        if status == 401:
            return ""
        if status == 404 and not name:
            return None
        if status != 200:
            raise Unavailable(f"{self._where} answered {status} to {what}")
        with _sense(self._where, what):
            return str(json.loads(content)["user"]["username"])

    def hang_up(self) -> None:
        self._ended = True
        with contextlib.suppress(OSError, AttributeError):
            self._line.sock.shutdown(socket.SHUT_RDWR)
        self._line.close()

    def _file(self, run: str, name: str, size: int, where: str) -> bytes:
        status, content = self._get("/get-artifact", size, run_id=run, path=f"{FOLDER}/{name}")
        if status != 200 or len(content) != size:
            raise release_files.refused(where, f"has {name} of {size} bytes, got {len(content)}")
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

    def _get(
        self, path: str, limit: int, /, headers: Mapping[str, str] | None = None, **query: Any
    ) -> tuple[int, bytes]:
        """Status and at most `limit` + 1 bytes; by default asked with the environment's login."""
        if self._ended:
            raise Unavailable(f"{self._where} was given up on")
        try:
            known = _login(*map(os.environ.get, (USER, PASSWORD))) if headers is None else headers
            self._line.request("GET", f"{self._path}{path}?{urlencode(query)}", headers=known)
            answer = self._line.getresponse()
            return answer.status, answer.read(limit + 1)
        except (OSError, HTTPException) as error:
            raise Unavailable(f"{self._where} failed: {error or type(error).__name__}") from error


class Embedded:
    """MLflow's SQLite database and a folder of files beside it."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        self._path, self._timeout_s = path, timeout_s

    def alias(self, name: str) -> int | None:
        rows = self._rows(ALIAS, MODEL, name)
        with _sense(str(self._path), f"alias {name}"):
            return int(rows[0][0]) if rows else None

    def version(self, number: int) -> Version | None:
        rows = self._rows(VERSION, MODEL, number)
        if not rows:
            return None
        aliases = [alias for (alias,) in self._rows(ALIASES, MODEL, number)]
        return Version.of(number, rows[0][0], aliases, dict(self._rows(TAGS, MODEL, number)))

    def by_digest(self, prefix: str) -> list[Version]:
        result = (self.version(number) for (number,) in self._rows(BY_DIGEST, MODEL, f"{prefix}%"))
        return [version for version in result if version]

    def files(self, version: int) -> dict[str, bytes]:
        result = self.version(version)
        rows = self._rows(ARTIFACTS, result.run_id) if result else []
        if not rows:
            raise StaleModel(f"{self._path} has no version {version} of {MODEL}")
        where = f"version {version} of {MODEL}"
        return release_files.contents(folder(self._path, str(rows[0][0])) / FOLDER, where)

    def author(self, run: str) -> str:
        rows = self._rows(AUTHOR, run)
        return str(rows[0][0]) if rows else ""

    def login(self, name: str, password: str) -> None:
        """A file knows no logins."""

    def hang_up(self) -> None:
        """It waits `timeout_s` at most."""

    def _rows(self, query: str, *values: Any) -> list[Any]:
        try:
            address = f"file:{quote(str(self._path))}?mode=ro"
            with contextlib.closing(
                sqlite3.connect(address, uri=True, timeout=self._timeout_s)
            ) as db:
                return db.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise Unavailable(f"{self._path} cannot be opened: {error}") from error


@contextlib.contextmanager
def _sense(where: str, what: str) -> Iterator[None]:
    """An answer without the fields it should have is no answer."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise Unavailable(f"{where} answered nonsense to {what}") from error


def _version(found: Mapping[str, Any]) -> Version:
    """A version as the REST interface writes it."""
    tags = {tag["key"]: tag.get("value", "") for tag in found.get("tags", [])}
    return Version.of(found["version"], found["run_id"], found.get("aliases", []), tags)


def _size(entry: dict[str, Any]) -> int | None:
    return None if entry.get("is_dir") else int(entry.get("file_size", 0))


def _login(user: str | None, password: str | None) -> dict[str, str]:
    if not user or password is None:
        return {}
    return {"Authorization": f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"}
