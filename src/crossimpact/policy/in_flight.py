"""Do our own fills move the market? The time to the next adverse print tells.

A print is adverse to a buyer when its price is above the last one's, to a seller when below. A
trial begins with a fill and ends with the next print adverse to it. Were the fill nothing to the
market, adverse prints came on at the rate they had: with T the time in which the last N came before
the fill, and t the wait, both of one Poisson process,

    p = P(wait <= t) = 1 - (1 + t / T)^-N

is uniform, exactly and whatever the rate. Each trial of a name and side ends before its next one
begins, so the p-values are combined as a bet: e = 1 / (2 sqrt p) is 1 on average without an
effect (Vovk and Wang 2021), and M = max(M, 1) e reaches a level A once in A trials at most, however
often one looks (e-detectors, Shin, Ramdas and Rinaldo 2023).

Own prints are no word of the market: a feed leaves them out or says so. Prints of one moment are
one. Bursts that own fills fall into by themselves, being filled passively when others sweep, look
like an effect; so the signal is amber at most.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

#: Adverse prints that tell the local rate.
BACKGROUND = 20
#: A p-value counts as no smaller, clocks being what they are.
LEAST_P = 1e-6
#: Evidence counts as no more, so that calm fills bring it down again.
MOST = 1e4
#: Seconds after the last trial of a name in which its evidence counts.
FRESH_S = 600.0


def p_value(wait_s: float, background_s: float) -> float:
    """Chance of so short a wait, `background_s` being the time of the last `BACKGROUND` prints."""
    return -math.expm1(-BACKGROUND * math.log1p(wait_s / background_s))


def bet(p: float) -> float:
    """What a p-value is worth as evidence; at most 1 on average where it is uniform."""
    return 0.5 / math.sqrt(max(p, LEAST_P))


@dataclass
class Side:
    """Prints adverse to one side of a name, the trial that is open, and the evidence so far."""

    prints: deque[float] = field(default_factory=lambda: deque(maxlen=BACKGROUND))
    opened: tuple[float, float] | None = None
    evidence: float = 1.0
    last_s: float = -math.inf
    trials: int = 0

    def filled(self, at_s: float) -> None:
        """An own fill: a trial begins unless one is open or the rate is not known."""
        if self.opened is None and len(self.prints) == BACKGROUND and at_s > self.prints[0]:
            self.opened = at_s, at_s - self.prints[0]

    def printed(self, at_s: float) -> None:
        """An adverse print: an open trial ends with it."""
        if self.prints and at_s <= self.prints[-1]:
            return
        self.prints.append(at_s)
        if self.opened is not None and at_s > self.opened[0]:
            start, background_s = self.opened
            started = self.evidence if at_s - self.last_s <= FRESH_S else 1.0
            worth = max(started, 1.0) * bet(p_value(at_s - start, background_s))
            self.evidence = min(worth, MOST)
            self.opened, self.last_s, self.trials = None, at_s, self.trials + 1


class InFlight:
    """All names of a session, told of in the order of time, seconds."""

    def __init__(self) -> None:
        self._sides: dict[tuple[str, int], Side] = {}
        self._price: dict[str, float] = {}

    def clear(self) -> None:
        """Another day."""
        self._sides.clear()
        self._price.clear()

    def printed(self, symbol: str, at_s: float, price: float) -> None:
        """A public print that is not our own."""
        before = self._price.get(symbol, price)
        self._price[symbol] = price
        if price != before:
            self._side(symbol, 1 if price > before else -1).printed(at_s)

    def filled(self, symbol: str, at_s: float, quantity: float) -> None:
        """An own fill, signed shares."""
        self._side(symbol, 1 if quantity > 0 else -1).filled(at_s)

    def evidence(self, now_s: float) -> float | None:
        """The most any name has of late; None without a trial."""
        fresh = [s.evidence for s in self._sides.values() if now_s - s.last_s <= FRESH_S]
        return max(fresh, default=None)

    def _side(self, symbol: str, sign: int) -> Side:
        return self._sides.setdefault((symbol, sign), Side())
