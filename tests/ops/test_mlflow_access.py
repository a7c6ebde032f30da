"""Who may do what at the MLflow server that `make up` starts: people read, the platform writes.

The server is started as `make up` starts it, and asked over a bare connection, so that an odd path
arrives as it is written.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from ops import credentials, serve
from ops.airflow_env import DAGS, PLUGINS, confined, lay_out, prepare, read_only
from ops.processes import Process
from ops.stack.intrusion import writes
from tests.registry import servers
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
    with pytest.MonkeyPatch.context() as patch:  # a port of its own: tests run side by side
        patch.setenv("CROSSIMPACT_MLFLOW_PORT", str(servers._free_port()))
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
    answers = {
        (user, ask.method, ask.path): mlflow.ask(
            user, ask.method, ask.path, ask.json or ask.content
        )[0]
        for user in ANYBODY
        for ask in writes(run, dags.as_uri())
    }
    expected = {key: 403 if key[0] in PEOPLE else 401 for key in answers}
    assert answers == expected
    assert tree(mlflow.home) == before


READS = {
    *(
        (method, prefix + what)
        for prefix in PREFIXES
        for method, what in (
            ("GET", "experiments/get"), ("GET", "experiments/get-by-name"),
            ("GET", "experiments/search"), ("POST", "experiments/search"),
            ("POST", "experiments/search-datasets"), ("POST", "logged-models/search"),
            ("GET", "runs/get"), ("POST", "runs/search"), ("GET", "artifacts/list"),
            ("GET", "metrics/get-history"), ("GET", "metrics/get-history-bulk"),
            ("GET", "metrics/get-history-bulk-interval"),
            ("GET", "registered-models/get"), ("GET", "registered-models/search"),
            ("GET", "registered-models/get-latest-versions"), ("GET", "registered-models/alias"),
            ("GET", "model-versions/get"), ("GET", "model-versions/search"),
            ("GET", "model-versions/get-download-uri"),
            ("GET", "users/current"), ("GET", "users/current/permissions"), ("GET", "server-info"),
        )
    ),
    *(
        ("GET", f"{api}/2.0/mlflow-artifacts/artifacts{path}")
        for api in ("/api", "/ajax-api")
        for path in ("", "/x")
    ),
    *(("GET", path) for path in ("/", "/version", "/get-artifact", "/model-versions/get-artifact")),
    ("POST", "/graphql"),
}  # fmt: skip
PUBLIC = {("GET", "/health"), ("GET", "/static-files/x")}


def routes() -> list[tuple[str, str]]:
    """Every method and path that MLflow serves, by its own tables, its parameters filled in."""
    from mlflow.server import app as flask
    from mlflow.server.auth import _RBAC_ROUTES, routes
    from mlflow.server.fastapi_app import app as native

    found = [
        (method, r.path) for r in native.routes for method in getattr(r, "methods", None) or ()
    ]
    found += [(m, rule.rule) for rule in flask.url_map.iter_rules() for m in rule.methods or ()]
    found += [(method, path) for _, method, *paths in _RBAC_ROUTES for path in paths]
    of_logins = [path for name, path in vars(routes).items() if name.isupper()]
    found += [(method, path) for path in of_logins for method in ("GET", "POST")]
    plain = {(method, re.sub(r"<[^>]*>|\{[^}]*\}", "x", path)) for method, path in found}
    return sorted(plain - {("HEAD", path) for _, path in plain})


def test_every_route_of_mlflow_is_refused_but_the_reads_listed(mlflow: Mlflow) -> None:
    """Of all that MLflow serves, FastAPI's routes too, a reader gets the reads, nobody none."""
    served = routes()
    assert len(served) > 500 and ("POST", "/v1/traces") in served
    for method, path in served:
        body = b"{}" if method != "GET" else None
        status, _ = mlflow.ask("auditor", method, path, body)
        may = (method, path) in READS | PUBLIC
        assert (status not in (401, 403)) is may, (method, path, status)
        if (method, path) in READS:
            assert mlflow.ask("nobody", method, path, body)[0] == 401, (method, path)


