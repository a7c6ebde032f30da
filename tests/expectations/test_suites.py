"""Rules of a row and suites generated from the contract: complete, never vacuous, never silent."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from crossimpact import contract
from crossimpact.errors import CrossImpactError
from crossimpact.row_checks import row_checks
from expectations.gx_runner import Judge
from expectations.suites import DATE, LANDED, count_column, rules, suite
from tests.pipelines import desk

SNAPSHOTS = contract.TABLES["market_snapshots"]


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def fill(connection: duckdb.DuckDBPyConnection, table: contract.Table, rows: desk.Rows) -> None:
    types = {c.name: contract.SQL_TYPE[c.type] for c in table.columns}
    types = {"file": "VARCHAR", "row": "BIGINT", **types, "uncast": "VARCHAR", "lost": "VARCHAR"}
    columns = ", ".join(f"{name} {kind}" for name, kind in types.items())
    connection.execute(f"CREATE OR REPLACE TABLE {table.name} ({columns})")
    for i, row in enumerate(rows):
        values = {"file": "f", "row": i} | row
        connection.execute(
            f"INSERT INTO {table.name} ({', '.join(values)})"
            f" VALUES ({', '.join('?' for _ in values)})",
            list(values.values()),
        )


def broken(connection: duckdb.DuckDBPyConnection, table: contract.Table) -> dict[str, list[int]]:
    """Rows per broken rule of a row, of a session from noon to noon around the open."""
    for name, hours in (("session_from", -12), ("session_to", 12)):
        connection.execute(
            f"SET VARIABLE {name} = CAST($moment AS TIMESTAMPTZ)",
            {"moment": desk.at(3600 * (3 + hours))},
        )
    found = {
        check.rule: connection.execute(
            f"SELECT row FROM {table.name} WHERE {check.broken} ORDER BY row"
        ).fetchall()
        for check in row_checks(table)
    }
    return {rule: [row for (row,) in rows] for rule, rows in found.items() if rows}


@pytest.mark.parametrize("table", contract.TABLES.values(), ids=lambda table: table.name)
def test_every_declared_rule_is_a_check_and_an_expectation(table: contract.Table) -> None:
    expected = {contract.CAST, *(rule.id for rule in table.row_rules)}
    expected |= {contract.DATE_IN_PARTITION} if table.clock else set()
    for column in table.columns:
        expected |= set() if column.nullable else {contract.cell_rule_id(column, "not_null")}
        expected |= (
            {contract.cell_rule_id(column, "range")} if column.at_most is not None else set()
        )
        expected |= {contract.cell_rule_id(column, "pattern")} if column.pattern else set()
        expected |= {contract.cell_rule_id(column, "values")} if column.values else set()
    checks = [check.rule for check in row_checks(table)]
    assert set(checks) == expected and len(checks) == len(set(checks))
    across = {rule.id for rule in contract.CROSS_RULES if rule.table == table.name}
    asked = [expectation.meta["rule_id"] for expectation in suite(table).expectations]
    every = expected | across | ({contract.UNIQUE_KEY} if table.key else set())
    assert sorted(asked) == sorted(every | {contract.COLUMN_SET, contract.ROW_COUNT})


@pytest.mark.parametrize("table", contract.TABLES.values(), ids=lambda table: table.name)
def test_clean_rows_break_nothing(
    connection: duckdb.DuckDBPyConnection, table: contract.Table
) -> None:
    fill(connection, table, desk.clean()[table.name][:5])
    assert broken(connection, table) == {}


BAD_CELLS = [
    ("bid_size", float("nan"), {"bid_size.range"}),
    ("ask_size", float("inf"), {"ask_size.range"}),
    ("bid_px", float("-inf"), {"bid_px.range"}),
    ("bid_px", 0.0, {"bid_px.range"}),
    ("short_vol_bps", float("nan"), {"short_vol_bps.range"}),
    ("ask_px", None, {"ask_px.not_null"}),
    ("symbol", None, {"symbol.not_null"}),
    ("symbol", "AAA\n", {"symbol.pattern"}),
    ("symbol", "aaa", {"symbol.pattern"}),
    ("symbol", "", {"symbol.pattern"}),
    ("ts", None, {"ts.not_null"}),
    ("ts", desk.at(-24 * 3600), {contract.DATE_IN_PARTITION}),
    ("ts", desk.at(24 * 3600), {contract.DATE_IN_PARTITION}),
    ("ask_px", 99.985, {"book_not_crossed"}),
    ("ts", "infinity", {contract.DATE_IN_PARTITION}),
]


@pytest.fixture(scope="module")
def broken_by_bad_cells() -> dict[str, list[int]]:
    """A table whose every second row has a bad cell: rows per broken rule."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        rows = desk.clean()["market_snapshots"][: 2 * len(BAD_CELLS)]
        for row, (column, value, _) in zip(rows[::2], BAD_CELLS, strict=True):
            row[column] = value
        fill(connection, SNAPSHOTS, rows)
        return broken(connection, SNAPSHOTS)


