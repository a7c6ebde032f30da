"""Cross impact of one regime: template, deviations, shrinkage, and what is worth keeping.

On the model ``Y = M x + own terms and controls + noise`` in scaled space, one symmetric parameter
per pair, rows weighted by their noise:

1. **template** (`template`): what whole groups of pairs have in common, blocks or Kyle's matrix,
   whichever does better on held-out days;
2. **deviations** (`paths`): a joint elastic net on what the template leaves, its penalty chosen by
   blocked folds of days; the folds' supports are each pair's selection frequency;
3. **shrinkage** (`shrinkage`): from there, the posterior of every pair: nothing, the template's
   coupling, or its own from a slab with its group's mean. Pairs of a sector and pairs across are
   the groups. How often a pair is coupled at all is learned by strata of how surely the lead regime
   (the one with more data) found it coupled: *which* pairs are coupled is mostly a matter of the
   names, *how much* is the regime's own, and so is the weight it gives the strata;
4. rows are read again given what the others' residuals say of the common noise
   (`conditional`), and 3 is repeated;
5. **keep** a pair when its posterior inclusion passes a Bayesian false discovery rate (Newton et
   al. 2004), or it is of one sector and the sectors' common coupling is significant, and its
   expected effect at typical flow reaches the cost floor. A template's coupling below that floor
   includes no pair: a market of a hundredth of own impact would else make half of all pairs look
   coupled, and false ones come with them. Two lines whose flows nearly coincide are split first
   (`collinear`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from crossimpact.estimate import paths, shrinkage
from crossimpact.estimate.collinear import Twins, twins
from crossimpact.estimate.common import Lead, choose_template, common_factor
from crossimpact.estimate.equations import (
    Design,
    Equations,
    conditional,
    per_bucket,
)
from crossimpact.estimate.folds import Folded
from crossimpact.estimate.kept_pairs import discoveries, joint_spread, significant_sectors
from crossimpact.estimate.one_factor import OneFactor
from crossimpact.estimate.penalty import Penalty
from crossimpact.estimate.template import Template
from crossimpact.model import Array
from crossimpact.panel import Panel
from crossimpact.release.policy import DEFAULT, RefitPolicy

L1_RATIO = 0.9
LAMBDAS, SMALLEST = 20, 0.1  # penalties, and the last as a share of the first
PATIENCE = 2  # penalties in a row that are worse than the best end the path: its end costs most
PATH_TOLERANCE = 1e-8  # of the elastic net: another processor's rounding nominates the same
ROUNDS = 2  # of shrinkage; the second knows the first's residuals
LEAD = (0.1, 0.5, 0.9)  # strata of the lead regime's inclusion


@dataclass(frozen=True)
class CrossFit:
    """Cross impact of one regime in scaled space, all (n, n) and symmetric. Standard errors and the
    common factor are worked out when asked for: most fits of a walk-forward are for neither.

    Attributes
    ----------
    template
        What whole groups of pairs have in common.
    scaled
        ``gamma_ij sqrt(adv_i / adv_j)`` in bps, zero diagonal.
    inclusion
        Posterior probability that a pair is coupled: by its own slab, or as the template says where
        that reaches the cost floor.
    start
        All pairs' posterior mean as couplings, where a fit on more days begins.
    likely, likely_se
        Posterior mean of the pairs that are coupled more likely than not, kept or not, and standard
        deviation of any.
    frequency
        Share of the time folds in which the elastic net selects the pair; NaN with a single day.
    stability
        Penalties (largest first) and, for each, that share: shapes (L,) and (L, n, n).
    kept
        Pairs that are not zero.
    share
        Part of the response that is the fills' slippage; the rest is the mid move.
    prior
        ``(pi, omega, mu, tau)`` of each stratum, see `shrinkage`.
    twins
        Pairs that cannot be told apart.
    design
        What it was fitted on.
    """

    template: Template
    scaled: Array
    inclusion: Array
    start: Start
    likely: Array
    likely_se: Array
    frequency: Array
    stability: tuple[Array, Array]
    kept: int
    share: float
    prior: Array
    twins: Twins
    design: Design = field(repr=False)
    _errors: Callable[[], Array] = field(repr=False)
    _factor: Callable[[], OneFactor] = field(repr=False)

    @cached_property
    def se(self) -> Array:
        """Posterior standard deviation where `scaled` is not zero, NaN elsewhere."""
        return np.where(self.scaled != 0, self._errors(), np.nan)

    @cached_property
    def factor(self) -> OneFactor:
        """What all names have in common, symmetric in dollars."""
        return self._factor()


class Start(NamedTuple):
    """Where the posterior begins: couplings, (n, n), and the prior of a fit on fewer days."""

    coupling: Array
    prior: Array | None


def fit_cross(
    found: Folded,
    panel: Panel,
    beta: Array,
    lead: Lead | None = None,
    beta_se: Array | None = None,
    policy: RefitPolicy = DEFAULT.refit,
    start: Start | None = None,
    frequency: bool = True,
) -> CrossFit:
    """Estimate the cross terms of one regime.

    Parameters
    ----------
    found
        The regime's equations, whole and by fold of days.
    panel
        Names, sectors, ADV and typical flows; its buckets are not read.
    beta
        Self impact, bps per unit of ADV fraction, shape (n,).
    lead
        What the regime with more data lends; None when this is it.
    beta_se
        Standard errors of `beta`: a template's pair is only as sure as its scale.
    policy
        Which pairs are kept: false discovery rate, and least coupling at typical flow.
    start
        Of an earlier fit, on some of the days; at the template without one.
    frequency
        Whether the folds' elastic nets are asked how often each selects a pair; the posterior then
        begins at the best of them.
    """
    whole, folds, scale = found.whole, found.folds, np.sqrt(np.outer(beta, beta))
    common = choose_template(whole, folds, panel, beta, lead)
    selected, stability = np.full(scale.shape, np.nan), (np.empty(0), np.empty((0, *scale.shape)))
    first = start or Start(_couplings(common.scaled, scale), None)
    if frequency:
        coupling, selected, stability = _deviations(whole, folds, common, scale)
        first = Start(coupling, None)
    group, stratum = _groups(panel, None if lead is None else lead.inclusion)
    doubt = _scale_doubt(beta, beta_se)
    posterior, equations = _posterior(whole, scale, group, stratum, common, doubt, first)
    alike = twins(whole.equations.gram, whole.noise)
    coupling, twin_se = _with_twins(alike, equations, posterior.coupling, scale)
    per_unit = bps_per_unit(panel)
    shared_counts = np.abs(common.scaled) * per_unit >= policy.min_edge_bps
    inclusion = np.where(shared_counts, posterior.inclusion, posterior.own)
    coupled = alike.pairs | discoveries(inclusion, policy.false_discovery_rate)
    coupled |= significant_sectors(whole, posterior.coupling * scale, group, scale)
    M = coupling * scale
    keep = coupled & (np.abs(M) * per_unit >= policy.min_edge_bps)
    return CrossFit(
        template=common,
        scaled=np.where(keep, M, 0.0),
        inclusion=inclusion,
        start=Start(posterior.coupling, posterior.prior),
        likely=np.where((inclusion > 0.5) | alike.pairs, M, 0.0),
        likely_se=posterior.spread * scale,
        frequency=selected,
        stability=stability,
        kept=int(np.triu(keep, 1).sum()),
        share=whole.share,
        prior=posterior.prior,
        twins=alike,
        design=whole,
        _errors=lambda: (
            scale
            * np.where(alike.pairs, twin_se, joint_spread(equations, scale, posterior, group, keep))
        ),
        _factor=lambda: common_factor(whole, panel, beta, lead),
    )


def bps_per_unit(panel: Panel) -> Array:
    """bps at typical flow per unit of ``M_ij``, the larger side of each pair, shape (n, n)."""
    root = np.sqrt(panel.adv)
    effect = panel.typical_flow()[None, :] * root[None, :] / root[:, None]
    return np.asarray(np.maximum(effect, effect.T))


# -- deviations ---------------------------------------------------------------------------------


def _deviations(
    whole: Design, folds: Sequence[tuple[Design, Design]], common: Template, scale: Array
) -> tuple[Array, Array, tuple[Array, Array]]:
    """Couplings of the best joint elastic net, each pair's selection frequency, stability paths."""
    n = len(scale)
    start, nothing = _couplings(common.scaled, scale), np.full((n, n), np.nan)
    if not folds:
        return start, nothing, (np.empty(0), np.empty((0, n, n)))
    penalty = Penalty(l1_ratio=L1_RATIO, offset=common.scaled, tolerance=PATH_TOLERANCE)
    equations = per_bucket(whole)
    lambdas = paths.pair_lambdas(equations, penalty, LAMBDAS, SMALLEST)
    if not lambdas[0] > 0:
        return start, nothing, (np.empty(0), np.empty((0, n, n)))
    trained, held_out = zip(*((per_bucket(a), per_bucket(b)) for a, b in folds), strict=True)
    judged = paths.cross_validate_pairs(trained, held_out, penalty, lambdas, PATIENCE)
    best = int(judged.best[0])
    path = paths.pair_paths(equations, penalty, lambdas[best : best + 1])[0]
    shares = judged.selected / len(folds)
    return _couplings(path, scale), shares[best], (lambdas[: len(shares)], shares)


