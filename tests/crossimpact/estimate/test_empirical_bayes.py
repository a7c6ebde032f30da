"""The prior learned from estimates: where EM ends, and where the likelihood is largest."""

from __future__ import annotations

import numpy as np
import pytest

from crossimpact.estimate.empirical_bayes import (
    PRIOR_PAIRS,
    PRIOR_SPREAD,
    START,
    Strata,
    first_prior,
    leap,
    learn,
    strata_of,
)
from crossimpact.model import Array

N = 70
KINDS = {  # shares drawn from the slab and like the template, in each of two strata
    "some of each": ((0.2, 0.3), (0.1, 0.2)),
    "a stratum all but empty": ((0.0, 0.002), (0.3, 0.6)),
    "a stratum all coupled": ((0.95, 0.05), (0.1, 0.0)),
    "nothing": ((0.0, 0.0), (0.0, 0.0)),
}


def drawn(kind: str, seed: int = 0, known: float = 0.8) -> tuple[Array, Strata]:
    """Estimates of pairs of two groups in two strata, of unlike noise; a share `known` of them has
    a template."""
    rng = np.random.default_rng(seed)
    group, stratum = (np.add.outer(np.arange(N), np.arange(N)) % m // (m // 2) for m in (2, 6))
    centre = np.where(rng.random((N, N)) < known, 0.4, 0.0)
    noise = np.triu(rng.uniform(0.05, 0.2, (N, N)), 1) ** 2
    own, alike = (np.array([pair[k] for pair in KINDS[kind]])[stratum] for k in (0, 1))
    pick = rng.random((N, N))
    theta = np.where(pick < own, rng.normal(0.2, 0.3, (N, N)), 0.0)
    theta = np.where((pick >= own) & (pick < own + alike), centre, theta)
    estimate = theta + np.sqrt(noise) * rng.normal(size=(N, N))
    curvature = np.divide(1.0, noise, out=np.zeros_like(noise), where=noise > 0)
    label = (group + 2 * stratum).astype(np.int64)
    return estimate, strata_of(label, 2, curvature + curvature.T, centre, 0.1 * centre)


def parts(estimate: Array, pairs: Strata, k: int, prior: Array) -> tuple[Array, Array, Array]:
    """Densities of a stratum's estimates, times what each share is worth: (3, pairs); and the
    slab's posterior mean and variance."""
    of = slice(pairs.start[k], pairs.start[k + 1])
    e = estimate[pairs.first[of], pairs.second[of]]
    noise, centre, stray = pairs.noise[of], pairs.centre[of], pairs.stray[of]
    pi, omega, mu, tau = prior[k]
    omega = np.where(centre != 0, omega, 0.0)

    def density(mean: float | Array, variance: Array) -> Array:
        return np.exp(-((e - mean) ** 2) / (2 * variance)) / np.sqrt(variance)

    weighed = np.stack(
        ((1 - pi - omega) * density(0.0, noise), pi * density(mu, noise + tau**2),
         omega * density(centre, noise + stray**2))
    )  # fmt: skip
    slab = (e * tau**2 + mu * noise) / (noise + tau**2)
    return weighed, slab, noise * tau**2 / (noise + tau**2)


def likelihood(estimate: Array, pairs: Strata, prior: Array) -> float:
    """Log posterior of the shares, slabs given."""
    total = 0.0
    for k, (pi, omega, _, _) in enumerate(prior):
        total += float(np.log(parts(estimate, pairs, k, prior)[0].sum(axis=0)).sum())
        rest = 1 - START[0] - START[1]
        shares = np.log([pi, omega, 1 - pi - omega])
        total += PRIOR_PAIRS * float(np.array([START[0], START[1], rest]) @ shares)
    return total


def settled(estimate: Array, pairs: Strata) -> Array:
    prior = first_prior(len(pairs.group))
    for _ in range(400):
        prior = learn(estimate, pairs, prior)
    return prior


@pytest.mark.parametrize("kind", KINDS)
def test_learned_shares_slabs_and_spreads_are_where_em_stays(kind):
    estimate, pairs = drawn(kind)
    prior = settled(estimate, pairs)
    share, mean, square = np.zeros((3, 2))
    for k in range(len(prior)):
        weighed, slab, variance = parts(estimate, pairs, k, prior)
        _, own, alike = weighed / weighed.sum(axis=0)
        believed = own.size + PRIOR_PAIRS
        for found, seen, before in zip(prior[k, :2], (own, alike), START[:2], strict=True):
            assert found == pytest.approx((seen.sum() + before * PRIOR_PAIRS) / believed, rel=1e-4)
        g = pairs.group[k]
        share[g] += own.sum()
        mean[g] += own @ slab
        square[g] += own @ ((slab - prior[k, 2]) ** 2 + variance)
    mu = mean / (share + PRIOR_PAIRS / 2)
    tau = np.sqrt((square + PRIOR_PAIRS * PRIOR_SPREAD**2) / (share + PRIOR_PAIRS))
    np.testing.assert_allclose(prior[:, 2], mu[pairs.group], atol=1e-4)
    np.testing.assert_allclose(prior[:, 3], tau[pairs.group], rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_no_other_shares_make_the_estimates_likelier(kind):
    estimate, pairs = drawn(kind, known=1.0)
    prior = settled(estimate, pairs)
    best = likelihood(estimate, pairs, prior)
    for k in range(len(prior)):
        for step in ((1.05, 1.0), (0.95, 1.0), (1.0, 1.05), (1.0, 0.95)):
            other = prior.copy()
            other[k, :2] = prior[k, :2] * step
            if other[k, :2].sum() < 1:
                assert likelihood(estimate, pairs, other) < best


@pytest.mark.parametrize("kind", KINDS)
def test_learned_shares_never_leave_the_simplex(kind):
    """From any start, in one call."""
    estimate, pairs = drawn(kind, seed=1)
    for pi, omega in ((1e-9, 1e-9), (0.5, 0.5 - 1e-9), (1e-9, 1 - 1e-6), (1 - 1e-6, 1e-9)):
        start = first_prior(len(pairs.group))
        start[:, :2] = pi, omega
        found = learn(estimate, pairs, start)
        assert np.isfinite(found).all() and (found[:, [0, 1, 3]] > 0).all()
        assert (found[:, :2].sum(axis=1) < 1).all()


def shares_of(odds: Array) -> Array:
    return np.exp(odds) / (1 + np.exp(odds).sum(axis=1, keepdims=True))


def test_priors_that_shrink_their_steps_steadily_are_sent_to_their_end():
    """Also where both shares leave next to nothing: no bound on their sum throws a step back."""
    end = np.array([[0.1, 0.05, 0.3, 0.2], [0.54, 0.4595, -0.1, 0.1]])
    away = np.log([[1.3, 0.8, 0.1, 1.2], [0.5, 1.1, 0.05, 0.9]])
    odds = np.log(end[:, :2] / (1 - end[:, :2].sum(axis=1, keepdims=True)))
    priors = [
        np.column_stack(
            (shares_of(odds + k * away[:, :2]), end[:, 2] + k * away[:, 2],
             end[:, 3] * np.exp(k * away[:, 3]))
        )
        for k in 0.9 ** np.arange(4)
    ]  # fmt: skip
    np.testing.assert_allclose(leap(priors), end, rtol=1e-9)
    np.testing.assert_allclose(leap([end, end, end, end]), end)
    back = [priors[0], priors[1], priors[0], priors[1]]
    np.testing.assert_allclose(leap(back), priors[1])


def test_shares_that_were_planted_are_found():
    estimate, pairs = drawn("some of each", known=1.0)
    prior = settled(estimate, pairs)
    for k, (pi, omega, mu, tau) in enumerate(prior):
        own, alike = KINDS["some of each"][k // 2]
        assert pi == pytest.approx(own, abs=0.12)
        assert omega == pytest.approx(alike, abs=0.15)
        assert mu == pytest.approx(0.2, abs=0.12) and tau == pytest.approx(0.3, abs=0.12)


def test_pairs_without_curvature_are_no_pairs():
    zero = np.zeros((4, 4))
    pairs = strata_of(np.zeros((4, 4), dtype=np.int64), 1, zero, zero, zero)
    assert not pairs.first.size
    prior = learn(zero, pairs, first_prior(1))
    np.testing.assert_allclose(prior[0], [START[0], START[1], 0.0, PRIOR_SPREAD], atol=1e-12)
