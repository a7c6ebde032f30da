"""Landed rows in DuckDB, the rules they break, and the three partitions a sound date becomes.

GX judges each table over all loaded dates at once (its cost is per rule, hardly per row); the rules
across tables then run date by date on views of the current day. They see what was *landed*, not
what was accepted, so that one broken row does not condemn its neighbours.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import duckdb

from crossimpact import contract
from crossimpact.errors import CrossImpactError
from pipelines.store.landing import Landing, Problem, create, load, relation
from pipelines.store.warehouse import Warehouse, scalar, sql

LAYERS = ("accepted", "quarantine", "violations")

#: Named parameters the checks may ask for.
PARAMETERS: Mapping[str, float] = {
    "max_snapshot_age_s": contract.MAX_SNAPSHOT_AGE_S,
    "max_fill_distance": contract.MAX_FILL_DISTANCE,
    "max_overfill": contract.MAX_OVERFILL,
}


class Judgement:
    """Everything known about the loaded dates, in one private DuckDB connection."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection
        for table in contract.TABLES.values():
            create(connection, table)
            connection.execute(
                f"CREATE VIEW {table.name} AS SELECT * EXCLUDE (date) FROM {relation(table)}"
                " WHERE date = getvariable('day')"
            )
        connection.execute(sql("validate/found"))
        connection.execute(sql("validate/violations"))

    def load(
        self, landing: Landing, tables: Iterable[str], date: str, known: Iterable[Problem] = ()
    ) -> list[Problem]:
        """Load a date's partitions; on a problem, a `known` one too, no row of the date stays.

        All of a date's problems are told at once: a table that is not there does not hide the
        broken columns of another.
        """
        tables = list(tables)
        problems = list(known)
        for name in tables:
            problems += load(self.connection, landing, contract.TABLES[name], date)
        broken = {problem.table for problem in problems}
        problems += [
            problem for problem in self._empty(tables, date) if problem.table not in broken
        ]
        if problems:
            for name in tables:
                table = relation(contract.TABLES[name])
                self.connection.execute(f"DELETE FROM {table} WHERE date = $date", {"date": date})
        return problems

    def _empty(self, tables: list[str], date: str) -> list[Problem]:
        """Empty partitions that may not be: eventful ones may, the desk's on a day without any."""
        self._set_day(date)
        rows = {name: self._count(name) for name in tables}
        idle = not any(rows.get(name) for name in contract.DESK_TABLES)
        return [
            Problem(name, date, "", contract.ROW_COUNT, "the partition holds no rows")
            for name in tables
            if not rows[name]
            and not contract.TABLES[name].eventful
            and not (idle and name in contract.DESK_TABLES)
        ]

    def judge_tables(self) -> None:
        """Run every table's GX suite on all loaded dates and note the rows that break a rule."""
        from expectations.gx_runner import (
            Judge,  # seconds of imports that a known date need not pay
        )

        judge = Judge(self.connection)
        for table in contract.TABLES.values():
            if not scalar(self.connection, f"SELECT count(*) FROM {relation(table)}"):
                continue
            for finding in judge.findings(table, relation(table)):
                if finding.blocks:  # the loader has already refused such partitions
                    raise CrossImpactError(f"{table.name}: {finding.rule_id} fails after loading")
                self._note(table.name, finding.rule_id, "quarantine", finding.query)
        self.connection.execute(sql("validate/uncast_is_not_missing"))

    def judge_day(self, date: str) -> None:
        """Make `date` the current day and run the rules across its tables."""
        self._set_day(date)
        for rule in contract.CROSS_RULES:  # each sees what those before it condemned
            self.connection.execute(sql("validate/broken_rows"))
            query = sql(f"checks/{rule.id}")
            rows = f"SELECT CAST(getvariable('day') AS DATE) AS date, * FROM ({query})"
            self._note(rule.table, rule.id, rule.severity, rows)

    def counts(self, name: str) -> dict[str, Any]:
        """Rows landed, accepted, quarantined, and per rule, of a table on the current day."""
        table = contract.TABLES[name]
        landed = self._count(name)
        accepted = self._count(f"({_accepted(table)})")
        quarantined = self._count(f"({_quarantined(table)})")
        if landed != accepted + quarantined:
            raise CrossImpactError(
                f"{name}: {landed} rows landed, {accepted} accepted + {quarantined} quarantined"
            )
        rules = self.connection.execute(sql("validate/rule_counts"), {"table_name": name})
        rows = {"landed": landed, "accepted": accepted, "quarantined": quarantined}
        return {"rows": rows, "rules": dict(rules.fetchall())}

    def publish(
        self,
        warehouse: Warehouse,
        name: str,
        date: str,
        inputs: Mapping[str, str],
        counts: Mapping[str, Any],
    ) -> None:
        """Publish a table's three partitions of the current day."""
        table = contract.TABLES[name]
        queries = (_accepted(table), _quarantined(table), _violations(table))
        for layer, query in zip(LAYERS, queries, strict=True):
            warehouse.publish(
                self.connection, query, layer, name, date, inputs=inputs, extra=counts
            )

    def _set_day(self, date: str) -> None:
        self.connection.execute("SET VARIABLE day = CAST($date AS DATE)", {"date": date})

    def _count(self, source: str) -> int:
        return int(scalar(self.connection, f"SELECT count(*) FROM {source}"))

    def _note(self, table: str, rule_id: str, severity: str, query: str) -> None:
        """Add the rows of `query` (date, file, row) to `found` under a rule."""
        wanted = set(re.findall(r"\$(\w+)", query)) & PARAMETERS.keys()
        self.connection.execute(
            "INSERT INTO found SELECT $table_name, date, file, row, $rule_id, $severity"
            f" FROM ({query}) AS offenders",
            {"table_name": table, "rule_id": rule_id, "severity": severity}
            | {name: PARAMETERS[name] for name in wanted},
        )