WRITE = "/api/2.0/mlflow/registered-models/create"


@pytest.mark.parametrize("user", PEOPLE)
def test_no_spelling_of_a_write_passes(mlflow: Mlflow, registered: Any, user: str) -> None:
    """Other methods, prefixes, paths that mean another one once decoded, and override headers."""
    before = tree(mlflow.home)
    tries: list[tuple[str, str, dict[str, str]]] = [
        (method, path, {})
        for path in (WRITE, "/api/2.0/mlflow-artifacts/artifacts/1/x")
        for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")
    ]
    tries += [("POST", prefix + "registered-models/create", {}) for prefix in PREFIXES]
    tries += [
        ("POST", path, {})
        for path in (
            "/" + WRITE, WRITE.replace("/mlflow/", "//mlflow/"), WRITE + "/", WRITE + "?x=/graphql",
            "/static-files/.." + WRITE, "/static-files/%2e%2e" + WRITE, "/health/.." + WRITE,
            "/api/2.0/mlflow/runs/search/../create", "/api/2.0/mlflow/runs/%2e%2e/runs/create",
            "/api/2.0/mlflow/runs%2fcreate", "/api/2.0/mlflow/runs/search%00/create",
            "/api/2.0/mlflow/runs/search;/create", "/API/2.0/mlflow/runs/create",
            "/prefix" + WRITE, "/graphql/" + WRITE,
            "/api/2.0/mlflow/runs/search\\..\\create", "http://127.0.0.1" + WRITE,
        )
    ]  # fmt: skip
    names = ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override")
    override = dict.fromkeys(names, "POST")
    for method in ("GET", "HEAD"):
        tries.append((method, WRITE, override))
        tries.append((method, f"{WRITE}?_method=POST", override))
    for name, value in {
        "X-Forwarded-Prefix": "/health", "X-Original-URL": "/health", "X-Rewrite-URL": "/health",
        "X-Forwarded-User": "crossimpact", "X-MLFLOW-GATEWAY-AUTH": "x",
    }.items():  # fmt: skip
        tries.append(("POST", WRITE, {name: value}))
    for method, path, headers in tries:
        body = None if method in ("GET", "HEAD") else {"name": "planted"}
        status, _ = mlflow.ask(user, method, path, body, headers)
        assert status in (400, 403, 404, 405), (method, path, headers, status)
    found = mlflow.ask(credentials.PLATFORM, "GET", "/api/2.0/mlflow/registered-models/search")[1]
    assert [model["name"] for model in json.loads(found)["registered_models"]] == [
        "crossimpact-gamma"
    ]
    assert tree(mlflow.home) == before


def test_a_person_reads_releases_their_files_and_nothing_of_other_users(
    mlflow: Mlflow, registered: dict[str, Any]
) -> None:
    run, card = registered["run_id"], "path=model_card.md"
    model = "name=crossimpact-gamma"
    asked = f'{{ mlflowGetRun(input: {{runId: "{run}"}}) {{ run {{ info {{ runName }} }} }} }}'
    reads: list[tuple[str, str, Any]] = [
        ("GET", f"/api/2.0/mlflow/registered-models/alias?{model}&alias=challenger", None),
        ("GET", f"/ajax-api/2.0/mlflow/artifacts/list?run_id={run}&path=release", None),
        ("GET", f"/get-artifact?run_uuid={run}&{card}", None),
        (
            "GET",
            f"/model-versions/get-artifact?{model}&version={registered['version']}&{card}",
            None,
        ),
        ("POST", "/ajax-api/2.0/mlflow/runs/search", {"experiment_ids": ["1"]}),
        ("POST", "/graphql", {"query": asked}),
    ]
    for user in PEOPLE:
        for method, path, body in reads:
            status, text = mlflow.ask(user, method, path, body)
            assert status == 200, (user, path, status, text)
        told = mlflow.ask(user, "GET", "/ajax-api/2.0/mlflow/users/current?username=crossimpact")[1]
        assert [name for name in (*PEOPLE, credentials.PLATFORM) if f'"{name}"' in told] == [user]


