"""What moves a rollout: start, one stage up, stop; each day a judgement.

Every move is a line of the rollout's ledger, on disk before it is in force; what it was decided on
is kept by its digest, written before the line.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from typing import Any, Literal

from crossimpact import atomic
from crossimpact.errors import GateRefused, StaleModel, UsageError
from crossimpact.release import gates
from crossimpact.rollout import ledger, stages
from crossimpact.rollout.ledger import Standing, entry
from pipelines.approval import Signature
from pipelines.release import champion
from pipelines.rollout import drawing, gathering, in_force, plan_file, shadow_evidence
from pipelines.rollout.gathering import Evidence
from pipelines.rollout.places import Places
from pipelines.store.settings import Settings


@dataclass(frozen=True)
class Moved:
    """A change of stage, or none."""

    action: Literal["start", "up", "down", "stop", "none"]
    before: str
    stage: str
    release: str
    why: str
    evidence: str = ""
    gates: tuple[gates.Row, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether another stage, or none, is in force."""
        return self.action != "none"

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        rows = {"gates": [row.to_dict() for row in self.gates]}
        return asdict(self) | rows | {"changed": self.changed}


@dataclass(frozen=True)
class Status:
    """Where a rollout is, on what evidence, and what its gates say."""

    stage: str
    since: str
    release: str
    next: str
    days: int
    min_days: int
    up: tuple[gates.Row, ...]
    stop: tuple[gates.Row, ...]
    evidence: Evidence | None

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        rows = {name: [row.to_dict() for row in getattr(self, name)] for name in ("up", "stop")}
        told = self.evidence.to_dict() if self.evidence else None
        return {**vars(self), **rows, "evidence": told}


def start(settings: Settings, *, signed: Signature, now: Callable[[], datetime]) -> Moved:
    """Begin at the first stage, or go one stage up.

    Parameters
    ----------
    signed
        Who asks; a stage up needs a reason and a second person.

    Raises
    ------
    GateRefused
        When a gate refuses, naming each with its value and limit; or who asks approves.
    StaleModel
        Without a champion.
    """
    plan, live = plan_file.load(settings.home), champion(settings)[0]
    places = Places(settings.home)
    with ledger.locked(places.ledger) as held:
        standing = held.standing
        if standing is None:
            first = plan.stage[0].name
            held.append(entry("start", when=now(), who=signed.who, stage=first,
                              release=live.digest, why=signed.reason))  # fmt: skip
            return Moved("start", "", first, live.id, signed.reason)
    if not (signed.reason.strip() and signed.approver.strip()):
        raise UsageError("a stage up needs a reason and an approver", "add --reason R --approver A")
    signed.check()
    above = plan.after(in_force.stage(plan, standing).name)
    if above is None:
        raise UsageError(f"the rollout is at its last stage, {standing.stage}", "nothing is above")
    found = gathering.gather(settings, plan, live, standing, now())
    rows = stages.asked_up(in_force.stage(plan, standing), found.days, found.facts)
    rows += stages.asked_stop(in_force.stage(plan, standing), found.facts)
    if refused := gates.failures(rows):
        raise GateRefused(
            f"stage {above.name} is refused by {len(refused)} gate(s): {stages.told(rows)}",
            "`crossimpact rollout status` shows the evidence",
            {"stage": standing.stage, "gates": [row.to_dict() for row in rows]},
        )
    atomic.write_atomic(places.evidence(found.digest), found.content)
    with ledger.locked(places.ledger) as held:
        if held.standing is None or held.standing.since != standing.since:
            raise UsageError("the rollout moved meanwhile", "look at `crossimpact rollout status`")
        held.append(entry("up", when=now(), who=signed.who, stage=above.name, release=live.digest,
                          why=signed.reason, approver=signed.approver,
                          evidence=found.digest))  # fmt: skip
    return Moved(
        "up", standing.stage, above.name, live.id, signed.reason, found.digest, tuple(rows)
    )


def stop(settings: Settings, *, who: str, reason: str, now: datetime) -> Moved:
    """End the rollout at once: the policy trades nothing of it any longer.

    Raises
    ------
    UsageError
        Without a reason, or when none is on.
    """
    if not reason.strip():
        raise UsageError("a stop needs a reason", "say --reason")
    with ledger.locked(Places(settings.home).ledger) as held:
        standing = held.standing
        if standing is None:
            raise UsageError("no rollout is on", "`crossimpact rollout start` begins one")
        held.append(entry("stop", when=now, who=who, stage="", release=standing.release,
                          why=reason))  # fmt: skip
    return Moved("stop", standing.stage, "", standing.release[:12], reason)


def judge(settings: Settings, *, who: str, now: datetime) -> Moved:
    """After the close: reveal the salts of dates that are over, ask the stop gates, go down at once
    when one fails; and give the gates of promotions their shadow.

    Raises
    ------
    StaleModel
        Without a champion, once the rollout is down.
    """
    plan, places, standing = (
        plan_file.load(settings.home),
        Places(settings.home),
        in_force.running(settings),
    )
    first = plan.stage[0].name
    down = partial(_down, settings, standing, first, who, now)
    try:
        live = champion(settings)[0]
    except StaleModel as error:
        down(standing.release, error.what)
        raise
    if broken := drawing.reveal(places, standing, who, now):
        down(live.digest, broken)
        return Moved("down", standing.stage, first, live.id, broken)
    found = gathering.gather(settings, plan, live, standing, now)
    shadow_evidence.publish(settings, live, found.shadow)
    rows = tuple(stages.asked_stop(in_force.stage(plan, standing), found.facts))
    if not (refused := stages.told(rows)):
        return Moved("none", standing.stage, standing.stage, live.id, "", found.digest, rows)
    atomic.write_atomic(places.evidence(found.digest), found.content)
    down(live.digest, refused, found.digest, [str(row) for row in gates.failures(rows)])
    return Moved("down", standing.stage, first, live.id, refused, found.digest, rows)


def _down(
    settings: Settings, standing: Standing, first: str, who: str, now: datetime, release: str,
    why: str, evidence: str = "", refused: Sequence[str] = (),
) -> None:  # fmt: skip
    """Back to the first stage, unless somebody moved the rollout meanwhile; an open live session
    goes to advisory, so that what it has asked for already is asked for no longer."""
    from pipelines.live import run

    with ledger.locked(Places(settings.home).ledger) as held:
        if held.standing and held.standing.since == standing.since and standing.stage != first:
            held.append(entry("down", when=now, who=who, stage=first, release=release, why=why,
                              refused=refused, evidence=evidence))  # fmt: skip
    if standing.stage != first:
        with suppress(UsageError):  # no session is open, or it is advisory
            run.set_mode(settings, "advisory", who, "", f"rollout down: {why}", now)


def status(settings: Settings, *, now: datetime) -> Status:
    """Where the rollout is; reads only."""
    plan, standing = plan_file.load(settings.home), in_force.standing(settings)
    if standing is None:
        return Status("", "", "", plan.stage[0].name, 0, 0, (), (), None)
    live, stage = champion(settings)[0], in_force.stage(plan, standing)
    found = gathering.gather(settings, plan, live, standing, now)
    above = plan.after(stage.name)
    up = stages.asked_up(stage, found.days, found.facts) if above else []
    return Status(
        stage.name, standing.since.when, standing.release[:12], above.name if above else "",
        found.days, stage.min_days, tuple(up), tuple(stages.asked_stop(stage, found.facts)), found,
    )  # fmt: skip
