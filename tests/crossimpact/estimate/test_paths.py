"""Elastic-net paths: optimality of what is returned, and the same answer from dense solvers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import ElasticNet

from crossimpact.errors import EstimationError
from crossimpact.estimate.equations import Equations
from crossimpact.estimate.paths import (
    cross_validate_pairs,
    cross_validate_rows,
    pair_lambdas,
    pair_paths,
    row_lambdas,
    row_paths,
)
from crossimpact.estimate.penalty import Penalty
from crossimpact.model import Array

TIGHT = 1e-12
RATIOS = st.sampled_from((0.3, 0.9, 1.0))
SEEDS = st.integers(0, 10_000)


def desk(seed: int, n: int = 6, T: int = 80, dead: int = 1) -> tuple[Array, Array]:
    """Flows that share a common part, the last `dead` without any, and responses."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(T, n)) + rng.uniform(0, 2) * rng.normal(size=(T, 1))
    x[:, n - dead :] = 0.0
    M = rng.normal(size=(n, n)) * (rng.random((n, n)) < 0.4)
    return x, x @ (M + M.T) + rng.uniform(0.1, 5, n) * rng.normal(size=(T, n))


def nuisance(x: Array, i: int) -> Array:
    """Orthonormal own terms of name i; no columns where it never trades."""
    columns = np.column_stack((x[:, i], np.sign(x[:, i])))
    left, size, _ = np.linalg.svd(columns, full_matrices=False)
    return left * (size > 1e-9)


def equations(x: Array, y: Array, weight: Array) -> Equations:
    Q = [nuisance(x, i) for i in range(x.shape[1])]
    basis = np.stack([x.T @ q for q in Q])
    xy = np.stack([x.T @ (y[:, i] - q @ (q.T @ y[:, i])) for i, q in enumerate(Q)])
    return Equations(x.T @ x, basis, xy, weight)


def weights(seed: int, n: int) -> Array:
    return np.random.default_rng((seed, 1)).uniform(0.1, 2, n)


def symmetric(seed: int, n: int) -> Array:
    A = np.random.default_rng((seed, 2)).normal(size=(n, n))
    return A + A.T


def penalty(seed: int, n: int, l1_ratio: float) -> Penalty:
    """With a template."""
    return Penalty(l1_ratio, symmetric(seed, n), TIGHT)


def residuals(equations: Equations, M: Array) -> tuple[Array, Array]:
    """Minus the gradient of each row's loss in M, and its curvature, written out densely."""
    n = len(M)
    gradient, curvature = np.zeros((n, n)), np.zeros((n, n))
    for i in range(n):
        G = equations.gram - equations.basis[i] @ equations.basis[i].T
        gradient[i] = equations.weight[i] * (equations.xy[i] - G @ M[i])
        curvature[i] = equations.weight[i] * np.diagonal(G)
    np.fill_diagonal(curvature, 0.0)
    curvature[curvature < 1e-9] = 0.0
    return gradient, curvature


def assert_optimal(gradient: Array, curvature: Array, M: Array, p: Penalty, lam: Array) -> None:
    """Zero is in the subdifferential at M, entry by entry; what cannot move is at its offset."""
    deviation = M - p.offset + np.diag(np.diagonal(p.offset))
    free = curvature > 0
    assert not deviation[~free].any()
    unit = np.divide(1.0, np.sqrt(curvature), out=np.zeros_like(M), where=free)
    u = np.divide(deviation, unit, out=np.zeros_like(M), where=free)
    slope = unit * gradient - lam * (1 - p.l1_ratio) * u
    level = np.broadcast_to(lam * p.l1_ratio, M.shape)
    size = np.abs(slope).max() + np.abs(level).max() + 1
    zero = np.abs(u) < 1e-13
    assert (np.abs(slope) <= level + 1e-7 * size)[free & zero].all()
    np.testing.assert_allclose(
        slope[free & ~zero], (level * np.sign(u))[free & ~zero], atol=1e-7 * size
    )


