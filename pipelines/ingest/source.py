"""Source files as typed rows: every row of every file, its cells in contract units, and why not.

A file is read once, as a stream, into Parquet by trading date; nothing larger than a batch of rows
is held. A row has the reason `unreadable_<column>` when a cell of it cannot be read.
"""

from __future__ import annotations

import csv
import gzip
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from crossimpact import contract
from crossimpact.errors import UsageError
from crossimpact.progress import each
from pipelines.ingest.columns import CODES, KINDS, REQUIRED, Kind, Unit
from pipelines.ingest.mapping import Cell, Filter, Map, Source
from pipelines.store.warehouse import file_sha256, quoted, readable

#: DuckDB type of a staged column.
SQL_TYPE: Mapping[Kind, str] = {
    **{type_: contract.SQL_TYPE[type_] for type_ in contract.SQL_TYPE},
    "date": "DATE",
}
#: The columns, first one mapped first, whose local date is a row's trading date.
CLOCKS: Mapping[str, tuple[str, ...]] = {
    "market_snapshots": ("ts",),
    "public_trades": ("ts",),
    "parent_orders": ("start_ts", "decision_ts"),
    "child_fills": ("fill_ts",),
    "benchmark_marks": ("ts",),
    "peer_flow": ("ts",),
}
#: Where rows without a time, and tables without one, are kept.
UNDATED = "undated"
PER_SECOND: Mapping[Unit, int] = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
MAX_EPOCH_US = 8_000_000_000_000_000  # the year 2223; a unit too small or too large is no time


@dataclass(frozen=True)
class Staged:
    """What was read of one kind of rows: sha256 by file, and rows in all."""

    files: Mapping[str, str]
    rows: int


