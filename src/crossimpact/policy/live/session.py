"""A live session: events in any order, decisions out; the same events give the same decisions.

Events are applied in the order of their time (`intake`). What must not be lost (fills, orders,
parents) counts however late it is. A trigger makes a decision at its own moment, several at one
moment make one. See docs/live.md.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from crossimpact.errors import CrossImpactError
from crossimpact.policy import guardrails
from crossimpact.policy.guardrails import Memory, Reading
from crossimpact.policy.limits import LimitMemory, Refusal
from crossimpact.policy.live import pretrade
from crossimpact.policy.live.answering import Answering
from crossimpact.policy.live.book import Book
from crossimpact.policy.live.controls import Controls
from crossimpact.policy.live.decision import (
    Decision,
    Recorded,
    identity,
    inputs_digest,
)
from crossimpact.policy.live.desk_state import desk_state, is_quiet
from crossimpact.policy.live.effects import applied
from crossimpact.policy.live.events import (
    Clock,
    Control,
    Event,
    Failed,
    Fill,
    Level,
    LimitsChange,
    Mode,
    ModeChange,
    Regime,
    Swap,
)
from crossimpact.policy.live.intake import BREAK, EPOCH, NEVER_LATE, REORDER, Intake, Skipped
from crossimpact.policy.live.readings import Readings
from crossimpact.policy.live.settings import Settings
from crossimpact.policy.live.triggers import Triggers
from crossimpact.policy.schedule import Scheduler
from crossimpact.policy.state import DeskState, Plan, Style
from crossimpact.release.bundle import UNKNOWN, Answer, Release

#: Intervals of own flow that a plan is told of.
KEEP_BUCKETS = 96
#: Of `Failed.arrived`: a reading or a plan that was due.
TIMER = -2
URGENT = (Control, Clock, Swap, ModeChange, LimitsChange, Failed)


class Handling(NamedTuple):
    """What a session works on: the event that arrives, one that was held back, with its number, or
    what is due by itself."""

    what: Literal["arriving", "held", "timer"]
    event: Event | None = None
    arrived: int = -1


class Session:
    """The state of a session; `apply` is its only way on.

    Parameters
    ----------
    releases
        A release by digest. The loop has resolved it before it says so.
    level, mode
        With which it begins.
    """

    def __init__(
        self,
        settings: Settings,
        releases: Callable[[str], Release],
        *,
        level: Level = "RUN",
        mode: Mode = "advisory",
    ) -> None:
        self.settings = settings
        self.controls = Controls(settings.limits, level, mode)
        self.book = Book(settings.interval_min)
        self.regime, self.guardrail = UNKNOWN, Memory()
        self.reading = Reading(None, None, 0.0, 0.0, False)
        self.now, self.seq = EPOCH, 0
        self.skipped: list[Skipped] = []
        self._answering = Answering(releases)
        self._intake, self._triggers = Intake(self._skip), Triggers()
        self._readings, self._slot = Readings(self.book), 0
        self._next_plan = self._next_reading = EPOCH
        self._memory = LimitMemory()
        self._scheduler = Scheduler()
        self._ages = (0.0, 0.0)
        self._stale: set[str] = set()
        #: Whose handler runs, for who has to tell why it raised.
        self.handling = Handling("arriving")

    @property
    def level(self) -> Level:
        return self.controls.level

    @property
    def mode(self) -> Mode:
        return self.controls.mode

    @property
    def control(self) -> Control | None:
        """The last level that counted."""
        return self.controls.last

    @property
    def release(self) -> Release | None:
        return self._answering.release

    # -- in ----------------------------------------------------------------------------------------

    def seen(self, source: str, seq: int) -> bool:
        """Whether the event of that number came already."""
        return self._intake.seen(source, seq)

    def apply(self, event: Event) -> list[Recorded]:
        """Take an event; the decisions it leads to, in order."""
        self.skipped.clear()
        self.handling = Handling("arriving", event)
        if not self._intake.is_new(event):
            return []
        if isinstance(event, URGENT):
            return [*self._urgent(event)]
        self._intake.add(event)
        return [*self._until(self._intake.newest - REORDER)]

    def copied(self) -> Session:
        """The same state, apart from this one; what never changes is shared."""
        unchanging = (
            self.settings, self._scheduler, *self._answering.fixed, *self.book.fills.values(),
        )  # fmt: skip
        return copy.deepcopy(self, {id(each): each for each in unchanging})

    @property
    def waiting(self) -> bool:
        """Whether something that arrived is not applied yet: a clock would move it on."""
        return len(self._intake) > 0 or self._triggers.due is not None

    def wants_clock(self, data_age_s: float, model_age_days: float) -> bool:
        """Whether the ages have come to say something else than the last time."""
        was, levels = self._ages, self._answering.levels(self.regime)
        told = [
            [guardrails.colour(levels, Reading(None, None, *ages, False), name)
             for name in ("data_age_s", "model_age_days")]
            for ages in (was, (data_age_s, model_age_days))
        ]  # fmt: skip
        return self.waiting or told[0] != told[1]

    def _until(self, mark: datetime) -> Iterator[Recorded]:
        """Apply what lies up to `mark`, in order, plans and readings in between."""
        while True:
            event_at = self._intake.next_at
            timer = self._timer()
            if event_at is not None and self.now != EPOCH and event_at - self.now >= BREAK:
                timer = None  # nothing is due between two days
            if timer is not None and timer <= mark and (event_at is None or timer < event_at):
                self.handling = Handling("timer")
                yield from self._on_timer(timer)
            elif event_at is not None and event_at <= mark:
                number, event = self._intake.pop()
                self.handling = Handling("held", event, number)
                self._take(event)
            else:
                return

    def _timer(self) -> datetime | None:
        """The next moment at which something is due by itself."""
        if self.now == EPOCH:
            return None
        return min(filter(None, (self._triggers.due, self._next_plan, self._next_reading)))

    def _on_timer(self, at: datetime) -> Iterator[Recorded]:
        self.now = max(self.now, at)
        if at >= self._next_reading:
            self._read(closes=self._roll())
        if at >= self._next_plan:
            self._next_plan = _after(at, 60 * self.settings.every_min)
            self._trigger("timer")
        if (due := self._triggers.due) is not None and at >= due:
            yield self._decide()

    # -- events ------------------------------------------------------------------------------------

    def _take(self, event: Event) -> None:
        late = event.at < self.now
        if late and not isinstance(event, NEVER_LATE):
            self._skip(event.at, f"late by {(self.now - event.at).total_seconds():.3f} s")
            return
        self._advance(event.at)
        if why := self._dispatch(event):
            self._skip(event.at, why)

    def _advance(self, at: datetime) -> None:
        """Event time goes on, never back."""
        if self.now != EPOCH and at - self.now < BREAK:
            self.now = max(self.now, at)
            return
        if self.now == EPOCH or at > self.now:
            if self.now != EPOCH:
                self.book.begin_session(at)
                self._readings.clear()
                self._triggers.clear()
            self.now = at
            self._next_reading = _after(at, self.settings.reading_s)
            self._next_plan = _after(at, 60 * self.settings.every_min)
            self._slot = self.book.slot(at)

    def _dispatch(self, event: Event) -> str:
        """Apply an event whose time has come; the reason where it changes nothing."""
        if isinstance(event, Regime):
            if event.regime != self.regime:
                self.regime = event.regime
                self._trigger(f"regime {event.regime}")
            return ""
        effect = applied(self.book, self._stale, event)
        self._readings.watch(event)
        for why in effect.triggers:
            self._trigger(why, at_once=effect.at_once)
        if effect.triggers and isinstance(event, Fill):  # fills that do not add up count at once
            self._read(closes=False)
        return effect.why

    def _skip(self, at: datetime, why: str) -> None:
        self.skipped.append(Skipped(at, why))

    def _trigger(self, why: str, *, at_once: bool = False) -> None:
        self._triggers.add(why, self.now, at_once=at_once)

    # -- from the loop itself ----------------------------------------------------------------------

    def _urgent(self, event: Event) -> Iterator[Recorded]:
        """What does not wait for event time."""
        match event:
            case Clock():
                self._ages = (event.data_age_s, event.model_age_days)
                yield from self._until(self._intake.newest)
                self._read(closes=False)
                if self._triggers.due is not None:
                    yield self._decide()
            case Swap():
                if self._answering.swap(event):
                    self._trigger(f"release {event.digest[:12] or 'none'}")
            case Control():
                yield from self._control(event)
            case ModeChange():
                if why := self.controls.set_mode(event):
                    self._skip(event.at, why)
                else:
                    self._trigger(f"mode {event.to}")
            case LimitsChange():
                if why := self.controls.set_limits(event):
                    self._skip(event.at, why)
            case Failed():
                yield from self._failed(event)

    def _failed(self, event: Failed) -> Iterator[Recorded]:
        """Ask for nothing new until a person has looked; the last targets stand."""
        if event.arrived >= 0:
            self._intake.drop(event.arrived)
        elif event.arrived == TIMER and (due := self._timer()) is not None:
            self.now = max(self.now, due)
            self._next_reading = _after(self.now, self.settings.reading_s)
            self._next_plan = _after(self.now, 60 * self.settings.every_min)
        self.book.unreconciled |= dict.fromkeys(event.symbols, event.why)
        if self.level == "RUN":
            self.controls.pause(event.why)
            self._trigger(event.why, at_once=True)
            yield self._decide()

    def _control(self, event: Control) -> Iterator[Recorded]:
        if why := self.controls.set_level(event):
            self._skip(event.at, why)
            return
        if event.level == "RUN":
            self._memory = self._memory.reviewed()
        what = "reset" if event.level == "RUN" else event.level
        self._trigger(f"{what} by {event.who}: {event.reason}", at_once=True)
        if self.now == EPOCH:
            self._advance(event.at)
        yield self._decide()

    # -- guardrails --------------------------------------------------------------------------------

    def answer(self) -> Answer:
        """Who answers for the regime now."""
        return self._answering.answer(self.regime)

    def _roll(self) -> bool:
        """Whether an interval has ended with the reading that is due; then the next one begins."""
        self._next_reading = _after(self.now, self.settings.reading_s)
        return self.book.slot(self.now) != self._slot

    def _read(self, *, closes: bool) -> None:
        model = self.answer().model
        slot = self._slot if self.now != EPOCH else 0
        cpi = self._readings.pressure(model, slot) if model is not None else None
        burn = self._readings.burned(model, slot) if model is not None else None
        lost, moved = len(self.book.unreconciled), self._readings.in_flight(self.now)
        self.reading = Reading(cpi, burn, *self._ages, closes, lost, moved)
        levels = self._answering.levels(self.regime)
        self.guardrail, changes = guardrails.step(levels, self.guardrail, self.reading)
        for change in changes:
            self._trigger(f"guardrail {change.before} to {change.after}: {change.why}")
        if closes:
            self._readings.close(model, slot)
            self._slot = self.book.slot(self.now)
            self.book.begin_bucket(self._slot, KEEP_BUCKETS)
        for symbol, quote in sorted(self.book.quotes.items()):
            quiet = is_quiet(quote, self.now, self.settings.stale_s)
            if quiet and symbol not in self._stale:
                self._stale.add(symbol)
                self._trigger(f"stale {symbol}")

    # -- deciding ----------------------------------------------------------------------------------

    def desk(self) -> DeskState:
        """The desk as the scheduler is told it."""
        return desk_state(self.book, self.settings, self.now, self.regime, self.guardrail.name)

    def _decide(self) -> Recorded:
        triggers = self._triggers.taken(self.now)
        answer = self.answer()
        state: DeskState | None = None
        plan: Plan | None = None
        refusals: tuple[Refusal, ...] = ()
        styles: dict[str, Style] = {}
        why = ""
        if self.level == "RUN":
            state = self.desk()
            answer = self._answering.answer(self.regime, state.allowed.rung)
            try:
                plan = self._scheduler.plan(
                    answer, state, self.settings.policy, release=self._answering.digest
                )
                refusals = self._ask(state, plan)
                styles = {child.symbol: child.style for child in plan.children}
                why = plan.why
            except (CrossImpactError, ValueError, ArithmeticError) as error:
                why = f"no plan, the last targets stand: {error}"
        self.seq += 1
        inputs, digest = inputs_digest(state), self._answering.digest
        name = self.guardrail.name
        decision = Decision(
            id=identity(self.settings.name, digest, name, inputs, self.seq),
            seq=self.seq,
            at=self.now,
            session=self.settings.name,
            release=digest,
            regime=self.regime,
            rung=plan.rung if plan else answer.rung,
            answered=plan.answered if plan else "nobody",
            mode=self.mode,
            level=self.level,
            guardrail=name,
            triggers=triggers,
            targets=pretrade.targets(self.book, self.level, styles),
            refusals=tuple(map(str, refusals)),
            outstanding=self.book.outstanding(),
            why=why,
            inputs=inputs,
        )
        for quote in self.book.quotes.values():
            quote.reference = quote.mid
        return Recorded(decision, state, plan)

    def _ask(self, state: DeskState, plan: Plan) -> tuple[Refusal, ...]:
        """Raise the targets of what hard limits let through."""
        passed, refused, self._memory = pretrade.ask(
            self.book, plan, self.controls.limits, self._memory, self.now, self._answering.adv
        )
        if any(row.symbol == "" for row in refused):
            self.controls.pause("a limit, see the journal")
        pretrade.raise_targets(self.book, state, plan, passed)
        return refused


def _after(at: datetime, period_s: float) -> datetime:
    """The next multiple of a period, after `at`."""
    return EPOCH + timedelta(seconds=period_s * (at.timestamp() // period_s + 1))
