"""docker-compose.yml: what every service has to say, and what none may; each rule on its breach."""

from __future__ import annotations

import copy
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crossimpact.errors import UsageError
from ops.airflow_env import ROOT
from ops.stack import compose, dockerfile, secrets

DOCUMENT = compose.document()
Rows = dict[str, dict[str, Any]]
ROWS: Rows = DOCUMENT["services"]
#: Names under which a secret may come.
SECRET = re.compile(r"PASSWORD|SECRET|_KEY$|TOKEN")
NO_SECRET = {"AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"}
#: An address with a password in it.
LOGIN = re.compile(r"://[^/@\s]*:([^/@\s]+)@")
#: Of these everybody inside may ask; nobody outside can.
UNPUBLISHED = {"postgres", "redis", "live", "metrics", "alertmanager"}


def broken(rows: Rows) -> list[str]:
    """What is wrong with the services, a line each."""
    found = []
    for name, row in rows.items():
        found += [f"{name}: {why}" for why in complaints(name, row)]
    return found


def complaints(name: str, row: dict[str, Any]) -> list[str]:
    once = row.get("restart") == "no"
    found = []
    image = row.get("image", "")
    if ":" not in image or image.endswith(":latest"):
        found.append("image without a version")
    if str(row.get("user", "0")).partition(":")[0] in ("0", "root"):
        found.append("runs as root")
    if not row.get("read_only"):
        found.append("may write to its image")
    if row.get("privileged") or row.get("cap_add") or row.get("cap_drop") != ["ALL"]:
        found.append("has capabilities")
    if "no-new-privileges:true" not in row.get("security_opt", ()):
        found.append("may gain privileges")
    if row.get("restart") not in (("no",) if once else ("unless-stopped",)):
        found.append("restart policy")
    if not once and "test" not in row.get("healthcheck", {}):
        found.append("no health check")
    if not (row.get("mem_limit") and row.get("pids_limit")):
        found.append("no limits")
    if not row.get("logging", {}).get("options", {}).get("max-size"):
        found.append("logs without end")
    found += [f"port {p} beyond loopback" for p in row.get("ports", ()) if unsafe(p)]
    if row.get("network_mode") or "inside" not in row.get("networks", ()):
        found.append("another network")
    found += [f"{key} holds a secret" for key, text in row.get("environment", {}).items()
              if told(key, str(text))]  # fmt: skip
    if any("${" in word for word in row.get("command", ())):
        found.append("secret on the command line")
    return found


def unsafe(port: Any) -> bool:
    return not (isinstance(port, str) and re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port))


def told(key: str, text: str) -> bool:
    """Whether a variable carries a secret in plain sight, or one with a default."""
    values = LOGIN.findall(text)
    if SECRET.search(key) and key not in NO_SECRET and not values:
        values = [text]
    return any(not re.fullmatch(r"\$\{\w+:\?[^}]+\}", value) for value in values)


