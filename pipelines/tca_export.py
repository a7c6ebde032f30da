"""TCA's marts as files for others: a folder of CSV, a workbook, or one DuckDB database.

Each holds every table of `tca_tables` over the dates asked for, with the date as its first column,
and what was predicted of baskets before they were traded. Names, units and comments are the marts'
own. The database needs nothing beside itself: tables, not links to this home.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any

import duckdb

from crossimpact import atomic
from crossimpact.errors import UsageError
from pipelines import pretrade_record
from pipelines.store import csv_file
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse, quoted, sql
from pipelines.tca_columns import Column, Table, real, text, time, whole
from pipelines.tca_tables import TABLES

LAYER = "marts"
#: Rows of a sheet, its header aside.
MAX_SHEET_ROWS = 1_048_575
FETCHED = 10_000
DATE = Column("date", "DATE", "", "trading date")
PRETRADE = Table(
    pretrade_record.TABLE,
    "order x urgency x regime of a prediction made before trading",
    ("prediction", "line", "urgency", "regime"),
    (
        text("prediction", "of the same orders by the same release: the same"),
        time("predicted_at", "when it was asked for"),
        text("release_id", "who predicted"),
        text("basket_id", "as in the file"),
        text("order_id", "as in the file; null where it has none"),
        whole("line", "of the file", ""),
        text("symbol", "name"),
        text("side", "BUY or SELL"),
        time("start_ts", "planned start"),
        time("end_ts", "planned end at this urgency"),
        text("urgency", "low: the whole window, medium: its half, high: a quarter"),
        text("regime", "in which it is priced"),
        text("rung", "who answered"),
        *(
            real(name, "bps" if name.endswith("_bps") else "USD", said)
            for name, said in pretrade_record.COLUMNS.items()
        ),
    ),
)


@dataclass(frozen=True)
class Export:
    """What was written: where, the dates, and rows per table."""

    path: str
    first: str
    last: str
    dates: int
    rows: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def to_csv(
    settings: Settings, folder: Path, first: str | None = None, last: str | None = None
) -> Export:
    """Write `<folder>/<table>.csv` of every table.

    Raises
    ------
    UsageError
        When no date between `first` and `last` was analysed, or the folder is a file.
    """
    dates = _dates(settings, first, last)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file", "name a folder for the tables' CSV files")
    folder.mkdir(parents=True, exist_ok=True)
    rows = {}
    with _opened(settings, dates) as connection:
        for table in _tables():
            header = [column.name for column in _columns(table)]
            found = _fetched(connection, table, _as_text)
            rows[table.name] = csv_file.write(folder / f"{table.name}.csv", header, found)
    return Export(str(folder), dates[0], dates[-1], len(dates), rows)


def to_xlsx(
    settings: Settings, path: Path, first: str | None = None, last: str | None = None
) -> Export:
    """Write one workbook: a sheet a table, and one that says what the columns are.

    Raises
    ------
    UsageError
        As `to_csv`, and when a table has more rows than a sheet.
    """
    from xlsxwriter import Workbook

    dates = _dates(settings, first, last)
    _refuse_folder(path)
    rows = {}
    with _opened(settings, dates) as connection, atomic.replacing(path) as draft:
        options = {"remove_timezone": True, "strings_to_formulas": False, "strings_to_urls": False,
                   "constant_memory": True, "nan_inf_to_errors": True}  # fmt: skip
        with Workbook(str(draft), options) as book:
            made = datetime.fromisoformat(dates[-1])
            book.set_properties({"created": made})  # the same rows, the same bytes
            bold = book.add_format({"bold": True})
            times = book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss.000"})
            days = book.add_format({"num_format": "yyyy-mm-dd"})
            _about(book, bold)
            for table in _tables():
                sheet = book.add_worksheet(table.name)
                sheet.freeze_panes(1, 0)
                sheet.write_row(0, 0, [column.name for column in _columns(table)], bold)
                for k, column in enumerate(_columns(table)):
                    kind = days if column is DATE else times if "TIME" in column.type else None
                    sheet.set_column(k, k, max(10, min(len(column.name) + 1, 24)), kind)
                rows[table.name] = _fill(sheet, _fetched(connection, table, _as_cell), table.name)
    return Export(str(path), dates[0], dates[-1], len(dates), rows)


def to_duckdb(
    settings: Settings, path: Path, first: str | None = None, last: str | None = None
) -> Export:
    """Write one DuckDB database, read-only: a table a mart with comments on every column, and the
    views `desk_daily` and `predicted_orders` that most questions start from.

    Raises
    ------
    UsageError
        As `to_csv`, and when the path is a folder.
    """
    dates = _dates(settings, first, last)
    _refuse_folder(path)
    rows = {}
    with atomic.replacing(path) as draft, _opened(settings, dates) as connection:
        connection.execute(f"ATTACH '{quoted(draft)}' AS made")
        for table in _tables():
            connection.execute(f"CREATE TABLE made.{table.name} AS {_query(table)}")
            _comment(connection, table)
            count = connection.execute(f"SELECT count(*) FROM made.{table.name}").fetchone()
            rows[table.name] = count[0] if count else 0
        connection.execute("USE made")
        connection.execute(sql("marts/export_views"))
        connection.execute("USE memory")
        connection.execute("DETACH made")
        draft.chmod(0o444)
    return Export(str(path), dates[0], dates[-1], len(dates), rows)


# -- what is read --------------------------------------------------------------------------------


def _tables() -> Iterator[Table]:
    yield from TABLES.values()
    yield PRETRADE


def _columns(table: Table) -> list[Column]:
    """The date first; `tca_daily` has it as text already."""
    return [DATE, *(column for column in table.columns if column.name != DATE.name)]


def _dates(settings: Settings, first: str | None, last: str | None) -> list[str]:
    """Analysed dates between the two, both included."""
    if first and last and first > last:
        raise UsageError(f"--from {first} is after --to {last}")
    known = Warehouse(settings).dates(LAYER, "tca_daily")
    dates = [date for date in known if (first or date) <= date <= (last or date)]
    if not dates:
        span = f"{known[0]} to {known[-1]} were" if known else "no date was"
        raise UsageError(
            f"no TCA between {first or 'the first'} and {last or 'the last'} date: {span} analysed",
            "run `crossimpact tca LANDING` first",
        )
    return dates


@contextmanager
def _opened(settings: Settings, dates: Sequence[str]) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with the tables' rows of the dates as relations of their names."""
    warehouse = Warehouse(settings)
    with warehouse.connect() as connection:
        for table in _tables():
            _attach(connection, warehouse, table, dates)
        yield connection


