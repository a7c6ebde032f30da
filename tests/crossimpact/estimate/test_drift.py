"""Drift: silent on the champion's own world, loud when gamma doubles, modest when data are thin."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from crossimpact.estimate.drift import MIN_BUCKETS, cross_slope, weekly_drift
from crossimpact.estimate.refit import fit_regime
from crossimpact.model import ImpactModel

from .desk import draw


def champion(panel, truth) -> ImpactModel:
    return ImpactModel(
        panel.symbols, panel.sectors, panel.adv, "normal",
        truth["alpha"], truth["beta"], truth["gamma"],
    )  # fmt: skip


def changed(panel, truth, factor):
    """The same week, had cross impact been `factor` times as strong."""
    extra = (factor - 1) * (panel.q @ truth["gamma"].T)
    return replace(panel, s=panel.s + np.sign(panel.q) * extra)


def test_the_slope_of_the_true_model_is_one():
    z = []
    for seed in range(20):
        panel, truth = draw(seed, T=390)
        slope, se = cross_slope(champion(panel, truth), panel)
        z.append((slope - 1) / se)
    assert abs(np.mean(z)) < 1.0 and 0.5 < np.std(z) < 1.6


def test_peer_flow_is_not_taken_for_cross_impact():
    """Herding moves prices with the desk's own flow; the fitted controls take that out."""
    panel, _ = draw(5, T=4000, confounded=True)
    found = fit_regime(panel, "normal").model
    slope, se = cross_slope(found, panel)
    blind = replace(found, provenance={})
    assert abs(slope - 1) < 3 * se
    assert cross_slope(blind, panel)[0] > slope + 3 * se


def test_an_unchanged_market_is_seldom_called_drift():
    verdicts = []
    for seed in range(20):
        panel, truth = draw(seed, T=390)
        verdicts.append(weekly_drift(champion(panel, truth), panel, panel.typical_flow()).verdict)
    assert verdicts.count("refit") <= 1


def test_a_doubled_and_a_vanished_gamma_call_for_a_refit():
    panel, truth = draw(1, T=390, noise=4.0)
    model = champion(panel, truth)
    for factor in (0.0, 2.0):
        found = weekly_drift(model, changed(panel, truth, factor), panel.typical_flow())
        assert found.verdict == "refit"
        assert abs(found.slope - factor) < 3 * found.slope_se


def test_turned_signs_are_counted():
    panel, truth = draw(2, T=1500)
    found = weekly_drift(champion(panel, truth), changed(panel, truth, -1.0), panel.typical_flow())
    assert found.sign_flips > 0 and found.distance > 1


def test_ten_times_the_flow_is_watched():
    panel, truth = draw(3, T=390)
    found = weekly_drift(champion(panel, truth), panel, panel.typical_flow() / 10)
    assert found.verdict == "watch" and "times those at calibration" in found.reason
    assert found.flow_ratio > 9


def test_too_few_buckets_give_no_verdict():
    panel, truth = draw(4, T=MIN_BUCKETS - 1)
    found = weekly_drift(champion(panel, truth), panel, panel.typical_flow())
    assert found.verdict == "ok" and f"{MIN_BUCKETS} needed" in found.reason
    assert found.to_dict()["slope"] is None
