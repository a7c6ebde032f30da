"""The counterfactual market: identities, and a planted market executed both ways."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crossimpact.errors import ModelError, UsageError
from crossimpact.kernel.decay import Decay
from crossimpact.model import ImpactModel
from crossimpact.path_manipulation import largest_coupling
from crossimpact.scaled import BPS, Array, from_scaled, to_scaled
from crossimpact.shadow.baselines import twap, vwap
from crossimpact.shadow.counterfactual import (
    EXECUTED,
    Replayed,
    bad_fills,
    beyond_history,
    check_disjoint,
    costs,
    on_prices_of,
)
from crossimpact.shadow.day import Day, Schedule, flows
from crossimpact.shadow.draws import drawn
from crossimpact.shadow.evidence import verdict
from crossimpact.shadow.impact import Judge, carry, curves
from tests.crossimpact.shadow import days

MODEL = days.model()
DAY = days.day(MODEL)
JUDGE = Judge.of({MODEL.regime: MODEL}, DAY.symbols, DAY.adv)


def shuffled(schedule: Schedule, seed: int) -> Schedule:
    """Another schedule of the same orders, some of it crossing, some of it never filled."""
    rng = np.random.default_rng(seed)
    shares = schedule.shares * rng.uniform(0.2, 1.5, schedule.shares.shape)
    return Schedule(shares, shares * rng.uniform(0, 1, shares.shape))


def replayed(**schedules: Schedule) -> Replayed:
    return Replayed(DAY, schedules, np.arange(len(DAY.orders), dtype=float))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("curve", [None, *(c for each in curves().values() for c in each)])
def test_own_schedule_in_gives_the_realized_shortfall_back(seed, curve):
    """Whatever the judge, the kernel and the schedule: the difference of x to x is nothing."""
    done = shuffled(twap(DAY, days.POV), seed)
    same = Schedule(done.shares.copy(), done.crossing.copy())
    for judge in (JUDGE, JUDGE.shaped(np.full(MODEL.n, 0.01))):
        for numbers in (judge.estimate(), next(judge.draws(1, seed))):
            found = costs(judge, numbers, replayed(executed=done, same=same), curve)
            assert np.abs(found["same"]).max() <= 1e-9 * DAY.orders.notional.sum() * BPS


def executed_in(truth: Judge, unperturbed: Array, schedule: Schedule) -> tuple[Day, float]:
    """The planted market with a schedule in it: the day as it is seen, and the shortfall paid,
    by the model's own path costs."""
    model = truth.models[MODEL.regime]
    q = flows(DAY, schedule) / DAY.adv
    cost = model.path_cost(np.vstack((q, np.zeros_like(q[:1]))))
    moved = BPS * (cost.carried_self_bps + cost.carried_cross_bps)
    seen = replace(DAY, mid=unperturbed + DAY.mid * moved)
    drift = schedule.shares * (
        unperturbed.T[DAY.orders.name][:, :-1] - DAY.orders.decision_px[:, None]
    )
    impact = cost.self_now + cost.cross_now + cost.self_carried + cost.cross_carried
    return seen, float(drift.sum() + impact.sum())


def test_the_planted_market_executed_both_ways_agrees_with_the_counterfactual():
    """Filled completely, the judge being the truth: the gain is that of a market in which either
    schedule was really executed, to the second order in the moves."""
    done, other = twap(DAY, 1.0), vwap(DAY, 1.0)
    assert np.allclose(done.filled, DAY.orders.quantity)
    seen, paid = executed_in(JUDGE, DAY.mid, done)
    _, would = executed_in(JUDGE, DAY.mid, other)
    told = Replayed(seen, {EXECUTED: done, "other": other}, np.zeros(len(DAY.orders)))
    found = costs(JUDGE, JUDGE.estimate(), told)["other"].sum()
    assert abs(would - paid) > 1.0
    assert found == pytest.approx(would - paid, rel=0.02)


