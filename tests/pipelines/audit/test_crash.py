"""A home at every step of a re-landing: the old date or the new one, whatever is killed when.

A killed process leaves what is on disk at that moment. So one run is watched, and at each of its
steps on files of the home (open, link, rename, remove) the home is copied as it is.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from crossimpact import atomic, contract
from crossimpact.errors import UsageError
from pipelines.audit.ledger import Ledger
from pipelines.store import stale
from pipelines.store.landing import Landing
from pipelines.store.manifest import DAYS, JUDGED, MANIFEST
from pipelines.store.settings import Settings
from pipelines.store.warehouse import DRAFTS, Warehouse
from pipelines.validate import LandingBlocked, run
from tests.pipelines import desk

STEPS = ("open", "os.rename", "os.remove", "os.link")
NEXT = "2024-01-04"


class Watch:
    """Copies a home at each step while it is on; an audit hook stays for the process's life."""

    def __init__(self) -> None:
        self.home: Path | None = None
        self.copies: list[Path] = []
        sys.addaudithook(self._see)

    def _see(self, event: str, given: tuple[Any, ...]) -> None:
        home = self.home
        if home is None or event not in STEPS or not isinstance(given[0], str | os.PathLike):
            return
        if str(home) in (str(given[0]), *map(str, given[1:2])) or any(
            str(word).startswith(f"{home}/") for word in given[:2]
        ):
            self.home = None  # what copying does is no step
            target = home.with_name(f"step-{len(self.copies)}")
            shutil.copytree(home, target, copy_function=os.link)
            self.copies.append(target)
            self.home = home

    @contextmanager
    def on(self, home: Path) -> Iterator[None]:
        self.home, self.copies = home, []
        try:
            yield
        finally:
            self.home = None


WATCH = Watch()


def landing_of(root: Path, price: float) -> Landing:
    """Two dates; `price` is what tells one version of the first from another."""
    tables = desk.clean()
    tables["child_fills"][3]["fill_px"] = price
    tables["market_snapshots"][9]["bid_size"] = -1.0  # a violation in either
    return Landing(desk.write(root, tables))


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path], Any, Any]:
    """A landing, the home at every step of its correction, and what is live before and after."""
    root = tmp_path_factory.mktemp("swept")
    landing, settings = landing_of(root / "landing", 100.01), Settings(root / "home")
    run(settings, landing)
    warehouse = Warehouse(settings)
    old = warehouse.day(desk.DATE)
    landing_of(root / "landing", 100.02)
    with WATCH.on(settings.home):
        run(settings, landing)
    return root, list(WATCH.copies), old, warehouse.day(desk.DATE)


def test_at_every_step_of_a_correction_the_date_is_the_old_one_or_the_new(swept) -> None:
    _, copies, old, new = swept
    assert len(copies) > 100 and old != new
    seen = []
    for copy in copies:
        warehouse = Warehouse(Settings(copy))
        live = warehouse.day(desk.DATE)
        assert live in (old, new), f"{copy.name}: a half state"
        seen.append(live == new)
        for manifest in live.partitions:
            assert warehouse.file(manifest).exists()
        entries = Ledger(copy).entries(desk.DATE)
        assert [entry["seq"] for entry in entries] == [*range(1, len(entries) + 1)]
        assert live.digest in {entry["manifest"] for entry in entries}
    assert seen == sorted(seen) and 0 < sum(seen) < len(seen)  # it changed once


