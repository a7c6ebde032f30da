"""The marts are what `pipelines.tca_tables` declares: names, types, units, one row a key."""

from __future__ import annotations

import re

import pytest

from crossimpact.release.bundle import Release
from pipelines import tca_marts
from pipelines.pricing import Pricing
from pipelines.store.warehouse import Warehouse
from pipelines.tca_columns import CAUSES, FIVE, INSIDE, PARTS, Table
from pipelines.tca_tables import DAILY, ORDERS, TABLES
from tests.pipelines.tca_desk import DATE, desk, fill, mark, model, parent, quote, release

UNITS = {
    "usd": "USD",
    "ts": "UTC",
    "qty": "shares",
    "px": "price",
    "bps": "bps",
    "min": "min",
    "s": "s",
}


@pytest.fixture(scope="module")
def marts(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    orders = [parent("o1"), parent("o2", "BBB", "SELL"), parent("o3", "CCC")]
    fills = [fill("f1", orders[0], 10, 10.05, 60, 1.5), fill("f2", orders[1], 20, 10.0, 50)]
    quotes = [quote(symbol, 0, 10.0) for symbol in ("AAA", "BBB")]
    settings = desk(
        tmp_path_factory.mktemp("home"), orders, fills, quotes, [mark("o1", "CLOSE", 10.2)]
    )
    by: Release = release(model(), model("stressed"))
    tca_marts.build(Warehouse(settings), DATE, Pricing.by(by, DATE), {"by": "hand"})
    return Warehouse(settings)


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_a_mart_has_the_declared_columns_and_one_row_a_key(marts: Warehouse, table: Table) -> None:
    with marts.connect() as connection:
        marts.attach(connection, tca_marts.LAYER, table.name, [DATE])
        found = connection.execute(f"DESCRIBE {table.name}").fetchall()
        keys = ", ".join(table.key)
        rows = connection.execute(
            f"SELECT count(*), (SELECT count(*) FROM (SELECT DISTINCT {keys} FROM {table.name}))"
            f" FROM {table.name}"
        ).fetchone()
    declared = [(column.name, column.type.replace("(38, 6)", "(38,6)")) for column in table.columns]
    assert [(name, kind) for name, kind, *_ in found] == declared
    assert rows is not None and rows[0] == rows[1]


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_every_column_says_what_it_means_and_its_name_ends_on_its_unit(table: Table) -> None:
    assert len(set(table.names)) == len(table.names)
    assert set(table.key) <= set(table.names)
    assert table.grain
    for column in table.columns:
        assert column.comment, column.name
        if (ending := re.search(r"_(usd|ts|qty|px|bps|min|s)$", column.name)) is not None:
            assert column.unit.startswith(UNITS[ending[1]]), column.name


def test_the_causes_are_inside_the_parts_and_each_has_its_column() -> None:
    assert tuple(INSIDE) == PARTS and sum(INSIDE.values(), ()) == CAUSES
    for table in (ORDERS, DAILY):
        for name in ("total", *PARTS, *FIVE, *CAUSES):
            assert f"{name}_usd" in table.names
