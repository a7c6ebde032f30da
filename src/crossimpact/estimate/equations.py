"""Normal equations of every row at once, from one Gram matrix shared by all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.linalg import eigh

from crossimpact.estimate.gram import Moments
from crossimpact.estimate.weighted_rows import Sums, total
from crossimpact.model import Array
from crossimpact.panel import OWN, Panel

MIN_COVERAGE = 0.2  # of the buckets; a name whose mid is known less often has no row
STALE = 1e-6  # of other names' squared moves: below it a mid is no book, and its name has no row
MAX_COMMUNALITY = 0.9  # of a name's noise that common factors may explain
COLLINEAR = 1e-9  # share of a flow's square left by the nuisance below which nothing is left


@dataclass(frozen=True)
class Equations:
    """Weighted normal equations of all rows ``Y_i = sum_j M_ij x_j + nuisance + noise``.

    Every row regresses on the same flows, so all share one Gram matrix; what differs, its own
    terms and controls, is partialled out as a downdate of low rank (Frisch-Waugh-Lovell). Row i's
    matrix is ``weight[i] (gram - basis[i] basis[i]')`` and its right-hand side
    ``weight[i] xy[i]``; its own row and column are never used.

    Attributes
    ----------
    gram
        ``X'X`` of the scaled flows, shape (n, n).
    basis
        ``X'B_i (B_i'B_i)^-1/2`` of each row's nuisance columns B_i, shape (n, n, r).
    xy
        ``X'Y_i`` with the nuisance taken out of Y_i, shape (n, n), row i for name i.
    weight
        One over the noise variance of each row's response, shape (n,); 0 leaves a row out.
    """

    gram: Array
    basis: Array
    xy: Array
    weight: Array


@dataclass(frozen=True)
class Design:
    """What the days' sums say once every row's own terms are out.

    Attributes
    ----------
    equations
        Scaled normal equations of all rows, weights one over the noise variance.
    share
        Part of the response that is the fills' slippage; the rest is the mid move.
    noise
        ``R'R`` of what own terms leave of the mid moves, unscaled, shape (n, n).
    buckets
        How many were summed.
    """

    equations: Equations
    share: float
    noise: Array
    buckets: int

    @cached_property
    def factors(self) -> Array:
        """Correlation of the rows' noise: its common factors, unit diagonal, shape (n, n)."""
        return _factors(self.noise, self.buckets)

    @cached_property
    def precision(self) -> Array:
        """Inverse of that correlation."""
        return np.asarray(np.linalg.inv(self.factors))


def design(moments: Moments, adv: Array, reference: Array | None = None) -> Design:
    """Take every row's own terms out and weigh the rows by their noise.

    Parameters
    ----------
    moments
        Days summed, on the names of `adv`.
    adv
        Average daily notional, shape (n,): the scaled space is ``x_j = f_j sqrt(adv_j)``.
    reference
        Reference flows of the square-root transform, ``f = sign(q) sqrt(|q| reference)``.
    """
    root, n = np.sqrt(adv), len(adv)
    flow = root if reference is None else root * np.sqrt(reference)
    coverage = moments.seen[0] / np.maximum(moments.seen[1], 1e-300)
    inverse = np.where(coverage > MIN_COVERAGE, 1 / np.maximum(coverage, MIN_COVERAGE), 0.0)
    white = _whiteners(moments.bb)
    basis = (moments.fb * flow[None, :, None]) @ white
    b_mid = np.einsum("ik,ikl->il", moments.bm, white)
    b_fill = np.einsum("ik,ikl->il", moments.bd, white)
    explained = {  # B_i was summed over all buckets, the responses over those that are known
        "mm": inverse * (b_mid**2).sum(axis=1),
        "md": inverse * (b_mid * b_fill).sum(axis=1),
        "dd": inverse * (b_fill**2).sum(axis=1),
    }
    left = {
        "mm": np.maximum(moments.mm - explained["mm"], 0.0),
        "md": moments.md - explained["md"],
        "dd": np.maximum(moments.dd - explained["dd"], 0.0),
    }
    share = _slippage_share(**left)
    y = left["mm"] + 2 * share * left["md"] + share**2 * left["dd"]
    variance = inverse * y / np.maximum(moments.seen[1], 1e-300)
    variance *= moments.buckets / max(moments.buckets - OWN, 1)
    typical = _median_positive(variance)
    moves = moments.mm > STALE * _median_positive(moments.mm)
    gram = moments.ff * np.outer(flow, flow)
    known = (variance > 0) & (inverse > 0) & moves & remaining(gram, basis).any(axis=1)
    weight = np.where(known, coverage / (adv * np.maximum(variance, typical / 900 + 1e-300)), 0.0)
    xy = (moments.fm + share * moments.fd) * flow
    xy = xy - spread_out(basis, b_mid + share * b_fill)
    xy = np.where(np.eye(n, dtype=bool), 0.0, xy * (inverse * root)[:, None])
    equations = Equations(gram, basis, xy, weight)
    return Design(equations, share, moments.rr, moments.buckets)


def summed(
    days: Sequence[Sums], panel: Panel, reference: Array | None, market: Array | None = None
) -> Design:
    """Days summed, and every row's own terms taken out; the market's flow too, the others' flows
    weighted by `market`, when given."""
    whole = design(total(day.on(panel.symbols) for day in days), panel.adv, reference)
    return whole if market is None else without_market(whole, market)


