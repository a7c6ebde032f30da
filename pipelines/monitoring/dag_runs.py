"""DAG runs as Airflow's database has them, read only: states, ends, deadlines, what is overdue.

Airflow is not imported; the four questions go by its own indexes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from crossimpact.errors import Unavailable, UsageError
from pipelines.monitoring import families as told
from pipelines.monitoring.families import Sample

#: Where a monitor of its own login reads, else where Airflow itself does.
VARIABLES = ("CROSSIMPACT_AIRFLOW_DB", "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN")
TIMEOUT_S = 3
#: Runs past their deadline and not over, at most; more than these are as bad.
MOST_LATE = 1000
STATES = ("queued", "running", "success", "failed")

RUNS = "SELECT dag_id, state, count(*) FROM dag_run GROUP BY dag_id, state"
SUCCESS = "SELECT dag_id, max(end_date) FROM dag_run WHERE state = 'success' GROUP BY dag_id"
FAILURE = "SELECT dag_id, max(end_date) FROM dag_run WHERE state = 'failed' GROUP BY dag_id"
UNFINISHED = """
SELECT r.dag_id, d.deadline_time FROM deadline d JOIN dag_run r ON r.id = d.dagrun_id
WHERE r.state IN ('queued', 'running') ORDER BY d.deadline_time LIMIT :most
"""
MISSED = """
SELECT r.dag_id, count(*) FROM deadline d JOIN dag_run r ON r.id = d.dagrun_id
WHERE d.missed GROUP BY r.dag_id
"""
NEXT = "SELECT dag_id, next_dagrun_create_after FROM dag WHERE NOT is_stale AND NOT is_paused"
KNOWN = "SELECT dag_id FROM dag WHERE NOT is_stale"


@dataclass(frozen=True)
class Database:
    """Airflow's database; its address may hold a password and is shown without."""

    address: str

    def __repr__(self) -> str:
        return f"Database({self.shown})"

    @property
    def shown(self) -> str:
        """The address as it may be told."""
        try:
            return make_url(self.address).render_as_string(hide_password=True)
        except ArgumentError:
            return "an address that is none"

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """A connection that cannot write and waits for nothing long.

        Raises
        ------
        Unavailable
            When the database does not answer, or is not Airflow's.
        """
        try:
            engine = _engine(self.address)
            with engine.connect() as connection:
                if engine.dialect.name == "postgresql":
                    connection.execute(text("SET TRANSACTION READ ONLY"))
                    connection.execute(text(f"SET statement_timeout = '{TIMEOUT_S}s'"))
                yield connection
        except ArgumentError:
            raise UsageError(
                "Airflow's database has an address that is none", f"mend {VARIABLES[0]}"
            ) from None
        except (SQLAlchemyError, ImportError, OSError) as error:
            # What a driver says may repeat the address, so no more of it than its kind.
            cause = type(getattr(error, "orig", None) or error).__name__
            raise Unavailable(
                f"Airflow's database {self.shown} cannot be read ({cause})",
                "is it up, and the login known to it?",
            ) from None


def database(home: Path) -> Database | None:
    """Airflow's database of this environment, else of the home; None where there is neither."""
    for name in VARIABLES:
        if address := os.environ.get(name):
            return Database(address)
    file = home / "airflow" / "airflow.db"
    return Database(f"sqlite:///{file}") if file.exists() else None


def _engine(address: str) -> Engine:
    url = make_url(address)
    if url.get_backend_name() == "sqlite":
        url = make_url("sqlite://").set(
            database=f"file:{quote(url.database or '')}", query={"mode": "ro", "uri": "true"}
        )
        return create_engine(url, poolclass=NullPool, connect_args={"timeout": TIMEOUT_S})
    return create_engine(url, poolclass=NullPool, connect_args={"connect_timeout": TIMEOUT_S})


def samples(connection: Connection, now: datetime) -> Iterator[Sample]:
    """What the database says of every DAG it knows."""
    known = sorted(row[0] for row in connection.execute(text(KNOWN)))
    yield from _states(connection, known)
    yield from _ends(connection)
    late = dict.fromkeys(known, 0)
    for dag_id, deadline in connection.execute(text(UNFINISHED), {"most": MOST_LATE}):
        late[dag_id] = late.get(dag_id, 0) + (_moment(deadline) < now)
    yield from (told.DAG_LATE.of(count, dag_id) for dag_id, count in late.items())
    missed = dict.fromkeys(known, 0) | _pairs(connection, MISSED)
    yield from (told.DAG_MISSED.of(count, dag_id) for dag_id, count in missed.items())
    for dag_id, due in connection.execute(text(NEXT)):
        behind = (now - _moment(due)).total_seconds() if due else 0.0
        yield told.DAG_OVERDUE.of(max(behind, 0.0), dag_id)


def _states(connection: Connection, known: list[str]) -> Iterator[Sample]:
    counts = {(dag_id, state): 0 for dag_id in known for state in STATES}
    counts |= {(dag_id, state): n for dag_id, state, n in connection.execute(text(RUNS))}
    yield from (told.DAG_RUNS.of(n, *of) for of, n in counts.items())


def _ends(connection: Connection) -> Iterator[Sample]:
    good = {k: _moment(v) for k, v in _pairs(connection, SUCCESS).items() if v}
    bad = {k: _moment(v) for k, v in _pairs(connection, FAILURE).items() if v}
    for dag_id, end in good.items():
        yield told.DAG_SUCCESS.of(end.timestamp(), dag_id)
    for dag_id in sorted(good.keys() | bad.keys()):
        failed = dag_id in bad and (dag_id not in good or bad[dag_id] > good[dag_id])
        yield told.DAG_FAILED.of(failed, dag_id)


def _pairs(connection: Connection, query: str) -> dict[str, Any]:
    return {row[0]: row[1] for row in connection.execute(text(query))}


def _moment(value: datetime | str) -> datetime:
    """SQLite keeps moments as text without a zone; all of Airflow's are UTC."""
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