@given(SEEDS, RATIOS)
@settings(max_examples=40, deadline=None)
def test_every_row_is_optimal(seed, l1_ratio):
    x, y = desk(seed)
    e, p = equations(x, y, weights(seed, 6)), penalty(seed, 6, l1_ratio)
    grid = row_lambdas(e, p, 8)
    for lam, M in zip(grid, row_paths(e, p, grid), strict=True):
        assert_optimal(*residuals(e, M), M, p, lam[:, None])


@given(SEEDS, RATIOS)
@settings(max_examples=40, deadline=None)
def test_all_pairs_are_optimal(seed, l1_ratio):
    x, y = desk(seed)
    weight = weights(seed, 6)
    weight[seed % 6] = 0.0
    e, p = equations(x, y, weight), penalty(seed, 6, l1_ratio)
    grid = pair_lambdas(e, p, 8)
    for lam, M in zip(grid, pair_paths(e, p, grid), strict=True):
        np.testing.assert_array_equal(M, M.T)
        assert not np.diagonal(M).any()
        gradient, curvature = residuals(e, M)
        assert_optimal(gradient + gradient.T, curvature + curvature.T, M, p, lam)


@given(SEEDS, RATIOS)
@settings(max_examples=25, deadline=None)
def test_rows_are_those_of_scikit_learn_on_the_raw_data(seed, l1_ratio):
    """Own terms partialled out, columns scaled to unit mean square, weight one per observation."""
    x, y = desk(seed)
    T, n = x.shape
    e, p = equations(x, y, np.full(n, 1 / T)), Penalty(l1_ratio, tolerance=TIGHT)
    grid = row_lambdas(e, p, 5)
    paths = row_paths(e, p, grid)
    for i in range(n - 1):
        q = nuisance(x, i)
        left, response = x - q @ (q.T @ x), y[:, i] - q @ (q.T @ y[:, i])
        keep = [j for j in range(n - 1) if j != i]
        size = np.sqrt((left[:, keep] ** 2).mean(axis=0))
        for at in range(1, len(grid)):
            theirs = ElasticNet(
                alpha=grid[at, i], l1_ratio=l1_ratio, fit_intercept=False, tol=1e-14, max_iter=10**6
            ).fit(left[:, keep] / size, response)
            np.testing.assert_allclose(paths[at, i, keep], theirs.coef_ / size, atol=1e-6)


@given(SEEDS, RATIOS)
@settings(max_examples=25, deadline=None)
def test_pairs_are_those_of_a_dense_fit_to_all_rows_stacked(seed, l1_ratio):
    """Column (i, j) of the stacked design holds x_j in the block of row i and x_i in row j's."""
    x, y = desk(seed)
    T, n = x.shape
    weight = weights(seed, n)
    e, p = equations(x, y, weight), Penalty(l1_ratio, tolerance=TIGHT)
    grid = pair_lambdas(e, p, 5)
    paths = pair_paths(e, p, grid)
    first, second = np.triu_indices(n - 1, 1)
    design, response = np.zeros((n, T, len(first))), np.zeros((n, T))
    for i in range(n):
        q = nuisance(x, i)
        left = np.sqrt(weight[i]) * (x - q @ (q.T @ x))
        response[i] = np.sqrt(weight[i]) * (y[:, i] - q @ (q.T @ y[:, i]))
        design[i][:, i == first] = left[:, second[i == first]]
        design[i][:, i == second] = left[:, first[i == second]]
    stacked, response = design.reshape(n * T, -1), response.ravel()
    size = np.linalg.norm(stacked, axis=0)
    for lam, M in list(zip(grid, paths, strict=True))[1:]:
        theirs = ElasticNet(
            alpha=lam / (n * T), l1_ratio=l1_ratio, fit_intercept=False, tol=1e-14, max_iter=10**6
        ).fit(stacked / size, response)
        np.testing.assert_allclose(M[first, second], theirs.coef_ / size, atol=1e-6)