def _accepted(table: contract.Table) -> str:
    columns = ", ".join(table.column_names)
    order = ", ".join((*table.key, "file", "row"))
    return (
        f"SELECT {columns} FROM {table.name} ANTI JOIN ({_condemned(table)}) USING (file, row)"
        f" ORDER BY {order}"
    )


def _quarantined(table: contract.Table) -> str:
    """One line per quarantined row: where, key, rules, and the row as landed (JSON of texts)."""
    cells = ", ".join(f"'{name}': CAST({name} AS VARCHAR)" for name in table.column_names)
    return (
        f"SELECT file, row, {_key(table)} AS key, rules,"
        f" coalesce({contract.UNCAST}, CAST(to_json({{{cells}}}) AS VARCHAR)) AS record"
        f" FROM {table.name} INNER JOIN ({_condemned(table)}) USING (file, row)"
        " ORDER BY file, row"
    )


def _violations(table: contract.Table) -> str:
    return (
        f"SELECT file, row, {_key(table)} AS key, rule_id, severity FROM {table.name}"
        f" INNER JOIN (SELECT * FROM violations WHERE table_name = '{table.name}')"
        " USING (file, row) ORDER BY file, row, rule_id"
    )


def _condemned(table: contract.Table) -> str:
    return (
        "SELECT file, row, list(DISTINCT rule_id ORDER BY rule_id) AS rules FROM violations"
        f" WHERE table_name = '{table.name}' AND severity = 'quarantine' GROUP BY file, row"
    )


def _key(table: contract.Table) -> str:
    """The id columns joined by `|`; times in ISO 8601, a missing cell empty."""
    types = {column.name: column.type for column in table.columns}

    def text(name: str) -> str:
        iso = f"strftime({name}, '%Y-%m-%dT%H:%M:%S.%fZ')"
        return f"coalesce({iso if types[name] == 'ts' else name}, '')"

    return " || '|' || ".join(map(text, table.key)) or "''"
