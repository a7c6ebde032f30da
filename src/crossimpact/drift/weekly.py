"""Weekly drift: does the promoted matrix still describe what the desk pays?

Per regime the champion is confronted with one week it has not seen: is what it predicts realized
(`calibration`), is the week's own estimate further away than chance (`distance`), do cross terms
still predict better than none, does impact live as long as its kernel says (`decay_shift`). Each
statistic gives a p-value whose null grants the champion its errors as of promotion, and a detector
sums up the weeks (`e_detector`), so that looking every week costs nothing. A matrix of the wrong
sign does not wait for that sum: one week is enough. The verdict is that of the worst statistic; the
market's own conditions (`conditions`) can at most ask for a watch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from scipy.stats import t
from threadpoolctl import ThreadpoolController

from crossimpact.drift import distance, e_detector
from crossimpact.drift.calibration import move_slope
from crossimpact.drift.conditions import CONDITIONS, Shift
from crossimpact.drift.decay_shift import DecayShift
from crossimpact.drift.null_hypothesis import (
    NOTHING,
    SIGN,
    WORTHLESS,
    Measure,
    champion_gamma_se,
    decay_measures,
    measure,
)
from crossimpact.estimate.held_out import open_held_out
from crossimpact.ladder import COUPLED
from crossimpact.model import ImpactModel
from crossimpact.panel import MIN_BUCKETS, Panel
from crossimpact.release.policy import DEFAULT
from crossimpact.response import MOVES, Response

__all__ = ["Drift", "Evidence", "weekly_drift"]

Verdict = Literal["ok", "watch", "refit", "demote"]
SEVERITY: dict[Verdict, int] = {"ok": 0, "watch": 1, "refit": 2, "demote": 3}
#: What is tested of each regime, and the verdict an alarm calls for; the first one explains it.
STATISTICS: dict[str, Verdict] = {
    "harm": "demote", "move_slope": "refit", **dict.fromkeys(distance.STATISTICS, "refit"),
    "own_size": "refit", "half_life": "refit",
}  # fmt: skip
BLAS = ThreadpoolController()  # finding the libraries takes as long as a week of few names
SURE = 0.95  # one-sided, that a lower rung predicts better than none


@dataclass(frozen=True)
class Evidence:
    """One statistic of one regime's week.

    Attributes
    ----------
    value, se
        The week's, NaN where there is none.
    low, high
        What is compatible with an unchanged champion; NaN for an open side.
    p
        Of the null that nothing changed; NaN when the week says nothing.
    e, evidence, limit
        The week's e-value, the detector's running evidence, and where it raises an alarm.
    verdict, reason
        What follows from this statistic alone, and its numbers.
    """

    regime: str
    statistic: str
    value: float
    se: float
    low: float
    high: float
    p: float
    e: float
    evidence: float
    limit: float
    verdict: Verdict
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Plain data, what is not finite as None."""
        return _plain(asdict(self))


