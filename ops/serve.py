"""The long-running form on one machine: MLflow and Airflow on loopback, started and stopped.

`python -m ops.serve up|down|status --home DIR`
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import shlex
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from crossimpact.errors import CrossImpactError, UsageError
from ops.airflow_env import airflow_env, confined, lay_out, migrate, prepare, read_only
from ops.credentials import airflow_secrets, mlflow_login, mlflow_secrets, passwords, write_private
from ops.processes import Process, choose_port, port_free, tail
from pipelines.store.settings import home_at
from registry.pages import EXPERIMENT, REFITS, RELEASES

COMPONENTS = ("mlflow", "api-server", "dag-processor", "scheduler")
PRELOAD = (
    "airflow,airflow.executors.local_executor,pandas,pyarrow,duckdb,sklearn.linear_model,mlflow"
)
READY_S = 240


def ports(home: Path) -> dict[str, int]:
    """Ports of this home; chosen at its start and kept while it runs."""
    path = home / "run" / "ports.json"
    if path.exists():
        return dict(json.loads(path.read_text()))
    chosen = {
        "airflow": choose_port("CROSSIMPACT_AIRFLOW_PORT", 18080),
        "mlflow": choose_port("CROSSIMPACT_MLFLOW_PORT", 15000),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(chosen))
    return chosen


def urls(home: Path) -> dict[str, str]:
    return {name: f"http://127.0.0.1:{port}" for name, port in ports(home).items()}


def environment(home: Path) -> dict[str, str]:
    """What Airflow needs beyond the common environment: addresses, keys, MLflow, preloading."""
    url = urls(home)
    served = {
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(ports(home)["airflow"]),
        "AIRFLOW__API__BASE_URL": url["airflow"],
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": url["airflow"] + "/execution/",
        "AIRFLOW__CORE__MP_START_METHOD": "forkserver",
        "AIRFLOW__CORE__MP_FORKSERVER_PRELOAD": PRELOAD,
        "MLFLOW_TRACKING_URI": url["mlflow"],
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
        **mlflow_login(home / "secrets"),
    }
    demo = home / "demo" / "landing"
    if "CROSSIMPACT_LANDING" not in os.environ and demo.exists():
        served["CROSSIMPACT_LANDING"] = str(demo)
    folders = {name: str(folder) for name, folder in read_only(home).items()}
    keys = airflow_secrets(home / "secrets")
    return {**os.environ, **airflow_env(home), **folders, **keys, **served}


def mlflow_environment(home: Path) -> dict[str, str]:
    """What the MLflow server alone needs; nobody else is told its keys."""
    own = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **mlflow_secrets(home / "secrets")}
    return {**os.environ, **airflow_env(home), **own}


def commands(home: Path) -> dict[str, list[str]]:
    """Command of each component."""
    store = home / "mlflow"
    mlflow = [
        *(
            "mlflow",
            "server",
            "--app-name",
            "crossimpact",
            "--host",
            "127.0.0.1",
            "--port",
            str(ports(home)["mlflow"]),
        ),
        *("--backend-store-uri", f"sqlite:///{store}/mlflow.db", "--workers", "1"),
        *("--artifacts-destination", str(store / "artifacts")),
    ]
    arguments = {
        "mlflow": mlflow,
        "api-server": ["airflow", "api-server"],
        "dag-processor": ["airflow", "dag-processor"],
        "scheduler": ["airflow", "scheduler", "--skip-serve-logs"],
    }
    served = {name: [sys.executable, "-m", *rest] for name, rest in arguments.items()}
    return served | {"mlflow": [*confined(home), *served["mlflow"]]}


def fetch(request: str | urllib.request.Request) -> str | None:
    """Body of a local page, None while nobody answers."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=5) as reply:
            return str(reply.read().decode())
    except (urllib.error.URLError, OSError):
        return None


def health(home: Path) -> dict[str, bool]:
    """Whether each component says that it is well."""
    url = urls(home)
    body = fetch(url["airflow"] + "/api/v2/monitor/health")
    airflow: dict[str, Any] = json.loads(body) if body else {}
    well = {
        name: (airflow.get(part) or {}).get("status") == "healthy"
        for name, part in (
            ("api-server", "metadatabase"),
            ("dag-processor", "dag_processor"),
            ("scheduler", "scheduler"),
        )
    }
    return {"mlflow": fetch(url["mlflow"] + "/health") == "OK", **well}


def wait_ready(home: Path) -> None:
    """Return when all components are well; name the one that died or never answered."""
    deadline = time.monotonic() + READY_S
    while not all((well := health(home)).values()):
        for process in components(home):
            if process.leader() is None:
                raise CrossImpactError(
                    f"{process.name} ended during its start, see {process.log}\n"
                    + tail(process.log, 15)
                )
        if time.monotonic() > deadline:
            late = next(name for name in COMPONENTS if not well[name])
            log = Process(late, home).log
            raise CrossImpactError(f"{late} is not ready after {READY_S} s, see {log}")
        time.sleep(1)


def components(home: Path) -> list[Process]:
    return [Process(name, home) for name in COMPONENTS]


