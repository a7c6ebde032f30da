"""Cross impact of one regime: template, sparse deviations, shrinkage, and what is worth keeping.

On the model ``Y = M x + own terms and controls + noise`` in scaled space, one symmetric parameter per
pair, rows weighted by their noise:

1. **template** (`template`): what whole groups of pairs have in common, blocks or Kyle's matrix,
   whichever does better on held-out days;
2. **deviations** (`paths`): a joint elastic net on what the template leaves, its penalty chosen by
   blocked folds of days; the folds' supports are each pair's selection frequency;
3. **shrinkage** (`shrinkage`): from there, the posterior of every pair under a spike-and-slab prior
   whose slab has the group's own mean. Pairs of a sector and pairs across are groups of their own,
   split by how surely the lead regime (the one with more data) found the pair coupled: *which* pairs
   are coupled is mostly a matter of the names, *how much* is the regime's own and learned from its
   own buckets;
4. rows are read again given what the others' residuals say of the common noise
   (`gram.conditional`), and 3 is repeated;
5. **keep** a pair when its posterior inclusion passes a Bayesian false discovery rate (Newton et al.
   2004), or its whole group is significant, and its expected effect at typical flow reaches the
   cost floor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossimpact.estimate import gram, paths, shrinkage, template
from crossimpact.estimate.design import Panel
from crossimpact.estimate.equations import Equations
from crossimpact.estimate.gram import Design, Moments
from crossimpact.estimate.template import Template
from crossimpact.model import Array

FOLDS = 5
L1_RATIO = 0.9
LAMBDAS = 40
ROUNDS = 2  # of shrinkage; the second knows the first's residuals
FDR = 0.2  # expected share of kept pairs that are not coupled
MIN_EDGE_BPS = 0.1  # at typical flow: below it no schedule changes
LEAD = (0.1, 0.5, 0.9)  # strata of the lead regime's inclusion
MAX_JOINT = 3000  # pairs whose joint covariance is still worth a Cholesky factor


@dataclass(frozen=True)
class CrossFit:
    """Cross impact of one regime in scaled space, all (n, n) and symmetric.

    Attributes
    ----------
    template
        What whole groups of pairs have in common.
    scaled, se
        ``gamma_ij sqrt(adv_i / adv_j)`` in bps, zero diagonal; posterior standard deviation where
        it is not zero, NaN elsewhere.
    inclusion
        Posterior probability that a pair is coupled at all.
    frequency
        Share of the time folds in which the elastic net selects the pair; NaN with a single day.
    stability
        Penalties (largest first) and, for each, that share: shapes (L,) and (L, n, n).
    kept
        Pairs that are not zero.
    share
        Part of the response that is the fills' slippage; the rest is the mid move.
    prior
        ``(pi, mu, tau)`` of each group, see `shrinkage`.
    """

    template: Template
    scaled: Array
    se: Array
    inclusion: Array
    frequency: Array
    stability: tuple[Array, Array]
    kept: int
    share: float
    prior: Array


def fit_cross(
    days: Sequence[Moments],
    panel: Panel,
    beta: Array,
    reference: Array | None = None,
    lead: Array | None = None,
) -> CrossFit:
    """Estimate the cross terms of one regime.

    Parameters
    ----------
    days
        The regime's moments by day, in time order.
    panel
        Names, sectors, ADV and typical flows; its buckets are not read.
    beta
        Self impact, bps per unit of ADV fraction, shape (n,).
    reference
        Reference flows under the square-root transform.
    lead
        Posterior inclusion in the regime with more data, shape (n, n); None when this is it.
    """
    whole = gram.summed(days, panel, reference)
    scale = np.sqrt(np.outer(beta, beta))
    folds = gram.folded(days, panel, reference, FOLDS)
    common = _choose_template(whole, folds, panel, beta, days, reference)
    start, frequency, stability = _deviations(whole, folds, common, scale)
    group = _groups(panel, lead)
    posterior = _posterior(whole, scale, group, start)
    per_unit = bps_per_unit(panel)
    coupled = _discoveries(posterior.inclusion)
    coupled |= _significant_groups(whole.equations, posterior.coupling * scale, group % 2, scale)
    M = posterior.coupling * scale
    keep = coupled & (np.abs(M) * per_unit >= MIN_EDGE_BPS)
    spread = _spread(whole.equations, scale, posterior, group, keep)
    return CrossFit(
        template=common,
        scaled=np.where(keep, M, 0.0),
        se=np.where(keep, spread * scale, np.nan),
        inclusion=posterior.inclusion,
        frequency=frequency,
        stability=stability,
        kept=int(np.triu(keep, 1).sum()),
        share=whole.share,
        prior=posterior.prior,
    )


def bps_per_unit(panel: Panel) -> Array:
    """bps at typical flow per unit of ``M_ij``, the larger side of each pair, shape (n, n)."""
    root = np.sqrt(panel.adv)
    effect = panel.typical_flow()[None, :] * root[None, :] / root[:, None]
    return np.asarray(np.maximum(effect, effect.T))


# -- template and deviations -------------------------------------------------------------------


def _choose_template(
    whole: Design, folds: Sequence[tuple[Equations, Equations]], panel: Panel, beta: Array,
    days: Sequence[Moments], reference: Array | None,
) -> Template:  # fmt: skip
    """Blocks, Kyle's matrix or none: the least loss on held-out days."""
    moments = gram.total(day.on(panel.symbols) for day in days)
    flow = whole.equations.gram / max(whole.buckets, 1)
    root = np.sqrt(panel.adv)
    moves = moments.rr * np.outer(root, root) / max(whole.buckets, 1)

    def blocks(e: Equations) -> Template:
        return template.fit_blocks(e, beta, panel.sectors)

    def kyle(e: Equations) -> Template:
        return template.fit_kyle(e, flow, moves)

    losses = [
        sum(template.loss(test, family(train).scaled) for train, test in folds)
        for family in (blocks, kyle)
    ]
    return kyle(whole.equations) if losses[1] < losses[0] else blocks(whole.equations)


