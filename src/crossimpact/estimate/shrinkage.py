"""Zero, the template, or its own: how much of each pair's estimate the data carry.

A pair's coupling ``theta_ij = M_ij / sqrt(beta_i beta_j)`` is nothing, what its whole group has in
common, or a draw from its group's slab,

    theta_ij ~ (1 - pi_k - omega_k) delta_0 + omega_k N(c_ij, v_ij^2) + pi_k N(mu_g, tau_g^2),

with c the template's coupling, v how far pairs stray from it (0 for blocks), ``mu_g, tau_g`` of the
pair's group g and ``pi_k, omega_k`` of its stratum k within the group estimated from the regime's
own data by empirical Bayes. A pair with little data is shrunk toward the template and its group's
mean; a group that shows nothing is shrunk to zero. The posterior is found by coordinate ascent on
the factorised approximation (Carbonetto and Stephens 2012; Kim, Wang, Carbonetto and Stephens
2024), one pass of which costs as much as one of the elastic net: a pair's update moves the residual
gradients of its two rows only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossimpact.estimate.equations import Equations, own_share, spread_out
from crossimpact.estimate.posterior_sweep import Known, Pairs, counts, squares, sweep
from crossimpact.model import Array

SWEEPS = 300
OVERSHOOT = 1.9  # of the steps toward the learned shares, which shrink slowly
TOLERANCE = 1e-3  # standard errors by which no estimate moves any more
SETTLING, LEAP, LAST_LEAP = 20, 8, 200  # passes after which the prior is sent ahead of itself
MOST_ODDS = 30.0  # in logs, of a share over what is left: more is all
STEADY, FARTHEST = 0.02, 0.95  # ratio of two steps: how alike the last two, and the largest
PRIOR_PAIRS = 2.0  # pairs' worth of belief in the prior's own shape
PRIOR_SPREAD = 0.2  # of couplings in a slab, before data
START = (0.2, 0.1, 0.1)  # share drawn from the slab, share like the template, mean of the slab


@dataclass(frozen=True)
class Posterior:
    """What the data say of each pair.

    Attributes
    ----------
    coupling
        Posterior mean of theta, 0 weighed in, shape (n, n), symmetric, zero diagonal.
    spread
        Posterior standard deviation, from the factorised approximation.
    inclusion
        Probability that the pair is coupled at all.
    own
        Probability that it is drawn from the slab.
    prior
        ``(pi, omega, mu, tau)`` of each stratum, shape (strata, 4).
    """

    coupling: Array
    spread: Array
    inclusion: Array
    own: Array
    prior: Array


def fit_posterior(
    equations: Equations,
    scale: Array,
    group: NDArray[np.int64],
    *,
    stratum: NDArray[np.int64] | None = None,
    common: Array | None = None,
    common_se: Array | None = None,
    common_spread: Array | None = None,
    start: Array | None = None,
    prior: Array | None = None,
) -> Posterior:
    """Posterior of all couplings given the rows' normal equations.

    Parameters
    ----------
    equations
        Rows in scaled space.
    scale
        ``sqrt(beta_i beta_j)``, shape (n, n): M of one unit of coupling.
    group
        Group of each pair, symmetric, 0-based, shape (n, n).
    stratum
        Part of its group each pair belongs to, likewise; one stratum a group when None.
    common, common_se
        The template's couplings c, 0 where it has none, and their standard errors; none at all
        when None.
    common_spread
        How far pairs stray from the template's couplings, zero when None.
    start
        Couplings to start from, zero when None.
    prior
        `Posterior.prior` to start learning from, where it is of as many strata.
    """
    n, groups = len(scale), int(group.max(initial=0)) + 1
    label = group if stratum is None else group + groups * stratum
    label = np.ascontiguousarray(label, dtype=np.int64)
    strata = int(label.max(initial=0)) + 1
    centre = np.zeros((n, n)) if common is None else common
    curvature = pair_curvature(equations, scale)
    theta = np.zeros((n, n)) if start is None else np.where(curvature > 0, start, 0.0)
    if prior is None or len(prior) != strata:
        prior = np.tile([*START, PRIOR_SPREAD], (strata, 1))
    stray = np.zeros((n, n)) if common_spread is None else common_spread
    pairs = Pairs(theta, *(np.zeros((n, n)) for _ in range(6)))
    gram, basis = (np.ascontiguousarray(a) for a in (equations.gram, equations.basis))
    known = Known(gram, basis, equations.weight, scale, curvature, label, centre, stray)
    priors = [prior]
    for step in range(1, SWEEPS + 1):
        largest = sweep(pairs, row_gradients(equations, scale * theta), known, prior)
        learned = _learn(pairs, known, groups, strata)
        prior = np.column_stack((_overshoot(prior[:, :2], learned[:, :2]), learned[:, 2:]))
        if largest < TOLERANCE:
            break
        priors = [*priors[-3:], prior]
        if SETTLING <= step <= LAST_LEAP and step % LEAP == 0:
            prior = _leap(priors)
    centre_se = np.zeros((n, n)) if common_se is None else common_se
    _, shared, near, slack, own, slab, spread = pairs
    second = shared * (near**2 + slack**2 + centre_se**2) + own * (slab**2 + spread**2)
    sd = np.sqrt(np.maximum(second - theta**2, 0.0))
    coupling, sd, inclusion, own = (
        a + a.T for a in (np.triu(a, 1) for a in (theta, sd, shared + own, own))
    )
    return Posterior(coupling, sd, inclusion, own, prior)


def pair_curvature(equations: Equations, scale: Array) -> Array:
    """Second derivative of the squared error in each coupling, shape (n, n), zero diagonal."""
    own = np.diagonal(equations.gram)[None, :] - (equations.basis**2).sum(axis=2)
    rows = equations.weight[:, None] * np.maximum(own, 0.0)
    curvature = (rows + rows.T) * scale**2
    np.fill_diagonal(curvature, 0.0)
    return np.asarray(curvature)


def row_gradients(equations: Equations, M: Array) -> Array:
    """``X'E`` of each row's residuals under M, unweighted, shape (n, n), row i for name i."""
    basis = equations.basis
    explained = M @ equations.gram - spread_out(basis, own_share(basis, M))
    return np.asarray(equations.xy - explained)


def joint_curvature(
    equations: Equations, scale: Array, first: NDArray[np.int64], second: NDArray[np.int64]
) -> Array:
    """Second derivatives of the squared error in the couplings of the pairs listed."""
    hessian = np.zeros((first.size, first.size))
    for i in range(len(scale)):
        mine = np.flatnonzero((first == i) | (second == i))
        other = first[mine] + second[mine] - i
        inside = equations.gram[np.ix_(other, other)]
        inside = inside - equations.basis[i, other] @ equations.basis[i, other].T
        size = scale[i, other]
        hessian[np.ix_(mine, mine)] += equations.weight[i] * inside * np.outer(size, size)
    return hessian


def _overshoot(old: Array, new: Array) -> Array:
    """Shares a step and a bit beyond the learned ones, in log odds."""
    return _shares(OVERSHOOT * _odds(new) + (1 - OVERSHOOT) * _odds(old))


def _odds(shares: Array) -> Array:
    """Logs of two shares over what they leave, shape (strata, 2)."""
    return np.asarray(np.log(shares / (1 - shares.sum(axis=1, keepdims=True))))


def _shares(odds: Array) -> Array:
    """The shares of such odds."""
    size = np.exp(np.minimum(odds, MOST_ODDS))
    return np.asarray(size / (1 + size.sum(axis=1, keepdims=True)))


def _leap(priors: Sequence[Array]) -> Array:
    """Where four priors in a row that move by ever smaller steps would end (Aitken 1926): the last
    few hundredths take most of the passes otherwise. Number by number, and only of one whose steps
    shrink steadily; shares in log odds, spreads in logs."""
    path = np.stack([np.column_stack((_odds(p[:, :2]), p[:, 2], np.log(p[:, 3]))) for p in priors])
    steps = np.diff(path, axis=0)
    ratio = np.divide(steps[1:], steps[:-1], out=np.zeros_like(steps[1:]), where=steps[:-1] != 0)
    steady = np.abs(ratio[1] - ratio[0]) < STEADY
    along = np.where(steady, np.clip(ratio[1], 0.0, FARTHEST), 0.0)
    there = path[-1] + steps[-1] * along / (1 - along)
    return np.column_stack((_shares(there[:, :2]), there[:, 2], np.exp(there[:, 3])))


def _learn(pairs: Pairs, known: Known, groups: int, strata: int) -> Array:
    """The prior's ``(pi, omega, mu, tau)`` per stratum that the present posteriors suggest."""
    label, curvature, of = known.label, known.curvature, np.arange(strata) % groups
    by_stratum, by_group = counts(
        groups, strata, label, curvature, pairs.shared, pairs.own, pairs.slab
    )
    believed = by_stratum[0] + PRIOR_PAIRS
    pi = (by_stratum[1] + START[0] * PRIOR_PAIRS) / believed
    omega = (by_stratum[2] + START[1] * PRIOR_PAIRS) / believed
    drawn, weighted = by_group
    mu = weighted / (drawn + 0.5 * PRIOR_PAIRS)
    around = squares(mu, label, curvature, pairs.own, pairs.slab, pairs.spread)
    tau = np.sqrt((around + PRIOR_PAIRS * PRIOR_SPREAD**2) / (drawn + PRIOR_PAIRS))
    return np.column_stack((pi, omega, mu[of], tau[of]))
