"""How many broken rows of a date's table block the refit: the contract's limits, date by date."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow.compute as pc
import pyarrow.parquet as pq

from crossimpact import contract
from pipelines.date_report import DateReport
from pipelines.store.landing import Problem
from pipelines.store.warehouse import Warehouse


def excess_rows(report: DateReport, warehouse: Warehouse) -> Iterator[Problem]:
    """Limits a date's report exceeds: of duplicate keys, of faulty rows, of a rule with its own.

    Rows refused for another's fault count against no limit. Each names the first row of the rule
    that most of them break, with the cell, from the published violations.
    """
    for name, found in report.tables.items():
        table, counts = contract.TABLES[name], found.rules
        faults = found.quarantined - found.cascades
        worst = max(counts, key=counts.__getitem__, default="")
        asked = [
            (contract.DUPLICATE_SHARE, ", ".join(table.key), counts.get(contract.UNIQUE_KEY, 0),
             table.duplicates),
            (contract.QUARANTINE_SHARE, "", faults, table.quarantined),
        ]  # fmt: skip
        asked += [
            (rule.id, rule.column, counts.get(rule.id, 0), rule.limit)
            for rule in contract.CROSS_RULES
            if rule.table == name and rule.limit
        ]
        for rule, column, count, limit in asked:
            if limit.exceeded(count, found.landed):
                by = {
                    contract.DUPLICATE_SHARE: contract.UNIQUE_KEY,
                    contract.QUARANTINE_SHARE: worst,
                }.get(rule, rule)
                text = f"{count} of {found.landed} rows, limit {limit}, most by {worst}"
                text += _example(warehouse, report.date, name, by)
                yield Problem(name, report.date, column, rule, text)


def _example(warehouse: Warehouse, date: str, table: str, rule: str) -> str:
    """The first row that breaks a rule, and its cell."""
    manifest = warehouse.manifest("violations", table, date)
    if manifest is None or not manifest.rows:
        return ""
    names = ["file", "row", "rule_id", "column", "value"]
    rows = pq.ParquetFile(warehouse.file(manifest)).read(names)
    for row in rows.filter(pc.equal(rows["rule_id"], rule)).slice(0, 1).to_pylist():
        cell = f"{row['column']} = {row['value']!r}"
        return f"; the first is row {row['row']} of {row['file']}, {cell}"
    return ""
