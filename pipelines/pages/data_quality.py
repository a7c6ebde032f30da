"""What became of a date's landed rows, and what the quarantined ones are worth."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from crossimpact import contract
from pipelines.store.warehouse import Manifest, Warehouse, scalar, sql

QUALITY_LAYERS = ("accepted", "quarantine", "violations")
#: Tables whose rows have a price.
PRICED = ("child_fills", "parent_orders")


@dataclass(frozen=True)
class Quality:
    """A table's rows of the date, what the quarantined ones are worth, and the rules they broke."""

    table: str
    accepted: int
    quarantined: int
    quarantined_usd: float | None
    rules: tuple[tuple[str, int], ...]


def data_quality(warehouse: Warehouse, date: str) -> list[Quality]:
    """Per landed table."""
    tables = []
    for table in contract.TABLES:
        accepted, refused, broken = (
            warehouse.manifest(layer, table, date) for layer in QUALITY_LAYERS
        )
        if accepted is None:
            continue
        rules: Counter[str] = Counter()
        if broken is not None and broken.rows:
            rows = warehouse.rows(broken.layer, table, date, ["rule_id"]) or []
            rules.update(row["rule_id"] for row in rows)
        tables.append(
            Quality(
                table,
                accepted.rows,
                refused.rows if refused else 0,
                _worth(warehouse, refused, date),
                tuple(sorted(rules.items(), key=lambda item: (-item[1], item[0]))),
            )
        )
    return tables


def _worth(warehouse: Warehouse, refused: Manifest | None, date: str) -> float | None:
    """USD of quarantined rows that have a price; what cannot be read as one counts as nothing."""
    if refused is None or refused.table not in PRICED:
        return None
    with warehouse.connect() as connection:
        warehouse.attach(connection, refused.layer, refused.table, [date], view=True)
        connection.execute(f"CREATE VIEW refused AS FROM {refused.table}")
        return float(scalar(connection, sql("marts/tca_refused_worth")))
