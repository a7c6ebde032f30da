"""The prior of couplings: fixed point, limits in closed form, and probabilities that mean it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crossimpact.estimate import posterior_sweep, shrinkage
from crossimpact.estimate.equations import Equations
from crossimpact.estimate.posterior_sweep import TILE
from crossimpact.estimate.shrinkage import TOLERANCE, Posterior, fit_posterior
from crossimpact.model import Array


def drawn(
    seed: int, theta: Array, scale: Array, T: int = 400, noise: float = 1.0, lean: float = 0.5
) -> Equations:
    """Rows of a desk with couplings `theta`, flows partly in common, own flow as the nuisance."""
    rng = np.random.default_rng(seed)
    n = len(theta)
    x = np.sqrt(1 - lean) * rng.normal(size=(T, n)) + np.sqrt(lean) * rng.normal(size=(T, 1))
    y = x @ (theta * scale) + noise * rng.normal(size=(T, n)) + 3 * x
    own = x / np.sqrt((x**2).sum(axis=0))
    gram = x.T @ x
    basis = (x.T @ own).T[:, :, None]  # row i: X'B_i
    xy = (x.T @ y).T - basis[:, :, 0] * (own * y).sum(axis=0)[:, None]
    return Equations(gram, basis, xy, np.full(n, noise**-2))


def spike_and_slab(seed: int, n: int, pi: float, mu: float, tau: float) -> Array:
    rng = np.random.default_rng((seed, 7))
    theta = np.triu((rng.random((n, n)) < pi) * rng.normal(mu, tau, (n, n)), 1)
    return theta + theta.T


def scales(seed: int, n: int) -> Array:
    beta = np.random.default_rng((seed, 9)).uniform(0.5, 2, n)
    return np.sqrt(np.outer(beta, beta))


def one_group(n: int) -> np.ndarray:
    return np.zeros((n, n), dtype=np.int64)


def least_squares(e: Equations, scale: Array) -> tuple[Array, Array]:
    """Couplings of all pairs jointly and their covariance, in the order of the upper triangle."""
    first, second = np.triu_indices(len(scale), 1)
    curvature = shrinkage.joint_curvature(e, scale, first, second)
    force = e.weight[:, None] * e.xy
    covariance = np.linalg.inv(curvature)
    return covariance @ ((force + force.T) * scale)[first, second], covariance


def update(found: Posterior, estimate: Array, h: Array, group: Array, common: Array) -> Array:
    """Posterior mean of each coupling from its own estimate, by Bayes' rule written out."""
    pi, omega, mu, tau = np.moveaxis(found.prior[group], -1, 0)
    omega = np.where(common == 0, 0.0, omega)

    def density(mean: Array, variance: Array) -> Array:
        return np.exp(-((estimate - mean) ** 2) / (2 * variance)) / np.sqrt(variance)

    parts = np.stack(
        ((1 - pi - omega) * density(0.0, 1 / h), omega * density(common, 1 / h),
         pi * density(mu, 1 / h + tau**2))
    )  # fmt: skip
    parts /= parts.sum(axis=0)
    slab = (estimate * h + mu / tau**2) / (h + 1 / tau**2)
    return parts[1] * common + parts[2] * slab


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_posterior_is_a_fixed_point_of_bayes_rule_pair_by_pair(seed):
    n = 12
    theta, scale = spike_and_slab(seed, n, 0.4, 0.3, 0.2), scales(seed, n)
    group = np.add.outer(np.arange(n) % 2, np.arange(n) % 2) % 2
    common = np.where(group == 0, 0.3, 0.0)
    e = drawn(seed, theta, scale, noise=3.0)
    found = fit_posterior(e, scale, group, common=common)
    h = shrinkage.pair_curvature(e, scale)
    force = scale * e.weight[:, None] * shrinkage.row_gradients(e, scale * found.coupling)
    upper = np.triu_indices(n, 1)
    estimate = found.coupling[upper] + (force + force.T)[upper] / h[upper]
    again = update(found, estimate, h[upper], group[upper], common[upper])
    moved = np.abs(again - found.coupling[upper]) * np.sqrt(h[upper])
    assert moved.max() < max(20 * TOLERANCE, 2e-3)
    np.testing.assert_array_equal(found.coupling, found.coupling.T)
    assert not np.diagonal(found.coupling).any()
    assert ((found.inclusion >= found.own) & (found.own >= 0) & (found.inclusion <= 1)).all()


