"""Partitions in an object store: the same rows and bytes as in a folder, and of two writers one."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from crossimpact.errors import CrossImpactError, Unavailable, UsageError
from pipelines.retention import collect
from pipelines.store import object_store, stale
from pipelines.store.settings import Run, Settings
from pipelines.store.warehouse import Manifest, Warehouse

pytest.importorskip("obstore", reason="pip install 'crossimpact[s3]'")
from obstore.store import MemoryStore

URL = "s3://desk/prefix"
ROWS = "SELECT range AS a, range % 3 AS b FROM range(1000) ORDER BY a"
DATE = "2026-03-02"
Opened = Callable[[Path], Warehouse]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Opened:
    """Warehouses of homes that share one store, in memory."""
    store = MemoryStore()
    monkeypatch.setenv("CROSSIMPACT_WAREHOUSE", URL)
    monkeypatch.setattr(object_store, "open_store", lambda url: store)
    return lambda home: Warehouse(Settings(home))


def publish(warehouse: Warehouse, query: str = ROWS, layer: str = "layer") -> Manifest:
    with warehouse.connect() as connection:
        return warehouse.publish(connection, query, layer, "table", DATE, inputs={"x": "1"})


def test_a_partition_of_a_store_is_the_one_of_a_folder(
    opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = opened(tmp_path / "home")
    made = publish(stored)
    staged = stored.file(made).read_bytes()
    (tmp_path / "home" / "warehouse").rename(tmp_path / "lost")  # copies alone: made again
    assert stored.file(made).read_bytes() == staged
    assert stored.manifest("layer", "table", DATE) == made
    assert stored.dates("layer", "table") == [DATE] and stored.layers() == ["layer"]
    assert stored.rows("layer", "table", DATE, ["a"])[-1:] == [{"a": 999}]
    monkeypatch.delenv("CROSSIMPACT_WAREHOUSE")
    local = Warehouse(Settings(tmp_path / "other"))
    assert publish(local) == made and local.file(made).read_bytes() == staged


def test_a_writer_that_was_overtaken_loses_and_says_so(opened: Opened, tmp_path: Path) -> None:
    slow, fast = opened(tmp_path), opened(tmp_path)
    seen = slow._seen("layer", "table", DATE)
    won = publish(fast, "SELECT 7 AS a")
    late = publish(opened(tmp_path), "SELECT 8 AS a", "elsewhere")
    late = Manifest(**{**late.__dict__, "layer": "layer"})
    with pytest.raises(Unavailable, match=r"s3://desk/prefix/layer/.*another writer was faster"):
        slow._point(late, seen)
    assert slow.manifest("layer", "table", DATE) == won
    slow._point(won, seen)  # the same content is nobody's loss


def test_a_date_is_shown_whole_by_one_of_two_writers(opened: Opened, tmp_path: Path) -> None:
    warehouse = opened(tmp_path)
    one, other = warehouse.draft(DATE), warehouse.draft(DATE)
    for draft, value in ((one, 1), (other, 2)):
        publish(draft, f"SELECT {value} AS a", "accepted")
    other.show()
    with pytest.raises(Unavailable, match="another writer"):
        one.show()
    assert warehouse.day(DATE) == other.written
    mark = stale.mark(warehouse, DATE, "its landing is broken", Run())
    assert mark == stale.find(warehouse, DATE)
    stale.clear(warehouse, DATE)
    assert stale.find(warehouse, DATE) is None and warehouse.judged_dates() == [DATE]


def test_two_homes_do_not_share_a_prefix_and_a_home_finds_its_own(
    opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = publish(opened(tmp_path / "home"))
    with pytest.raises(UsageError, match="holds the warehouse of another home"):
        publish(opened(tmp_path / "other"))
    monkeypatch.delenv("CROSSIMPACT_WAREHOUSE")  # a forgotten variable
    assert opened(tmp_path / "home").manifest("layer", "table", DATE) == made
    monkeypatch.setenv("CROSSIMPACT_WAREHOUSE", "s3://desk/elsewhere")
    with pytest.raises(UsageError, match=r"is at s3://desk/prefix, not at s3://desk/elsewhere"):
        opened(tmp_path / "home").manifest("layer", "table", DATE)


def test_a_flipped_bit_of_a_staged_copy_is_refused(opened: Opened, tmp_path: Path) -> None:
    warehouse = opened(tmp_path)
    path = warehouse.file(made := publish(warehouse))
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(CrossImpactError, match="does not match its manifest"):
        warehouse.file(made)


def test_gc_of_a_store_drops_superseded_objects_and_old_copies(
    opened: Opened, tmp_path: Path
) -> None:
    warehouse = opened(tmp_path)
    publish(warehouse, "SELECT 7 AS a")
    live = publish(warehouse)
    now = datetime.now(UTC) + timedelta(days=31)
    said = {
        kind.kind: kind.files for kind in collect.run(warehouse.settings, now, dry_run=True).kinds
    }
    assert (said["partitions"], said["staged"]) == (1, 2)
    collect.run(warehouse.settings, now, dry_run=False)
    assert [found.key.rsplit("/")[-1] for found in warehouse.files_at.data()] == [live.file]
    assert not [*(tmp_path / "warehouse").rglob("*.parquet")]
    assert warehouse.rows("layer", "table", DATE, ["a"])[:1] == [{"a": 0}]


@pytest.mark.parametrize("url", ["s3://key:secret@desk/p", "gs://desk", "/srv/desk", "s3://"])
def test_an_address_that_is_none_or_holds_a_secret_is_refused_without_it(url: str) -> None:
    with pytest.raises(UsageError) as told:
        object_store.open_store(url)
    assert "secret" not in str(told.value)


def test_a_home_record_is_plain_data(opened: Opened, tmp_path: Path) -> None:
    publish(opened(tmp_path))
    record: dict[str, Any] = json.loads((tmp_path / "warehouse.json").read_text())
    assert record["url"] == URL and len(record["id"]) == 32
