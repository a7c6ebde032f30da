"""The baselines are what their names say, on the raw data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import Lasso

from crossimpact.estimate import baselines, paths
from crossimpact.estimate.equations import per_bucket, summed
from crossimpact.estimate.folds import folded
from crossimpact.estimate.gram import Moments
from crossimpact.estimate.penalty import Penalty
from crossimpact.estimate.weighted_rows import history
from crossimpact.panel import Panel

from .desk import BUCKETS, draw, without_cross
from .test_shrinkage import drawn


def days_of(panel: Panel) -> list[Moments]:
    return [day["normal"].moments() for _, day in history(panel, "linear")]


def fitted(panel: Panel, truth: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return baselines.fit(folded(days_of(panel), panel, None), truth["beta"], panel.adv)


@pytest.fixture(scope="module")
def desk():
    return draw(T=20 * BUCKETS)


def test_factor_rows_is_each_row_on_the_sum_of_the_others():
    n, rng = 6, np.random.default_rng(0)
    theta = np.full((n, n), 0.4) - 0.4 * np.eye(n)
    e = drawn(0, theta, np.ones((n, n)), T=300)
    root = rng.uniform(0.5, 2, n)
    found = baselines.factor_rows(e, root)
    for i in range(n):
        others = np.where(np.arange(n) == i, 0.0, root)
        G = e.gram - e.basis[i] @ e.basis[i].T
        answer = others @ e.xy[i] / (others @ G @ others)
        np.testing.assert_allclose(found[i], answer * others)
    assert not np.diagonal(found).any()


def test_factor_rows_of_a_row_that_sees_no_flow_is_zero():
    e = drawn(1, np.zeros((3, 3)), np.ones((3, 3)))
    e.gram[:], e.basis[:] = 0.0, 0.0
    assert not baselines.factor_rows(e, np.ones(3)).any()


def test_lasso_rows_are_scikit_learns_at_the_penalty_the_folds_chose(desk):
    """Each row is a lasso solution of its weighted normal equations for some one penalty."""
    panel, _ = desk
    whole = summed(days_of(panel), panel, None)
    e = per_bucket(whole)
    found = baselines.lasso_rows(whole, folded(days_of(panel), panel, None).folds)
    for i in range(panel.n):
        others = np.delete(np.arange(panel.n), i)
        G = e.weight[i] * (e.gram - e.basis[i] @ e.basis[i].T)[np.ix_(others, others)]
        size = np.sqrt(np.diagonal(G))
        c = e.weight[i] * e.xy[i, others] / size
        G = G / np.outer(size, size)
        u = found[i, others] * size
        slope = c - G @ u
        active = u != 0
        if not active.any():
            continue
        penalty = np.abs(slope[active]).mean()
        L = np.linalg.cholesky(G).T  # L'L = G: a design with these normal equations
        theirs = Lasso(alpha=penalty / len(L), fit_intercept=False, tol=1e-12, max_iter=10**6)
        y = np.linalg.solve(L.T, c)
        np.testing.assert_allclose(u, theirs.fit(L, y).coef_, atol=2e-3 * np.abs(u).max())


def test_baselines_see_what_is_planted_and_little_where_nothing_is(desk):
    panel, truth = desk
    size = np.linalg.norm(truth["M"])
    found = fitted(panel, truth)
    assert set(found) == set(baselines.NAMES)
    within = truth["M"] != 0
    for M in found.values():
        assert M.shape == within.shape and not np.diagonal(M).any()
    assert found["factor_rows"].mean() > 0.3 * truth["M"].mean()
    lasso = found["lasso_rows"]
    assert lasso[within].mean() > 5 * abs(lasso[~within].mean())
    silent = without_cross(panel, truth)
    for M in baselines.fit(
        folded(days_of(silent), silent, None), truth["beta"], silent.adv
    ).values():
        assert np.linalg.norm(M) < 0.4 * size


def test_without_folds_or_flows_the_lasso_has_nothing_to_say(desk):
    panel, truth = desk
    one_day = panel.where(panel.date == panel.date[0])
    assert not baselines.fit(folded(days_of(one_day), one_day, None), truth["beta"], one_day.adv)[
        "lasso_rows"
    ].any()
    idle = draw(T=4 * BUCKETS, active=0.0)[0]
    for M in fitted(idle, truth).values():
        assert not M.any()


def test_the_lasso_of_fewer_buckets_than_names_is_bounded_and_takes_no_noise_for_coupling():
    panel, _ = draw(T=2 * BUCKETS, n=120, noise=20.0, coupling=0.0)
    days = [day.on(panel.symbols) for day in days_of(panel)]
    whole = replace(summed(days, panel, None), buckets=100)  # fewer than names
    found = baselines.lasso_rows(whole, folded(days, panel, None).folds)
    assert (found != 0).mean() < 0.05
    e = per_bucket(whole)
    grid = paths.row_lambdas(e, Penalty(l1_ratio=1.0), baselines.LAMBDAS)
    least = grid[baselines.STAGES[1] - 1]  # what no row's penalty is below
    for i in np.flatnonzero(found.any(axis=1)):
        G = e.weight[i] * (e.gram - e.basis[i] @ e.basis[i].T)
        active = found[i] != 0
        slope = (e.weight[i] * e.xy[i] - G @ found[i])[active] / np.sqrt(np.diagonal(G)[active])
        assert np.abs(slope).min() > 0.99 * least[i]


def test_with_many_names_some_choose_the_penalty_of_all(monkeypatch, desk):
    """The rows are then the lasso at one place on their paths, by its optimality conditions."""
    panel, _ = desk
    found = folded(days_of(panel), panel, None)
    each = baselines.lasso_rows(found.whole, found.folds)
    monkeypatch.setattr(baselines, "ASKED", panel.n - 1)
    common = baselines.lasso_rows(found.whole, found.folds)
    e = per_bucket(found.whole)
    grid = paths.row_lambdas(e, Penalty(l1_ratio=1.0), baselines.LAMBDAS)
    places = set()
    for i in np.flatnonzero(common.any(axis=1)):
        G = e.weight[i] * (e.gram - e.basis[i] @ e.basis[i].T)
        left = e.weight[i] * e.xy[i] - G @ common[i]
        slope = (np.abs(left) / np.sqrt(np.maximum(np.diagonal(G), 1e-300)))[common[i] != 0]
        places.add(int(np.abs(grid[:, i] - slope.mean()).argmin()))
    assert len(places) == 1
    assert np.linalg.norm(common - each) < 0.5 * np.linalg.norm(each)


def test_a_row_stops_where_its_held_out_loss_has_turned_and_keeps_the_least(desk):
    panel, _ = desk
    whole, folds = summed(days_of(panel), panel, None), folded(days_of(panel), panel, None).folds
    p = Penalty(l1_ratio=1.0, tolerance=baselines.TOLERANCE)
    grid = paths.row_lambdas(per_bucket(whole), p, baselines.LAMBDAS)
    trained, held_out = zip(*((per_bucket(a), per_bucket(b)) for a, b in folds), strict=True)
    judged = paths.cross_validate_rows(trained, held_out, p, grid)
    loss = judged.loss.sum(axis=0)
    stopped = baselines._least_loss(trained, held_out, p, grid, np.ones(panel.n, dtype=bool))
    kept = loss[stopped, np.arange(panel.n)]
    assert (kept <= loss.min(axis=0) + 0.01 * np.abs(loss.min(axis=0))).all()