@dataclass(frozen=True)
class Drift:
    """One regime's week against the champion.

    Attributes
    ----------
    buckets, days
        How many there were.
    slope, slope_se
        Realized on predicted cross moves, dimensionless; NaN when nothing was predicted.
    verdict, reason
        ``ok | watch | refit | demote`` and the number that decided, against its limit.
    fallback
        Rung that answers after ``demote``: a coupled one below, or ``self_only``; else empty.
    evidence
        Every statistic.
    """

    regime: str
    buckets: int
    days: int
    slope: float
    slope_se: float
    verdict: Verdict
    reason: str
    fallback: str
    evidence: tuple[Evidence, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data without the statistics, what is not finite as None."""
        row = {k: v for k, v in vars(self).items() if k != "evidence"}
        return _plain(row)


def weekly_drift(
    model: ImpactModel,
    panel: Panel,
    *,
    response: Response = MOVES,
    lower: Mapping[str, ImpactModel] | None = None,
    past: Mapping[str, Sequence[float]] | None = None,
    regimes: int = 1,
    unseen: bool = True,
    conditions: Mapping[str, Shift] | None = None,
    decay: DecayShift | None = None,
    alpha: float = DEFAULT.drift.alpha,
) -> Drift:
    """Confront `model` with the buckets of its regime in `panel`.

    Parameters
    ----------
    model
        The champion's matrix of one regime, on the panel's symbols.
    panel
        One week, all regimes.
    response
        How the champion's fit read slippage and mid move as one.
    lower
        Models of the rungs below, by rung, that may answer instead; self-only always may.
    past
        p-values of this champion's earlier weeks by statistic, oldest first.
    regimes
        How many regimes share the error rate.
    unseen
        False when the champion was fitted on this week: it is shown, and is no evidence.
    conditions
        Of the regime's days against those the champion was fitted on, see `conditions.shifts`.
    decay
        The week against the model's kernel, see `decay_shift`.
    alpha
        Share of the years without a change that may see an alarm, all statistics together.
    """
    panel = panel.plausible()[0]
    days = panel.of_regime(model.regime)
    buckets, dates = len(days.ts), len(np.unique(days.date))
    known = past or {}
    with BLAS.limit(limits=1):  # the same digits whatever the machine's cores
        result = measure(model, days, response) if buckets >= MIN_BUCKETS else {}
    result |= {
        name: Measure(shift.value, np.nan, shift.low, shift.high, shift.p)
        for name, shift in (conditions or {}).items()
    }
    if decay is not None and model.kernel is not None and buckets >= MIN_BUCKETS:
        result |= decay_measures(model.kernel, decay)
    judge = partial(_judge, model.regime, regimes=regimes, unseen=unseen, alpha=alpha)
    rows = tuple(
        judge(name, result.get(name, NOTHING), known.get(name, ()))
        for name in (*STATISTICS, *CONDITIONS)
    )
    slope = result.get("move_slope", NOTHING)
    verdict, reason = _verdict(rows, buckets, unseen)
    fallback = _fallback(days, response, lower or {}) if verdict == "demote" else ""
    return Drift(
        model.regime, buckets, dates, slope.value, slope.se, verdict, reason, fallback, rows
    )


# -- verdict -----------------------------------------------------------------------------------


def _judge(
    regime: str,
    name: str,
    found: Measure,
    past: Sequence[float],
    regimes: int,
    unseen: bool,
    alpha: float,
) -> Evidence:
    p = found.p if unseen else np.nan
    history, known = [*past, p], name in STATISTICS
    total = e_detector.evidence(history)
    limit = e_detector.limit(regimes * len(STATISTICS if known else CONDITIONS), alpha)
    reason = f"{_told(name, found)}; evidence {total:.3g}, limit {limit:.3g}"
    verdict: Verdict
    if not known:
        outside = not found.low <= found.value <= found.high
        verdict = "watch" if total >= limit and outside else "ok"
    elif name == "harm" and _is_reversed(found, p, regimes):
        verdict = STATISTICS[name]
        reason = f"{_told(name, found)}; below zero with {SIGN:.1%} confidence, so at once"
    elif total >= limit:
        verdict = STATISTICS[name]
    else:
        verdict = "watch" if e_detector.watched(history, limit) else "ok"
    values = (found.value, found.se, found.low, found.high, p)
    return Evidence(regime, name, *values, e_detector.e_value(p), total, limit, verdict, reason)


def _is_reversed(found: Measure, p: float, regimes: int) -> bool:
    """Whether the week alone shows that the matrix has the wrong sign.

    Its slope is below zero, and further below all that is compatible with an unchanged champion
    than one of a year's weeks may be by chance: where next to nothing is predicted, a slope of zero
    is no news.
    """
    return found.upper < 0 and p <= e_detector.level_at_once(regimes)


def _told(name: str, found: Measure) -> str:
    """The statistic against what an unchanged champion is compatible with."""
    if np.isnan(found.value):
        return f"{NAMES[name]} not known"
    value = f"{NAMES[name]} {found.value:.2f}"
    if np.isfinite(found.se):
        value += f" ± {found.se:.2f}"
    if np.isfinite(found.high):
        return f"{value} against {found.low:.2f} to {found.high:.2f}"
    return f"{value} against {found.low:.2f} and more" if np.isfinite(found.low) else value


NAMES = {
    "move_slope": "calibration slope",
    "frobenius": "Frobenius distance",
    "spectral": "spectral distance",
    "sign_flips": "edges that turned sign",
    "turnover": "edge turnover",
    "coverage": "coverage of the 95% intervals",
    "harm": "calibration slope",
    "own_size": "size of own impact over the kernel's",
    "half_life": "half-life in minutes",
    "flow": "flow over that at calibration",
    "spread": "spread over that at calibration",
    "vol": "volatility over that at calibration",
    "regime_share": "change of the regime's share of buckets",
}


def _verdict(rows: Sequence[Evidence], buckets: int, unseen: bool) -> tuple[Verdict, str]:
    worst = max(rows, key=lambda row: SEVERITY[row.verdict])
    if worst.verdict != "ok":
        return worst.verdict, worst.reason
    if buckets < MIN_BUCKETS:
        return "ok", f"{buckets} buckets, {MIN_BUCKETS} needed to say anything"
    told = {row.statistic: row for row in rows}
    if np.isnan(told["move_slope"].value):
        return "ok", "no cross cost is predicted, so nothing of it can drift"
    slope = told["move_slope"].reason.split(";")[0]
    if not unseen:
        return "ok", f"{slope}; the champion was fitted on this week, so it is no evidence"
    most = max((told[name] for name in STATISTICS), key=lambda row: row.evidence)
    return "ok", (
        f"{slope}; most evidence of change {most.evidence:.3g} ({NAMES[most.statistic]}), "
        f"limit {most.limit:.3g}"
    )


def _fallback(panel: Panel, response: Response, lower: Mapping[str, ImpactModel]) -> str:
    """The best rung that this week shows to predict better than none, else self-only."""
    if len(panel.ts) < MIN_BUCKETS:
        return "self_only"
    for rung in COUPLED:
        if rung in lower and _surely_worth(panel, response, lower[rung]):
            return rung
    return "self_only"


def _surely_worth(panel: Panel, response: Response, model: ImpactModel) -> bool:
    moves = move_slope(open_held_out(model, panel, response), champion_gamma_se(model))
    if moves is None:
        return False
    slope, _ = moves
    return slope.value - slope.se * float(t.ppf(SURE, slope.df)) > WORTHLESS


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in row.items()}
