"""`crossimpact doctor`: each fault is found, named and told with what to do."""

from __future__ import annotations

import json
import threading
from collections import namedtuple
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from crossimpact.errors import Unavailable
from ops import doctor
from ops.doctor import CHECKS, machine, servers
from ops.doctor.check import Check
from pipelines.monitoring import dag_runs
from pipelines.store.settings import Settings
from tests.pipelines.monitoring import home as desk
from tests.pipelines.monitoring.home import NOW

POSTGRES = dag_runs.VARIABLES[0], "postgresql+psycopg2://u:pw9@127.0.0.1:1/a"
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A sound home on a sound machine."""
    for name in (*dag_runs.VARIABLES, *machine.PORTS, "AIRFLOW__API__BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: Usage(100 << 30, 0, 50 << 30))
    monkeypatch.setattr(machine, "ROOT", tmp_path)
    result = desk.made(tmp_path / "home")
    result.home.chmod(0o750)
    (result.home / "secrets").mkdir(mode=0o700)
    (result.home / "secrets" / "fernet").write_text("x")
    (result.home / "secrets" / "fernet").chmod(0o600)
    return result


def examined(settings: Settings, *names: str, now: datetime = NOW) -> dict[str, Check]:
    return {check.check: check for check in doctor.examine(settings, lambda: now, names)}


def test_a_sound_home_is_well(settings):
    found = examined(settings)
    assert list(found) == list(CHECKS)
    assert {name: check.state for name, check in found.items() if check.state != "ok"} == {
        "code": "warn"  # its partitions were not made by the step
    }


Fault = Callable[[Settings, pytest.MonkeyPatch], object]


def full(share: float) -> Fault:
    usage = Usage(1000, 0, int(1000 * share))
    return lambda _, patch: patch.setattr(machine.shutil, "disk_usage", lambda _: usage)


def other_version(settings: Settings, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(machine, "version", lambda name: "0.0.1")


def absent_package(settings: Settings, patch: pytest.MonkeyPatch) -> None:
    have = machine._installed
    patch.setattr(machine, "_installed", lambda name: None if name == "duckdb" else have(name))


def env(name: str, value: str) -> Fault:
    return lambda _, patch: patch.setenv(name, value)


def mode(path: str, bits: int) -> Fault:
    return lambda settings, _: (settings.home / path).chmod(bits)


def edit_ledger(settings: Settings, patch: pytest.MonkeyPatch) -> None:
    path = settings.ledger_path
    path.write_bytes(path.read_bytes().replace(b"ann", b"bob"))


def cut_append(settings: Settings, patch: pytest.MonkeyPatch) -> None:
    with settings.ledger_path.open("ab") as file:
        file.write(b'{"seq": 2')


def lose_head(settings: Settings, patch: pytest.MonkeyPatch) -> None:
    settings.ledger_path.with_name("ledger.jsonl.head").unlink()


def garble_head(settings: Settings, patch: pytest.MonkeyPatch) -> None:
    settings.ledger_path.with_name("ledger.jsonl.head").write_text("?")


def flip_release(settings: Settings, patch: pytest.MonkeyPatch) -> None:
    (file,) = settings.releases.glob("*/fallback.json")
    file.write_bytes(file.read_bytes().replace(b"0.05", b"0.06"))


def garble_manifest(settings: Settings, patch: pytest.MonkeyPatch) -> None:
    (file,) = settings.home.glob("warehouse/accepted/child_fills/*/_manifest.json")
    file.write_text("{")


def older_code(settings: Settings, patch: pytest.MonkeyPatch) -> None:
    (file,) = settings.home.glob("warehouse/accepted/child_fills/*/_manifest.json")
    file.write_text(json.dumps({**json.loads(file.read_text()), "code_version": "0.0.9"}))


def latin(settings: Settings, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(machine.locale, "getpreferredencoding", lambda _: "ISO-8859-1")


def old_python(settings: Settings, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(machine.sys, "version_info", (3, 10, 1))


@pytest.mark.parametrize(
    ("check", "state", "fault", "says"),
    [
        ("python", "wrong", old_python, "3.10.1 (limit: at least 3.11); install it"),
        ("packages", "wrong", other_version, "0.0.1, not "),
        ("packages", "wrong", absent_package, "duckdb absent, not "),
        ("encoding", "wrong", latin, "ISO-8859-1, utf-8 (limit: UTF-8); set LANG=C.UTF-8"),
        ("home", "wrong", mode(".", 0o755), "mode 0755 (limit: nothing for others); chmod o= "),
        ("secrets", "wrong", mode("secrets/fernet", 0o640), "fernet 0640 (limit: 0600); chmod 600"),
        ("disk", "warn", full(0.09), "9.0% free"),
        ("disk", "wrong", full(0.02), "2.0% free, 0.0 GiB (limit: at least 10%); make room"),
        ("database", "wrong", env(*POSTGRES), "u:***@"),
        ("database", "wrong", env(POSTGRES[0], "nonsense"), "an address that is none"),
        ("registry", "wrong", env("MLFLOW_TRACKING_URI", "http://127.0.0.1:1"), "127.0.0.1:1"),
        ("registry", "wrong", env("MLFLOW_TRACKING_URI", "http://a:b@c"), "holds credentials"),
        ("login", "wrong", env("MLFLOW_TRACKING_URI", "http://127.0.0.1:1"), "127.0.0.1:1"),
        ("ledger", "wrong", edit_ledger, "line 1: its sha256 does not match its content; keep"),
        ("ledger", "wrong", lose_head, ".head file is gone"),
        ("ledger", "wrong", garble_head, "cannot be read"),
        ("ledger", "warn", cut_append, "never acknowledged"),
        ("champion", "wrong", flip_release, "fallback.json"),
        ("code", "wrong", garble_manifest, "cannot be read"),
        ("code", "warn", older_code, "was written by 0.0.9 (limit: 0.1.0)"),
    ],
)  # fmt: skip
def test_a_fault_is_found_and_named(settings, monkeypatch, check, state, fault, says):
    fault(settings, monkeypatch)
    found = examined(settings, check)[check]
    assert (found.state, says in str(found)) == (state, True), found
    assert "pw9" not in str(found)


def test_an_expired_champion_and_none(settings):
    found = examined(settings, "champion", now=NOW + timedelta(days=60))["champion"]
    assert found.state == "wrong" and "has expired" in found.found and found.limit == "45 days"
    for path in settings.home.glob("ledger*"):
        path.unlink()
    assert examined(settings, "champion")["champion"].state == "warn"


def test_a_port_that_somebody_else_has(settings, monkeypatch):
    with answering(NOW) as port:
        monkeypatch.setenv("CROSSIMPACT_MLFLOW_PORT", str(port))
        found = examined(settings, "ports")["ports"]
    assert found.state == "wrong"
    assert f"{port} (CROSSIMPACT_MLFLOW_PORT)" in found.found


@contextmanager
def answering(date: datetime, status: int = 401) -> Iterator[int]:
    """A server whose clock says `date`; its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response_only(status)
            self.send_header("Date", format_datetime(date, usegmt=True))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("off", "state"),
    [(0, "ok"), (-3, "ok"), (5, "warn"), (-10, "warn"), (11, "wrong"), (-3600, "wrong")],
)
@pytest.mark.parametrize("which", ["MLFLOW_TRACKING_URI", "AIRFLOW__API__BASE_URL"])
def test_a_clock_that_is_off_against_a_server(settings, monkeypatch, which, off, state):
    with answering(NOW - timedelta(seconds=off)) as port:
        monkeypatch.setenv(which, f"http://127.0.0.1:{port}")
        found = servers.clock(settings, lambda: NOW)
    assert found.state == state, found
    assert f"{off:+d} s against {'MLflow' if 'MLFLOW' in which else 'Airflow'}" in found.found


def test_a_check_that_fails_does_not_hide_the_others(settings, monkeypatch):
    def broken(*_: object) -> Check:
        raise Unavailable("it is away", "wait")

    monkeypatch.setitem(CHECKS, "disk", broken)
    found = examined(settings, "disk", "ledger")
    assert str(found["disk"]) == "it is away; wait"
    assert found["ledger"].state == "ok"


def test_the_command_exits_1_when_something_is_wrong(settings, crossimpact):
    code, out, _ = crossimpact("doctor", "--home", settings.home, "--json")
    rows = {row["check"]: row for row in json.loads(out)["checks"]}
    wrong = {name for name, row in rows.items() if row["state"] == "wrong"}
    assert code == (1 if wrong else 0)
    (settings.home / "secrets" / "fernet").chmod(0o644)
    code, out, _ = crossimpact("doctor", "--home", settings.home)
    assert code == 1 and "secrets wrong" in " ".join(out.split())


def test_a_home_of_someone_else_is_told(settings, monkeypatch):
    owner = settings.home.stat().st_uid
    monkeypatch.setattr(machine.os, "getuid", lambda: owner + 1)
    assert examined(settings, "home")["home"].state == "warn"
