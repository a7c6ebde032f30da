"""What was landed on the trading dates before: orders a fill may still name, ids that are taken.

Taken from the landing zone, never from what a home holds, so the verdict on a date is the same
whichever dates are asked. A date that cannot be read says nothing.
"""

from __future__ import annotations

import duckdb

from crossimpact import contract
from crossimpact.row_checks import row_checks
from pipelines.store.landed import attach
from pipelines.store.landing import Landing
from pipelines.store.warehouse import quoted, scalar, text_sha256

LASTING = tuple(table for table in contract.TABLES.values() if table.lasting)
_SCHEMA = "earlier"


def dates_before(landing: Landing, date: str, count: int) -> list[str]:
    """The last `count` landed dates before `date`, ascending."""
    return [other for other in landing.all_dates() if other < date][-count:]


def digest(landing: Landing, date: str) -> str:
    """What the verdict on a date depends on beside its own files."""
    before = dates_before(landing, date, max(contract.ID_DATES, contract.TRAILING_DATES))
    named = landing.root / "calendar.toml"
    said = named.read_text() if named.is_file() else ""
    return text_sha256(said, *(landing.digest(t, d) for d in before for t in contract.TABLES))


class Earlier:
    """Orders and ids of earlier dates, each date read once a connection."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, landing: Landing) -> None:
        self._connection, self._landing = connection, landing
        self._read: set[str] = set()
        parents = ", ".join(
            f"{c.name} {contract.SQL_TYPE[c.type]}" for c in contract.PARENT_ORDERS.columns
        )
        connection.execute(
            f"CREATE TABLE main.parents_read (date DATE, file VARCHAR, row BIGINT, {parents},"
            " is_refused BOOLEAN)"
        )
        connection.execute(
            "CREATE TABLE main.keys_read (date DATE, table_name VARCHAR, key UBIGINT)"
        )
        connection.execute(
            "CREATE TABLE main.fills_read (date DATE, order_id VARCHAR, filled_qty DOUBLE)"
        )

    def key(self, table: contract.Table) -> str:
        """A key of `table` as one number."""
        return f"hash({', '.join(table.key)})"

    def attach(self, date: str) -> None:
        """Make `earlier_parents`, `earlier_keys` and `filled_before` those of a date."""
        before = dates_before(self._landing, date, max(contract.ID_DATES, contract.PARENT_DATES))
        for other in before:
            self._once(other)
        for name, source, count in (
            ("earlier_parents", "parents_read", contract.PARENT_DATES),
            ("earlier_keys", "keys_read", contract.ID_DATES),
        ):
            self._view(name, f"SELECT * FROM main.{source}", before[-count:])
        self._view(
            "earlier_fills", "SELECT * FROM main.fills_read", before[-contract.PARENT_DATES :]
        )
        self._connection.execute(
            "CREATE OR REPLACE VIEW filled_before AS SELECT order_id, sum(filled_qty) AS filled_qty"
            " FROM earlier_fills GROUP BY order_id"
        )

    def _view(self, name: str, query: str, dates: list[str]) -> None:
        wanted = ", ".join(f"DATE '{date}'" for date in dates) or "NULL"
        self._connection.execute(
            f"CREATE OR REPLACE VIEW {name} AS {query} WHERE date IN ({wanted})"
        )

    def _once(self, date: str) -> None:
        if date in self._read:
            return
        self._read.add(date)
        path = scalar(self._connection, "SELECT current_setting('search_path')")
        self._connection.execute(
            f"CREATE OR REPLACE SCHEMA {_SCHEMA}; SET search_path = '{_SCHEMA},main'"
        )
        try:
            for table in LASTING:
                if self._landing.files(table.name, date) and not (
                    attach(self._connection, self._landing, table, date, eager=False).problems
                ):
                    self._keep(table, date)
        except duckdb.Error:  # it does not read to its end, and blocks its own date
            pass
        finally:
            self._connection.execute(f"SET search_path = '{quoted(path)}'")
            self._connection.execute(f"DROP SCHEMA {_SCHEMA} CASCADE")

    def _keep(self, table: contract.Table, date: str) -> None:
        present = " AND ".join(f"{column} IS NOT NULL" for column in table.key)
        self._connection.execute(
            f"INSERT INTO main.keys_read SELECT DISTINCT DATE '{date}', '{table.name}',"
            f" {self.key(table)} FROM {table.name} WHERE {present}"
        )
        if table.name == contract.PARENT_ORDERS.name:
            own = (c.broken for c in row_checks(table) if c.rule != contract.DATE_IN_PARTITION)
            broken = " OR ".join(f"({condition})" for condition in own)
            columns = ", ".join(table.column_names)
            self._connection.execute(
                f"INSERT INTO main.parents_read SELECT DATE '{date}', file, row, {columns},"
                f" coalesce({broken}, false) FROM {table.name}"
            )
        if table.name == contract.CHILD_FILLS.name:
            self._connection.execute(
                f"INSERT INTO main.fills_read SELECT DATE '{date}', order_id, sum(fill_qty)"
                f" FROM (SELECT DISTINCT ON ({', '.join(table.key)}) * FROM {table.name}"
                " WHERE isfinite(fill_qty) AND fill_qty > 0 AND coalesce(exec_type, 'NEW') = 'NEW')"
                " GROUP BY order_id"
            )