@pytest.mark.parametrize(
    ("row", "rules"), [(2 * i, rules) for i, (*_, rules) in enumerate(BAD_CELLS)]
)
def test_a_bad_cell_breaks_its_rule_and_no_other(
    broken_by_bad_cells: dict[str, list[int]], row: int, rules: set[str]
) -> None:
    assert {rule for rule, rows in broken_by_bad_cells.items() if row in rows} == rules
    assert not any(row + 1 in rows for rows in broken_by_bad_cells.values())


FILLS = contract.TABLES["child_fills"]


PRINTABLE = [
    "order_EURUSD2017-04-25 07:09:31.804000+00:00_2018-06-17 22:42:44.253123_9418",
    " ",
    "=1+1",
    "say \"hi\", 'you'; a|b\\c <i>&amp;",
    "Größe 株式 ордер 🙂",
    "x" * 128,
    "é" * 128,
]
NOT_PRINTABLE = [
    "",
    "x" * 129,
    "é" * 129,
    "a\nb",
    "a\tb",
    "\x1b[31m",
    "a\x00",
    "\x85",
    "a\u202eb",
    "\u200b",
    "\u2028",
]


def test_an_id_is_opaque_printable_text(connection: duckdb.DuckDBPyConnection) -> None:
    rows = desk.clean()["child_fills"][: len(PRINTABLE) + 1]
    for row, text in zip(rows, PRINTABLE, strict=False):
        row |= {"fill_id": text, "order_id": text}
    fill(connection, FILLS, rows)
    assert broken(connection, FILLS) == {}


def test_an_id_with_what_cannot_be_printed_is_refused(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    rows = desk.clean()["child_fills"][: len(NOT_PRINTABLE) + 1]
    for row, text in zip(rows, NOT_PRINTABLE, strict=False):
        venue = f"X{text}" if len(text) < 99 else "X"
        row |= {"fill_id": text, "order_id": text, "venue": venue}
    fill(connection, FILLS, rows)
    found = broken(connection, FILLS)
    every = list(range(len(NOT_PRINTABLE)))
    assert found.pop("fill_id.pattern") == found.pop("order_id.pattern") == every
    assert found == {
        "venue.pattern": [i for i, text in enumerate(NOT_PRINTABLE) if 0 < len(text) < 99]
    }


def test_all_offenders_are_named_not_a_sample(connection: duckdb.DuckDBPyConnection) -> None:
    rows = desk.clean()["market_snapshots"]
    for row in rows[::2]:
        row["bid_size"] = -1.0
        row["symbol"] = "?"
    fill(connection, SNAPSHOTS, rows)
    found = broken(connection, SNAPSHOTS)
    assert found["bid_size.range"] == found["symbol.pattern"] == list(range(0, len(rows), 2))


def counts(connection: duckdb.DuckDBPyConnection, columns: dict[str, int], lines: int = 2) -> None:
    """A table of counts: `lines` dates, the last of them with the rules' rows given."""
    zero = dict.fromkeys(columns, 0)
    for k in range(lines):
        values = columns if k == lines - 1 else zero
        cells = ", ".join(f"{value} AS {name}" for name, value in values.items())
        line = f"SELECT DATE '2024-01-0{k + 1}' AS {DATE}, 9 AS {LANDED}, {cells}"
        connection.execute(f"INSERT INTO c {line}" if k else f"CREATE TABLE c AS {line}")
    if not lines:
        cells = ", ".join(f"0 AS {name}" for name in columns)
        connection.execute(
            f"CREATE TABLE c AS SELECT DATE '2024-01-01' AS {DATE}, 9 AS {LANDED}, {cells} LIMIT 0"
        )


def test_gx_finds_the_rules_that_any_date_breaks(connection: duckdb.DuckDBPyConnection) -> None:
    hits = {"bid_px.range": 1, "snapshot_gap": 7}
    counts(connection, {count_column(rule): hits.get(rule, 0) for rule in rules(SNAPSHOTS)})
    assert Judge(connection).broken(SNAPSHOTS, "c") == hits.keys()


@pytest.mark.parametrize("change", ["a rule fewer", "a rule more", "no date"])
def test_neither_a_rule_nor_a_date_is_left_out_in_silence(
    connection: duckdb.DuckDBPyConnection, change: str
) -> None:
    columns = {count_column(rule): 0 for rule in rules(SNAPSHOTS)}
    if change == "a rule fewer":
        columns.popitem()
    if change == "a rule more":
        columns["of_nobody"] = 0
    counts(connection, columns, lines=0 if change == "no date" else 2)
    with pytest.raises(CrossImpactError, match="counts fail"):
        Judge(connection).broken(SNAPSHOTS, "c")


def test_what_cannot_be_evaluated_is_an_error(connection: duckdb.DuckDBPyConnection) -> None:
    counts(connection, {count_column(rule): 0 for rule in rules(SNAPSHOTS)})
    connection.execute("ALTER TABLE c ALTER bid_px__range TYPE VARCHAR")
    connection.execute("UPDATE c SET bid_px__range = 'x'")
    with pytest.raises(CrossImpactError, match="could not be evaluated"):
        Judge(connection).broken(SNAPSHOTS, "c")


def test_a_number_without_a_finite_range_makes_no_check() -> None:
    column = contract.Column("px", "f64", "a price", above=0.0)
    with pytest.raises(CrossImpactError, match="finite range"):
        row_checks(contract.Table("t", "a price", (column,), key=()))
