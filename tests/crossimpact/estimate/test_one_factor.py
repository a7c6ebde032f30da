"""One common factor: its algebra, and what ships on a desk with an index fund."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks import desks as trial_desks
from benchmarks import etf
from crossimpact.estimate import market_control, one_factor
from crossimpact.estimate.equations import Equations, common_regressor, summed
from crossimpact.estimate.one_factor import fit_one_factor
from crossimpact.estimate.refit import RegimeFit, fit_regime
from crossimpact.estimate.template import loss
from crossimpact.manipulation import certificate
from crossimpact.model import Array, from_scaled, to_scaled

from .desk import BUCKETS, draw
from .test_baselines import days_of
from .test_shrinkage import drawn

Desk = tuple[etf.EtfDesk, RegimeFit]


@pytest.fixture(scope="module")
def desks() -> dict[str, list[Desk]]:
    """Two ETF desks of each kind, fitted."""
    found: dict[str, list[Desk]] = {}
    for kind in etf.KINDS:
        seeds = (0,) if kind == "alone" else (0, 1)
        worlds = [etf.draw(kind, seed) for seed in seeds]
        found[kind] = [(world, fit_regime(world.panel, "normal")) for world in worlds]
    return found


def pairs(u: Array) -> Array:
    return np.outer(u, u) - np.diag(u**2)


def planted(u: Array, T: int, seed: int = 0) -> Equations:
    return drawn(seed, pairs(u), np.ones((len(u), len(u))), T=T)


# -- the estimator -----------------------------------------------------------------------------


def test_the_score_and_the_information_are_the_losss_derivatives():
    rng, n = np.random.default_rng(1), 5
    u = rng.uniform(0.3, 0.9, n)
    e = planted(u, 400)
    unit, v = np.ones(n), u + rng.normal(0, 0.05, n)

    def half(x: Array) -> float:
        return loss(e, pairs(x)) / 2

    step = 1e-5 * np.eye(n)
    slope = [(half(v + h) - half(v - h)) / 2e-5 for h in step]
    rows = one_factor._rows(e, unit * v)
    assert rows.loss == pytest.approx(loss(e, pairs(v)))
    np.testing.assert_allclose(one_factor._score(e, unit, v, rows), -np.array(slope), rtol=1e-4)
    information = one_factor._information(e, unit, v, rows)
    # Gauss-Newton leaves out what the residuals say of the curvature: nothing at a perfect fit
    np.testing.assert_allclose(information, information.T)
    for i in range(n):
        moved = np.outer(np.eye(n)[i], v) + np.outer(v, np.eye(n)[i])
        moved -= np.diag(np.diagonal(moved))
        assert information[i, i] == pytest.approx(loss_quadratic(e, moved))


def loss_quadratic(e: Equations, M: Array) -> float:
    return sum(
        e.weight[k] * M[k] @ (e.gram - e.basis[k] @ e.basis[k].T) @ M[k] for k in range(len(M))
    )


def test_planted_exposures_come_back_within_their_errors():
    rng, z = np.random.default_rng(2), []
    for seed in range(6):
        u = rng.uniform(0.2, 0.8, 8)
        found = fit_one_factor(planted(u, 1500, seed), np.ones((1, 8)))
        upper = np.triu_indices(8, 1)
        z.append((found.scaled - pairs(u))[upper] / found.se[upper])
        assert np.linalg.norm(found.scaled - pairs(u)) < 0.25 * np.linalg.norm(pairs(u))
        np.testing.assert_allclose(found.scaled, pairs(found.exposure))
    assert np.sqrt(np.mean(np.concatenate(z) ** 2)) < 1.5


@pytest.mark.parametrize("sign", [0.0, -1.0])
def test_a_level_that_is_not_positive_is_no_factor(sign):
    theta = sign * pairs(np.full(6, 0.4))
    found = fit_one_factor(drawn(3, theta, np.ones((6, 6)), T=600), np.ones((3, 6)))
    assert not found.scaled.any() and not found.exposure.any()
    idle = drawn(3, theta, np.ones((6, 6)))
    idle.gram[:], idle.basis[:], idle.xy[:] = 0.0, 0.0, 0.0
    assert not fit_one_factor(idle, np.ones((1, 6))).scaled.any()


def test_nearly_identical_lines_share_their_exposure():
    """Two lines whose flows are copies: what their sum does is told, and it is split evenly."""
    panel, truth = draw(3, T=10 * BUCKETS, coupling=0.3)
    beta = truth["beta"]
    gamma = from_scaled(pairs(np.sqrt(0.15 * beta)), panel.adv)
    q = panel.q.copy()
    q[:, 1] = q[:, 0] * (1 + 1e-6 * np.random.default_rng(0).normal(size=len(q)))
    noise = panel.move - truth["cross"] - beta * panel.q
    twins = replace(panel, q=q, move=beta * q + q @ gamma.T + noise)
    e = summed(days_of(twins), panel, None)
    found = fit_one_factor(e.equations, np.sqrt(truth["beta"])[None, :], e.factors)
    u = found.exposure / np.sqrt(truth["beta"])
    assert np.isfinite(found.scaled).all() and 0.5 < u[0] / u[1] < 2


# -- the market as a control -------------------------------------------------------------------


def test_the_control_is_partialled_out_of_every_row():
    panel, truth = draw(1, T=10 * BUCKETS)
    plain = summed(days_of(panel), panel, None).equations
    root = market_control.weights(plain, truth["beta"], panel.adv)
    e = summed(days_of(panel), panel, None, root).equations
    others, seen, push = common_regressor(plain, root)
    left = (others * e.xy).sum(axis=1)
    np.testing.assert_allclose(left, 0, atol=1e-9 * np.abs(others * plain.xy).sum())
    assert np.abs(common_regressor(e, root)[2]).max() < 1e-9 * push.max()
    c = market_control.coefficients(plain, root)
    np.testing.assert_allclose(c, (others * plain.xy).sum(axis=1) / push)
    np.testing.assert_allclose(e.xy, np.where(np.eye(panel.n), 0, plain.xy - c[:, None] * seen))


def test_what_the_model_records_of_the_control_is_what_was_taken_out(desks):
    for world, found in desks["asymmetric"]:
        model, panel = found.model, world.panel
        record = model.provenance[market_control.KEY]
        assert sum(record["weight"]) == pytest.approx(1.0)
        moves = market_control.market_move(model, panel.q)
        flow, weight = model.flow(panel.q), np.array(record["weight"])
        for i in (0, 3):
            others = np.arange(panel.n) != i
            by_hand = record["bps"][i] * (flow[:, others] @ weight[others])
            np.testing.assert_allclose(moves[:, i], by_hand)


# -- a desk with an index fund -----------------------------------------------------------------


def test_a_symmetric_factor_ships_and_comes_back(desks):
    """Relative Frobenius error of gamma in scaled space: at most an eighth with twenty days, and no
    other rung's is smaller."""
    for world, found in desks["symmetric"]:
        assert found.rung == "one_factor" and found.metrics["market_control"] == 0.0
        errors = {
            rung: etf.error(to_scaled(model.gamma, model.adv), world.scaled)
            for rung, model in found.candidates.items()
        }
        assert min(errors, key=errors.__getitem__) == "one_factor" and errors["one_factor"] < 0.125
        assert certificate(found.model).method == "proved" and certificate(found.model).admissible
        assert found.metrics["oos_gain"] > 3 * found.metrics["oos_gain_se"]
        assert "self_only" in found.lower


