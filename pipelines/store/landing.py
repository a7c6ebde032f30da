"""The landing zone: which partitions are there, and reading one into DuckDB as contract types.

A partition is read with `date`, `file` and `row` (0-based position in the landed file) beside the
contract's columns, so that every verdict on a row names the place it came from. What cannot be read
at all is a `Problem` of the partition; a CSV cell that does not cast is the row's own fault.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date as calendar_date
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from crossimpact import contract
from crossimpact.errors import ContractViolation, UsageError
from pipelines.store.warehouse import file_sha256, quoted, readable, text_sha256

#: What a writer of a hive layout may leave inside the file; the folder's name is what counts.
HIVE_COLUMN = "date"
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True, order=True)
class Problem:
    """A broken table: which rule, on which column (empty: the table as a whole), and the facts."""

    table: str
    date: str
    column: str
    rule: str
    text: str

    def __str__(self) -> str:
        place = f"{self.table}.{self.column}" if self.column else self.table
        return f"{place}: {self.rule} on {self.date}: {self.text}"


class Landing:
    """The partitions `<root>/<table>/date=YYYY-MM-DD/*.{parquet,csv}`.

    Raises
    ------
    UsageError
        When the folder is missing.
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise UsageError(f"landing folder {root} is missing", "give the folder of the tables")
        self.root = root

    def tables(self) -> list[str]:
        """Contract tables with at least one partition, in the contract's order."""
        return [table for table in contract.TABLES if self.dates(table)]

    def dates(self, table: str) -> list[str]:
        """The table's partition dates, ascending."""
        folders = (self.root / table).glob("date=*")
        return sorted(_partition_date(folder) for folder in folders if folder.is_dir())

    def all_dates(self) -> list[str]:
        """Dates on which any table has a partition, ascending."""
        return sorted({date for table in contract.TABLES for date in self.dates(table)})

    def files(self, table: str, date: str) -> list[Path]:
        """Data files of a partition by name; hidden and underscored names are a writer's own."""
        folder = self.root / table / f"date={date}"
        paths = [*folder.glob("*.parquet"), *folder.glob("*.csv")]
        return sorted(path for path in paths if path.name[0] not in "._" and path.is_file())

    def unexpected_files(self, table: str, date: str) -> list[Path]:
        """What else lies in a partition's folder, a writer's own hidden names aside."""
        folder, known = self.root / table / f"date={date}", self.files(table, date)
        result = sorted(folder.iterdir()) if folder.is_dir() else []
        return [path for path in result if path.name[0] not in "._" and path not in known]

    def digest(self, table: str, date: str) -> str:
        """sha256 over the names and bytes of the partition's files."""
        names = [(path.name, file_sha256(path)) for path in self.files(table, date)]
        return text_sha256(*(text for pair in names for text in pair))

    @property
    def has_parents(self) -> bool:
        """Whether any parent order partition is landed (else the landing is public data only)."""
        return bool(self.dates("parent_orders"))

    def demanded(self) -> list[str]:
        """Tables every date must have.

        The desk's own only when one of them is landed at all, an optional one when it is on any
        date: a day that lost its partition must not pass for a day without events.
        """
        desk = any(self.dates(table) for table in contract.DESK_TABLES)
        return [
            name
            for name, table in contract.TABLES.items()
            if (self.dates(name) if table.optional else desk or name not in contract.DESK_TABLES)
        ]


def relation(table: contract.Table) -> str:
    """Name of the DuckDB table that holds the landed rows of `table`."""
    return f"landed_{table.name}"


def create(connection: duckdb.DuckDBPyConnection, table: contract.Table) -> None:
    """Create the empty `relation(table)`.

    Its columns are the contract's in their types, `date`, `file` and `row`, and `uncast`: the
    landed row as JSON text when one of its cells did not cast, else null.
    """
    types = ", ".join(f"{c.name} {contract.SQL_TYPE[c.type]}" for c in table.columns)
    connection.execute(
        f"CREATE TABLE {relation(table)}"
        f" (date DATE, file VARCHAR, row BIGINT, {types}, {contract.UNCAST} VARCHAR)"
    )


def load(
    connection: duckdb.DuckDBPyConnection, landing: Landing, table: contract.Table, date: str
) -> list[Problem]:
    """Add a partition's rows to `relation(table)`, nothing of a file that has a problem."""
    problems: list[Problem] = []
    for path in landing.files(table.name, date):
        result = [
            Problem(table.name, date, column, rule, f"{path.name}: {text}")
            for column, rule, text in _broken_header(path, table)
        ]
        problems += result or _insert(connection, path, table, date)
    return problems


def _partition_date(folder: Path) -> str:
    text = folder.name.removeprefix("date=")
    try:
        if _DATE.fullmatch(text) and calendar_date.fromisoformat(text):
            return text
    except ValueError:
        pass  # not a calendar date: reported below, with the malformed ones
    raise ContractViolation(
        f"partition folder {folder} of table {folder.parent.name} is not a date",
        "name it date=YYYY-MM-DD",
    )


