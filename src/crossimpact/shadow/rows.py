"""The rows of both tables, from what the judges say of a day."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np

from crossimpact.errors import EstimationError
from crossimpact.scaled import BPS, Array
from crossimpact.shadow.counterfactual import EXECUTED, beyond_history, on_prices_of
from crossimpact.shadow.evidence import agreed, interval, verdict
from crossimpact.shadow.judging import KERNELS, POLICIES, Verdicts
from crossimpact.shadow.tables import (
    BasketRow,
    DayRow,
    Judge,
    Policy,
    Status,
)

JUDGES: tuple[Judge, ...] = get_args(Judge)


@dataclass(frozen=True)
class Controls:
    """What explains a basket's cost beside the policy, bps of its notional, shape (baskets,)."""

    market_bps: Array
    spread_bps: Array


@dataclass(frozen=True)
class Rows:
    """Both tables of a date."""

    baskets: tuple[BasketRow, ...]
    daily: tuple[DayRow, ...]


def controls(verdicts: Verdicts) -> Controls:
    """The market's move over each order's window as a cost, and half the spread at its start.

    The market is the mean of all names by their volume.
    """
    replayed = verdicts.replayed
    day, orders = replayed.day, replayed.day.orders
    index = (day.mid / day.mid[0]) @ (day.adv / day.adv.sum())
    first = np.clip(orders.start.astype(int), 0, day.shape[0] - 1)
    last = np.clip(np.ceil(orders.end).astype(int), 1, day.shape[0])
    move = np.sign(orders.quantity) * (index[last] / index[first] - 1)
    notional = replayed.by_basket(orders.notional)
    spread = day.half_spread[first, orders.name]
    both = (replayed.by_basket(each * orders.notional) / BPS / notional for each in (move, spread))
    return Controls(*both)


def rows(
    verdicts: Verdicts, status: Sequence[Status], most: float, other_mids: Sequence[Array]
) -> Rows:
    """Both tables.

    Parameters
    ----------
    status
        Of each basket, in order.
    most
        Participation beyond which impact was never seen.
    other_mids
        Mids of other dates, for the placebo, which is the mean over them; without any it is 0.

    Raises
    ------
    EstimationError
        When no basket is evidence.
    """
    if not verdicts.counted.any():
        raise EstimationError(
            f"no basket of {verdicts.replayed.day.date} is evidence: {', '.join(set(status))}",
            "see docs/shadow.md",
        )
    beside = controls(verdicts)
    outside = beyond_history(verdicts.replayed, most)
    each = [on_prices_of(verdicts.replayed, mid) for mid in other_mids]
    placebo = {n: float(np.mean([one[n] for one in each])) for n in (each[0] if each else {})}
    return Rows(
        tuple(_baskets(verdicts, status, beside, outside)),
        tuple(_daily(verdicts, outside, placebo)),
    )


def _baskets(
    verdicts: Verdicts,
    status: Sequence[Status],
    beside: Controls,
    outside: Mapping[str, Array],
) -> Iterator[BasketRow]:
    replayed = verdicts.replayed
    labels, _ = replayed.day.orders.by_basket
    notional = replayed.by_basket(replayed.day.orders.notional)
    usd = notional * BPS
    was = replayed.by_basket(replayed.realized_usd)
    expected = verdicts.expected_usd / usd
    for policy in POLICIES:
        for judge in JUDGES:
            gain = verdicts.gain(policy, judge, "release").by_basket
            draws = verdicts.basket_draws(policy, judge)
            low, high = np.quantile(draws, [0.025, 0.975], axis=1) / usd
            beyond = verdicts.pooled(lambda _, name: outside[name], policy, judge)
            share = (draws > 0).mean(axis=1)
            for k, label in enumerate(labels):
                yield BasketRow(
                    date=replayed.day.date,
                    basket_id=label,
                    policy=policy,
                    judge=judge,
                    notional_usd=float(notional[k]),
                    is_usd=float(was[k] - gain[k]),
                    is_bps=float((was[k] - gain[k]) / usd[k]),
                    executed_is_bps=float(was[k] / usd[k]),
                    gain_bps=float(gain[k] / usd[k]),
                    gain_lo_bps=float(low[k]),
                    gain_hi_bps=float(high[k]),
                    share_gain=float(share[k]),
                    market_bps=float(beside.market_bps[k]),
                    spread_bps=float(beside.spread_bps[k]),
                    other_expected_bps=float(expected[k]),
                    outside_evidence=float(beyond[k]),
                    status=status[k],
                )


def _daily(
    verdicts: Verdicts, outside: Mapping[str, Array], placebo: Mapping[str, float]
) -> Iterator[DayRow]:
    replayed, counted = verdicts.replayed, verdicts.counted
    notional = replayed.by_basket(replayed.day.orders.notional)
    was, usd = replayed.by_basket(replayed.realized_usd), notional * BPS
    total = float(usd[counted].sum())
    names = replayed.names
    paces = {name: _participation(verdicts, name) for name in names}
    filled = {name: _completion(verdicts, name) for name in names}
    beyonds = {n: float(np.average(outside[n][counted], weights=notional[counted])) for n in names}
    shifts = {name: placebo.get(name, 0.0) for name in names}
    for policy in POLICIES:
        for judge in JUDGES:
            pace, done, beyond, shift = (
                _mean(verdicts, those, policy, judge) for those in (paces, filled, beyonds, shifts)
            )
            bad, bad_usd = verdicts.bad_fills(policy, judge)
            found = {kernel: verdicts.gain(policy, judge, kernel) for kernel in KERNELS}
            each = {k: verdict(g.draws, beyond) for k, g in found.items()}
            said = agreed(each, done, filled[EXECUTED])
            for kernel, gain in found.items():
                paid = (was - gain.by_basket)[counted] / usd[counted]
                point, draws = float(gain.by_basket[counted].sum()), gain.draws / total
                low, high = interval(draws)
                yield DayRow(
                    date=replayed.day.date,
                    policy=policy,
                    judge=judge,
                    kernel=kernel,
                    baskets=int(counted.sum()),
                    notional_usd=float(notional[counted].sum()),
                    is_bps=float((was[counted].sum() - point) / total),
                    gain_bps=point / total,
                    gain_lo_bps=low,
                    gain_hi_bps=high,
                    share_gain=float((draws > 0).mean()),
                    p90_bps=float(np.quantile(paid, 0.9)),
                    p95_bps=float(np.quantile(paid, 0.95)),
                    bad_fills=bad,
                    bad_fill_cost_usd=bad_usd,
                    participation=pace,
                    completion=done,
                    placebo_gain_bps=shift / total,
                    verdict=said[kernel],
                )


def _mean(verdicts: Verdicts, of: Mapping[str, float], policy: Policy, judge: Judge) -> float:
    """Of either half's schedule."""
    return float(verdicts.pooled(lambda _, name: np.array(of[name]), policy, judge))


def _participation(verdicts: Verdicts, name: str) -> float:
    replayed = verdicts.replayed
    usd = np.abs(replayed.flows[replayed.names.index(name)])
    volume = replayed.day.volume
    rate = np.divide(usd, volume, out=np.zeros_like(usd), where=volume > 0)
    return float((rate * usd).sum() / usd.sum()) if usd.any() else 0.0


def _completion(verdicts: Verdicts, name: str) -> float:
    replayed, counted = verdicts.replayed, verdicts.counted
    orders = replayed.day.orders
    filled = np.abs(replayed.schedules[name].filled) * orders.decision_px
    both = (replayed.by_basket(each)[counted].sum() for each in (filled, orders.notional))
    done, asked = both
    return float(done / asked)
