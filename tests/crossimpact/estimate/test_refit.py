"""The ladder: full when pairs earn it, self-only when nothing does, fixed POV without data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from crossimpact.estimate.drift import cross_slope
from crossimpact.estimate.refit import MIN_BUCKETS, fit_regime, oos_r2

from .desk import draw


def test_a_coupled_desk_ships_its_matrix_and_beats_self_and_placebo():
    found = fit_regime(draw(T=3000)[0], "normal")
    metrics = found.metrics
    assert found.rung in ("full", "sector_block") and found.model is not None
    assert metrics["oos_r2_shipped"] > metrics["oos_r2_self_only"]
    assert metrics["oos_r2_shipped"] - metrics["oos_r2_self_only"] > metrics["placebo_gain"]
    assert metrics["psd_margin"] > 0 and found.stability


def test_predicted_cross_cost_is_calibrated():
    """Robust weights must not take cross impact for outliers and shrink it."""
    slopes = []
    for seed in range(6):
        panel, _ = draw(seed, T=4000)
        slopes.append(cross_slope(fit_regime(panel, "normal").model, panel)[0])
    assert abs(np.mean(slopes) - 1) < 0.1


def test_an_uncoupled_desk_ships_self_only_and_says_why():
    panel, truth = draw(T=2000)
    alone = replace(panel, s=panel.s - np.sign(panel.q) * (panel.q @ truth["gamma"].T))
    found = fit_regime(alone, "normal")
    assert found.rung == "self_only" and found.model.edges == 0
    assert "out of sample" in found.reason


def test_the_placebo_is_the_same_time_of_day_one_session_earlier():
    panel, _ = draw(T=5 * 78)
    shifted = panel.day_shifted_q()
    assert not shifted[:78].any()
    np.testing.assert_array_equal(shifted[78:], panel.q[:-78])
    short = panel.where(np.delete(np.arange(5 * 78), np.arange(100, 110)))
    again = short.day_shifted_q()
    np.testing.assert_array_equal(again[-78:], panel.q[-2 * 78 : -78])
    assert not draw(T=78)[0].day_shifted_q().any()


def test_no_lucky_row_owns_the_score():
    """A symbol with one test row next to its prediction must not decide the R2 of all."""
    panel, _ = draw(T=600)
    model = fit_regime(panel, "normal").candidates["self_only"]
    s = panel.s.copy()
    row = int(np.flatnonzero(np.isfinite(s[:, 0]))[0])
    s[:, 0] = np.nan
    before = oos_r2(model, model, replace(panel, s=s), panel.q)
    s[row, 0] = model.alpha[0] + model.beta[0] * abs(panel.q[row, 0]) + 1e-3
    assert abs(oos_r2(model, model, replace(panel, s=s), panel.q) - before) < 0.02


def test_one_symbol_is_self_only():
    found = fit_regime(draw(T=1000, n=1)[0], "normal")
    assert found.rung == "self_only" and found.model.gamma.shape == (1, 1)


def test_a_regime_without_buckets_is_answered_by_fixed_pov():
    found = fit_regime(draw(T=500)[0], "stressed")
    assert (found.model, found.rung) == (None, "fixed_pov")
    assert found.reason == f"0 stressed buckets, {MIN_BUCKETS} needed"


def test_a_desk_that_never_traded_is_answered_by_fixed_pov():
    panel, _ = draw(T=300)
    idle = replace(panel, q=np.zeros_like(panel.q), s=np.full_like(panel.s, np.nan))
    assert fit_regime(idle, "normal").rung == "fixed_pov"


def test_same_panel_same_bits():
    panel, _ = draw(T=800)
    one, other = fit_regime(panel, "normal"), fit_regime(panel, "normal")
    assert one.model.digest == other.model.digest
    assert one.metrics == other.metrics
