"""Reading a partition into DuckDB as contract types, in place where it can be.

A partition is a relation of its table's name with `file` (relative to the landing zone) and `row`
(0-based position in the landed file) beside the contract's columns, so that every verdict on a row
names the place it came from. What cannot be read at all is a `Problem` of the partition; a cell
that does not cast is the row's own fault: `uncast` then holds the row as landed (JSON) and `lost`
the first such cell's column. A cast that loses nothing is made and noted.
"""

from __future__ import annotations

import csv
import difflib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from crossimpact import contract
from pipelines.store.landing import Landing, Problem
from pipelines.store.warehouse import quoted, readable

#: What a writer of a hive layout may leave inside the file; the folder's name is what counts.
HIVE_COLUMN = "date"
#: More bytes of a Parquet file's footer, or characters of a CSV file's header, are no file's.
MAX_FOOTER, MAX_HEADER = 256_000_000, 1_000_000
UTC = ("UTC", "Etc/UTC", "Z", "+00:00")
Cast = Callable[[contract.Column], str]
_ZONE = r"(Z|UTC|[+-][0-9]{2}(:?[0-9]{2})?)"


@dataclass(frozen=True)
class Reading:
    """What came of attaching a partition: why it cannot be read, and casts that were made."""

    problems: tuple[Problem, ...]
    notes: tuple[Problem, ...]


def attach(
    connection: duckdb.DuckDBPyConnection,
    landing: Landing,
    table: contract.Table,
    date: str,
    *,
    eager: bool = True,
) -> Reading:
    """Make the partition the relation `table.name` of the connection's current schema.

    It is a view of Parquet files unless `eager`; text is always read at once. With a problem there
    is no relation.
    """
    problems, notes, queries = [], [], []
    paths = landing.files(table.name, date)
    for path in paths:
        broken = [
            Problem(table.name, date, column, rule, f"{path.name}: {text}")
            for column, rule, text in _broken_header(path, table)
        ]
        problems += broken
        if not broken:
            queries.append(_query(landing, path, table))
            notes += [
                Problem(table.name, date, column, contract.COERCED, f"{path.name}: {text}")
                for column, text in _coerced(path, table)
            ]
    if not problems:
        text = any(path.suffix == ".csv" for path in paths)
        kind = "TABLE" if eager or text else "VIEW"
        body = " UNION ALL ".join(queries) or _no_rows(table)
        try:
            connection.execute(f"CREATE OR REPLACE {kind} {table.name} AS {body}")
        except duckdb.Error as error:
            problems += unreadable(connection, landing, table, date, error)
    return Reading(tuple(problems), tuple(notes))


def unreadable(
    connection: duckdb.DuckDBPyConnection,
    landing: Landing,
    table: contract.Table,
    date: str,
    error: duckdb.Error,
) -> list[Problem]:
    """The files that do not read to their end, by name; all of them when each by itself does."""
    culprits = []
    for path in landing.files(table.name, date):
        try:
            connection.execute(
                f"CREATE OR REPLACE TEMP TABLE tried AS {_query(landing, path, table)}"
            )
        except duckdb.Error as own:
            culprits.append((path.name, own))
    culprits = culprits or [("its files", error)]
    return [
        Problem(table.name, date, "", contract.UNREADABLE, f"{name}: {_first_line(why)}")
        for name, why in culprits
    ]


def _no_rows(table: contract.Table) -> str:
    cells = ", ".join(f"NULL::{contract.SQL_TYPE[c.type]} AS {c.name}" for c in table.columns)
    origin = "NULL::VARCHAR AS file, NULL::BIGINT AS row"
    return f"SELECT {origin}, {cells}, NULL::VARCHAR AS uncast, NULL::VARCHAR AS lost WHERE false"


def _broken_header(path: Path, table: contract.Table) -> Iterator[tuple[str, str, str]]:
    """(column, rule, text) of what is wrong with a file's columns; CSV columns are all text."""
    try:
        schema = _schema(path) if path.suffix == ".parquet" else None
        names = _csv_header(path) if schema is None else schema.names
    except (pa.ArrowException, OSError, ValueError, csv.Error) as error:
        yield "", contract.UNREADABLE, _first_line(error)
        return
    if schema is None and (mark := _other_delimiter(names, table)):
        yield "", contract.UNREADABLE, f"columns are separated by {mark!r}, must be by ','"
        return
    yield from _wrong_columns(names, table)
    if schema is None:
        return
    for column in table.columns:
        landed = schema.field(column.name).type if names.count(column.name) == 1 else None
        if landed is not None and not accepts(column.type, landed):
            text = f"{landed}, expected {_EXPECTED[column.type]}{_hint(column.type, landed)}"
            yield column.name, contract.COLUMN_TYPE, text