def at_size(seed: int, n: int) -> tuple[Equations, Array, Array]:
    """More names than a tile holds, coupled within blocks, fewer rows than names."""
    theta = spike_and_slab(seed, n, 0.05, 0.3, 0.1)
    scale = scales(seed, n)
    return drawn(seed, theta, scale, T=n - 20, noise=4.0), scale, one_group(n)


def test_the_posterior_is_a_fixed_point_over_many_tiles_too():
    n = 2 * TILE + 21
    e, scale, group = at_size(1, n)
    found = fit_posterior(e, scale, group)
    h = shrinkage.pair_curvature(e, scale)
    force = scale * e.weight[:, None] * shrinkage.row_gradients(e, scale * found.coupling)
    upper = np.triu_indices(n, 1)
    estimate = found.coupling[upper] + (force + force.T)[upper] / h[upper]
    again = update(found, estimate, h[upper], group[upper], np.zeros(len(upper[0])))
    assert (np.abs(again - found.coupling[upper]) * np.sqrt(h[upper])).max() < 20 * TOLERANCE
    np.testing.assert_array_equal(found.coupling, found.coupling.T)
    np.testing.assert_array_equal(found.coupling, fit_posterior(e, scale, group).coupling)


def test_the_size_of_a_tile_is_of_no_account(monkeypatch):
    """Tiles change the order in which pairs have their turn, and with it digits below the
    tolerance of the fixed point."""
    n = TILE + 40
    e, scale, group = at_size(2, n)
    one = fit_posterior(e, scale, group)
    monkeypatch.setattr(posterior_sweep, "TILE", n)
    other = fit_posterior(e, scale, group)
    error = np.where(other.spread > 0, other.spread, 1.0)
    assert np.abs((one.coupling - other.coupling) / error).max() < 0.1
    np.testing.assert_allclose(one.prior, other.prior, rtol=0.05, atol=1e-4)