def test_after_a_kill_at_any_step_the_next_run_completes_and_leaves_nothing_behind(swept) -> None:
    root, copies, _, new = swept
    for copy in copies[:: len(copies) // 4]:
        settings = Settings(copy)
        run(settings, Landing(root / "landing"))
        assert Warehouse(settings).day(desk.DATE) == new
        assert not [*copy.rglob(DRAFTS)]
        assert Ledger(copy).last(desk.DATE)["manifest"] == new.digest


def test_a_full_disk_leaves_the_old_date_live(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    landing, settings = landing_of(tmp_path / "landing", 100.01), Settings(tmp_path / "home")
    run(settings, landing)
    warehouse, real = Warehouse(settings), atomic.sync
    old = warehouse.day(desk.DATE)
    landing_of(tmp_path / "landing", 100.02)
    for steps_left in (0, 7, 20, 21, 22):
        count = iter(range(100))

        def full(path: Path, left: int = steps_left, count: Iterator[int] = count) -> None:
            if next(count) >= left:
                raise OSError(28, "No space left on device")
            real(path)

        with monkeypatch.context() as patch:
            patch.setattr(atomic, "sync", full)
            with pytest.raises(OSError, match="No space"):
                run(settings, landing)
        assert warehouse.day(desk.DATE) == old
    run(settings, landing)
    assert warehouse.day(desk.DATE) != old


def old_layout(home: Path) -> None:
    """The home as code of before would have left it: a manifest per partition."""
    import json
    from dataclasses import asdict

    warehouse = Warehouse(Settings(home))
    for date in warehouse.judged_dates():
        for manifest in warehouse.day(date).partitions:
            path = warehouse.folder(manifest.layer, manifest.table, date) / MANIFEST
            path.write_text(json.dumps(asdict(manifest)))
    shutil.rmtree(warehouse.root / DAYS)
    shutil.rmtree(home / "audit")
    (home / "landing.json").unlink()


def test_a_home_of_before_is_read_superseded_and_entered_in_the_ledger(tmp_path: Path) -> None:
    landing, settings = landing_of(tmp_path / "landing", 100.01), Settings(tmp_path / "home")
    run(settings, landing)
    warehouse = Warehouse(settings)
    old = warehouse.day(desk.DATE)
    old_layout(settings.home)
    assert warehouse.day(desk.DATE).digest == old.digest
    assert warehouse.dates("accepted", "child_fills") == [desk.DATE]
    (settings.home / "warehouse/accepted/child_fills" / f"date={desk.DATE}" / DRAFTS).with_name(
        ".left.tmp"
    ).touch()
    landing_of(tmp_path / "landing", 100.02)
    run(settings, landing)
    found, judged = Ledger(settings.home).entries(desk.DATE)
    assert (found["kind"], judged["kind"]) == ("found", "judged")
    assert found["manifest"] == old.digest and judged["manifest"] == warehouse.day(desk.DATE).digest
    assert not [
        path
        for layer in JUDGED
        for path in (warehouse.root / layer).rglob("*")
        if path.name == MANIFEST or path.suffix == ".tmp"
    ]


def test_a_date_that_leaves_the_landing_stays_live_and_is_reported(tmp_path: Path) -> None:
    landing, settings = landing_of(tmp_path / "landing", 100.01), Settings(tmp_path / "home")
    desk.write(landing.root, desk.clean(NEXT), NEXT)
    run(settings, landing)
    for table in contract.TABLES:
        shutil.rmtree(landing.root / table / f"date={desk.DATE}")
    (told,) = run(settings, landing).stale
    assert desk.DATE in told and "no longer in the landing zone" in told
    assert Warehouse(settings).day(desk.DATE) is not None
    assert [e["kind"] for e in Ledger(settings.home).entries(desk.DATE)] == ["judged", "removed"]
    run(settings, landing)
    assert len(Ledger(settings.home).entries(desk.DATE)) == 2  # said once


def test_a_home_has_one_landing_zone_until_it_is_replaced(tmp_path: Path) -> None:
    from pipelines.audit import zone

    landing, settings = landing_of(tmp_path / "one", 100.01), Settings(tmp_path / "home")
    run(settings, landing)
    other = landing_of(tmp_path / "two", 100.02)
    warehouse = Warehouse(settings)
    live = warehouse.day(desk.DATE)
    with pytest.raises(UsageError, match=r"holds the dates of landing zone .*one.*--replace"):
        run(settings, other)
    assert warehouse.day(desk.DATE) == live
    zone.replace(warehouse, other)
    run(settings, other)
    assert warehouse.day(desk.DATE) != live and zone.recorded(settings.home) == other.root


def test_a_zone_that_moved_is_the_same_one_alone_or_with_its_home(tmp_path: Path) -> None:
    landing, settings = landing_of(tmp_path / "a" / "zone", 100.01), Settings(tmp_path / "a/home")
    run(settings, landing)
    shutil.copytree(tmp_path / "a", tmp_path / "b")  # together
    landing_of(tmp_path / "b" / "zone", 100.02)
    run(Settings(tmp_path / "b/home"), Landing(tmp_path / "b/zone"))
    shutil.move(tmp_path / "a" / "zone", tmp_path / "c")  # alone; a date more
    desk.write(tmp_path / "c", desk.clean(NEXT), NEXT)
    assert run(settings, Landing(tmp_path / "c")).dates == (desk.DATE, NEXT)


def test_a_stale_mark_ends_with_what_it_was_said_of(tmp_path: Path) -> None:
    landing, settings = landing_of(tmp_path / "landing", 100.01), Settings(tmp_path / "home")
    run(settings, landing)
    warehouse = Warehouse(settings)
    part = desk.folder(landing.root, "instruments") / "part-0.parquet"
    part.write_bytes(b"?")
    with pytest.raises(LandingBlocked):
        run(settings, landing)
    mark = stale.find(warehouse, desk.DATE)
    assert mark is not None and mark.of == warehouse.day(desk.DATE).digest
    path = warehouse.root / DAYS / f"date={desk.DATE}" / stale.FILE
    content = path.read_text()
    landing_of(tmp_path / "landing", 100.02)
    run(settings, landing)
    assert not path.exists()
    path.write_text(content)  # as if killed before the mark was removed
    assert stale.find(warehouse, desk.DATE) is None
