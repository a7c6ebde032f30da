"""One suite per table, generated from the contract; no rule is written here a second time.

Every number has a finite upper bound (NaN and infinity sort above it in DuckDB, so both fail), and
every suite demands at least one row and the exact column set, so empty data never pass by vacuity.
A suite judges the partitions of one or many dates at once: where it matters, rules look at `date`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import great_expectations.expectations as gxe
from great_expectations import ExpectationSuite
from great_expectations.expectations.expectation import Expectation

from crossimpact import contract
from crossimpact.errors import CrossImpactError

_ORIGIN = ", ".join(contract.ORIGIN)


def suite(table: contract.Table) -> ExpectationSuite:
    """All single-table rules of `table`, on rows with the contract's columns, ORIGIN and UNCAST."""
    expectations = [*_table_rules(table), *_row_rules(table)]
    for column in table.columns:
        expectations += _cell_rules(column)
    return ExpectationSuite(name=table.name, expectations=expectations)


def _table_rules(table: contract.Table) -> Iterator[Expectation]:
    yield gxe.ExpectTableColumnsToMatchSet(
        column_set=[*contract.ORIGIN, *table.column_names, contract.UNCAST],
        exact_match=True,
        meta=_meta(contract.COLUMN_SET, blocks=True),
    )
    yield gxe.ExpectTableRowCountToBeBetween(
        min_value=1, meta=_meta(contract.ROW_COUNT, blocks=True)
    )


def _row_rules(table: contract.Table) -> Iterator[Expectation]:
    yield _no_rows(f"{contract.UNCAST} IS NOT NULL", contract.CAST)
    for rule in table.row_rules:
        yield _no_rows(f"NOT ({rule.sql})", rule.id)
    if table.key:
        yield _unique_key(table.key)
    if table.clock:
        reach_s = contract.MAX_HOURS_FROM_NOON * 3600
        yield _no_rows(
            f"{table.clock} IS NOT NULL AND"
            f" NOT coalesce(abs(epoch({table.clock}) - epoch(date) - 43200) <= {reach_s}, false)",
            contract.DATE_IN_PARTITION,
            table.clock,
        )


def _cell_rules(column: contract.Column) -> Iterator[Expectation]:
    def meta(rule: contract.CellRule) -> dict[str, object]:
        return _meta(contract.cell_rule_id(column, rule), column.name)

    if not column.nullable:
        yield gxe.ExpectColumnValuesToNotBeNull(column=column.name, meta=meta("not_null"))
    if column.values is not None:
        yield gxe.ExpectColumnValuesToBeInSet(
            column=column.name, value_set=list(column.values), meta=meta("values")
        )
    elif column.pattern is not None:
        pattern = column.pattern.replace("'", "''")
        yield _no_rows(
            f"NOT regexp_full_match({column.name}, '{pattern}')",
            contract.cell_rule_id(column, "pattern"),
            column.name,
        )
    elif column.type in ("f64", "i64"):
        yield _range(column, meta("range"))


def _range(column: contract.Column, meta: dict[str, object]) -> Expectation:
    low = column.at_least if column.above is None else column.above
    high = column.at_most
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        raise CrossImpactError(
            f"contract: number column {column.name} has no finite range [{low}, {high}]",
            "bound it on both sides, or NaN and infinity pass",
        )
    return gxe.ExpectColumnValuesToBeBetween(
        column=column.name,
        min_value=low,
        strict_min=column.above is not None,
        max_value=high,
        meta=meta,
    )


def _unique_key(key: tuple[str, ...]) -> Expectation:
    """Later duplicates in file order break the rule; the first row of a key stays."""
    columns = ", ".join(key)
    present = " AND ".join(f"{column} IS NOT NULL" for column in key)
    return gxe.UnexpectedRowsExpectation(
        unexpected_rows_query=f"SELECT {_ORIGIN} FROM {{batch}} WHERE {present} "
        f"QUALIFY row_number() OVER (PARTITION BY date, {columns} ORDER BY file, row) > 1",
        meta=_meta(contract.UNIQUE_KEY, columns),
    )


def _no_rows(condition: str, rule_id: str, column: str = "") -> Expectation:
    """No row may satisfy `condition` (null is good); braces are doubled for GX's `{batch}`."""
    escaped = condition.replace("{", "{{").replace("}", "}}")
    return gxe.UnexpectedRowsExpectation(
        unexpected_rows_query=f"SELECT {_ORIGIN} FROM {{batch}} WHERE {escaped}",
        meta=_meta(rule_id, column),
    )


def _meta(rule_id: str, column: str = "", *, blocks: bool = False) -> dict[str, object]:
    return {"rule_id": rule_id, "column": column, "blocks": blocks}
