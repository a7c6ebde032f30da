"""What the gates ask for besides the report: a refit run again, coverage, turnover."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from crossimpact.errors import CrossImpactError
from crossimpact.simulate import DeskSpec
from pipelines import evidence, features, promotion, refit, simulate
from pipelines import release as life
from pipelines.config import Settings
from pipelines.warehouse import Warehouse
from registry import ledger
from registry.bundle import Release

NOW = datetime(2026, 4, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def desk(tmp_path_factory) -> tuple[Settings, Release]:
    root = tmp_path_factory.mktemp("desk")
    spec = DeskSpec(symbols=4, days=6, seed=3, snapshot_s=60, noise_scale=0.2)
    simulate.run(None, root, spec)
    settings = Settings(root / "home")
    refit.run(settings, root / "landing")
    return settings, life.resolve(settings, "challenger")[0]


def attested(settings: Settings) -> Path:
    (folder,) = (settings.home / "refits").iterdir()
    return folder / evidence.ATTESTED


def test_the_refit_run_again_in_another_process_gives_the_same_release(desk) -> None:
    settings, release = desk
    attested(settings).unlink(missing_ok=True)
    assert evidence.reproduced(settings, release) == "same"
    said = json.loads(attested(settings).read_text())
    assert said == {"release": release.digest, "verdict": "same"}
    attested(settings).write_text(json.dumps(said | {"verdict": "as attested"}))
    assert evidence.reproduced(settings, release) == "as attested"
    attested(settings).write_text("{")  # of a full disk, say
    assert evidence.reproduced(settings, release) == "same"
    attested(settings).unlink()


def test_a_refit_whose_plan_changed_is_told_apart(desk) -> None:
    settings, release = desk
    (folder,) = (settings.home / "refits").iterdir()
    plan = folder / refit.PLAN
    before = plan.read_text()
    plan.write_text(json.dumps(json.loads(before) | {"loss": "quantile"}))
    try:
        assert evidence.reproduced(settings, release).startswith("different: ")
    finally:
        plan.write_text(before)
    assert evidence.reproduced(settings, release) == "same"  # mended: nothing else is remembered


def test_a_refit_whose_features_are_gone_says_so(desk, tmp_path: Path) -> None:
    settings, release = desk
    shutil.copytree(
        settings.home / "refits", tmp_path / "refits", ignore=lambda *_: [evidence.ATTESTED]
    )
    assert evidence.reproduced(Settings(tmp_path), release).startswith("failed: ")
    assert evidence.reproduced(Settings(tmp_path / "empty"), release).startswith("not known: ")


def test_a_plan_holds_wherever_it_is_run_again(desk, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, _ = desk
    monkeypatch.chdir(settings.home.parent)
    plan = refit.plan(settings, Path("landing"))
    assert Path(plan["landing"]) == settings.home.parent / "landing"


def test_coverage_is_the_share_of_labelled_buckets_with_a_model(desk) -> None:
    settings, release = desk
    folder = settings.feature_layer
    dates = Warehouse(settings).dates(folder, "regimes")
    labelled = features.load_panel(settings, dates).regime
    fitted = sum(int((labelled == regime).sum()) for regime in release.models)
    assert evidence.coverage(release) == pytest.approx(fitted / len(labelled))
    none = replace(release, report={"metrics": {}})
    assert evidence.coverage(none) == 0.0


def test_a_champion_is_compared_with_and_a_shadow_read(desk) -> None:
    settings, release = desk
    facts = evidence.gather(settings, release, None, "same", NOW)
    assert facts["reproduced"] == "same"
    assert "champion" not in facts and "shadow" not in facts
    promotion.promote(settings, who="ann", now=NOW)
    live = ledger.standing(ledger.entries(settings.ledger_path))
    other = replace(release, as_of="2026-12-31")
    (settings.home / "shadow").mkdir()
    (settings.home / "shadow" / f"{other.id}.json").write_text('{"p90_ratio": 0.9}')
    facts = evidence.gather(settings, other, live, "same", NOW)
    coupled = {regime for regime, model in release.models.items() if model.edges}
    assert facts["champion"] == {regime: {"edge_turnover": 0.0} for regime in coupled}
    assert facts["shadow"] == {"p90_ratio": 0.9}
    (settings.home / "shadow" / f"{other.id}.json").write_text('{"p90_ratio"')
    with pytest.raises(CrossImpactError, match="cannot be read"):
        evidence.gather(settings, other, live, "same", NOW)


def test_what_ships_carries_its_ladder_levels_and_certificate(desk) -> None:
    _, release = desk
    for regime, model in release.models.items():
        rung = release.fallback[regime]["rung"]
        below = {"full": {"sector_block", "self_only"}, "sector_block": {"self_only"}}
        assert set(release.lower.get(regime, {})) == below.get(rung, set())
        levels = release.guardrails[regime]
        assert {"q_adv", "cross_bps", "unexplained_bps"} >= set(levels) >= {"q_adv"}
        assert all(0 <= level["amber"] <= level["red"] for level in levels.values())
        proof = release.report["certificate"][regime]
        assert proof["admissible"] and proof["round_trip"] is None
        assert model.symbols == release.lower.get(regime, {}).get("self_only", model).symbols
