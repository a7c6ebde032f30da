"""The service's databases on a real PostgreSQL: made, made again, closed to others; odd ones."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg2
import pytest

from crossimpact.errors import CrossImpactError, Unavailable
from ops.processes import choose_port
from ops.stack import migrate, secrets

BIN = sorted(p.parent for p in Path("/usr/lib/postgresql").glob("*/bin/initdb"))
VALUES = secrets.generate()

pytestmark = pytest.mark.skipif(
    not BIN or os.geteuid() != 0, reason="takes root and Debian's package postgresql"
)


@contextmanager
def cluster(folder: Path, *how: str) -> Iterator[None]:
    """A PostgreSQL of its own on loopback, run by nobody."""
    port = choose_port("CROSSIMPACT_TEST_POSTGRES", 25432)
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    (folder / "password").write_text(VALUES["POSTGRES_PASSWORD"])
    for path in (folder, folder / "password"):
        os.chown(path, 65534, 65534)
    made = ["--username=postgres", "--auth=scram-sha-256", f"--pwfile={folder}/password", *how]
    run = {"cwd": folder, "check": True, "capture_output": True}
    data = str(folder / "data")
    subprocess.run([*nobody, str(BIN[-1] / "initdb"), "--no-sync", "-D", data, *made], **run)
    settings = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -F"
    control = [*nobody, str(BIN[-1] / "pg_ctl"), "-D", data, "-w", "-l", f"{folder}/log"]
    subprocess.run([*control, "-o", settings, "start"], **run)
    patch = pytest.MonkeyPatch()
    patch.setattr(migrate, "HOST", "127.0.0.1")
    patch.setattr(migrate, "PORT", port)
    try:
        yield
    finally:
        patch.undo()
        subprocess.run([*control, "-m", "immediate", "stop"], **run)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where nobody can go."""
    made = Path("/tmp") / f"crossimpact-postgres-{os.getpid()}"
    made.mkdir()
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


def connect(user: str, password: str, database: str) -> None:
    login = {"user": user, "password": password, "dbname": database}
    with closing(psycopg2.connect(host=migrate.HOST, port=migrate.PORT, **login)):
        pass


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[None]:
    (folder / "utf8").mkdir()
    with cluster(folder / "utf8", "--encoding=UTF8", "--locale=C.UTF-8"):
        yield


def test_each_user_has_its_database_and_no_other(server) -> None:
    migrate.make_databases(VALUES)
    for name in migrate.DATABASES:
        connect(name, VALUES[f"{name.upper()}_DB_PASSWORD"], name)
        others = {*migrate.DATABASES, "postgres"} - {name}
        for other in others:
            with pytest.raises(psycopg2.OperationalError, match="permission denied"):
                connect(name, VALUES[f"{name.upper()}_DB_PASSWORD"], other)
    with migrate.superuser(VALUES) as cursor:
        cursor.execute(
            "SELECT rolname FROM pg_roles WHERE (rolsuper OR rolcreatedb OR rolcreaterole "
            "OR rolreplication) AND rolname !~ '^pg_'"
        )
        assert [row[0] for row in cursor.fetchall()] == ["postgres"]


def test_what_was_cut_goes_on_and_a_changed_password_is_taken_over(server) -> None:
    with migrate.superuser(VALUES) as cursor:
        cursor.execute("DROP DATABASE IF EXISTS mlflow")
    changed = {**VALUES, "CELERY_DB_PASSWORD": secrets.generate()["CELERY_DB_PASSWORD"]}
    migrate.make_databases(changed)
    connect("mlflow", VALUES["MLFLOW_DB_PASSWORD"], "mlflow")
    connect("celery", changed["CELERY_DB_PASSWORD"], "celery")
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        connect("celery", VALUES["CELERY_DB_PASSWORD"], "celery")


def test_another_superusers_password_says_what_it_is(server) -> None:
    other = {**VALUES, "POSTGRES_PASSWORD": "another-one"}
    with (
        pytest.raises(Unavailable, match="does not let us in") as refused,
        migrate.superuser(other),
    ):
        pass
    assert "the one its volume was made with" in str(refused.value)
    assert "another-one" not in str(refused.value)


def test_a_cluster_in_another_encoding_is_refused_before_anything_is_made(folder) -> None:
    (folder / "ascii").mkdir()
    with cluster(folder / "ascii", "--encoding=SQL_ASCII", "--locale=C"):
        with pytest.raises(
            CrossImpactError, match="another encoding than UTF8: postgres SQL_ASCII"
        ):
            migrate.make_databases(VALUES)
        with migrate.superuser(VALUES) as cursor:
            cursor.execute("SELECT count(*) FROM pg_roles WHERE rolname = 'airflow'")
            assert cursor.fetchone() == (0,)


def test_an_old_server_is_refused(server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrate, "OLDEST", 990000)
    with pytest.raises(CrossImpactError, match="is too old, 99 is the oldest"):
        migrate.make_databases(VALUES)


def test_weak_secrets_are_refused_before_any_connection(monkeypatch, capsys) -> None:
    for name in migrate.NEEDED:
        monkeypatch.setenv(name, VALUES[name])
    monkeypatch.setenv("AUDITOR_PASSWORD", "changeme")
    monkeypatch.setattr(migrate, "superuser", pytest.fail)
    assert migrate.main() == 2
    assert "AUDITOR_PASSWORD has 8 characters" in capsys.readouterr().err
