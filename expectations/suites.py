"""One suite per table, generated from the contract; no rule is written here a second time.

A suite judges a table of counts: a line per date, a column per rule with the rows that break it. It
is one query to the engine, however many rules and dates there are. It demands every rule's column
and at least one line, so neither a rule nor a date is left out in silence.
"""

from __future__ import annotations

from collections.abc import Iterator

import great_expectations.expectations as gxe
from great_expectations import ExpectationSuite
from great_expectations.expectations.expectation import Expectation

from crossimpact import contract
from crossimpact.row_checks import row_checks

#: Columns beside the rules': the date, and its landed rows.
DATE = "date"
LANDED = "landed"


def rules(table: contract.Table) -> tuple[str, ...]:
    """Every rule a row of `table` may break, in one vocabulary, in the order they are judged."""
    own = [check.rule for check in row_checks(table)]
    key = [contract.UNIQUE_KEY] if table.key else []
    across = [rule.id for rule in contract.CROSS_RULES if rule.table == table.name]
    return tuple(dict.fromkeys([*own, *key, *across]))


def count_column(rule: str) -> str:
    """The rule's column in the table of counts (GX reads a dot as a path)."""
    return rule.replace(".", "__")


def suite(table: contract.Table) -> ExpectationSuite:
    """All rules of `table`'s rows, on the table of counts."""
    return ExpectationSuite(name=table.name, expectations=list(_expectations(table)))


def _expectations(table: contract.Table) -> Iterator[Expectation]:
    names = [count_column(rule) for rule in rules(table)]
    yield gxe.ExpectTableColumnsToMatchSet(
        column_set=[DATE, LANDED, *names],
        exact_match=True,
        meta=_meta(contract.COLUMN_SET, blocks=True),
    )
    yield gxe.ExpectTableRowCountToBeBetween(
        min_value=1, meta=_meta(contract.ROW_COUNT, blocks=True)
    )
    for rule, name in zip(rules(table), names, strict=True):
        yield gxe.ExpectColumnMaxToBeBetween(column=name, max_value=0, meta=_meta(rule))


def _meta(rule_id: str, *, blocks: bool = False) -> dict[str, object]:
    return {"rule_id": rule_id, "blocks": blocks}
