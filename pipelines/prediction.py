"""What a basket is expected to cost: per scenario, order and pair, and in a sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from crossimpact.release.bundle import Release
from pipelines.basket_file import Order

#: Share of each order's window that is used.
URGENCIES = {"low": 1.0, "medium": 0.5, "high": 0.25}
CAUSES = ("spread", "self_now", "self_carried", "cross_now", "cross_carried", "delay")
#: Standard errors each way of an interval of 95%.
WIDTH = 1.96
WORDS = {
    "spread": "the spread",
    "self_now": "own impact at once",
    "self_carried": "own impact carried over",
    "cross_now": "cross impact at once",
    "cross_carried": "cross impact carried over",
    "delay": "what earlier orders moved before later ones arrive",
}


@dataclass(frozen=True)
class Predicted:
    """Expected cost, USD, positive = worse; against the mid at the basket's start.

    Attributes
    ----------
    notional_usd
        To be traded.
    spread_usd, self_now_usd, self_carried_usd, cross_now_usd, cross_carried_usd, delay_usd
        Its causes, see `crossimpact.pretrade.ExpectedCost`; they sum to `total_usd`.
    low_usd, high_usd
        95% interval of the expected cost, None where a number that it rests on has no error. The
        market's own moves come on top.
    """

    notional_usd: float
    spread_usd: float
    self_now_usd: float
    self_carried_usd: float
    cross_now_usd: float
    cross_carried_usd: float
    delay_usd: float
    total_usd: float
    low_usd: float | None
    high_usd: float | None

    @classmethod
    def of(cls, notional: float, causes: Mapping[str, float], se: float) -> Predicted:
        total = math.fsum(causes.values())
        low, high = (total - WIDTH * se, total + WIDTH * se) if se == se else (None, None)
        named = {f"{name}_usd": value for name, value in causes.items()}
        return cls(notional_usd=notional, **named, total_usd=total, low_usd=low, high_usd=high)

    @property
    def total_bps(self) -> float:
        """Of the notional."""
        return 1e4 * self.total_usd / self.notional_usd

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "total_bps": self.total_bps}


@dataclass(frozen=True)
class PairCost:
    """What two names cost each other, both directions: in the same buckets, and by what one's
    earlier trading left for the other's."""

    symbol_i: str
    symbol_j: str
    now_usd: float
    carried_usd: float
    low_usd: float | None
    high_usd: float | None


@dataclass(frozen=True)
class Scenario:
    """The basket at one urgency in one regime.

    Attributes
    ----------
    minutes
        From the first order's start to the last one's end.
    rung, reason
        Who answers; without a model there are no costs, only a share of volume.
    basket, orders, pairs
        Orders as in the file; the largest pairs.
    """

    urgency: str
    minutes: float
    regime: str
    rung: str
    reason: str
    basket: Predicted | None = None
    orders: tuple[Predicted, ...] = ()
    pairs: tuple[PairCost, ...] = ()


@dataclass(frozen=True)
class Result:
    """Every scenario of a basket, by one release.

    Attributes
    ----------
    prediction
        Of the same orders by the same release: the same.
    headline
        The answer in a sentence.
    note
        What to know besides: the release has expired, where prices come from.
    """

    prediction: str
    predicted_at: datetime
    release: str
    as_of: str
    headline: str
    note: str
    orders: tuple[Order, ...]
    notionals: tuple[float, ...]
    scenarios: tuple[Scenario, ...]

    def to_dict(self) -> dict[str, Any]:
        plain = asdict(self)
        for scenario, of in zip(plain["scenarios"], self.scenarios, strict=True):
            scenario["basket"] = of.basket.to_dict() if of.basket else None
            scenario["orders"] = [
                {"order_id": order.order_id, "symbol": order.symbol, "side": order.side}
                | cost.to_dict()
                for order, cost in zip(self.orders, of.orders, strict=bool(of.orders))
            ]
        for order, notional in zip(plain["orders"], self.notionals, strict=True):
            order |= {"notional_usd": notional, "start": order["start"].isoformat(),
                      "end": order["end"].isoformat()}  # fmt: skip
        return {**plain, "predicted_at": self.predicted_at.isoformat()}


def headline(scenarios: Sequence[Scenario], release: Release) -> str:
    """The cost as planned in every regime, the largest cause and pair, and what haste adds."""
    priced = [s for s in scenarios if s.basket]
    if not priced:
        return f"release {release.id} has no model to price this basket: {scenarios[0].reason}"
    planned = [s for s in priced if s.urgency == "low"]
    first = planned[0]
    sentences = ["Expected cost as planned: " + ", ".join(map(_in_regime, planned))]
    if first.basket:
        causes = {name: getattr(first.basket, f"{name}_usd") for name in CAUSES}
        largest = max(causes, key=lambda name: abs(causes[name]))
        share = causes[largest] / first.basket.total_usd if first.basket.total_usd else math.nan
        sentences.append(f"the largest cause is {WORDS[largest]}, {share:.0%}")
    if first.pairs:
        pair = first.pairs[0]
        usd = pair.now_usd + pair.carried_usd
        what = "cost each other" if usd > 0 else "save each other"
        sentences.append(f"{pair.symbol_i} and {pair.symbol_j} {what} {abs(usd):,.0f} USD")
    hurried = next(s for s in priced if s.regime == first.regime and s.urgency == "high")
    if hurried.basket and first.basket:
        more = hurried.basket.total_usd - first.basket.total_usd
        sentences.append(f"in a quarter of the time {abs(more):,.0f} USD {_more(more)}")
    return "; ".join(sentences) + "."


def _in_regime(scenario: Scenario) -> str:
    cost = scenario.basket
    if cost is None:
        return scenario.reason
    text = f"{cost.total_usd:,.0f} USD ({cost.total_bps:,.1f} bps"
    if cost.low_usd is not None and cost.high_usd is not None:
        text += f"; 95% {cost.low_usd:,.0f} to {cost.high_usd:,.0f}"
    return f"{text}) in a {scenario.regime} market"


def _more(usd: float) -> str:
    return "more" if usd > 0 else "less"
