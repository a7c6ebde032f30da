"""What the gates ask for besides the report: a refit run again, coverage, turnover."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from crossimpact.errors import CrossImpactError
from crossimpact.ladder import RUNGS
from crossimpact.release import ledger
from crossimpact.release.bundle import Release
from crossimpact.release.policy import DEFAULT
from crossimpact.simulate import DeskSpec
from pipelines import evidence, features, promotion, refit, simulate
from pipelines import release as life
from pipelines.pages.card import model_card
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse

NOW = datetime(2026, 4, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def desk(tmp_path_factory, mlflow_tables) -> tuple[Settings, Release]:
    root = tmp_path_factory.mktemp("desk")
    (root / "home" / "mlflow").mkdir(parents=True)
    shutil.copy(mlflow_tables, root / "home" / "mlflow" / "mlflow.db")
    spec = DeskSpec(symbols=4, days=6, seed=3, snapshot_s=60, noise_scale=0.2)
    simulate.run(None, root, spec)
    settings = Settings(root / "home")
    refit.run(settings, root / "landing")
    return settings, life.resolve(settings, "challenger")[0]


def attested(settings: Settings) -> Path:
    (folder,) = (settings.home / "refits").iterdir()
    return folder / evidence.ATTESTED


#: Kernels of OpenBLAS that any processor of their family runs, x86-64 and ARM.
KERNELS = ("Sandybridge", "Nehalem", "Haswell", "ARMV8", "NEOVERSEN1")


def blas_kernels(environment: dict[str, str]) -> set[str]:
    """The kernels that numpy's and scipy's OpenBLAS choose in a process of this environment."""
    code = (
        "import json, numpy, scipy.linalg, threadpoolctl as t\n"
        "print(json.dumps([i.get('architecture') for i in t.threadpool_info() "
        "if i['user_api'] == 'blas']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def other_kernel() -> str | None:
    """A kernel that none of this machine's BLAS libraries would choose and all of them take."""
    here = blas_kernels(dict(os.environ))
    return next(
        (
            kernel
            for kernel in KERNELS
            if not here & (found := blas_kernels({**os.environ, "OPENBLAS_CORETYPE": kernel}))
            and len(found) == 1
        ),
        None,
    )


def test_a_refit_is_reproduced_by_another_kind_of_processor(
    desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other kernels of BLAS sum in another order: other bytes, the same decisions and numbers."""
    kernel = other_kernel()
    if kernel is None:
        pytest.skip(f"this machine's BLAS has one kernel, {blas_kernels(dict(os.environ))}")
    settings, release = desk
    made_here = shutil.ignore_patterns("moments_*", evidence.ATTESTED)
    for folder in ("refits", "warehouse"):
        shutil.copytree(settings.home / folder, tmp_path / folder, ignore=made_here)
    monkeypatch.setenv("OPENBLAS_CORETYPE", kernel)
    said = evidence.reproduced(Settings(tmp_path), release)
    assert said.startswith("same within 1e-09: largest difference ")
    (file,) = (tmp_path / "refits").glob(f"*/{evidence.ATTESTED}")
    assert json.loads(file.read_text()) == {"release": release.digest, "verdict": said}


def test_the_refit_run_again_in_another_process_gives_the_same_release(desk) -> None:
    """Another plan is told apart and nothing kept of it; nor does a torn verdict count."""
    settings, release = desk
    (folder,) = (settings.home / "refits").iterdir()
    plan = folder / refit.PLAN
    before = plan.read_text()
    attested(settings).unlink(missing_ok=True)
    plan.write_text(json.dumps(json.loads(before) | {"loss": "quantile"}))
    try:
        said = evidence.reproduced(settings, release)
        assert said.startswith("different: ") and ", run again " in said
        assert not attested(settings).exists()
    finally:
        plan.write_text(before)
    attested(settings).write_text("{")  # of a full disk, say
    assert evidence.reproduced(settings, release) == "same bytes"
    kept = json.loads(attested(settings).read_text())
    assert kept == {"release": release.digest, "verdict": "same bytes"}
    attested(settings).write_text(json.dumps(kept | {"verdict": "as attested"}))
    assert evidence.reproduced(settings, release) == "as attested"
    attested(settings).unlink()


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
    assert plan.landing == settings.home.parent / "landing"


def test_a_homes_policy_decides_what_its_refit_ships(desk, tmp_path: Path) -> None:
    """Its release and its card say so, under a key of its own; without the file all is as ever."""
    settings, release = desk
    landing = settings.home.parent / "landing"
    usual = refit.plan(settings, landing)
    assert usual.policy == DEFAULT.refit and "policy" not in release.report
    text = "[refit.max_pov]\nfixed_pov = 0.03\n[refit.guardrails.ibb]\namber = 0.5\n[refit]\n"
    (settings.home / "policy.toml").write_text(text + "false_discovery_rate = 0.1\n")
    try:
        own = Settings(settings.home)
        plan = refit.plan(own, landing)
        made = refit.build(own, plan, refit.fits(own, plan))
    finally:
        (settings.home / "policy.toml").unlink()
    assert plan.key != usual.key and plan.dates == usual.dates
    assert made.model_for("unknown").max_pov == 0.03 != release.model_for("unknown").max_pov
    for regime, levels in made.guardrails.items():
        before = release.guardrails[regime]["ibb"]
        assert (levels["ibb"].amber < before.amber) and levels["ibb"].red == before.red
    assert made.report["policy"] == plan.policy.to_dict()
    card = model_card(made)
    assert "IBB amber by 50%, red by 5%" in card and "false discovery rate of 10%" in card
    assert "CPI amber by 30%, red by 10%; IBB amber by 20%, red by 5%" in model_card(release)
    again = refit.build(settings, usual, refit.fits(settings, usual))
    assert again.digest == release.digest


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
        rung = release.fallback[regime].rung
        below = set(RUNGS[RUNGS.index(rung) + 1 : -1])  # a fixed share of volume has no model
        assert set(release.lower.get(regime, {})) == below
        levels = release.guardrails[regime]
        assert {"cpi_bps", "ibb", "data_age_s", "model_age_days"} >= set(levels) >= {"ibb"}
        assert all(0 <= level.amber <= level.red for level in levels.values())
        proof = release.report["certificate"][regime]
        assert proof["admissible"] and proof["round_trip"] is None
        assert model.symbols == release.lower.get(regime, {}).get("self_only", model).symbols