def test_the_posterior_takes_few_passes_where_strata_are_all_but_empty(monkeypatch):
    """Learned by one EM step a pass, shares of such strata took 37."""
    n, passes = 60, []
    theta = spike_and_slab(5, n, 0.05, 0.3, 0.1)
    near = np.add.outer(np.arange(n) // 15, -(np.arange(n) // 15)) == 0
    stratum = np.where(near & (theta != 0), 2, np.where(near, 1, 0))
    common = np.where(near, 0.25, 0.0)
    e = drawn(5, theta, scales(5, n), noise=6.0)

    def counted(*of: object) -> float:
        passes.append(1)
        return posterior_sweep.sweep(*of)

    monkeypatch.setattr(shrinkage, "sweep", counted)
    fit_posterior(e, scales(5, n), one_group(n), stratum=stratum, common=common)
    assert len(passes) <= 30


def test_with_independent_flows_every_pair_is_the_closed_form():
    n, rng = 10, np.random.default_rng(3)
    theta = spike_and_slab(3, n, 0.5, 0.2, 0.3)
    weight = rng.uniform(0.5, 2, n)
    xy = 50.0 * theta + rng.normal(size=(n, n)) * np.sqrt(50.0 / weight)[:, None]
    e = Equations(50.0 * np.eye(n), np.zeros((n, n, 1)), xy, weight)
    scale, group = np.ones((n, n)), one_group(n)
    found = fit_posterior(e, scale, group)
    h = 50.0 * np.add.outer(weight, weight)
    force = weight[:, None] * xy
    estimate = (force + force.T) / h
    upper = np.triu_indices(n, 1)
    expected = update(found, estimate[upper], h[upper], group[upper], np.zeros(upper[0].size))
    np.testing.assert_allclose(found.coupling[upper], expected, atol=1e-3)
    pi, omega, mu, tau = found.prior[0]
    odds = (1 - pi) / pi * np.sqrt(1 + tau**2 * h) * np.exp(
        (estimate - mu) ** 2 / (1 / h + tau**2) / 2 - estimate**2 * h / 2
    )  # fmt: skip
    np.testing.assert_allclose(found.inclusion[upper], 1 / (1 + odds[upper]), atol=5e-3)
    assert omega > 0  # believed in before data, and not read where there is no template


def test_clear_data_are_left_to_least_squares():
    """Every pair coupled and measured to a hundredth of the couplings' spread."""
    n = 8
    theta, scale = spike_and_slab(4, n, 1.0, 0.0, 2.0), scales(4, n)
    e = drawn(4, theta, scale, T=4000, noise=1.0)
    found = fit_posterior(e, scale, one_group(n))
    expected, covariance = least_squares(e, scale)
    upper = np.triu_indices(n, 1)
    away = np.abs(found.coupling[upper] - expected) / np.sqrt(np.diagonal(covariance))
    assert away.max() < 0.2
    assert found.inclusion[upper].min() > 0.9
    assert found.prior[0, 3] > 1.0 and found.prior[0, 0] > 0.85


def test_joint_curvature_is_the_dense_second_derivative():
    n = 5
    e, scale = drawn(5, np.zeros((n, n)), scales(5, n)), scales(5, n)
    first, second = np.triu_indices(n, 1)
    hessian = shrinkage.joint_curvature(e, scale, first, second)

    def error(theta: Array) -> float:
        M = np.zeros((n, n))
        M[first, second] = theta
        M = (M + M.T) * scale
        G = e.gram - e.basis @ np.swapaxes(e.basis, 1, 2)
        return float(e.weight @ np.einsum("ij,ijk,ik->i", M, G, M)) / 2

    unit = np.eye(first.size)
    dense = [[error(a + b) - error(a) - error(b) for a in unit] for b in unit]
    np.testing.assert_allclose(hessian, dense, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(
        np.diagonal(hessian), shrinkage.pair_curvature(e, scale)[first, second], rtol=1e-9
    )


def test_probabilities_mean_what_they_say():
    """On worlds drawn from the prior, pairs called coupled with probability p are in p of cases,
    and the false discovery rate a set of pairs is chosen for is the one it has."""
    n, claimed, false, chosen, bins = 40, 0.0, 0, 0, []
    for seed in range(3):
        theta, scale = spike_and_slab(seed, n, 0.25, 0.2, 0.3), np.ones((n, n))
        found = fit_posterior(drawn(seed, theta, scale, T=500, noise=2.0), scale, one_group(n))
        upper = np.triu_indices(n, 1)
        p, coupled = found.inclusion[upper], theta[upper] != 0
        bins.append((p, coupled))
        order = np.argsort(-p)
        rate = np.cumsum(1 - p[order]) / np.arange(1, p.size + 1)
        kept = order[: int((rate <= 0.2).sum())]
        chosen, false = chosen + kept.size, false + int((~coupled[kept]).sum())
        claimed += float((1 - p[kept]).sum())
    assert chosen > 80
    assert abs(false / chosen - 0.2) < 0.08 and abs(claimed - false) / chosen < 0.08
    p, coupled = (np.concatenate(part) for part in zip(*bins, strict=True))
    for low, high in ((0.0, 0.2), (0.2, 0.5), (0.5, 0.9), (0.9, 1.01)):
        at = (p >= low) & (p < high)
        assert -0.08 < coupled[at].mean() - p[at].mean() < 0.15  # small ones are overlooked


def test_each_group_learns_its_own_prior_and_thin_pairs_are_drawn_to_it():
    n = 20
    half = np.arange(n) < n // 2
    group = np.where(np.equal.outer(half, half), 0, 1)
    theta = np.where(group == 0, 0.5, 0.0) + spike_and_slab(6, n, 1.0, 0.0, 0.05) * (group == 0)
    np.fill_diagonal(theta, 0.0)
    e = drawn(6, theta, np.ones((n, n)), T=1500, noise=3.0)
    found = fit_posterior(e, np.ones((n, n)), group)
    assert abs(found.prior[0, 2] - 0.5) < 0.1 and found.prior[0, 0] > 0.85
    assert found.prior[1, 0] < 0.15
    upper = np.triu_indices(n, 1)
    raw = least_squares(e, np.ones((n, n)))[0]
    within = group[upper] == 0
    error = [np.abs(x[within] - theta[upper][within]).mean() for x in (found.coupling[upper], raw)]
    assert error[0] < 0.7 * error[1]
    assert np.abs(found.coupling[upper][~within]).mean() < 0.2 * np.abs(raw[~within]).mean()


def test_pairs_like_their_template_are_told_from_their_own():
    n = 20
    common = np.full((n, n), 0.4)
    theta = np.full((n, n), 0.4)
    rng = np.random.default_rng(8)
    own = np.triu(rng.random((n, n)) < 0.1, 1)
    theta = np.where(own | own.T, -0.6, theta)
    np.fill_diagonal(theta, 0.0)
    e = drawn(8, theta, np.ones((n, n)), T=2000, noise=2.0)
    found = fit_posterior(e, np.ones((n, n)), one_group(n), common=common)
    upper = np.triu_indices(n, 1)
    assert found.prior[0, 1] > 0.6
    assert found.own[upper][own[upper]].min() > 0.9
    assert np.median(found.own[upper][~own[upper]]) < 0.3
    assert np.abs(found.coupling - theta).max() < 0.4


def test_strata_differ_in_how_likely_and_share_how_much():
    n = 24
    stratum = np.add.outer(np.arange(n) % 2, np.arange(n) % 2) % 2
    theta = np.where(stratum == 1, spike_and_slab(9, n, 0.8, 0.5, 0.1), 0.0)
    e = drawn(9, theta, np.ones((n, n)), T=1500, noise=2.0)
    found = fit_posterior(e, np.ones((n, n)), one_group(n), stratum=stratum)
    assert found.prior[1, 0] > 0.6 and found.prior[0, 0] < 0.1
    np.testing.assert_array_equal(found.prior[0, 2:], found.prior[1, 2:])


def test_permuted_names_permute_the_posterior():
    n = 12
    theta, scale = spike_and_slab(10, n, 0.3, 0.2, 0.3), scales(10, n)
    e = drawn(10, theta, scale, noise=2.0)
    order = np.random.default_rng(0).permutation(n)
    square = np.ix_(order, order)
    other = Equations(e.gram[square], e.basis[square], e.xy[square], e.weight[order])
    a = fit_posterior(e, scale, one_group(n))
    b = fit_posterior(other, scale[square], one_group(n))
    np.testing.assert_allclose(b.coupling, a.coupling[square], atol=1e-2)
    np.testing.assert_allclose(b.inclusion, a.inclusion[square], atol=5e-2)


def test_the_unit_of_flows_is_a_convention():
    n = 10
    theta, scale = spike_and_slab(11, n, 0.3, 0.2, 0.3), scales(11, n)
    e = drawn(11, theta, scale, noise=2.0)
    a = fit_posterior(e, scale, one_group(n))
    finer = replace(e, gram=e.gram * 4, basis=e.basis * 2, xy=e.xy * 2)  # flows in half units
    b = fit_posterior(finer, scale / 2, one_group(n))
    np.testing.assert_allclose(b.coupling, a.coupling, atol=1e-6)


def test_pairs_without_data_are_not_coupled_and_rows_without_weight_say_nothing():
    n = 6
    theta, scale = spike_and_slab(12, n, 1.0, 0.5, 0.1), np.ones((n, n))
    e = drawn(12, theta, scale)
    e.gram[5] = e.gram[:, 5] = 0.0  # never trades, and never moves
    e.basis[:, 5] = e.basis[5] = 0.0
    e.xy[:, 5] = e.xy[5] = 0.0
    found = fit_posterior(replace(e, weight=e.weight * (np.arange(n) < 5)), scale, one_group(n))
    assert not found.coupling[5].any() and not found.inclusion[5].any()
    assert (found.inclusion[:5, :5][np.triu_indices(5, 1)] > 0.5).all()