def without_market(whole: Design, market: Array) -> Design:
    """The others' flows weighted by `market` among every row's nuisance columns."""
    e = whole.equations
    others, seen, push = common_regressor(e, market)
    size = np.sqrt(np.where(push > 0, push, np.inf))
    column = seen / size[:, None]
    xy = e.xy - column * ((others * e.xy).sum(axis=1) / size)[:, None]
    np.fill_diagonal(xy, 0.0)
    basis = np.concatenate((e.basis, column[:, :, None]), axis=2)
    weight = np.where(remaining(e.gram, basis).any(axis=1), e.weight, 0.0)
    return replace(whole, equations=replace(e, basis=basis, xy=xy, weight=weight))


def remaining(gram: Array, basis: Array) -> Array:
    """What each row's nuisance leaves of the square of every other name's flow, shape (n, n).

    Zero where that is rounding, as for a name that traded on its own, or always in proportion: a
    row with nothing left tells nothing of M, and the rounding must not.
    """
    flow = np.diagonal(gram)
    left = flow - np.einsum("ijr,ijr->ij", basis, basis)
    left[left <= COLLINEAR * flow] = 0.0
    np.fill_diagonal(left, 0.0)
    return np.asarray(left)


def own_share(basis: Array, M: Array) -> Array:
    """What each row of M is in its own terms, ``basis_i' M_i``, shape (n, r)."""
    return np.asarray(np.matmul(M[:, None, :], basis)[:, 0])


def spread_out(basis: Array, share: Array) -> Array:
    """``basis_i share_i`` of each row, shape (n, n)."""
    return np.asarray(np.matmul(basis, share[:, :, None])[:, :, 0])


def common_regressor(equations: Equations, market: Array) -> tuple[Array, Array, Array]:
    """Each row's weights of the others' flows w_i (n, n), ``G_i w_i`` (n, n), ``w_i' G_i w_i``."""
    others = np.tile(market, (len(market), 1))
    np.fill_diagonal(others, 0.0)
    basis = equations.basis
    own = np.einsum("iir->ir", basis)
    inside = market @ basis - market[:, None] * own
    seen = (market @ equations.gram)[None, :] - market[:, None] * equations.gram
    seen -= spread_out(basis, inside)
    return others, seen, (seen * others).sum(axis=1)


def per_bucket(design: Design) -> Equations:
    """The equations with weights per bucket: penalties then mean the same in every fold."""
    e = design.equations
    return replace(e, weight=e.weight / max(design.buckets, 1))


def _median_positive(values: Array) -> float:
    positive = values[values > 0]
    return float(np.median(positive)) if positive.size else 0.0


def _whiteners(bb: Array) -> Array:
    """``(B_i'B_i)^-1/2`` of each name, shape (n, 4, 4); a constant or doubled column adds none."""
    size = np.sqrt(np.diagonal(bb, axis1=1, axis2=2))
    inverse = np.divide(1.0, size, out=np.zeros_like(size), where=size > 0)
    values, vectors = np.linalg.eigh(bb * inverse[:, :, None] * inverse[:, None, :])
    kept = values > 1e-8
    root = np.where(kept, 1 / np.sqrt(np.where(kept, values, 1.0)), 0.0)
    return np.asarray(inverse[:, :, None] * vectors * root[:, None, :])


def _slippage_share(mm: Array, md: Array, dd: Array) -> float:
    """The mix of mid move and slippage with the least noise, ``-cov(m, d) / var(d)``, pooled."""
    known = (mm > 1e-9 * mm.max(initial=0.0)) & (dd > 0)
    if not known.any():
        return 0.0
    covariance, variance = (md[known] / mm[known]).sum(), (dd[known] / mm[known]).sum()
    return float(np.clip(-covariance / variance, 0.0, 1.0))


def _factors(rr: Array, buckets: int) -> Array:
    """Common factors of the noise: eigenvalues beyond what independent noise shows (Marchenko and
    Pastur 1967), the rest of each name's variance its own."""
    n = len(rr)
    size = np.sqrt(np.diagonal(rr))
    inverse = np.divide(1.0, size, out=np.zeros(n), where=size > 0)
    edge = (1 + np.sqrt(n / max(buckets, 1))) ** 2
    values, vectors = eigh(rr * np.outer(inverse, inverse), subset_by_value=(edge, np.inf))
    factors = (vectors * (values - 1)) @ vectors.T
    communality = np.minimum(np.diagonal(factors), MAX_COMMUNALITY)
    shrink = np.sqrt(communality / np.maximum(np.diagonal(factors), 1e-300))
    factors = factors * np.outer(shrink, shrink)
    np.fill_diagonal(factors, 1.0)
    return np.asarray(factors)


def conditional(equations: Equations, precision: Array, gradient: Array) -> Equations:
    """Equations of each name's move given what the model leaves of the others' moves.

    With noise that has common factors, the part of a name's noise its peers show can be taken off
    before its row is read: generalised least squares (Zellner 1962), one step from `gradient`.

    Parameters
    ----------
    precision
        Inverse of the noise correlation, `Design.precision`.
    gradient
        ``X'E`` of the present fit's residuals, row k for name k, unweighted, shape (n, n).
    """
    known = equations.weight > 0
    root = np.sqrt(np.where(known, equations.weight, 1.0))
    lean = precision / np.diagonal(precision)[:, None]
    np.fill_diagonal(lean, 0.0)
    lean = lean * np.where(known, root, 0.0)[None, :] * np.where(known, 1 / root, 0.0)[:, None]
    own = np.diagonal(equations.gram)
    shift = lean @ gradient
    at = (lean * gradient.T).sum(axis=1)  # what the others' residuals say of x_i itself
    shift -= np.divide(at, own, out=np.zeros_like(own), where=own > 0)[:, None] * equations.gram
    np.fill_diagonal(shift, 0.0)
    weight = equations.weight * np.diagonal(precision)
    return replace(equations, xy=equations.xy + shift, weight=weight)
