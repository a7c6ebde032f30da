"""A live session: events in any order, decisions out; the same events give the same decisions.

Events are applied in the order of their time (`intake`). What must not be lost (fills, orders,
parents) counts however late it is. A trigger makes a decision at its own moment, several at one
moment make one. See docs/live.md.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from crossimpact.policy.guardrails import Memory, Reading
from crossimpact.policy.live.answering import Answering
from crossimpact.policy.live.book import Book
from crossimpact.policy.live.controls import Controls
from crossimpact.policy.live.deciding import Deciding
from crossimpact.policy.live.decision import (
    Recorded,
)
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
from crossimpact.policy.live.handling import TIMER, Handling
from crossimpact.policy.live.intake import BREAK, EPOCH, NEVER_LATE, REORDER, Intake, Skipped
from crossimpact.policy.live.settings import Settings
from crossimpact.policy.live.triggers import Triggers
from crossimpact.policy.live.watching import Watching
from crossimpact.policy.state import DeskState
from crossimpact.release.bundle import UNKNOWN, Answer, Release

URGENT = (Control, Clock, Swap, ModeChange, LimitsChange, Failed)


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
        self.regime, self.now = UNKNOWN, EPOCH
        self.skipped: list[Skipped] = []
        self._answering = Answering(releases)
        self._intake, self._triggers = Intake(self._skip), Triggers()
        self._watching = Watching(settings, self.book, self._answering)
        self._deciding = Deciding(settings, self.book, self.controls, self._answering)
        self._next_plan = self._next_reading = EPOCH
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
    def guardrail(self) -> Memory:
        return self._watching.guardrail

    @property
    def reading(self) -> Reading:
        """The guardrails' last one."""
        return self._watching.reading

    @property
    def seq(self) -> int:
        """Of the last decision."""
        return self._deciding.seq

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
        fixed = (self.settings, self._deciding.scheduler, *self._answering.fixed)
        unchanging = (*fixed, *self.book.fills.values())
        return copy.deepcopy(self, {id(each): each for each in unchanging})

    @property
    def waiting(self) -> bool:
        """Whether something that arrived is not applied yet: a clock would move it on."""
        return len(self._intake) > 0 or self._triggers.due is not None

    def wants_clock(self, data_age_s: float, model_age_days: float) -> bool:
        """Whether the ages have come to say something else than the last time."""
        ages = (data_age_s, model_age_days)
        return self.waiting or self._watching.says_else(self.regime, ages)

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
                self._watching.clear()
                self._triggers.clear()
            self.now = at
            self._next_reading = _after(at, self.settings.reading_s)
            self._next_plan = _after(at, 60 * self.settings.every_min)
            self._watching.slot = self.book.slot(at)

    def _dispatch(self, event: Event) -> str:
        """Apply an event whose time has come; the reason where it changes nothing."""
        if isinstance(event, Regime):
            if event.regime != self.regime:
                self.regime = event.regime
                self._trigger(f"regime {event.regime}")
            return ""
        effect = applied(self.book, self._watching.stale, event)
        self._watching.watch(event)
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
                self._watching.ages = (event.data_age_s, event.model_age_days)
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
            self._deciding.memory = self._deciding.memory.reviewed()
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
        return self.book.slot(self.now) != self._watching.slot

    def _read(self, *, closes: bool) -> None:
        for why in self._watching.read(self.now, self.regime, closes=closes):
            self._trigger(why)

    # -- deciding ----------------------------------------------------------------------------------

    def desk(self) -> DeskState:
        """The desk as the scheduler is told it."""
        return self._deciding.desk(self.now, self.regime, self.guardrail.name)

    def _decide(self) -> Recorded:
        triggers = self._triggers.taken(self.now)
        return self._deciding.decide(self.now, self.regime, self.guardrail.name, triggers)


def _after(at: datetime, period_s: float) -> datetime:
    """The next multiple of a period, after `at`."""
    return EPOCH + timedelta(seconds=period_s * (at.timestamp() // period_s + 1))