def test_without_impact_only_prices_and_spread_tell_schedules_apart():
    still = Judge.of({}, DAY.symbols, DAY.adv)
    done, other = twap(DAY, days.POV), vwap(DAY, days.POV)
    found = costs(still, {}, replayed(executed=done, other=other))["other"].sum()
    moved = other.shares - done.shares
    left = done.filled - other.filled
    by_hand = (moved * DAY.px[:, :-1]).sum() + (left * DAY.px[:, -1]).sum()
    half = np.abs(DAY.orders.quantity - other.filled) - np.abs(DAY.orders.quantity - done.filled)
    by_hand += (half * DAY.px[:, -1] * 1e-4).sum()
    assert found == pytest.approx(by_hand, rel=1e-9)


def test_what_is_not_filled_is_charged_at_the_close():
    """Nothing traded: the whole move to the close, and half the spread."""
    nothing = Schedule(*np.zeros((2, len(DAY.orders), DAY.shape[0])))
    done = twap(DAY, 1.0)
    still = Judge.of({}, DAY.symbols, DAY.adv)
    found = costs(still, {}, replayed(executed=nothing, done=done))
    orders = DAY.orders
    unfilled = (orders.quantity * (DAY.px[:, -1] - orders.decision_px)).sum()
    unfilled += (np.abs(orders.quantity) * DAY.px[:, -1] * 1e-4).sum()
    traded = (done.shares * (DAY.px[:, :-1] - orders.decision_px[:, None])).sum()
    assert found["done"].sum() == pytest.approx(traded - unfilled, rel=1e-9)


def test_crossing_pays_half_the_observed_spread():
    done = twap(DAY, days.POV)
    crossed = Schedule(done.shares, done.shares)
    found = costs(JUDGE, JUDGE.estimate(), replayed(executed=done, crossed=crossed))["crossed"]
    half = np.abs(done.shares * DAY.px[:, :-1]).sum() * 1e-4
    assert found.sum() == pytest.approx(half, rel=1e-9)


def test_carry_is_the_kernels_own_recursion():
    kernel = Decay.from_half_life(20.0, 0.25)
    push = np.random.default_rng(0).normal(size=(9, 3))
    matrix = carry({"normal": kernel.value}, ("normal",) * 9, 5.0)
    assert np.allclose(matrix[:-1] @ push, kernel.carried(push))


def test_a_bucket_without_a_model_moves_nothing():
    day = replace(DAY, regimes=("unknown",) * DAY.shape[0])
    told = Replayed(
        day, {EXECUTED: twap(day, 1.0), "other": vwap(day, 1.0)}, np.zeros(len(day.orders))
    )
    still = Judge.of({}, day.symbols, day.adv)
    with_model, without = (costs(j, j.estimate(), told)["other"] for j in (JUDGE, still))
    assert np.array_equal(with_model, without)


def test_bad_fills_are_cells_whose_cross_cost_exceeds_a_bps():
    gamma = np.zeros((MODEL.n, MODEL.n))
    judge = Judge.of({MODEL.regime: replace(MODEL, gamma=gamma)}, DAY.symbols, DAY.adv)
    told = replayed(executed=twap(DAY, days.POV))
    assert bad_fills(judge, judge.estimate(), told)[EXECUTED] == (0, 0.0)
    strong = Judge.of({MODEL.regime: replace(MODEL, gamma=20 * MODEL.gamma)}, DAY.symbols, DAY.adv)
    count, usd = bad_fills(strong, strong.estimate(), told)[EXECUTED]
    traded = int((flows(DAY, told.schedules[EXECUTED]) != 0).sum())
    assert 0 < count <= traded and usd > 0


