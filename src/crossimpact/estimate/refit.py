"""One regime's refit: self, cross, stability, and the walk-forward that decides what ships.

The ladder is full -> sector_block -> self_only -> fixed_pov. A rung above self_only must beat
self_only out of sample *and* beat the placebo, whose cross flows come a session late; otherwise the
next rung answers and the report says why.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from crossimpact.errors import EstimationError
from crossimpact.estimate import gram, rivals, stability
from crossimpact.estimate.design import Panel
from crossimpact.estimate.gram import History
from crossimpact.estimate.self_impact import Loss
from crossimpact.estimate.walk_forward import Candidate, Score, walk_forward
from crossimpact.estimate.window import (
    Found,
    Window,
    estimate,
    fit_cross_of,
    open_window,
    with_cross,
)
from crossimpact.manipulation import Certificate, certificate, smallest_eigenvalue
from crossimpact.model import Array, ImpactModel, Transform, from_scaled

log = logging.getLogger(__name__)

MIN_BUCKETS = 60  # fewer labelled buckets than this and no matrix is fitted
RUNGS = ("full", "sector_block", "self_only")


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
    paths
        Stability paths of the elastic net: penalties (L,) and selection shares (L, n, n); empty
        when nothing was fitted.
    certificate
        That no round trip makes money under `model`, or one that does.
    """

    regime: str
    model: ImpactModel | None
    candidates: Mapping[str, ImpactModel]
    rung: str
    reason: str
    metrics: dict[str, float]
    stability: list[dict[str, Any]]
    paths: tuple[Array, Array]
    certificate: Certificate | None = None

    @property
    def lower(self) -> dict[str, ImpactModel]:
        """Models of the rungs below the one that ships."""
        below = RUNGS[RUNGS.index(self.rung) + 1 :] if self.rung in RUNGS else ()
        return {rung: self.candidates[rung] for rung in below}


def fit_regime(
    panel: Panel,
    regime: str,
    *,
    loss: Loss = "huber",
    moments: Callable[[Transform], History] | None = None,
) -> RegimeFit:
    """Fit one regime and choose its rung.

    Parameters
    ----------
    panel
        All buckets of the window (the placebo needs the sessions whole).
    regime
        The label to fit.
    loss
        Loss of the self fit.
    moments
        Where the days' moments are kept; made from the panel when None.

    Returns
    -------
    RegimeFit
        Never raises for thin data: the ladder answers instead and says why.

    Raises
    ------
    EstimationError
        When a symbol's ADV is not a positive number.
    """
    panel, left_out = panel.plausible()
    with threadpool_limits(limits=1):  # the same digits whatever the machine's cores
        stored = moments or (lambda transform: gram.history(panel, transform))
        found = _fit_regime(panel, regime, loss, stored)
    return replace(found, metrics={**found.metrics, "cells_left_out": float(left_out)})


def _fit_regime(
    panel: Panel, regime: str, loss: Loss, moments: Callable[[Transform], History]
) -> RegimeFit:
    buckets = int((panel.regime == regime).sum())
    if buckets < MIN_BUCKETS:
        return _fixed_pov(regime, buckets, f"{buckets} {regime} buckets, {MIN_BUCKETS} needed")
    log.info("fit %s: %d buckets of %d names", regime, buckets, panel.n)
    try:
        window = open_window(panel, regime, loss, moments)
        found = estimate(window, len(window.blocks))
    except EstimationError as error:
        return _fixed_pov(regime, buckets, error.what)
    scores, steps = _walk(window, found.share)
    rung, reason = _choose(found, scores, steps)
    model = found.ladder[rung]
    proof = certificate(model)
    metrics = {
        "buckets": float(buckets),
        "edges": float(model.edges),
        "condition_number": model.condition_number,
        "psd_margin": smallest_eigenvalue(model),
        "no_profitable_round_trip": float(proof.admissible),
        **found.counts,
        "sqrt_flow": float(window.transform == "sqrt"),
        "slippage_share": found.share,
        **_verdict(scores, rung),
    }
    return RegimeFit(
        regime,
        model,
        found.ladder,
        rung,
        reason,
        metrics,
        found.rules,
        found.cross.stability,
        proof,
    )


def _fixed_pov(regime: str, buckets: int, reason: str) -> RegimeFit:
    nothing = np.empty(0), np.empty((0, 0, 0))
    return RegimeFit(
        regime, None, {}, "fixed_pov", reason, {"buckets": float(buckets)}, [], nothing
    )


