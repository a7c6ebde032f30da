"""Spike and slab on every pair: how much of each estimate the data carry, learned from all pairs.

A pair's coupling ``theta_ij = M_ij / sqrt(beta_i beta_j)`` is zero or drawn from its group's slab,

    theta_ij ~ (1 - pi_g) delta_0 + pi_g N(mu_g, tau_g^2),

with ``pi_g, mu_g, tau_g`` estimated from the regime's own data by empirical Bayes. The slab's mean is
the group's template: a pair with little data is shrunk toward it, a group that shows nothing is
shrunk to zero. The posterior is found by coordinate ascent on the factorised approximation (Carbonetto
and Stephens 2012; Kim, Wang, Carbonetto and Stephens 2024), one pass of which costs as much as one of
the elastic net: a pair's update moves the residual gradients of its two rows only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from crossimpact.estimate.equations import Equations
from crossimpact.model import Array

SWEEPS = 500
TOLERANCE = 1e-4  # standard errors by which no estimate moves any more
PRIOR_PAIRS = 2.0  # pairs' worth of belief in the prior's own shape
PRIOR_SPREAD = 0.2  # of couplings in a slab, before data


@dataclass(frozen=True)
class Posterior:
    """What the data say of each pair.

    Attributes
    ----------
    coupling
        Posterior mean of theta, 0 weighed in, shape (n, n), symmetric, zero diagonal.
    slab
        Posterior mean of theta where the pair is coupled at all.
    spread
        Posterior standard deviation there.
    inclusion
        Probability that the pair is coupled at all.
    prior
        Per group ``(pi, mu, tau)``, shape (groups, 3).
    """

    coupling: Array
    slab: Array
    spread: Array
    inclusion: Array
    prior: Array


def fit_posterior(
    equations: Equations, scale: Array, group: NDArray[np.int64], start: Array | None = None
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
    start
        Couplings to start from, zero when None.
    """
    n, groups = len(scale), int(group.max(initial=0)) + 1
    upper = np.triu_indices(n, 1)
    theta = np.zeros((n, n)) if start is None else start.copy()
    curvature = pair_curvature(equations, scale)
    gradient = row_gradients(equations, scale * theta)
    prior = np.tile([0.2, 0.1, PRIOR_SPREAD], (groups, 1))
    inclusion, slab, spread = np.zeros((n, n)), np.zeros((n, n)), np.zeros((n, n))
    label = np.ascontiguousarray(group, dtype=np.int64)
    state = (theta, gradient, inclusion, slab, spread)
    seen = curvature[upper] > 0
    for _ in range(SWEEPS):
        moved = _sweep(*state, equations.gram, equations.basis, equations.weight, scale, curvature,
                       label, prior)  # fmt: skip
        prior = _learn(label[upper][seen], inclusion[upper][seen], slab[upper][seen],
                       spread[upper][seen], groups)  # fmt: skip
        if moved < TOLERANCE:
            break
    whole = [a + a.T for a in (np.triu(a, 1) for a in (theta, slab, spread, inclusion))]
    return Posterior(*whole, prior=prior)


def pair_curvature(equations: Equations, scale: Array) -> Array:
    """Second derivative of the squared error in each coupling, shape (n, n), zero diagonal."""
    own = np.diagonal(equations.gram)[None, :] - (equations.basis**2).sum(axis=2)
    rows = equations.weight[:, None] * np.maximum(own, 0.0)
    curvature = (rows + rows.T) * scale**2
    np.fill_diagonal(curvature, 0.0)
    return np.asarray(curvature)


def row_gradients(equations: Equations, M: Array) -> Array:
    """``X'E`` of each row's residuals under M, unweighted, shape (n, n), row i for name i."""
    inside = np.einsum("ijr,ij->ir", equations.basis, M)
    explained = M @ equations.gram - np.einsum("ijr,ir->ij", equations.basis, inside)
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


@numba.njit(cache=True)
def _sweep(theta, gradient, inclusion, slab, spread, gram, basis, weight, scale, curvature, group,
           prior):  # type: ignore[no-untyped-def]  # fmt: skip
    """One pass over all pairs; returns the largest move in standard errors."""
    n, rank, largest = len(weight), basis.shape[2], 0.0
    for i in range(n):
        for j in range(i + 1, n):
            h = curvature[i, j]
            if h <= 0.0:
                continue
            pi, mu, tau = prior[group[i, j]]
            force = scale[i, j] * (weight[i] * gradient[i, j] + weight[j] * gradient[j, i])
            estimate, noise = theta[i, j] + force / h, 1.0 / h
            wide = noise + tau * tau
            odds = np.log(pi / (1.0 - pi)) + 0.5 * (
                np.log(noise / wide) + estimate**2 / noise - (estimate - mu) ** 2 / wide
            )
            inclusion[i, j] = 1.0 / (1.0 + np.exp(-min(max(odds, -50.0), 50.0)))
            slab[i, j] = (estimate * tau * tau + mu * noise) / wide
            spread[i, j] = np.sqrt(noise * tau * tau / wide)
            step = inclusion[i, j] * slab[i, j] - theta[i, j]
            moved = abs(step) * np.sqrt(h)
            if moved < 1e-7:
                continue
            largest = max(largest, moved)
            theta[i, j] += step
            theta[j, i] = theta[i, j]
            change = scale[i, j] * step
            for k in range(n):
                gradient[i, k] -= change * gram[j, k]
                gradient[j, k] -= change * gram[i, k]
            for r in range(rank):
                a, b = change * basis[i, j, r], change * basis[j, i, r]
                for k in range(n):
                    gradient[i, k] += a * basis[i, k, r]
                    gradient[j, k] += b * basis[j, k, r]
    return largest


def _learn(
    group: NDArray[np.int64], inclusion: Array, slab: Array, spread: Array, groups: int
) -> Array:
    """The prior's ``(pi, mu, tau)`` per group that the present posteriors suggest."""
    pairs = np.bincount(group, minlength=groups)
    coupled = np.bincount(group, inclusion, groups)
    pi = (coupled + 0.25 * PRIOR_PAIRS) / (pairs + PRIOR_PAIRS)
    mu = np.bincount(group, inclusion * slab, groups) / (coupled + 0.5 * PRIOR_PAIRS)
    around = inclusion * ((slab - mu[group]) ** 2 + spread**2)
    tau2 = (np.bincount(group, around, groups) + PRIOR_PAIRS * PRIOR_SPREAD**2) / (
        coupled + PRIOR_PAIRS
    )
    return np.column_stack((np.clip(pi, 1e-6, 1 - 1e-6), mu, np.sqrt(tau2)))
