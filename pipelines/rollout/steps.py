"""What moves a rollout: start, one stage up, stop; each day a commitment and a judgement.

Every move is a line of the rollout's ledger, on disk before it is in force; what it was decided on
is kept by its digest, written before the line.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from typing import Any, Literal

import numpy as np

from crossimpact import atomic
from crossimpact.errors import CrossImpactError, GateRefused, StaleModel, UsageError
from crossimpact.model import Array
from crossimpact.release import gates
from crossimpact.release.ledger import utc
from crossimpact.rollout import design, ledger, stages
from crossimpact.rollout.design import DayDraw, commitment
from crossimpact.rollout.ledger import Standing, entry
from crossimpact.rollout.stages import RolloutPlan, Stage
from pipelines.approval import Signature
from pipelines.release import champion
from pipelines.rollout import baskets, gathering, plan_file, shadow_evidence
from pipelines.rollout.gathering import BEFORE, Evidence
from pipelines.rollout.places import Places
from pipelines.store.settings import Settings

#: So many random bytes.
Entropy = Callable[[int], bytes]


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
class Committed:
    """What is fixed of a date before its open."""

    date: str
    commitment: str
    chances: tuple[float, ...]
    cuts_usd: tuple[float, ...]
    share: float
    when: str

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


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
    above = plan.after(_stage(plan, standing).name)
    if above is None:
        raise UsageError(f"the rollout is at its last stage, {standing.stage}", "nothing is above")
    found = gathering.gather(settings, plan, live, standing, now())
    rows = stages.asked_up(_stage(plan, standing), found.days, found.facts)
    rows += stages.asked_stop(_stage(plan, standing), found.facts)
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


def commit(
    settings: Settings,
    date: str,
    *,
    who: str,
    now: datetime,
    entropy: Entropy = secrets.token_bytes,
) -> Committed:
    """Fix a date's draw: a salt that nobody else knows, its hash and the chances on record.

    A salt that was written and not committed to (a killed process) is used; one that is committed
    to is never replaced.

    Raises
    ------
    UsageError
        When the stage draws nothing, or the date has begun elsewhere and is over.
    CrossImpactError
        When the date has a commitment.
    """
    plan, places = plan_file.load(settings.home), Places(settings.home)
    standing = _running(settings)
    if not _stage(plan, standing).draws:
        raise UsageError(f"stage {standing.stage} draws no basket", "go a stage up first")
    if date < utc(now).date().isoformat():
        raise UsageError(f"{date} is over", "a salt is committed to before the open")
    if known := standing.draws.get(date):
        return _committed(known)
    salt = _salt(places, date, entropy)
    draw = _draw(settings, plan, standing, date, commitment(date, salt))
    with ledger.locked(places.ledger) as held:
        line = entry("commit", when=now, who=who, stage=standing.stage, release=standing.release,
                     date=date, draw=draw)  # fmt: skip
        return _committed(held.append(line))


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
        _running(settings),
    )
    first = plan.stage[0].name
    down = partial(_down, settings, standing, first, who, now)
    try:
        live = champion(settings)[0]
    except StaleModel as error:
        down(standing.release, error.what)
        raise
    if broken := _reveal(places, standing, who, now):
        down(live.digest, broken)
        return Moved("down", standing.stage, first, live.id, broken)
    found = gathering.gather(settings, plan, live, standing, now)
    shadow_evidence.publish(settings, live, found.shadow)
    rows = tuple(stages.asked_stop(_stage(plan, standing), found.facts))
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
    plan, standing = plan_file.load(settings.home), _standing(settings)
    if standing is None:
        return Status("", "", "", plan.stage[0].name, 0, 0, (), (), None)
    live, stage = champion(settings)[0], _stage(plan, standing)
    found = gathering.gather(settings, plan, live, standing, now)
    above = plan.after(stage.name)
    up = stages.asked_up(stage, found.days, found.facts) if above else []
    return Status(
        stage.name, standing.since.when, standing.release[:12], above.name if above else "",
        found.days, stage.min_days, tuple(up), tuple(stages.asked_stop(stage, found.facts)), found,
    )  # fmt: skip


def is_on(settings: Settings) -> bool:
    """Whether a rollout is on."""
    return _standing(settings) is not None


def draws(settings: Settings) -> bool:
    """Whether the stage in force draws baskets."""
    standing = _standing(settings)
    return standing is not None and _stage(plan_file.load(settings.home), standing).draws


def _standing(settings: Settings) -> Standing | None:
    return ledger.standing(ledger.entries(Places(settings.home).ledger))


def _running(settings: Settings) -> Standing:
    if (standing := _standing(settings)) is None:
        raise UsageError("no rollout is on", "`crossimpact rollout start` begins one")
    return standing


def _stage(plan: RolloutPlan, standing: Standing) -> Stage:
    if (stage := plan.of(standing.stage)) is None:
        known = ", ".join(stage.name for stage in plan.stage)
        raise UsageError(
            f"the rollout is at stage {standing.stage}, which {stages.FILE} no longer has",
            f"stop it, or put the stage back beside {known}",
        )
    return stage


def _salt(places: Places, date: str, entropy: Entropy) -> bytes:
    """The date's salt, made once."""
    path = places.salt(date)
    with suppress(FileExistsError):
        atomic.create(path, entropy(design.SALT_BYTES))
        path.chmod(0o600)
    return path.read_bytes()


