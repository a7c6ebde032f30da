"""Rows that break a rule and are accepted anyway, because somebody answers for them.

They stay among the violations, with the severity `waived`; the rules judged after see them as
accepted rows, so nothing that hangs on them is refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import duckdb

from crossimpact import contract
from crossimpact.waiver import Waiver
from pipelines.findings import Finding

WAIVED = "waived"


def waive(connection: duckdb.DuckDBPyConnection, waivers: Iterable[Waiver], rule: str = "") -> None:
    """Let go of the current day's rows that `waivers` cover (of one rule, or of all noted yet)."""
    for waiver in waivers:
        if rule in ("", waiver.rule):
            connection.execute(
                f"UPDATE main.found SET severity = '{WAIVED}' WHERE date = getvariable('day')"
                " AND table_name = $table AND rule_id = $rule AND severity = 'quarantine'"
                f"{_of_names(waiver)}",
                {"table": waiver.table, "rule": waiver.rule}
                | ({"symbols": list(waiver.symbols)} if waiver.symbols else {}),
            )


def _of_names(waiver: Waiver) -> str:
    if not waiver.symbols:
        return ""
    if contract.TABLES[waiver.table].has("symbol"):
        rows = f"SELECT (file, row) FROM {waiver.table} WHERE list_contains($symbols, symbol)"
    else:
        rows = (
            f"SELECT (file, row) FROM {waiver.table} INNER JOIN orders USING (order_id)"
            " WHERE list_contains($symbols, orders.symbol)"
        )
    return f" AND (file, row) IN ({rows})"


def told(found: Iterable[Finding], waivers: Iterable[Waiver]) -> list[Finding]:
    """Findings, those waived named so; one of several names only where each of them is."""
    known = list(waivers)

    def is_waived(finding: Finding) -> bool:
        return any(
            (w.rule, w.table) == (finding.rule, finding.table)
            and (not w.symbols or (finding.symbols and set(finding.symbols) <= set(w.symbols)))
            for w in known
        )

    return [replace(f, severity=WAIVED) if is_waived(f) else f for f in found]
