"""Cross impact: elastic-net rows on the self residuals, shrunk toward sector blocks.

Per symbol i, own terms and peer-flow controls are partialled out with the robust weights of the
self fit, which leaves the row's Gram matrix in the scaled space
``M_ij = gamma_ij sqrt(adv_i / adv_j)``:

1. template: one coupling ``rho_st`` per pair of sectors, ``M_ij = rho_st sqrt(beta_i beta_j)``, all
   rows jointly; blocks that are not significant are dropped;
2. rows: elastic net on what the template leaves, penalty chosen by blocked time folds; it nominates
   the pairs that deviate from the template;
3. pairs: the nominated pairs are re-estimated without penalty, one symmetric parameter each (both
   rows inform it), and kept when significant at a controlled false discovery rate (Benjamini and
   Hochberg 1995) and large enough to matter at typical flow.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.stats import norm
from sklearn import config_context
from sklearn.linear_model import enet_path

from crossimpact.estimate.design import Panel, blocked_folds, controls, partial_out
from crossimpact.estimate.self_impact import SelfFit
from crossimpact.model import Array

FOLDS = 5
L1_RATIO = 0.7
LAMBDAS = 20
RIDGE = 1e-9  # on unit curvature: names that always trade alike share their effect
ROUNDS = 2  # alternations of blocks and deviations, each given the other
FDR = 0.05
MIN_EDGE_BPS = 0.1  # at typical flow: below it no schedule changes


@dataclass(frozen=True)
class CrossFit:
    """Cross impact of one regime in scaled space.

    Attributes
    ----------
    template, template_se, scaled
        Sector-block part and the full estimate, ``gamma_ij sqrt(adv_i/adv_j)`` in bps, symmetric,
        zero diagonal, shape (n, n).
    scaled_se
        Standard errors of the non-zero entries, NaN elsewhere.
    support
        Pairs the elastic net nominated, shape (n, n) of bool.
    kept
        Pairs that stayed in as deviations from their block.
    blocks
        Sector blocks kept, ``{"A|B": rho}``.
    """

    template: Array
    template_se: Array
    scaled: Array
    scaled_se: Array
    support: NDArray[np.bool_]
    kept: int
    blocks: dict[str, float]


@dataclass(frozen=True)
class Rows:
    """Per symbol and time fold, the normal equations of its row (noise-weighted, own terms out).

    `gram[i, k]` is ``Z'WZ / sigma_i^2`` over fold k and `xy[i, k]` is ``Z'Wy / sigma_i^2``; shapes
    (n, K, n, n) and (n, K, n). Row and column i of `gram[i]` are zero.
    """

    gram: Array
    xy: Array


def build_rows(panel: Panel, fit: SelfFit, flows: Array | None = None) -> Rows:
    """Normal equations of every row; `flows` replaces the others' flow (placebo)."""
    others = panel.q if flows is None else flows
    n, root = panel.n, np.sqrt(panel.adv)
    gram, xy = np.zeros((n, FOLDS, n, n)), np.zeros((n, FOLDS, n))
    response = panel.response
    for i in range(n):
        rows = np.flatnonzero(fit.weights[:, i] > 0)
        if rows.size <= 10:
            continue
        own = panel.q[rows, i]
        basis = np.column_stack((np.sign(own), own, controls(panel, i)[rows]))
        Z = others[rows] * (root / root[i])
        Z[:, i] = 0.0
        data = (
            partial_out(np.column_stack((Z, response[rows, i])), basis, fit.weights[rows, i])
            / fit.sigma[i]
        )
        fold = blocked_folds(rows.size, FOLDS)
        for k in range(FOLDS):
            part = data[fold == k]
            full = part.T @ part
            gram[i, k], xy[i, k] = full[:n, :n], full[:n, n]
    return Rows(gram, xy)


