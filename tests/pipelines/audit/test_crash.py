"""A home at every step of a re-landing: the old date or the new one, whatever is killed when.

A killed process leaves what is on disk at that moment. So one run is watched, and at each of its
steps on files of the home (open, link, rename, remove) the home is copied as it is.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from crossimpact import atomic, contract
from crossimpact.errors import CrossImpactError, UsageError
from pipelines.audit import zone
from pipelines.audit.ledger import LAST, Ledger
from pipelines.split import LAYERS
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
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a landing of two dates and the home in which they were judged; to copy."""
    root = tmp_path_factory.mktemp("judged")
    landing = landing_of(root / "landing", 100.01)
    desk.write(landing.root, desk.clean(NEXT), NEXT)
    run(Settings(root / "home"), landing)
    return root


@pytest.fixture
def mine(judged: Path, tmp_path: Path) -> tuple[Landing, Settings, Warehouse]:
    shutil.copytree(judged, tmp_path, dirs_exist_ok=True)
    settings = Settings(tmp_path / "home")
    return Landing(tmp_path / "landing"), settings, Warehouse(settings)


@pytest.fixture(scope="module")
def swept(
    judged: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[Path], Any, Any]:
    """A landing, the home at every step of its correction, and what is live before and after."""
    root = tmp_path_factory.mktemp("swept")
    shutil.copytree(judged, root, dirs_exist_ok=True)
    settings = Settings(root / "home")
    warehouse = Warehouse(settings)
    old = warehouse.day(desk.DATE)
    with WATCH.on(settings.home):
        run(settings, landing_of(root / "landing", 100.02))
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


