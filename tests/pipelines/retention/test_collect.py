"""Collecting what a home no longer needs: by kind and age, never what a record names."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from crossimpact.errors import CrossImpactError, UsageError
from crossimpact.release import ledger, release_files
from crossimpact.release.policy import DEFAULT
from pipelines import features
from pipelines.audit import replay
from pipelines.audit.fill import trace
from pipelines.retention import collect
from pipelines.retention.records import named
from pipelines.store.landing import Landing
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse
from pipelines.validate import validate_dates
from tests.pipelines import desk
from tests.registry.servers import sample

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
POLICY = DEFAULT.retention
LARGE = "logs/scheduler.log"


def aged(path: Path, days: float) -> None:
    """A file, or all of a folder, last written that long before `NOW`."""
    moment = (NOW - timedelta(days=days)).timestamp()
    for each in [path, *path.rglob("*")]:
        os.utime(each, (moment, moment))


def files(home: Path) -> dict[str, bytes]:
    found = (path for path in home.rglob("*") if path.is_file())
    named = {path.relative_to(home).as_posix(): path.read_bytes() for path in found}
    return {name: content for name, content in named.items() if not name.startswith("tmp/")}


def gone(result: collect.Collected) -> dict[str, int]:
    return {kind.kind: kind.files for kind in result.kinds if kind.files}


def landed(root: Path, price: float) -> Landing:
    """One clean day whose first fill has this price."""
    tables = desk.clean()
    tables["child_fills"][0]["fill_px"] = price
    return Landing(desk.write(root / "landing", tables))


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that judged a date twice and made its features twice, promoted one of three refits,
    and in which processes were killed; all of it years old."""
    root = tmp_path_factory.mktemp("used")
    settings = Settings(root / "home")
    home = settings.home
    for price in (100.0, 100.01):
        validate_dates(settings, landed(root, price), [desk.DATE])
        features.prepare(settings, Landing(root / "landing"), [desk.DATE])
    made = [dataclasses.replace(sample("2026-02-05"), as_of=f"2026-0{n}-05") for n in (2, 3)]
    for release in made:
        release_files.write(release, home / "refits" / release.as_of / "release")
    release_files.write(made[0], settings.releases / made[0].digest)
    with ledger.locked(settings.ledger_path) as book:
        when = datetime(2026, 2, 6, tzinfo=UTC)
        book.append(when=when, who="ann", action="promote", new=made[0].digest, version=1)
    for name in (
        "refits/cut/fit-normal.json", "reports/tca-2024-01-03.html", "reports/card.html",
        "airflow/logs/dag/run/1.log", "warehouse/days/.left.tmp",
    ):  # fmt: skip
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text("old")
    aged(home, 3000)
    (home / LARGE).parent.mkdir()
    (home / LARGE).write_bytes(b"line\n" * 200_001)
    (home / "policy.toml").write_text("[retention]\nlog_mb = 1\n")
    return root


@pytest.fixture
def home(used: Path, tmp_path: Path) -> Path:
    shutil.copytree(used, tmp_path / "root")
    return tmp_path / "root" / "home"


def test_gc_keeps_every_digest_a_record_names_and_drops_what_else_is_old(home: Path) -> None:
    settings, landing = Settings(home), home.parent / "landing"
    names, before, told = named(settings), files(home), trace(settings, "f0")
    unnamed = {n for n in before if n.startswith("warehouse/") and n.endswith(".parquet")
               and Path(n).stem not in names}  # fmt: skip
    cut = {n for n in before if n.startswith(("refits/cut/", "refits/2026-03-05/"))}
    lost = {"reports/tca-2024-01-03.html", "airflow/logs/dag/run/1.log", "warehouse/days/.left.tmp"}
    result = collect.run(settings, NOW, dry_run=False)
    after = files(home)
    assert before.keys() - after.keys() == unnamed | cut | lost and unnamed
    assert after.keys() - before.keys() == {
        f"{LARGE}.1", "reports/index.html", "reports/.index.lock",
    }  # fmt: skip
    assert all(after[name] == before[name] for name in after.keys() & before.keys() - {LARGE})
    assert gone(result) == {
        "partitions": len(unnamed), "refits": len(cut), "reports": 1, "drafts": 1, "logs": 1,
        "rotated logs": 1,
    }  # fmt: skip
    assert ledger.verify(settings.ledger_path).ok
    found = trace(settings, "f0")  # in every partition that was ever live
    assert dataclasses.replace(found, releases=told.releases) == told
    assert [release["as_of"] for release in found.releases] == ["2026-02-05"]
    assert [v["verdict"] for v in told.verdicts] == ["accepted", "accepted"]
    assert replay.run(settings, landing, dry_run=True).dates == []
    assert validate_dates(settings, Landing(landing), [desk.DATE])[0].problems == ()


