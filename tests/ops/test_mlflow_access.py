"""Who may do what at the MLflow server that `make up` starts: people read, the platform writes.

The server is started as `make up` starts it, and asked over a bare connection, so that an odd path
arrives as it is written.
"""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from ops import credentials, serve
from ops.airflow_env import lay_out, prepare, read_only
from ops.processes import Process
from tests.registry.servers import Store, logged_in, sample

READY_S = 240
PEOPLE = tuple(credentials.ROLES)
ANYBODY = (*PEOPLE, "nobody", "wrong", "stranger", "twice")
PREFIXES = (
    "/api/2.0/mlflow/",
    "/ajax-api/2.0/mlflow/",
    "/api/3.0/mlflow/",
    "/ajax-api/3.0/mlflow/",
)


@dataclass(frozen=True)
class Mlflow:
    """The running server and what its logins are."""

    home: Path
    port: int
    passwords: dict[str, str] = field(repr=False)

    def ask(
        self,
        user: str,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, str]:
        """Status and text of the answer."""
        line = HTTPConnection("127.0.0.1", self.port, timeout=120)
        sent = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        try:
            line.putrequest(method, path, skip_accept_encoding=True)
            for value in self.logins(user):
                line.putheader("Authorization", value)
            for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
                line.putheader(name, value)
            line.putheader("Content-Length", str(len(sent or b"")))
            line.endheaders(sent)
            answer = line.getresponse()
            return answer.status, answer.read().decode(errors="replace")
        finally:
            line.close()

    def logins(self, user: str) -> list[str]:
        """`Authorization` headers of a user, also of one that is none."""
        real = credentials.PLATFORM, self.passwords[credentials.PLATFORM]
        pairs = {
            "nobody": [],
            "wrong": [(credentials.PLATFORM, "not the password")],
            "stranger": [("mallory", "not the password")],
            "twice": [real, ("auditor", self.passwords["auditor"])],
        }
        known = pairs.get(user, [(user, self.passwords.get(user, ""))])
        return [f"Basic {base64.b64encode(':'.join(pair).encode()).decode()}" for pair in known]


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mlflow]:
    home = tmp_path_factory.mktemp("home")
    prepare(home)
    lay_out(home)
    serve.reserve(home, ["mlflow"], anew=True)
    process = Process("mlflow", home)
    process.start(serve.commands(home)["mlflow"], serve.mlflow_environment(home))
    try:
        deadline = time.monotonic() + READY_S
        while serve.fetch(serve.urls(home)["mlflow"] + "/health") != "OK":
            assert process.leader() and time.monotonic() < deadline, process.log.read_text()[-3000:]
            time.sleep(0.2)
        path, _ = credentials.passwords(home / "secrets")
        serve.admit(home)
        known = json.loads(path.read_text())
        known[credentials.PLATFORM] = credentials.key(home / "secrets", "mlflow", 24)
        yield Mlflow(home, serve.ports(home)["mlflow"], known)
    finally:
        process.stop()


@pytest.fixture(scope="module")
def registered(mlflow: Mlflow) -> dict[str, Any]:
    """A release registered by the platform, as a refit does it."""
    store = Store(serve.urls(mlflow.home)["mlflow"], mlflow.home, mlflow.home / "mlflow")
    with logged_in(credentials.mlflow_login(mlflow.home / "secrets")):
        version = store.register(sample("2026-01-31"))
        assert store.resolve("challenger")[0] == sample("2026-01-31")
    return {"run_id": version.run_id, "version": str(version.version)}


def tree(home: Path) -> dict[str, bytes]:
    """Every file below the server's artefacts and the folders that Airflow imports."""
    roots = [home / "mlflow" / "artifacts", *read_only(home).values()]
    return {str(p): p.read_bytes() for root in roots for p in root.rglob("*") if p.is_file()}


def test_requests_that_ran_code_as_the_platform(mlflow: Mlflow, registered: dict[str, Any]) -> None:
    """What a reader sent to have Airflow import a file of his, step by step, for every login."""
    dags = read_only(mlflow.home)["AIRFLOW__CORE__DAGS_FOLDER"]
    run, before = registered["run_id"], tree(mlflow.home)
    chain: list[tuple[str, str, Any]] = [
        ("POST", "/api/2.0/mlflow/experiments/create",
         {"name": "e", "artifact_location": dags.as_uri()}),
        ("POST", "/api/2.0/mlflow/experiments/create", {"name": "e2"}),
        ("POST", "/api/2.0/mlflow/runs/create", {"experiment_id": "0"}),
        ("POST", f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={run}&path=evil.py", b"import os"),
        ("POST", "/api/2.0/mlflow/registered-models/create", {"name": "m"}),
        ("POST", "/api/2.0/mlflow/registered-models/alias",
         {"name": "crossimpact-gamma", "alias": "champion", "version": "1"}),
        ("PUT", f"/api/2.0/mlflow-artifacts/artifacts/1/{run}/artifacts/release/x", b"x"),
        ("DELETE", f"/api/2.0/mlflow-artifacts/artifacts/1/{run}/artifacts/release", None),
        ("POST", "/ajax-api/3.0/mlflow/gateway/secrets/create",
         {"secret_name": "s", "secret_value": {"k": "v"}, "provider": "openai"}),
        ("GET", "/api/2.0/mlflow/users/list", None),
        ("GET", "/api/2.0/mlflow/users/get?username=crossimpact", None),
    ]  # fmt: skip
    answers = {
        (user, method, path): mlflow.ask(user, method, path, body)[0]
        for user in ANYBODY
        for method, path, body in chain
    }
    expected = {key: 403 if key[0] in PEOPLE else 401 for key in answers}
    assert answers == expected
    assert tree(mlflow.home) == before


def routes() -> list[tuple[str, str]]:
    """Every method and path that MLflow serves, parameters filled in; asked of its own tables."""
    import subprocess
    import sys

    script = (
        "import json, os\n"
        "from mlflow.server import app as flask\n"
        "from mlflow.server.auth import create_app\n"
        "native = [(m, r.path) for r in create_app().routes for m in getattr(r, 'methods', ())]\n"
        "wsgi = [(m, r.rule) for r in flask.url_map.iter_rules() for m in r.methods]\n"
        "print(json.dumps(sorted(set(native + wsgi))))"
    )
    raise NotImplementedError(subprocess, sys, script)
