"""One regime's refit: self, cross, stability, and the walk-forward that decides what ships.

The ladder is full -> sector_block -> self_only -> fixed_pov. A rung above self_only must beat
self_only out of sample *and* beat the placebo, whose cross flows come a session late; otherwise the
next rung answers and the report says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from crossimpact.errors import EstimationError
from crossimpact.estimate import stability
from crossimpact.estimate.cross_impact import CrossFit, fit_cross
from crossimpact.estimate.design import Panel
from crossimpact.estimate.self_impact import Loss, SelfFit, fit_self, robust_scale
from crossimpact.model import Array, ImpactModel, from_scaled

MIN_BUCKETS = 60  # fewer labelled buckets than this and no matrix is fitted
TRAIN_SHARE = 0.7  # of the regime's buckets, in time order
PASSES = 2  # robust weights of the second pass no longer mistake cross impact for outliers
PURGE = 12  # buckets left out between training and test
OUTLIER = 6.0  # robust standard deviations beyond which a bucket is not scored


@dataclass(frozen=True)
class RegimeFit:
    """What a regime's refit found.

    Attributes
    ----------
    regime
        Label.
    model
        The model that ships, None when the regime is answered by fixed POV.
    candidates
        The models of the ladder's rungs, fitted on the whole window.
    rung, reason
        Who answers, and why it is not the rung above (empty for ``full``).
    metrics
        Numbers the gates read.
    stability
        One row per rule applied to the full matrix.
    """

    regime: str
    model: ImpactModel | None
    candidates: Mapping[str, ImpactModel]
    rung: str
    reason: str
    metrics: dict[str, float]
    stability: list[dict[str, Any]]


def fit_regime(panel: Panel, regime: str, *, loss: Loss = "huber") -> RegimeFit:
    """Fit one regime and choose its rung.

    Parameters
    ----------
    panel
        All buckets of the window (the placebo needs the sessions whole).
    regime
        The label to fit.
    loss
        Loss of the self fit.

    Returns
    -------
    RegimeFit
        Never raises for thin data: the ladder answers instead and says why.
    """
    with threadpool_limits(limits=1):  # the same digits whatever the machine's cores
        return _fit_regime(panel, regime, loss)


def _fit_regime(panel: Panel, regime: str, loss: Loss) -> RegimeFit:
    keep = panel.regime == regime
    part, placebo = panel.where(keep), panel.day_shifted_q()[keep]
    buckets = int(keep.sum())
    if buckets < MIN_BUCKETS:
        return _fixed_pov(regime, buckets, f"{buckets} {regime} buckets, {MIN_BUCKETS} needed")
    try:
        ladder, rows, report = _ladder(part, regime, loss)
    except EstimationError as error:
        return _fixed_pov(regime, buckets, error.what)
    rung, reason, scores = _choose(part, placebo, regime, loss, ladder)
    if report["reason"] and rung == "full":  # what "full" became on the way down has its own rung
        earned = scores["oos_r2_sector_block"] - scores["oos_r2_self_only"]
        blocks = ladder["sector_block"].edges and earned > max(0.0, scores["placebo_gain"])
        rung, reason = "sector_block" if blocks else "self_only", report["reason"]
    model = ladder[rung]
    metrics = {
        "buckets": float(buckets),
        "edges": float(model.edges),
        "condition_number": model.condition_number,
        "psd_margin": stability.smallest_eigenvalue(model),
        "capped_share": report["capped_share"],
        "nominated_pairs": report["nominated"],
        "deviating_pairs": report["kept"],
        "sector_blocks": report["blocks"],
        **scores,
        "oos_r2_shipped": scores[f"oos_r2_{rung}"],
    }
    return RegimeFit(regime, model, ladder, rung, reason, metrics, rows)


def _fixed_pov(regime: str, buckets: int, reason: str) -> RegimeFit:
    return RegimeFit(regime, None, {}, "fixed_pov", reason, {"buckets": float(buckets)}, [])


def _ladder(
    panel: Panel, regime: str, loss: Loss, flows: Array | None = None
) -> tuple[dict[str, ImpactModel], list[dict[str, Any]], dict[str, Any]]:
    """The three rungs' models, the stability rows of the full one, and counts for the report."""
    others = panel.q if flows is None else flows
    own = fit_self(panel, loss=loss)
    support = None
    for _ in range(PASSES):
        cross = fit_cross(panel, own, flows, support)
        support = cross.support
        moved = others @ from_scaled(cross.scaled, panel.adv).T
        own = fit_self(panel, cross=moved, loss=loss)
    full = _model(panel, regime, own, cross, cross.scaled, cross.scaled_se)
    stable, rows, reason = stability.stabilise(full, cross.template)
    block, _, _ = stability.stabilise(
        _model(panel, regime, own, cross, cross.template, cross.template_se)
    )
    capped = next(row for row in rows if row.rule == "cap").changed
    report = {
        "reason": reason,
        "capped_share": capped / max(2 * full.edges, 1),
        "nominated": float(np.triu(cross.support, 1).sum()),
        "kept": float(cross.kept),
        "blocks": float(len(cross.blocks)),
    }
    ladder = {"full": stable, "sector_block": block, "self_only": full.self_only()}
    return ladder, [row.to_dict() for row in rows], report


