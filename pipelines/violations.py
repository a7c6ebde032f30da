"""Which landed rows break which rule: what a judgement notes, in its connection's table `found`.

Rules of the current day (`getvariable('day')`) are asked of the relations named as the tables are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import duckdb

from crossimpact import contract
from crossimpact.row_checks import row_checks
from pipelines.earlier import Earlier
from pipelines.store.warehouse import scalar, sql

#: Named parameters the checks may ask for.
PARAMETERS: Mapping[str, float] = {
    "max_snapshot_age_s": contract.MAX_SNAPSHOT_AGE_S,
    "max_fill_distance": contract.MAX_FILL_DISTANCE,
    "max_decision_distance": contract.MAX_DECISION_DISTANCE,
    "max_mark_distance": contract.MAX_MARK_DISTANCE,
    "max_overnight_distance": contract.MAX_OVERNIGHT_DISTANCE,
    "max_print_distance": contract.MAX_PRINT_DISTANCE,
    "max_overfill": contract.MAX_OVERFILL,
    "max_after_end_s": contract.MAX_AFTER_END_S,
    "max_mark_skew_s": contract.MAX_MARK_SKEW_S,
    "multiple_tolerance": contract.MULTIPLE_TOLERANCE,
}


@dataclass(frozen=True)
class Counts:
    """Rows of a table in quarantine, those that break a rule themselves, rows per rule."""

    quarantined: int = 0
    faults: int = 0
    rules: Mapping[str, int] = field(default_factory=dict)


class Violations:
    """The broken rows of the dates a connection has, by table, date, rule and place."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        for name in ("found", "broken_rows"):
            connection.execute(sql(f"validate/{name}"))
        _declare(connection)

    def note_row_rules(self, table: contract.Table) -> None:
        """The rules of a row, all in one pass; only what fails is looked at rule by rule."""
        checks = row_checks(table)
        any_broken = " OR ".join(f"({check.broken})" for check in checks)
        self._connection.execute(
            f"CREATE OR REPLACE TEMP TABLE suspects AS SELECT * FROM {table.name}"
            f" WHERE {any_broken}"
        )
        if not scalar(self._connection, "SELECT count(*) FROM suspects"):
            return
        each = ", ".join(
            f"CASE WHEN {c.broken} THEN {{'rule': '{c.rule}', 'severity': '{c.severity}'}} END"
            for c in checks
        )
        self._connection.execute(
            "INSERT INTO main.found SELECT $name, getvariable('day'), file, row, hit.rule,"
            f" hit.severity FROM (SELECT file, row, unnest([{each}]) AS hit FROM suspects)"
            " WHERE hit IS NOT NULL",
            {"name": table.name},
        )

    def note_duplicates(self, table: contract.Table, earlier: Earlier) -> None:
        """Later rows of a key, in file order; of a lasting key those of dates before it, too."""
        if not table.key:
            return
        columns = ", ".join(table.key)
        present = " AND ".join(f"{column} IS NOT NULL" for column in table.key)
        twice = (
            f"SELECT {columns} FROM {table.name} WHERE {present}"
            f" GROUP BY {columns} HAVING count(*) > 1"
        )
        offenders = []
        if self._connection.execute(f"{twice} LIMIT 1").fetchall():
            offenders.append(
                f"SELECT file, row FROM {table.name} WHERE {present} QUALIFY row_number()"
                f" OVER (PARTITION BY {columns} ORDER BY file, row) > 1"
            )
        if table.lasting:
            offenders.append(
                f"SELECT file, row FROM {table.name} SEMI JOIN earlier_keys"
                f" ON {earlier.key(table)} = earlier_keys.key"
                f" AND earlier_keys.table_name = '{table.name}' WHERE {present}"
            )
        if offenders:
            query = " UNION ".join(offenders)
            self.note(table.name, contract.UNIQUE_KEY, "quarantine", query)

    def any_refused(self) -> bool:
        """Whether any row is refused yet on which another could hang, of an earlier date's orders
        as well."""
        query = "SELECT EXISTS (FROM broken_rows) OR EXISTS (FROM earlier_parents WHERE is_refused)"
        return bool(scalar(self._connection, query))

    def note_rule(self, rule: contract.CrossRule) -> None:
        """The offenders of a rule across rows or tables, as its query finds them."""
        query = sql(f"checks/{rule.query or rule.id}")
        self.note(rule.table, rule.id, rule.severity, query)

    def note(self, table: str, rule_id: str, severity: str, query: str) -> None:
        """Add the rows of `query` (file, row) under a rule."""
        wanted = set(re.findall(r"\$(\w+)", query)) & PARAMETERS.keys()
        self._connection.execute(
            "INSERT INTO main.found"
            " SELECT $table_name, getvariable('day'), file, row, $rule_id, $severity"
            f" FROM (SELECT DISTINCT file, row FROM ({query})) AS offenders",
            {"table_name": table, "rule_id": rule_id, "severity": severity}
            | {name: PARAMETERS[name] for name in wanted},
        )

    def note_rows(self, table: str, rule: str, files: Sequence[str], rows: Sequence[int]) -> None:
        """Add rows by their places."""
        if rows:
            severity = _severity(table, rule)
            self._connection.execute(
                "INSERT INTO main.found SELECT $table, getvariable('day'), unnest($files),"
                " unnest($rows), $rule, $severity",
                {"table": table, "files": files, "rows": rows, "rule": rule, "severity": severity},
            )

    def counted(self) -> dict[str, Counts]:
        """Of the current day's tables with anything noted."""
        rows = self._connection.execute(sql("validate/row_counts")).fetchall()
        quarantined = {name: (int(all_), int(own)) for name, all_, own in rows}
        rules: dict[str, dict[str, int]] = {}
        for name, rule, count in self._connection.execute(sql("validate/rule_counts")).fetchall():
            rules.setdefault(name, {})[rule] = count
        return {
            name: Counts(*quarantined.get(name, (0, 0)), counts) for name, counts in rules.items()
        }

    def forget(self, date: str) -> None:
        """Nothing was noted of a date."""
        self._connection.execute(
            "DELETE FROM main.found WHERE date = CAST($d AS DATE)", {"d": date}
        )


def _severity(table: str, rule: str) -> str:
    found = (r.severity for r in contract.CROSS_RULES if (r.table, r.id) == (table, rule))
    return next(found, "quarantine")


def _declare(connection: duckdb.DuckDBPyConnection) -> None:
    """What a violation shows beside its place, by table and rule."""
    facts = [
        (table.name, check.rule, check.column, False, False)
        for table in contract.TABLES.values()
        for check in row_checks(table)
    ]
    facts += [
        (table.name, contract.UNIQUE_KEY, table.key[0], False, False)
        for table in contract.TABLES.values()
        if table.key
    ]
    facts += [(r.table, r.id, r.column, r.cascade, r.state) for r in contract.CROSS_RULES]
    connection.execute(
        "CREATE TABLE rule_facts"
        " (table_name VARCHAR, rule_id VARCHAR, shown VARCHAR, cascade BOOLEAN, state BOOLEAN)"
    )
    connection.executemany("INSERT INTO rule_facts VALUES (?, ?, ?, ?, ?)", facts)