def test_the_file_keeps_the_compose_schema() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run(
        [*command, str(compose.FILE)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_every_service_keeps_the_rules() -> None:
    assert broken(ROWS) == []


def change(**fields: Any) -> Callable[[dict[str, Any]], None]:
    return lambda row: row.update(fields)


def variable(name: str, value: str) -> Callable[[dict[str, Any]], None]:
    return lambda row: row["environment"].update({name: value})


BREACHES: dict[str, Callable[[dict[str, Any]], None]] = {
    "image without a version": change(image="postgres"),
    "image without a version ": change(image="postgres:latest"),
    "runs as root": change(user="0:0"),
    "runs as root ": change(user="root"),
    "may write to its image": change(read_only=False),
    "has capabilities": change(cap_add=["SYS_ADMIN"]),
    "may gain privileges": change(security_opt=[]),
    "restart policy": change(restart="always"),
    "no health check": change(healthcheck={}),
    "no limits": change(mem_limit=""),
    "logs without end": change(logging={}),
    "beyond loopback": change(ports=["5000:5000"]),
    "beyond loopback ": change(ports=["0.0.0.0:5000:5000"]),
    "another network": change(network_mode="host"),
    "holds a secret": variable("REDIS_PASSWORD", "${REDIS_PASSWORD:-redis}"),
    "holds a secret ": variable("MLFLOW_BACKEND_STORE_URI", "postgresql://u:p@postgres/mlflow"),
    "secret on the command line": change(command=["redis", "--pass", "${REDIS_PASSWORD:?}"]),
}


@pytest.mark.parametrize("kind", BREACHES)
def test_a_breach_of_each_rule_is_found(kind: str) -> None:
    rows = {"mlflow": copy.deepcopy(ROWS["mlflow"])}
    BREACHES[kind](rows["mlflow"])
    found = broken(rows)
    assert any(kind.strip() in line for line in found), found


def test_what_asks_nobody_for_a_login_is_not_published() -> None:
    assert {name for name, row in ROWS.items() if "ports" not in row} >= UNPUBLISHED
    assert DOCUMENT["networks"]["inside"]["internal"] is True
    for name, row in ROWS.items():
        assert ("edge" in row["networks"]) == ("ports" in row), name


def test_each_has_the_secrets_it_needs_and_no_others() -> None:
    """A worker that is taken over reaches neither Airflow's database nor the key of its tokens."""
    held = {
        name: {v for t in compose.texts(row.get("environment", {})) for v in compose.lacking(t, {})}
        for name, row in ROWS.items()
    }
    worker = {"CELERY_DB_PASSWORD", "REDIS_PASSWORD", "MLFLOW_PASSWORD"}
    assert held["worker-1"] == held["worker-2"] == worker
    assert held["live"] == {"AUDITOR_PASSWORD"}
    assert held["metrics"] == {"AUDITOR_PASSWORD", "METRICS_DB_PASSWORD"}
    assert {n for n in held if "POSTGRES_PASSWORD" in held[n]} == {"postgres", "migrate"}
    deciders = {"migrate", "api-server", "scheduler", "dag-processor", "triggerer"}
    assert {n for n in held if "AIRFLOW_JWT_SECRET" in held[n]} == deciders
    assert {n for n in held if "MLFLOW_PASSWORD" in held[n]} == {
        "migrate", "mlflow", "worker-1", "worker-2",
    }  # fmt: skip


def test_a_task_that_waits_its_turn_is_never_failed_for_it() -> None:
    """Airflow fails what was queued longer than its timeout for the third time, by default."""
    variables = compose.services(secrets.generate())["scheduler"].environment
    assert int(variables["AIRFLOW__SCHEDULER__NUM_STUCK_IN_QUEUED_RETRIES"]) >= 1000
    assert int(variables["AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT"]) < 180


@pytest.mark.parametrize(
    ("host", "allowed"),
    [("mlflow:5000", True), ("127.0.0.1:5000", True), ("localhost:5000", True),
     ("mlflow.example:5000", False), ("127.0.0.1.example", False), ("rebound.example:5000", False)],
)  # fmt: skip
def test_mlflow_answers_under_the_name_of_its_service_and_no_strangers(
    host: str, allowed: bool
) -> None:
    from mlflow.server.security_utils import is_allowed_host_header

    hosts = ROWS["mlflow"]["environment"]["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    assert is_allowed_host_header(hosts, host) is allowed


def test_services_come_after_those_they_wait_for() -> None:
    order = list(compose.services(secrets.generate()))
    for name, row in ROWS.items():
        for other in row.get("depends_on", {}):
            assert order.index(other) < order.index(name)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${A:?say A}", "1"),
        ("a-${A:?x}-$$A", "a-1-$A"),
        ("${B:-two}", "two"),
        ("${A:-two}", "1"),
        ("${B}", ""),
        ("no variable $HOME", "no variable $HOME"),
    ],
)
def test_variables_are_filled_in_as_compose_does(text: str, value: str) -> None:
    assert compose.filled(text, {"A": "1"}) == value


def test_a_missing_variable_is_named() -> None:
    values = secrets.generate()
    del values["REDIS_PASSWORD"]
    with pytest.raises(UsageError, match=r"no value for REDIS_PASSWORD; run `make secrets`"):
        compose.services(values)


def test_services_that_wait_for_one_another_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "compose.yml"
    text = compose.FILE.read_text()
    circle = "    depends_on:\n      <<: *migrated\n    environment:\n      MLFLOW_BACKEND"
    assert circle in text
    file.write_text(text.replace(circle, circle.replace("<<: *migrated", "live: {condition: x}")))
    with pytest.raises(UsageError, match=r"wait for one another: .*mlflow"):
        compose.services(secrets.generate(), file)


def test_durations_are_read() -> None:
    assert [compose.seconds(t) for t in ("10s", "1m30s", "500ms", "2h")] == [10, 90, 0.5, 7200]


def test_commands_exist() -> None:
    """Scripts are there and parse; modules can be found; files that are named are in the tree."""
    for service in compose.services(secrets.generate()).values():
        checks = (service.command, service.healthcheck.command if service.healthcheck else ())
        for words in filter(None, checks):
            for word in words:
                if found := re.search(r"/srv/app/(\S+)", word):
                    assert (ROOT / found[1]).exists(), word
            if words[0] == "python":
                assert importable(words[2]), words
            if words[0] == "sh" and words[1] != "-c":
                script = ROOT / words[1].removeprefix("/srv/app/")
                assert subprocess.run(["sh", "-n", script], check=False).returncode == 0


def importable(module: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(module) is not None


def test_the_same_user_in_file_and_image() -> None:
    made = {
        int(uid)
        for rows in dockerfile.stages().values()
        for word, text in rows
        if word == "RUN"
        for uid in re.findall(r"useradd -u (\d+)", text)
    }
    built = [s for s in compose.services(secrets.generate()).values() if s.build]
    assert {service.user[0] for service in built} == made
    for service in built:
        assert service.build in dockerfile.stages()


def test_every_image_of_ours_is_built_by_one_service() -> None:
    """Built by two at once, one tag is exported twice and `up --build` fails."""
    rows = compose.document()["services"].values()
    built = [row["image"] for row in rows if "build" in row]
    assert len(built) == len(set(built))
    assert set(built) == {r["image"] for r in rows if r["image"].startswith("crossimpact/")}


def test_an_image_holds_no_state_and_no_secret() -> None:
    lines = (ROOT / ".dockerignore").read_text().split()
    allowed = {line[1:] for line in lines if line.startswith("!")}
    assert lines.index("*") < min(i for i, line in enumerate(lines) if line.startswith("!"))
    assert not allowed & {".env", ".git", ".crossimpact", ".venv", "tests"}
    assert all((ROOT / name).exists() for name in allowed)
    assert ".env" in (ROOT / ".gitignore").read_text().split()


def test_scripts_stop_at_the_first_error_and_echo_no_secret() -> None:
    for script in (ROOT / "ops" / "stack").glob("*.sh"):
        lines = script.read_text().splitlines()
        assert lines[0] == "#!/bin/sh" and any(line.startswith("set -eu") for line in lines)
        assert not any(line.startswith("set -x") or "echo $" in line for line in lines)
