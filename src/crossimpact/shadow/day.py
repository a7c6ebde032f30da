"""A day's market and orders as arrays, and schedules: what is traded of each order in each bucket.

B buckets, n names, P orders. Quantities are shares, signed, buys positive; money is USD. Moments
are in buckets since the first one began, so bucket b is from b to b + 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from crossimpact.errors import ModelError
from crossimpact.scaled import Array

Index = NDArray[np.intp]


@dataclass(frozen=True)
class Orders:
    """Parent orders, P of them.

    Attributes
    ----------
    ids, baskets
        The order's and its basket's.
    name
        Place of its symbol in the day, shape (P,).
    quantity
        Ordered, signed shares, shape (P,).
    decision_px
        USD, shape (P,).
    start, end
        Its window, in buckets, shape (P,).
    alpha_bps
        Expected move in the order's favour; 0 where the desk said nothing, shape (P,).
    """

    ids: tuple[str, ...]
    baskets: tuple[str, ...]
    name: Index
    quantity: Array
    decision_px: Array
    start: Array
    end: Array
    alpha_bps: Array

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def notional(self) -> Array:
        """USD at the decision prices, shape (P,)."""
        return np.asarray(np.abs(self.quantity) * self.decision_px)

    @cached_property
    def by_basket(self) -> tuple[tuple[str, ...], Index]:
        """The baskets in order, and each order's place among them, shape (P,)."""
        labels = tuple(sorted(set(self.baskets)))
        place = {label: k for k, label in enumerate(labels)}
        return labels, np.array([place[label] for label in self.baskets], dtype=np.intp)


@dataclass(frozen=True)
class Day:
    """A date's market, beside the desk's orders.

    Attributes
    ----------
    date
        YYYY-MM-DD.
    symbols, adv
        Names, and their average daily volume, USD, shape (n,).
    opens, bucket_min
        When the first bucket begins, UTC, and their width, minutes.
    regimes
        Label of each bucket, length B.
    mid
        USD at each bucket's start and, last, at the close, shape (B + 1, n).
    half_spread
        Half the quoted spread over the mid, a fraction, shape (B, n).
    volume
        The market's, without own flow, USD, shape (B, n).
    orders
        The desk's.
    other_flow
        Own flow of no order of the date (of earlier dates', say), the same under every policy,
        signed USD, shape (B, n).
    """

    date: str
    symbols: tuple[str, ...]
    adv: Array
    opens: datetime
    bucket_min: float
    regimes: tuple[str, ...]
    mid: Array
    half_spread: Array
    volume: Array
    orders: Orders
    other_flow: Array

    def __post_init__(self) -> None:
        B, n = len(self.regimes), len(self.symbols)
        shapes = {
            "adv": (n,), "mid": (B + 1, n), "half_spread": (B, n), "volume": (B, n),
            "other_flow": (B, n),
        }  # fmt: skip
        for what, shape in shapes.items():
            value = getattr(self, what)
            if value.shape != shape or not np.isfinite(value).all():
                raise ModelError(
                    f"{what} of {self.date} is not {shape} finite numbers, but {value.shape}"
                )

    @property
    def shape(self) -> tuple[int, int]:
        """Buckets and names."""
        return len(self.regimes), len(self.symbols)

    @cached_property
    def overlap(self) -> Array:
        """Share of each bucket that lies in an order's window, shape (P, B)."""
        b = np.arange(self.shape[0])
        last = np.minimum(self.orders.end[:, None], b + 1)
        return np.asarray(np.clip(last - np.maximum(self.orders.start[:, None], b), 0.0, 1.0))

    @cached_property
    def px(self) -> Array:
        """Mid of each order's name at each bucket's start and at the close, shape (P, B + 1)."""
        return self.mid.T[self.orders.name]

    def by_name(self, by_order: Array) -> Array:
        """Sums over a name's orders, shape (B, n) from (P, B)."""
        total = np.zeros(self.shape[::-1])
        np.add.at(total, self.orders.name, by_order)
        return total.T


@dataclass(frozen=True)
class Schedule:
    """What is filled of each order in each bucket, signed shares, shape (P, B); `crossing` is the
    part that takes liquidity."""

    shares: Array
    crossing: Array

    @property
    def filled(self) -> Array:
        """Shape (P,)."""
        return np.asarray(self.shares.sum(axis=1))


def flows(day: Day, schedule: Schedule) -> Array:
    """All own flow under a schedule, signed USD at the observed mids, shape (B, n)."""
    return day.by_name(schedule.shares * day.px[:, :-1]) + day.other_flow
