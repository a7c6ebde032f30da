"""Partitions: one valid file, verified; the same bytes for the same rows; never half of one."""

from __future__ import annotations

import datetime
import json
import os
import signal
import threading
from pathlib import Path

import duckdb
import pytest

from crossimpact.errors import CrossImpactError
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse

ROWS = "SELECT range AS a, range % 3 AS b FROM range(1000) ORDER BY a"


@pytest.fixture
def warehouse(tmp_path) -> Warehouse:
    return Warehouse(Settings(tmp_path))


def publish(warehouse: Warehouse, query: str = ROWS, date: str = "2026-03-02"):
    with warehouse.connect() as connection:
        return warehouse.publish(connection, query, "layer", "table", date, inputs={"x": "1"})


def test_equal_rows_are_equal_bytes_in_the_same_file(warehouse):
    one, other = publish(warehouse), publish(warehouse)
    assert one == other == warehouse.manifest("layer", "table", "2026-03-02")
    folder = warehouse.folder("layer", "table", "2026-03-02")
    assert sorted(path.name for path in folder.iterdir()) == sorted([one.file, "_manifest.json"])


@pytest.mark.parametrize(
    "query",
    [
        "SELECT 1::BIGINT AS a WHERE false",
        "SELECT a FROM (SELECT range AS a FROM range(10)) WHERE a > 99 ORDER BY a",
        "SELECT max(range) AS a FROM range(10) GROUP BY range HAVING range > 99",
        "SELECT a FROM (VALUES (1::BIGINT), (2)) AS t(a) WHERE a % 7 = 3",
    ],
)
def test_nothing_is_always_the_same_bytes(warehouse, query):
    """However the plan came to no rows."""
    reference = publish(warehouse, "SELECT 0::BIGINT AS a LIMIT 0", "2026-03-01")
    found = publish(warehouse, query)
    assert (found.rows, found.sha256) == (0, reference.sha256)


def test_a_flipped_bit_is_refused_and_names_the_file(warehouse):
    manifest = publish(warehouse)
    path = warehouse.file(manifest)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(CrossImpactError, match=r"does not match its manifest.*delete"):
        warehouse.files("layer", "table", ["2026-03-02"])


def test_a_superseded_file_stays_and_is_not_read(warehouse):
    old = publish(warehouse)
    new = publish(warehouse, "SELECT 7 AS a, 8 AS b")
    folder = warehouse.folder("layer", "table", "2026-03-02")
    assert (folder / old.file).exists()
    assert warehouse.files("layer", "table", ["2026-03-02"]) == [str(folder / new.file)]


def test_a_failing_query_leaves_the_partition_as_it_was(warehouse):
    old = publish(warehouse)
    with pytest.raises(duckdb.Error):
        publish(warehouse, "SELECT error('stop') AS a FROM range(10)")
    assert warehouse.manifest("layer", "table", "2026-03-02") == old
    folder = warehouse.folder("layer", "table", "2026-03-02")
    assert len(list(folder.iterdir())) == 2


def test_an_unreadable_manifest_is_named(warehouse):
    publish(warehouse)
    path = warehouse.folder("layer", "table", "2026-03-02") / "_manifest.json"
    path.write_text(path.read_text()[:-5])
    with pytest.raises(CrossImpactError, match="cannot be read"):
        warehouse.manifest("layer", "table", "2026-03-02")
    path.write_text(json.dumps({"layer": "layer"}))
    with pytest.raises(CrossImpactError, match="cannot be read"):
        warehouse.manifest("layer", "table", "2026-03-02")


def test_a_connection_is_offline_utc_and_leaves_no_scratch(warehouse, tmp_path):
    with warehouse.connect() as connection:
        (zone,) = connection.execute("SELECT current_setting('TimeZone')").fetchone()
        assert zone == "UTC"
        with pytest.raises(duckdb.Error):
            connection.execute("LOAD httpfs")
    assert not list((tmp_path / "tmp").iterdir())


def test_ctrl_c_in_a_query_is_a_keyboard_interrupt(warehouse):
    query = "SELECT count(*) FROM range(100000000000) t(a) WHERE a * a % 7 = 3"
    threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt), warehouse.connect() as connection:
        connection.execute(query).fetchall()


