"""The platform's metrics: what they say of a home, that they are well named, and cheap."""

from __future__ import annotations

import io
import logging
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from crossimpact.errors import Unavailable, UsageError
from crossimpact.ladder import RUNGS
from crossimpact.release import ledger
from pipelines.monitoring import dag_runs, exporter
from pipelines.monitoring.exporter import Platform
from pipelines.monitoring.families import FAMILIES, Family, Sample
from pipelines.monitoring.home import Home
from pipelines.store.settings import Settings
from tests.pipelines.monitoring import home as desk
from tests.pipelines.monitoring.home import DATE, NOW, RELEASE

Numbers = dict[tuple[str, ...], float]


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What the exporter logs, whatever Airflow has done to all loggers of this process."""
    said = io.StringIO()
    log = logging.Logger("metrics")
    log.addHandler(logging.StreamHandler(said))
    monkeypatch.setattr(exporter, "LOG", log)
    return said


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return desk.made(tmp_path / "home")


@pytest.fixture(autouse=True)
def no_airflow(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in dag_runs.VARIABLES:
        monkeypatch.delenv(name, raising=False)


def read(settings: Settings, platform: Platform | None = None) -> Numbers:
    """Every number by name and labels."""
    found = (platform or Platform(settings, lambda: NOW)).read()
    return {(sample.family.name, *sample.labels): sample.value for sample in found}


def midnight(date: str) -> float:
    return datetime.fromisoformat(date).replace(tzinfo=UTC).timestamp()


def test_champion_its_expiry_and_rungs_are_told_by_regime(settings):
    desk.demote(settings, "normal", "self_only")
    found = read(settings)
    assert found["crossimpact_champion_info", RELEASE.id, "1"] == 1
    assert found["crossimpact_champion_promoted_timestamp_seconds",] == NOW.timestamp()
    for regime in ("normal", "stressed", "unknown"):
        as_of = found["crossimpact_champion_as_of_timestamp_seconds", regime]
        assert as_of == midnight(RELEASE.as_of)
        expires = found["crossimpact_champion_expires_timestamp_seconds", regime]
        assert expires - as_of == settings.policy.release.valid_for.total_seconds()
        rungs = [found["crossimpact_rung_in_force", regime, rung] for rung in RUNGS]
        assert sum(rungs) == 1
    assert found["crossimpact_rung_in_force", "normal", "self_only"] == 1
    assert found["crossimpact_rung_in_force", "stressed", "fixed_pov"] == 1
    assert found["crossimpact_regime_demoted", "normal"] == 1
    assert found["crossimpact_regime_demoted", "stressed"] == 0


def test_last_dates_rows_and_quarantine_share_are_the_manifests(settings):
    desk.publish(settings, "2026-02-06", landed=10, quarantined=0)
    found = read(settings)
    assert found["crossimpact_last_date_timestamp_seconds", "accepted"] == midnight(DATE)
    assert found["crossimpact_last_date_timestamp_seconds", "drift"] == midnight(DATE)
    assert ("crossimpact_last_date_timestamp_seconds", "tca") not in found
    assert found["crossimpact_landed_rows", "child_fills"] == 100
    assert found["crossimpact_accepted_rows", "child_fills"] == 97
    assert found["crossimpact_quarantine_ratio", "child_fills"] == pytest.approx(0.03)
    assert ("crossimpact_landed_rows", "instruments") not in found


def test_a_withdrawn_date_is_not_the_last_one(settings):
    folder = settings.home / "warehouse/accepted/child_fills"
    (folder / "date=2026-02-10").mkdir()  # blocked: its manifest was withdrawn
    assert read(settings)["crossimpact_last_date_timestamp_seconds", "accepted"] == midnight(DATE)


@pytest.mark.parametrize("verdict", ["ok", "watch", "refit", "demote"])
def test_the_last_verdict_of_drift_is_one_of_four(settings, verdict):
    desk.judge(settings, verdict, "2026-02-10")
    found = read(settings)
    names = [k for k in found if k[0] == "crossimpact_drift_verdict" and found[k]]
    assert names == [("crossimpact_drift_verdict", "normal", verdict)]


def forge(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"ann", b"bob"))


def behead(path: Path) -> None:
    path.with_name(path.name + ".head").unlink()


def garble(path: Path) -> None:
    path.with_name(path.name + ".head").write_text("{")


def append(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"{}\n")


@pytest.mark.parametrize("how", [forge, behead, garble, append])
def test_a_ledger_that_was_touched_is_told_at_the_next_reading(settings, how):
    platform = Platform(settings, lambda: NOW)
    before = read(settings, platform)
    assert before["crossimpact_ledger_whole",] == 1
    assert before["crossimpact_ledger_lines",] == 1
    how(settings.ledger_path)
    after = read(settings, platform)
    assert after["crossimpact_ledger_whole",] == 0
    assert after["crossimpact_reading_failed", "ledger"] == 0


def test_an_unchanged_ledger_and_release_are_read_once(settings, monkeypatch):
    reads: list[Path] = []
    verify = ledger.verify
    monkeypatch.setattr(ledger, "verify", lambda path: reads.append(path) or verify(path))
    home = Home(settings)
    for _ in range(3):
        assert list(home.ledger()) and list(home.champion())
    assert reads == [settings.ledger_path]
    desk.demote(settings, "normal", "fixed_pov")
    assert {s.family.name: s.value for s in home.ledger()}["crossimpact_ledger_lines"] == 2
    assert len(reads) == 2


def test_a_reading_opens_no_more_files_however_many_dates_there_are(settings):
    """Folders are listed; of thousands of manifests those of the last date are opened."""
    folder = settings.home / "warehouse/accepted/child_fills"
    for day in range(400):
        (folder / f"date={(NOW - timedelta(days=900 - day)).date()}").mkdir()
    opened: list[str] = []
    hook = [True]

    def count(event: str, args: tuple[object, ...]) -> None:
        if hook[0] and event == "open" and str(folder) in str(args[0]):
            opened.append(str(args[0]))

    home = Home(settings)
    sys.addaudithook(count)
    try:
        assert list(home.dates())
    finally:
        hook[0] = False
    assert len(opened) <= 2, opened


def test_a_part_that_cannot_be_read_is_named_and_the_others_are_told(settings, said):
    manifest = settings.home / "warehouse/accepted/child_fills" / f"date={DATE}" / "_manifest.json"
    manifest.write_text("{")
    platform = Platform(settings, lambda: NOW)
    found = [read(settings, platform), read(settings, platform)][-1]
    assert found["crossimpact_reading_failed", "dates"] == 1
    assert found["crossimpact_reading_failed", "champion"] == 0
    assert found["crossimpact_ledger_whole",] == 1
    assert said.getvalue().count("dates cannot be read") == 1


def test_an_empty_home_says_what_it_knows(tmp_path):
    found = read(Settings(tmp_path))
    assert {value for (name, *_), value in found.items() if name.endswith("_failed")} == {0.0}
    assert found["crossimpact_registry_up",] == 0
    assert ("crossimpact_champion_promoted_timestamp_seconds",) not in found
    assert found["crossimpact_home_free_bytes",] == pytest.approx(
        shutil.disk_usage(tmp_path).free, rel=0.05
    )


def test_a_registry_that_answers_and_one_that_does_not(settings, mlflow_tables, monkeypatch):
    (settings.home / "mlflow").mkdir()
    shutil.copy(mlflow_tables, settings.home / "mlflow" / "mlflow.db")
    assert read(settings)["crossimpact_registry_up",] == 1
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    assert read(settings)["crossimpact_registry_up",] == 0


# -- DAG runs --------------------------------------------------------------------------------------

TABLES = """
CREATE TABLE dag (dag_id, is_stale, is_paused, next_dagrun_create_after);
CREATE TABLE dag_run (id, dag_id, state, end_date);
CREATE TABLE deadline (dagrun_id, deadline_time, missed);
"""


def stored(moment: datetime) -> str:
    """As Airflow's columns of time are kept in SQLite."""
    return moment.strftime("%Y-%m-%d %H:%M:%S.%f")