class Reader:
    """Reads the files a map names below `src` into Parquet below `folder`, by trading date."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, asked: Map, src: Path, folder: Path
    ) -> None:
        self.connection, self.asked, self.src, self.folder = connection, asked, src, folder

    def stage(self, name: str, source: Source) -> Staged:
        """Read every file of a source.

        Raises
        ------
        UsageError
            No file, one that cannot be read, or a column that a file does not have.
        """
        try:
            paths = sorted(path for path in self.src.glob(source.files) if path.is_file())
        except (NotImplementedError, ValueError) as error:  # absolute, or `a**`
            raise UsageError(
                f"{name}.files = {source.files!r}: {error}",
                "the pattern is relative to the source folder",
            ) from error
        if not paths:
            raise UsageError(
                f"{name}.files = {source.files!r} matches no file below {self.src}",
                "the pattern is relative to the source folder",
            )
        told = each(f"read {name}", paths)
        rows = sum(self._stage(name, source, path, k) for k, path in enumerate(told))
        files = {str(path.relative_to(self.src)): file_sha256(path) for path in paths}
        return Staged(files, rows)

    def dates(self) -> list[str]:
        """Trading dates with a row of any source, ascending."""
        result = {
            path.name.removeprefix("trading_date=") for path in self.folder.glob("*/trading_date=*")
        }
        return sorted(result - {UNDATED})

    def view(self, name: str, date: str) -> str:
        """Query of the staged rows of a date, none where there are none."""
        files = sorted((self.folder / name / f"trading_date={date}").glob("*.parquet"))
        columns = ", ".join(f"CAST(NULL AS {SQL_TYPE[k]}) AS {c}" for c, k in KINDS[name].items())
        if not files:
            return (
                "SELECT NULL::INTEGER AS source_file, NULL::BIGINT AS source_row,"
                f" NULL::VARCHAR AS reason, NULL::BOOLEAN AS in_adv, {columns} LIMIT 0"
            )
        listed = ", ".join(f"'{quoted(readable(path))}'" for path in files)
        return f"SELECT * FROM read_parquet([{listed}], hive_partitioning = false)"

    def _stage(self, name: str, source: Source, path: Path, number: int) -> int:
        query = _query(name, source, path, number, self.asked)
        target = self.folder / name
        target.mkdir(parents=True, exist_ok=True)
        try:
            (rows,) = self.connection.execute(
                f"COPY ({query}) TO '{quoted(target)}' (FORMAT parquet, OVERWRITE_OR_IGNORE,"
                f" PARTITION_BY (trading_date), FILENAME_PATTERN 'f{number:06d}_{{i}}')"
            ).fetchone() or (0,)
        except duckdb.IOException:
            raise  # the disk's fault, not the file's
        except duckdb.Error as error:
            raise UsageError(f"{path} cannot be read ({str(error).splitlines()[0]})") from error
        return int(rows)


def _query(name: str, source: Source, path: Path, number: int, asked: Map) -> str:
    """Rows of a file: trading date, place, reason, in_adv, and every column of the kind."""
    header = _header(source, path)
    _check_columns(name, source, path, header)
    cells = {column: _Expression(name, column, source, path, asked) for column in KINDS[name]}
    typed = ", ".join(f"{cell.sql} AS {column}" for column, cell in cells.items())
    lost = ", ".join(f"{cell.lost} AS lost_{column}" for column, cell in cells.items())
    tests = [(f"f.is_{k}", one.reason) for k, one in enumerate(source.filter)]
    flags = "".join(
        f", coalesce({_matches(one)}, false) AS is_{k}" for k, one in enumerate(source.filter)
    )
    tests += [(f"f.lost_{column}", f"unreadable_{column}") for column in cells]
    tests += [(f"f.{column} IS NULL", f"missing_{column}") for column in REQUIRED[name]]
    reason = " ".join(f"WHEN {test} THEN '{message}'" for test, message in tests)
    kept = [f"WHEN f.is_{k} THEN {one.adv}" for k, one in enumerate(source.filter)]
    in_adv = f"CASE {' '.join(kept)} ELSE true END" if kept else "true"
    clock = ", ".join(f"f.{column}" for column in CLOCKS.get(name, ())) or "NULL::TIMESTAMPTZ"
    zone = quoted(asked.market.time_zone)
    day = f"coalesce(strftime(timezone('{zone}', coalesce({clock})), '%Y-%m-%d'), '{UNDATED}')"
    columns = ", ".join(f"f.{column}" for column in cells)
    return (
        f"SELECT {day} AS trading_date,"
        f" {number}::INTEGER AS source_file, source_row, CASE {reason} END AS reason,"
        f" {in_adv} AS in_adv, {columns}"
        f" FROM (SELECT row_number() OVER () - 1 AS source_row, {typed}, {lost}{flags}"
        f" FROM {_relation(source, path, header)}) AS f"
    )


def _relation(source: Source, path: Path, header: list[str]) -> str:
    if path.suffix == ".parquet":
        return f"read_parquet('{quoted(readable(path))}', hive_partitioning = false)"
    types = ", ".join(f"'{quoted(name)}': 'VARCHAR'" for name in header)
    return (
        f"read_csv('{quoted(readable(path))}', columns = {{{types}}},"
        f" header = {source.header is None}, auto_detect = false,"
        f" delim = '{quoted(source.delimiter)}', quote = '\"', escape = '\"',"
        " nullstr = '', parallel = false, hive_partitioning = false)"
    )


def _header(source: Source, path: Path) -> list[str]:
    """Column names of a file, as it has them or as the map tells."""
    try:
        if path.suffix == ".parquet":
            return list(pq.read_schema(path).names)
        if source.header is not None:
            return list(source.header)
        read = gzip.open if path.suffix == ".gz" else open
        with read(path, "rt", encoding="utf-8-sig", newline="") as stream:
            header = next(csv.reader(stream, delimiter=source.delimiter), None)
    except (OSError, ValueError, csv.Error, pa.ArrowException, EOFError) as error:
        raise UsageError(f"{path} cannot be read ({error})") from error
    if not header:
        raise UsageError(f"{path} has no header line", "give its names as `header` in the map")
    return header


def _check_columns(name: str, source: Source, path: Path, header: list[str]) -> None:
    wanted = {one.column: f"{name}.filter" for one in source.filter}
    for column, cell in source.columns.items():
        used = (cell.column, cell.time, cell.date.column if cell.date else None)
        wanted |= {text: f"{name}.columns.{column}" for text in used if text}
    for text, key in wanted.items():
        if header.count(text) != 1:
            how = "twice" if text in header else "not"
            raise UsageError(
                f"{key}: column {text!r} is {how} in {path}", f"its columns: {', '.join(header)}"
            )


class _Expression:
    """SQL of one cell: `sql` in contract units, `lost` = it says something and cannot be read."""

    def __init__(self, name: str, column: str, source: Source, path: Path, asked: Map) -> None:
        self.kind: Kind = KINDS[name][column]
        self.source, self.path, self.asked, self.column = source, path, asked, column
        cell = source.columns.get(column)
        if cell is None:
            self.sql, self.lost = f"CAST(NULL AS {SQL_TYPE[self.kind]})", "false"
            return
        raw = self._raw(cell)
        self.sql = self._typed(cell, raw)
        present = f"{raw} IS NOT NULL" if cell.time is None else f"{_column(cell.time)} IS NOT NULL"
        self.lost = f"({present} AND {self.sql} IS NULL)"

    def _raw(self, cell: Cell) -> str:
        if cell.constant is not None:
            return f"'{quoted(cell.constant)}'"
        if cell.filename is not None:
            return f"'{quoted(self._from_name(cell.filename))}'"
        return _column(cell.column) if cell.column else self._raw(cell.date or cell)

    def _from_name(self, pattern: str) -> str:
        """The pattern's first group in the file's name."""
        try:
            result = re.search(pattern, self.path.name)
            text = result and result.group(1)
        except (re.error, IndexError) as error:
            raise UsageError(
                f"filename = {pattern!r} is no pattern with a group ({error})"
            ) from error
        if not text:
            raise UsageError(f"filename = {pattern!r} finds nothing in {self.path.name}")
        return str(text)

    def _typed(self, cell: Cell, raw: str) -> str:
        match self.kind:
            case "ts":
                return self._time(cell, raw)
            case "date":
                return self._date(cell, raw)
            case "str":
                return self._text(cell, raw)
            case _:
                return self._number(cell, raw)

    def _text(self, cell: Cell, raw: str) -> str:
        """Ids as they are; what comes from a list of names without blanks around it."""
        text = f"CAST({raw} AS VARCHAR)"
        if self.column.endswith("_id"):
            return text
        text = f"nullif(trim({text}), '')"
        if self.column == "symbol" and self.asked.symbols:
            return _translated(text, self.asked.symbols, otherwise=text)
        return self._coded(cell, text) or text

    def _number(self, cell: Cell, raw: str) -> str:
        text = f"trim(CAST({raw} AS VARCHAR))"
        if coded := self._coded(cell, text):
            return f"TRY_CAST({coded} AS {SQL_TYPE[self.kind]})"
        if self.source.decimal == "," and self.path.suffix != ".parquet":
            raw = f"replace(replace(CAST({raw} AS VARCHAR), '.', ''), ',', '.')"
        number = f"TRY_CAST({raw} AS DOUBLE)"
        if cell.multiply is not None:
            number = f"{number} * {cell.multiply!r}::DOUBLE"
        if cell.divide is not None:  # 1234567 / 10000 is the double next to 123.4567, x 1e-4 is not
            number = f"{number} / {cell.divide!r}::DOUBLE"
        return number if self.kind == "f64" else f"TRY_CAST({number} AS BIGINT)"

    def _coded(self, cell: Cell, text: str) -> str | None:
        if cell.codes:
            return _translated(text, cell.codes)
        known = CODES.get(self.column)
        return _translated(f"upper({text})", known) if known and cell.constant is None else None

    def _date(self, cell: Cell, raw: str) -> str:
        text = f"trim(CAST({raw} AS VARCHAR))"
        if cell.format:
            return f"CAST(try_strptime({text}, '{quoted(cell.format)}') AS DATE)"
        return f"TRY_CAST({text} AS DATE)"

    def _time(self, cell: Cell, raw: str) -> str:
        zone = quoted(cell.zone or self.asked.market.time_zone)
        if cell.epoch:
            return f"timezone('UTC', {_of_epoch(raw, cell.epoch)})"
        if cell.date is not None and cell.time is not None:
            return f"timezone('{zone}', {self._date_and_time(cell.date, cell)})"
        text = f"trim(CAST({raw} AS VARCHAR))"
        if cell.format:
            return f"timezone('{zone}', try_strptime({text}, '{quoted(cell.format)}'))"
        return (
            f"CASE WHEN regexp_matches({text}, '(Z|UTC|[+-][0-9]{{2}}(:?[0-9]{{2}})?)$')"
            f" AND {text} LIKE '%:%' THEN TRY_CAST({text} AS TIMESTAMPTZ)"
            f" ELSE timezone('{zone}', TRY_CAST({text} AS TIMESTAMP)) END"
        )

    def _date_and_time(self, date: Cell, cell: Cell) -> str:
        """A naive timestamp: midnight and a number since then, or a date and a clock text."""
        day, time = self._date(date, self._raw(date)), _column(cell.time or "")
        if cell.time_unit is None:
            return (
                f"TRY_CAST(strftime({day}, '%Y-%m-%d') || ' ' || trim(CAST({time} AS VARCHAR))"
                " AS TIMESTAMP)"
            )
        since = f"to_microseconds(epoch_us({_of_epoch(time, cell.time_unit)}))"
        return f"CAST({day} AS TIMESTAMP) + {since}"


def _of_epoch(raw: str, unit: Unit) -> str:
    """A naive UTC timestamp of a number, null outside of 1970 to 2223."""
    if unit == "ns":  # beyond the whole numbers of a double
        us = f"TRY_CAST(TRY_CAST({raw} AS HUGEINT) // 1000 AS BIGINT)"
    else:
        factor = 1_000_000 // PER_SECOND[unit]
        us = f"TRY_CAST(round(TRY_CAST({raw} AS DOUBLE) * {factor}) AS BIGINT)"
    return f"CASE WHEN {us} BETWEEN 0 AND {MAX_EPOCH_US} THEN make_timestamp({us}) END"


def _column(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _translated(text: str, codes: Mapping[str, object], otherwise: str = "NULL") -> str:
    cases = " ".join(f"WHEN '{quoted(a)}' THEN '{quoted(b)}'" for a, b in codes.items())
    return f"(CASE {text} {cases} ELSE {otherwise} END)"


def _matches(one: Filter) -> str:
    """Whether a filter leaves the row out; an empty cell has no codes."""
    text = f"CAST({_column(one.column)} AS VARCHAR)"
    parts = f"[{text}]" if one.split is None else f"string_split({text}, '{quoted(one.split)}')"
    codes = f"list_filter(list_transform({parts}, lambda x: trim(x)), lambda x: x <> '')"
    listed = ", ".join(f"'{quoted(code)}'" for code in one.keep or one.drop)
    if one.drop:
        return f"list_has_any({codes}, [{listed}])"
    return f"NOT list_has_all([{listed}], {codes})"
