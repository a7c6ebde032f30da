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
class Limit:
    """How many rows of a table on a date are too many: above `rows` and above `share` of them."""

    share: float
    rows: int

    def exceeded(self, count: int, landed: int) -> bool:
        return count > self.rows and count > self.share * landed

    def __str__(self) -> str:
        return f"{self.share:.1%} and {self.rows} rows"


@dataclass(frozen=True)
class RowRule:
    """A rule between columns of one row: `sql` is true on a good row (null counts as good).

    `column` is the one whose value is shown with a violation.
    """

    id: str
    sql: str
    doc: str
    column: str = ""
    severity: Severity = "quarantine"


@dataclass(frozen=True)
class Table:
    """One table of the contract: columns in file order, its key, its row rules.

    `clock` is the time that places a row in its date partition (None: the table has no time). An
    `optional` table is landed on every date or on none; an `eventful` one has as many rows as there
    were events, perhaps none. A key column that may be null makes no key where it is. `lasting`
    keys are unique over the dates of the trailing window, too; `duplicates` and `quarantined` say
    how many rows of a date block the refit.
    """

    name: str
    grain: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    row_rules: tuple[RowRule, ...] = ()
    optional: bool = False
    eventful: bool = False
    clock: str | None = None
    lasting: bool = False
    duplicates: Limit = Limit(0.001, 5)
    quarantined: Limit = Limit(0.01, 5)

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    def has(self, column: str) -> bool:
        return column in self.column_names


@dataclass(frozen=True)
class CrossRule:
    """A rule across rows or tables, written in `sql/checks/<id>.sql`.

    The query returns the `file` and `row` of every offending row of `table`.

    Attributes
    ----------
    column
        The one whose value is shown with a violation.
    cascade
        The row is refused for another's fault: counted apart, and never against a limit.
    state
        What the row says is sound and leaves it out of the accepted ones (a busted execution, a
        book outside the session): no fault, and never against a limit.
    query
        The query's name where it is not the rule's: one rule, judged in two tables.
    limit
        How many such rows of a date block the refit, whatever the rule's severity.
    """

    id: str
    table: str
    severity: Severity
    doc: str
    column: str = ""
    cascade: bool = False
    state: bool = False
    query: str = ""
    limit: Limit | None = None

    @property
    def is_fault(self) -> bool:
        """Whether the row itself is broken: what counts against a table's limit."""
        return not (self.cascade or self.state)


@dataclass(frozen=True)
class DayRule:
    """A rule of a whole table on a date, or of a stretch of its feed.

    `limit` is what its number is held against, `window` says over which dates (empty: the date
    itself).
    """

    id: str
    table: str
    severity: Severity
    doc: str
    limit: float = 0.0
    window: str = ""
