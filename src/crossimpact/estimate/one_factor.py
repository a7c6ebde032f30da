"""One common factor: every pair coupled in proportion to its names' exposures, ``M_ij = u_i u_j``.

The symmetric version of "my move on the sum of the others' flows". An exposure is at first
``sqrt(beta) ADV^p``, p of 0, 1/4 or 1/2 and one level for all names, whichever explains most; then
each name's own, shrunk to that by empirical Bayes,

    u_i = c_i v_i,    v_i ~ N(m, tau^2),

with m and tau learned from all names. A name of which the data say little (a twin of another,
hardly traded) keeps the common proportion. A thin regime starts from the exposures of the regime
with more data: who takes part is a matter of the names, how much the regime's own.

The level is positive (one-sided test): buying the market does not push it down. The matrix is then
positive semidefinite with the own impacts on its diagonal wherever ``u_i^2 <= beta_i``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from crossimpact.estimate.equations import Equations, common_regressor
from crossimpact.estimate.shrinkage import row_gradients
from crossimpact.estimate.template import loss, overdispersion, quadratic
from crossimpact.model import Array

STEPS, SETTLED = 100, 1e-10  # of Gauss-Newton, and the largest move of an exposure that ends them
ROUNDING = 1e-6  # of twice the log posterior: less is no overshoot, and must decide nothing
PRIOR_NAMES, PRIOR_SPREAD = 2.0, 0.3  # names' worth of belief in this spread of exposures
SIGNIFICANT = 1.645  # standard errors of the level, one-sided 5%


@dataclass(frozen=True)
class OneFactor:
    """A symmetric common factor in scaled space.

    Attributes
    ----------
    scaled, se
        ``M_ij = u_i u_j`` in bps and its standard errors, shape (n, n), zero diagonal.
    exposure
        u, root of bps, shape (n,); all zero when the level is not significant.
    level, level_se
        Of the proportional factor, on the exposures it started from; dimensionless.
    """

    scaled: Array
    se: Array
    exposure: Array
    level: float
    level_se: float


def fit_one_factor(
    equations: Equations, strengths: Array, factors: Array | None = None
) -> OneFactor:
    """The common factor, or nothing when its level is not significantly positive.

    Parameters
    ----------
    equations, factors
        All rows, and the correlation of their noise (independent when None).
    strengths
        Exposures to start from, the best of which is taken, shape (k, n): ``sqrt(beta) ADV^p``, or
        another regime's.
    """
    level, push, start = max(
        (_level(equations, exposure) for exposure in strengths),
        key=lambda found: found[0] * abs(found[0]) * found[1],
    )
    excess = overdispersion(equations, _pairs(start), factors)
    se = float(np.sqrt(excess / push)) if push > 0 else np.inf
    if not level > SIGNIFICANT * se:
        nothing = np.zeros_like(equations.gram)
        return OneFactor(nothing, nothing, np.zeros(len(start)), level, se)
    unit = np.sqrt(level) * start
    v, covariance = _exposures(equations, unit, excess)
    return OneFactor(_pairs(unit * v), _pair_errors(unit, v, covariance), unit * v, level, se)


def _pairs(exposure: Array) -> Array:
    shape = np.outer(exposure, exposure)
    np.fill_diagonal(shape, 0.0)
    return shape


def _level(equations: Equations, exposure: Array) -> tuple[float, float, Array]:
    """Least-squares level of the proportional factor, its information, and the exposure."""
    shape = _pairs(exposure)
    push = quadratic(equations, shape)
    answer = float((equations.weight[:, None] * shape * equations.xy).sum())
    return (answer / push if push > 0 else 0.0), push, exposure


def _exposures(equations: Equations, unit: Array, excess: float) -> tuple[Array, Array]:
    """Posterior mean and covariance of ``v``: exposures over the proportional ones `unit`."""
    n = len(unit)
    v, m, tau2 = np.ones(n), 1.0, PRIOR_SPREAD**2
    for _ in range(STEPS):
        information = _information(equations, unit, v) / excess + np.eye(n) / tau2
        covariance = cho_solve(cho_factor(information), np.eye(n))
        step = covariance @ (_score(equations, unit, v) / excess - (v - m) / tau2)
        step = _shortened(equations, unit, v, step, m, tau2, excess)
        v = v + step
        m = float(v.mean())
        around = float(((v - m) ** 2 + np.diagonal(covariance)).sum())
        tau2 = (around + PRIOR_NAMES * PRIOR_SPREAD**2) / (n + PRIOR_NAMES)
        if np.abs(step).max() < SETTLED:
            break
    return v, covariance


def _shortened(
    equations: Equations, unit: Array, v: Array, step: Array, m: float, tau2: float, excess: float
) -> Array:
    """The step, halved until the posterior is no less likely: products of exposures are no
    quadratic, and a whole step may overshoot further each time."""

    def unlikely(at: Array) -> float:
        return loss(equations, _pairs(unit * at)) / excess + float(((at - m) ** 2).sum()) / tau2

    now = unlikely(v)
    while unlikely(v + step) > now + ROUNDING and np.abs(step).max() > SETTLED:
        step = step / 2
    return step


def _score(equations: Equations, unit: Array, v: Array) -> Array:
    """Minus half the loss's slope in ``v``, shape (n,)."""
    u = unit * v
    pull = equations.weight[:, None] * row_gradients(equations, _pairs(u))
    np.fill_diagonal(pull, 0.0)
    return np.asarray(unit * ((pull + pull.T) @ u))


def _information(equations: Equations, unit: Array, v: Array) -> Array:
    """Half the loss's curvature in ``v`` (Gauss-Newton), shape (n, n).

    Row k's prediction moves by ``X (dv_k u_-k + u_k du_-k)``, in the metric of its own matrix
    ``G_k = gram - basis_k basis_k'``.
    """
    u, w, basis = unit * v, equations.weight, equations.basis
    _, seen, alone = common_regressor(equations, u)  # G_k u_-k
    mixed = (w * u)[:, None] * seen
    np.fill_diagonal(mixed, 0.0)
    size = w * u**2
    own_basis = np.einsum("kkr->kr", basis)
    own = size[:, None] * (equations.gram - np.einsum("kr,kjr->kj", own_basis, basis))
    shared = size.sum() * equations.gram - _weighted_outer(basis, size)
    shared = shared - own - own.T + np.diag(np.diagonal(own))  # no row regresses on its own flow
    return np.asarray((np.diag(w * alone) + mixed + mixed.T + shared) * np.outer(unit, unit))


def _weighted_outer(basis: Array, size: Array) -> Array:
    """``sum_k size_k basis_k basis_k'``, shape (n, n)."""
    flat = (basis * np.sqrt(size)[:, None, None]).transpose(1, 0, 2).reshape(basis.shape[1], -1)
    return np.asarray(flat @ flat.T)


def _pair_errors(unit: Array, v: Array, covariance: Array) -> Array:
    """Standard errors of ``u_i u_j`` (delta method), shape (n, n), zero diagonal."""
    variance = np.diagonal(covariance)
    inside = np.outer(v**2, variance)
    inside = inside + inside.T + 2 * np.outer(v, v) * covariance
    se = np.outer(unit, unit) * np.sqrt(np.maximum(inside, 0.0))
    np.fill_diagonal(se, 0.0)
    return se
