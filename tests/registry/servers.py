"""Where the registry's tests keep their releases: SQLite and files, or a server with a login.

One server serves a whole test session. Its operator may do everything, its reader may only read.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from crossimpact.model import ImpactModel
from crossimpact.release import ledger, release_files
from crossimpact.release.bundle import Release
from registry import tracking
from tests.releases import release_of

READY_S = 120
PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Store:
    """A registry and the home that uses it.

    Attributes
    ----------
    uri
        What the platform is given, without credentials.
    home
        A folder of its own: refits, ledger, scratch; with SQLite also the registry.
    artifact_root
        Folder of this disk that holds a folder of artefacts per run, for those who tamper.
    login
        `MLFLOW_TRACKING_USERNAME` and `_PASSWORD` of who may do everything; empty with SQLite.
    """

    uri: str
    home: Path
    artifact_root: Path
    login: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def book(self) -> Path:
        return self.home / "ledger.jsonl"

    def register(self, release: Release, **over: object) -> tracking.Version:
        folder = self.home / "refits" / release.id
        release_files.write(release, folder)
        given = {
            "params": {"huber": 1.345},
            "metrics": {"normal.oos_r2": 0.01, "stressed.oos_r2": float("nan")},
            "figures": lambda: {"gamma-normal": PNG},
            "card": "# Card\nwhat it is",
        }
        root = self.home / "mlflow" / "artifacts"
        return tracking.register(self.uri, root, folder, release, **given | over)

    def resolve(self, which: str, book: Path | None = None) -> tuple[Release, tracking.Version]:
        return tracking.resolve(self.uri, which, ledger.entries(book) if book else ())

    def artifacts(self, version: tracking.Version) -> Path:
        """The artefacts of the version's run, on this disk."""
        (run,) = self.artifact_root.glob(f"**/{version.run_id}")
        return run / "artifacts"


@dataclass(frozen=True)
class Server:
    """An MLflow tracking server with basic authentication."""

    uri: str
    artifact_root: Path
    operator: dict[str, str] = field(repr=False)
    reader: dict[str, str] = field(repr=False)


def sample(as_of: str, gamma: float = 5.0) -> Release:
    """A small release: two names coupled in normal times, nothing known of stressed ones."""
    model = ImpactModel(
        symbols=("A", "B"),
        sectors=("T", "T"),
        adv=np.array([1e6, 2e6]),
        regime="normal",
        alpha=np.array([1.0, 2.0]),
        beta=np.array([30.0, 40.0]),
        gamma=np.array([[0.0, gamma], [gamma / 2, 0.0]]),
    )
    return release_of(model, as_of)


@contextmanager
def serve(folder: Path) -> Iterator[Server]:
    """Run a server on loopback while the block runs; all of it lives in `folder`."""
    port, key = _free_port(), secrets.token_urlsafe(32)
    operator, reader = _login("operator"), _login("reader")
    uri = f"http://127.0.0.1:{port}"
    (folder / "auth.ini").write_text(
        "[mlflow]\ndefault_permission = READ\nadmin_username = operator\n"
        f"database_uri = sqlite:///{folder}/auth.db\nauth_cache_ttl_seconds = 600\n"
    )
    command = [sys.executable, "-m", "mlflow", "server", "--app-name", "crossimpact"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    env = os.environ | {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini"),
        "MLFLOW_AUTH_ADMIN_PASSWORD": operator["MLFLOW_TRACKING_PASSWORD"],
        "MLFLOW_FLASK_SERVER_SECRET_KEY": key,
    }
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=env, stdout=log, stderr=log, start_new_session=True
        )
    try:
        _await_health(process, uri, folder / "server.log")
        _create_user(uri, operator, reader)
        yield Server(uri, folder / "artifacts", operator, reader)
    finally:
        _end(process)


def empty(server: Server) -> None:
    """Forget every release of the server; the caller is logged in as its operator."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient(tracking_uri=server.uri, registry_uri=server.uri)
    with contextlib.suppress(MlflowException):  # there is none yet
        client.delete_registered_model(tracking.MODEL)


def _login(user: str) -> dict[str, str]:
    password = secrets.token_urlsafe(18)
    return {"MLFLOW_TRACKING_USERNAME": user, "MLFLOW_TRACKING_PASSWORD": password}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await_health(process: subprocess.Popen[bytes], uri: str, log: Path) -> None:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the server ended: {log.read_text()[-2000:]}"
        with contextlib.suppress(OSError), direct.open(f"{uri}/health", timeout=5):
            return
        time.sleep(0.2)
    raise AssertionError(f"the server is not ready after {READY_S} s: {log.read_text()[-2000:]}")


def _create_user(uri: str, operator: dict[str, str], user: dict[str, str]) -> None:
    from mlflow.server.auth.client import AuthServiceClient

    with logged_in(operator):
        AuthServiceClient(uri).create_user(
            user["MLFLOW_TRACKING_USERNAME"], user["MLFLOW_TRACKING_PASSWORD"]
        )


@contextmanager
def logged_in(login: dict[str, str]) -> Iterator[None]:
    """Be that user while the block runs."""
    before = {name: os.environ.get(name) for name in login}
    os.environ |= login
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _end(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
