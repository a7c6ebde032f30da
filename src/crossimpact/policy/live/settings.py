"""How a live session decides."""

from __future__ import annotations

from dataclasses import dataclass, field

from crossimpact.policy.limits import Limits
from crossimpact.policy.state import Allowance, Caps, GuardrailState, PolicyName, Risk


@dataclass(frozen=True)
class Settings:
    """How a session decides.

    Attributes
    ----------
    name
        Of the session, part of every decision's id.
    every_min
        A plan at least so often, minutes of event time.
    interval_min, horizon
        As of the scheduler; the interval is the release's bucket.
    stale_s
        Seconds of event time after which a name's quote is stale.
    reading_s
        Seconds of event time between readings of the guardrails.
    allowed
        What a guardrail state allows, where the desk decides otherwise.
    """

    name: str
    limits: Limits
    policy: PolicyName = "optimal"
    every_min: float = 5.0
    interval_min: float = 5.0
    horizon: int = 12
    stale_s: float = 30.0
    reading_s: float = 60.0
    caps: Caps = field(default_factory=Caps)
    risk: Risk = field(default_factory=Risk)
    allowed: dict[GuardrailState, Allowance] = field(default_factory=dict)
