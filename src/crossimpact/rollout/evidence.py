"""What the drawn baskets of a stage say of the policy, in the numbers its gates ask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal

import numpy as np

from crossimpact.model import Array
from crossimpact.rollout import confidence
from crossimpact.rollout.effect import Effect, adjusted, control_weights, effect
from crossimpact.rollout.outcomes import CONTROLS, Outcomes
from crossimpact.rollout.randomisation_test import DRAWS, Alarm, Mechanism, alarm, p_value
from crossimpact.rollout.stages import Statistics
from crossimpact.rollout.tail import TailEffect, tail_effects

#: p-value from which a control is taken to be moved by the draw, and left out.
MOVED = 0.01

Verdict = Literal["lower", "higher", "no such difference", "not enough evidence"]


@dataclass(frozen=True)
class Reading:
    """A comparison of policy with control, and how far it can be trusted.

    Attributes
    ----------
    name
        What is compared.
    value, low, high
        Policy less control; bounds of all looks together, of a tail those of one look.
    power
        Chance of showing the planned effect by now.
    days_needed
        More days until that reaches what is asked for; None beyond all bounds.
    verdict
        ``not enough evidence`` below that power, unless the bounds leave zero out.
    """

    name: str
    value: float
    low: float
    high: float
    power: float
    days_needed: int | None
    verdict: Verdict


@dataclass(frozen=True)
class LiveEvidence:
    """The drawn baskets of a stage.

    Attributes
    ----------
    share, share_error
        Of notional that was drawn for the policy, and how far off the design's share.
    upper_bps
        One-sided upper bound of the adjusted mean effect, at all looks.
    p_value
        Exact, of no effect at all.
    controls
        Weight of each control; 0 where it is not used.
    moved
        Controls that the draw moved, and that are not used therefore.
    """

    days: int
    baskets: int
    treated: int
    share: float
    share_error: float
    upper_bps: float
    margin_bps: float
    p_value: float
    readings: tuple[Reading, ...]
    alarm: Alarm
    controls: Mapping[str, float]
    moved: tuple[str, ...]
    policy_tail: Mapping[str, float]
    control_tail: Mapping[str, float]

    def facts(self) -> dict[str, Any]:
        """By the names that gates use; what is not known is not there."""
        known = {reading.name: reading for reading in self.readings}
        facts = {
            "p_value": self.p_value,
            "upper_bps": self.upper_bps,
            "margin_bps": self.margin_bps,
            "share_error": self.share_error,
            "alarm_evidence": self.alarm.evidence,
            "alarm_limit": self.alarm.limit,
            "bad_fills_lo": known["bad_fills"].low,
            "participation_lo": known["participation"].low,
            "completion_hi": known["completion"].high,
        }
        return {name: value for name, value in facts.items() if np.isfinite(value)}

    def to_dict(self) -> dict[str, Any]:
        """Plain data, what is not finite as None."""
        result: dict[str, Any] = plain(asdict(self))
        return result


def live_evidence(
    of: Outcomes, mechanism: Mechanism, before: Outcomes, asked: Statistics, *, draws: int = DRAWS
) -> LiveEvidence:
    """All comparisons of a stage's drawn baskets.

    Parameters
    ----------
    before
        Undrawn baskets of earlier days, which weigh the controls.
    """
    weights, moved = _weights(of, mechanism, before, draws)
    y = adjusted(of, weights)
    seen = partial(effect, of, planned_days=asked.planned_days)
    mean, one_sided = seen(y, alpha=asked.alpha), seen(y, alpha=2 * asked.alpha)
    tails = tail_effects(of)
    others = {
        name: seen(getattr(of, name), alpha=asked.alpha)
        for name in ("bad_fills", "bad_fill_usd", "participation", "completion")
    }
    share = float(of.notional_usd[of.treated].sum() / of.notional_usd.sum()) if len(of) else np.nan
    return LiveEvidence(
        days=mean.days, baskets=mean.baskets, treated=mean.treated,
        share=share, share_error=abs(share - mechanism.share), upper_bps=one_sided.high,
        margin_bps=asked.margin_bps,
        p_value=p_value(of, y, mechanism, draws=draws) if len(of) else np.nan,
        readings=(
            _reading("mean_bps", mean, asked),
            *(_tail(name, row, mean.days, asked) for name, row in tails.items()),
            *(_reading(name, row, None) for name, row in others.items()),
        ),
        alarm=alarm(of, y, margin=0.0, alpha=asked.alpha, draws=draws),
        controls=dict(zip(CONTROLS, weights.tolist(), strict=True)),
        moved=moved,
        policy_tail={name: row.policy for name, row in tails.items()},
        control_tail={name: row.control for name, row in tails.items()},
    )  # fmt: skip


def _weights(
    of: Outcomes, mechanism: Mechanism, before: Outcomes, draws: int
) -> tuple[Array, tuple[str, ...]]:
    """The controls' weights; one that the draw moves would hide what it carries."""
    weights = control_weights(before)
    moved = [
        name
        for k, name in enumerate(CONTROLS)
        if weights[k] and len(of) and p_value(of, of.controls[:, k], mechanism, draws=draws) < MOVED
    ]
    kept = [0.0 if name in moved else 1.0 for name in CONTROLS]
    return weights * kept, tuple(moved)


def _reading(name: str, found: Effect, asked: Statistics | None) -> Reading:
    power, more = _power(found.day_sd, found.days, asked)
    verdict = _verdict(found.low, found.high, power, asked)
    return Reading(name, found.value, found.low, found.high, power, more, verdict)


def _tail(name: str, found: TailEffect, days: int, asked: Statistics) -> Reading:
    power, more = _power(found.se * days**0.5, days, asked)
    verdict = _verdict(found.low, found.high, power, asked)
    return Reading(name, found.value, found.low, found.high, power, more, verdict)


def _power(day_sd: float, days: int, asked: Statistics | None) -> tuple[float, int | None]:
    """Of showing the planned effect by now, and how many more days that takes."""
    if asked is None:  # of another unit than bps
        return float("nan"), None
    by = (asked.effect_bps, day_sd)
    level = (asked.alpha, asked.planned_days)
    needed = confidence.days_needed(*by, *level, asked.power)
    return confidence.power(*by, days, *level), None if needed is None else max(0, needed - days)


def _verdict(low: float, high: float, power: float, asked: Statistics | None) -> Verdict:
    if high < 0 or low > 0:
        return "lower" if high < 0 else "higher"
    enough = asked is not None and power >= asked.power
    return "no such difference" if enough else "not enough evidence"


def plain(value: Any) -> Any:
    """Plain data, what is not finite as None."""
    if isinstance(value, Mapping):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