@pytest.fixture
def airflow(settings: Settings) -> Iterator[sqlite3.Connection]:
    (settings.home / "airflow").mkdir()
    with closing(sqlite3.connect(settings.home / "airflow" / "airflow.db")) as db:
        db.executescript(TABLES)
        yield db


def test_late_missed_failed_and_overdue_runs(settings, airflow):
    hour = timedelta(hours=1)
    airflow.executemany(
        "INSERT INTO dag VALUES (?, 0, ?, ?)",
        [
            ("tca", 0, stored(NOW - hour)),
            ("refit", 1, stored(NOW - hour)),
            ("drift", 0, stored(NOW + hour)),
            ("asset", 0, None),
        ],
    )
    airflow.executemany(
        "INSERT INTO dag_run VALUES (?, ?, ?, ?)",
        [
            (1, "tca", "running", None),
            (2, "tca", "success", stored(NOW - 5 * hour)),
            (3, "tca", "failed", stored(NOW - 4 * hour)),
            (4, "refit", "queued", None),
            (5, "refit", "success", stored(NOW - hour)),
        ],
    )
    airflow.executemany(
        "INSERT INTO deadline VALUES (?, ?, ?)",
        [
            (1, stored(NOW - timedelta(seconds=1)), 1),
            (3, stored(NOW - 6 * hour), 1),
            (4, stored(NOW + timedelta(seconds=1)), 0),
        ],
    )
    airflow.commit()
    found = read(settings)
    assert found["crossimpact_airflow_up",] == 1
    assert found["crossimpact_dag_runs_late", "tca"] == 1
    assert found["crossimpact_dag_runs_late", "refit"] == 0
    assert found["crossimpact_dag_deadlines_missed", "tca"] == 2
    assert found["crossimpact_dag_last_run_failed", "tca"] == 1
    assert found["crossimpact_dag_last_run_failed", "refit"] == 0
    assert found["crossimpact_dag_runs", "tca", "running"] == 1
    assert found["crossimpact_dag_runs", "drift", "running"] == 0
    assert found["crossimpact_dag_overdue_seconds", "tca"] == 3600
    assert found["crossimpact_dag_overdue_seconds", "drift"] == 0
    assert found["crossimpact_dag_overdue_seconds", "asset"] == 0
    assert ("crossimpact_dag_overdue_seconds", "refit") not in found, "it is paused"
    success = found["crossimpact_dag_last_success_timestamp_seconds", "refit"]
    assert success == (NOW - hour).timestamp()