# -- verdict -------------------------------------------------------------------------------------


def _walk(window: Window, share: float) -> tuple[dict[str, Score], int]:
    """Walk forward with the ladder, the rivals and the placebo."""
    panel, late = window.panel.of_regime(window.regime), window.panel.day_shifted_q()
    regimes = [window.regime] if window.lead is None else [window.regime, window.lead]
    shifted = gram.blocks(
        gram.history(window.panel, window.transform, late),
        [block[-1] for block in window.blocks], regimes,
    )  # fmt: skip
    fake = replace(window, moments=shifted)
    late = late[window.panel.regime == window.regime]

    def fit(train: int) -> dict[str, Candidate]:
        log.info(
            "fit %s: walk-forward on %d of %d blocks", window.regime, train, len(window.blocks)
        )
        try:
            found = estimate(window, train)
            candidates = {name: Candidate(found.ladder[name]) for name in RUNGS}
            part, days = window.part(window.regime, train), window.days(window.regime, train)
            beta = found.ladder["self_only"].beta
            for name, scaled in rivals.fit(days, part, beta, window.reference).items():
                candidates[name] = Candidate(with_cross(window, train, share, scaled))
            _, cross = fit_cross_of(fake, train)
            placebo = replace(found.ladder["self_only"], gamma=from_scaled(cross.scaled, part.adv))
        except EstimationError:
            return {}
        placebo, _, _ = stability.stabilise(placebo, cross.template.scaled)
        candidates["placebo"] = Candidate(placebo, late)
        return candidates

    return walk_forward(panel, share, window.blocks, fit)


def _choose(found: Found, scores: Mapping[str, Score], steps: int) -> tuple[str, str]:
    """Who ships, and why not the rung above."""
    if not steps:
        return "self_only", "no out-of-sample verdict: too few days to hold any out"
    base = scores["self_only"]
    gains = {name: scores[name].gain_over(base) for name in (*RUNGS, "placebo")}
    gain = {name: value for name, (value, _) in gains.items()}
    best = max(RUNGS, key=lambda name: gain[name])
    hurdle = max(0.0, gain["placebo"])
    told = np.isfinite(scores[best].slope()[0])  # it predicted something on the days held out
    if not any(np.isfinite(scores[name].slope()[0]) for name in ("full", "sector_block")):
        return "self_only", "nothing to judge out of sample: no pair was kept on the earlier days"
    if not told or not gain[best] > hurdle or not found.ladder[best].edges:
        top = max(("full", "sector_block"), key=lambda name: gain[name])
        return "self_only", (
            f"cross terms add {gain[top]:+.2%} ± {np.nan_to_num(gains[top][1]):.2%} of R2 out of "
            f"sample, placebo {gain['placebo']:+.2%}"
        )
    if found.reason and best == "full":  # what "full" became on the way down has its own rung
        earned = gain["sector_block"] > hurdle and found.ladder["sector_block"].edges
        return ("sector_block" if earned else "self_only"), found.reason
    if best == "full":
        return best, ""
    return best, f"pair deviations add {gain['full'] - gain[best]:+.2%} of R2 over the blocks"


def _verdict(scores: Mapping[str, Score], rung: str) -> dict[str, float]:
    """Out-of-sample numbers of all candidates; all zero when nothing could be held out."""
    names = (*RUNGS, "placebo", *rivals.NAMES)
    if not scores:
        zero = {f"oos_r2_{name}": 0.0 for name in names}
        return {**zero, "placebo_gain": 0.0, "oos_r2_shipped": 0.0}
    base, shipped = scores["self_only"], scores[rung]
    gain, se = shipped.gain_over(base)
    slope, slope_se = shipped.slope()
    per_name = shipped.name_gains(base)
    known = per_name[np.isfinite(per_name)]
    return {
        **{f"oos_r2_{name}": scores[name].r2 for name in names},
        "placebo_gain": scores["placebo"].gain_over(base)[0],
        "oos_r2_shipped": shipped.r2,
        "oos_gain": gain,
        "oos_gain_se": se,
        "oos_median_name_gain": float(np.median(known)) if known.size else 0.0,
        "oos_names_better": float((known > 0).mean()) if known.size else 0.0,
        "oos_basket_r2": shipped.basket_r2,
        "oos_slippage_gain": shipped.slippage_r2 - base.slippage_r2,
        "oos_slope": slope,
        "oos_slope_se": slope_se,
    }
