"""A day replayed through a live session: windows, volume, determinism; a chooser that is wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crossimpact.policy.live.events import ParentOrder, Regime
from crossimpact.policy.live.settings import Settings
from crossimpact.policy.state import Caps
from crossimpact.shadow.baselines import twap, vwap
from crossimpact.shadow.impact import Judge
from crossimpact.shadow.replay import NO_LIMITS, Chooser, _told, replay
from tests.crossimpact.shadow import days

MODEL = days.model()
DAY = days.day(MODEL)
JUDGE = Judge.of({MODEL.regime: MODEL}, DAY.symbols, DAY.adv)
DONE = twap(DAY, days.POV)


def chooser(model=MODEL, policy="optimal", held_to="full", horizon=3):
    told = Settings("shadow", NO_LIMITS, policy=policy, horizon=horizon, stale_s=450.0,
                    caps=Caps(days.POV))  # fmt: skip
    return Chooser(days.release(model), told, held_to)


@pytest.mark.parametrize(("policy", "rung"), [("optimal", "full"), ("ranked", "self_only")])
def test_orders_fill_within_their_windows_and_the_market_s_volume(policy, rung):
    made = replay(chooser(policy=policy, held_to=rung), DAY, JUDGE, DONE)
    shares, orders = made.schedule.shares, DAY.orders
    assert (shares * orders.quantity[:, None] >= 0).all()
    assert (np.abs(made.schedule.filled) <= np.abs(orders.quantity) * (1 + 1e-9)).all()
    assert (shares[DAY.overlap == 0] == 0).all()
    usd = DAY.by_name(np.abs(shares) * DAY.px[:, :-1])
    assert (usd <= days.POV * DAY.volume * (1 + 1e-9)).all()
    assert made.answered[policy] > 0 and not made.refused
    done = np.abs(made.schedule.filled).sum() / np.abs(orders.quantity).sum()
    assert done > 0.9


@pytest.mark.parametrize("make", [twap, vwap])
def test_paces_fill_within_windows_and_volume(make):
    made = make(DAY, days.POV)
    assert (made.shares[DAY.overlap == 0] == 0).all()
    usd = DAY.by_name(np.abs(made.shares) * DAY.px[:, :-1])
    assert (usd <= days.POV * DAY.volume * (1 + 1e-9)).all()
    whole = make(DAY, 1.0)
    assert np.allclose(whole.filled, DAY.orders.quantity)


def test_a_replay_is_the_same_to_the_byte():
    one, two = (replay(chooser(), DAY, JUDGE, DONE).schedule.shares for _ in range(2))
    assert one.tobytes() == two.tobytes()


def test_a_session_knows_nothing_that_comes_later():
    """Another end of the day changes no fill before it."""
    cut = 10
    mid, volume = DAY.mid.copy(), DAY.volume.copy()
    mid[cut:] *= 1.03
    volume[cut:] *= 0.5
    other = replace(DAY, mid=mid, volume=volume)
    one = replay(chooser(), DAY, JUDGE, DONE).schedule.shares
    two = replay(chooser(), other, JUDGE, DONE).schedule.shares
    assert np.array_equal(one[:, :cut], two[:, :cut]) and not np.array_equal(one, two)


def test_a_regime_is_told_when_its_bucket_has_ended():
    regimes = ("stressed", *DAY.regimes[1:])
    day = replace(DAY, regimes=regimes)
    told = [next(_told(day, b, np.zeros(MODEL.n))) for b in (0, 1, 2)]
    assert [e.regime for e in told if isinstance(e, Regime)] == ["unknown", "stressed", "normal"]
    parents = [e for b in range(DAY.shape[0]) for e in _told(day, b, np.zeros(MODEL.n))
               if isinstance(e, ParentOrder)]  # fmt: skip
    assert sorted(e.id for e in parents) == sorted(DAY.orders.ids)


def test_an_order_against_another_of_its_name_is_worked_evenly_and_named():
    orders = DAY.orders
    against = replace(
        orders, name=np.append(orders.name[:-1], orders.name[0]),
        quantity=np.append(orders.quantity[:-1], -0.3 * orders.quantity[0]),
        start=np.append(orders.start[:-1], orders.start[0] + 0.5),
        end=np.append(orders.end[:-1], orders.end[0]),
    )  # fmt: skip
    made = replay(chooser(), replace(DAY, orders=against), JUDGE, DONE)
    assert made.refused == (orders.ids[-1],)
    assert made.schedule.filled[-1] == pytest.approx(against.quantity[-1], rel=0.01)
