"""Places and moments that are not as they should be: told, and bounded in memory."""

from __future__ import annotations

import os
import re
import shutil
import socket
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from crossimpact import contract
from crossimpact.errors import UsageError
from pipelines import partitions
from pipelines.audit import answers, waivers
from pipelines.audit.ledger import Ledger
from pipelines.store.landed import attach
from pipelines.store.landing import Landing
from pipelines.store.settings import Run, Settings
from pipelines.store.warehouse import DRAFTS, Warehouse
from pipelines.validate import LandingBlocked, run
from tests.pipelines import desk

F = "child_fills"
NOW = datetime(2024, 2, 1, 22, 0, tzinfo=UTC)
NOBODY = 65534


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A landing of one date with a fill off the mid, and the home in which it was judged."""
    root, tables = tmp_path_factory.mktemp("judged"), desk.clean()
    tables[F][3]["fill_px"] = 150.0
    landing = Landing(desk.write(root / "landing", tables))
    run(Settings(root / "home", run=Run("first", NOW, "ann")), landing)
    return root


@pytest.fixture
def mine(judged: Path, tmp_path: Path) -> tuple[Landing, Settings]:
    shutil.copytree(judged, tmp_path, dirs_exist_ok=True)
    settings = Settings(tmp_path / "home", run=Run("second", NOW, "ann"))
    return Landing(tmp_path / "landing"), settings


def child(work: Callable[[], object]) -> int:
    """A process of its own that does `work`; its id."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        work()
        code = 0
    finally:
        os._exit(code)