# -- shrinkage ---------------------------------------------------------------------------------


def _groups(panel: Panel, lead: Array | None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Group of each pair, of one sector or across, and the stratum of the lead's inclusion."""
    sector = np.array(panel.sectors)
    group = np.where(sector[:, None] == sector[None, :], 0, 1)
    return group, np.zeros_like(group) if lead is None else np.digitize(lead, LEAD)


def _posterior(
    whole: Design, scale: Array, group: NDArray[np.int64], stratum: NDArray[np.int64],
    common: Template, doubt: Array, first: Start,
) -> tuple[shrinkage.Posterior, Equations]:  # fmt: skip
    """The pairs' posterior, and the equations it was found on."""
    equations, centre = whole.equations, _couplings(common.scaled, scale)
    stray = None if common.spread is None else _couplings(common.spread, scale)
    centre_se = np.hypot(_couplings(common.se, scale), centre * doubt)
    start, prior = first
    for step in range(0 if first.prior is None else 1, ROUNDS):
        if step:
            left = shrinkage.row_gradients(whole.equations, scale * start)
            np.fill_diagonal(left, 0.0)  # own flow is in every row's nuisance
            equations = conditional(whole.equations, whole.precision, left)
        posterior = shrinkage.fit_posterior(
            equations,
            scale,
            group,
            stratum=stratum,
            common=centre,
            common_se=centre_se,
            common_spread=stray,
            start=start,
            prior=prior,
        )
        start, prior = posterior.coupling, posterior.prior
    return posterior, equations


def _with_twins(
    alike: Twins, equations: Equations, coupling: Array, scale: Array
) -> tuple[Array, Array]:
    """The couplings, pairs that cannot be told apart split, and the errors of these."""
    if not alike.pairs.any():
        return coupling, np.full_like(coupling, np.nan)
    curvature = shrinkage.pair_curvature(equations, scale)
    pull = equations.weight[:, None] * shrinkage.row_gradients(equations, scale * coupling)
    split, se = alike.told(coupling, scale * (pull + pull.T), curvature)
    return np.where(alike.pairs, split, coupling), se


def _scale_doubt(beta: Array, beta_se: Array | None) -> Array:
    """Relative standard error of ``sqrt(beta_i beta_j)``, at most 1, shape (n, n)."""
    se = np.zeros_like(beta) if beta_se is None else np.nan_to_num(beta_se, nan=np.inf)
    relative = np.minimum(np.divide(se, beta, out=np.ones_like(beta), where=beta > 0), 1.0)
    return np.asarray(np.hypot(relative[:, None], relative[None, :]) / 2)


def _couplings(scaled: Array, scale: Array) -> Array:
    return np.divide(scaled, scale, out=np.zeros_like(scaled), where=scale > 0)
