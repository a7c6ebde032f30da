"""What the guardrails read of a session: the pressure of its flow, what its flow has cost, and
whether its fills move the market."""

from __future__ import annotations

from datetime import datetime

import numpy as np

from crossimpact.cost_indices import BURN_BUCKETS, session_pressure
from crossimpact.model import ImpactModel
from crossimpact.policy.in_flight import InFlight
from crossimpact.policy.live.book import Book
from crossimpact.policy.live.events import Event, Fill, Print
from crossimpact.scaled import Array


class Readings:
    """CPI and IBB of a book by interval, and evidence of fills in flight."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._burn: list[tuple[float, float]] = []
        self._in_flight = InFlight()

    def clear(self) -> None:
        """Another day: what was spent counts no longer."""
        self._burn.clear()
        self._in_flight.clear()

    def watch(self, event: Event) -> None:
        """Public prints and own fills, as their time comes."""
        if isinstance(event, Print) and not event.own:
            self._in_flight.printed(event.symbol, event.at.timestamp(), event.price)
        elif isinstance(event, Fill) and event.kind == "new" and event.quantity:
            self._in_flight.filled(event.symbol, event.at.timestamp(), event.quantity)

    def in_flight(self, now: datetime) -> float | None:
        return self._in_flight.evidence(now.timestamp())

    def close(self, model: ImpactModel | None, slot: int) -> None:
        """An interval has ended: what it spent stays in the last half hour's."""
        realized, budget = self._spent(model, slot) if model is not None else (0.0, 0.0)
        self._burn = [*self._burn, (realized, budget)][-(BURN_BUCKETS - 1) :]

    def _flows(self, model: ImpactModel, first: int, last: int) -> Array:
        """Own flow of intervals as ADV fractions, shape (intervals, n)."""
        place = {symbol: i for i, symbol in enumerate(model.symbols)}
        q = np.zeros((last - first + 1, model.n))
        for slot in range(first, last + 1):
            if (bucket := self._book.buckets.get(slot)) is None:
                continue
            for symbol, shares in bucket.shares.items():
                if symbol in place and symbol in self._book.quotes:
                    i = place[symbol]
                    q[slot - first, i] = shares * self._book.quotes[symbol].mid / model.adv[i]
        return q

    def pressure(self, model: ImpactModel, slot: int) -> float | None:
        if slot not in self._book.buckets:
            return None
        first = min(self._book.buckets) if model.kernel is not None else slot
        value = float(session_pressure(model, self._flows(model, first, slot))[-1])
        return value if np.isfinite(value) else None

    def _spent(self, model: ImpactModel, slot: int) -> tuple[float, float]:
        """Slippage and expected cost of an interval, USD."""
        if slot not in self._book.buckets:
            return 0.0, 0.0
        budget = float(model.cost(self._flows(model, slot, slot)[0]).total)
        return self._book.buckets[slot].slippage_usd, budget

    def burned(self, model: ImpactModel, slot: int) -> float | None:
        rows = [*self._burn, self._spent(model, slot)]
        realized, budget = (sum(row[k] for row in rows) for k in (0, 1))
        return realized / budget if budget > 0 else None
