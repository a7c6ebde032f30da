"""What people are told of a rollout: changes of stage, demotions, refusing gates."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime

from crossimpact.errors import CrossImpactError, GateRefused, StaleModel
from pipelines.alerts import outbox
from pipelines.alerts.config import Kind, Severity
from pipelines.alerts.message import Message
from pipelines.rollout.places import Places
from pipelines.rollout.steps import Moved
from pipelines.store.settings import Settings

#: Kind and severity of a move.
TOLD: dict[str, tuple[Kind, Severity]] = {
    "start": ("stage", "info"),
    "up": ("stage", "info"),
    "stop": ("stage", "warning"),
    "down": ("demotion", "critical"),
}


def moved(settings: Settings, done: Moved, now: datetime) -> None:
    """A change of stage; a demotion is critical."""
    if done.action == "none":
        return
    kind, severity = TOLD[done.action]
    title = f"Rollout of {done.release}: {done.before or 'nothing'} to {done.stage or 'nothing'}"
    evidence = str(Places(settings.home).evidence(done.evidence)) if done.evidence else ""
    _told(settings, Message(kind, severity, title, done.why, evidence, now), now)


def refused(settings: Settings, refusal: GateRefused, now: datetime) -> None:
    """A stage that was asked for and refused."""
    message = Message("gate", "warning", "Rollout: a stage is refused", refusal.what, "", now)
    _told(settings, message, now)


def stale(settings: Settings, error: StaleModel, now: datetime) -> None:
    """No usable model, so that the rollout is down."""
    message = Message("stale", "critical", "Rollout: no usable model", error.what, "", now)
    _told(settings, message, now)


def _told(settings: Settings, message: Message, now: datetime) -> None:
    """An alert that cannot be sent keeps nobody from acting; it waits on disk."""
    with suppress(CrossImpactError, OSError):
        outbox.add(settings, message)
        outbox.send(settings, now)