def test_after_a_kill_the_next_run_completes_and_leaves_nothing_behind(swept) -> None:
    """Killed with a draft half way through the date's partitions."""
    root, copies, _, new = swept
    drafts = [copy for copy in copies if [*copy.rglob(DRAFTS)]]
    settings = Settings(drafts[len(drafts) // 2])
    run(settings, Landing(root / "landing"))
    assert Warehouse(settings).day(desk.DATE) == new
    assert not [*settings.home.rglob(DRAFTS)]
    assert Ledger(settings.home).last(desk.DATE)["manifest"] == new.digest


def test_a_full_disk_leaves_the_old_date_live(mine, monkeypatch: pytest.MonkeyPatch) -> None:
    landing, settings, warehouse = mine
    real, old, count = atomic.sync, warehouse.day(desk.DATE), iter(range(100))
    landing_of(landing.root, 100.02)

    def full(path: Path) -> None:
        if next(count) >= 20:
            raise OSError(28, "No space left on device")
        real(path)

    with monkeypatch.context() as patch:
        patch.setattr(atomic, "sync", full)
        with pytest.raises(OSError, match="No space"):
            run(settings, landing)
    assert warehouse.day(desk.DATE) == old and not [*warehouse.root.rglob(DRAFTS)]


def old_layout(warehouse: Warehouse) -> None:
    """The home as code of before would have left it: a manifest per partition."""
    for date in warehouse.judged_dates():
        for manifest in warehouse.day(date).partitions:
            path = warehouse.folder(manifest.layer, manifest.table, date) / MANIFEST
            path.write_text(json.dumps(asdict(manifest)))
    shutil.rmtree(warehouse.root / DAYS)
    shutil.rmtree(warehouse.settings.home / "audit")
    (warehouse.settings.home / "landing.json").unlink()


def test_a_home_of_before_is_read_superseded_and_entered_in_the_ledger(mine) -> None:
    landing, settings, warehouse = mine
    old = warehouse.day(desk.DATE)
    old_layout(warehouse)
    assert warehouse.day(desk.DATE).digest == old.digest
    assert warehouse.dates("accepted", "child_fills") == [desk.DATE, NEXT]
    assert run(settings, landing).verdict == "ok" and not (warehouse.root / DAYS).exists()
    (warehouse.folder("accepted", "child_fills", desk.DATE) / ".left.tmp").touch()
    run(settings, landing_of(landing.root, 100.02))
    found, judged = Ledger(settings.home).entries(desk.DATE)
    assert (found["kind"], judged["kind"]) == ("found", "judged")
    assert found["manifest"] == old.digest and judged["manifest"] == warehouse.day(desk.DATE).digest
    left = (path for layer in JUDGED for path in (warehouse.root / layer).rglob("*"))
    assert not [
        p
        for p in left
        if p.suffix == ".tmp" or (p.name, p.parent.name) == (MANIFEST, f"date={desk.DATE}")
    ]
    assert warehouse.dates("accepted", "child_fills") == [desk.DATE, NEXT]


def test_a_date_that_leaves_the_landing_stays_live_and_is_reported(mine) -> None:
    landing, settings, warehouse = mine
    for table in contract.TABLES:
        shutil.rmtree(landing.root / table / f"date={desk.DATE}")
    (told,) = run(settings, landing).stale
    assert desk.DATE in told and "no longer in the landing zone" in told
    assert warehouse.day(desk.DATE) is not None
    run(settings, landing)
    assert [e["kind"] for e in Ledger(settings.home).entries(desk.DATE)] == ["judged", "removed"]


def test_a_home_has_one_landing_zone_until_it_is_replaced(mine, tmp_path: Path) -> None:
    _, settings, warehouse = mine
    other, live = landing_of(tmp_path / "other", 100.02), warehouse.day(desk.DATE)
    with pytest.raises(UsageError, match=r"holds the dates of landing zone .*landing.*--replace"):
        run(settings, other)
    assert warehouse.day(desk.DATE) == live
    zone.replace(warehouse, other)
    zone.check(warehouse, other)
    assert zone.recorded(settings.home) == other.root


def test_a_zone_that_moved_is_the_same_one_alone_or_with_its_home(mine, tmp_path: Path) -> None:
    landing, settings, warehouse = mine
    landing_of(landing.root, 100.02)  # moved together, and corrected since
    zone.check(warehouse, landing)
    shutil.move(landing.root, tmp_path / "elsewhere")
    zone.check(warehouse, Landing(tmp_path / "elsewhere"))  # its last date is as it was
    assert zone.recorded(settings.home) == tmp_path / "elsewhere"


def test_a_stale_mark_ends_with_what_it_was_said_of(mine) -> None:
    landing, settings, warehouse = mine
    part = desk.folder(landing.root, "instruments") / "part-0.parquet"
    part.write_bytes(b"?")
    for _ in range(2):
        with pytest.raises(LandingBlocked):
            run(settings, landing)
    entries = Ledger(settings.home).entries(desk.DATE)
    assert [entry["kind"] for entry in entries] == ["judged", "blocked"]  # said once
    assert entries[1]["problems"][0]["rule"] == contract.UNREADABLE
    mark = stale.find(warehouse, desk.DATE)
    assert mark is not None and mark.of == warehouse.day(desk.DATE).digest
    draft = warehouse.draft(desk.DATE)
    draft._written += warehouse.day(desk.DATE).partitions[1:]
    draft.show()  # killed before the mark was removed
    assert stale.find(warehouse, desk.DATE) is None


@pytest.mark.parametrize("harm", ["flip", "lose", "lose the last", "lose all", "twice", "names"])
def test_a_damaged_ledger_is_named(mine, harm: str) -> None:
    landing, settings, _ = mine
    (desk.folder(landing.root, "instruments") / "part-0.parquet").write_bytes(b"?")
    with pytest.raises(LandingBlocked):
        run(settings, landing)
    ledger = Ledger(settings.home)
    first, second = ledger.files(desk.DATE)
    if harm == "flip":
        first.write_bytes(first.read_bytes().replace(b"judged", b"jugded"))
    elif harm == "lose":
        first.unlink()
    elif harm == "lose the last":
        second.unlink()
    elif harm == "lose all":
        shutil.rmtree(first.parent)
    elif harm == "names":
        (ledger.root / LAST).write_text("[")
    else:
        shutil.copy(second, second.with_name(f"000002-{'0' * 16}.parquet"))
    with pytest.raises(CrossImpactError, match=r"audit ledger.*(damaged|missing)"):
        ledger.entries(desk.DATE)
    with pytest.raises(CrossImpactError, match=r"audit ledger.*(damaged|missing)"):
        ledger.all_files()


def test_a_run_killed_before_it_names_its_entry_leaves_a_sound_ledger(mine) -> None:
    landing, settings, _ = mine
    ledger = Ledger(settings.home)
    named = (ledger.root / LAST).read_text()
    run(settings, landing_of(landing.root, 100.02))
    (ledger.root / LAST).write_text(named)
    assert [entry["seq"] for entry in ledger.entries(desk.DATE)] == [1, 2]
    run(settings, landing_of(landing.root, 100.03))
    assert [entry["seq"] for entry in ledger.entries(desk.DATE)] == [1, 2, 3]
    assert json.loads((ledger.root / LAST).read_text())[desk.DATE].startswith("000003-")


def test_layers_that_are_judged_are_those_that_are_shown_together() -> None:
    assert LAYERS == JUDGED
