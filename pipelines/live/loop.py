"""The loop: one writer between feeds and outputs, levels read before anything is computed.

Feeds, pulls of releases and monitors run beside it and only hand over; a turn takes what has
arrived, brings it and its decisions to disk, sends them, and then lets the feeds forget it. Event
time drives the session; the wall clock measures ages and nothing else.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

import orjson

from crossimpact.consumer.client import Client
from crossimpact.consumer.state import Served
from crossimpact.errors import CrossImpactError
from crossimpact.policy.limits import Limits
from crossimpact.policy.live.decision import Decision
from crossimpact.policy.live.events import (
    LEVELS,
    Clock,
    Control,
    Event,
    HeldRung,
    Level,
    LimitsChange,
    Swap,
)
from crossimpact.policy.live.intake import EPOCH
from crossimpact.progress import tell
from crossimpact.release.bundle import Release
from pipelines.live import levels, modes, signals, watched
from pipelines.live.backlog import Backlog
from pipelines.live.engine import Engine
from pipelines.live.feeds import Feed, Output
from pipelines.live.metrics import Health, Metrics, health, serve
from pipelines.live.places import Places
from pipelines.live.pulls import Pulls
from pipelines.live.rows import Raw

TICK_S, PULL_S, AGAIN_S = 0.1, 60.0, 1.0
#: Turns in a row that could not be written until the session is paused.
FAILED_WRITES = 10


@dataclass
class Loop:
    """One session's loop; see `run`.

    Attributes
    ----------
    clock
        The wall clock.
    resolve
        Makes a served release findable by its digest, also for a later replay.
    limit_s, fresh_s
        A turn counts while the data are no older than `fresh_s`, seconds; after `limit_s` without
        one that counts the watchdog kills.
    """

    engine: Engine
    feeds: Sequence[Feed]
    outputs: Sequence[Output]
    places: Places
    clock: Callable[[], datetime]
    resolve: Callable[[Release], None]
    client: Client | None = None
    port: int | None = None
    limit_s: float = 5.0
    fresh_s: float = 120.0
    watch: bool = True
    watched_output: str = ""
    pull_s: float = PULL_S
    metrics: Metrics = field(default_factory=Metrics)

    def __post_init__(self) -> None:
        self._backlog = Backlog()
        self._own: list[Event] = []
        self._data_at = self._turn_at = time.monotonic()
        self._told = levels.Told("RUN", "nobody", "start")
        self._limits_seen, self._stop, self._idle = 0, False, True
        failed = self.metrics.failed_pulls.inc
        self._pulls = Pulls(self.resolve, self._swap, failed)
        self._mode = modes.Watch(self.places.level.with_name("mode"))
        self._unread: list[tuple[Feed, list[Raw]]] = []
        self._behind = 0

    async def run(self) -> bool:
        """Until every feed has ended, or a signal says stop; whether the session is over."""
        levels.prepare(self.places.level)
        self.places.heartbeat.touch()
        signals.listen(self.places.level, self._end)
        watchdog = self._watchdog() if self.watch else None
        server = None
        if self.port is not None:
            server = await serve(self.port, self.metrics, self._health)
        beside = [asyncio.create_task(self._read(feed)) for feed in self.feeds]
        if self.client is not None:
            self._pulls.take(self.client.served)
            beside.append(asyncio.create_task(self._pulls.forever(self.client, self.pull_s)))
        try:
            ended = await self._write(len(self.feeds))
        finally:
            for task in beside:
                task.cancel()
            if server is not None:
                server.close()
            if watchdog is not None:
                watched.goodbye(watchdog)
            for out in self.outputs:
                with suppress(OSError):
                    await out.close()
        return ended

    # -- beside the writer -------------------------------------------------------------------------

    async def _read(self, feed: Feed) -> None:
        """Hand over what a feed brings. One that fails has not ended: it is opened again, what it
        gives twice was there before, and the age of the data tells while it is away."""
        while True:
            try:
                async for batch in feed.rows():
                    await self._backlog.put(feed, batch)
                break
            except Exception as error:
                self.metrics.failed_feeds.inc()
                tell("live", f"a feed failed: {type(error).__name__}: {error}")
                await asyncio.sleep(AGAIN_S)
        await self._backlog.end()

    def _swap(self, served: Served) -> None:
        """Another release, or another word on it: the next turn takes it up."""
        held = served.release.held if served.release else {}
        self._own.append(
            Swap(
                digest=served.digest or "",
                reason=served.reason,
                fixed_pov=served.answer("").max_pov if not served.release else served.fixed_pov,
                held={name: HeldRung(hold.rung, hold.reason) for name, hold in held.items()},
                at=self._now(),
            )
        )

    def _end(self) -> None:
        self._stop = True

    def _watchdog(self) -> subprocess.Popen[bytes]:
        return watched.start(
            self.places.heartbeat, self.places.level, self.limit_s, self.watched_output
        )

    def _health(self) -> Health:
        since = time.monotonic() - self._turn_at
        return health(self.engine, self._data_age(), since, self.limit_s, self.fresh_s)

    # -- the writer --------------------------------------------------------------------------------

    async def _write(self, feeds: int) -> bool:
        open_ = feeds
        while open_ and not self._stop:
            if not await self._settled():
                continue
            batch, ended = await self._backlog.arrived(TICK_S)
            open_ -= ended
            await self._turn(batch)
        if not open_ and not self._stop:
            self._own.append(self._ages_now())
            await self._turn([])
        return not open_ and not self._stop

    async def _settled(self) -> bool:
        """Whether all that was decided is on disk; nothing more is taken before."""
        try:
            self.engine.settle()
        except OSError as error:
            self.metrics.failed_writes.inc()
            self._behind += 1
            if self._behind == FAILED_WRITES:
                self._say_level("PAUSE", f"the journal is behind: {error.strerror}")
            await asyncio.sleep(TICK_S)
            return False
        self._behind = 0
        return True

    async def _turn(self, batch: list[tuple[Feed, list[Raw]]]) -> None:
        """Take what has arrived; where even telling of a failure fails, nothing is taken again."""
        began = time.perf_counter()
        try:
            raws, sent = self._taken(batch)
        except OSError as error:  # nothing leaves that is not on disk
            tell("live", f"nothing is decided until it can be written: {error}")
            self._unread += batch
            return
        except Exception as error:
            self._say_level("KILL", f"the loop failed: {type(error).__name__}: {error}")
            tell("live", f"the loop ends: {type(error).__name__}: {error}")
            self._stop = True
            return
        if await self._send(sent):
            for feed, _ in [*self._unread, *batch]:
                await feed.acknowledge()
            self._unread.clear()
        self._done(bool(raws), sent, time.perf_counter() - began)

    def _taken(self, batch: list[tuple[Feed, list[Raw]]]) -> tuple[list[Raw], list[Decision]]:
        """The lines of a batch, and the decisions that may leave."""
        items: list[Raw | Event] = [*self._control()]
        own, self._own = self._own, []
        items += own
        raws = [raw for _, rows in batch for raw in rows]
        items += raws
        if raws:
            self._data_at, self._idle = time.monotonic(), False
        ages = self._ages_now()
        if not self._idle and self.engine.session.wants_clock(ages.data_age_s, ages.model_age_days):
            items.append(ages)
        return raws, self.engine.take(items)

    def _say_level(self, level: Level, reason: str) -> None:
        """Latch a level by the file, which a full disk cannot refuse and the watchdog tells."""
        if levels.read(self.places.level).rank < levels.ORDER.index(level):
            with suppress(OSError):
                levels.write(self.places.level, level, "loop", reason)

    def _control(self) -> list[Event]:
        """Levels, limits and modes that somebody wrote, before anything is computed."""
        result: list[Event] = []
        found, session = levels.read(self.places.level), self.engine.session
        rank, last = levels.ORDER.index(session.level), session.control
        known = last is not None and (last.who, last.reason) == (found.who, found.reason)
        named = found.who not in ("", "nobody") and found != self._told and not known
        self._told = found
        if found.rank > rank or (found.level == "RUN" and rank and named):  # until it has it
            level: Level = next(word for word in LEVELS if word == found.level)
            result.append(
                Control(level=level, who=found.who, reason=found.reason or "", at=self._now())
            )
        with suppress(OSError):
            stamp = self.places.limits.stat().st_mtime_ns
            if self._limits_seen and stamp != self._limits_seen:
                with suppress(CrossImpactError):
                    limits = Limits.read(self.places.limits)
                    result.append(LimitsChange(limits=limits, at=self._now()))
            self._limits_seen = stamp
        return [*result, *self._mode.changes(session, self._now())]

    async def _send(self, sent: list[Decision]) -> bool:
        """Whether every output has them; one that has not is given them again."""
        lines = [line(decision) for decision in sent]
        if not lines:
            return True
        for out in self.outputs:
            try:
                await asyncio.wait_for(out.send(lines), 5.0)
            except Exception as error:  # whatever an output does, the loop lives on
                tell("live", f"an output failed: {type(error).__name__}: {error}")
                self.engine.unsent(sent)
                return False
        return True

    def _done(self, fresh: bool, sent: list[Decision], seconds: float) -> None:
        session = self.engine.session
        if levels.ORDER.index(session.level) > self._told.rank:
            levels.write(self.places.level, session.level, "session", session.controls.paused_by)
        if self._data_age() <= self.fresh_s:
            self._turn_at = time.monotonic()
            with suppress(OSError):
                os.utime(self.places.heartbeat)
        for decision in sent:
            self.metrics.last.set(self.clock().timestamp())
            self.metrics.limits.inc(len(decision.refusals))
            asked = session.settings.policy
            self.metrics.fallbacks.inc(decision.answered not in (asked, "nobody"))
        if fresh:
            self.metrics.turn.observe(seconds)
        ages = self._ages_now()
        self.metrics.observe(
            self.engine, None if self._idle else ages.data_age_s, 86400 * ages.model_age_days
        )

    # -- time --------------------------------------------------------------------------------------

    def _now(self) -> datetime:
        now = self.engine.session.now
        return self.clock() if now == EPOCH else now

    def _data_age(self) -> float:
        return 0.0 if self._idle else time.monotonic() - self._data_at

    def _ages_now(self) -> Clock:
        days = 0.0 if self.client is None else self._pulls.age_days(self.clock())
        return Clock(data_age_s=self._data_age(), model_age_days=days, at=self._now())


def line(decision: Decision) -> bytes:
    """A decision as outputs are given it."""
    return orjson.dumps({"type": "decision", **decision.to_dict()}) + b"\n"
