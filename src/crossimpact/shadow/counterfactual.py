"""What a schedule would have cost: observed mids less the impact of what was done, plus its own.

With ``S`` the observed mids, x what was executed and y another schedule of the same orders,

    S^y_b = S_b + sum_{a < b} K(b, a) Lambda (y_a - x_a),

so only the difference is modelled, the market's noise is the same for both, and ``y = x`` gives the
realized shortfall back exactly. Fills of bucket b pay ``S^y_b``, their own bucket's impact, and
half the observed spread where they cross; what is not filled is charged at ``S^y`` of the close and
half the spread. What fills paid beside that (luck inside a bucket, fees) stays as it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import csr_array

from crossimpact.errors import UsageError
from crossimpact.scaled import BPS, Array
from crossimpact.shadow.day import Day, Index, Schedule, flows
from crossimpact.shadow.impact import Curve, Judge, Numbers, carry

#: Name under which the day's own schedule is among all.
EXECUTED = "executed"
#: Cross cost above this, bps of what a name trades in a bucket, is a bad fill.
BAD_BPS = 1.0


@dataclass(frozen=True)
class Replayed:
    """A day with the schedules to be judged, what was executed among them.

    Attributes
    ----------
    day
        Market and orders.
    schedules
        By name; `EXECUTED` is what the desk did.
    realized_usd
        Shortfall of each order as executed, positive = a cost, shape (P,).

    Raises
    ------
    UsageError
        Without what was executed.
    """

    day: Day
    schedules: Mapping[str, Schedule]
    realized_usd: Array

    def __post_init__(self) -> None:
        if EXECUTED not in self.schedules:
            raise UsageError("nothing to hold the schedules against: what was executed is missing")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.schedules)

    @cached_property
    def flows(self) -> Array:
        """Signed USD, shape (schedules, B, n)."""
        return np.array([flows(self.day, each) for each in self.schedules.values()])

    @cached_property
    def exposure(self) -> dict[str, csr_array]:
        """Per schedule, USD that a bps of price move costs each basket, by bucket and name, the
        last bucket the close: shape (baskets, (B + 1) n)."""
        return {name: self._exposure(each) for name, each in self.schedules.items()}

    @cached_property
    def observed_usd(self) -> dict[str, Array]:
        """Per schedule, its shortfall less the realized one by basket, without the impact of the
        difference: observed mids and spreads alone, shape (baskets,)."""
        was = _unmoved(self.day, self.schedules[EXECUTED])
        return {n: self.by_basket(_unmoved(self.day, s) - was) for n, s in self.schedules.items()}

    def by_basket(self, by_order: Array) -> Array:
        """Sums over a basket's orders, shape (baskets,) from (P,)."""
        labels, place = self.day.orders.by_basket
        return np.asarray(np.bincount(place, by_order, minlength=len(labels)), dtype=np.float64)

    def _exposure(self, schedule: Schedule) -> csr_array:
        day, (B, n) = self.day, self.day.shape
        left = day.orders.quantity - schedule.filled
        usd = BPS * day.px * np.column_stack((schedule.shares, left))
        order, bucket = np.nonzero(usd)
        labels, place = day.orders.by_basket
        cell = bucket * n + day.orders.name[order]
        shape = (len(labels), (B + 1) * n)
        return csr_array((usd[order, bucket], (place[order], cell)), shape=shape)


@dataclass(frozen=True)
class Pushes:
    """What moves prices by a judge's transform: per regime its buckets, and the flows of all
    schedules in them, ADV fractions, shape (schedules, its buckets, n)."""

    shape: tuple[int, ...]
    by_regime: Mapping[str, tuple[Index, Array]]

    @classmethod
    def of(cls, judge: Judge, replayed: Replayed) -> Pushes:
        usd, day = replayed.flows, replayed.day
        labels = np.array(day.regimes)
        rows = {regime: np.flatnonzero(labels == regime) for regime in judge.models}
        flows = {
            regime: (those, judge.models[regime].flow(usd[:, those] / day.adv))
            for regime, those in rows.items()
            if len(those)
        }
        return cls(usd.shape, flows)


@dataclass(frozen=True)
class Moves:
    """Price moves under each schedule, bps, signed, that its fills meet beyond the observed mids.

    Attributes
    ----------
    own, cross
        From own flow of the same bucket and from the others', shape (schedules, B, n).
    left
        What a bucket leaves in the mids at its end, of own and cross, shape (schedules, B, n).
    """

    own: Array
    cross: Array
    left: Array

    @classmethod
    def of(cls, pushes: Pushes, numbers: Mapping[str, Numbers]) -> Moves:
        """Under one set of a judge's numbers."""
        own, cross, left = np.zeros((3, *pushes.shape))
        for regime, (rows, flow) in pushes.by_regime.items():
            those = numbers[regime]
            now = flow * those.beta
            others = (flow.reshape(-1, flow.shape[-1]) @ those.gamma.T).reshape(flow.shape)
            own[:, rows], cross[:, rows] = now, others
            left[:, rows] = those.scale_self * now + those.scale_cross * others
        return cls(own, cross, left)

    def carried(self, kernel: Array, executed: int) -> Array:
        """What the difference to the executed flow has left at each bucket's start and at the
        close, shape (schedules, B + 1, n); `kernel` as of `impact.carry`."""
        return np.asarray(kernel @ (self.left - self.left[executed]))