@pytest.mark.parametrize(
    ("lambdas", "paths"), [(row_lambdas, row_paths), (pair_lambdas, pair_paths)]
)
class TestBoth:
    @given(seed=SEEDS)
    @settings(max_examples=20, deadline=None)
    def test_a_warm_path_ends_where_a_cold_start_does(self, lambdas, paths, seed):
        e = equations(*desk(seed), weights(seed, 6))
        p = penalty(seed, 6, 0.9)
        grid = lambdas(e, p, 12)
        warm = paths(e, p, grid)
        for at in (3, 7, 11):
            np.testing.assert_allclose(paths(e, p, grid[at : at + 1])[0], warm[at], atol=1e-7)
        np.testing.assert_allclose(paths(e, p, grid[::-1])[::-1], warm, atol=1e-7)

    @given(seed=SEEDS)
    @settings(max_examples=20, deadline=None)
    def test_names_in_another_order_get_the_same_numbers(self, lambdas, paths, seed):
        x, y = desk(seed)
        order, weight = np.random.default_rng(seed).permutation(6), weights(seed, 6)
        p = penalty(seed, 6, 0.9)
        turned = replace(p, offset=p.offset[np.ix_(order, order)])
        e, f = equations(x, y, weight), equations(x[:, order], y[:, order], weight[order])
        here, there = paths(e, p, lambdas(e, p, 6)), paths(f, turned, lambdas(f, turned, 6))
        np.testing.assert_allclose(here[:, order][:, :, order], there, atol=1e-7)

    def test_the_same_input_gives_the_same_bits(self, lambdas, paths):
        e, p = equations(*desk(3, n=30, T=200), weights(3, 30)), Penalty()
        grid = lambdas(e, p, 20)
        assert paths(e, p, grid).tobytes() == paths(e, p, grid).tobytes()

    @given(seed=SEEDS)
    @settings(max_examples=20, deadline=None)
    def test_the_grid_starts_at_the_last_penalty_without_a_deviation(self, lambdas, paths, seed):
        e, p = equations(*desk(seed), weights(seed, 6)), penalty(seed, 6, 0.9)
        top = lambdas(e, p, 2)[:1]
        offset = p.offset - np.diag(np.diagonal(p.offset))
        np.testing.assert_array_equal(paths(e, p, top)[0], offset)
        moved = (paths(e, p, 0.99 * top)[0] != offset).any(axis=1)
        informed = top[0] > 0
        assert moved.any() if top.ndim == 1 else np.array_equal(moved, informed)

    def test_more_names_than_buckets(self, lambdas, paths):
        e = equations(*desk(1, n=25, T=12), np.ones(25))
        p = Penalty(0.9, np.zeros((25, 25)))
        M = paths(e, p, lambdas(e, p, 30, 1e-3))
        assert np.isfinite(M).all() and np.count_nonzero(M[-1]) > 25

    def test_one_name_and_a_desk_without_flow_have_no_cross_impact(self, lambdas, paths):
        for n, dead in ((1, 0), (1, 1), (4, 4)):
            e = equations(*desk(2, n=n, dead=dead), np.ones(n))
            assert not paths(e, Penalty(), lambdas(e, Penalty(), 4)).any()

    def test_duplicate_names_share_finite_coefficients(self, lambdas, paths):
        x, y = desk(5)
        x[:, 1] = x[:, 0]
        e = equations(x, y, np.ones(6))
        M = paths(e, Penalty(0.9), lambdas(e, Penalty(0.9), 20))
        assert np.isfinite(M).all() and not M[:, 0, 1].any()

    def test_what_is_not_a_problem_is_refused_by_name(self, lambdas, paths):
        e = equations(*desk(0), np.ones(6))
        grid = lambdas(e, Penalty(), 3)
        broken = replace(e, xy=np.full((6, 6), np.nan))
        for bad, p, levels, word in (
            (broken, Penalty(), grid, "xy is not finite"),
            (replace(e, weight=-e.weight), Penalty(), grid, "negative"),
            (e, Penalty(0.0), grid, "l1_ratio"),
            (e, Penalty(offset=np.ones((5, 5))), grid, "offset has shape"),
            (e, Penalty(), -grid, "penalty is negative"),
        ):
            with pytest.raises(EstimationError, match=word):
                paths(bad, p, levels)