@pytest.mark.parametrize(
    "query",
    ["mutation { testMutation(inputString: \"x\") { output } }",
     "query A { __typename } mutation B { testMutation(inputString: \"x\") { output } }",
     "subscription { x }", "{", "", None, "{" * 5000],
)  # fmt: skip
def test_graphql_takes_queries_only(mlflow: Mlflow, query: str | None) -> None:
    for user in ("auditor", credentials.PLATFORM):
        body = {"query": query, "operationName": "A"}
        assert mlflow.ask(user, "POST", "/graphql", body)[0] in (400, 403)


ELSEWHERE = (
    "file:///tmp/x", "/tmp/x", "tmp/x", "s3://bucket/x", "mlflow-artifacts:/../x",
    "mlflow-artifacts:", "mlflow-artifacts:/a/../../x", "mlflow-artifacts:/%2e%2e/x", "mlflow-artifacts://host/x",
    "http://127.0.0.1/x", "MLFLOW-ARTIFACTS:/x", " mlflow-artifacts:/x", "runs:/x",
    {"a": 1}, ["x"], 1,
)  # fmt: skip


@pytest.mark.parametrize(
    ("what", "field", "more"),
    [
        ("experiments/create", "artifact_location", {}),
        ("model-versions/create", "source", {}),
    ],
)
def test_not_even_the_platform_says_where_files_go(
    mlflow: Mlflow, what: str, field: str, more: dict[str, str]
) -> None:
    for number, place in enumerate(ELSEWHERE):
        for prefix in PREFIXES:
            said = {"name": f"elsewhere-{number}", field: place}
            status, text = mlflow.ask(credentials.PLATFORM, "POST", prefix + what, said)
            assert (status, "own root" in text) == (400, True), (place, status, text)
    camel = "".join(part.title() if n else part for n, part in enumerate(field.split("_")))
    for body in (
        {"name": "n", camel if camel != field else "Source": "file:///tmp/x"},
        json.dumps({"name": "n", field: "file:///tmp/x"}),  # a string that holds JSON
        f'{{"name": "n", "{field}": "mlflow-artifacts:/x", "{field}": "file:///tmp/x"}}'.encode(),
        json.dumps({"name": "n", field: "file:///tmp/x"}).encode("utf-16"),
        b"", b"[]", b"{", b"[" * 100_000, b" " * (1 << 21),
    ):  # fmt: skip
        path = PREFIXES[0] + what
        assert mlflow.ask(credentials.PLATFORM, "POST", path, body)[0] in (400, 413), body
    allowed = {"name": "below", "artifact_location": "mlflow-artifacts:/below"}
    if what == "experiments/create":
        status, text = mlflow.ask(credentials.PLATFORM, "POST", PREFIXES[0] + what, allowed)
        assert status == 200, text


def test_the_platform_itself_is_refused_what_it_never_needs(mlflow: Mlflow) -> None:
    for method, path in (
        ("POST", "/ajax-api/3.0/mlflow/gateway/secrets/create"),
        ("POST", "/ajax-api/2.0/mlflow/upload-artifact"),
        ("POST", "/ajax-api/2.0/mlflow/gateway-proxy"),
        ("POST", "/ajax-api/2.0/mlflow/runs/create-promptlab-run"),
        ("POST", "/ajax-api/3.0/mlflow/assistant/message"),
        ("POST", "/api/2.0/mlflow/webhooks"),
        ("POST", "/ajax-api/3.0/jobs/"),
        ("POST", "/v1/traces"),
        ("GET", "/api/2.0/mlflow/users/list"),
        ("PATCH", "/api/2.0/mlflow/users/update-admin"),
    ):
        assert mlflow.ask(credentials.PLATFORM, method, path, {})[0] == 403, path


