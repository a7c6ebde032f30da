"""The service's first step, again at every start: databases, their users, tables, logins.

`python -m ops.stack.migrate`, with every password in the environment. Each part can be done again:
an interrupted one goes on, a changed password is taken over, and nothing is ever dropped.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import bcrypt
import psycopg2
from psycopg2 import sql
from psycopg2.extensions import encrypt_password

from crossimpact.errors import CrossImpactError, Unavailable
from ops.credentials import PLATFORM, ROLES
from ops.stack import secrets
from pipelines.store.settings import keep_private

HOST, PORT = "postgres", 5432
#: A database each, owned by a user of its name.
DATABASES = ("airflow", "celery", "mlflow", "mlflow_auth")
#: Who only looks at Airflow's runs, and at which tables: none that holds a secret.
READER, READS = "metrics", ("dag", "dag_run", "deadline", "job", "task_instance")
OLDEST = 130000
LOGINS = Path("/srv/logins/passwords.json")
WEB = Path("/srv/web/web.yml")
PATIENCE_S = 60.0


def main() -> int:
    try:
        values = dict(os.environ)
        needed = {name: n for name, n in secrets.NAMES.items() if name in NEEDED}
        secrets.refuse(list(secrets.problems(values, needed)))
        keep_private()
        make_databases(values)
        migrate_airflow()
        let_metrics_look(values)
        write_logins(values)
    except CrossImpactError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


NEEDED = {
    "POSTGRES_PASSWORD",
    *(f"{name.upper()}_DB_PASSWORD" for name in (*DATABASES, READER)),
    *(f"{name.upper()}_PASSWORD" for name in ROLES),
    "MLFLOW_PASSWORD",
    "PROMETHEUS_PASSWORD",
}


@contextmanager
def superuser(values: Mapping[str, str], database: str = "postgres") -> Iterator[Any]:
    """A cursor of PostgreSQL's superuser; statements take effect one by one.

    Raises
    ------
    Unavailable
        When nobody answers for a minute, or the password is another.
    """
    deadline = time.monotonic() + PATIENCE_S
    login = {"user": "postgres", "password": values["POSTGRES_PASSWORD"], "dbname": database}
    while True:
        try:
            connection = psycopg2.connect(host=HOST, port=PORT, connect_timeout=10, **login)
            break
        except psycopg2.OperationalError as error:
            reason = str(error).strip().splitlines()[-1]
            if "password authentication failed" in reason or time.monotonic() > deadline:
                raise Unavailable(
                    f"PostgreSQL at {HOST}:{PORT} does not let us in: {reason}",
                    "POSTGRES_PASSWORD is the one its volume was made with; see docs/service.md",
                ) from None
            time.sleep(1)
    with closing(connection):
        connection.autocommit = True
        with connection.cursor() as cursor:
            yield cursor


def make_databases(values: Mapping[str, str]) -> None:
    """A database and its owner for each tool, closed to everybody else."""
    with superuser(values) as cursor:
        refuse_odd_server(cursor)
        for name in (*DATABASES, READER):
            make_user(cursor, name, values[f"{name.upper()}_DB_PASSWORD"])
        for name in DATABASES:
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
            if cursor.fetchone() is None:
                cursor.execute(
                    sql.SQL(
                        "CREATE DATABASE {0} OWNER {0} ENCODING 'UTF8' TEMPLATE template0"
                    ).format(sql.Identifier(name))
                )
        for name in (*DATABASES, "postgres"):
            cursor.execute(
                sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name))
            )
    print(f"databases: {', '.join(DATABASES)}")


def refuse_odd_server(cursor: Any) -> None:
    """Stop at a server on which something would fail later, and worse.

    Raises
    ------
    CrossImpactError
        When it is too old, or its encoding is not UTF-8.
    """
    cursor.execute("SELECT current_setting('server_version_num')::int")
    (number,) = cursor.fetchone()
    if number < OLDEST:
        raise CrossImpactError(
            f"PostgreSQL {number // 10000} is too old, {OLDEST // 10000} is the oldest that serves",
            "move its data to a newer one with pg_dump and pg_restore",
        )
    cursor.execute(
        "SELECT datname, pg_encoding_to_char(encoding) FROM pg_database WHERE datname = ANY(%s)",
        [[*DATABASES, "postgres"]],
    )
    odd = {name: encoding for name, encoding in cursor.fetchall() if encoding != "UTF8"}
    if odd:
        told = ", ".join(f"{name} {encoding}" for name, encoding in sorted(odd.items()))
        raise CrossImpactError(
            f"databases in another encoding than UTF8: {told}; Airflow's scheduler dies of it",
            "make the cluster by `initdb --encoding=UTF8 --locale=C.UTF-8` and restore a dump",
        )


def make_user(cursor: Any, name: str, password: str) -> None:
    """A user who may nothing but log in, by this password from now on, which no log of a failed
    statement can hold."""
    cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name])
    verb = "CREATE" if cursor.fetchone() is None else "ALTER"
    cursor.execute(
        sql.SQL(
            verb + " ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD %s"
        ).format(sql.Identifier(name)),
        [encrypt_password(password, name, scope=cursor.connection, algorithm="scram-sha-256")],
    )


def migrate_airflow() -> None:
    """Make or upgrade Airflow's tables; one that was cut goes on where it stood."""
    done = subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], check=False)
    if done.returncode:
        raise CrossImpactError("Airflow's database could not be migrated, see above")


def let_metrics_look(values: Mapping[str, str]) -> None:
    """Let the exporter read Airflow's tables of runs, those alone."""
    with superuser(values, "airflow") as cursor:
        reader = sql.Identifier(READER)
        cursor.execute(sql.SQL("GRANT CONNECT ON DATABASE airflow TO {}").format(reader))
        cursor.execute(sql.SQL("GRANT USAGE ON SCHEMA public TO {}").format(reader))
        for table in READS:
            cursor.execute(
                sql.SQL("GRANT SELECT ON {} TO {}").format(sql.Identifier(table), reader)
            )


def write_logins(values: Mapping[str, str]) -> None:
    """Everybody's login: at Airflow, at MLflow, and Prometheus' one."""
    from registry import users

    people = {name: values[f"{name.upper()}_PASSWORD"] for name in ROLES}
    address = (
        f"postgresql+psycopg2://mlflow_auth:{values['MLFLOW_AUTH_DB_PASSWORD']}"
        f"@{HOST}:{PORT}/mlflow_auth"
    )
    users.admit(address, {PLATFORM: values["MLFLOW_PASSWORD"]}, admin=True)
    users.admit(address, people)
    replace(LOGINS, json.dumps(people), 0o600)
    hashed = bcrypt.hashpw(values["PROMETHEUS_PASSWORD"].encode(), bcrypt.gensalt(10)).decode()
    replace(WEB, f"basic_auth_users:\n  prometheus: {hashed}\n", 0o644)
    print(f"logins: {', '.join([*people, PLATFORM, 'prometheus'])}")


def replace(path: Path, text: str, mode: int) -> None:
    """The file's text from now on, whole at any moment."""
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    draft.write_text(text)
    draft.chmod(mode)
    draft.replace(path)


if __name__ == "__main__":
    raise SystemExit(main())