def test_an_asymmetric_market_is_a_control_and_no_impact(desks):
    for world, found in desks["asymmetric"]:
        metrics, model = found.metrics, found.model
        assert metrics["market_control"] == 1.0
        assert metrics["market_gain"] > 2 * metrics["market_gain_se"] > 0
        assert metrics["no_profitable_round_trip"] == 1.0 and metrics["psd_margin"] > 0
        planted = np.linalg.norm(world.scaled)
        assert np.linalg.norm(to_scaled(model.gamma, model.adv)) < 0.1 * planted
        q = world.panel.q[:5]  # the control is in no price
        assert np.allclose(model.cross_bps(q), q @ model.gamma.T)
        assert abs(np.median(model.beta / world.beta) - 1) < 0.15


def test_a_desk_without_cross_impact_ships_self_only_whatever_its_sizes(desks):
    for _, found in desks["alone"]:
        assert (found.rung, found.model.edges) == ("self_only", 0)
        assert found.metrics["market_control"] == 0.0


def test_the_mean_over_names_is_told_beside_the_pooled(desks):
    (_, found), *_ = desks["symmetric"]
    metrics = found.metrics
    assert metrics["oos_name_r2_shipped"] == metrics[f"oos_name_r2_{found.rung}"]
    assert metrics["oos_name_r2_shipped"] > metrics["oos_name_r2_self_only"]


def test_exposures_settle_where_whole_steps_overshoot():
    """A desk of whose stressed exposures whole Gauss-Newton steps went back and forth, further each
    time, until the matrix of a step was no longer positive definite and the refit failed."""
    desk = trial_desks.draw("common_noise", 5, symbols=8, days=75)
    dates = np.unique(desk.head.date)
    found = fit_regime(desk.head.where(desk.head.date <= dates[59]), "stressed")
    assert found.model is not None and certificate(found.model).admissible
    exposures = found.candidates["one_factor"]
    assert np.isfinite(exposures.gamma).all()
