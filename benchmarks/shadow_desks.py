"""The shadow against the truth: does its interval hold what a closed loop really gains?

    .venv/bin/python -m benchmarks.shadow_desks --case strong --desks 40

A desk of `closed_loop` is drawn, its earlier days are fitted in two disjoint halves. Days are then
executed by self-only of a half (what was done), and `optimal` plans the same orders with its model.
The shadow judges each half's schedules by the other half, from the observed prices alone; the
planted market, in which either schedule was really executed, says what the gain was.

Cases: `strong` couplings, `none`, and `overconfident`: the choosers' couplings belong to other
names, are as large as fits without free round trips and claim to be exact.
Printed per case: on how many desks the 95% interval holds the truth, verdicts, mean gains.
"""

from __future__ import annotations

import argparse
from collections import Counter
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.closed_loop import (
    AT,
    BUCKET_MIN,
    BUCKETS,
    MID,
    NAMES,
    SPREAD_BPS,
    Day,
    drawn,
    enlarged,
    exchanged,
    planned,
    planted,
)
from benchmarks.decaying_desks import draw
from crossimpact.model import BPS, Array, ImpactModel
from crossimpact.panel import Panel
from crossimpact.shadow import day as days
from crossimpact.shadow.counterfactual import EXECUTED, Replayed, costs
from crossimpact.shadow.draws import DRAWS
from crossimpact.shadow.draws import drawn as gains_drawn
from crossimpact.shadow.evidence import verdict
from crossimpact.shadow.halves import ladders_of
from crossimpact.shadow.impact import Judge

CASES = ("strong", "none", "overconfident")
SESSIONS, HORIZON = 24, 6


class Told(NamedTuple):
    """Of one desk over its days, bps of the notional: the truth, what the shadow says with its
    interval, what the chooser claims, and the verdict."""

    truth: float
    gain: float
    low: float
    high: float
    share: float
    claimed: float
    verdict: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", choices=CASES, default="strong")
    parser.add_argument("--desks", type=int, default=40)
    parser.add_argument("--days", type=int, default=5)
    parser.add_argument("--first", type=int, default=0, help="seed of the first desk")
    parser.add_argument("--errors", action="store_true", help="of the fits, and nothing else")
    words = parser.parse_args()
    if words.errors:
        errors(words.first, words.desks)
        return
    told = []
    with threadpool_limits(1):
        for seed in range(words.first, words.first + words.desks):
            told.append(desk(words.case, seed, words.days))
            each = told[-1]
            print(seed, " ".join(f"{value:.2f}" for value in each[:6]), each.verdict, flush=True)
    held = sum(each.low <= each.truth <= each.high for each in told)
    print(f"\n## {words.case}: {len(told)} desks of {words.days} days")
    print(f"interval holds the truth on {held} ({held / len(told):.0%})")
    print("verdicts", dict(Counter(each.verdict for each in told)))
    print("mean truth, gain, claimed", np.round(np.mean([each[:6] for each in told], axis=0), 2))


def errors(first: int, count: int) -> None:
    """By how many of their standard errors the halves miss what was planted, root mean square."""
    pairs, scales = list[float](), list[float]()
    with threadpool_limits(1):
        for seed in range(first, first + count):
            made = draw(
                seed, symbols=NAMES, days=SESSIONS, half_life_min=30.0, permanent=0.3,
                cross_share=0.4,
            )  # fmt: skip
            truth, dates = planted(made), np.unique(made.panel.date)
            for k in (0, 1):
                model = fitted(made.panel, dates[k::2].tolist())
                found = np.triu(model.gamma != 0, 1)
                pairs += ((model.gamma - truth.gamma) / model.gamma_se)[found].tolist()
                ours, real = model.kernel, truth.kernel
                if ours is not None and real is not None and ours.errors.scale_self_se:
                    scales.append((ours.scale_self - real.scale_self) / ours.errors.scale_self_se)
    for what, z in (("couplings found", pairs), ("scale of own impact", scales)):
        print(f"{what}: {np.sqrt(np.mean(np.square(z))):.2f} standard errors ({len(z)})")


