"""Which rung of the ladder ships: the purged walk-forward's verdict.

A rung that couples names earns its place when, on days nobody had seen when it was fitted, it gains
R2 over self-only, pooled over all cells *and* in the mean over names, and more than the placebo
does, and when its calibration slope is above zero by more than the luck of the best of several
rungs: the gain of a few days may be luck, and the slope weighs every cell of them. Of those that
do, the one with the largest pooled gain ships, or one common factor where it gains as much, its
matrix made smaller where the slope is below 1 (`sizes`). Pooled R2 weighs every cell by one over
its name's noise variance: it is the likelihood's measure, the surest there is, and no name owns it
by its size or its volatility; the mean over names vetoes a gain that one well-explained name makes
at the others' expense.

Where a factor that is not symmetric in dollars beats every rung by more than chance
(`market_wins`), it becomes a control (`market_control`) and the ladder is judged again on what it
leaves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import stdtrit  # scipy.stats takes a second longer to import

from crossimpact import progress
from crossimpact.errors import EstimationError
from crossimpact.estimate import baselines, stability, weighted_rows
from crossimpact.estimate.market_control import MIN_NAMES
from crossimpact.estimate.rungs import AS_FITTED, Found, Size, estimate
from crossimpact.estimate.walk_forward import (
    MIN_BLOCKS,
    MIN_DATES,
    MIN_PARTS,
    PART_BUCKETS,
    Candidate,
    Score,
    splits,
    walk_forward,
)
from crossimpact.estimate.window import Window, fit_cross_of, net_model
from crossimpact.ladder import COUPLED, FITTED, Rung
from crossimpact.model import Array, from_scaled
from crossimpact.slope import Slope

CANDIDATES = (*FITTED, "placebo", *baselines.NAMES)
#: Gains within this share of the larger are the same to a walk-forward of a few days; then the one
#: common factor ships, which has a number per name where pairs have one per pair.
SAME = 0.01
#: One-sided confidence that the cross moves predicted by what ships are there at all, shared by the
#: rungs that predict any: the best of several may look right by luck. At 95% each, 3 of 40 fits of
#: desks without cross impact shipped a pair or a block, with slopes 1.9 to 2.2 errors above zero;
#: on coupled desks of ten days they were 6 to 40 above.
SURE = 0.99
PRIOR_SIZE = 0.25  # standard deviation of a matrix's true size around the fitted one
CONFIDENCE = 0.95  # of the interval of gain over the best rung that the market's factor must clear
COMMON = {"sector_block": "the template", "one_factor": "one common factor"}


@dataclass(frozen=True)
class Verdict:
    """What the walk-forward saw.

    Attributes
    ----------
    scores
        By candidate: the fitted rungs, the placebo, the baselines; empty without a step.
    steps
        Steps that could be fitted.
    rung, reason
        Who ships, and why not the rung above.
    """

    scores: Mapping[str, Score]
    steps: int
    rung: Rung
    reason: str

    def metrics(self) -> dict[str, float]:
        """Out-of-sample numbers of all candidates; all zero when nothing could be held out."""
        if not self.scores:
            zero = {f"oos_{kind}_{name}": 0.0 for name in CANDIDATES for kind in ("r2", "name_r2")}
            return {**zero, "placebo_gain": 0.0, "oos_r2_shipped": 0.0, "oos_name_r2_shipped": 0.0}
        base, shipped = self.scores["self_only"], self.scores[self.rung]
        gain, se = shipped.gain_over(base)
        slope = shipped.slope()
        per_name = shipped.name_gains(base)
        known = per_name[np.isfinite(per_name)]
        return {
            **{f"oos_r2_{name}": self.scores[name].r2 for name in CANDIDATES},
            **{f"oos_name_r2_{name}": self.scores[name].name_r2 for name in CANDIDATES},
            "placebo_gain": self.scores["placebo"].gain_over(base)[0],
            "oos_r2_shipped": shipped.r2,
            "oos_name_r2_shipped": shipped.name_r2,
            "oos_blocks": float(len(shipped.error)),
            "oos_gain": gain,
            "oos_gain_se": se,
            "oos_median_name_gain": float(np.median(known)) if known.size else 0.0,
            "oos_names_better": float((known > 0).mean()) if known.size else 0.0,
            "oos_basket_r2": shipped.basket_r2,
            "oos_slippage_gain": shipped.slippage_r2 - base.slippage_r2,
            "oos_slope": slope.value,
            "oos_slope_se": slope.se,
        }


def judge(window: Window, found: Found, late: Array) -> Verdict:
    """Walk forward and choose.

    Parameters
    ----------
    window, found
        The window, and what was estimated on all of it.
    late
        The placebo's flows, raw, on the window's panel, shape (T, n).
    """
    scores, steps = _walk(window, found.share, late)
    rung, reason = choose(found, scores) if steps else ("self_only", _nothing_held_out(window))
    return Verdict(scores, steps, rung, reason)


def _walk(window: Window, share: float, late: Array) -> tuple[dict[str, Score], int]:
    """Walk forward with the ladder, the baselines and the placebo."""
    panel = window.panel.of_regime(window.regime)
    regimes = [window.regime] if window.lead is None else [window.regime, window.lead]
    days = weighted_rows.answering(window.rows(), window.panel, late, window.transform)
    shifted = weighted_rows.blocks(days, [block[-1] for block in window.blocks], regimes)
    fake = replace(replace(window, moments=shifted).paying(window.ratios), alone=window.alone)
    late = late[window.panel.regime == window.regime]

    starts = [train for train, _ in splits(len(window.blocks))]

    def fit(train: int) -> dict[str, Candidate]:
        step = starts.index(train) + 1
        progress.tell(f"fit {window.regime}: walk-forward", "", step, len(starts))
        try:
            return _candidates(window, fake, share, late, train)
        except EstimationError:
            return {}

    response = window.response(window.regime, share)
    return walk_forward(panel, response, window.blocks, fit)


def _candidates(
    window: Window, fake: Window, share: float, late: Array, train: int
) -> dict[str, Candidate]:
    """Everything that is scored, fitted on the first so many blocks."""
    result = estimate(window, train)
    candidates = {str(name): Candidate(result.ladder[name]) for name in FITTED}
    beta, adv = result.alone.beta, window.panel.adv
    unknown = np.full((window.panel.n, window.panel.n), np.nan)
    others = baselines.fit(window.equations(window.regime, train, beta), beta, adv)
    window.held.clear()  # the placebo's come now
    for name, scaled in others.items():
        model = net_model(window, train, share, result.alone, scaled, unknown, {})
        candidates[name] = Candidate(model)
    _, cross, _ = fit_cross_of(fake, train)
    fake.held.clear()
    placebo = replace(result.ladder["self_only"], gamma=from_scaled(cross.scaled, adv))
    placebo, _, _ = stability.stabilise(placebo, cross.template.scaled)
    candidates["placebo"] = Candidate(placebo, late)
    return candidates


def market_wins(window: Window, scores: Mapping[str, Score]) -> tuple[bool, float, float]:
    """Whether one factor per row, without symmetry, beats every rung by more than chance; its
    gain in pooled R2 over the best of them, and the standard error of that."""
    if window.panel.n < MIN_NAMES or not scores:
        return False, 0.0, 0.0
    asymmetric = scores["factor_rows"]
    best = max((scores[rung] for rung in FITTED), key=lambda score: score.r2)
    gain, se = asymmetric.gain_over(best)
    sure = gain > margin(len(asymmetric.error)) * se
    names = asymmetric.name_r2 > best.name_r2
    beyond = (
        asymmetric.gain_over(scores["self_only"])[0]
        > scores["placebo"].gain_over(scores["self_only"])[0]
    )
    return bool(sure and names and beyond), gain, se


def margin(blocks: int) -> float:
    """Standard errors either side of an interval of so many test blocks (Student's t)."""
    return -float(stdtrit(blocks - 1, (1 - CONFIDENCE) / 2)) if blocks > 1 else float("inf")


def choose(found: Found, scores: Mapping[str, Score]) -> tuple[Rung, str]:
    """Who ships, and why not the rung above."""
    base = scores["self_only"]
    gains = {name: scores[name].gain_over(base) for name in (*COUPLED, "placebo")}
    gain = {name: value for name, (value, _) in gains.items()}
    if not any(scores[name].told for name in COUPLED):
        return "self_only", "nothing to judge out of sample: no pair was kept on the earlier days"
    hurdle = max(0.0, gain["placebo"])
    rivals = sum(scores[name].told for name in COUPLED)
    ahead = [name for name in COUPLED if gain[name] > hurdle and _real(scores[name], rivals)]
    fair = [name for name in ahead if scores[name].name_r2 > base.name_r2]
    there = [name for name in fair if found.ladder[name].edges]
    if found.reason and "full" in there:  # what "full" became on the way down has its own rung
        there.remove("full")
    if there:
        best = max(there, key=lambda name: gain[name])
        if "one_factor" in there and gain["one_factor"] >= (1 - SAME) * gain[best]:
            best = "one_factor"
        return best, _why_not_above(found, best, gain, fair)
    top = max(COUPLED, key=lambda name: gain[name])
    if found.reason and top == "full":
        return "self_only", found.reason
    if ahead and not fair:
        lost = scores[top].name_r2 - base.name_r2
        return "self_only", (
            f"cross terms add {gain[top]:+.2%} of R2 out of sample, but {lost:+.2%} in the mean "
            "over names"
        )
    slope = scores[top].slope()
    return "self_only", (
        f"cross terms add {gain[top]:+.2%} ± {np.nan_to_num(gains[top][1]):.2%} of R2 out of "
        f"sample, placebo {gain['placebo']:+.2%}; realized on predicted moves "
        f"{slope.value:.2f} ± {slope.se:.2f} ({1 - (1 - SURE) / rivals:.1%} sure to be above 0 "
        "is asked)"
    )


def _real(score: Score, rivals: int = 1) -> bool:
    """Whether what was predicted is there on the days held out, by more than the luck of the best
    of so many rungs (Bonferroni)."""
    return score.told and score.slope().lower(1 - (1 - SURE) / rivals) > 0


def sizes(scores: Mapping[str, Score]) -> dict[str, Size]:
    """By what each coupled rung's matrix is to be multiplied, at most 1: its calibration slope out
    of sample, as far as that is surer than the fit itself (empirical Bayes)."""
    return {rung: _size(scores[rung].slope()) for rung in COUPLED if rung in scores}


def _size(slope: Slope) -> Size:
    if not np.isfinite(slope.value + slope.se):
        return AS_FITTED
    keep = PRIOR_SIZE**2 / (PRIOR_SIZE**2 + slope.se**2)
    best = 1.0 + keep * (slope.value - 1.0)
    used = float(np.clip(best, 0.0, 1.0))
    return Size(used, float(np.sqrt(keep * slope.se**2 + (best - used) ** 2)))


def _why_not_above(found: Found, best: Rung, gain: Mapping[str, float], fair: Sequence[str]) -> str:
    if best == "full":
        return ""
    if found.reason:
        return found.reason
    more = gain["full"] - gain[best]
    told = f"pair deviations add {more:+.2%} of R2 over {COMMON[best]}"
    if more <= 0 or "full" not in fair:
        return told if more <= 0 else f"{told}, but not in the mean over names"
    if not found.ladder["full"].edges:
        return f"{told}, but none is left on the whole window"
    return told


def _nothing_held_out(window: Window) -> str:
    dates = np.unique(window.panel.date[window.panel.regime == window.regime])
    days = len({str(date).partition(" ")[0] for date in dates})
    if days >= MIN_BLOCKS:
        return "no out-of-sample verdict: too few days on which self impact could be fitted"
    return (
        f"no out-of-sample verdict: too few days to hold any out ({days}; {MIN_BLOCKS} needed, or "
        f"{MIN_DATES} with {MIN_PARTS} parts of {PART_BUCKETS} buckets between them)"
    )
