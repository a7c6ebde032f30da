"""Background processes end with all their descendants, and nobody else's; ports and secrets."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from crossimpact.errors import UsageError
from ops import credentials, serve
from ops.processes import Process, choose_port, port_free, tail


@pytest.fixture
def family(tmp_path):
    """A parent that waits for a child that waits for input that never comes."""
    read, write = os.pipe()
    os.set_inheritable(read, True)
    script = (
        "import subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', 'import os; os.read({read}, 1)'],"
        f" pass_fds=[{read}])\n"
        "print('ready', flush=True); child.wait()"
    )
    process = Process("family", tmp_path)
    process.start([sys.executable, "-c", script], dict(os.environ), pass_fds=[read])
    os.close(read)
    while "ready" not in process.log.read_text():
        assert process.members()
    yield process
    process.stop()
    os.close(write)


def test_stop_ends_the_descendants_too_and_is_idempotent(family):
    pids = [member.pid for member in family.members()]
    assert len(pids) == 2
    assert family.stop()
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert not family.pid_file.exists()
    assert not family.stop()


def test_orphans_of_a_killed_leader_are_still_found(family):
    leader = json.loads(family.pid_file.read_text())["pid"]
    psutil.Process(leader).kill()
    psutil.wait_procs([psutil.Process(leader)], timeout=10)
    assert [member.pid for member in family.members()] != []
    assert family.leader() is None
    assert family.stop()
    assert family.members() == []


def test_a_recycled_pid_is_left_alone(tmp_path):
    """A pid file whose pid now leads somebody else's session names nobody."""
    stranger = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True
    )
    process = Process("ours", tmp_path)
    process.pid_file.parent.mkdir()
    process.pid_file.write_text(json.dumps({"pid": stranger.pid, "born": 1.0}))
    assert process.members() == []
    assert not process.stop()
    assert stranger.poll() is None
    stranger.communicate(b"\n")


def test_a_taken_port_is_not_free_and_the_next_one_is_chosen(monkeypatch):
    monkeypatch.delenv("SOME_PORT", raising=False)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert not port_free(port)
        assert choose_port("SOME_PORT", port) > port
        monkeypatch.setenv("SOME_PORT", str(port))
        with pytest.raises(UsageError, match=f"{port} is not free; set SOME_PORT"):
            choose_port("SOME_PORT", port)
    assert port_free(port)


def test_secrets_are_private_stable_and_different(tmp_path):
    folder = tmp_path / "secrets"
    path, fresh = credentials.passwords(folder)
    assert set(fresh) == set(credentials.ROLES)
    assert len(set(fresh.values())) == len(fresh)
    assert credentials.passwords(folder) == (path, {})
    first, again = credentials.airflow_secrets(folder), credentials.airflow_secrets(folder)
    assert first == again
    assert len(set(first.values())) == len(first)
    for file in folder.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_only_the_mlflow_server_is_told_its_keys(tmp_path):
    server, airflow = serve.mlflow_environment(tmp_path), serve.environment(tmp_path)
    login = credentials.mlflow_login(tmp_path / "secrets")
    assert login.items() <= airflow.items()
    assert server["MLFLOW_AUTH_ADMIN_PASSWORD"] == login["MLFLOW_TRACKING_PASSWORD"]
    assert "MLFLOW_FLASK_SERVER_SECRET_KEY" not in airflow
    assert not {name for name in server if name.startswith("AIRFLOW__API")} - set(os.environ)
    command = serve.commands(tmp_path)["mlflow"]
    assert command[command.index("--app-name") + 1] == "crossimpact"
    told = " ".join(word for words in serve.commands(tmp_path).values() for word in words)
    settings = (tmp_path / "secrets" / "mlflow.ini").read_text()
    assert login["MLFLOW_TRACKING_PASSWORD"] not in told + settings