def fit_cross(
    panel: Panel,
    self_fit: SelfFit,
    flows: Array | None = None,
    support: NDArray[np.bool_] | None = None,
) -> CrossFit:
    """Estimate the cross terms of one regime.

    Parameters
    ----------
    panel
        Buckets of the regime.
    self_fit
        Its self impact; supplies weights, noise and the scale ``sqrt(beta_i beta_j)``.
    flows
        Flows of the *other* names when they are not the panel's own (placebo), shape (T, n).
    support
        Pairs nominated before, shape (n, n); nominated anew when None.
    """
    rows = build_rows(panel, self_fit, flows)
    gram, xy = rows.gram.sum(axis=1), rows.xy.sum(axis=1)
    floor = MIN_EDGE_BPS / _bps_per_unit(panel)
    template, template_se, blocks = fit_template(panel, self_fit.beta, gram, xy, floor)
    if support is None:
        support = _nominate(rows, template)
    for _ in range(ROUNDS):
        left = _without(xy, gram, template)
        deviation, deviation_se = _symmetric_fit(gram, left, support)
        kept = _discoveries(deviation, deviation_se, floor)
        deviation, deviation_se = _symmetric_fit(gram, left, kept)
        left = _without(xy, gram, deviation)
        template, template_se, blocks = fit_template(panel, self_fit.beta, gram, left, floor)
    scaled = template + deviation
    se = np.sqrt(np.nan_to_num(template_se) ** 2 + np.nan_to_num(deviation_se) ** 2)
    return CrossFit(
        template=template,
        template_se=np.where(template != 0, template_se, np.nan),
        scaled=scaled,
        scaled_se=np.where(scaled != 0, se, np.nan),
        support=support,
        kept=int(np.triu(kept, 1).sum()),
        blocks=blocks,
    )


def _without(xy: Array, gram: Array, part: Array) -> Array:
    """The rows' right-hand sides once `part` of the matrix is explained."""
    return np.asarray(xy - np.einsum("ijk,ik->ij", gram, part))


def _bps_per_unit(panel: Panel) -> Array:
    """bps at typical flow per unit of ``M_ij``, the larger side of each pair, shape (n, n)."""
    root = np.sqrt(panel.adv)
    effect = panel.typical_flow()[None, :] * root[None, :] / root[:, None]
    return np.maximum(np.maximum(effect, effect.T), 1e-300)


# -- template ----------------------------------------------------------------------------------


def fit_template(
    panel: Panel, beta: Array, gram: Array, xy: Array, floor: Array
) -> tuple[Array, Array, dict[str, float]]:
    """Sector-by-sector couplings by joint least squares over all rows.

    A block stays when it is significant at a family-wise 5% over all blocks and its median pair
    reaches `floor` (scaled space, shape (n, n)).

    Returns
    -------
    template, template_se, blocks
        The block matrix in scaled space (n, n), its standard errors, and the couplings kept.
    """
    names = sorted(set(panel.sectors))
    sector = np.array([names.index(name) for name in panel.sectors])
    first, second = np.triu_indices(len(names))
    shape = np.sqrt(np.outer(beta, beta))
    np.fill_diagonal(shape, 0.0)
    low, high = np.minimum.outer(sector, sector), np.maximum.outer(sector, sector)
    masks = (low == first[:, None, None]) & (high == second[:, None, None])
    patterns = masks * shape  # (blocks, n, n)
    moved = np.einsum("bij,ijk->bik", patterns, gram, optimize=True)
    hessian = np.einsum("bik,cik->bc", moved, patterns, optimize=True)
    score = np.einsum("bij,ij->b", patterns, xy)
    seen = np.diagonal(hessian) > 0
    rho, rho_se = _least_squares(hessian, score, seen)
    cutoff = norm.isf(FDR / 2 / max(int(seen.sum()), 1))
    strength = shape / floor
    size = np.array(
        [np.median(strength[pattern > 0]) if pattern.any() else 0 for pattern in patterns]
    )
    significant = seen & (np.abs(rho) > cutoff * rho_se) & (np.abs(rho) * size >= 1)
    rho, rho_se = _least_squares(hessian, score, significant)
    blocks = {
        f"{names[first[b]]}|{names[second[b]]}": float(rho[b]) for b in np.flatnonzero(significant)
    }
    return (
        np.einsum("b,bij->ij", rho, patterns),
        np.einsum("b,bij->ij", np.nan_to_num(rho_se), patterns),
        blocks,
    )


