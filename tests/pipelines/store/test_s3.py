"""Against a real S3-compatible server: 503s, lost answers, late lists, a denied prefix, a refit."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from crossimpact.errors import CrossImpactError, Unavailable
from pipelines.store import object_store
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Manifest, Warehouse
from tests.canary import CANARY
from tests.pipelines.store import s3_server
from tests.pipelines.store.s3_server import Faults

pytest.importorskip("obstore", reason="pip install 'crossimpact[s3]'")
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(s3_server.MOTO is None, reason=str(s3_server.__doc__)),
]
ROWS = "SELECT range AS a FROM range(1000) ORDER BY a"


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, Faults]]:
    with s3_server.serve() as (address, faults):
        yield address, faults


@pytest.fixture
def faults(
    server: tuple[str, Faults], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Faults]:
    """A home in a prefix of its own of a server without faults so far."""
    address, faults = server
    for name, value in {
        "AWS_ENDPOINT_URL": address, "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "desk", "AWS_SECRET_ACCESS_KEY": CANARY,
        "CROSSIMPACT_WAREHOUSE": f"s3://desk/{tmp_path.name}",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    faults.__init__()  # type: ignore[misc]
    yield faults
    faults.__init__()  # type: ignore[misc]


@pytest.fixture
def warehouse(faults: Faults, tmp_path: Path) -> Warehouse:
    return Warehouse(Settings(tmp_path))


def publish(warehouse: Warehouse, date: str = "2026-03-02", query: str = ROWS) -> Manifest:
    with warehouse.connect() as connection:
        return warehouse.publish(connection, query, "layer", "table", date, inputs={})


def test_busy_answers_and_lost_ones_are_survived(warehouse: Warehouse, faults: Faults) -> None:
    faults.busy = 3
    made = publish(warehouse)
    faults.lost = 2  # the data file's and the pointer's: both were written all the same
    new = publish(warehouse, query="SELECT 7 AS a")
    assert warehouse.manifest("layer", "table", "2026-03-02") == new != made
    assert warehouse.file(new).exists() and faults.busy == faults.lost == 0


def test_a_store_that_stays_busy_is_told_and_may_be_tried_again(
    warehouse: Warehouse, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_store, "RETRIES", 1)
    faults.busy = 1000
    with pytest.raises(Unavailable, match="does not answer") as told:
        publish(warehouse)
    assert CANARY not in str(told.value) and CANARY not in str(told.value.__cause__)
    faults.busy = 0
    assert publish(Warehouse(warehouse.settings)).rows == 1000


def test_a_list_that_is_late_hides_a_date_from_nobody_who_names_it(
    warehouse: Warehouse, faults: Faults
) -> None:
    publish(warehouse)
    assert warehouse.dates("layer", "table") == ["2026-03-02"]
    faults.stale_lists = True
    new = publish(warehouse, "2026-03-03")
    assert warehouse.dates("layer", "table") == ["2026-03-02"]
    assert warehouse.manifest("layer", "table", "2026-03-03") == new
    faults.stale_lists = False
    assert warehouse.dates("layer", "table") == ["2026-03-02", "2026-03-03"]


def test_a_denied_prefix_is_named_and_the_others_go_on(
    warehouse: Warehouse, faults: Faults
) -> None:
    publish(warehouse)
    faults.denied = "2026-03-03"
    with pytest.raises(CrossImpactError, match=r"date=2026-03-03/\S+: access denied") as told:
        publish(warehouse, "2026-03-03")
    assert CANARY not in str(told.value)
    assert publish(warehouse, "2026-03-04").rows == 1000


def test_of_many_writers_of_one_partition_one_stands_and_the_others_know(
    warehouse: Warehouse,
) -> None:
    won: list[Manifest] = []
    lost: list[Exception] = []
    start = threading.Barrier(4)

    def write(value: int) -> None:
        mine = Warehouse(warehouse.settings)
        mine.files_at.version("x")
        start.wait()
        try:
            won.append(publish(mine, query=f"SELECT {value} AS a"))
        except Unavailable as error:
            lost.append(error)

    publish(warehouse, "2026-01-01")
    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    live = warehouse.manifest("layer", "table", "2026-03-02")
    assert len(won) + len(lost) == 4 and live in won and live is not None
    assert warehouse.file(live).exists()
