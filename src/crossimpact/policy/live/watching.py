"""The guardrails of a session: readings as event time goes on, and the state they lead to."""

from __future__ import annotations

from datetime import datetime

from crossimpact.policy import guardrails
from crossimpact.policy.guardrails import Memory, Reading
from crossimpact.policy.live.answering import Answering
from crossimpact.policy.live.book import Book
from crossimpact.policy.live.desk_state import is_quiet
from crossimpact.policy.live.events import Event
from crossimpact.policy.live.intake import EPOCH
from crossimpact.policy.live.readings import Readings
from crossimpact.policy.live.settings import Settings

#: Intervals of own flow that a plan is told of.
KEEP_BUCKETS = 96


class Watching:
    """Guardrail and last reading, the interval that is open, the ages of data and model, and which
    names are stale."""

    def __init__(self, settings: Settings, book: Book, answering: Answering) -> None:
        self._settings, self._book, self._answering = settings, book, answering
        self._readings = Readings(book)
        self.guardrail, self.reading = Memory(), Reading(None, None, 0.0, 0.0, False)
        self.slot, self.ages, self.stale = 0, (0.0, 0.0), set[str]()

    def clear(self) -> None:
        """Another day."""
        self._readings.clear()

    def watch(self, event: Event) -> None:
        """Public prints and own fills."""
        self._readings.watch(event)

    def says_else(self, regime: str, ages: tuple[float, float]) -> bool:
        """Whether other ages have come to say something else than the last ones."""
        levels = self._answering.levels(regime)
        told = [
            [guardrails.colour(levels, Reading(None, None, *each, False), name)
             for name in ("data_age_s", "model_age_days")]
            for each in (self.ages, ages)
        ]  # fmt: skip
        return told[0] != told[1]

    def read(self, now: datetime, regime: str, *, closes: bool) -> list[str]:
        """A reading, which ends the interval when it `closes`; what asks for a decision."""
        model = self._answering.answer(regime).model
        slot, triggers = self.slot if now != EPOCH else 0, list[str]()
        cpi = self._readings.pressure(model, slot) if model is not None else None
        burn = self._readings.burned(model, slot) if model is not None else None
        lost, moved = len(self._book.unreconciled), self._readings.in_flight(now)
        self.reading = Reading(cpi, burn, *self.ages, closes, lost, moved)
        levels = self._answering.levels(regime)
        self.guardrail, changes = guardrails.step(levels, self.guardrail, self.reading)
        for change in changes:
            triggers.append(f"guardrail {change.before} to {change.after}: {change.why}")
        if closes:
            self._readings.close(model, slot)
            self.slot = self._book.slot(now)
            self._book.begin_bucket(self.slot, KEEP_BUCKETS)
        for symbol, quote in sorted(self._book.quotes.items()):
            quiet = is_quiet(quote, now, self._settings.stale_s)
            if quiet and symbol not in self.stale:
                self.stale.add(symbol)
                triggers.append(f"stale {symbol}")
        return triggers