def _wrong_columns(names: list[str], table: contract.Table) -> Iterator[tuple[str, str, str]]:
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield name, contract.COLUMN_SET, "column is there twice"
    absent = {c.name for c in table.columns if not c.nullable} - set(names)
    strange = set(names) - set(table.column_names) - {HIVE_COLUMN}
    meant = {name: _meant(name, strange, len(absent) == len(strange) == 1) for name in absent}
    for name in sorted(absent):
        yield name, contract.COLUMN_SET, "column is missing" + meant[name]
    for name in sorted(strange):
        yield name, contract.COLUMN_SET, "column is not in the contract"


def _meant(name: str, strange: set[str], alone: bool) -> str:
    """A guess which of the columns that nobody knows is the missing one."""
    for other in sorted(strange):
        if other.strip().lower() == name:
            return f" ({other!r} is there: names are lower case, without blanks)"
    close = difflib.get_close_matches(name, sorted(strange), 1) or (
        sorted(strange) if alone else []
    )
    return f" (renamed to {close[0]!r}?)" if close else ""


_EXPECTED = {
    "str": "text",
    "f64": "a number",
    "i64": "a 64-bit integer",
    "ts": "a timestamp with time zone",
}


def _hint(type_: contract.Type, landed: pa.DataType) -> str:
    if type_ == "ts" and pa.types.is_timestamp(landed):
        return ": it has no zone, land it as UTC (tz='UTC')"
    if type_ == "ts" and pa.types.is_integer(landed):
        return ": an epoch has no unit, land it as timestamp[us, tz=UTC]"
    return ""


def accepts(type_: contract.Type, landed: pa.DataType) -> bool:
    """Whether a Parquet column reads as the contract type without loss of meaning.

    Numbers are numbers, whole ones where the contract counts (a fraction is then the row's fault);
    dictionaries are their values; a column of nothing but nulls is any type (its rows then answer
    for the nulls). A timestamp has a zone, whichever.
    """
    if pa.types.is_dictionary(landed):
        landed = landed.value_type
    if pa.types.is_null(landed):
        return True
    match type_:
        case "str":
            kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
        case "f64" | "i64":
            kinds = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)
        case "ts":
            return bool(pa.types.is_timestamp(landed)) and landed.tz is not None
    return any(is_kind(landed) for is_kind in kinds)


def _coerced(path: Path, table: contract.Table) -> Iterator[tuple[str, str]]:
    """(column, text) of the casts that lose nothing and that a producer may not have meant."""
    if path.suffix == ".csv":
        yield from _coerced_text(path, table)
        return
    schema = pq.read_schema(path)
    for column in table.columns:
        if column.name not in schema.names:
            continue
        landed = schema.field(column.name).type
        if pa.types.is_decimal(landed) or (column.type == "i64" and pa.types.is_floating(landed)):
            yield column.name, f"{landed} read as {contract.SQL_TYPE[column.type]}"
        if pa.types.is_timestamp(landed) and (landed.tz not in UTC or landed.unit in ("s", "ms")):
            yield column.name, f"{landed} read as UTC in microseconds"


def _coerced_text(path: Path, table: contract.Table) -> Iterator[tuple[str, str]]:
    """As the first line of a CSV file tells it."""
    names, first = (next(csv.reader([line]), []) for line in _first_lines(path, 2))
    cells = dict(zip(names, first, strict=False))
    for column in table.columns:
        cell = cells.get(column.name, "")
        if column.type == "ts" and cell[-6:-5] in ("+", "-") and cell[-5:] != "00:00":
            yield column.name, f"{cell} read as UTC"
        if column.type == "i64" and "." in cell:
            yield column.name, f"{cell} read as a whole number"


def _schema(path: Path) -> pa.Schema:
    """A Parquet file's columns; a footer is read whole, so one that claims too much is none."""
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - 8))
        size = int.from_bytes(stream.read(4), "little")
    if size > MAX_FOOTER:
        raise ValueError(f"its footer claims {size:,} bytes, at most {MAX_FOOTER:,} are read")
    return pq.read_schema(path)


