"""The ladder: full when pairs earn it, self-only when nothing does, fixed POV without data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from crossimpact.estimate.bucket_costs import bucket_cross
from crossimpact.estimate.refit import MIN_BUCKETS, RegimeFit, fit_regime
from crossimpact.estimate.weighted_rows import history
from crossimpact.ladder import COUPLED, FITTED
from crossimpact.model import Array, from_scaled, to_scaled
from crossimpact.panel import Panel
from crossimpact.slope import through_origin

from .desk import BUCKETS, draw, spread_sizes, without_cross

SEEDS = range(4)
World = tuple[Panel, dict[str, Array], RegimeFit]


@pytest.fixture(scope="module")
def coupled() -> list[World]:
    """Desks with cross impact, in half of them flows that chase the peers'."""
    worlds = []
    for seed in SEEDS:
        panel, truth = draw(seed, T=1600, confounded=seed % 2 == 1)
        worlds.append((panel, truth, fit_regime(panel, "normal")))
    return worlds


@pytest.fixture(scope="module")
def alone() -> list[World]:
    """The same desks without."""
    worlds = []
    for seed in SEEDS:
        panel, truth = draw(seed, T=1600, confounded=seed % 2 == 1)
        silent = without_cross(panel, truth)
        worlds.append((silent, truth, fit_regime(silent, "normal")))
    return worlds


def scaled(found: RegimeFit) -> Array:
    return to_scaled(found.model.gamma, found.model.adv)


