"""One regime's refit: self, cross, stability, and the walk-forward that decides what ships.

The ladder is full -> sector_block -> one_factor -> self_only -> fixed_pov (`crossimpact.ladder`).
A rung above self_only must beat self_only out of sample *and* beat the placebo, whose cross flows
come a session late (`selection`); otherwise the next rung answers and the report says why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from threadpoolctl import threadpool_limits

from crossimpact.errors import EstimationError
from crossimpact.estimate.fill_ratio import FillRatio
from crossimpact.estimate.opening import open_window
from crossimpact.estimate.rungs import Found, estimate, resized
from crossimpact.estimate.selection import Verdict, judge, market_wins, sizes
from crossimpact.estimate.self_impact import Loss
from crossimpact.estimate.stability import RuleRow
from crossimpact.estimate.walk_forward import parts_of_session
from crossimpact.estimate.weighted_rows import History, held
from crossimpact.estimate.window import Window
from crossimpact.ladder import Rung, below
from crossimpact.manipulation import Certificate, certificate, smallest_eigenvalue
from crossimpact.model import Array, ImpactModel, Transform
from crossimpact.panel import MIN_BUCKETS, Panel
from crossimpact.release.policy import DEFAULT, RefitPolicy


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
    rung: Rung
    reason: str
    metrics: dict[str, float]
    stability: Sequence[RuleRow]
    paths: tuple[Array, Array]
    certificate: Certificate | None = None

    @property
    def lower(self) -> dict[str, ImpactModel]:
        """Models of the rungs below the one that ships."""
        there = (rung for rung in below(self.rung) if rung in self.candidates)
        return {rung: self.candidates[rung] for rung in there}


def fit_regime(
    panel: Panel,
    regime: str,
    *,
    loss: Loss = "huber",
    moments: Callable[[Transform], History] | None = None,
    policy: RefitPolicy = DEFAULT.refit,
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
    policy
        The desk's decisions on which pairs are kept.

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
        stored = moments or held(panel)
        result = _fit_regime(panel, regime, loss, stored, policy)
    return replace(result, metrics={**result.metrics, "cells_left_out": float(left_out)})


def _fit_regime(
    panel: Panel,
    regime: str,
    loss: Loss,
    moments: Callable[[Transform], History],
    policy: RefitPolicy,
) -> RegimeFit:
    rows = panel.regime == regime
    buckets = int(rows.sum())
    if buckets < MIN_BUCKETS:
        return _fixed_pov(regime, buckets, f"{buckets} {regime} buckets, {MIN_BUCKETS} needed")
    parts = parts_of_session(len(np.unique(panel.date[rows])), buckets)
    if parts > 1:
        panel = panel.in_parts(parts)  # a pure function of the parts: no stored day will do
        moments = held(panel)
    try:
        window = open_window(panel, regime, loss, moments, policy)
        late = panel.shifted_q(max(1, parts // 2))
        result, verdict, control = _judged(window, late)
    except EstimationError as error:
        return _fixed_pov(regime, buckets, error.what)
    model = result.ladder[verdict.rung]
    proof = certificate(model)
    metrics = {
        "buckets": float(buckets),
        "edges": float(model.edges),
        "condition_number": model.condition_number,
        "psd_margin": smallest_eigenvalue(model),
        "no_profitable_round_trip": float(proof.admissible),
        **result.counts,
        "sqrt_flow": float(window.transform == "sqrt"),
        "slippage_share": result.share,
        **_ratio_metrics(window.ratios[regime]),
        "parts_of_session": float(parts),
        **control,
        **verdict.metrics(),
    }
    return RegimeFit(
        regime,
        model,
        result.ladder,
        verdict.rung,
        verdict.reason,
        metrics,
        result.rules,
        result.cross.stability,
        proof,
    )


def _ratio_metrics(ratio: FillRatio) -> dict[str, float]:
    """What fills pay of what mids keep, for the card and for the weekly drift check."""
    named = {"own": ratio.own, "cross": ratio.cross}
    values = {f"fill_ratio_{name}": r.value for name, r in named.items()}
    errors = {f"fill_ratio_{name}_se": r.se for name, r in named.items()}
    return values | {name: se for name, se in errors.items() if np.isfinite(se)}


def _judged(window: Window, late: Array) -> tuple[Found, Verdict, dict[str, float]]:
    """The ladder and its verdict; both again with the market's own move as a control where only a
    factor without symmetry explains it."""
    result = estimate(window, len(window.blocks))
    verdict = judge(window, result, late)
    wins, gain, se = market_wins(window, verdict.scores)
    control = {"market_control": float(wins), "market_gain": gain, "market_gain_se": se}
    if wins:
        window = replace(window, market_control=True)
        result = estimate(window, len(window.blocks))
        verdict = judge(window, result, late)
    return resized(window, result, sizes(verdict.scores)), verdict, control


def _fixed_pov(regime: str, buckets: int, reason: str) -> RegimeFit:
    nothing = np.empty(0), np.empty((0, 0, 0))
    return RegimeFit(
        regime, None, {}, "fixed_pov", reason, {"buckets": float(buckets)}, [], nothing
    )
