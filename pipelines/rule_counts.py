"""GX over the counts of every rule: one line a date, one question a table."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from crossimpact import contract
from crossimpact.errors import CrossImpactError
from pipelines.store.warehouse import scalar


def judge_counts(connection: duckdb.DuckDBPyConnection, dates: Sequence[str]) -> None:
    """Let GX judge what was noted of `dates`, whose relations are in schemas of their names.

    Raises
    ------
    CrossImpactError
        When a count could not be judged, or GX finds other rules broken than were noted.
    """
    if not dates:
        return
    from expectations.gx_runner import Judge  # seconds of imports that a known date need not pay

    judge = Judge(connection)
    for table in contract.TABLES.values():
        _count(connection, table, dates)
        broken = judge.broken(table, f"counts_{table.name}")
        noted = connection.execute(
            "SELECT DISTINCT rule_id FROM main.found WHERE table_name = $name",
            {"name": table.name},
        ).fetchall()
        if {rule for (rule,) in noted} != broken:
            raise CrossImpactError(
                f"{table.name}: GX finds {sorted(broken)} broken, noted are {sorted(noted)}"
            )


def _count(
    connection: duckdb.DuckDBPyConnection, table: contract.Table, dates: Sequence[str]
) -> None:
    from expectations.suites import DATE, LANDED, count_column, rules

    counts = ", ".join(
        f"count(*) FILTER (WHERE rule_id = '{rule}') AS {count_column(rule)}"
        for rule in rules(table)
    )
    rows = (int(scalar(connection, f'SELECT count(*) FROM "{d}".{table.name}')) for d in dates)
    lines = ", ".join(f"(DATE '{d}', {n})" for d, n in zip(dates, rows, strict=True))
    connection.execute(
        f"CREATE OR REPLACE TABLE main.counts_{table.name} AS"
        f" SELECT lines.{DATE}, any_value(lines.{LANDED}) AS {LANDED}, {counts}"
        f" FROM (VALUES {lines}) AS lines ({DATE}, {LANDED}) LEFT JOIN main.found AS found"
        f" ON found.date = lines.{DATE} AND found.table_name = '{table.name}'"
        f" GROUP BY lines.{DATE}"
    )