def _deviations(
    whole: Design, folds: Sequence[tuple[Equations, Equations]], common: Template, scale: Array
) -> tuple[Array, Array, tuple[Array, Array]]:
    """Couplings of the best joint elastic net, each pair's selection frequency, stability paths."""
    n = len(scale)
    nothing = np.full((n, n), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        start = np.where(scale > 0, common.scaled / scale, 0.0)
    if not folds:
        return start, nothing, (np.empty(0), np.empty((0, n, n)))
    penalty = paths.Penalty(l1_ratio=L1_RATIO, offset=common.scaled)
    equations = gram.per_bucket(whole)
    lambdas = paths.pair_lambdas(equations, penalty, LAMBDAS, 0.03)
    if not lambdas[0] > 0:
        return start, nothing, (np.empty(0), np.empty((0, n, n)))
    trained, held_out = zip(*folds, strict=True)
    judged = paths.cross_validate_pairs(trained, held_out, penalty, lambdas)
    best = int(np.argmin(judged.loss.sum(axis=(0, 2))))
    path = paths.pair_paths(equations, penalty, lambdas[: best + 1])[-1]
    shares = judged.selected / len(folds)
    with np.errstate(divide="ignore", invalid="ignore"):
        start = np.where(scale > 0, path / scale, 0.0)
    return start, shares[best], (lambdas, shares)


# -- shrinkage ---------------------------------------------------------------------------------


def _groups(panel: Panel, lead: Array | None) -> NDArray[np.int64]:
    """Group of each pair: of one sector or across, times the strata of the lead's inclusion."""
    sector = np.array(panel.sectors)
    group = np.where(sector[:, None] == sector[None, :], 0, 1)
    return group if lead is None else group + 2 * np.digitize(lead, LEAD)


def _posterior(
    whole: Design, scale: Array, group: NDArray[np.int64], start: Array
) -> shrinkage.Posterior:
    equations = whole.equations
    for _ in range(ROUNDS):
        posterior = shrinkage.fit_posterior(equations, scale, group, start)
        start = posterior.coupling
        left = shrinkage.row_gradients(whole.equations, scale * start)
        np.fill_diagonal(left, 0.0)  # own flow is in every row's nuisance
        equations = gram.conditional(whole, left)
    return posterior


def _discoveries(inclusion: Array) -> NDArray[np.bool_]:
    """The largest set of pairs whose mean probability of not being coupled is at most `FDR`."""
    upper = np.triu_indices(len(inclusion), 1)
    null = 1.0 - inclusion[upper]
    order = np.argsort(null, kind="stable")
    rate = np.cumsum(null[order]) / np.arange(1, null.size + 1)
    chosen = np.zeros(null.size, dtype=bool)
    chosen[order[: int((rate <= FDR).sum())]] = True
    keep = np.zeros(inclusion.shape, dtype=bool)
    keep[upper] = chosen
    return keep | keep.T


def _significant_groups(
    equations: Equations, M: Array, group: NDArray[np.int64], scale: Array
) -> NDArray[np.bool_]:
    """Pairs of groups whose common coupling is significant, family-wise over the groups."""
    groups = int(group.max(initial=0)) + 1
    shapes = [np.where(group == g, scale, 0.0) for g in range(groups)]
    for shape in shapes:
        np.fill_diagonal(shape, 0.0)
    keep = np.zeros(M.shape, dtype=bool)
    for g, shape in enumerate(shapes):
        push = template.quadratic(equations, shape)
        others = np.where(group == g, 0.0, M)
        left = shrinkage.row_gradients(equations, others)
        z = float((equations.weight[:, None] * shape * left).sum()) / np.sqrt(max(push, 1e-300))
        keep |= (group == g) & (abs(z) > template.cutoff(groups))
    return keep


def _spread(
    equations: Equations, scale: Array, posterior: shrinkage.Posterior,
    group: NDArray[np.int64], keep: NDArray[np.bool_],
) -> Array:  # fmt: skip
    """Posterior standard deviations of the kept couplings, shape (n, n).

    Within the slab from the kept pairs' joint covariance (the factorised posterior's own spread is
    too small where flows go together), plus what not knowing whether the pair is coupled adds.
    """
    first, second = np.nonzero(np.triu(keep, 1))
    within = posterior.spread.copy()
    if 0 < first.size <= MAX_JOINT:
        joint = shrinkage.joint_curvature(equations, scale, first, second)
        joint[np.diag_indices_from(joint)] += posterior.prior[group[first, second], 2] ** -2
        within[first, second] = np.sqrt(np.diagonal(np.linalg.inv(joint)))
        within[second, first] = within[first, second]
    p = posterior.inclusion
    return np.asarray(np.sqrt(p * within**2 + p * (1 - p) * posterior.slab**2))
