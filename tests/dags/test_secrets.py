"""Nothing that the demos leave behind holds a secret, and none of it went beyond this machine.

The demos ran (validate, refit, gates, promotion, drift, TCA, a live session, and a DAG that failed)
with a canary in the place of every secret. It is looked for in every file of the home: Airflow's
database with its XComs, MLflow's with tags and params, artefacts, logs, pages, partitions.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from ops.airflow_env import ROOT
from tests.canary import CANARY, canaries, leaking, leaks
from tests.dags.desk import GUARD, attempts


def test_no_file_of_the_home_holds_a_canary(demos, home):
    printed = (home.parent / "printed").read_bytes()
    assert leaking(home, {"printed": printed}) == []


def test_what_was_searched_is_what_may_leak(demos, home):
    """XComs, tags and params, pages, logs, and a task that failed are there."""
    assert demos["broken"]["code"] == 3
    with closing(sqlite3.connect(home / "airflow" / "airflow.db")) as db:
        assert db.execute("SELECT count(*) FROM xcom").fetchone()[0] > 10
        states = {state for (state,) in db.execute("SELECT DISTINCT state FROM task_instance")}
        assert "failed" in states
    with closing(sqlite3.connect(home / "mlflow" / "mlflow.db")) as db:
        for table in ("tags", "params", "model_version_tags"):
            assert db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] > 3
    assert list((home / "reports").glob("*.html"))
    assert (home / "logs" / "demo.log").stat().st_size > 1000


@pytest.mark.parametrize("name", sorted(canaries().keys() - {"MLFLOW_TRACKING_USERNAME"}))
def test_a_leak_would_be_found(name, tmp_path):
    """In plain text, in base64 as a login is sent, and in a database."""
    import base64

    secret = canaries()[name]
    assert leaks(f"x {secret} y".encode())
    if CANARY in secret:
        for user in ("a", "ab", "abc"):
            assert leaks(base64.b64encode(f"{user}:{secret}".encode()))
    with closing(sqlite3.connect(tmp_path / "x.db")) as db, db:
        db.execute("CREATE TABLE t (a)")
        db.execute("INSERT INTO t VALUES (?)", (secret,))
    assert leaking(tmp_path) == ["x.db"]


def test_the_demos_reached_nothing_beyond_loopback(demos, home):
    path = attempts(home)
    assert not path.exists(), path.read_text()


@pytest.mark.parametrize(
    ("code", "refused"),
    [
        ("import socket; socket.create_connection(('192.0.2.1', 80), 1)", True),
        ("import socket; socket.getaddrinfo('telemetry.example', 443)", True),
        ("import urllib.request as u; u.urlopen('https://example.org')", True),
        ("import socket; socket.socket(2, 2).sendto(b'x', ('192.0.2.1', 53))", True),
        ("import socket; s = socket.create_server(('127.0.0.1', 0));"
         "socket.create_connection(s.getsockname())", False),
        ("import socket; socket.getaddrinfo('localhost', 1)", False),
    ],
)  # fmt: skip
def test_the_guard_refuses_and_keeps_what_goes_beyond_loopback(code, refused, tmp_path):
    kept = tmp_path / "attempts"
    plain = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    env = {**plain, "PYTHONPATH": str(GUARD), "NETWORK_ATTEMPTS": str(kept)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False
    )
    assert (done.returncode != 0, kept.exists()) == (refused, refused), done.stderr
    assert ("beyond loopback" in done.stderr) is refused


def test_commands_work_with_the_network_cut(demos, home, tmp_path):
    """In a network namespace of their own, in which not even loopback is up."""
    unshare = shutil.which("unshare")
    if not unshare or subprocess.run([unshare, "-n", "true"], check=False).returncode:
        pytest.skip("no network namespace to be had: it takes root")
    copy = tmp_path / "home"
    shutil.copytree(home, copy, ignore=shutil.ignore_patterns("demo", "airflow", "refits"))
    for words in (["metrics", "write", str(tmp_path / "m.prom")], ["show"], ["pull"]):
        done = subprocess.run(
            [unshare, "-n", sys.executable, "-m", "crossimpact", *words, "--home", str(copy)],
            cwd=ROOT, capture_output=True, text=True, check=False, timeout=600,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert "crossimpact_registry_up 1.0" in (tmp_path / "m.prom").read_text()
