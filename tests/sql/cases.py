"""Given/expect cases of queries, as text tables in `<query>.cases.toml` beside the query.

    [[case]]
    name = "a fill whose order is not landed"
    params = { max_snapshot_age_s = 60 }            # optional, the query's named parameters
    given.child_fills = '''
        row | order_id
        0   | o1
    '''
    expect = '''
        row
        0
    '''

A table is a header and rows, cells parted by `|`; `null` is a missing cell. A column's type is the
contract's, that of `file` and `row`, or the one written behind its name (`q_usd DOUBLE`). Contract
tables that a case does not mention are there and empty, as are their unmentioned columns (null).
`expect` names the columns to compare, in any order of rows; numbers agree to 1e-9. A query that is
a statement (it makes, fills or empties a relation) says in `gives` whose rows are compared after
it; `variables` are the connection's, as `getvariable` reads them.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from crossimpact import contract
from pipelines.store.settings import SQL_DIR

Row = tuple[Any, ...]

#: Types of the columns around the contract's: where a landed row comes from, and its verdicts.
COMMON = {"file": "VARCHAR", "row": "BIGINT", "table_name": "VARCHAR", "rule_id": "VARCHAR"}
VERDICTS = {"broken_rows": COMMON, "found": COMMON | {"date": "DATE", "severity": "VARCHAR"}}
#: What is held against the mid at its time, and prints that share name and time.
PRICED = {
    "priced": {
        "table_name": "VARCHAR",
        "file": "VARCHAR",
        "row": "BIGINT",
        "mark": "VARCHAR",
        **dict.fromkeys(("px", "mid_px", "age_s", "opening_mid_px"), "DOUBLE"),
    },
    "coinciding": COMMON
    | {c.name: contract.SQL_TYPE[c.type] for c in contract.PUBLIC_TRADES.columns},
}


@dataclass(frozen=True)
class Case:
    """One given/expect example of a query."""

    query: Path
    name: str
    expect: str
    given: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    variables: Mapping[str, Any] = field(default_factory=dict)
    gives: str | None = None


@dataclass(frozen=True)
class TextTable:
    """A parsed table: column names, the types written behind them, and cells as text or None."""

    columns: tuple[str, ...]
    types: Mapping[str, str]
    rows: tuple[tuple[str | None, ...], ...]


def all_cases(root: Path = SQL_DIR) -> Iterator[Case]:
    """Cases of every query below `root`, by path."""
    for path in sorted(root.rglob("*.cases.toml")):
        query = path.with_name(path.name.replace(".cases.toml", ".sql"))
        for case in tomllib.loads(path.read_text())["case"]:
            yield Case(query, **case)


def parse(text: str) -> TextTable:
    header, *lines = [line.strip() for line in text.strip().splitlines()]
    titles = [title.split(maxsplit=1) for title in header.split("|")]
    rows = tuple(tuple(_cell(cell) for cell in line.split("|")) for line in lines)
    if any(len(row) != len(titles) for row in rows):
        raise ValueError(f"ragged table below {header!r}")
    return TextTable(
        tuple(title[0] for title in titles),
        {title[0]: title[1].strip() for title in titles if len(title) > 1},
        rows,
    )


def run(case: Case) -> tuple[list[Row], list[Row]]:
    """(found, expected) rows of the columns `expect` names, both sorted."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for name, value in case.variables.items():
            connection.execute(f"SET VARIABLE {name} = $value", {"value": value})
        for name, types in _relations(case).items():
            _create(connection, name, types, parse(case.given.get(name, next(iter(types)))))
        result = _execute(connection, case)
        types = dict(
            connection.execute("SELECT name, type FROM pragma_table_info($1)", [result]).fetchall()
        )
        expect = parse(case.expect)
        _create(connection, "expected", {name: types[name] for name in expect.columns}, expect)
        columns = ", ".join(_text(name, types[name]) for name in expect.columns)
        found, expected = (
            connection.execute(f"SELECT {columns} FROM {name} ORDER BY ALL").fetchall()
            for name in (result, "expected")
        )
    return found, expected


def _execute(connection: duckdb.DuckDBPyConnection, case: Case) -> str:
    """Run the case's query; the relation its rows are in."""
    query = case.query.read_text()
    wanted = {name: case.params[name] for name in re.findall(r"\$(\w+)", query)}
    if case.gives:
        connection.execute(query, wanted)
        return case.gives
    connection.execute(f"CREATE TABLE query_result AS {query}", wanted)
    return "query_result"


def agree(found: list[Row], expected: list[Row]) -> bool:
    return len(found) == len(expected) and all(
        _same(a, b) for x, y in zip(found, expected, strict=True) for a, b in zip(x, y, strict=True)
    )


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9) or (math.isnan(a) and math.isnan(b))
    return bool(a == b)


def _cell(text: str) -> str | None:
    text = text.strip()
    return None if text == "null" else text


def _relations(case: Case) -> dict[str, dict[str, str]]:
    """Tables to create, with their columns' types."""
    relations = (
        {
            name: COMMON | {c.name: contract.SQL_TYPE[c.type] for c in table.columns}
            for name, table in contract.TABLES.items()
        }
        | VERDICTS
        | PRICED
    )
    for name, text in case.given.items():
        given = parse(text)
        known = relations.get(name, COMMON)
        named = {column: given.types.get(column, known.get(column, "")) for column in given.columns}
        relations[name] = (known if name in relations else {}) | named
    if case.gives not in case.given:  # the query makes it
        relations.pop(case.gives, None)
    return relations


def _create(
    connection: duckdb.DuckDBPyConnection, name: str, types: Mapping[str, str], rows: TextTable
) -> None:
    columns = ", ".join(f'"{column}" {kind}' for column, kind in types.items())
    connection.execute(f"CREATE TABLE {name} ({columns})")
    if rows.rows:
        named = ", ".join(f'"{column}"' for column in rows.columns)
        cells = ", ".join(f"CAST(? AS {types[column]})" for column in rows.columns)
        connection.executemany(f"INSERT INTO {name} ({named}) VALUES ({cells})", rows.rows)


def _text(name: str, kind: str) -> str:
    """Numbers as they are, anything else compared as text."""
    number = kind in ("DOUBLE", "FLOAT", "BIGINT", "INTEGER", "HUGEINT", "BOOLEAN")
    if kind.startswith("DECIMAL"):
        return f'CAST("{name}" AS DOUBLE) AS "{name}"'
    return f'"{name}"' if number else f'CAST("{name}" AS VARCHAR) AS "{name}"'
