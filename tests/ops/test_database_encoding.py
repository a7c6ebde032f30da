"""A real PostgreSQL: UTF8 is well, SQL_ASCII is wrong before anything dies of it; only read."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from crossimpact.errors import Unavailable
from ops import doctor
from pipelines.monitoring import dag_runs
from pipelines.store.settings import Settings
from tests.pipelines.monitoring.home import NOW
from tests.registry.servers import _free_port

SERVERS = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)
BIN = SERVERS[0].parent if SERVERS else None


@contextmanager
def postgres(encoding: str) -> Iterator[str]:
    """Address of a server on loopback whose databases keep text so; it does not run as root."""
    assert BIN is not None
    folder = Path(tempfile.mkdtemp(prefix="crossimpact-pg-"))
    other: list[str] = []
    if not os.getuid():
        other = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        os.chown(folder, 65534, 65534)
    data, port = folder / "data", _free_port()
    make = [BIN / "initdb", "-A", "trust", "-U", "airflow", "-E", encoding, "--locale=C", "-N"]
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    control = [*other, str(BIN / "pg_ctl"), "-D", str(data), "-w", "-t", "120"]

    def run(*words: str) -> None:
        subprocess.run(words, check=True, cwd="/", capture_output=True, timeout=300)

    try:
        run(*other, *map(str, make), "-D", str(data))
        run(*control, "-l", str(folder / "log"), "-o", options, "start")
        try:
            yield f"postgresql+psycopg2://airflow@127.0.0.1:{port}/postgres"
        finally:
            run(*control, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize(("encoding", "state"), [("SQL_ASCII", "wrong"), ("UTF8", "ok")])
def test_database_encoding(encoding, state, tmp_path, monkeypatch):
    pytest.importorskip("psycopg2", reason="the service's driver is not installed")
    if BIN is None:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    with postgres(encoding) as address:
        monkeypatch.setenv(dag_runs.VARIABLES[0], address)
        (found,) = doctor.examine(Settings(tmp_path), lambda: NOW, ["database"])
        with pytest.raises(Unavailable), dag_runs.Database(address).connect() as connection:
            connection.exec_driver_sql("CREATE TABLE written (by TEXT)")
    assert found.state == state, found
    assert encoding in found.found
    if state == "wrong":
        assert found.limit == "UTF8" and "initdb -E UTF8" in found.todo
