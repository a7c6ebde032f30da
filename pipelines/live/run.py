"""A live session of a home: releases, limits, journal and loop put together, and what is left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from crossimpact.consumer.client import Client
from crossimpact.errors import StaleModel, UsageError
from crossimpact.policy import allowances, state
from crossimpact.policy.explain import Explanation, explanation
from crossimpact.policy.limits import Limits, approved
from crossimpact.policy.live.events import Mode
from crossimpact.policy.live.settings import Settings as SessionSettings
from crossimpact.policy.plan import read_plan
from crossimpact.policy.state import PolicyName
from crossimpact.release.bundle import Answer
from pipelines.live import journal as journals
from pipelines.live import levels, modes, recap
from pipelines.live.counterfactual import answer_of
from pipelines.live.engine import Engine, Opening, Replayed, replay
from pipelines.live.feeds import Feed, SocketFeed, feed, output
from pipelines.live.loop import Loop
from pipelines.live.places import Places
from pipelines.live.play import Player
from pipelines.live.recap import Recap
from pipelines.live.release_store import ReleaseStore
from pipelines.rollout.assigner import assigner
from pipelines.store.landing import Landing
from pipelines.store.settings import Settings


@dataclass(frozen=True)
class Asked:
    """How a session is asked for."""

    session: str
    feeds: Sequence[str]
    outputs: Sequence[str]
    who: str
    approver: str = ""
    policy: PolicyName = "optimal"
    mode: Mode = "advisory"
    every_min: float = 5.0
    port: int | None = None
    follow: bool = True
    watch: bool = True
    limit_s: float = 5.0
    fresh_s: float = 120.0


@dataclass(frozen=True)
class Ended:
    """A session that ran: what it was, whether its feeds ended and it is sealed, and its page."""

    recap: Recap
    sealed: bool
    page: Path | None

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        page = str(self.page) if self.page else None
        return self.recap.to_dict() | {"sealed": self.sealed, "page": page}


@dataclass(frozen=True)
class LevelSet:
    """A level that was written for the loop and its watchdog to see."""

    was: str
    level: str
    who: str
    reason: str
    file: str


def run(
    settings: Settings,
    asked: Asked,
    clock: Callable[[], datetime],
    player: Feed | None = None,
) -> Ended:
    """Run a session until its feeds end or a signal says stop.

    Raises
    ------
    GateRefused
        When limits are looser than the last session's without a second name.
    StaleModel
        When its journal is sealed or does not replay.
    """
    places, store = Places(settings.home), ReleaseStore(settings)
    client = _client(settings, asked.who, clock)
    served = client.pull()
    bucket_s = served.release.bucket_s if served.release else settings.bucket_s
    limits = approved(last_limits(settings), Limits.read(places.limits), asked.who, asked.approver)
    told = SessionSettings(
        asked.session, limits, asked.policy, asked.every_min, interval_min=bucket_s / 60,
        allowed=allowances.read(places.allowances),
    )  # fmt: skip
    path = places.journal(asked.session)
    opening = Opening(told, mode=asked.mode, approver=asked.approver)
    engine = Engine(path, opening, store, assigner(settings))
    made = [feed(address, engine.places, follow=asked.follow) for address in asked.feeds]
    outs = [output(address) for address in asked.outputs]
    outs += [one for one in made if isinstance(one, SocketFeed)]
    files = [address for address in asked.outputs if address != "-" and ":" not in address]
    loop = Loop(
        engine, [*made, *([player] if player else [])], outs, places, clock, store.keep, client,
        asked.port, asked.limit_s, asked.fresh_s, asked.watch,
        str(Path(files[0]).absolute()) if files else "",
    )  # fmt: skip
    ended = asyncio.run(loop.run())
    if ended:
        engine.journal.seal()
    else:
        engine.journal.close()
    from pipelines.live import page  # figures: who only trades need not wait

    return Ended(recap.of(path), ended, page.build(settings, path, store) if ended else None)


def _client(settings: Settings, who: str, clock: Callable[[], datetime]) -> Client:
    policy = settings.policy.release
    return Client(
        settings.mlflow_uri,
        settings.ledger_path,
        settings.home / "live" / "consumer",
        clock=clock,
        max_age=policy.max_age,
        valid_for=policy.valid_for,
        fixed_pov=policy.fixed_pov,
        deadline_s=settings.pull_deadline_s,
    )


def journals_of(settings: Settings) -> list[Path]:
    """The home's journals, the one written last at the end."""
    folder = Places(settings.home).journal("").parent
    return sorted(folder.glob("*.jsonl"), key=lambda path: (path.stat().st_mtime_ns, path.name))


def last_limits(settings: Settings) -> Limits | None:
    """With which the last session began."""
    for path in reversed(journals_of(settings)):
        with path.open("rb") as stream:
            first, _ = journals.read(stream.readline())
        if first:
            return Opening.of(first[0]).settings.limits
    return None


def found_journal(settings: Settings, name: str) -> Path:
    """A journal by its path or its session's name."""
    for path in (Path(name), Places(settings.home).journal(name)):
        if path.is_file():
            return path
    known = ", ".join(path.stem for path in journals_of(settings)[-3:]) or "none"
    raise UsageError(f"there is no journal {name}", f"give a file or a session: {known}")


def replayed(settings: Settings, path: Path) -> Replayed:
    """The journal once more, byte for byte."""
    lines, verdict = journals.read(path.read_bytes())
    if verdict.line is not None:
        raise StaleModel(
            f"line {verdict.line} of journal {path} is not to be trusted: {verdict.problem}"
        )
    return replay(lines, ReleaseStore(settings))


def player(settings: Settings, landing: Path, date: str, speed: float) -> Player:
    """A landed date as a feed."""
    return Player(settings, Landing(landing), date, speed)


def explained(settings: Settings, symbol: str, at: datetime) -> Explanation:
    """Why a name got what it got, from the last plan on record up to a moment.

    Raises
    ------
    UsageError
        When no journal has a plan by then.
    """
    for path in reversed(journals_of(settings)):
        lines, _ = journals.read(path.read_bytes())
        plans = [line for line in lines if line["kind"] == "decision" and line["plan"]]
        told = [row for row in plans if datetime.fromisoformat(row["decision"]["at"]) <= at]
        if told:
            plan, desk = read_plan(told[-1]["plan"]), state.read(told[-1]["state"])
            answer = answer_of(ReleaseStore(settings), plan)
            return explanation(desk, plan, answer or Answer(None, "fixed_pov", plan.why, 0), symbol)
    raise UsageError(f"no journal has a plan up to {at.isoformat()}", "run `crossimpact live`")


def set_level(settings: Settings, level: str, who: str, reason: str) -> LevelSet:
    """Write a level for the running loop and its watchdog to see.

    Raises
    ------
    UsageError
        On a reset without a reason.
    """
    path = Places(settings.home).level
    if level == "RUN" and not reason.strip():
        raise UsageError("a reset needs a reason", "say --reason")
    before = levels.read(path)
    levels.prepare(path)
    levels.write(path, level, who, reason)
    return LevelSet(before.level, level, who, reason, str(path))


def set_mode(
    settings: Settings, mode: Mode, who: str, approver: str, reason: str, at: datetime
) -> modes.Request:
    """Ask the open session for a mode; see `modes.ask`."""
    return modes.ask(settings, journals_of(settings), mode, who, approver, reason, at)