def _draw(
    settings: Settings, plan: RolloutPlan, standing: Standing, date: str, hashed: str
) -> DayDraw:
    """Chances of a date: the share, less what earlier dates of the stage gave beyond it."""
    earlier = [line.draw for line in standing.draws.values() if line.draw]
    strata = plan.design.strata
    known = baskets.before(settings, min(standing.draws, default=date), BEFORE)
    cuts = earlier[0].cuts_usd if earlier else design.cuts(known.notional_usd.tolist(), strata)
    stratum = np.searchsorted(cuts, known.notional_usd, side="left")
    usual = np.bincount(stratum, known.notional_usd, strata) / max(1, len(known.days))
    excess = _excess(settings, standing, strata, plan.design.share)
    chances = design.chances(excess, usual, plan.design.share)
    return DayDraw(date, plan.design, hashed, tuple(cuts), tuple(chances.tolist()),
                   tuple(usual.tolist()))  # fmt: skip


def _excess(settings: Settings, standing: Standing, strata: int, share: float) -> Array:
    """Notional beyond its share that the stage's earlier dates gave the policy, by stratum."""
    places = Places(settings.home)
    kept = {d: places.salt(d).read_bytes() for d in standing.draws if places.salt(d).exists()}
    salts = kept | ledger.revealed(ledger.entries(places.ledger))
    found = baskets.drawn(settings, standing.draws, salts, {})
    of = found.outcomes
    excess = np.bincount(found.stratum, (of.treated - share) * of.notional_usd, strata)
    return np.asarray(excess, dtype=float)


def _reveal(places: Places, standing: Standing, who: str, now: datetime) -> str:
    """Tell the salts of dates that are over, and forget them; what is wrong with one of them."""
    today, broken = utc(now).date().isoformat(), ""
    for date in sorted(day for day in standing.draws if day < today):
        path = places.salt(date)
        with ledger.locked(places.ledger) as held:
            if date in ledger.revealed(held.entries):
                path.unlink(missing_ok=True)
                continue
            if not path.exists():
                continue  # a missing day
            salt = path.read_bytes().hex()
            told = entry("reveal", when=now, who=who, stage=standing.stage,
                         release=standing.release, date=date, salt=salt)  # fmt: skip
            try:
                held.append(told)
                path.unlink()
            except CrossImpactError as error:
                broken = error.what
    return broken


def _committed(line: ledger.Entry) -> Committed:
    draw = line.draw
    if draw is None:
        raise UsageError(f"the commitment of {line.date} fixes nothing", "verify the ledger")
    return Committed(draw.date, draw.commitment, draw.chances, draw.cuts_usd, draw.design.share,
                     line.when)  # fmt: skip