def _least_squares(hessian: Array, score: Array, active: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Solution and standard errors on the active coordinates; 0 and NaN elsewhere."""
    solution, se = np.zeros(score.size), np.full(score.size, np.nan)
    index = np.flatnonzero(active)
    if index.size:
        scale = 1.0 / np.sqrt(np.diagonal(hessian)[index])
        unit = hessian[np.ix_(index, index)] * np.outer(scale, scale) + RIDGE * np.eye(index.size)
        inverse = cho_solve(cho_factor(unit), np.eye(index.size))
        solution[index] = scale * (inverse @ (scale * score[index]))
        se[index] = scale * np.sqrt(np.maximum(np.diagonal(inverse), 0.0))
    return solution, se


# -- sparse deviations -------------------------------------------------------------------------


def _nominate(rows: Rows, template: Array) -> NDArray[np.bool_]:
    """Pairs with a non-zero elastic-net coefficient in either row."""
    n = template.shape[0]
    support = np.zeros((n, n), dtype=bool)
    for i in range(n):
        support[i] = elastic_net_row(rows.gram[i], rows.xy[i], template[i]) != 0
    return support | support.T


def elastic_net_row(gram: Array, xy: Array, offset: Array) -> Array:
    """One row's deviation from `offset` by elastic net, penalty by cross-validation over folds.

    Minimises ``(b'Gb - 2 b'c) / 2 + lambda (l1 |b|_1 + (1 - l1) |b|^2 / 2)`` on coordinates scaled
    to unit curvature; everything is read off the folds' normal equations, no row of data is needed.
    """
    xy = xy - gram @ offset
    total = gram.sum(axis=0)
    used = np.diagonal(total) > 0
    result = np.zeros(offset.size)
    if not used.any():
        return result
    scale = 1.0 / np.sqrt(np.diagonal(total)[used])
    G = gram[:, used][:, :, used] * np.outer(scale, scale)
    c = xy[:, used] * scale
    top = float(np.abs(c.sum(axis=0)).max()) / L1_RATIO
    if not top > 0:
        return result
    lambdas = top * np.logspace(0, -1.7, LAMBDAS)
    loss = np.zeros(LAMBDAS)
    for k in range(len(G)):
        path = _path(G.sum(axis=0) - G[k], c.sum(axis=0) - c[k], lambdas * (1 - 1 / len(G)))
        loss += np.einsum("jl,jk,kl->l", path, G[k], path) - 2 * c[k] @ path
    best = _path(G.sum(axis=0), c.sum(axis=0), lambdas)[:, int(np.argmin(loss))]
    result[used] = scale * best
    return result


def _path(G: Array, c: Array, lambdas: Array) -> Array:
    """Elastic-net path (coefficients, lambdas) of normal equations, by a matrix root of G."""
    values, vectors = np.linalg.eigh(G)
    if not values[-1] > 0:  # all of the row's flow lies in the fold left out
        return np.zeros((c.size, lambdas.size))
    keep = values > values[-1] * 1e-10
    X = np.asfortranarray(np.sqrt(values[keep])[:, None] * vectors[:, keep].T)
    y = (vectors[:, keep].T @ c) / np.sqrt(values[keep])
    with config_context(assume_finite=True, skip_parameter_validation=True):
        _, path, _ = enet_path(
            X,
            y,
            l1_ratio=L1_RATIO,
            alphas=lambdas / len(X),
            precompute=G,
            Xy=X.T @ y,
            check_input=False,
            tol=1e-5,
            max_iter=5000,
        )
    return np.asarray(path)


def _symmetric_fit(gram: Array, xy: Array, support: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Unpenalised symmetric estimate on `support`: one parameter per pair, both rows inform it."""
    n = xy.shape[0]
    first, second = np.nonzero(np.triu(support, 1))
    hessian = np.zeros((first.size, first.size))
    for i in range(n):
        touched = np.flatnonzero((first == i) | (second == i))
        other = first[touched] + second[touched] - i
        hessian[np.ix_(touched, touched)] += gram[i][np.ix_(other, other)]
    score = xy[first, second] + xy[second, first]
    value, se = _least_squares(hessian, score, np.diagonal(hessian) > 0)
    estimate, errors = np.zeros((n, n)), np.full((n, n), np.nan)
    estimate[first, second] = estimate[second, first] = value
    errors[first, second] = errors[second, first] = se
    return estimate, errors


def _discoveries(estimate: Array, se: Array, floor: Array) -> NDArray[np.bool_]:
    """Pairs significant at the false discovery rate among *all* pairs, and above the bps floor."""
    n = estimate.shape[0]
    upper = np.triu_indices(n, 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        z = np.abs(estimate / se)[upper]
    p = np.where(np.isfinite(z), 2 * norm.sf(np.nan_to_num(z)), 1.0)
    order = np.argsort(p, kind="stable")
    passed = np.flatnonzero(p[order] <= FDR * np.arange(1, p.size + 1) / max(p.size, 1))
    chosen = np.zeros(p.size, dtype=bool)
    chosen[order[: passed[-1] + 1 if passed.size else 0]] = True
    keep = np.zeros((n, n), dtype=bool)
    keep[upper] = chosen & (np.abs(estimate) >= floor)[upper]
    return keep | keep.T