def test_airflows_database_is_never_written_to(settings, airflow):
    found = dag_runs.database(settings.home)
    assert found is not None
    with pytest.raises(Unavailable), found.connect() as connection:
        connection.exec_driver_sql("DELETE FROM dag")


def test_a_database_that_is_away_is_told_without_its_password(settings, monkeypatch, said):
    secret = "c4nary"  # noqa: S105
    address = f"postgresql+psycopg2://watch:{secret}@127.0.0.1:1/airflow"
    monkeypatch.setenv(dag_runs.VARIABLES[0], address)
    found = read(settings)
    assert found["crossimpact_airflow_up",] == 0
    assert found["crossimpact_reading_failed", "dag_runs"] == 0
    assert "127.0.0.1:1" in said.getvalue()
    assert secret not in said.getvalue()
    assert secret not in repr(dag_runs.Database(address))
    assert not any(name.startswith("crossimpact_dag_") for name, *_ in found)


# -- text form -------------------------------------------------------------------------------------


def lint(text: str) -> list[str]:
    """What Prometheus' own linter would say of names, help, types and units; its main rules."""
    problems = []
    for metric in text_string_to_metric_families(text):
        name = metric.name
        if not metric.documentation:
            problems.append(f"{name} has no help")
        if metric.type != "gauge":
            problems.append(f"{name} is a {metric.type}")
        if not re.fullmatch(r"crossimpact(_[a-z]+)+", name):
            problems.append(f"{name} is no name of ours")
        if re.search(r"_(total|count|sum|bucket|gauge|minutes|hours|days|ms|percent|kb)$", name):
            problems.append(f"{name} ends like another type, or in no base unit")
        if re.search(r"(time|size|age|free|share)$", name):
            problems.append(f"{name} has no unit")
    return problems


def test_metrics_are_named_as_prometheus_wants_them(settings, airflow, tmp_path):
    file = tmp_path / "metrics.prom"
    exporter.write(settings, file, lambda: NOW)
    assert lint(file.read_text()) == []
    assert lint("# TYPE crossimpact_champion_age gauge\ncrossimpact_champion_age 1\n")
    if promtool := shutil.which("promtool"):
        done = subprocess.run(
            [promtool, "check", "metrics"],
            input=file.read_bytes(),
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0 and not done.stdout + done.stderr, done.stdout + done.stderr


def test_a_family_and_its_labels_are_one_of_those_listed(settings, airflow):
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)
    for sample in Platform(settings, lambda: NOW).read():
        assert sample.family in FAMILIES
    with pytest.raises(ValueError, match="labels"):
        Sample(Family("crossimpact_x", "x", ("regime",)), 1.0)


def test_write_replaces_the_file_whole(settings, tmp_path, crossimpact):
    file = tmp_path / "metrics.prom"
    file.write_text("old")
    code, out, _ = crossimpact("metrics", "write", file, "--home", settings.home, "--json")
    assert code == 0 and '"lines"' in out
    assert file.read_text().startswith("# HELP crossimpact_build_info")
    assert sorted(tmp_path.iterdir()) == [settings.home, file]


def test_serve_answers_on_loopback_until_ended(settings):
    ended, port = threading.Event(), free_port()
    thread = threading.Thread(
        target=exporter.serve, args=(settings, "127.0.0.1", port, lambda: NOW, ended)
    )
    thread.start()
    try:
        text = fetch(f"http://127.0.0.1:{port}/metrics")
        assert "crossimpact_ledger_whole 1.0" in text
        with pytest.raises(UsageError, match=f"port {port} of 127.0.0.1 cannot be had"):
            exporter.serve(settings, "127.0.0.1", port, lambda: NOW, ended)
    finally:
        ended.set()
        thread.join(60)
    assert not thread.is_alive()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def fetch(url: str) -> str:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for _ in range(600):
        try:
            with direct.open(url, timeout=30) as answer:
                return str(answer.read().decode())
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"{url} does not answer")