def _broken_header(path: Path, table: contract.Table) -> Iterator[tuple[str, str, str]]:
    """(column, rule, text) of what is wrong with a file's columns; CSV columns are all text."""
    try:
        schema = pq.read_schema(path) if path.suffix == ".parquet" else None
        names = _csv_header(path) if schema is None else schema.names
    except (pa.ArrowException, OSError, ValueError, csv.Error) as error:
        yield "", contract.UNREADABLE, _first_line(error)
        return
    if schema is None and (mark := _other_delimiter(names, table)):
        yield "", contract.UNREADABLE, f"columns are separated by {mark!r}, must be by ','"
        return
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield name, contract.COLUMN_SET, "column is there twice"
    for name in sorted({c.name for c in table.columns if not c.nullable} - set(names)):
        yield name, contract.COLUMN_SET, "column is missing"
    for name in sorted(set(names) - set(table.column_names) - {HIVE_COLUMN}):
        yield name, contract.COLUMN_SET, "column is not in the contract"
    if schema is None:
        return
    for column in table.columns:
        landed = schema.field(column.name).type if names.count(column.name) == 1 else None
        if landed is not None and not accepts(column.type, landed):
            yield column.name, contract.COLUMN_TYPE, f"{landed}, expected {_EXPECTED[column.type]}"


_EXPECTED = {
    "str": "text",
    "f64": "a 64-bit float",
    "i64": "a 64-bit integer",
    "ts": "a UTC timestamp with time zone, in microseconds or finer",
}


def accepts(type_: contract.Type, landed: pa.DataType) -> bool:
    """Whether a Parquet column reads as the contract type without loss of meaning.

    Narrower numbers widen; dictionaries are their values; a column of nothing but nulls is any type
    (its rows then answer for the nulls). Naive, non-UTC and coarse timestamps do not pass.
    """
    if pa.types.is_dictionary(landed):
        landed = landed.value_type
    if pa.types.is_null(landed):
        return True
    integer: bool = pa.types.is_integer(landed) and landed != pa.uint64()
    match type_:
        case "str":
            kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
            return any(is_kind(landed) for is_kind in kinds)
        case "f64":
            return integer or bool(pa.types.is_floating(landed))
        case "i64":
            return integer
        case "ts":
            utc = pa.types.is_timestamp(landed) and landed.tz in ("UTC", "Etc/UTC", "Z", "+00:00")
            return bool(utc) and landed.unit in ("us", "ns")


def _csv_header(path: Path) -> list[str]:
    with path.open(newline="", encoding="utf-8-sig") as stream:
        header = next(csv.reader(stream), None)
    if not header:
        raise ValueError("no header line")
    return header


def _other_delimiter(names: list[str], table: contract.Table) -> str:
    """What cuts a header of one name into this table's columns; empty when nothing does."""
    (name, *more) = names
    cuts = (mark for mark in ";\t|" if {*name.split(mark)} & {*table.column_names})
    return "" if more else next(cuts, "")


def _insert(
    connection: duckdb.DuckDBPyConnection, path: Path, table: contract.Table, date: str
) -> list[Problem]:
    parquet = path.suffix == ".parquet"
    header = pq.read_schema(path).names if parquet else _csv_header(path)
    columns = [
        column for column in table.columns if column.name in header
    ]  # the rest reads as null
    query = _parquet_query(columns) if parquet else _csv_query(header, columns)
    names = {"path": readable(path), "file": path.name, "date": date}
    try:
        connection.execute(f"INSERT INTO {relation(table)} BY NAME {query}", names)
    except duckdb.Error as error:
        text = f"{path.name}: {_first_line(error)}"
        return [Problem(table.name, date, "", contract.UNREADABLE, text)]
    return []


def _parquet_query(columns: Iterable[contract.Column]) -> str:
    cells = ", ".join(f"CAST({c.name} AS {contract.SQL_TYPE[c.type]}) AS {c.name}" for c in columns)
    return (
        f"SELECT CAST($date AS DATE) AS date, $file AS file, file_row_number AS row, {cells}"
        " FROM read_parquet($path, file_row_number = true, hive_partitioning = false)"
    )


def _csv_query(names: Iterable[str], columns: Sequence[contract.Column]) -> str:
    """Every cell is read as text (tickers TRUE and NA survive), an empty cell is null."""
    header = ", ".join(f"'{quoted(name)}': 'VARCHAR'" for name in names)
    cells = ", ".join(f"{_csv_cell(c)} AS {c.name}" for c in columns)
    text = ", ".join(f"'{c.name}': {c.name}" for c in columns)
    lost = " OR ".join(f"({c.name} IS NOT NULL AND {_csv_cell(c)} IS NULL)" for c in columns)
    return (
        "SELECT CAST($date AS DATE) AS date, $file AS file, row_number() OVER () - 1 AS row,"
        f" {cells},"
        f" CASE WHEN {lost} THEN CAST(to_json({{{text}}}) AS VARCHAR) END AS {contract.UNCAST}"
        f" FROM read_csv($path, columns = {{{header}}}, header = true, auto_detect = false,"
        " delim = ',', quote = '\"', escape = '\"', nullstr = '', parallel = false,"
        " hive_partitioning = false)"
    )


def _csv_cell(column: contract.Column) -> str:
    """The cell as contract type, null when its text is none (half a side, a time without zone)."""
    cast = f"TRY_CAST({column.name} AS {contract.SQL_TYPE[column.type]})"
    pattern = {"i64": "[+-]?[0-9]+", "ts": ".*(Z|UTC|[+-]00(:?00)?)"}.get(column.type)
    if pattern is None:
        return cast
    return f"CASE WHEN regexp_full_match({column.name}, '{pattern}') THEN {cast} END"


def _first_line(error: Exception) -> str:
    return str(error).split("\n")[0][:200]
