"""The weekly job: the champion against the last dates, a row per regime in the marts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from crossimpact.errors import StaleModel
from crossimpact.estimate.refit import fit_regime
from crossimpact.model import ImpactModel
from crossimpact.simulate import DeskSpec
from pipelines import drift, features, simulate, validate
from pipelines import release as life
from pipelines.config import Settings
from pipelines.landing import Landing
from pipelines.warehouse import Warehouse
from registry.bundle import Release
from tests.pipelines.tca_desk import release

SPEC = DeskSpec(symbols=5, days=9, seed=11, snapshot_s=60, noise_scale=0.3)
FITTED = 6  # dates the champion was fitted on; the week's five overlap them in two


@pytest.fixture(scope="module")
def desk(tmp_path_factory) -> tuple[Settings, Path, list[str], Release]:
    """A desk with a champion fitted on its first dates."""
    root = tmp_path_factory.mktemp("desk")
    simulate.run(None, root, SPEC)
    settings, landing = Settings(root / "home"), Landing(root / "landing")
    dates = landing.all_dates()
    validate.run(settings, landing, dates)
    features.prepare(settings, landing, dates)
    panel = features.load_panel(settings, dates[:FITTED])
    model = fit_regime(panel, "normal").model
    window = {"first": dates[0], "last": dates[FITTED - 1], "dates": FITTED}
    return settings, root / "landing", dates, replace(release(model), window=window)


def run(desk, monkeypatch, champion: Release) -> drift.Result:
    settings, landing, *_ = desk
    monkeypatch.setattr(life, "champion", lambda _: (champion, {}))
    return drift.run(settings, landing)


def doubted(champion: Release, **changes) -> Release:
    return replace(champion, models={"normal": replace(champion.models["normal"], **changes)})


def test_an_unchanged_world_is_no_drift_and_is_on_record(desk, monkeypatch):
    settings, _, dates, champion = desk
    result = run(desk, monkeypatch, champion)
    row = result.regimes["normal"]
    assert (result.dates, result.in_sample_dates) == (dates[-5:], FITTED - 4)
    assert row["buckets"] > 100 and abs(row["slope"] - 1) < 3 * row["slope_se"]
    assert row["verdict"] == result.verdict != "refit"
    json.dumps(result.to_dict(), allow_nan=False)
    files = Warehouse(settings).files("marts", "drift", [dates[-1]])
    (told,) = pq.ParquetFile(files[0]).read().to_pylist()
    assert told == {"release": champion.id, "in_sample_dates": FITTED - 4, **row}


@pytest.mark.parametrize("transform", ["linear", "sqrt"])
def test_a_matrix_of_the_wrong_sign_calls_for_a_refit(desk, monkeypatch, transform):
    *_, champion = desk
    model = champion.models["normal"]
    turned = doubted(
        champion,
        gamma=-model.gamma,
        transform=transform,
        reference=np.full(model.n, np.median(model.provenance["typical_flow"])),
    )
    assert run(desk, monkeypatch, turned).verdict == "refit"


def test_a_name_that_left_the_landing_did_not_trade(desk, monkeypatch):
    """The champion knows one name more than the week does."""
    *_, champion = desk
    model = champion.models["normal"]
    gamma = np.zeros((model.n + 1, model.n + 1))
    gamma[:-1, :-1] = model.gamma
    wider = ImpactModel(
        symbols=(*model.symbols, "GONE"),
        sectors=(*model.sectors, "Retail"),
        adv=np.append(model.adv, 1e6),
        regime="normal",
        alpha=np.append(model.alpha, 1.0),
        beta=np.append(model.beta, 1.0),
        gamma=gamma,
        provenance={
            "typical_flow": [*model.provenance["typical_flow"], 1e-3],
            "peer_bps": [*model.provenance["peer_bps"], [0.0, 0.0]],
        },
        transform=model.transform,
        reference=np.append(model.reference, 1.0),
    )
    wide = run(desk, monkeypatch, replace(champion, models={"normal": wider}))
    same = run(desk, monkeypatch, champion)
    assert wide.regimes["normal"]["slope"] == pytest.approx(same.regimes["normal"]["slope"])


def test_without_a_champion_there_is_nothing_to_drift(desk, tmp_path):
    with pytest.raises(StaleModel):
        drift.run(Settings(tmp_path / "home"), desk[1])