def ask(home: Path, what: str, method: str = "GET", **said: str) -> str | None:
    """What MLflow answers the platform, None when it refuses or is not there."""
    login = base64.b64encode(":".join(mlflow_login(home / "secrets").values()).encode()).decode()
    request = urllib.request.Request(  # noqa: S310
        f"{urls(home)['mlflow']}/api/2.0/mlflow/{what}",
        json.dumps(said).encode() if said else None,
        {"Authorization": f"Basic {login}", "Content-Type": "application/json"},
        method=method,
    )
    return fetch(request)


def admit(home: Path) -> None:
    """Let Airflow's users look at MLflow's pages, each by the password of his own.

    One that is there already gets the password that Airflow asks for now.
    """
    for user, password in json.loads(passwords(home / "secrets")[0].read_text()).items():
        who = {"username": user, "password": password}
        if ask(home, "users/create", "POST", **who) is None:
            ask(home, "users/update-password", "PATCH", **who)


def up(home: Path) -> int:
    """Start what does not run, wait until all of it is healthy; the exit code."""
    dead = [process for process in components(home) if process.leader() is None]
    if not dead:
        print("already up")
        return report(home)
    for process in dead:
        process.stop()  # what a dead one left behind
    fresh_start = len(dead) == len(COMPONENTS)
    reserve(home, [process.name for process in dead], anew=fresh_start)
    prepare(home)
    lay_out(home)
    _, fresh = passwords(home / "secrets")
    for user, password in fresh.items():
        print(f"{user:<9} {password}   (shown once; kept in {home}/secrets/passwords.json)")
    env = dict.fromkeys(COMPONENTS, environment(home)) | {"mlflow": mlflow_environment(home)}
    migrate(home, env["scheduler"])
    try:
        for process in dead:
            process.start(commands(home)[process.name], env[process.name])
        wait_ready(home)
        admit(home)
        write_login(home)
    except BaseException:
        halt(dead if not fresh_start else components(home))
        raise
    if not fresh_start:
        print(f"started again: {', '.join(process.name for process in dead)}")
    return report(home)


def reserve(home: Path, names: list[str], *, anew: bool) -> None:
    """Settle the ports before anything is shown or started; a taken one is an error."""
    if anew:
        (home / "run" / "ports.json").unlink(missing_ok=True)
    chosen = ports(home)
    for name, component in (("mlflow", "mlflow"), ("airflow", "api-server")):
        if component in names and not port_free(chosen[name]):
            raise UsageError(
                f"port {chosen[name]} of {component} was taken by somebody else meanwhile",
                "free it, or stop everything first and start it again",
            )


def login_file(home: Path) -> Path:
    return home / "secrets" / "mlflow.env"


def write_login(home: Path) -> None:
    """A file for the shell, by which the command line finds the server and logs in."""
    variables = {"MLFLOW_TRACKING_URI": urls(home)["mlflow"], **mlflow_login(home / "secrets")}
    login_file(home).unlink(missing_ok=True)
    lines = (f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())
    write_private(login_file(home), "".join(lines))


def halt(processes: list[Process]) -> None:
    for process in processes:
        process.ask_to_end()
    for process in processes:
        process.stop()


def down(home: Path) -> int:
    """Stop everything; nothing to stop is fine."""
    stopped = [process.name for process in components(home) if process.members()]
    halt(components(home))
    for path in (home / "run" / "ports.json", login_file(home)):
        path.unlink(missing_ok=True)
    print(f"stopped: {', '.join(stopped)}" if stopped else "nothing is running")
    return 0


def pages(home: Path) -> dict[str, str]:
    """Addresses of MLflow's pages on releases, and on refits as soon as there is one."""
    server = urls(home)["mlflow"]
    result = ask(home, f"experiments/get-by-name?experiment_name={EXPERIMENT}")
    known = json.loads(result)["experiment"] if result else {}
    refits = {"refits": server + REFITS.format_map(known)} if known else {}
    return {"releases": server + RELEASES, **refits}


def report(home: Path) -> int:
    """Print addresses and state; 0 when every component is well, else 1."""
    if not any(process.members() for process in components(home)):
        print("nothing is running")
        return 1
    for name, url in urls(home).items():
        print(f"{name:<9} {url}")
    for name, page in pages(home).items():
        print(f"{name:<9} {page}")
    print(f"in a shell, before `crossimpact`: . {login_file(home)}")
    well = health(home)
    dead = {process.name for process in components(home) if process.leader() is None}
    states = {
        name: "dead" if name in dead else "ok" if well[name] else "NOT ok" for name in COMPONENTS
    }
    print(", ".join(f"{name} {state}" for name, state in states.items()))
    if dead:
        print("`make up` starts again what is dead", file=sys.stderr)
    return 0 if set(states.values()) == {"ok"} else 1


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m ops.serve", description=__doc__)
    parser.add_argument("action", choices=["up", "down", "status"])
    parser.add_argument(
        "--home", type=Path, default=os.environ.get("CROSSIMPACT_HOME") or ".crossimpact"
    )
    arguments = parser.parse_args(argv)
    action = {"up": up, "down": down, "status": report}[arguments.action]
    try:
        return action(home_at(arguments.home))
    except CrossImpactError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
