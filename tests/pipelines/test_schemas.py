"""Homes of earlier versions are read as they were written; what is in them never changes."""

from __future__ import annotations

import shutil
from decimal import Decimal
from pathlib import Path

import pytest

from crossimpact.errors import StaleModel
from crossimpact.release import ledger, release_files
from pipelines import moments
from pipelines.audit.history import opened
from pipelines.audit.ledger import Ledger
from pipelines.features import load_panel
from pipelines.plan import RefitPlan
from pipelines.record import FitRecord
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse

HOMES = Path(__file__).parent / "schemas"
OLD, NEW = "2026-03-04", "2024-01-03"
DIGEST = "76fcce7ad61866b8f69bb8d401d5160c3bacf46b63c3ac7ccd4a096fc44b7e35"


@pytest.fixture
def old(tmp_path: Path) -> Settings:
    """Of version 0.1: a manifest a table, no ledger of audits."""
    shutil.copytree(HOMES / "home-0.1", tmp_path / "home")
    return Settings(tmp_path / "home")


@pytest.fixture
def new(tmp_path: Path) -> Settings:
    """Of version 0.2: a manifest a date, and its entry in the ledger."""
    shutil.copytree(HOMES / "home-0.2", tmp_path / "home")
    return Settings(tmp_path / "home")


def test_an_old_ledger_verifies_and_names_its_champion(old: Settings) -> None:
    verdict, (line,) = ledger.verify(old.ledger_path), ledger.entries(old.ledger_path)
    assert verdict.ok and (line.action, line.approver, line.identity) == ("promote", "bob", "name")
    live = ledger.standing([line])
    assert live is not None and live.digest == DIGEST


def test_an_old_release_is_read_byte_for_byte_under_its_digest(old: Settings) -> None:
    (folder,) = old.home.glob("refits/*/release")
    release = release_files.read(folder, DIGEST)
    assert release.digest == DIGEST and release.schema_version == 2
    assert release.models["normal"].kernel is None
    assert {name: p.rung for name, p in release.fallback.items()} == {
        "normal": "self_only", "stressed": "fixed_pov", "unknown": "fixed_pov",
    }  # fmt: skip


def test_a_release_of_a_later_schema_is_refused_by_name(old: Settings) -> None:
    (manifest,) = old.home.glob("refits/*/release/manifest.json")
    manifest.write_text(manifest.read_text().replace('"schema_version":2', '"schema_version":9'))
    with pytest.raises(StaleModel, match=r"schema version 9, expected 2 to 4"):
        release_files.read(manifest.parent)


def test_old_partitions_are_read_by_their_own_manifests(old: Settings) -> None:
    warehouse = Warehouse(old)
    day = warehouse.day(OLD)
    assert day is not None and {m.contract_version for m in day.partitions} == {"1"}
    assert warehouse.judged_dates() == warehouse.dates("accepted", "child_fills") == [OLD]
    fills = warehouse.rows("accepted", "child_fills", OLD) or []
    told = day.find("accepted", "child_fills")
    assert told is not None and len(fills) == told.rows > 0
    (summary,) = warehouse.rows("marts", "tca_summary", OLD) or []
    assert (summary["release_id"], summary["parents"]) == (DIGEST[:12], 8)
    assert summary["total_usd"] == Decimal("973755.591000")
    panel = load_panel(old, [OLD])
    assert panel.n == 3 and len(panel.ts) == 78


def test_an_old_plan_and_its_fits_are_read(old: Settings) -> None:
    (folder,) = old.home.glob("refits/*")
    plan = RefitPlan.read(folder / "plan.json")
    assert plan.dates[-1] == OLD and plan.loss == "huber"
    fits = {name: FitRecord.read(folder / f"fit-{name}.json") for name in ("normal", "stressed")}
    assert fits["normal"].rung == "self_only" and fits["stressed"].model is None


def test_an_entry_of_audits_is_read_with_its_broken_rows(new: Settings) -> None:
    (entry,) = Ledger.of(new).entries(NEW)
    assert (entry["kind"], entry["run"], entry["who"], entry["seq"]) == (
        "judged", "night", "ann", 1,
    )  # fmt: skip
    day = Warehouse(new).day(NEW)
    assert day is not None and entry["manifest"] == day.digest and entry["origin"] == day.origin
    with opened(new) as connection:
        broken = connection.execute("SELECT rule, key FROM audit_violations").fetchall()
    assert broken == [("fill_near_mid", "f7|XNYS")]


def test_moments_are_read_as_they_were_stored(new: Settings) -> None:
    manifest = Warehouse(new).manifest(new.feature_layer, "moments_linear", NEW)
    assert manifest is not None and manifest.contract_version == "2"
    rows = Warehouse(new).rows(new.feature_layer, manifest.table, NEW) or []
    assert list(rows[0]) == moments.SCHEMA.names
    assert {row["name"]: row["shape"] for row in rows} == {
        "seen": [2, 2], "root": [5], "own": [5, 2], "sector": [5, 2], "factor": [5, 2],
        "move": [5, 2], "residual": [5, 2], "excess": [5, 2],
    }  # fmt: skip
