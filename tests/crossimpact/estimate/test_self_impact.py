"""Self impact: planted truth comes back within its own standard errors, outliers do not move it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import HuberRegressor

from crossimpact.errors import EstimationError
from crossimpact.estimate.self_impact import fit_self

from .desk import draw


@pytest.mark.parametrize("loss", ["huber", "quantile"])
def test_planted_numbers_come_back_within_their_errors(loss):
    panel, truth = draw(T=4000)
    fit = fit_self(panel, cross=panel.q @ truth["gamma"].T, loss=loss)
    z = np.concatenate(
        ((fit.alpha - truth["alpha"]) / fit.alpha_se, (fit.beta - truth["beta"]) / fit.beta_se)
    )
    assert np.abs(z).max() < 4.5
    assert 0.3 < np.sqrt((z**2).mean()) < 1.8


def test_an_outlier_of_a_trillion_moves_nothing():
    panel, _truth = draw(T=3000)
    s = panel.s.copy()
    s[np.flatnonzero(np.isfinite(s[:, 0]))[7], 0] = 1e12
    clean, dirty = fit_self(panel), fit_self(replace(panel, s=s))
    assert abs(dirty.beta[0] - clean.beta[0]) < 0.5 * clean.beta_se[0]
    assert dirty.weights[np.nanargmax(s[:, 0]), 0] < 1e-9


def test_flipping_every_side_changes_nothing():
    panel, _ = draw(T=1500)
    one, other = (
        fit_self(panel),
        fit_self(replace(panel, q=-panel.q, sector_flow=-panel.sector_flow)),
    )
    np.testing.assert_allclose(one.beta, other.beta, rtol=1e-6)


def test_confounding_peer_flow_is_controlled_for():
    panel, truth = draw(T=6000, confounded=True)
    cross = panel.q @ truth["gamma"].T
    controlled = fit_self(panel, cross=cross)
    naive = fit_self(replace(panel, sector_flow=np.zeros_like(panel.q)), cross=cross)
    bias = [abs(np.median(fit.beta / truth["beta"]) - 1) for fit in (controlled, naive)]
    assert bias[0] < 0.1 < bias[1]


def test_a_rarely_traded_symbol_borrows_from_its_sector():
    panel, _truth = draw(T=2000)
    s, q = panel.s.copy(), panel.q.copy()
    s[200:, 1], q[200:, 1] = np.nan, 0.0
    s[np.flatnonzero(np.isfinite(s[:, 1]))[10:], 1] = np.nan
    fit = fit_self(replace(panel, s=s, q=q))
    assert fit.source[1] == "sector" and set(np.delete(fit.source, 1)) == {"own"}
    members = [i for i, name in enumerate(panel.sectors) if name == panel.sectors[1] and i != 1]
    assert fit.beta[members].min() <= fit.beta[1] <= fit.beta[members].max()
    assert np.isnan(fit.beta_se[1])


def test_one_size_only_tells_nothing_of_impact_and_pulls_nobody():
    panel, truth = draw(T=3000)
    q = panel.q.copy()
    q[:, 1] = 1e-3 * np.sign(q[:, 1])
    s = panel.s.copy()
    s[:, 1] = np.where(q[:, 1] != 0, truth["alpha"][1] + truth["beta"][1] * 1e-3, np.nan)
    fit = fit_self(replace(panel, q=q, s=s))
    assert fit.source[1] == "sector" and np.isnan(fit.beta_se[1])
    same = replace(panel, q=1e-3 * np.sign(panel.q))
    with pytest.raises(EstimationError, match="one size only"):
        fit_self(same)


def test_no_executions_is_a_named_error():
    panel, _ = draw(T=100)
    with pytest.raises(EstimationError, match="no symbol has 30 executed buckets"):
        fit_self(replace(panel, q=np.zeros_like(panel.q), s=np.full_like(panel.s, np.nan)))


def test_huber_solution_is_stationary():
    """The optimality condition of the loss, not a recorded number."""
    panel, _ = draw(T=3000, n=1)
    fit = fit_self(panel)
    traded = np.isfinite(panel.s[:, 0])
    q, slippage = np.abs(panel.q[traded, 0]), panel.s[traded, 0]
    X = np.column_stack((np.ones_like(q), q / np.abs(q).mean()))
    spread = slippage.std()
    huber = HuberRegressor(epsilon=1.35, alpha=0, fit_intercept=False).fit(X, slippage / spread)
    residual = (slippage - fit.alpha[0] - fit.beta[0] * q) / (huber.scale_ * spread)
    score = X.T @ np.clip(residual, -1.35, 1.35) / len(q)
    assert np.abs(score).max() < 1e-3


def test_a_price_that_seldom_ticks_is_fitted_all_the_same():
    """Most residuals of a tick-bound name are exactly zero: its median deviation is no scale."""
    panel, _ = draw(T=3000, n=4, noise=1.0)
    move = np.round(panel.move[:, 2] / 10.0) * 10.0
    s = panel.s.copy()
    s[:, 2] = np.where(panel.q[:, 2] != 0, np.sign(panel.q[:, 2]) * move, np.nan)
    assert np.mean(s[np.isfinite(s[:, 2]), 2] == 0) > 0.6
    fit, reference = fit_self(replace(panel, s=s)), fit_self(panel)
    assert fit.beta_se[2] > 1 and fit.sigma[2] > 0.1
    np.testing.assert_allclose(np.delete(fit.beta, 2), np.delete(reference.beta, 2), rtol=0.1)
