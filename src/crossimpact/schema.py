"""What a data contract is made of: columns with their bounds, tables, rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Type = Literal["str", "f64", "i64", "ts"]
Severity = Literal["block", "quarantine", "warn"]

#: DuckDB type of each contract type.
SQL_TYPE: dict[Type, str] = {
    "str": "VARCHAR",
    "f64": "DOUBLE",
    "i64": "BIGINT",
    "ts": "TIMESTAMPTZ",
}


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes
    ----------
    name, type
        Its name in the file and its contract type.
    nullable
        Whether a missing value is allowed; the whole column may then be absent, and reads as null.
    above, at_least, at_most
        Numeric bounds (exclusive, inclusive, inclusive). Every number has a finite upper bound, so
        infinities never pass.
    pattern
        A regular expression the whole text must match.
    values
        The closed set of allowed values.
    doc
        Meaning and unit, as printed in the docs.
    """

    name: str
    type: Type
    doc: str
    nullable: bool = False
    above: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    pattern: str | None = None
    values: tuple[str | int, ...] | None = None


@dataclass(frozen=True)
class RowRule:
    """A rule between columns of one row: `sql` is true on a good row (null counts as good)."""

    id: str
    sql: str
    doc: str


@dataclass(frozen=True)
class Table:
    """One table of the contract: columns in file order, its key, its row rules.

    `clock` is the time that places a row in its date partition (None: the table has no time). An
    `optional` table is landed on every date or on none; an `eventful` one has as many rows as there
    were events, perhaps none.
    """

    name: str
    grain: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    row_rules: tuple[RowRule, ...] = ()
    optional: bool = False
    eventful: bool = False
    clock: str | None = None

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)


@dataclass(frozen=True)
class CrossRule:
    """A rule across rows or tables, written in `sql/checks/<id>.sql`.

    The query returns the `file` and `row` of every offending row of `table`.
    """

    id: str
    table: str
    severity: Severity
    doc: str
