"""A day replayed event by event through a live session that a policy decides for.

The session is the one of the live loop. It is told quotes, regimes and parents as they came, and
the fills of its own targets: each bucket the market gives what its volume lets it, at the
counterfactual price, observed mids less the impact of what was done plus that of the session's
fills so far. What is left of an order in its last bucket is asked for there, crossing. A regime is
told when its bucket has ended, as its label is published. Hard limits are not asked: they are
against errors, and would leave unfilled what the desk did fill.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np

from crossimpact.ladder import Rung
from crossimpact.policy.limits import Limits
from crossimpact.policy.live.events import (
    Event,
    Fill,
    Heartbeat,
    HeldRung,
    Market,
    ParentOrder,
    Regime,
    Swap,
)
from crossimpact.policy.live.session import Session
from crossimpact.policy.live.settings import Settings
from crossimpact.release.bundle import UNKNOWN, Release
from crossimpact.scaled import BPS, Array
from crossimpact.shadow.baselines import within_volume
from crossimpact.shadow.counterfactual import kernel_of
from crossimpact.shadow.day import Day, Schedule, flows
from crossimpact.shadow.impact import Judge

#: Before a bucket ends: its last moment is told, its fills, the next quotes and the regime.
LAST, FILLS, QUOTES, LABEL = (timedelta(seconds=s) for s in (2.0, 1.4, 0.9, 0.8))


#: Of a session in the shadow: none that binds.
NO_LIMITS = Limits(1e15, 1.0, 10**9, 1e9, 1.0, 1e15, 10**9, 1e-3)


@dataclass(frozen=True)
class Chooser:
    """Who decides: a release, held to a rung, by a policy.

    Attributes
    ----------
    settings
        Of the session; its `caps.pov` is also what the market gives at most.
    held_to
        The highest rung that may answer.
    """

    release: Release
    settings: Settings
    held_to: Rung = "full"

    def session(self, at: datetime) -> Session:
        """A new session of it."""
        release = self.release
        made = Session(self.settings, {release.digest: release}.__getitem__)
        held = {}
        if self.held_to != "full":
            why = HeldRung(self.held_to, f"shadow of {self.held_to}")
            held = dict.fromkeys(release.fallback, why)
        pov = release.fallback[UNKNOWN].max_pov["fixed_pov"]
        made.apply(Swap(digest=release.digest, reason="", fixed_pov=pov, held=held, at=at))
        return made


@dataclass(frozen=True)
class Outcome:
    """A session's schedule, who answered how often, and the orders it did not take (against
    another of the same name), which were worked evenly."""

    schedule: Schedule
    answered: Mapping[str, int]
    refused: tuple[str, ...]


@dataclass
class _Prices:
    """The counterfactual market as the session's flow makes it, bucket by bucket."""

    day: Day
    judge: Judge
    executed: Array
    kernel: Array = field(init=False)
    left: Array = field(init=False)

    def __post_init__(self) -> None:
        self.kernel = kernel_of(self.judge.estimate(), self.day)
        self.left = np.zeros(self.day.shape)

    def carried(self, bucket: int) -> Array:
        """Bps by which mids differ from the observed ones at a bucket's start, shape (n,)."""
        return np.asarray(self.kernel[bucket] @ self.left)

    def traded(self, bucket: int, usd: Array) -> Array:
        """Take a bucket's flow; the moves its fills pay, bps, shape (n,)."""
        regime = self.day.regimes[bucket]
        numbers = self.judge.estimate().get(regime)
        if numbers is None:
            return np.zeros_like(usd)
        model, adv = self.judge.models[regime], self.day.adv
        both = np.array([model.flow(q / adv) for q in (usd, self.executed[bucket])])
        own, cross = both * numbers.beta, both @ numbers.gamma.T
        left = numbers.scale_self * own + numbers.scale_cross * cross
        self.left[bucket] = left[0] - left[1]
        return np.asarray(own[0] + cross[0])


def replay(chooser: Chooser, day: Day, judge: Judge, executed: Schedule) -> Outcome:
    """The schedule a policy makes of the day's orders.

    Parameters
    ----------
    judge
        Whose impact the session's fills and mids show; never fitted on the chooser's days.
    executed
        What the desk did, whose impact is in the observed mids.
    """
    run = _Run(chooser, day, _Prices(day, judge, flows(day, executed)))
    for bucket in range(day.shape[0]):
        run.tell(_told(day, bucket, run.prices.carried(bucket)))
        done = run.fill(bucket)
        paid = run.prices.traded(bucket, run.flow(bucket, done))
        run.tell(_fills(day, bucket, np.where(run.refused, 0.0, done), run.prices, paid))
    names = tuple(order for order, out in zip(day.orders.ids, run.refused, strict=True) if out)
    return Outcome(Schedule(run.shares, run.crossing), run.answered, names)


