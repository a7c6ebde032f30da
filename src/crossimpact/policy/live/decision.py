"""What a session answers: cumulative targets per parent, who decided and why."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from crossimpact.plain_data import canonical_json
from crossimpact.policy.live.events import Level, Mode
from crossimpact.policy.plan import Plan
from crossimpact.policy.state import DeskState, GuardrailState, Style

ID_LENGTH = 24


class ParentTarget(Struct, frozen=True):
    """Where a parent is to stand: filled and working together, signed shares.

    A target is cumulative: saying it twice asks for nothing twice.
    """

    parent: str
    symbol: str
    target: float
    style: Style = "passive"


class Decision(Struct, frozen=True):
    """One decision of a session.

    Attributes
    ----------
    id
        Hash of session, release, guardrail state, inputs and number; whoever executes keeps the
        highest `seq` and ignores what is not above it.
    mode
        In `advisory` targets are advice, and nothing is to be sent.
    level
        RUN, or what is latched: PAUSE asks for nothing new, CANCEL and KILL for what is filled.
    triggers
        Why now.
    targets
        Every open parent's.
    refusals
        Children kept back by a hard limit, with its article.
    outstanding
        Parents with orders not known to be terminal: not flat, whatever was asked for.
    propensity
        Chance with which a policy that draws at random would have decided so; this one does not.
    inputs
        sha256 of the desk's state.
    """

    id: str
    seq: int
    at: datetime
    session: str
    release: str
    regime: str
    rung: str
    answered: str
    mode: Mode
    level: Level
    guardrail: GuardrailState
    triggers: tuple[str, ...]
    targets: tuple[ParentTarget, ...]
    refusals: tuple[str, ...]
    outstanding: dict[str, float]
    why: str = ""
    propensity: float = 1.0
    inputs: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        result: dict[str, Any] = msgspec.to_builtins(self)
        return result


class Recorded(Struct, frozen=True):
    """A decision with all it was made from, for the journal: what `explain` and a replay read."""

    decision: Decision
    state: DeskState | None
    plan: Plan | None

    def to_dict(self) -> dict[str, Any]:
        result: dict[str, Any] = msgspec.to_builtins(self)
        return result


def inputs_digest(state: DeskState | None) -> str:
    """sha256 of a desk's state; empty without one."""
    return hashlib.sha256(msgspec.json.encode(state)).hexdigest() if state is not None else ""


def identity(session: str, release: str, guardrail: str, inputs: str, seq: int) -> str:
    """A decision's id."""
    content = canonical_json([session, release, guardrail, inputs, seq])
    return hashlib.sha256(content).hexdigest()[:ID_LENGTH]
