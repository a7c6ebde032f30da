"""Weekly drift: does the promoted matrix still describe what the desk pays?

Per regime the champion is confronted with one week it has not seen: the slope of realized on
predicted cross cost over buckets (1 when calibrated), the distance of a fresh estimate, edges whose
sign turned, and the size of flows against those it was fitted on.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from threadpoolctl import threadpool_limits

from crossimpact.errors import EstimationError
from crossimpact.estimate import gram
from crossimpact.estimate.cross_impact import fit_cross
from crossimpact.estimate.design import Panel
from crossimpact.estimate.self_impact import fit_self
from crossimpact.estimate.walk_forward import bucket_costs
from crossimpact.estimate.walk_forward import slope as through_origin
from crossimpact.model import Array, ImpactModel, to_scaled

Verdict = Literal["ok", "watch", "refit"]
MIN_BUCKETS = 60  # fewer and the week says nothing about the regime
WATCH_SE, REFIT_SE = 2.0, 3.0  # slope this many standard errors from 1
MAX_FLOW_RATIO = 3.0  # flows this many times larger or smaller than those fitted on


@dataclass(frozen=True)
class Drift:
    """One regime's week against the champion.

    Attributes
    ----------
    slope, slope_se
        Realized on predicted cross cost, dimensionless; NaN when nothing was predicted.
    distance
        ``|M_fresh - M| / |M|`` (Frobenius, scaled space), NaN without a fresh estimate.
    sign_flips
        Champion edges whose fresh estimate is significant with the other sign.
    flow_ratio
        Median over symbols of typical flow this week over typical flow at calibration.
    verdict, reason
        ``ok | watch | refit`` and why.
    """

    regime: str
    buckets: int
    slope: float
    slope_se: float
    distance: float
    sign_flips: int
    flow_ratio: float
    verdict: Verdict
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Plain data, NaN as None."""
        row = asdict(self)
        return {k: None if isinstance(v, float) and np.isnan(v) else v for k, v in row.items()}


def bucket_cross(model: ImpactModel, panel: Panel) -> tuple[Array, Array]:
    """Predicted and realized cross cost per bucket, per root-sum-square of its notionals, bps.

    Realized is what slippage leaves after the model's own terms and what peer flow moved (the
    coefficients the model was fitted with, in its provenance).
    """
    own = np.sign(panel.q) * model.alpha + model.self_bps(panel.q)
    if "peer_bps" in model.provenance:
        own = own + panel.peer_move(np.array(model.provenance["peer_bps"], dtype=float))
    return bucket_costs(panel, model.cross_bps(panel.q), panel.response - own)


def weekly_drift(model: ImpactModel, panel: Panel, typical_flow: Array) -> Drift:
    """Confront `model` with the buckets of its regime in `panel`.

    Parameters
    ----------
    model
        The champion's matrix of one regime, on the panel's symbols.
    panel
        One week, all regimes.
    typical_flow
        Typical ``|q|`` per symbol at calibration, shape (n,).
    """
    panel = panel.plausible()[0]
    week = panel.of_regime(model.regime)
    buckets = len(week.ts)
    if buckets < MIN_BUCKETS:
        reason = f"{buckets} buckets, {MIN_BUCKETS} needed for a verdict"
        nan = float("nan")
        return Drift(model.regime, buckets, nan, nan, nan, 0, nan, "ok", reason)
    slope, slope_se = through_origin(*bucket_cross(model, week))
    with threadpool_limits(limits=1):  # the same digits whatever the machine's cores
        distance, flips = _fresh(model, week)
    now = week.typical_flow()
    both = (now > 0) & (typical_flow > 0)
    ratio = float(np.median(now[both] / typical_flow[both])) if both.any() else float("nan")
    verdict, reason = _verdict(slope, slope_se, flips, ratio)
    return Drift(model.regime, buckets, slope, slope_se, distance, flips, ratio, verdict, reason)


def _fresh(model: ImpactModel, week: Panel) -> tuple[float, int]:
    """Distance of this week's own estimate and the number of edges that turned sign."""
    reference = model.reference if model.transform == "sqrt" else None
    shaped = week if reference is None else week.shaped(reference)
    days = [day[model.regime] for _, day in gram.history(week, model.transform)]
    try:
        own = fit_self(shaped, share=0.0)
        fresh = fit_cross(days, shaped, own.beta, reference)
    except EstimationError:
        return float("nan"), 0
    old = to_scaled(model.gamma, model.adv)
    significant = np.abs(fresh.scaled) > REFIT_SE * np.nan_to_num(fresh.se, nan=np.inf)
    flips = int(np.triu(significant & (fresh.scaled * old < 0), 1).sum())
    size = float(np.linalg.norm(old))
    return (float(np.linalg.norm(fresh.scaled - old)) / size if size else float("nan")), flips


def _verdict(slope: float, se: float, flips: int, ratio: float) -> tuple[Verdict, str]:
    if np.isnan(slope):
        return "ok", "no cross cost is predicted, so nothing of it can drift"
    away = abs(slope - 1) / se if se > 0 else 0.0
    told = f"calibration slope {slope:.2f} +- {se:.2f}"
    if away > REFIT_SE:
        return "refit", f"{told} is {away:.1f} standard errors from 1, limit {REFIT_SE:g}"
    if flips:
        return "refit", f"{flips} edges turned sign"
    if away > WATCH_SE:
        return "watch", f"{told} is {away:.1f} standard errors from 1, limit {WATCH_SE:g}"
    if ratio > MAX_FLOW_RATIO or ratio < 1 / MAX_FLOW_RATIO:
        return (
            "watch",
            f"flows are {ratio:.2f} times those at calibration, limit {MAX_FLOW_RATIO:g}",
        )
    return "ok", told
