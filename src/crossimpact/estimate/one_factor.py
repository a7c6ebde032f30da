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
from scipy.linalg import eigh

from crossimpact.estimate.equations import Equations, common_regressor, spread_out
from crossimpact.estimate.template import Grouped, overdispersion, quadratic
from crossimpact.model import Array

STEPS, SETTLED = 100, 1e-9  # of Gauss-Newton, and the largest move of an exposure that ends them
CHORD = 0.1  # largest move after which the curvature is taken as it was
EM_STEPS, EM_SETTLED = 1000, 1e-12  # of the exposures' spread, and its relative move that ends them
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
    everyone = np.zeros(len(start), dtype=np.int64)
    excess = overdispersion(equations, Grouped(start, everyone), factors)
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


@dataclass(frozen=True)
class _Rows:
    """What the rows say of exposures u: ``G_k u_-k`` (n, n) and ``u_-k' G_k u_-k`` of each, and the
    loss of the factor."""

    seen: Array
    alone: Array
    loss: float


def _rows(equations: Equations, u: Array) -> _Rows:
    others, seen, alone = common_regressor(equations, u)
    answer = (others * equations.xy).sum(axis=1)
    loss = equations.weight @ (u**2 * alone - 2 * u * answer)
    return _Rows(seen, alone, float(loss))


def _exposures(equations: Equations, unit: Array, excess: float) -> tuple[Array, Array]:
    """Posterior mean and covariance of ``v``: exposures over the proportional ones `unit`.

    Gauss-Newton; the curvature is kept once steps are small, where it hardly changes any more.
    """
    n = len(unit)
    v, m, tau2, moved = np.ones(n), 1.0, PRIOR_SPREAD**2, np.inf
    rows = _rows(equations, unit * v)
    for _ in range(STEPS):
        if moved > CHORD:
            curvature, axes = eigh(_information(equations, unit, v, rows) / excess)
        pull = curvature * (v @ axes) + (_score(equations, unit, v, rows) / excess) @ axes
        along, m, tau2 = _spread_of(curvature, pull, axes.sum(axis=0), m, tau2)
        v, rows, moved = _stepped(equations, unit, v, axes @ along - v, m, tau2, excess, rows)
        if moved < SETTLED:
            break
    return v, np.asarray((axes / (curvature + 1 / tau2)) @ axes.T)


def _spread_of(
    curvature: Array, pull: Array, ones: Array, m: float, tau2: float
) -> tuple[Array, float, float]:
    """Posterior mean of ``v`` along the axes of a quadratic likelihood, and the m and tau^2 that
    all names suggest (EM; every number it needs is a sum along the axes)."""
    n = len(pull)
    for _ in range(EM_STEPS):
        along = (pull + m * ones / tau2) / (curvature + 1 / tau2)
        m = float(along @ ones) / n
        around = float(along @ along) - n * m**2 + float((1 / (curvature + 1 / tau2)).sum())
        last, tau2 = tau2, (around + PRIOR_NAMES * PRIOR_SPREAD**2) / (n + PRIOR_NAMES)
        if abs(tau2 - last) < EM_SETTLED * tau2:
            break
    return along, m, tau2


def _stepped(
    equations: Equations, unit: Array, v: Array, step: Array, m: float, tau2: float,
    excess: float, rows: _Rows,
) -> tuple[Array, _Rows, float]:  # fmt: skip
    """``v`` after the step, halved until the posterior is no less likely: products of exposures
    are no quadratic, and a whole step may overshoot further each time."""

    def unlikely(at: Array, of: _Rows) -> float:
        return of.loss / excess + float(((at - m) ** 2).sum()) / tau2

    now = unlikely(v, rows)
    while True:
        there = _rows(equations, unit * (v + step))
        moved = float(np.abs(step).max(initial=0.0))
        if unlikely(v + step, there) <= now + ROUNDING or moved <= SETTLED:
            return v + step, there, moved
        step = step / 2


def _score(equations: Equations, unit: Array, v: Array, rows: _Rows) -> Array:
    """Minus half the loss's slope in ``v``, shape (n,)."""
    u = unit * v
    pull = equations.weight[:, None] * (equations.xy - u[:, None] * rows.seen)
    np.fill_diagonal(pull, 0.0)
    return np.asarray(unit * (pull @ u + u @ pull))


def _information(equations: Equations, unit: Array, v: Array, rows: _Rows) -> Array:
    """Half the loss's curvature in ``v`` (Gauss-Newton), shape (n, n).

    Row k's prediction moves by ``X (dv_k u_-k + u_k du_-k)``, in the metric of its own matrix
    ``G_k = gram - basis_k basis_k'``.
    """
    u, w, basis = unit * v, equations.weight, equations.basis
    mixed = (w * u)[:, None] * rows.seen
    np.fill_diagonal(mixed, 0.0)
    size = w * u**2
    own_basis = np.einsum("kkr->kr", basis)
    own = size[:, None] * (equations.gram - spread_out(basis, own_basis))
    shared = size.sum() * equations.gram - _weighted_outer(basis, size)
    shared = shared - own - own.T + np.diag(np.diagonal(own))  # no row regresses on its own flow
    return np.asarray((np.diag(w * rows.alone) + mixed + mixed.T + shared) * np.outer(unit, unit))


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