def costs(
    judge: Judge,
    numbers: Mapping[str, Numbers],
    replayed: Replayed,
    curve: Curve | None = None,
) -> dict[str, Array]:
    """Shortfall of each schedule less the realized one, by basket, USD, shape (baskets,).

    Parameters
    ----------
    numbers
        One set of the judge's, estimated or drawn.
    curve
        A kernel in place of the numbers' own.
    """
    moves = Moves.of(Pushes.of(judge, replayed), numbers)
    kernel = kernel_of(numbers, replayed.day, curve)
    at = replayed.names.index(EXECUTED)
    met = moves.carried(kernel, at)
    met[:, :-1] += moves.own + moves.cross
    paid = {name: replayed.exposure[name] @ met[k].ravel() for k, name in enumerate(replayed.names)}
    return {n: replayed.observed_usd[n] + paid[n] - paid[EXECUTED] for n in replayed.names}


def kernel_of(numbers: Mapping[str, Numbers], day: Day, curve: Curve | None = None) -> Array:
    """See `impact.carry`: of the numbers' own curves, or of another one in their place."""
    by_regime = {regime: curve or those.curve for regime, those in numbers.items()}
    return carry(by_regime, day.regimes, day.bucket_min)


def expected_usd(judge: Judge, numbers: Mapping[str, Numbers], replayed: Replayed) -> Array:
    """What a judge expects that the executed flow cost each basket, what it carried included, USD,
    shape (baskets,)."""
    moves = Moves.of(Pushes.of(judge, replayed), numbers)
    at = replayed.names.index(EXECUTED)
    met = kernel_of(numbers, replayed.day) @ moves.left[at]
    met[:-1] += moves.own[at] + moves.cross[at]
    return np.asarray(replayed.exposure[EXECUTED] @ met.ravel())


def bad_fills(
    judge: Judge, numbers: Mapping[str, Numbers], replayed: Replayed
) -> dict[str, tuple[int, float]]:
    """Per schedule, in how many buckets and names the others' flow of the same bucket cost more
    than `BAD_BPS`, and what it cost there, USD."""
    moves = Moves.of(Pushes.of(judge, replayed), numbers)
    result = {}
    for k, name in enumerate(replayed.names):
        usd = replayed.flows[k]
        against = np.sign(usd) * moves.cross[k]
        bad = against > BAD_BPS
        result[name] = int(bad.sum()), float((np.abs(usd) * BPS * against)[bad].sum())
    return result


def on_prices_of(replayed: Replayed, mid: Array) -> dict[str, float]:
    """Placebo: what the difference in timing would have gained on another date's prices, USD.

    Its moves since each bucket, as fractions, at the day's notionals; no schedule knew them, so it
    must vanish on average.

    Parameters
    ----------
    mid
        Of the other date, at each bucket's start and at the close, shape (B + 1, n).
    """
    day = replayed.day
    later = np.asarray(mid[-1] / mid[:-1] - 1).T[day.orders.name]  # bought earlier, it gained
    was = replayed.schedules[EXECUTED].shares
    return {
        name: float(((each.shares - was) * day.px[:, :-1] * later).sum())
        for name, each in replayed.schedules.items()
    }


def beyond_history(replayed: Replayed, most: float) -> dict[str, Array]:
    """Per schedule, the share of each basket's traded notional in buckets and names with a larger
    participation than `most`, shape (baskets,)."""
    day, result = replayed.day, {}
    for k, (name, schedule) in enumerate(replayed.schedules.items()):
        rate = np.abs(replayed.flows[k]) * day.shape[0] / day.adv
        usd = np.abs(schedule.shares * day.px[:, :-1])
        outside = (usd * (rate > most).T[day.orders.name]).sum(axis=1)
        total = replayed.by_basket(usd.sum(axis=1))
        part = replayed.by_basket(outside)
        result[name] = np.divide(part, total, out=np.zeros_like(total), where=total > 0)
    return result


def check_disjoint(chooser: Sequence[str], judge: Sequence[str], date: str) -> None:
    """A judge has seen no day the chooser saw, and neither has seen the day that is judged.

    Raises
    ------
    UsageError
        Naming the days they share.
    """
    if shared := sorted(set(chooser) & set(judge)):
        raise UsageError(
            f"judge and chooser were both fitted on {', '.join(shared[:3])}"
            f"{' and others' if len(shared) > 3 else ''}",
            "fit them on disjoint days: a matrix that judges its own schedules flatters them",
        )
    if date in {*chooser, *judge}:
        raise UsageError(f"{date} is judged by what was fitted on it", "leave it out of the fits")


def _unmoved(day: Day, schedule: Schedule) -> Array:
    """Shortfall at the observed mids with the spread that is crossed, USD, shape (P,)."""
    orders = day.orders
    since = day.px - orders.decision_px[:, None]
    left = orders.quantity - schedule.filled
    traded = (schedule.shares * since[:, :-1]).sum(axis=1) + left * since[:, -1]
    half = day.half_spread.T[orders.name]
    crossed = (np.abs(schedule.crossing) * day.px[:, :-1] * half).sum(axis=1)
    return np.asarray(traded + crossed + np.abs(left) * day.px[:, -1] * half[:, -1])