def desk(case: str, seed: int, count: int) -> Told:
    """One desk, its fits, and its days in the shadow."""
    made = draw(
        seed, symbols=NAMES, days=SESSIONS, half_life_min=30.0, permanent=0.3,
        cross_share=0.0 if case == "none" else 0.4,
    )  # fmt: skip
    truth, dates = planted(made), np.unique(made.panel.date)
    halves = [fitted(made.panel, dates[k::2].tolist()) for k in (0, 1)]
    wild = case == "overconfident"
    choosers = [enlarged(exchanged(model)) if wild else model for model in halves]
    rows = [_day(truth, choosers, halves, seed, number) for number in range(count)]
    usd = sum(row.notional for row in rows) * BPS
    gain, claimed = (sum(getattr(row, name) for row in rows) / usd for name in ("gain", "claimed"))
    each = sum(row.draws for row in rows) / usd
    low, high = np.quantile(each, [0.025, 0.975])
    share = float((each > 0).mean())
    told = verdict(each, outside=0.0)
    true = sum(row.truth for row in rows) / usd
    return Told(true, gain, float(low), float(high), share, claimed, told)


def fitted(panel: Panel, dates: list[str]) -> ImpactModel:
    """The full model of normal times on some dates, as the shadow fits its halves."""
    return ladders_of(panel.where(np.isin(panel.date, dates)))["normal"]["full"]


class Row(NamedTuple):
    """Of one day, USD: notional, true and judged gain, what is claimed, gains by draw."""

    notional: float
    truth: float
    gain: float
    claimed: float
    draws: Array


def _day(
    truth: ImpactModel,
    choosers: list[ImpactModel],
    halves: list[ImpactModel],
    seed: int,
    number: int,
) -> Row:
    market = drawn(truth, np.random.default_rng([seed, number, 5]))
    gain = claimed = true = 0.0
    draws = np.zeros(DRAWS)
    for k, model in enumerate(choosers):
        own = planned({"self_only": halves[k].self_only()}, "optimal", HORIZON)
        work = planned({"full": model}, "optimal", HORIZON)
        flows = {EXECUTED: own(truth, market), "optimal": work(truth, market)}
        flows = {name: cleared(market, flow) for name, flow in flows.items()}
        replayed = observed(truth, market, flows)
        judge, same = (_judge(each, replayed) for each in (halves[1 - k], model))
        gain -= costs(judge, judge.estimate(), replayed)["optimal"].sum() / 2
        claimed -= costs(same, same.estimate(), replayed)["optimal"].sum() / 2
        told = gains_drawn(judge, replayed, {}, np.ones(1, dtype=bool))
        draws += told.by_basket["optimal"].sum(axis=0) / 2
        paid = [true_usd(truth, market, flow) for flow in flows.values()]
        true += (paid[0] - paid[1]) / 2
    return Row(float(np.abs(market.orders).sum()), true, gain, claimed, draws)


def cleared(market: Day, flow: Array) -> Array:
    """What is left at a deadline is traded in its bucket."""
    flow = flow.copy()
    flow[market.due - 1, np.arange(flow.shape[1])] += market.orders - flow.sum(axis=0)
    return flow


def true_usd(truth: ImpactModel, market: Day, flow: Array) -> float:
    """What the planted market charges, price noise included."""
    cost = truth.path_cost(flow / truth.adv)
    return float(cost.total.sum() + (flow * market.moves).sum())


def observed(truth: ImpactModel, market: Day, flows: dict[str, Array]) -> Replayed:
    """The day as it was recorded: prices with the executed flow's impact in them."""
    cost = truth.path_cost(flows[EXECUTED] / truth.adv)
    moved = market.moves + BPS * (cost.carried_self_bps + cost.carried_cross_bps)
    mid = MID * (1 + np.vstack((moved, moved[-1:])))
    n = truth.n
    orders = days.Orders(
        truth.symbols, ("basket",) * n, np.arange(n), market.orders / MID, np.full(n, MID),
        np.zeros(n), market.due.astype(float), market.alpha_bps,
    )  # fmt: skip
    day = days.Day(
        "2026-03-27", truth.symbols, truth.adv, AT, BUCKET_MIN, (truth.regime,) * BUCKETS, mid,
        np.full((BUCKETS, n), SPREAD_BPS * BPS / 2), market.volume, orders,
        np.zeros((BUCKETS, n)),
    )  # fmt: skip
    schedules = {
        name: days.Schedule(flow.T / MID, np.zeros((n, BUCKETS))) for name, flow in flows.items()
    }
    return Replayed(day, schedules, np.zeros(n))


def _judge(model: ImpactModel, replayed: Replayed) -> Judge:
    day = replayed.day
    return Judge.of({model.regime: model}, day.symbols, day.adv, SESSIONS // 2)


if __name__ == "__main__":
    main()
