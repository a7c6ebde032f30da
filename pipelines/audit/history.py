"""The ledger of a home as relations, for the queries of `sql/audit`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import duckdb

from pipelines.audit.ledger import Ledger
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse, quoted, readable, sql

Row = dict[str, Any]


@contextmanager
def opened(settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that has `entries`, `judgements`, `audit_violations` and `history`.

    Raises
    ------
    UsageError
        When the home has no ledger.
    CrossImpactError
        When its ledger is damaged.
    """
    files = Ledger.of(settings).all_files()
    with Warehouse(settings).connect() as connection:
        listed = ", ".join(f"'{quoted(readable(path))}'" for path in files)
        connection.execute(
            f"CREATE VIEW entries AS SELECT * FROM read_parquet([{listed}],"
            " hive_partitioning = false)"
        )
        for name in ("judgements", "audit_violations", "history"):
            connection.execute(f"CREATE TABLE {name} AS {sql(f'audit/{name}')}")
        yield connection


def rows(
    connection: duckdb.DuckDBPyConnection, query: str, given: Mapping[str, Any] | None = None
) -> list[Row]:
    """A query's rows as plain data, moments in ISO 8601."""
    cursor = connection.execute(query, dict(given or {}))
    names = [name for name, *_ in cursor.description or ()]
    return [dict(zip(names, map(_plain, row), strict=True)) for row in cursor.fetchall()]


def asked(
    connection: duckdb.DuckDBPyConnection, name: str, given: Mapping[str, Any] | None = None
) -> list[Row]:
    """Rows of `sql/audit/<name>.sql`."""
    return rows(connection, sql(f"audit/{name}"), given)


def _plain(value: Any) -> Any:
    return value.isoformat(timespec="seconds") if isinstance(value, datetime) else value