def test_a_home_that_cannot_be_written_is_read(warehouse):
    manifest = publish(warehouse)
    tmp = warehouse.settings.home / "tmp"
    tmp.rmdir()
    tmp.write_text("no folder can be made here, as on a read-only mount")
    with warehouse.connect() as connection:
        file = str(warehouse.file(manifest))
        rows = connection.execute("SELECT count(*) FROM read_parquet(?)", [file]).fetchone()
    assert rows == (1000,)


@pytest.mark.parametrize("name", ["a?b", "a*b", "a[x]b"])
def test_a_folder_whose_name_is_a_pattern_is_read_and_no_other(tmp_path: Path, name: str) -> None:
    for folder, beta in ((name, 1), ("axb", 2), ("a-b", 3)):
        warehouse = Warehouse(Settings(home=tmp_path / folder))
        with warehouse.connect() as connection:
            query = f"SELECT {beta} AS beta"
            warehouse.publish(connection, query, "layer", "table", "2026-03-02", inputs={})
    warehouse = Warehouse(Settings(home=tmp_path / name))
    files = warehouse.files("layer", "table", ["2026-03-02"])
    with warehouse.connect() as connection:
        for query in ("read_parquet(?)", "read_parquet(?, hive_partitioning = true)"):
            found = connection.execute(f"SELECT beta FROM {query}", [files]).fetchall()
            assert found == [(1,)]
        assert connection.read_parquet(files).fetchall() == [(1,)]


def test_attach_reads_the_partitions_in_order_and_names_the_absent(tmp_path: Path) -> None:
    warehouse = Warehouse(Settings(home=tmp_path / "it's [h]"))
    with warehouse.connect() as connection:
        for date, x in (("2026-03-02", 1), ("2026-03-03", 2)):
            warehouse.publish(connection, f"SELECT {x} AS x", "layer", "t", date, inputs={})
        for view in (False, True):
            warehouse.attach(
                connection, "layer", "t", ["2026-03-03", "2026-03-02"], dated=True, view=view
            )
            rows = connection.execute("SELECT x, date FROM t").fetchall()
            assert rows == [(2, datetime.date(2026, 3, 3)), (1, datetime.date(2026, 3, 2))]
            connection.execute(f"DROP {'VIEW' if view else 'TABLE'} t")
        warehouse.attach(connection, "layer", "t", ["2026-03-02"])
        assert connection.table("t").columns == ["x"]
        with pytest.raises(CrossImpactError, match="2026-03-04 have no t in layer"):
            warehouse.attach(connection, "layer", "t", ["2026-03-02", "2026-03-04"])
    assert warehouse.rows("layer", "t", "2026-03-03") == [{"x": 2}]
    assert warehouse.rows("layer", "t", "2026-03-04") is None


@pytest.mark.parametrize(
    ("field", "value"), [("schema_version", 2), ("contract_version", "3"), ("schema_version", None)]
)
def test_a_partition_of_an_unknown_schema_is_refused_by_name_and_kept(warehouse, field, value):
    made = publish(warehouse)
    path = warehouse.folder("layer", "table", "2026-03-02") / "_manifest.json"
    told = json.loads(path.read_text()) | {field: value}
    path.write_text(json.dumps(told))
    with pytest.raises(CrossImpactError, match=rf"_manifest.json is of \w+ version {value}.*knows"):
        warehouse.manifest("layer", "table", "2026-03-02")
    draft = warehouse.draft("2026-03-04")
    with draft.connect() as connection:
        draft.publish(connection, ROWS, "accepted", "table", "2026-03-04", inputs={})
    draft.show()
    day = warehouse.root / "days" / "date=2026-03-04" / "_manifest.json"
    told = json.loads(day.read_text())
    told["partitions"][0]["contract_version"] = "3"
    day.write_text(json.dumps(told))
    with pytest.raises(CrossImpactError, match=r"date=2026-03-04/_manifest.json .*version 3"):
        warehouse.day("2026-03-04")
    assert (path.parent / made.file).exists()
