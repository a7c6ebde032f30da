"""A home is moved, copied, mounted read-only, oddly named or damaged: it means its own files."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from crossimpact.consumer import address, source
from crossimpact.errors import Unavailable, UsageError
from ops.airflow_env import ROOT, confined
from registry import artifacts, tracking
from tests.registry import faulty
from tests.registry.servers import Store, sample

FIRST, SECOND = sample("2026-01-31"), sample("2026-02-28", gamma=6.0)
PLACES = (
    "SELECT artifact_location FROM experiments",
    "SELECT artifact_uri FROM runs",
    "SELECT source FROM model_versions",
)


def at(home: Path) -> Store:
    """The registry of a home of SQLite."""
    return Store(f"{address.SQLITE}{home}/mlflow/mlflow.db", home, home / "mlflow" / "artifacts")


def read(store: Store) -> None:
    """The first release, as MLflow's client and as the consumer's reader find it."""
    release, version = store.resolve(FIRST.id)
    assert release == FIRST
    files = source.connect(store.uri, 5).files(version.version)
    assert set(files) >= {"manifest.json"}


def places(home: Path) -> set[str]:
    with closing(sqlite3.connect(home / "mlflow" / "mlflow.db")) as db:
        return {place for query in PLACES for (place,) in db.execute(query)}


def as_before(store: Store) -> None:
    """Absolute places, as homes were written before they could be moved."""
    root = store.artifact_root.as_uri()
    with closing(sqlite3.connect(store.home / "mlflow" / "mlflow.db")) as db, db:
        db.execute("UPDATE experiments SET artifact_location = ?", [root])
        db.execute("UPDATE runs SET artifact_uri = ? || '/' || run_uuid || '/artifacts'", [root])
        db.execute("UPDATE model_versions SET source = ? || '/' || run_id || '/artifacts'", [root])


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("written", [lambda store: None, as_before], ids=["now", "before"])
def test_a_moved_home_works(
    embedded: Store, tmp_path: Path, written: Callable[[Store], None]
) -> None:
    embedded.register(FIRST)
    written(embedded)
    moved = at(embedded.home.rename(tmp_path / "elsewhere"))
    read(moved)
    assert not embedded.home.exists()


@pytest.mark.parametrize("written", [lambda store: None, as_before], ids=["now", "before"])
def test_a_copied_home_neither_reads_nor_writes_the_original(
    embedded: Store, tmp_path: Path, written: Callable[[Store], None]
) -> None:
    embedded.register(FIRST)
    written(embedded)
    copy = at(Path(shutil.copytree(embedded.home, tmp_path / "copy")))
    before = tree(embedded.home)
    assert copy.register(SECOND).version == 2
    assert copy.artifacts(copy.resolve(SECOND.id)[1]).is_dir()
    assert tree(embedded.home) == before
    shutil.rmtree(embedded.home)
    read(copy)
    assert all(place.startswith(artifacts.ROOT) for place in places(copy.home))


@pytest.mark.parametrize(
    "place",
    ["mlflow-artifacts:/../x", "file:///etc", "s3://bucket/x", "mlflow-artifacts:/a/../../x", ""],
)
def test_files_out_of_the_home_are_never_followed(embedded: Store, place: str) -> None:
    version = embedded.register(FIRST)
    with closing(sqlite3.connect(embedded.home / "mlflow" / "mlflow.db")) as db, db:
        db.execute("UPDATE runs SET artifact_uri = ?", [place])
    for follow in (
        lambda: embedded.resolve(FIRST.id),
        lambda: source.connect(embedded.uri, 5).files(version.version),
    ):
        with pytest.raises(Unavailable, match="not in this home"):
            follow()


@pytest.mark.parametrize("name", ["a?b", "a%20b", "a#b", "a b;c", "ünï'\"", "-x", "line\nbreak"])
def test_odd_characters_in_the_path_of_a_home(embedded: Store, tmp_path: Path, name: str) -> None:
    odd = at(embedded.home.rename(tmp_path / name))
    odd.register(FIRST)
    read(odd)
    assert sorted(p.name for p in tmp_path.iterdir()) == [name]


@pytest.mark.parametrize("kind", ["garbage", "folder", "locked"])
def test_a_database_that_cannot_be_opened_is_told_before_mlflow_retries(
    tmp_path: Path, kind: str
) -> None:
    file = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(tmp_path / "other.db", isolation_level=None)) as db:
        if kind == "garbage":
            file.write_bytes(b"no database at all" * 100)
        elif kind == "folder":
            file.mkdir()
        else:
            db.execute("CREATE TABLE experiments (x)")
            db.execute("BEGIN EXCLUSIVE")
            file = tmp_path / "other.db"
        uri = f"{address.SQLITE}{file}"
        with pytest.raises(Unavailable, match=f"{file} cannot be opened: ") as told:
            tracking.move_alias(uri, "champion", 1)
        if kind != "locked":  # each looks for five seconds whether it still is
            with pytest.raises(Unavailable, match=f"{file} cannot be opened: "):
                tracking.versions(uri)
    assert "OperationalError" not in str(told.value)


def test_a_read_only_home_is_read(embedded: Store, tmp_path: Path) -> None:
    """As an auditor mounts it: nothing below it may be written, not even a lock."""
    embedded.register(FIRST)
    (embedded.home / "mlflow" / "mlflow.db.lock").unlink(missing_ok=True)
    for path in (*embedded.home.rglob("*"), embedded.home):
        path.chmod(path.stat().st_mode & ~0o222)
    script = (
        "import sys; from registry import tracking\n"
        "release, version = tracking.resolve(sys.argv[1], 'challenger')\n"
        "print(release.id, version.version)"
    )
    command = [sys.executable, "-c", script, embedded.uri]
    done = subprocess.run(
        [*confined(tmp_path), *command], capture_output=True, text=True, cwd=ROOT, check=False
    )
    for path in (embedded.home, *embedded.home.rglob("*")):
        path.chmod(path.stat().st_mode | 0o200)
    assert done.stdout.split() == [FIRST.id, "1"], done.stderr[-2000:]


def test_a_full_disk_keeps_nobody_from_reading_and_is_told_to_who_writes(
    embedded: Store, capfd: pytest.CaptureFixture[str]
) -> None:
    """The kernel refuses every write to a file: what is wrong is here, not in the registry."""
    version = embedded.register(FIRST)
    with faulty.full_disk():
        assert embedded.resolve(FIRST.id)[0] == FIRST
        with pytest.raises(Unavailable) as told:
            tracking.move_alias(embedded.uri, "champion", version.version)
    assert "disk" in str(told.value) and "Traceback" not in capfd.readouterr().err
    assert "roll back" not in f"{told.value} {told.value.hint}"


@pytest.mark.parametrize(
    "uri",
    ["http://[::1", "http://", "http://host:port", "http://h:99999", "ftp://h", "mlflow", "", "//h",
     "http:/h", "https://:443", "databricks", "postgresql://h/d", f"http://{'a' * 64}.org"],
)  # fmt: skip
def test_an_address_of_no_mlflow_is_a_usage_error(uri: str) -> None:
    for use in (lambda: tracking.versions(uri), lambda: source.connect(uri, 1)):
        with pytest.raises(UsageError, match="is no address of MLflow"):
            use()
