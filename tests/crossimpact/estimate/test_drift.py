"""Drift: silent on the champion's own world, loud when gamma doubles, modest when data are thin."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crossimpact.estimate.design import Panel
from crossimpact.estimate.drift import MIN_BUCKETS, bucket_cross, weekly_drift
from crossimpact.estimate.refit import fit_regime
from crossimpact.estimate.walk_forward import slope
from crossimpact.model import Array, ImpactModel

from .desk import draw, with_cells, without_cross


def champion(panel: Panel, truth: dict[str, Array]) -> ImpactModel:
    return ImpactModel(
        panel.symbols, panel.sectors, panel.adv, "normal",
        truth["alpha"], truth["beta"], truth["gamma"],
    )  # fmt: skip


def calibration(model: ImpactModel, panel: Panel) -> tuple[float, float]:
    return slope(*bucket_cross(model, panel))


def test_the_slope_of_the_true_model_is_one():
    z = []
    for seed in range(40):
        panel, truth = draw(seed, T=390)
        found, se = calibration(champion(panel, truth), panel)
        z.append((found - 1) / se)
    assert abs(np.mean(z)) < 0.6 and 0.6 < np.std(z) < 1.5


@pytest.mark.parametrize("transform", ["linear", "sqrt"])
def test_bucket_cross_is_what_own_terms_leave(transform):
    """On a noiseless desk realized is predicted, whatever the flow transform."""
    panel, truth = draw(T=390, noise=0.0, fill=0.0)
    model = replace(champion(panel, truth), transform=transform, reference=np.full(panel.n, 1e-3))
    if transform == "sqrt":
        move = model.self_bps(panel.q) + model.cross_bps(panel.q)
        paid = truth["alpha"] + np.sign(panel.q) * move
        panel = replace(panel, move=move, s=np.where(panel.q != 0, paid, np.nan))
    predicted, realized = bucket_cross(model, panel)
    np.testing.assert_allclose(realized, predicted, atol=1e-9)


def test_peer_flow_is_not_taken_for_cross_impact():
    """Herding moves prices with the desk's own flow; the fitted controls take that out."""
    panel, _ = draw(5, T=2500, confounded=True)
    found = fit_regime(panel, "normal").model
    seen, se = calibration(found, panel)
    blind = replace(found, provenance={})
    assert abs(seen - 1) < 3 * se
    assert calibration(blind, panel)[0] > seen + 3 * se


def test_an_unchanged_market_is_seldom_called_drift():
    verdicts = []
    for seed in range(20):
        panel, truth = draw(seed, T=390)
        verdicts.append(weekly_drift(champion(panel, truth), panel, panel.typical_flow()).verdict)
    assert verdicts.count("refit") <= 1


def test_a_doubled_and_a_vanished_gamma_call_for_a_refit():
    panel, truth = draw(1, T=390, noise=2.0, fill=1.0)
    model = champion(panel, truth)
    for factor in (0.0, 2.0):
        found = weekly_drift(model, without_cross(panel, truth, factor), panel.typical_flow())
        assert found.verdict == "refit"
        assert abs(found.slope - factor) < 3.5 * found.slope_se


def test_turned_signs_are_counted():
    panel, truth = draw(2, T=1500)
    turned = without_cross(panel, truth, -1.0)
    found = weekly_drift(champion(panel, truth), turned, panel.typical_flow())
    assert found.sign_flips > 0 and found.distance > 1
    same = weekly_drift(champion(panel, truth), panel, panel.typical_flow())
    assert same.sign_flips == 0 and same.distance < 0.5


def test_ten_times_the_flow_is_watched():
    panel, truth = draw(3, T=390)
    found = weekly_drift(champion(panel, truth), panel, panel.typical_flow() / 10)
    assert found.verdict == "watch" and "times those at calibration" in found.reason
    assert found.flow_ratio > 9


def test_a_champion_without_cross_terms_cannot_drift():
    panel, truth = draw(3, T=390)
    found = weekly_drift(champion(panel, truth).self_only(), panel, panel.typical_flow())
    assert found.verdict == "ok" and "no cross cost is predicted" in found.reason
    assert found.to_dict()["slope"] is None and found.to_dict()["distance"] is None


def test_too_few_buckets_give_no_verdict():
    panel, truth = draw(4, T=MIN_BUCKETS - 1)
    found = weekly_drift(champion(panel, truth), panel, panel.typical_flow())
    assert found.verdict == "ok" and f"{MIN_BUCKETS} needed" in found.reason
    assert found.to_dict()["slope"] is None


def test_a_week_without_trades_gives_no_verdict():
    panel, truth = draw(4, T=390)
    idle = replace(panel, q=np.zeros_like(panel.q), s=np.full_like(panel.s, np.nan))
    found = weekly_drift(champion(panel, truth), idle, panel.typical_flow())
    assert found.verdict == "ok" and np.isnan(found.slope)


def test_one_impossible_cell_is_no_drift():
    panel, truth = draw(6, T=390)
    at = int(np.flatnonzero(panel.q[:, 0])[7])
    model = champion(panel, truth)
    clean = weekly_drift(model, panel, panel.typical_flow())
    for name in ("q", "s", "move"):
        dirty = with_cells(panel, **{name: ((at, 0), 1e12)})
        found = weekly_drift(model, dirty, panel.typical_flow())
        assert found.verdict == clean.verdict
        assert abs(found.slope - clean.slope) < clean.slope_se