def test_a_row_of_zero_weight_stays_at_its_offset():
    e, p = equations(*desk(4), np.array([0.0, 1, 1, 1, 1, 1])), penalty(4, 6, 0.9)
    M = row_paths(e, p, row_lambdas(e, p, 5))
    np.testing.assert_array_equal(M[:, 0, 1:], np.broadcast_to(p.offset[0, 1:], (5, 5)))
    assert (M[-1, 1:] != p.offset[1:]).any()


def test_pairs_refuse_a_template_that_is_not_symmetric():
    e = equations(*desk(0), np.ones(6))
    with pytest.raises(EstimationError, match="offset of a penalty on pairs is not symmetric"):
        pair_paths(e, Penalty(offset=np.triu(np.ones((6, 6)))), np.ones(2))


def folds(seed: int) -> tuple[list[Equations], list[Equations]]:
    x, y = desk(seed, T=150)
    fold, weight = np.arange(150) * 3 // 150, weights(seed, 6)
    at = range(3)
    return (
        [equations(x[fold != k], y[fold != k], weight) for k in at],
        [equations(x[fold == k], y[fold == k], weight) for k in at],
    )


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_held_out_losses_are_the_quadratic_forms_of_each_folds_own_path(seed):
    training, held_out = folds(seed)
    p = penalty(seed, 6, 0.9)
    for validate, lambdas, paths in (
        (cross_validate_rows, row_lambdas, row_paths),
        (cross_validate_pairs, pair_lambdas, pair_paths),
    ):
        grid = lambdas(training[0], p, 7)
        found = validate(training, held_out, p, grid)
        fits = np.stack([paths(e, p, grid) for e in training])
        loss = np.zeros((3, 7, 6))
        for k, e in enumerate(held_out):
            for i in range(6):
                G = e.weight[i] * (e.gram - e.basis[i] @ e.basis[i].T)
                M = fits[k, :, i]
                loss[k, :, i] = ((M @ G / 2 - e.weight[i] * e.xy[i]) * M).sum(axis=1)
        wanted = loss if validate is cross_validate_rows else loss.sum(axis=2, keepdims=True)
        np.testing.assert_allclose(found.loss, wanted, atol=1e-9 * (1 + np.abs(loss).max()))
        np.testing.assert_array_equal(found.best, wanted.sum(axis=0).argmin(axis=0))
        offset = p.offset - np.diag(np.diagonal(p.offset))
        moved = np.abs(fits - offset) > 1e-13
        np.testing.assert_array_equal(found.selected, moved.sum(axis=0))


def test_folds_that_stop_early_solved_what_all_penalties_solve_and_found_the_least():
    x, y = desk(5, n=8, T=240)
    parts = [equations(x[k::4], y[k::4], weights(5, 8) / 60) for k in range(4)]
    rests = [
        equations(x[np.arange(240) % 4 != k], y[np.arange(240) % 4 != k], weights(5, 8) / 180)
        for k in range(4)
    ]
    p = Penalty(0.9, tolerance=TIGHT)
    grid = pair_lambdas(rests[0], p, 30, 1e-3)
    whole = cross_validate_pairs(rests, parts, p, grid)
    early = cross_validate_pairs(rests, parts, p, grid, patience=2)
    count = early.loss.shape[1]
    assert count == early.best[0] + 3 < len(grid)
    np.testing.assert_array_equal(early.loss, whole.loss[:, :count])
    np.testing.assert_array_equal(early.selected, whole.selected[:count])
    assert early.best[0] == whole.best[0]