def _model(
    panel: Panel, regime: str, own: SelfFit, cross: CrossFit, scaled: Array, se: Array
) -> ImpactModel:
    return ImpactModel(
        symbols=panel.symbols,
        sectors=panel.sectors,
        adv=panel.adv,
        regime=regime,
        alpha=own.alpha,
        beta=own.beta,
        gamma=from_scaled(scaled, panel.adv),
        alpha_se=own.alpha_se,
        beta_se=own.beta_se,
        gamma_se=np.where(scaled != 0, from_scaled(se, panel.adv), np.nan),
        provenance={
            "self_source": {
                symbol: str(source)
                for symbol, source in zip(panel.symbols, own.source, strict=True)
                if source != "own"
            },
            "sector_couplings": cross.blocks,
            "typical_flow": panel.typical_flow().tolist(),
            "peer_bps": own.peer.tolist(),
        },
    )


def _choose(
    panel: Panel, placebo: Array, regime: str, loss: Loss, ladder: Mapping[str, ImpactModel]
) -> tuple[str, str, dict[str, float]]:
    """Walk forward once: fit on the first buckets, score each rung and the placebo on the last."""
    cut = int(len(panel.ts) * TRAIN_SHARE)
    head = np.arange(len(panel.ts)) < cut
    tail = np.arange(len(panel.ts)) >= cut + PURGE
    train, test = panel.where(head), panel.where(tail)
    names = ("full", "sector_block", "self_only")
    try:
        trained, _, _ = _ladder(train, regime, loss)
        fake, _, _ = _ladder(train, regime, loss, placebo[head])
    except EstimationError as error:
        scores = {"placebo_gain": 0.0, **{f"oos_r2_{name}": 0.0 for name in names}}
        return "self_only", f"no out-of-sample verdict: {error.what}", scores
    base = trained["self_only"]
    scores = {f"oos_r2_{name}": oos_r2(trained[name], base, test, test.q) for name in names}
    scores["placebo_gain"] = oos_r2(fake["full"], base, test, placebo[tail]) - oos_r2(
        fake["self_only"], base, test, placebo[tail]
    )
    gain = {name: scores[f"oos_r2_{name}"] - scores["oos_r2_self_only"] for name in names}
    best = max(names, key=lambda name: gain[name])
    hurdle = max(0.0, scores["placebo_gain"])
    if best == "self_only" or not gain[best] > hurdle or not ladder[best].edges:
        top = max(gain["full"], gain["sector_block"])
        why = f"cross terms add {top:+.2%} of R2 out of sample, placebo {hurdle:+.2%}"
        return "self_only", why, scores
    lost = gain["full"] - gain[best]
    reason = "" if best == "full" else f"pair deviations add {lost:+.2%} of R2 over the blocks"
    return best, reason, scores


def oos_r2(model: ImpactModel, scale: ImpactModel, panel: Panel, flows: Array) -> float:
    """Share of the noise-weighted square of slippage, net of peer flow, explained on `panel`.

    Weights and outlier limits come from the spread of each symbol's response around `scale` (the
    self-only model), so that all rungs are scored on the same rows alike.
    """
    response = panel.response - panel.peer_move(np.array(scale.provenance["peer_bps"], dtype=float))
    residual = response - np.sign(panel.q) * scale.alpha - scale.self_bps(panel.q)
    known = np.isfinite(residual)
    pooled = robust_scale(residual[known])  # no symbol's few lucky rows may own the score
    sigma = np.array([robust_scale(r[k]) for r, k in zip(residual.T, known.T, strict=True)])
    sigma = np.maximum(sigma, pooled / 3)
    usable = known & (np.abs(residual) < OUTLIER * sigma)
    weight = np.where(usable, 1.0 / sigma**2, 0.0)
    own_model = np.sign(panel.q) * model.alpha + model.self_bps(panel.q)
    predicted = own_model + flows @ model.gamma.T
    y = np.nan_to_num(response)
    total = float((weight * y**2).sum())
    return 1.0 - float((weight * (y - predicted) ** 2).sum()) / total if total > 0 else 0.0
