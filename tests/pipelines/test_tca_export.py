"""TCA's tables as files for others: they stand by themselves, hold it all and say what it is."""

from __future__ import annotations

import csv
import json
import re
import shutil
import zipfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from crossimpact.errors import UsageError
from pipelines import tca_export
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse
from pipelines.tca_tables import TABLES
from tests.pipelines.pages.test_reports import make
from tests.pipelines.tca_desk import DATE

FORMULA = "=1+1"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A date's marts; its basket is called like a formula."""
    home = tmp_path_factory.mktemp("home")
    make(home, basket=FORMULA)
    return Settings(home)


def total(desk: Settings) -> Decimal:
    rows = Warehouse(desk).rows("marts", "tca_orders", DATE) or []
    return sum((row["total_usd"] for row in rows), Decimal(0))


def test_the_database_stands_by_itself_read_only_with_a_comment_on_every_column(
    desk: Settings, tmp_path: Path
) -> None:
    path = tmp_path / "made" / "tca.duckdb"
    done = tca_export.to_duckdb(desk, path)
    assert path.stat().st_mode & 0o222 == 0
    moved = Path(shutil.move(path, tmp_path / "elsewhere.duckdb"))
    with duckdb.connect(str(moved), read_only=True) as opened:
        opened.execute("SET enable_external_access = false")
        found = dict(opened.execute("SELECT table_name, comment FROM duckdb_tables()").fetchall())
        assert found.keys() == {*TABLES, "pretrade"} == done.rows.keys()
        assert all(found.values())
        bare = "SELECT table_name, column_name FROM duckdb_columns() WHERE comment IS NULL"
        views = ("desk_daily", "predicted_orders")
        assert [row for row in opened.execute(bare).fetchall() if row[0] in found] == []
        (cost,) = opened.execute("SELECT sum(total_usd) FROM tca_orders").fetchone() or ()
        (daily,) = opened.execute("SELECT total_usd FROM desk_daily").fetchone() or ()
        assert cost == daily == total(desk)
        assert [opened.execute(f"SELECT count(*) FROM {view}").fetchone() for view in views] == [
            (1,), (0,)
        ]  # fmt: skip


def test_csv_holds_every_table_and_no_formula(desk: Settings, tmp_path: Path) -> None:
    done = tca_export.to_csv(desk, tmp_path / "csv")
    assert {path.stem for path in (tmp_path / "csv").iterdir()} == {*TABLES, "pretrade"}
    with (tmp_path / "csv" / "tca_orders.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == done.rows["tca_orders"] == 3
    assert {row["date"] for row in rows} == {DATE}
    assert sum(Decimal(row["total_usd"]) for row in rows) == total(desk)
    assert rows[0]["basket_id"] == f"'{FORMULA}"
    assert re.fullmatch(r"2024-03-05T14:30:00\.0+Z", rows[0]["decision_ts"])


def test_the_workbook_holds_a_sheet_a_table_and_text_stays_text(
    desk: Settings, tmp_path: Path
) -> None:
    path = tmp_path / "tca.xlsx"
    tca_export.to_xlsx(desk, path)
    with zipfile.ZipFile(path) as book:
        sheets = re.findall(r'<sheet name="([^"]+)"', book.read("xl/workbook.xml").decode())
        cells = [book.read(n).decode() for n in book.namelist() if n.startswith("xl/worksheets/s")]
    assert sheets == ["columns", *TABLES, "pretrade"]
    assert not any("<f>" in cell for cell in cells)
    assert any(FORMULA in cell for cell in cells)
    again = tmp_path / "again.xlsx"
    tca_export.to_xlsx(desk, again)
    assert path.read_bytes() == again.read_bytes()


def test_a_table_longer_than_a_sheet_is_refused_and_leaves_no_file(
    desk: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tca_export, "MAX_SHEET_ROWS", 2)
    with pytest.raises(UsageError, match="more rows than a sheet holds, 2; narrow --from"):
        tca_export.to_xlsx(desk, tmp_path / "tca.xlsx")
    assert list(tmp_path.iterdir()) == []


def test_a_column_that_came_later_is_null_before(desk: Settings, tmp_path: Path) -> None:
    """A date analysed by earlier code has fewer columns."""
    home = tmp_path / "home"
    shutil.copytree(desk.home, home)
    old, warehouse = Settings(home), Warehouse(Settings(home))
    with warehouse.connect() as connection:
        for table in TABLES:
            warehouse.attach(connection, "marts", table, [DATE], view=True)
            kept = "* EXCLUDE (symbol)" if table == "tca_orders" else "*"
            query = f"SELECT {kept} FROM {table}"
            warehouse.publish(connection, query, "marts", table, "2024-03-04", inputs={})
    path = tmp_path / "tca.duckdb"
    assert tca_export.to_duckdb(old, path).dates == 2
    with duckdb.connect(str(path), read_only=True) as opened:
        query = "SELECT count(symbol), count(*) FROM tca_orders GROUP BY date ORDER BY date"
        assert opened.execute(query).fetchall() == [(0, 3), (3, 3)]


def test_words_of_the_command(
    desk: Settings, tmp_path: Path, crossimpact: Callable[..., tuple[int, str, str]]
) -> None:
    at = ("--home", desk.home)
    code, out, _ = crossimpact("tca", "export", "--duckdb", tmp_path / "t.duckdb", "--json", *at)
    assert (code, json.loads(out)["exports"][0]["rows"]["tca_orders"]) == (0, 3)
    for words, told in (
        (("export",), "nothing to write; give --csv"),
        (("export", "--csv", tmp_path, "--from", "2024-03-06"), "2024-03-05 to 2024-03-05 were"),
        (("export", "--csv", tmp_path, "--from", "2024-03-06", "--to", "2024-03-05"), "is after"),
        (("export", "--xlsx", tmp_path), "is a folder"),
        (("nowhere",), "nowhere"),  # a landing zone, as ever
        (("day", "nowhere"), "nowhere"),
        (("nowhere", "--date", "2024-03-05"), "nowhere"),
        (("--date", "yesterday", "nowhere"), "'yesterday' is not a date"),
    ):
        code, _, err = crossimpact("tca", *words, *at)
        assert code == 2 and told in err
