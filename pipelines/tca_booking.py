"""What the desk really ordered and executed on a date, refused rows and earlier dates included.

The contract refuses a row for what would spoil a fit: an execution while the quotes stood still, an
order without a mark. Neither is undone by that. Here they come back, with what was refused, so that
nothing that was traded vanishes from a shortfall; and orders of dates before, that last on.
"""

from __future__ import annotations

from collections.abc import Iterator

import duckdb

from crossimpact import contract
from crossimpact.schema import SQL_TYPE
from pipelines.store.warehouse import Warehouse, quoted, scalar, sql
from pipelines.tca_tables import ORDERS

#: An order that broke no others is booked: its marks and its decision price can be replaced.
PARENT_RULES = (
    "marks_complete", "mark_refused", "decision_near_mid", "instrument_refused",
    "parent_symbol_known",
)  # fmt: skip
#: A fill that broke no others was executed, whatever can be said of its price.
FILL_RULES = (
    "snapshot_fresh", "fill_near_mid", "fill_in_window", "parent_refused", "instrument_refused",
    "fill_symbol_known",
)  # fmt: skip
MARK_RULES = ("parent_refused",)
#: An order that ends later than this after the session lasts on: nothing of it is opportunity yet.
OPEN_BEYOND_H = 1.0
#: Name in the queries -> table.
BOOKED = {"parents": "parent_orders", "fills": "child_fills", "marks": "benchmark_marks"}
LANDED = ("accepted", "quarantine")


def book(connection: duckdb.DuckDBPyConnection, warehouse: Warehouse, date: str) -> None:
    """Make the relations `booked_parents`, `booked_fills`, `booked_marks`, `filled_before`,
    `previous_close` and `earlier_orders`, beside the date's `buckets`."""
    around = dates(warehouse, date)
    _landed(connection, warehouse, around)
    _book_parents(connection, warehouse, date)
    _previous_close(connection, warehouse, around)
    rules = {"date": date, "fill_rules": list(FILL_RULES)}
    queries = {
        "booked_fills": rules,
        "booked_marks": {"date": date, "mark_rules": list(MARK_RULES)},
        "filled_before": rules,
    }
    for name, values in queries.items():
        connection.execute(f"CREATE TEMP TABLE {name} AS\n{sql(f'marts/tca_{name}')}", values)
    columns = {column.name: column.type for column in ORDERS.columns if _adds_up(column.name)}
    earlier = [day for day in around if _first_carried(connection, date) <= day < date]
    _view(connection, "earlier_orders", columns, warehouse.files("marts", ORDERS.name, earlier))


def _adds_up(column: str) -> bool:
    """Whether an order's life reads the column of its earlier dates: all that older homes need."""
    return column.endswith("_usd") or column in ("order_id", "status", "filled_qty")


def dates(warehouse: Warehouse, date: str) -> list[str]:
    """The date and those before it whose orders may still trade, ascending."""
    there = warehouse.dates("accepted", "parent_orders")
    before = [other for other in there if other < date]
    return [*before[-contract.PARENT_DATES :], date]


def inputs(warehouse: Warehouse, date: str) -> Iterator[tuple[str, str]]:
    """Names and digests of everything read here beside the date's accepted partitions."""
    around = dates(warehouse, date)
    read = [(layer, t, d) for d in around for layer in LANDED for t in BOOKED.values()]
    read += [(warehouse.settings.feature_layer, "buckets", d) for d in around[-2:-1]]
    read += [("marts", ORDERS.name, d) for d in _carried_dates(warehouse, around)]
    for layer, table, day in read:
        manifest = warehouse.manifest(layer, table, day)
        yield f"{layer}/{table}/{day}", manifest.sha256 if manifest else "none"


def _carried_dates(warehouse: Warehouse, around: list[str]) -> list[str]:
    """Earlier dates with an order that is alive on the last: their marts are read for its life."""
    date = around[-1]
    with warehouse.connect() as connection:
        warehouse.attach(connection, warehouse.settings.feature_layer, "buckets", [date], view=True)
        _landed(connection, warehouse, around)
        _book_parents(connection, warehouse, date)
        first = _first_carried(connection, date)
    return [day for day in around if first <= day < date]


def _first_carried(connection: duckdb.DuckDBPyConnection, date: str) -> str:
    """Date of landing of the oldest order alive."""
    query = "SELECT min(date)::VARCHAR FROM booked_parents WHERE date < $date::DATE"
    return str(scalar(connection, query, {"date": date}) or date)


def _book_parents(connection: duckdb.DuckDBPyConnection, warehouse: Warehouse, date: str) -> None:
    connection.execute(
        f"CREATE TEMP TABLE booked_parents AS\n{sql('marts/tca_booked_parents')}",
        {
            "date": date,
            "parent_rules": list(PARENT_RULES),
            "bucket_s": warehouse.settings.bucket_s,
            "open_beyond_h": OPEN_BEYOND_H,
        },
    )


def _landed(connection: duckdb.DuckDBPyConnection, warehouse: Warehouse, around: list[str]) -> None:
    """Orders, fills and marks of the dates as `accepted_*` and `refused_*`."""
    for name, table in BOOKED.items():
        columns = {c.name: SQL_TYPE[c.type] for c in contract.TABLES[table].columns}
        refused = {"rules": "VARCHAR[]", "record": "VARCHAR"}
        accepted = warehouse.files("accepted", table, around)
        _view(connection, f"accepted_{name}", columns, accepted)
        _view(connection, f"refused_{name}", refused, warehouse.files("quarantine", table, around))


def _view(
    connection: duckdb.DuckDBPyConnection, name: str, columns: dict[str, str], files: list[str]
) -> None:
    """Partitions of several dates as one relation with their date; empty where there are none."""
    chosen = ", ".join(f"{column}::{kind} AS {column}" for column, kind in columns.items())
    if files:
        listed = ", ".join(f"'{quoted(file)}'" for file in files)
        source = (
            f"SELECT date, {chosen} FROM read_parquet([{listed}], hive_partitioning = true,"
            " hive_types = {'date': DATE}, union_by_name = true)"
        )
    else:
        empty = ", ".join(f"NULL::{kind} AS {column}" for column, kind in columns.items())
        source = f"SELECT NULL::DATE AS date, {empty} WHERE false"
    connection.execute(f"CREATE TEMP VIEW {name} AS {source}")


def _previous_close(
    connection: duckdb.DuckDBPyConnection, warehouse: Warehouse, around: list[str]
) -> None:
    """The last mid of each name on the date before, as the features have it."""
    files = warehouse.files(warehouse.settings.feature_layer, "buckets", around[-2:-1])
    columns = {"ts": "TIMESTAMPTZ", "symbol": "VARCHAR", "mid_end": "DOUBLE"}
    _view(connection, "buckets_before", columns, files)
    connection.execute(f"CREATE TEMP TABLE previous_close AS\n{sql('marts/tca_previous_close')}")
