"""Self impact: planted truth within its own standard errors, optimality, outliers, thin data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import HuberRegressor

from crossimpact.errors import EstimationError
from crossimpact.estimate import own_terms, robust
from crossimpact.estimate.huber_regression import huber
from crossimpact.estimate.robust import HUBER_K, robust_scale
from crossimpact.estimate.self_impact import MIN_ROWS, fit_self, median
from crossimpact.estimate.self_regression import LEVERAGE
from crossimpact.panel import Panel, tick_scale
from crossimpact.response import MOVES, Response

from .desk import BUCKETS, draw, permuted, with_cells, without_cross

FIRST = slice(None)
FITS = {"huber": huber, "quantile": median}


def sample(seed: int = 0, T: int = 1500, heavy: bool = True) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = np.column_stack((np.ones(T), np.abs(rng.normal(size=T)), rng.normal(size=T)))
    noise = rng.standard_t(3, T) if heavy else rng.normal(size=T)
    return X, X @ np.array([1.0, 2.0, -0.5]) + noise


# -- the losses --------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_the_huber_fit_solves_hubers_estimating_equations_at_its_scale(seed):
    X, y = sample(seed)
    coef, _ = huber(X, y)
    score = []
    for k in (0.999, 1.001):  # the scale is fixed once settled
        sigma = k * robust_scale(y - X @ coef)
        psi = np.clip((y - X @ coef) / sigma, -HUBER_K, HUBER_K)
        score.append(X.T @ psi / len(y))
    assert np.abs(score).max() < 1e-3


@pytest.mark.parametrize("seed", range(4))
def test_the_huber_fit_is_scikit_learns_but_for_the_scale(seed):
    """Same loss and knee, another estimate of the scale: half a standard error at most."""
    X, y = sample(seed)
    ours, covariance = huber(X, y)
    theirs = HuberRegressor(epsilon=HUBER_K, alpha=0, fit_intercept=False, tol=1e-8).fit(X, y)
    error = np.sqrt(np.diagonal(covariance))
    assert (np.abs(ours - theirs.coef_) < 0.5 * error).all()


def test_without_outliers_and_with_a_wide_knee_it_is_least_squares(monkeypatch):
    monkeypatch.setattr(robust, "HUBER_K", 1e6)
    X, y = sample(heavy=False)
    np.testing.assert_allclose(huber(X, y)[0], np.linalg.lstsq(X, y, rcond=None)[0], rtol=1e-8)


def test_all_names_at_once_are_each_by_itself():
    """The compiled pass over all names, and the formula in NumPy on one."""
    panel, _ = draw(3, T=6 * BUCKETS)
    found = fit_self(panel, response=MOVES)
    raw = {}
    for i in range(panel.n):
        at = panel.q[:, i] != 0
        q, sign = panel.q[at, i], np.sign(panel.q[at, i])
        peers = np.column_stack((panel.sector_flow[at, i], panel.factor_flow[at, i]))
        X = np.column_stack((np.ones(len(q)), np.abs(q), sign[:, None] * peers))
        unit = np.maximum(np.abs(X).mean(axis=0), 1e-300)
        tame = np.minimum(1.0, LEVERAGE * np.median(np.abs(q)) / np.abs(q))
        y = sign * panel.move[at, i] * tame
        coef, covariance = huber(X / unit * tame[:, None], y, tick_scale(panel.move)[i])
        raw[i] = coef[2:] / unit[2:], np.sqrt(covariance[1, 1]) / unit[1]
    np.testing.assert_allclose(found.peer, [peer for peer, _ in raw.values()], rtol=1e-8)
    np.testing.assert_allclose(found.beta_se, [se for _, se in raw.values()], rtol=1e-8)


def test_the_median_fit_has_half_the_residuals_on_either_side():
    X, y = sample()
    coef, _ = median(X, y)
    left = y - X @ coef
    sign = np.where(np.abs(left) < 1e-9, 0.0, np.sign(left))
    assert (np.abs(X.T @ sign) <= np.abs(X[np.abs(left) < 1e-9]).sum(axis=0) + 1e-6).all()


@pytest.mark.parametrize("loss", ["huber", "quantile"])
def test_standard_errors_cover_the_truth(loss):
    """Sandwich errors over worlds with Gaussian noise: 95% intervals hold in nine of ten."""
    z = []
    for seed in range(40):
        X, y = sample(seed, T=400, heavy=False)
        coef, covariance = FITS[loss](X, y)
        z.append((coef - [1.0, 2.0, -0.5]) / np.sqrt(np.diagonal(covariance)))
    assert np.mean(np.abs(z) < 1.96) > 0.9 and np.abs(np.mean(z, axis=0)).max() < 0.5


@pytest.mark.parametrize("sd", [0.1, 3.0])
def test_the_robust_scale_is_the_standard_deviation_of_gaussian_data(sd):
    x = sd * np.random.default_rng(0).normal(size=20_000)
    assert abs(robust_scale(x) / sd - 1) < 0.03
    spoiled = np.where(np.arange(x.size) % 20 == 0, 1e9, x)
    assert 1 <= robust_scale(spoiled) / sd < 1.3
    assert robust_scale(np.zeros(5)) > 0 and robust_scale(np.empty(0)) > 0


# -- the desk ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "share"), [("huber", 0.0), ("huber", 0.3), ("huber", 1.0), ("quantile", 0.3)]
)
def test_planted_numbers_come_back_within_their_errors(loss, share):
    panel, truth = draw(T=2500)
    fit = fit_self(panel, response=Response(share), cross=truth["cross"], loss=loss)
    z = np.concatenate(
        ((fit.alpha - truth["alpha"]) / fit.alpha_se, (fit.beta - truth["beta"]) / fit.beta_se)
    )
    assert np.abs(z).max() < 4.5
    assert 0.3 < np.sqrt((z**2).mean()) < 1.8
    assert set(fit.source) == {"own"}


def test_errors_of_a_desks_betas_cover_the_truth():
    """A desk of unlike names, so that pooling adds next to nothing."""
    z = []
    for seed in range(12):
        panel, truth = draw(seed, T=600)
        fit = fit_self(panel, cross=truth["cross"], response=MOVES)
        z.append([(fit.beta - truth["beta"]) / fit.beta_se,
                  (fit.alpha - truth["alpha"]) / fit.alpha_se])  # fmt: skip
    beta, alpha = np.moveaxis(z, 1, 0)
    assert np.mean(np.abs(beta) < 1.96) > 0.88
    assert np.mean(np.abs(alpha) < 1.96) > 0.88


def test_mid_moves_tell_beta_better_than_noisy_fills():
    error = {0.0: 0.0, 1.0: 0.0}
    for seed in range(4):
        panel, truth = draw(seed, T=1000, fill=20.0)
        for share in error:
            fit = fit_self(panel, response=Response(share), cross=truth["cross"])
            error[share] += float(np.abs(fit.beta / truth["beta"] - 1).mean())
    assert error[0.0] < 0.7 * error[1.0]


def test_an_outlier_of_a_trillion_moves_nothing():
    panel, _ = draw(T=2000)
    at = int(np.flatnonzero(panel.q[:, 0])[7])
    clean = fit_self(panel, response=Response(0.5))
    for name in ("s", "move"):
        dirty = fit_self(with_cells(panel, **{name: ((at, 0), 1e12)}), response=Response(0.5))
        assert abs(dirty.beta[0] - clean.beta[0]) < 0.5 * clean.beta_se[0]
        assert abs(dirty.alpha[0] - clean.alpha[0]) < 0.5 * clean.alpha_se[0]


def test_a_flow_out_of_all_proportion_does_not_own_the_fit():
    """A mistyped size a thousand times the usual one with the usual response, among 1200."""
    panel, truth = draw(T=2000)
    at = int(np.flatnonzero(panel.q[:, 0])[7])
    clean = fit_self(panel, cross=truth["cross"])
    wrong = fit_self(with_cells(panel, q=((at, 0), 1.0)), cross=truth["cross"])
    assert abs(wrong.beta[0] / clean.beta[0] - 1) < 0.35  # least squares: nothing is left of it
    dearer = with_cells(panel, q=((at, 0), 0.02))  # a real one twenty times the usual
    move = dearer.move.copy()
    move[at, 0] += truth["beta"][0] * (0.02 - panel.q[at, 0])
    real = fit_self(replace(dearer, move=move), response=MOVES, cross=truth["cross"])
    assert abs(real.beta[0] / truth["beta"][0] - 1) < 0.15


def test_flipping_every_side_changes_nothing():
    panel, _ = draw(T=1500, confounded=True)
    turned = replace(panel, q=-panel.q, move=-panel.move, sector_flow=-panel.sector_flow)
    one, other = fit_self(panel, response=Response(0.4)), fit_self(turned, response=Response(0.4))
    for name in ("alpha", "beta", "alpha_se", "beta_se", "peer"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-6)


def test_names_may_come_in_any_order():
    panel, _ = draw(T=800, confounded=True)
    order = np.array([3, 0, 7, 1, 6, 2, 5, 4])
    one, other = fit_self(panel), fit_self(permuted(panel, order))
    for name in ("alpha", "beta", "beta_se", "peer"):
        np.testing.assert_allclose(getattr(one, name)[order], getattr(other, name), rtol=1e-7)


def test_confounding_peer_flow_is_controlled_for():
    panel, truth = draw(T=4000, confounded=True)
    controlled = fit_self(panel, cross=truth["cross"])
    blind = replace(panel, sector_flow=np.zeros_like(panel.q))
    naive = fit_self(blind, cross=truth["cross"])
    bias = [abs(np.median(fit.beta / truth["beta"]) - 1) for fit in (controlled, naive)]
    assert bias[0] < 0.1 < bias[1]
    np.testing.assert_allclose(np.median(controlled.peer[:, 0]), 3000, rtol=0.1)


def test_alpha_is_what_beta_and_the_peers_leave_of_the_slippage():
    """A dearer venue by 3 bps is 3 bps of alpha and nothing of beta."""
    panel, _ = draw(T=1000)
    one, other = (
        fit_self(panel, response=MOVES),
        fit_self(replace(panel, s=panel.s + 3.0), response=MOVES),
    )
    np.testing.assert_allclose(other.alpha - one.alpha, 3.0, atol=1e-6)
    np.testing.assert_array_equal(other.beta, one.beta)


# -- pooling and thin data ---------------------------------------------------------------------


def thinned(panel: Panel, i: int, rows: int) -> Panel:
    """Symbol `i` traded in its first so many buckets only."""
    late = np.flatnonzero(panel.q[:, i])[rows:]
    return with_cells(panel, q=((late, i), 0.0), s=((late, i), np.nan))


def test_a_rarely_traded_symbol_borrows_from_its_sector():
    panel, truth = draw(T=1500)
    fit = fit_self(thinned(panel, 1, MIN_ROWS - 1))
    assert fit.source[1] == "sector" and set(np.delete(fit.source, 1)) == {"own"}
    members = [i for i, name in enumerate(panel.sectors) if name == panel.sectors[1] and i != 1]
    assert fit.beta[members].min() <= fit.beta[1] <= fit.beta[members].max()
    assert abs(fit.beta[1] - truth["beta"][1]) < 3 * fit.beta_se[1]
    assert fit.beta_se[1] > np.delete(fit.beta_se, 1).max() and np.isnan(fit.alpha_se[1])
    assert fit_self(thinned(panel, 1, MIN_ROWS)).source[1] == "own"


def test_a_sector_without_data_borrows_from_all():
    panel, _ = draw(T=1000)
    for i in range(4):
        panel = thinned(panel, i, 5)
    fit = fit_self(panel)
    assert set(fit.source[:4]) == {"sector"} and np.ptp(fit.beta[:4]) == 0
    assert fit.beta[4:].min() <= fit.beta[0] <= fit.beta[4:].max()


def test_pooling_helps_the_more_the_less_is_known():
    """Betas of one sector are alike; with few buckets the pooled ones are closer to the truth."""
    gain = {}
    for T in (100, 2000):
        pooled, raw = [], []
        for seed in range(6):
            panel, truth = draw(seed, T=T, active=0.9, noise=15.0)
            silent = without_cross(panel, truth)
            fit = fit_self(silent, response=MOVES)
            alone = fit_self(replace(silent, sectors=silent.symbols), response=MOVES).beta
            pooled.append(np.square(fit.beta - truth["beta"]).mean())
            raw.append(np.square(alone - truth["beta"]).mean())
        gain[T] = np.sqrt(np.mean(pooled) / np.mean(raw))
    assert gain[100] < 0.85 and gain[100] < gain[2000] < 1.1


def test_random_effects_of_equal_values_have_no_spread():
    mean, between = robust.random_effects(np.array([2.0, 2.0, 2.0]), np.array([1.0, 2, 3]))
    assert mean == pytest.approx(2.0) and between == 0.0
    rng, se = np.random.default_rng(0), np.full(4000, 0.5)
    mean, between = robust.random_effects(
        3 + rng.normal(size=4000) + se * rng.normal(size=4000), se
    )
    assert mean == pytest.approx(3, abs=0.1) and between == pytest.approx(1, rel=0.15)


def test_one_size_only_tells_nothing_of_impact_and_pulls_nobody():
    panel, _ = draw(T=2000)
    one_size = with_cells(panel, q=((FIRST, 1), 1e-3 * np.sign(panel.q[:, 1])))
    fit = fit_self(one_size)
    assert fit.source[1] == "sector" and np.isnan(fit.alpha_se[1])
    with pytest.raises(EstimationError, match="one size only"):
        fit_self(replace(panel, q=1e-3 * np.sign(panel.q)))


def test_no_executions_is_a_named_error():
    panel, _ = draw(T=100)
    with pytest.raises(EstimationError, match="no symbol has 30 executed buckets"):
        fit_self(replace(panel, q=np.zeros_like(panel.q), s=np.full_like(panel.s, np.nan)))


def test_flow_that_moves_nothing_is_a_named_error():
    panel, _ = draw(T=1000, n=4, noise=4.0)
    backwards = replace(panel, move=-panel.move, s=np.where(panel.q != 0, 1.0, np.nan))
    with pytest.raises(EstimationError, match="no symbol's price moves"):
        fit_self(backwards, response=MOVES)


def test_a_price_that_seldom_ticks_is_fitted_all_the_same():
    """Most residuals of a tick-bound name are exactly zero: its median deviation is no scale."""
    panel, _ = draw(T=3000, n=4, noise=1.0, fill=0.0)
    ticks = np.round(panel.move[:, 2] / 10.0) * 10.0
    s = np.where(panel.q[:, 2] != 0, np.sign(panel.q[:, 2]) * ticks, np.nan)
    bound = with_cells(panel, move=((FIRST, 2), ticks), s=((FIRST, 2), s))
    assert np.mean(ticks == 0) > 0.6
    fit, reference = fit_self(bound), fit_self(panel)
    assert fit.beta_se[2] > 1 and fit.beta[2] > 0
    np.testing.assert_allclose(np.delete(fit.beta, 2), np.delete(reference.beta, 2), rtol=0.1)


@pytest.mark.parametrize("tick", [15.0, 20.0])
def test_a_tick_is_no_outlier(tick):
    """A price that stands still in most buckets moves with the flow as least squares says."""
    panel, _ = draw(T=8000, n=4, noise=6.0, fill=0.0)
    ticks = np.round(panel.move[:, 2] / tick) * tick
    s = np.where(panel.q[:, 2] != 0, np.sign(panel.q[:, 2]) * ticks, np.nan)
    bound = with_cells(panel, move=((FIRST, 2), ticks), s=((FIRST, 2), s))
    assert np.mean(ticks == 0) > 0.6
    q = panel.q[:, 2]
    squares = q @ ticks / (q @ q)
    for cross in (None, 1e-3 * panel.q[:, ::-1]):
        fit = fit_self(bound, response=MOVES, cross=cross)
        assert abs(fit.beta[2] - squares) < 0.15 * squares + 2 * fit.beta_se[2]
        assert fit.beta_se[2] < 0.1 * squares


def test_error_left_is_the_spread_of_own_slopes_net_of_wrong_couplings():
    """By drawing the couplings' errors; a name that never trades has none, nor a gap for others."""
    rng = np.random.default_rng(5)
    q = rng.normal(size=(80, 4)) @ rng.normal(size=(4, 5))
    q[:, 2] = 0.0
    se = rng.gamma(2.0, 0.5, (5, 5)) * ~np.eye(5, dtype=bool)
    wrong = rng.normal(size=(20_000, 5, 5)) * se
    slopes = np.einsum("ti,dij,tj->di", q, wrong, q) / np.maximum((q**2).sum(axis=0), 1e-300)
    assert own_terms.error_left(q, se) == pytest.approx(slopes.std(axis=0), rel=0.03)
    assert own_terms.error_left(q, se)[2] == 0.0