def test_placebo_of_prices_that_stand_still_is_nothing_and_one_of_a_rise_has_its_sign():
    done = twap(DAY, 1.0)
    first = np.zeros_like(done.shares)
    first[np.arange(len(DAY.orders)), DAY.orders.start.astype(int)] = DAY.orders.quantity
    told = replayed(executed=done, first=Schedule(first, np.zeros_like(first)))
    still = np.ones((DAY.shape[0] + 1, MODEL.n))
    assert on_prices_of(told, still) == {"executed": 0.0, "first": 0.0}
    rise = np.exp(1e-4 * np.arange(DAY.shape[0] + 1))[:, None] * still
    sells = DAY.orders.quantity < 0
    usd = on_prices_of(told, rise)["first"]
    early = (first - done.shares) * DAY.px[:, :-1] * (rise[-1] / rise[:-1] - 1).T[DAY.orders.name]
    assert usd == pytest.approx(early.sum()) and early[~sells].sum() > 0 > early[sells].sum()


def test_participation_beyond_history_is_told_by_basket():
    told = replayed(executed=twap(DAY, days.POV))
    assert (beyond_history(told, 1e9)[EXECUTED] == 0).all()
    assert (beyond_history(told, 0.0)[EXECUTED] == 1).all()


def test_judge_and_chooser_that_share_a_day_are_refused():
    check_disjoint(["2026-03-02"], ["2026-03-03"], "2026-03-27")
    with pytest.raises(UsageError, match="both fitted on 2026-03-03"):
        check_disjoint(["2026-03-02", "2026-03-03"], ["2026-03-03"], "2026-03-27")
    with pytest.raises(UsageError, match="2026-03-27 is judged by what was fitted on it"):
        check_disjoint(["2026-03-27"], ["2026-03-03"], "2026-03-27")


def test_a_day_with_a_number_that_is_none_is_refused():
    with pytest.raises(ModelError, match="volume of 2026-03-27"):
        replace(DAY, volume=np.full_like(DAY.volume, np.nan))


def test_without_what_was_executed_nothing_is_judged():
    with pytest.raises(UsageError, match="what was executed is missing"):
        replayed(other=twap(DAY, days.POV))


def best(model: ImpactModel, flow: Array, steps: int = 300) -> Array:
    """Flows of the same sums over time that cost less by the model: gradient steps with an exact
    line search (the cost is quadratic)."""
    for _ in range(steps):
        slope = model.path_marginal_cost(flow / model.adv)
        step = model.adv * (slope.mean(axis=0) - slope)
        curved = model.path_cost(step / model.adv)
        size = (
            curved.self_now + curved.cross_now + curved.self_carried + curved.cross_carried
        ).sum()
        flow = flow - (slope * step).sum() / (2 * size) * step
    return flow


def test_a_wrong_and_overconfident_chooser_claims_a_gain_and_the_judge_says_loss():
    """Couplings of other names, as large as can be: what they call best is worse than what the true
    model calls best, and the judge, who was not told, says so in nine draws of ten."""
    truth = replace(days.model(8), alpha=np.zeros(8))
    rolled = 50 * np.roll(to_scaled(truth.gamma, truth.adv), (3, 3), (0, 1))
    large = replace(truth, gamma=from_scaled(rolled, truth.adv), gamma_se=np.empty(0))
    wrong = replace(large, gamma=0.9 * largest_coupling(large) * large.gamma)
    day = days.whole_day(truth)
    even = np.tile(day.orders.quantity * 100 / day.shape[0], (day.shape[0], 1))
    done, chose = (best(model, even) for model in (truth, wrong))
    schedules = {
        name: Schedule(flow.T / 100, np.zeros_like(flow.T))
        for name, flow in ((EXECUTED, done), ("chosen", chose))
    }
    told = Replayed(day, schedules, np.zeros(truth.n))
    judge, same = (Judge.of({m.regime: m}, day.symbols, day.adv) for m in (truth, wrong))
    claimed = -costs(same, same.estimate(), told)["chosen"].sum()
    judged = drawn(judge, told, {}, np.ones(truth.n, dtype=bool)).by_basket["chosen"].sum(axis=0)
    assert claimed > 0 and verdict(judged, 0.0) == "loss"