def _attach(
    connection: duckdb.DuckDBPyConnection, warehouse: Warehouse, table: Table, dates: Sequence[str]
) -> None:
    """A view of the declared columns; null where a date was analysed before it had one."""
    files = ", ".join(f"'{quoted(f)}'" for f in warehouse.files(LAYER, table.name, dates))
    if files:
        connection.execute(
            f"CREATE VIEW {table.name}_found AS SELECT * FROM read_parquet([{files}],"
            " hive_partitioning = true, hive_types = {'date': DATE}, union_by_name = true)"
        )
        there = {row[0] for row in connection.execute(f"DESCRIBE {table.name}_found").fetchall()}
    else:
        connection.execute(f"CREATE VIEW {table.name}_found AS SELECT 1 AS one WHERE false")
        there = set()
    chosen = ", ".join(
        f"{c.name if c.name in there else 'NULL'}::{c.type} AS {c.name}" for c in _columns(table)
    )
    connection.execute(f"CREATE VIEW {table.name} AS SELECT {chosen} FROM {table.name}_found")


def _query(table: Table, columns: str = "*") -> str:
    order = ", ".join(table.key) if not table.order else table.order
    return f"SELECT {columns} FROM {table.name} ORDER BY {table.name}.date, {order}"


def _as_text(column: Column) -> str:
    """Times in ISO 8601, UTC."""
    if "TIME" in column.type:
        return f"strftime({column.name}, '%Y-%m-%dT%H:%M:%S.%fZ')"
    return column.name


def _as_cell(column: Column) -> str:
    """A workbook knows neither zones nor decimals."""
    if "TIME" in column.type:
        return f"({column.name} AT TIME ZONE 'UTC')"
    return f"{column.name}::DOUBLE" if column.type.startswith("DECIMAL") else column.name


def _fetched(
    connection: duckdb.DuckDBPyConnection, table: Table, form: Any
) -> Iterator[tuple[Any, ...]]:
    chosen = ", ".join(f"{form(column)} AS {column.name}_" for column in _columns(table))
    cursor = connection.execute(_query(table, chosen))
    return chain.from_iterable(iter(lambda: cursor.fetchmany(FETCHED), []))


# -- what is written -----------------------------------------------------------------------------


def _refuse_folder(path: Path) -> None:
    if path.is_dir():
        raise UsageError(f"{path} is a folder", "name a file")


def _about(book: Any, bold: Any) -> None:
    sheet = book.add_worksheet("columns")
    sheet.write_row(0, 0, ["table", "column", "unit", "meaning", "a row is"], bold)
    sheet.set_column(0, 1, 26)
    sheet.set_column(3, 4, 60)
    rows = ((t.name, c.name, c.unit, c.comment, t.grain) for t in _tables() for c in _columns(t))
    for number, row in enumerate(rows, start=1):
        for column, value in enumerate(row):
            sheet.write_string(number, column, value)


def _fill(sheet: Any, rows: Iterator[tuple[Any, ...]], name: str) -> int:
    count = 0
    for count, row in enumerate(rows, start=1):
        if count > MAX_SHEET_ROWS:
            raise UsageError(
                f"{name} has more rows than a sheet holds, {MAX_SHEET_ROWS:,}",
                "narrow --from and --to, or take --csv or --duckdb",
            )
        for column, value in enumerate(row):
            _write(sheet, count, column, value)
    return count


def _write(sheet: Any, row: int, column: int, value: Any) -> None:
    """Text stays text, whatever it begins with."""
    if value is None or value != value:
        return
    if isinstance(value, str):
        sheet.write_string(row, column, value)
    else:
        sheet.write(row, column, value)


def _comment(connection: duckdb.DuckDBPyConnection, table: Table) -> None:
    name = f"made.{table.name}"
    connection.execute(f"COMMENT ON TABLE {name} IS '{quoted(f'A row is {table.grain}.')}'")
    for column in _columns(table):
        unit = f" [{column.unit}]" if column.unit else ""
        said = quoted(f"{column.comment}{unit}")
        connection.execute(f"COMMENT ON COLUMN {name}.{column.name} IS '{said}'")