def test_a_shell_reads_the_login_from_a_private_file(tmp_path):
    serve.write_login(tmp_path)
    path = serve.login_file(tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    said = subprocess.run(
        ["sh", "-c", f". '{path}'; env"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    login = credentials.mlflow_login(tmp_path / "secrets")
    for name, value in {"MLFLOW_TRACKING_URI": serve.urls(tmp_path)["mlflow"], **login}.items():
        assert f"{name}={value}" in said
    serve.down(tmp_path)
    assert not path.exists()


def test_the_fernet_key_is_one(tmp_path):
    from cryptography.fernet import Fernet

    key = credentials.airflow_secrets(tmp_path)["AIRFLOW__CORE__FERNET_KEY"].encode()
    assert Fernet(key).decrypt(Fernet(key).encrypt(b"x")) == b"x"


def test_every_address_is_loopback(tmp_path):
    env = serve.environment(tmp_path)
    assert env["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert env["MLFLOW_TRACKING_URI"].startswith("http://127.0.0.1:")
    assert env["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"].startswith(env["AIRFLOW__API__BASE_URL"])
    command = serve.commands(tmp_path)["mlflow"]
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert "--skip-serve-logs" in serve.commands(tmp_path)["scheduler"]


def test_down_names_everything_it_stopped(tmp_path, capsys):
    wait = [sys.executable, "-c", "import signal; signal.pause()"]
    for name in serve.COMPONENTS:
        Process(name, tmp_path).start(wait, dict(os.environ))
    assert serve.main(["down", "--home", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"stopped: {', '.join(serve.COMPONENTS)}\n"


def test_down_of_what_never_ran_is_fine_and_its_status_is_not_well(tmp_path, capsys):
    assert serve.main(["down", "--home", str(tmp_path)]) == 0
    assert serve.main(["status", "--home", str(tmp_path)]) == 1
    assert capsys.readouterr().out == "nothing is running\n" * 2


def test_up_starts_again_what_died_although_its_children_live_on(tmp_path, monkeypatch, capsys):
    """The commands stand in for the servers, which say that they are well."""
    child = "import subprocess, sys, signal; subprocess.Popen([sys.executable, '-c', {0!r}]); {0}"
    wait = [sys.executable, "-c", child.format("import signal; signal.pause()")]
    monkeypatch.setattr(serve, "migrate", lambda home, env: None)
    monkeypatch.setattr(serve, "health", lambda home: dict.fromkeys(serve.COMPONENTS, True))
    monkeypatch.setattr(serve, "commands", lambda home: dict.fromkeys(serve.COMPONENTS, wait))
    try:
        assert serve.main(["up", "--home", str(tmp_path)]) == 0
        scheduler, mlflow = Process("scheduler", tmp_path), Process("mlflow", tmp_path)
        while len(scheduler.members()) < 2:
            assert scheduler.leader()
        dead, orphan = scheduler.members()
        kept = mlflow.leader()
        dead.kill()
        psutil.wait_procs([dead], timeout=30)
        assert scheduler.members() == [orphan]
        capsys.readouterr()
        assert serve.main(["status", "--home", str(tmp_path)]) == 1
        assert "scheduler dead" in capsys.readouterr().out
        assert serve.main(["up", "--home", str(tmp_path)]) == 0
        assert "started again: scheduler\n" in capsys.readouterr().out
        assert not psutil.pid_exists(orphan.pid) and mlflow.leader() == kept
        assert serve.main(["status", "--home", str(tmp_path)]) == 0
    finally:
        serve.main(["down", "--home", str(tmp_path)])


def test_a_component_that_is_not_well_makes_status_and_up_fail(tmp_path, monkeypatch, capsys):
    wait = [sys.executable, "-c", "import signal; signal.pause()"]
    ill = dict.fromkeys(serve.COMPONENTS, True) | {"scheduler": False}
    monkeypatch.setattr(serve, "health", lambda home: ill)
    for name in serve.COMPONENTS:
        Process(name, tmp_path).start(wait, dict(os.environ))
    try:
        for action in ("status", "up"):
            assert serve.main([action, "--home", str(tmp_path)]) == 1
            assert "scheduler NOT ok" in capsys.readouterr().out
    finally:
        serve.main(["down", "--home", str(tmp_path)])


@pytest.mark.parametrize("name", ["MLFLOW", "AIRFLOW"])
def test_a_taken_port_is_told_before_a_password_is_made(tmp_path, monkeypatch, capsys, name):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setenv(f"CROSSIMPACT_{name}_PORT", str(port))
        assert serve.main(["up", "--home", str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert f"port {port} is not free" in said.err and said.out == ""
    assert not (tmp_path / "secrets").exists()


def test_a_component_that_dies_at_start_is_named_with_its_log(tmp_path, monkeypatch, capsys):
    """And what had started is stopped again."""
    monkeypatch.setattr(serve, "migrate", lambda home, env: None)
    wait = [sys.executable, "-c", "import signal; signal.pause()"]
    die = [sys.executable, "-c", "raise SystemExit('cannot open the book')"]
    monkeypatch.setattr(
        serve, "commands", lambda home: {**dict.fromkeys(serve.COMPONENTS, wait), "scheduler": die}
    )
    assert serve.main(["up", "--home", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert "scheduler ended during its start" in error
    assert "cannot open the book" in error
    assert str(tmp_path / "logs" / "scheduler.log") in error
    assert not any(Process(name, tmp_path).members() for name in serve.COMPONENTS)


def test_tail_is_the_end(tmp_path):
    path = tmp_path / "log"
    path.write_text("a\nb\nc\n")
    assert tail(path, 2) == "b\nc"


def test_a_process_that_ends_while_members_are_listed_is_no_member(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = Process("one", tmp_path)
    process.start(["sleep", "100"], {})
    ended = subprocess.Popen(["sleep", "100"])
    gone = psutil.Process(ended.pid)
    ended.kill()
    ended.wait()
    (leader,) = process.members()
    monkeypatch.setattr(psutil, "process_iter", lambda: iter([gone, leader]))
    monkeypatch.setattr("ops.processes.session", lambda pid: leader.pid)
    assert process.members() == [leader]
    monkeypatch.undo()
    process.stop()