def _csv_header(path: Path) -> list[str]:
    """The names in a CSV file's first line, which is not read further than one may be long."""
    (line,) = _first_lines(path, 1)
    if len(line) == MAX_HEADER:
        raise ValueError(f"no line ends within its first {MAX_HEADER:,} characters")
    header = next(csv.reader([line]), None)
    if not header:
        raise ValueError("no header line")
    return header


def _first_lines(path: Path, count: int) -> list[str]:
    with path.open(newline="", encoding="utf-8-sig") as stream:
        return [stream.readline(MAX_HEADER) for _ in range(count)]


def _other_delimiter(names: list[str], table: contract.Table) -> str:
    """What cuts a header of one name into this table's columns; empty when nothing does."""
    (name, *more) = names
    cuts = (mark for mark in ";\t|" if {*name.split(mark)} & {*table.column_names})
    return "" if more else next(cuts, "")


def _query(landing: Landing, path: Path, table: contract.Table) -> str:
    schema = pq.read_schema(path) if path.suffix == ".parquet" else None
    header = _csv_header(path) if schema is None else schema.names
    place, file = quoted(readable(path)), quoted(landing.relative(path))
    source = (_csv if schema is None else _parquet)(place, header)
    cast = _csv_cell if schema is None else _whole_cell
    present = [column for column in table.columns if column.name in header]
    whole = [c for c in present if schema is None or _may_lose(c, schema)]
    cells = ", ".join(_cell(c, c in whole, cast, c in present) for c in table.columns)
    return (
        f"SELECT '{file}' AS file, row_number_in_file AS row, {cells},"
        f" {_lost(whole, present, cast)} FROM ({source})"
    )


def _cell(column: contract.Column, checked: bool, cast: Cast, present: bool) -> str:
    kind = contract.SQL_TYPE[column.type]
    if not present:
        return f"NULL::{kind} AS {column.name}"
    if checked:
        return f"{cast(column)} AS {column.name}"
    return f"CAST({column.name} AS {kind}) AS {column.name}"


def _may_lose(column: contract.Column, schema: pa.Schema) -> bool:
    kind = schema.field(column.name).type
    return column.type == "i64" and bool(pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _lost(whole: Sequence[contract.Column], present: Sequence[contract.Column], cast: Cast) -> str:
    """The row's text and the first column whose cell does not cast."""
    if not whole:
        return "NULL::VARCHAR AS uncast, NULL::VARCHAR AS lost"
    lost = {c.name: f"{c.name} IS NOT NULL AND {cast(c)} IS NULL" for c in whole}
    text = ", ".join(f"'{c.name}': CAST({c.name} AS VARCHAR)" for c in present)
    first = " ".join(f"WHEN {condition} THEN '{name}'" for name, condition in lost.items())
    any_lost = " OR ".join(f"({condition})" for condition in lost.values())
    return (
        f"CASE WHEN {any_lost} THEN CAST(to_json({{{text}}}) AS VARCHAR) END AS uncast,"
        f" CASE {first} END AS lost"
    )


def _parquet(place: str, header: Iterable[str]) -> str:
    return (
        "SELECT *, file_row_number AS row_number_in_file"
        f" FROM read_parquet('{place}', file_row_number = true, hive_partitioning = false)"
    )


def _csv(place: str, header: Iterable[str]) -> str:
    """Every cell is read as text (tickers TRUE and NA survive), an empty cell is null."""
    columns = ", ".join(f"'{quoted(name)}': 'VARCHAR'" for name in header)
    return (
        "SELECT *, row_number() OVER () - 1 AS row_number_in_file"
        f" FROM read_csv('{place}', columns = {{{columns}}}, header = true, auto_detect = false,"
        " delim = ',', quote = '\"', escape = '\"', nullstr = '', parallel = false,"
        " hive_partitioning = false)"
    )


def _whole_cell(column: contract.Column) -> str:
    """A number that counts, null when it is a fraction."""
    return (
        f"CASE WHEN {column.name} = trunc({column.name}) THEN TRY_CAST({column.name} AS BIGINT) END"
    )


def _csv_cell(column: contract.Column) -> str:
    """The cell as contract type, null when its text is none (half a side, a time without zone)."""
    cast = f"TRY_CAST({column.name} AS {contract.SQL_TYPE[column.type]})"
    pattern = {"i64": r"[+-]?[0-9]+(\.0*)?", "ts": f".*{_ZONE}"}.get(column.type)
    if pattern is None:
        return cast
    return f"CASE WHEN regexp_full_match({column.name}, '{pattern}') THEN {cast} END"


def _first_line(error: Exception) -> str:
    return str(error).split("\n")[0][:200]
