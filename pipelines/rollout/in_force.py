"""The stage of a rollout that is in force."""

from __future__ import annotations

from crossimpact.errors import UsageError
from crossimpact.rollout import ledger, stages
from crossimpact.rollout.ledger import Standing
from crossimpact.rollout.stages import RolloutPlan, Stage
from pipelines.rollout.places import Places
from pipelines.store.settings import Settings


def is_on(settings: Settings) -> bool:
    """Whether a rollout is on."""
    return standing(settings) is not None


def standing(settings: Settings) -> Standing | None:
    """None while no rollout is on."""
    return ledger.standing(ledger.entries(Places(settings.home).ledger))


def running(settings: Settings) -> Standing:
    """As `standing`; a UsageError where none is on."""
    if (found := standing(settings)) is None:
        raise UsageError("no rollout is on", "`crossimpact rollout start` begins one")
    return found


def stage(plan: RolloutPlan, standing: Standing) -> Stage:
    """What the plan says of it; a UsageError where it no longer has it."""
    if (stage := plan.of(standing.stage)) is None:
        known = ", ".join(stage.name for stage in plan.stage)
        raise UsageError(
            f"the rollout is at stage {standing.stage}, which {stages.FILE} no longer has",
            f"stop it, or put the stage back beside {known}",
        )
    return stage
