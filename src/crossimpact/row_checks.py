"""Every rule of a single row as one condition: what the mask and the suites are made of.

A condition is true on a broken row and null or false on any other. Every number has a finite upper
bound and is asked whether it is one, so neither infinities nor NaN pass.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from crossimpact import contract
from crossimpact.errors import CrossImpactError
from crossimpact.schema import Column, Severity, Table

_PRINTABLE = re.compile(re.escape(f"^{contract.PRINTABLE}") + r"\{1,(\d+)\}\$")


@dataclass(frozen=True)
class RowCheck:
    """A rule of one row: `broken` is its SQL condition, `column` the cell that is shown."""

    rule: str
    column: str
    broken: str
    severity: Severity = "quarantine"


def row_checks(table: Table) -> tuple[RowCheck, ...]:
    """All rules of one row of `table`, on rows with the contract's columns, `uncast` and `lost`.

    The times of the trading date's session are the connection's variables `session_from` and
    `session_to`.
    """
    return tuple(_checks(table))


def _checks(table: Table) -> Iterator[RowCheck]:
    yield RowCheck(contract.CAST, contract.LOST, f"{contract.UNCAST} IS NOT NULL")
    for rule in table.row_rules:
        yield RowCheck(rule.id, rule.column, f"NOT ({rule.sql})", rule.severity)
    if table.clock:
        within = f"{table.clock} >= getvariable('session_from')"
        within += f" AND {table.clock} < getvariable('session_to')"
        yield RowCheck(contract.DATE_IN_PARTITION, table.clock, f"NOT ({within})")
    for column in table.columns:
        yield from _cell_checks(column)


def _cell_checks(column: Column) -> Iterator[RowCheck]:
    def check(rule: contract.CellRule, broken: str) -> RowCheck:
        return RowCheck(contract.cell_rule_id(column, rule), column.name, broken)

    if not column.nullable:
        landed = f"json_extract_string({contract.UNCAST}, '$.{column.name}')"
        missing = f"{column.name} IS NULL AND ({contract.UNCAST} IS NULL OR {landed} IS NULL)"
        yield check("not_null", missing)
    if column.values is not None:
        yield check("values", f"{column.name} NOT IN ({', '.join(map(_literal, column.values))})")
    elif column.pattern is not None:
        yield check("pattern", _mismatch(column.name, column.pattern))
    elif (
        column.type == "f64"
    ):  # DuckDB answers `isnan` from a file's statistics, which leave NaN out
        yield check("range", f"NOT isfinite({column.name}) OR NOT ({_range(column)})")
    elif column.type == "i64":
        yield check("range", f"NOT ({_range(column)})")


def _mismatch(name: str, pattern: str) -> str:
    """Text of printable characters is measured and searched: the pattern itself, a long repetition
    of a class of the whole of Unicode, takes longer to compile than to apply."""
    if printable := _PRINTABLE.fullmatch(pattern):
        search = _literal(contract.PRINTABLE.replace("[^", "["))
        return (
            f"length({name}) NOT BETWEEN 1 AND {printable[1]} OR regexp_matches({name}, {search})"
        )
    return f"NOT regexp_full_match({name}, {_literal(pattern)})"


def _range(column: Column) -> str:
    low = column.at_least if column.above is None else column.above
    high = column.at_most
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        raise CrossImpactError(
            f"contract: number column {column.name} has no finite range [{low}, {high}]",
            "bound it on both sides, or NaN and infinity pass",
        )
    sign = ">=" if column.above is None else ">"
    return f"{column.name} {sign} {low!r} AND {column.name} <= {high!r}"


def _literal(value: str | int) -> str:
    return str(value) if isinstance(value, int) else "'" + value.replace("'", "''") + "'"
