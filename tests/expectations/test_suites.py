"""Suites generated from the contract: complete, never vacuous, and never silent about an error."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from crossimpact import contract
from crossimpact.errors import CrossImpactError
from expectations.gx_runner import Judge
from expectations.suites import suite
from pipelines.store.landing import create, relation
from tests.pipelines import desk

SNAPSHOTS = contract.TABLES["market_snapshots"]


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def fill(connection: duckdb.DuckDBPyConnection, table: contract.Table, rows: desk.Rows) -> None:
    create(connection, table)
    names = ["date", "file", "row", *table.column_names]
    for i, row in enumerate(rows):
        values = {"date": desk.DATE, "file": "f", "row": i} | row
        connection.execute(
            f"INSERT INTO {relation(table)} ({', '.join(names)})"
            f" VALUES ({', '.join('?' for _ in names)})",
            [values[name] for name in names],
        )


def broken(connection: duckdb.DuckDBPyConnection, table: contract.Table) -> dict[str, list[int]]:
    """Rows per broken rule, by running each finding's query."""
    findings = Judge(connection).findings(table, relation(table))
    return {
        finding.rule_id: sorted(
            row for (row,) in connection.sql(f"SELECT row FROM ({finding.query})").fetchall()
        )
        if finding.query
        else []
        for finding in findings
    }


@pytest.mark.parametrize("table", contract.TABLES.values(), ids=lambda table: table.name)
def test_every_declared_rule_is_an_expectation(table: contract.Table) -> None:
    ids = [expectation.meta["rule_id"] for expectation in suite(table).expectations]
    expected = {contract.COLUMN_SET, contract.ROW_COUNT, contract.CAST}
    expected |= {rule.id for rule in table.row_rules}
    expected |= {contract.UNIQUE_KEY} if table.key else set()
    expected |= {contract.DATE_IN_PARTITION} if table.clock else set()
    for column in table.columns:
        expected |= set() if column.nullable else {contract.cell_rule_id(column, "not_null")}
        expected |= (
            {contract.cell_rule_id(column, "range")} if column.at_most is not None else set()
        )
        expected |= {contract.cell_rule_id(column, "pattern")} if column.pattern else set()
        expected |= {contract.cell_rule_id(column, "values")} if column.values else set()
    assert set(ids) == expected
    assert len(ids) == len(set(ids)) >= 2 * len(table.columns)


@pytest.mark.parametrize("table", contract.TABLES.values(), ids=lambda table: table.name)
def test_clean_rows_pass_and_no_rows_do_not(
    connection: duckdb.DuckDBPyConnection, table: contract.Table
) -> None:
    fill(connection, table, [])
    assert broken(connection, table) == {contract.ROW_COUNT: []}
    connection.execute(f"DROP TABLE {relation(table)}")
    fill(connection, table, desk.clean()[table.name][:5])
    assert broken(connection, table) == {}


BAD_CELLS = [
    ("bid_size", float("nan"), {"bid_size.range"}),
    ("ask_size", float("inf"), {"ask_size.range"}),
    ("bid_px", float("-inf"), {"bid_px.range"}),
    ("bid_px", 0.0, {"bid_px.range"}),
    ("short_vol_bps", float("nan"), {"short_vol_bps.range"}),
    ("ask_px", None, {"ask_px.not_null"}),
    ("ask_px", 99.99, {"book_not_crossed"}),
    ("symbol", None, {"symbol.not_null"}),
    ("symbol", "AAA\n", {"symbol.pattern"}),
    ("symbol", "aaa", {"symbol.pattern"}),
    ("symbol", "", {"symbol.pattern"}),
    ("ts", None, {"ts.not_null"}),
    ("ts", desk.at(-48 * 3600), {contract.DATE_IN_PARTITION}),
    ("ts", desk.at(48 * 3600), {contract.DATE_IN_PARTITION}),
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


def test_one_fill_id_on_two_venues_is_two_executions(connection: duckdb.DuckDBPyConnection) -> None:
    rows = desk.clean()["child_fills"][:3]
    for row, venue in zip(rows, ("XNAS", "ARCX", "XNAS"), strict=True):
        row |= {"fill_id": "1514", "venue": venue}
    fill(connection, FILLS, rows)
    assert broken(connection, FILLS) == {contract.UNIQUE_KEY: [2]}


def test_all_offenders_are_named_not_a_sample(connection: duckdb.DuckDBPyConnection) -> None:
    rows = desk.clean()["market_snapshots"]
    for row in rows[::2]:
        row["bid_size"] = -1.0
        row["symbol"] = "?"
    fill(connection, SNAPSHOTS, rows)
    found = broken(connection, SNAPSHOTS)
    assert found["bid_size.range"] == found["symbol.pattern"] == list(range(0, len(rows), 2))


def test_the_first_of_duplicates_stays(connection: duckdb.DuckDBPyConnection) -> None:
    rows = desk.clean()["market_snapshots"][:4]
    fill(connection, SNAPSHOTS, [*rows, rows[1], rows[1]])
    assert broken(connection, SNAPSHOTS) == {contract.UNIQUE_KEY: [4, 5]}


def test_a_column_short_is_a_broken_table(connection: duckdb.DuckDBPyConnection) -> None:
    fill(connection, SNAPSHOTS, desk.clean()["market_snapshots"][:2])
    connection.execute(f"ALTER TABLE {relation(SNAPSHOTS)} DROP COLUMN bid_px")
    (finding,) = Judge(connection).findings(SNAPSHOTS, relation(SNAPSHOTS))
    assert (finding.rule_id, finding.blocks) == (contract.COLUMN_SET, True)


def test_what_cannot_be_evaluated_is_an_error(connection: duckdb.DuckDBPyConnection) -> None:
    fill(connection, SNAPSHOTS, desk.clean()["market_snapshots"][:2])
    connection.execute(f"ALTER TABLE {relation(SNAPSHOTS)} ALTER bid_px TYPE VARCHAR")
    connection.execute(f"UPDATE {relation(SNAPSHOTS)} SET bid_px = 'x'")
    with pytest.raises(CrossImpactError, match="could not be evaluated"):
        Judge(connection).findings(SNAPSHOTS, relation(SNAPSHOTS))


def test_the_judge_finds_nothing_where_there_is_no_table(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    with pytest.raises(Exception, match="landed_market_snapshots"):
        Judge(connection).findings(SNAPSHOTS, relation(SNAPSHOTS))


def test_a_number_without_a_finite_range_makes_no_suite() -> None:
    column = contract.Column("px", "f64", "a price", above=0.0)
    with pytest.raises(CrossImpactError, match="finite range"):
        suite(contract.Table("t", "a price", (column,), key=()))
