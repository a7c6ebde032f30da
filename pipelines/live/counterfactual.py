"""Another policy on the states of a journal, by the model's own measure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from crossimpact.ladder import RUNGS
from crossimpact.policy import plan as plans
from crossimpact.policy import state
from crossimpact.policy.plan import Plan
from crossimpact.policy.schedule import Scheduler
from crossimpact.policy.state import PolicyName
from crossimpact.release.bundle import Answer
from pipelines.live import journal as journals
from pipelines.live.release_store import ReleaseStore
from pipelines.store.settings import Settings


@dataclass(frozen=True)
class PlanChange:
    """What another policy would have planned at a moment, up to the end of its horizon: objectives,
    USD, lower is better."""

    at: str
    until: str
    answered: str
    other: str
    planned_usd: float
    change_usd: float


@dataclass(frozen=True)
class Counterfactual:
    """Another policy on a journal's recorded states, by the model's own measure."""

    journal: str
    policy: PolicyName
    lines: int
    by_plan: tuple[PlanChange, ...]

    @property
    def apart(self) -> tuple[PlanChange, ...]:
        """Plans of which each begins where the horizon of the one before has ended."""
        result: list[PlanChange] = []
        for row in self.by_plan:
            if not result or _moment(row.at) >= _moment(result[-1].until):
                result.append(row)
        return tuple(result)

    @property
    def other_costs_usd(self) -> float:
        """Sum of the changes over plans `apart`, so that no hour counts twice."""
        return sum(row.change_usd for row in self.apart)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "note": "objectives of the model on the recorded states, lower is better",
            "plans": len(self.by_plan),
            "plans_apart": len(self.apart),
            "other_costs_usd": self.other_costs_usd,
            **asdict(self),
        }


def counterfactual(settings: Settings, path: Path, policy: PolicyName) -> Counterfactual:
    """What another policy would have planned from each recorded state, by the model's costs.

    States are as they were: what the other policy's own fills would have changed is not followed.
    """
    lines, verdict = journals.read(path.read_bytes())
    store, scheduler = ReleaseStore(settings), Scheduler()
    rows = []
    for line in lines:
        if line["kind"] != "decision" or line["plan"] is None:
            continue
        was, desk = plans.read_plan(line["plan"]), state.read(line["state"])
        answer = answer_of(store, was)
        if was.expected is None or answer is None:
            continue
        other = scheduler.plan(answer, desk, policy, release=was.release)
        if other.expected is None:
            continue
        planned = was.expected.objective_usd
        change = other.expected.objective_usd - planned
        horizon = timedelta(minutes=desk.horizon * desk.interval_min)
        until = (desk.at + horizon).isoformat()
        rows.append(
            PlanChange(desk.at.isoformat(), until, was.answered, other.answered, planned, change)
        )
    return Counterfactual(str(path), policy, verdict.lines, tuple(rows))


def _moment(at: str) -> datetime:
    return datetime.fromisoformat(at)


def answer_of(store: ReleaseStore, plan: Plan) -> Answer | None:
    """Who answered a recorded plan: the release's model of its rung; None without a model."""
    if not plan.release:
        return None
    release = store(plan.release)
    models = release.rungs(plan.regime) if plan.regime in release.models else {}
    model = models.get(plan.rung)
    if model is None and plan.rung == "self_only" and models:
        model = release.models[plan.regime].self_only()
    if model is None:
        return None
    rung = next(rung for rung in RUNGS if rung == plan.rung)
    return Answer(model, rung, "", release.fallback[plan.regime].max_pov[rung])
