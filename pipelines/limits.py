"""How many broken rows of a date's table block the refit: the contract's limits, date by date."""

from __future__ import annotations

from collections.abc import Iterator

from crossimpact import contract
from pipelines.date_report import DateReport
from pipelines.store.landing import Problem


def excess_rows(report: DateReport) -> Iterator[Problem]:
    """Limits a date's report exceeds: of duplicate keys, of faulty rows, of a rule with its own.

    Rows refused for another's fault count against no limit.
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
                text = f"{count} of {found.landed} rows, limit {limit}, most by {worst}"
                yield Problem(name, report.date, column, rule, text)
