"""The weekly job: the champion against the week's dates, by regime and statistic in the marts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from crossimpact.drift import conditions, e_detector
from crossimpact.drift.conditions import CONDITIONS
from crossimpact.drift.weekly import STATISTICS
from crossimpact.errors import StaleModel
from crossimpact.estimate.refit import fit_regime
from crossimpact.model import ImpactModel
from crossimpact.release.bundle import Release
from crossimpact.release.content import Hold, Window
from crossimpact.simulate import DeskSpec
from pipelines import drift, features, simulate, validate
from pipelines import release as life
from pipelines.store.landing import Landing
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse
from tests.pipelines.tca_desk import release

SPEC = DeskSpec(symbols=5, days=12, seed=11, snapshot_s=60, noise_scale=0.3)
FITTED = 6  # dates the champion was fitted on: a week, and the Monday of the second
SECOND, THIRD = "2026-03-13", "2026-03-17"  # last dates of the weeks after


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
    fit = fit_regime(panel, "normal")
    report = {"metrics": {"normal": fit.metrics}}
    window = Window(dates[0], dates[FITTED - 1], FITTED)
    champion = replace(release(fit.model), window=window, report=report)
    return settings, root / "landing", dates, champion


def run(desk, monkeypatch, champion: Release, as_of: str | None = None) -> drift.Result:
    settings, landing, *_ = desk
    monkeypatch.setattr(life, "champion", lambda _: (champion, {}))
    return drift.run(settings, landing, as_of)


def rows(settings: Settings, table: str, date: str) -> list[dict]:
    (file,) = Warehouse(settings).files("marts", table, [date])
    return pq.ParquetFile(file).read().to_pylist()


def state(settings: Settings) -> dict[Path, bytes]:
    """Every byte of the drift marts."""
    root = Warehouse(settings).root / "marts"
    return {path: path.read_bytes() for path in sorted(root.glob("drift*/**/*.*"))}


def doubted(champion: Release, **changes) -> Release:
    return replace(champion, models={"normal": replace(champion.models["normal"], **changes)})


def test_an_unchanged_world_is_no_drift_and_is_on_record(desk, monkeypatch):
    settings, _, dates, champion = desk
    result = run(desk, monkeypatch, champion, SECOND)
    row = result.regimes["normal"]
    assert (result.week, result.dates) == ("2026-03-09", dates[5:10])
    assert (result.in_sample_dates, row["days"]) == (1, 4)
    assert row["buckets"] > 100 and abs(row["slope"] - 1) < 3 * row["slope_se"]
    assert row["verdict"] == result.verdict != "refit" and not result.demote
    plain = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert drift.Result(**plain).to_dict() == plain
    head = {"release": champion.id, "in_sample_dates": 1}
    assert rows(settings, "drift", SECOND) == [{**head, **row}]
    assert rows(settings, "drift_evidence", SECOND) == [{**head, **r} for r in result.evidence]
    assert {row["statistic"] for row in result.evidence} == {*STATISTICS, *CONDITIONS}


def test_evidence_runs_on_over_the_weeks_and_reruns_change_nothing(desk, monkeypatch):
    settings, _, _, champion = desk
    wrong = doubted(champion, gamma=0.6 * champion.models["normal"].gamma)
    looks = [run(desk, monkeypatch, wrong, date) for date in ("2026-03-11", SECOND, THIRD)]
    p, evidence = (
        [
            {row["statistic"]: row[name] for row in look.evidence if row["statistic"] in STATISTICS}
            for look in looks
        ]
        for name in ("p", "evidence")
    )
    for name in STATISTICS:
        assert evidence[1][name] == pytest.approx(e_detector.evidence([p[1][name]]))
        assert evidence[2][name] == pytest.approx(e_detector.evidence([p[1][name], p[2][name]]))
    before = state(settings)
    for date in (THIRD, SECOND, "2026-03-11", THIRD):  # reruns, a backfill, a late retry
        run(desk, monkeypatch, wrong, date)
    assert state(settings) == before
    other = run(desk, monkeypatch, champion, THIRD)  # a new champion starts from nothing
    fresh = next(row for row in other.evidence if row["statistic"] == "move_slope")
    assert fresh["evidence"] == pytest.approx(fresh["e"])


def test_a_week_the_champion_has_seen_is_shown_and_is_no_evidence(desk, monkeypatch):
    *_, champion = desk
    result = run(desk, monkeypatch, champion, "2026-03-06")
    assert result.in_sample_dates == 5 and result.verdict == "ok"
    assert "fitted on this week" in result.regimes["normal"]["reason"]
    assert all(row["p"] is None and row["evidence"] == 0 for row in result.evidence)


def test_a_demoted_regime_is_judged_by_what_the_release_ships(desk, monkeypatch):
    """The rung it is held to meanwhile changes nothing in a rerun."""
    settings, _, _, champion = desk
    model = champion.models["normal"]
    wrong = doubted(champion, gamma=-model.gamma)
    first = run(desk, monkeypatch, wrong, SECOND)
    assert first.verdict == "demote" and first.demote == {"normal": "self_only"}
    assert first.regimes["normal"]["fallback"] == "self_only"
    before = state(settings)
    held = replace(wrong, held={"normal": Hold("self_only", "drift")})
    assert run(desk, monkeypatch, held, SECOND) == first
    assert state(settings) == before


def test_the_block_answers_where_the_release_carries_a_good_one(desk, monkeypatch):
    *_, champion = desk
    model = champion.models["normal"]
    wrong = doubted(champion, gamma=-model.gamma)
    carrying = replace(wrong, lower={"normal": {"sector_block": model}})
    assert run(desk, monkeypatch, carrying, SECOND).demote == {"normal": "sector_block"}


def test_conditions_are_compared_with_the_champions_window(desk, monkeypatch):
    *_, champion = desk
    monkeypatch.setattr(conditions, "MIN_REFERENCE", 5)
    monkeypatch.setattr(conditions, "MIN_WEEK", 2)
    rows = {row["statistic"]: row for row in run(desk, monkeypatch, champion, THIRD).evidence}
    for name in CONDITIONS:
        assert rows[name]["p"] is not None and rows[name]["verdict"] == "ok"
    assert 0.5 < rows["flow"]["value"] < 2 and abs(rows["regime_share"]["value"]) < 0.5


def test_a_promotion_meanwhile_leaves_the_marts_alone(desk, monkeypatch):
    settings, landing, _, champion = desk
    seen = iter([champion, doubted(champion, gamma=0 * champion.models["normal"].gamma)])
    monkeypatch.setattr(life, "champion", lambda _: (next(seen), {}))
    before = state(settings)
    with pytest.raises(StaleModel, match="not champion any longer"):
        drift.run(settings, landing, THIRD)
    assert state(settings) == before


@pytest.mark.parametrize("transform", ["linear", "sqrt"])
def test_a_matrix_of_the_wrong_sign_is_demoted(desk, monkeypatch, transform):
    *_, champion = desk
    model = champion.models["normal"]
    turned = doubted(
        champion,
        gamma=-model.gamma,
        transform=transform,
        reference=np.full(model.n, np.median(model.provenance["typical_flow"])),
    )
    assert run(desk, monkeypatch, turned, SECOND).verdict == "demote"


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
