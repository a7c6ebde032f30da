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
gradients of its two rows only. Between two passes the prior is learned from the pairs' estimates
(`empirical_bayes`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossimpact.estimate.empirical_bayes import Strata, first_prior, leap, learn, strata_of
from crossimpact.estimate.equations import Equations, own_share, spread_out
from crossimpact.estimate.posterior_sweep import Known, Pairs, sweep, told
from crossimpact.model import Array

SWEEPS = 300
TOLERANCE = 1e-3  # standard errors by which no estimate moves any more
SETTLING, LEAP = 8, 4  # passes after which the prior is sent ahead of itself
ROUNDS = 4  # of EM between two passes, where estimates take it calmly
CALM, UPSET = 0.1, 0.5  # standard errors below which their largest move is that, above which not
UPSETS = 2  # after so many a round at a time


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
        prior = first_prior(strata)
    stray = np.zeros((n, n)) if common_spread is None else common_spread
    pairs, line = Pairs(theta, theta.copy()), strata_of(label, groups, curvature, centre, stray)
    gram, basis = (np.ascontiguousarray(a) for a in (equations.gram, equations.basis))
    turned = np.ascontiguousarray(basis.swapaxes(0, 1))
    known = Known(gram, basis, turned, equations.weight, scale, curvature, label, centre, stray)
    prior = _ascend(equations, pairs, known, line, prior)
    centre_se = np.zeros((n, n)) if common_se is None else common_se
    sd, inclusion, own = told(*pairs, curvature, label, centre, stray, centre_se, prior)
    upper = np.triu(theta, 1)
    return Posterior(upper + upper.T, sd, inclusion, own, prior)


def _ascend(equations: Equations, pairs: Pairs, known: Known, line: Strata, prior: Array) -> Array:
    """Pass over the pairs and learn the prior in turn, to the fixed point; the prior there."""
    priors, further, upsets = [prior], False, 0
    for step in range(1, SWEEPS + 1):
        largest = sweep(pairs, row_gradients(equations, known.scale * pairs.theta), known, prior)
        if step > 1 and largest < TOLERANCE:
            return prior
        if largest < CALM:
            further = upsets < UPSETS
        elif further and largest > UPSET:
            further, upsets = False, upsets + 1
        prior = learn(pairs.estimate, line, prior, ROUNDS if further else 1)
        priors = [*priors[-3:], prior]
        if step >= SETTLING and step % LEAP == 0:
            prior = leap(priors)
    return prior


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
