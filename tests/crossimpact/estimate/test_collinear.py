"""Lines that cannot be told apart: who is named, and a split that cross costs bear out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crossimpact.estimate import collinear
from crossimpact.estimate.collinear import MAX_CONDITION, SPREAD, recorded, twins
from crossimpact.estimate.refit import RegimeFit, fit_regime
from crossimpact.model import Array, from_scaled, to_scaled
from crossimpact.panel import Panel

from .desk import BUCKETS, draw

SAME = 0.9  # of the variance of a share class's noise that is the other's, too


def share_classes(seed: int, coupling: float, twin: float) -> tuple[Panel, Array]:
    """A desk whose first two lines are traded as one and move alike; true scaled couplings."""
    panel, truth = draw(seed, T=30 * BUCKETS, noise=6.0, coupling=coupling)
    rng = np.random.default_rng((seed, 7))
    q, beta = panel.q.copy(), truth["beta"]
    q[:, 1] = q[:, 0] * (1 + 0.1 * rng.normal(size=len(q)))
    M = truth["M"].copy()
    M[0, 1] = M[1, 0] = twin * np.sqrt(beta[0] * beta[1])
    shock = panel.move - truth["cross"] - beta * panel.q
    shock[:, 1] = np.sqrt(SAME) * shock[:, 0] + np.sqrt(1 - SAME) * shock[:, 1]
    move = beta * q + q @ from_scaled(M, panel.adv).T + shock
    paid = truth["alpha"] + np.sign(q) * (move + rng.normal(0, 4, q.shape))
    return replace(panel, q=q, s=np.where(q != 0, paid, np.nan), move=move), M


def cost_slope(panel: Panel, M: Array, fit: RegimeFit) -> float:
    """Of true on predicted cross cost, USD."""
    assert fit.model is not None
    x = panel.q * np.sqrt(panel.adv)
    predicted = (x * (x @ to_scaled(fit.model.gamma, panel.adv).T)).sum(axis=1)
    return float(predicted @ (x * (x @ M.T)).sum(axis=1) / (predicted @ predicted))


@pytest.mark.parametrize("seed", [0, 2])
def test_share_classes_are_named_and_their_cross_costs_are_about_right(seed):
    panel, M = share_classes(seed, 0.3, 0.7)
    fit = fit_regime(panel, "normal")
    (row,) = fit.model.provenance[collinear.KEY]
    assert row["lines"] == ["S0", "S1"] and row["limit"] == MAX_CONDITION < row["condition"]
    assert row["correlation"] == pytest.approx(0.995, abs=0.002)
    assert fit.metrics["indistinguishable"] == 1.0
    assert 0.8 < cost_slope(panel, M, fit) < 1.2  # 1.2 to 2.4 when own impact kept all of it
    assert fit.certificate.admissible


def test_lines_that_are_traded_alike_get_no_matrix_without_cross_impact():
    panel, _ = share_classes(1, 0.0, 0.0)
    fit = fit_regime(panel, "normal")
    assert fit.rung == "self_only" and not fit.model.edges
    assert fit.model.provenance[collinear.KEY]


def test_a_usual_desk_has_nothing_to_say():
    panel, _ = draw(T=6 * BUCKETS)
    assert collinear.KEY not in fit_regime(panel, "normal").model.provenance


def flows(T: int = 400) -> Array:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(T, 6))
    x[:, 5] = x[:, 0] + 2 * x[:, 1] - x[:, 2] + 0.05 * rng.normal(size=T)  # an ETF of three
    x[:, 4] = -3 * x[:, 3] + 0.1 * rng.normal(size=T)  # sold as the other is bought
    return x


def test_pairs_and_baskets_are_named_with_the_condition_of_their_flows():
    x = flows()
    found = recorded(tuple("ABCDEF"), twins(x.T @ x, np.eye(6)), len(x))
    pairs = [row for row in found if len(row["lines"]) == 2]
    assert [row["lines"] for row in pairs] == [["D", "E"]]
    values = np.linalg.eigvalsh(twins(x.T @ x, np.eye(6)).flows[3:5, 3:5])
    assert pairs[0]["condition"] == pytest.approx(values[1] / values[0], rel=1e-9)
    (etf,) = (row for row in found if row["lines"][0] == "F")
    assert set(etf["lines"][1:4]) == {"A", "B", "C"}
    left = x[:, 5] - x[:, :3] @ np.linalg.lstsq(x[:, :3], x[:, 5], rcond=None)[0]
    assert etf["correlation"] == pytest.approx(
        np.sqrt(1 - left @ left / (x[:, 5] @ x[:, 5])), abs=1e-4
    )


def test_silent_lines_and_few_buckets_are_no_matter():
    x = flows()
    x[:, :2] = 0.0
    found = recorded(tuple("ABCDEF"), twins(x.T @ x, np.zeros((6, 6))), 3)
    assert [row["lines"] for row in found if len(row["lines"]) == 2] == [["D", "E"]]
    assert np.isfinite(twins(np.zeros((2, 2)), np.zeros((2, 2))).split).all()


def test_the_split_is_kyles_for_equal_flows_and_the_total_is_kept():
    x = np.random.default_rng(0).normal(size=(300, 1)) * [1.0, 1.0]
    for r in (0.0, 0.5, 0.95):
        noise = np.array([[1.0, r], [r, 1.0]])
        values, axes = np.linalg.eigh(noise)
        root = (axes * np.sqrt(values)) @ axes.T  # Kyle's matrix under uncorrelated equal flows
        found = twins(x.T @ x, noise)
        alone = root[0, 0] + root[0, 1]  # what own impact by itself takes in: both trade as one
        assert found.split[0, 1] == pytest.approx(root[0, 1] / alone)


def test_data_that_tell_a_pair_apart_override_the_split():
    pair = np.ones((2, 2))
    found = twins(np.array([[1.0, 0.99], [0.99, 1.0]]), np.eye(2))
    sure, se = found.told(0.4 * pair, 0.0 * pair, 1e6 * pair)
    assert sure[0, 1] == pytest.approx(0.4) and se[0, 1] < 0.01
    unsure, se = found.told(0.0 * pair, 0.0 * pair, 0.0 * pair)
    assert unsure[0, 1] == found.split[0, 1] and se[0, 1] == pytest.approx(SPREAD)