def test_a_password_is_changed_in_one_file_for_airflow_and_mlflow(mlflow: Mlflow) -> None:
    """Nobody changes it at MLflow; who edits the file and says `make up` changes it in both."""
    path, _ = credentials.passwords(mlflow.home / "secrets")
    before = path.read_text()
    own = {"username": "operator", "password": "another one of mine"}
    change = "/api/2.0/mlflow/users/update-password"
    assert mlflow.ask("operator", "PATCH", change, own)[0] == 403
    try:
        path.write_text(json.dumps(json.loads(before) | {"operator": "another one of mine"}))
        serve.admit(mlflow.home)
        assert mlflow.ask("operator", "GET", "/version")[0] == 401
    finally:
        path.write_text(before)
        serve.admit(mlflow.home)
    assert mlflow.ask("operator", "GET", "/version")[0] == 200


def test_the_server_cannot_write_where_airflow_imports(mlflow: Mlflow) -> None:
    """Modes say read-only, and a server that root started lacks the power to pass over them."""
    folders = read_only(mlflow.home)
    assert sorted(p.name for p in folders["AIRFLOW__CORE__DAGS_FOLDER"].iterdir()) == sorted(
        p.name for p in DAGS.glob("*.py")
    )
    assert {p.name for p in folders["AIRFLOW__CORE__PLUGINS_FOLDER"].iterdir()} == {
        p.name for p in PLUGINS.glob("*.py")
    }
    for folder in folders.values():
        assert all(not p.stat().st_mode & 0o222 for p in [folder, *folder.iterdir()])
        written = folder / "run" / "artifacts"
        tried = [
            sys.executable,
            "-c",
            f"import pathlib; pathlib.Path({str(written)!r}).mkdir(parents=True)",
        ]
        done = subprocess.run([*confined(mlflow.home), *tried], capture_output=True, check=False)
        assert done.returncode == 1 and b"PermissionError" in done.stderr
    for member in Process("mlflow", mlflow.home).members():
        (mask,) = (line for line in Path(f"/proc/{member.pid}/status").read_text().splitlines()
                   if line.startswith("CapEff"))  # fmt: skip
        assert not int(mask.split()[1], 16) & 0b110  # dac_override, dac_read_search


def test_a_copied_home_owns_no_process(mlflow: Mlflow, tmp_path: Path) -> None:
    """`make down` of a copy must not stop the platform of the original; a moved home still may."""
    pid_file = mlflow.home / "run" / "mlflow.pid"
    (tmp_path / "run").mkdir()
    shutil.copy2(pid_file, tmp_path / "run")
    assert Process("mlflow", mlflow.home).members()
    assert Process("mlflow", tmp_path).members() == []
    os.link(pid_file, tmp_path / "run" / "moved.pid")
    assert Process("moved", tmp_path).leader() == Process("mlflow", mlflow.home).leader()


def test_no_secret_of_the_home_lies_outside_its_folder(mlflow: Mlflow) -> None:
    """After all requests above, some with a wrong password: logs, databases, artefacts."""
    folder = mlflow.home / "secrets"
    values = {value.encode() for value in mlflow.passwords.values()}
    values |= {(folder / name).read_bytes() for name in ("mlflow", "mlflow-session")}
    files = [p for p in mlflow.home.rglob("*") if p.is_file() and folder not in p.parents]
    assert any(path.suffix == ".log" and path.stat().st_size for path in files)
    assert [str(p) for p in files for value in values if value in p.read_bytes()] == []
    for path in folder.iterdir():
        assert (
            path.name.startswith("mlflow-users.db")
            or path.name == "mlflow.ini"
            or not (path.stat().st_mode & 0o077)
        ), f"{path} is not its owner's alone"
