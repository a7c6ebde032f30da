"""What a book holds: quotes, parents, fills by interval."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime

from crossimpact.policy.live.events import Fill, ParentOrder

#: Shares by which two counts may differ and be the same: sums of floats.
SAME = 1e-6


@dataclass
class Quote:
    """The last good quote of a name, and what keeps it from trading."""

    at: datetime
    mid: float
    spread_bps: float
    volume: float | None
    volatility_bps: float
    adv_usd: float | None
    #: Of the last decision: what a price collar measures from.
    reference: float
    bucket_start: float
    bad: str = ""


@dataclass
class Order:
    """A parent and how far it is."""

    told: ParentOrder
    filled: float = 0.0
    outstanding: float = 0.0
    cancelled: bool = False

    @property
    def sign(self) -> float:
        return 1.0 if self.told.quantity > 0 else -1.0

    @property
    def target(self) -> float:
        """What was asked for so far, cumulative."""
        return self.filled + self.outstanding

    @property
    def overfilled(self) -> bool:
        return self.sign * (self.filled - self.told.quantity) > SAME


@dataclass
class Bucket:
    """What was filled in one interval: shares by name, and slippage from the mids at its start."""

    shares: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    slippage_usd: float = 0.0


@dataclass(frozen=True)
class Booked:
    """A fill as it counts now, and the interval it is in."""

    fill: Fill
    bucket: int
    slippage_usd: float