def ended(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_clock_that_goes_back_does_not_turn_the_history_around(mine) -> None:
    landing, settings = mine
    desk.write(landing.root, desk.clean())
    before = replace(settings, run=Run("corrected", NOW - timedelta(days=30), "ann"))
    run(before, landing)
    entries = Ledger.of(settings).entries(desk.DATE)
    assert [entry["run"] for entry in entries] == ["first", "corrected"]
    history = answers.rule(settings, f"{F}.fill_near_mid")
    assert (history.open, history.superseded, history.since) == (0, 1, None)
    assert answers.day(settings, desk.DATE).live == "entry 2"


def test_two_runs_on_one_home_at_once_leave_one_verdict(mine) -> None:
    landing, settings = mine
    desk.write(landing.root, desk.clean())
    runs = [replace(settings, run=Run(name, NOW, "ann")) for name in ("one", "other")]
    assert [ended(pid) for pid in [child(lambda s=s: run(s, landing)) for s in runs]] == [0, 0]
    warehouse = Warehouse(settings)
    live = warehouse.day(desk.DATE)
    assert live is not None and all(warehouse.file(m).exists() for m in live.partitions)
    entries = Ledger.of(settings).entries(desk.DATE)
    assert len(entries) == 2 and entries[-1]["manifest"] == live.digest  # the second said the same
    assert run(settings, landing).verdict == "ok" and not [*settings.home.rglob(DRAFTS)]


@pytest.fixture
def read_only(judged: Path) -> Iterator[Path]:
    """The same, where nobody but root may write, and everybody may read."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "judged"
        shutil.copytree(judged, root)
        root.parent.chmod(0o755)
        for path in (root, *root.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        yield root
        for path in (root, *(p for p in root.rglob("*") if p.is_dir())):
            path.chmod(0o755)


def test_a_home_that_cannot_be_written_is_read(read_only: Path) -> None:
    settings, landing = Settings(read_only / "home"), Landing(read_only / "landing")
    answers.day(settings, desk.DATE)  # all that is imported on the way is, before rights are lost

    def ask() -> None:
        if os.getuid() == 0:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        assert not os.access(settings.home, os.W_OK)
        assert run(settings, landing).verdict == "ok"
        assert answers.day(settings, desk.DATE).live == "entry 1"
        assert answers.rule(settings, f"{F}.fill_near_mid").open == 1

    assert ended(child(ask)) == 0


def pipe(path: Path) -> None:
    os.mkfifo(path)


def socket_of(path: Path) -> None:
    short = os.path.relpath(path)  # the name of a socket is bounded
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(short if len(short) < len(str(path)) else str(path))


def link_to_nothing(path: Path) -> None:
    path.symlink_to("nothing")


def link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


def link_to_a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


STRANGE = [pipe, socket_of, link_to_nothing, link_to_itself, link_to_a_device, Path.mkdir]


@pytest.mark.parametrize("make", STRANGE)
def test_what_is_no_file_is_named_and_not_waited_for(
    make: Callable[[Path], None], mine, monkeypatch: pytest.MonkeyPatch
) -> None:
    landing, _ = mine
    folder = desk.folder(landing.root, F)
    monkeypatch.chdir(folder)
    make(folder / "part-1.parquet")
    (told,) = partitions.strangers(landing, desk.DATE)
    assert (told.table, told.rule) == (F, contract.UNREADABLE)
    assert "part-1.parquet is no regular file" in told.text or "a folder" in told.text
    assert [path.name for path in landing.files(F, desk.DATE)] == ["part-0.parquet"]
    assert f"{F}/date={desk.DATE}/part-1.parquet" in landing.unread()


@pytest.mark.parametrize("make", [pipe, link_to_nothing, link_to_a_device])
def test_what_bears_a_tables_name_and_is_no_folder_is_a_missing_table(
    make: Callable[[Path], None], mine
) -> None:
    landing, _ = mine
    shutil.rmtree(landing.root / "benchmark_marks")
    make(landing.root / "benchmark_marks")
    (told,) = partitions.absent(landing, desk.DATE)
    assert (told.table, told.rule) == ("benchmark_marks", contract.MISSING_TABLE)
    assert "benchmark_marks" in landing.unread()


@pytest.mark.parametrize("name", ["waivers.toml", f"{F}/date={desk.DATE}/_manifest.json"])
def test_a_pipe_in_place_of_a_settings_file_is_not_waited_for(name: str, mine) -> None:
    landing, settings = mine
    pipe(landing.root / name)
    if name == waivers.FILE:
        with pytest.raises(UsageError, match="no regular file"):
            waivers.load(settings, landing.root)
    assert landing.promised_rows(F, desk.DATE) is None
    assert not [*landing.broken_promises(F, desk.DATE)]


@pytest.mark.parametrize(
    ("name", "header", "told"),
    [
        ("part-0.csv", b"", "no line ends within its first"),
        ("part-0.csv", b"fill_id,order_id\n", "column is missing"),
        ("part-0.parquet", b"PAR1", "either the file is corrupted|magic bytes|Invalid"),
    ],
)
def test_a_file_that_claims_ten_gigabytes_is_read_within_bounds(
    name: str, header: bytes, told: str, tmp_path: Path
) -> None:
    path = desk.folder(tmp_path, F) / name
    path.write_bytes(header)
    os.truncate(path, 10_000_000_000)
    assert_bounded(tmp_path, told)


def test_a_parquet_footer_that_claims_four_gigabytes_is_not_allocated(tmp_path: Path) -> None:
    path = desk.folder(tmp_path, F) / "part-0.parquet"
    path.write_bytes(b"PAR1")
    os.truncate(path, 10_000_000_000)
    with path.open("r+b") as stream:
        stream.seek(-8, os.SEEK_END)
        stream.write((2**32 - 2).to_bytes(4, "little") + b"PAR1")
    assert_bounded(tmp_path, "its footer claims 4,294,967,294 bytes")


def assert_bounded(root: Path, told: str) -> None:
    tracemalloc.start()
    before = pa.total_allocated_bytes()
    try:
        with Warehouse(Settings(root / "home")).connect() as connection:
            reading = attach(connection, Landing(root), contract.TABLES[F], desk.DATE)
        peak = tracemalloc.get_traced_memory()[1] + pa.total_allocated_bytes() - before
    finally:
        tracemalloc.stop()
    assert peak < 50_000_000
    assert re.search(told, "; ".join(map(str, reading.problems)))


def test_a_block_by_casts_names_column_value_and_row(tmp_path: Path) -> None:
    tables = desk.clean()
    desk.write(tmp_path / "landing", tables)
    path = desk.write_csv(tmp_path / "landing", F, tables[F])
    path.write_text(path.read_text().replace("Z,", ","))  # times without a zone
    with pytest.raises(LandingBlocked) as caught:
        run(Settings(tmp_path / "home"), Landing(tmp_path / "landing"))
    text = str(caught.value)
    assert "120 of 120 rows" in text and "most by cast; the first is row 0 of" in text
    assert f"{F}/date={desk.DATE}/part-0.csv, fill_ts = '2024-01-03 14:31:40" in text