@dataclass
class _Run:
    """A replay on its way: the session, its last targets, and what was filled of them."""

    chooser: Chooser
    day: Day
    prices: _Prices
    answered: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        orders = len(self.day.orders)
        self.session = self.chooser.session(self.day.opens - timedelta(seconds=1))
        self.shares, self.crossing = np.zeros((2, orders, self.day.shape[0]))
        self.target, self.aggressive = np.zeros(orders), np.zeros(orders, dtype=bool)
        self.refused = np.zeros(orders, dtype=bool)
        self._place = {order: k for k, order in enumerate(self.day.orders.ids)}
        self._even = _even(self.day)

    def tell(self, events: Iterable[Event]) -> None:
        """Give the session events; keep the targets of its last decision."""
        for event in events:
            for recorded in self.session.apply(event):
                decision = recorded.decision
                self.answered[decision.answered] = self.answered.get(decision.answered, 0) + 1
                for row in decision.targets:
                    k = self._place[row.parent]
                    self.target[k], self.aggressive[k] = row.target, row.style == "aggressive"

    def fill(self, bucket: int) -> Array:
        """What the market gives of the targets in a bucket, signed shares, shape (P,)."""
        orders, begun = self.day.orders, self.day.overlap[:, bucket] > 0
        unknown = np.array([order not in self.session.book.orders for order in orders.ids])
        self.refused |= begun & unknown
        last = orders.end <= bucket + 1
        stands = np.where(last, orders.quantity, self.target)
        wanted = np.where(self.refused, self._even[:, bucket], stands) - self.shares.sum(axis=1)
        wanted[wanted * orders.quantity < 0] = 0.0
        done = within_volume(self.day, bucket, wanted, self.chooser.settings.caps.pov)
        self.shares[:, bucket] = done
        self.crossing[:, bucket] = np.where((self.aggressive | last) & ~self.refused, done, 0.0)
        return done

    def flow(self, bucket: int, done: Array) -> Array:
        """All own flow of a bucket, signed USD, shape (n,)."""
        day = self.day
        usd = np.bincount(day.orders.name, done * day.px[:, bucket], minlength=day.shape[1])
        return np.asarray(usd + day.other_flow[bucket])


def _even(day: Day) -> Array:
    """Where an order stands at each bucket's end at an even pace, shares, shape (P, B)."""
    done = np.cumsum(day.overlap, axis=1)
    return np.asarray(day.orders.quantity[:, None] * done / np.maximum(done[:, -1:], 1e-12))


def _at(day: Day, bucket: float) -> datetime:
    return day.opens + timedelta(minutes=float(bucket) * day.bucket_min)


def _told(day: Day, bucket: int, moved: Array) -> Iterator[Event]:
    """What the market and the desk say of a bucket, in order of time."""
    began, ends = _at(day, bucket), _at(day, bucket + 1)
    yield Regime(regime=day.regimes[bucket - 1] if bucket else UNKNOWN, at=began - LABEL)
    expected = day.adv / day.shape[0]
    mid = day.mid[bucket] * (1 + BPS * moved)
    for i, symbol in enumerate(day.symbols):
        half = mid[i] * day.half_spread[bucket, i]
        yield Market(
            symbol=symbol, bid=float(mid[i] - half), ask=float(mid[i] + half),
            volume=float(expected[i] / mid[i]), adv_usd=float(day.adv[i]), at=began - QUOTES,
        )  # fmt: skip
    orders = day.orders
    new = np.flatnonzero((orders.start >= bucket) & (orders.start < bucket + 1))
    for k in new[np.argsort(orders.start[new], kind="stable")]:
        yield ParentOrder(
            id=orders.ids[k], symbol=day.symbols[orders.name[k]],
            quantity=float(orders.quantity[k]), deadline=_at(day, orders.end[k]),
            alpha_bps=float(orders.alpha_bps[k]), at=_at(day, orders.start[k]),
        )  # fmt: skip
    yield Heartbeat(at=ends - LAST)


def _fills(day: Day, bucket: int, done: Array, prices: _Prices, paid: Array) -> Iterator[Event]:
    at = _at(day, bucket + 1) - FILLS
    px = day.mid[bucket] * (1 + BPS * (prices.carried(bucket) + paid))
    for k in np.flatnonzero(done):
        i = day.orders.name[k]
        yield Fill(
            id=f"{day.orders.ids[k]}/{bucket}", parent=day.orders.ids[k], symbol=day.symbols[i],
            quantity=float(done[k]), price=float(px[i]), at=at,
        )  # fmt: skip