def two_regimes(seed: int, T: int, stressed: float, M: Array | None = None) -> tuple[Panel, Array]:
    """A stressed share of whole hours in which couplings are `M` instead (default: 1.8 times)."""
    panel, truth = draw(seed, T=T)
    other = 1.8 * truth["M"] if M is None else M
    hot = np.random.default_rng(seed).random(T // 12 + 1)[np.arange(T) // 12] < stressed
    extra = panel.q @ from_scaled(other, panel.adv).T - truth["cross"]
    extra = np.where(hot[:, None], extra, 0.0)
    return replace(
        panel,
        regime=np.where(hot, "stressed", "normal"),
        move=panel.move + extra,
        s=panel.s + np.sign(panel.q) * extra,
    ), other


# -- planted couplings -------------------------------------------------------------------------


def test_planted_couplings_come_back(coupled):
    for _, truth, found in coupled:
        planted, edges = truth["M"] != 0, scaled(found) != 0
        assert found.rung == "full" and not found.reason
        assert np.linalg.norm(scaled(found) - truth["M"]) < 0.25 * np.linalg.norm(truth["M"])
        assert (edges & planted).sum() / planted.sum() > 0.9
        assert (edges & planted).sum() / edges.sum() > 0.7
        assert (np.abs(found.model.beta - truth["beta"]) < 4 * found.model.beta_se).all()
        np.testing.assert_allclose(found.model.alpha, truth["alpha"], atol=1.5)
    wrong = sum(((scaled(f) != 0) & (t["M"] == 0)).sum() for _, t, f in coupled)
    right = sum(((scaled(f) != 0) & (t["M"] != 0)).sum() for _, t, f in coupled)
    assert wrong < 0.15 * (wrong + right)


def test_what_ships_beats_self_only_and_the_placebo(coupled):
    for _, _, found in coupled:
        metrics = found.metrics
        assert metrics["oos_gain"] == pytest.approx(
            metrics["oos_r2_shipped"] - metrics["oos_r2_self_only"]
        )
        assert metrics["oos_gain"] > max(0.0, metrics["placebo_gain"])
        assert metrics["oos_r2_full"] > metrics["oos_r2_lasso_rows"]
        assert metrics["oos_r2_full"] > metrics["oos_r2_factor_rows"]
        assert metrics["psd_margin"] > 0 and found.stability
        assert set(found.candidates) == set(FITTED)
        assert found.model.digest == found.candidates[found.rung].digest


def test_errors_of_kept_pairs_cover_the_truth(coupled):
    """Self impact's own error, the template's, the pair's, and that pairs were chosen."""
    z = []
    for _, truth, found in coupled:
        se = to_scaled(found.model.gamma_se, found.model.adv)
        kept = np.triu(scaled(found) != 0, 1)
        assert (se[kept] > 0).all() and np.isnan(found.model.gamma_se[found.model.gamma == 0]).all()
        z.append(((scaled(found) - truth["M"]) / se)[kept])
    z = np.concatenate(z)
    assert np.mean(np.abs(z) < 2) > 0.8 and np.sqrt(np.mean(np.square(z))) < 1.7


def test_predicted_cross_cost_is_calibrated(coupled):
    """On the true cross moves, where no noise hides it."""
    slopes = []
    for panel, truth, found in coupled:
        x = panel.q @ found.model.gamma.T
        slopes.append((x * truth["cross"]).sum() / (x * x).sum())
        realized = through_origin(*bucket_cross(found.model, panel))
        assert abs(realized.value - 1) < 4 * realized.se
    assert abs(np.mean(slopes) - 1) < 0.08


# -- nothing planted ---------------------------------------------------------------------------


def test_an_uncoupled_desk_ships_self_only_and_says_why(alone):
    for _, truth, found in alone:
        assert found.rung == "self_only" and found.model.edges == 0
        assert "out of sample" in found.reason
        assert found.metrics["oos_r2_shipped"] == found.metrics["oos_r2_self_only"]
        assert (np.abs(found.model.beta - truth["beta"]) < 4 * found.model.beta_se).all()


def test_the_placebo_gains_nothing_beyond_noise(coupled, alone):
    for _, _, found in coupled + alone:
        assert abs(found.metrics["placebo_gain"]) < 0.005
    assert abs(np.mean([f.metrics["placebo_gain"] for *_, f in coupled + alone])) < 0.001


def test_a_desk_whose_cross_impact_is_its_own_yesterday_is_not_taken_in():
    """Flows of the day before move prices: the placebo explains it, the matrix does not ship."""
    panel, truth = draw(2, T=1600)
    silent = without_cross(panel, truth)
    extra = 2 * (panel.shifted_q() @ truth["gamma"].T)
    haunted = replace(silent, move=silent.move + extra, s=silent.s + np.sign(silent.q) * extra)
    found = fit_regime(haunted, "normal")
    assert found.metrics["placebo_gain"] > 0.01
    assert found.rung == "self_only"


# -- flow transform ----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("power", "transform"), [(1.0, "linear"), (0.5, "sqrt")])
def test_the_transform_is_the_worlds(seed, power, transform):
    panel, truth = spread_sizes(seed, power)
    found = fit_regime(panel, "normal")
    assert found.model.transform == transform
    assert found.metrics["sqrt_flow"] == float(transform == "sqrt")
    assert found.rung == "full"
    here = found.model.cross_bps(panel.q)
    assert abs((truth["cross"] * here).sum() / (here * here).sum() - 1) < 0.1
    assert np.corrcoef(truth["cross"].ravel(), here.ravel())[0, 1] > 0.97


# -- regimes -----------------------------------------------------------------------------------


def test_stress_amplifies_when_it_does():
    panel, other = two_regimes(1, 2400, 0.4)
    normal, stressed = (fit_regime(panel, regime) for regime in ("normal", "stressed"))
    assert np.linalg.norm(scaled(stressed) - other) < 0.3 * np.linalg.norm(other)
    assert 1.3 < np.linalg.norm(scaled(stressed)) / np.linalg.norm(scaled(normal)) < 2.4


def test_stressed_on_another_support_is_not_a_copy_of_normal():
    """Sectors decouple under stress and pairs across them couple instead."""
    panel, truth = draw(1, T=2400)
    size = np.sqrt(np.outer(truth["beta"], truth["beta"]))
    other = np.where((truth["M"] == 0) & ~np.eye(8, dtype=bool), -0.3 * size, 0.0)
    panel, _ = two_regimes(1, 2400, 0.4, other)
    stressed = fit_regime(panel, "stressed")
    assert stressed.rung in ("full", "sector_block")
    assert np.linalg.norm(scaled(stressed) - other) < 0.6 * np.linalg.norm(other)
    cosine = (scaled(stressed) * truth["M"]).sum()
    assert abs(cosine) < 0.3 * np.linalg.norm(scaled(stressed)) * np.linalg.norm(truth["M"])


def test_a_regime_without_couplings_beside_one_with_them_ships_none():
    panel, _ = two_regimes(0, 2400, 0.4, np.zeros((8, 8)))
    assert fit_regime(panel, "normal").rung == "full"
    stressed = fit_regime(panel, "stressed")
    assert np.linalg.norm(scaled(stressed)) < 0.2 * np.linalg.norm(draw(0)[1]["M"])


def test_too_thin_a_regime_is_answered_by_fixed_pov():
    panel, _ = draw(T=1000)
    thin = replace(panel, regime=np.where(np.arange(1000) % 25 == 0, "stressed", "normal"))
    found = fit_regime(thin, "stressed")
    assert (found.model, found.rung) == (None, "fixed_pov")
    assert found.reason == f"40 stressed buckets, {MIN_BUCKETS} needed"
    assert found.metrics["buckets"] == 40


# -- the same again ----------------------------------------------------------------------------


def test_same_panel_same_bits(coupled):
    panel, _, one = coupled[0]
    other = fit_regime(panel, "normal")
    assert one.model.digest == other.model.digest
    assert one.metrics == other.metrics


def test_the_threads_of_the_machine_change_no_bit(coupled):
    panel, _, one = coupled[0]
    for threads in (1, 2):
        with threadpool_limits(limits=threads):
            assert fit_regime(panel, "normal").model.digest == one.model.digest


def test_stored_moments_give_the_model_of_the_panel(coupled):
    panel, _, one = coupled[0]
    asked = []

    def stored(transform):
        asked.append(transform)
        return [
            (date, {regime: replace(m) for regime, m in day.items()})
            for date, day in history(panel, transform)
        ]

    found = fit_regime(panel, "normal", moments=stored)
    assert found.model.digest == one.model.digest
    assert asked == ["linear", "linear"]  # once for the window, once for its placebo


def test_the_quantile_loss_fits_the_same_world(coupled):
    panel, truth, _ = coupled[0]
    found = fit_regime(panel.where(panel.date <= panel.date[500]), "normal", loss="quantile")
    assert found.rung in FITTED
    assert abs(np.median(found.model.beta / truth["beta"]) - 1) < 0.3


# -- the placebo's flow ------------------------------------------------------------------------


def test_the_placebo_is_the_same_time_of_day_one_session_earlier():
    panel, _ = draw(T=5 * BUCKETS)
    shifted = panel.shifted_q()
    assert not shifted[:BUCKETS].any()
    np.testing.assert_array_equal(shifted[BUCKETS:], panel.q[:-BUCKETS])
    short = panel.where(np.delete(np.arange(5 * BUCKETS), np.arange(100, 110)))
    again = short.shifted_q()
    np.testing.assert_array_equal(again[-BUCKETS:], panel.q[-2 * BUCKETS : -BUCKETS])
    assert not draw(T=BUCKETS)[0].shifted_q().any()


# -- few days ----------------------------------------------------------------------------------


def three_days(panel: Panel) -> Panel:
    return panel.where(panel.date <= np.unique(panel.date)[2])


@pytest.mark.parametrize("power", [1.0, 0.5])
def test_three_days_choose_flow_and_rung_out_of_sample(power):
    panel, truth = spread_sizes(1, power)
    found = fit_regime(three_days(panel), "normal")
    assert found.metrics["parts_of_session"] == 4 and found.metrics["oos_blocks"] == 4
    assert found.model.transform == ("linear" if power == 1.0 else "sqrt")
    assert found.rung in COUPLED
    assert np.linalg.norm(scaled(found) - truth["M"]) < 0.6 * np.linalg.norm(truth["M"])


def test_three_days_without_cross_impact_ship_none():
    for seed in range(2):
        panel, truth = draw(seed, T=3 * BUCKETS)
        found = fit_regime(without_cross(panel, truth), "normal")
        assert found.rung == "self_only" and "no out-of-sample verdict" not in found.reason


def test_below_the_stated_minimum_nothing_is_held_out_and_said():
    panel, _ = draw(T=BUCKETS)
    found = fit_regime(panel, "normal")
    assert found.rung == "self_only"
    assert "1; 4 needed, or 2 with 6 parts of 18 buckets between them" in found.reason