def test_gc_dry_run_says_the_same_and_removes_nothing_and_a_second_run_finds_nothing(
    home: Path,
) -> None:
    settings, before = Settings(home), files(home)
    said = collect.run(settings, NOW, dry_run=True)
    assert files(home) == before
    done = collect.run(settings, NOW, dry_run=False)
    assert dataclasses.replace(done, dry_run=True) == said and said.bytes > 0
    after = files(home)
    assert gone(collect.run(settings, NOW, dry_run=False)) == {}
    assert files(home) == after


def test_gc_keeps_what_is_younger_than_the_policy_of_the_home(home: Path) -> None:
    days = 10_000
    text = "".join(f"{name}_days = {days}\n" for name in ("partitions", "refits", "reports"))
    (home / "policy.toml").write_text(f"[retention]\n{text}logs_days = {days}\nlog_mb = 100\n")
    assert gone(collect.run(Settings(home), NOW, dry_run=True)) == {"drafts": 1}


def test_retention_of_refits_below_the_validity_of_releases_is_refused(tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text("[retention]\nrefits_days = 45\n")
    with pytest.raises(UsageError, match=r"refits_days = 45 must exceed .*valid_for_days = 45"):
        collect.run(Settings(tmp_path), NOW, dry_run=True)


def test_gc_removes_nothing_while_a_record_cannot_be_read(home: Path) -> None:
    book = Settings(home).ledger_path
    book.write_text(book.read_text().replace("ann", "bob"))
    before = files(home)
    with pytest.raises(CrossImpactError, match=r"ledger .* does not verify.*nothing was removed"):
        collect.run(Settings(home), NOW, dry_run=False)
    assert files(home) == before


def test_gc_leaves_drafts_while_anybody_works_in_the_home(home: Path) -> None:
    with Warehouse(Settings(home)).connect():
        assert "drafts" not in gone(collect.run(Settings(home), NOW, dry_run=True))


def run_killed(home: Path, removal: int) -> int:
    """How a process ends that runs gc and is killed at its n-th removal."""
    if (child := os.fork()) == 0:
        left = [removal]

        def watch(event: str, _: object) -> None:
            if event in ("os.remove", "os.rename", "os.truncate", "os.rmdir", "shutil.rmtree"):
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(watch)
        collect.run(Settings(home), NOW, dry_run=False)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_gc_killed_at_any_removal_is_finished_by_the_next(home: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    shutil.copytree(home, whole)
    collect.run(Settings(whole), NOW, dry_run=False)
    for step in (2, 5, 9, 12):
        cut = tmp_path / f"cut-{step}"
        shutil.copytree(home, cut)
        assert run_killed(cut, step) == -signal.SIGKILL
        collect.run(Settings(cut), NOW + timedelta(days=2), dry_run=False)
        assert files(cut) == files(whole), step
        assert not any((cut / "tmp").iterdir())


Written = list[tuple[int, int, int]]


@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.integers(0, 3), st.integers(1, 2 * POLICY.partitions_days)),
        min_size=1, max_size=6,
    )
)  # fmt: skip
@profile(max_examples=8)
def test_gc_of_any_partitions_keeps_the_live_and_the_young(
    tmp_path_factory: pytest.TempPathFactory, written: Written
) -> None:
    """Partitions of two dates written in any order, each at an age: the last of each is live."""
    settings = Settings(tmp_path_factory.mktemp("home"))
    warehouse, ages, live = Warehouse(settings), dict[Path, int](), dict[int, Path]()
    for day, value, age in written:
        with warehouse.connect() as connection:
            query, date = f"SELECT {value} AS a, {day} AS b", f"2026-03-0{day + 1}"
            made = warehouse.publish(connection, query, "layer", "table", date, inputs={})
        live[day] = warehouse.file(made)
        ages[live[day]] = age
        aged(live[day], age)
    collect.run(settings, NOW, dry_run=False)
    kept = {path for path, age in ages.items() if age <= POLICY.partitions_days}
    assert set(settings.home.rglob("*.parquet")) == kept | set(live.values())


def test_gc_on_the_command_line_says_files_bytes_and_why(
    home: Path, crossimpact: Callable[..., tuple[int, str, str]]
) -> None:
    code, out, _ = crossimpact("gc", "--dry-run", "--home", home)
    assert code == 0 and "partitions" in out and "superseded" in out
    assert crossimpact("gc", "--home", home.parent / "absent")[0] == 2
