"""The verdict on one date: rows and broken rules by table, findings, and problems that block it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipelines.findings import Finding
from pipelines.store.landing import Problem


@dataclass(frozen=True)
class TableReport:
    """A table of a date that was judged.

    Attributes
    ----------
    landed, accepted, quarantined
        Rows; the first is the sum of the others.
    rules
        Rows per broken rule.
    cascades
        Quarantined rows that are sound but for another's fault.
    findings
        Those of no single row.
    """

    landed: int
    accepted: int
    quarantined: int
    rules: Mapping[str, int] = field(default_factory=dict)
    cascades: int = 0
    findings: tuple[Finding, ...] = ()

    @property
    def rows(self) -> dict[str, int]:
        return {
            "landed": self.landed,
            "accepted": self.accepted,
            "quarantined": self.quarantined,
        }

    def to_dict(self) -> dict[str, Any]:
        """As a manifest holds it."""
        return {
            "rows": self.rows,
            "rules": dict(self.rules),
            "cascades": self.cascades,
            "findings": [finding.to_dict() for finding in self.findings],
        }

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> TableReport:
        """Inverse of `to_dict`."""
        found = tuple(Finding.of(row) for row in plain["findings"])
        return cls(
            **plain["rows"], rules=plain["rules"], cascades=plain["cascades"], findings=found
        )


@dataclass(frozen=True)
class DateReport:
    """A date: its tables in the contract's order, none of them when `problems` block it."""

    date: str
    tables: Mapping[str, TableReport] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()

    @property
    def rules(self) -> dict[str, Mapping[str, int]]:
        """Rows per broken rule, of the tables that break any."""
        return {name: table.rules for name, table in self.tables.items() if table.rules}

    @property
    def cascades(self) -> dict[str, int]:
        """Cascades of the tables that have any."""
        return {name: table.cascades for name, table in self.tables.items() if table.cascades}

    @property
    def findings(self) -> tuple[Finding, ...]:
        return tuple(finding for table in self.tables.values() for finding in table.findings)
