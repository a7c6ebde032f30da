"""Policies in a closed loop: a planted market executes the children, shortfall is what counts.

    .venv/bin/python -m benchmarks.closed_loop --case strong --days 60

A desk of `decaying_desks` gives the earlier days, on which a model is fitted as a refit does (both
regimes, self and cross, decay); the policies see that model alone. Then, day by day, a basket in
every name is worked over an hour of five-minute buckets, each order with a deadline of its own.
Every bucket each policy makes a plan from what is left, its own fills and what is left of alpha;
the planted model charges the flows, carried impact included, and adds a price path of noise and
alpha that is the same for all policies. What is left at a deadline is cleared in its bucket. A
day's score is its shortfall against the arrival prices, bps of the basket, less what the price
noise would have cost an even pace: a control variate that is the same for every policy.

Cases: `strong` couplings; `none`; `wrong`, the strong market under couplings that belong to other
names; `noisy`, a model of four earlier days. Printed: mean, 90th and 95th percentile of a day's
shortfall, and their differences to self-only with 95% bootstrap intervals over days.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.decaying_desks import DecayingDesk, draw
from crossimpact.estimate.decay import fit_decay
from crossimpact.estimate.decay_sums import decay_sums
from crossimpact.estimate.refit import fit_regime
from crossimpact.model import BPS, Array, ImpactModel
from crossimpact.panel import REGIMES
from crossimpact.policy.schedule import Scheduler
from crossimpact.policy.scheduling.desk import Index
from crossimpact.policy.state import Caps, DeskState, Flow, Name, Parent, PolicyName
from crossimpact.release.bundle import Answer

AT = datetime(2026, 3, 27, 14, 30, tzinfo=UTC)
NAMES, BUCKETS, HORIZON, BUCKET_MIN = 12, 12, 6, 5.0
POV, MID = 0.2, 100.0
NOISE_BPS, SPREAD_BPS = 9.0, 2.0
DRAWS = 2000
Cases = ("strong", "none", "wrong", "noisy")


@dataclass(frozen=True)
class Day:
    """A basket and a market, the same for every policy: signed USD, deadlines
    in buckets, alpha in bps with half-lives in
    minutes, market volume, price moves since arrival and their part that is noise
    (fractions) by bucket."""

    orders: Array
    due: Index
    alpha_bps: Array
    half_life_min: Array
    volume: Array
    moves: Array
    noise: Array


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", choices=Cases, default="strong")
    parser.add_argument("--days", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    words = parser.parse_args()
    with threadpool_limits(1):
        truth, models = fitted(words.case, words.seed)
        days = [drawn(truth, np.random.default_rng([words.seed, day])) for day in range(words.days)]
        policies = policies_of(models)
        scores = {
            name: np.array([shortfall(truth, day, work(truth, day)) for day in days])
            for name, work in policies.items()
        }
    print(f"## {words.case}, {words.days} days")
    print(table(scores))


def fitted(case: str, seed: int) -> tuple[ImpactModel, dict[str, ImpactModel]]:
    """The market's model, and what a desk knows: `full`, `sector_block` and `self_only`."""
    sessions = 4 if case == "noisy" else 25
    desk = draw(
        seed, symbols=NAMES, days=sessions, half_life_min=30.0, permanent=0.3,
        cross_share=0.0 if case == "none" else 0.4,
    )  # fmt: skip
    fits = {regime: fit_regime(desk.panel, regime) for regime in REGIMES}
    found = {regime: fit.model for regime, fit in fits.items() if fit.model is not None}
    kernel = fit_decay(decay_sums(desk.panel, found)).decays.get("normal")
    normal = fits["normal"]
    models = {**normal.lower, normal.rung: normal.model}
    models = {rung: replace(m, kernel=kernel) for rung, m in models.items() if m is not None}
    full = normal.candidates.get("full", normal.model)
    assert full is not None
    full = replace(full, kernel=kernel)
    if case == "wrong":
        full = exchanged(full)
    block = normal.candidates.get("sector_block")
    known = {"full": full, "self_only": full.self_only()}
    if block is not None:
        known["sector_block"] = replace(block, kernel=kernel)
    return planted(desk), known


def planted(desk: DecayingDesk) -> ImpactModel:
    return desk.models["normal"]


def exchanged(model: ImpactModel) -> ImpactModel:
    """The couplings of other names: rolled by half the list, in the scaled space."""
    root, turn = np.sqrt(model.adv * model.beta), model.n // 2
    unit = model.gamma * np.sqrt(model.adv / model.beta)[:, None] / root
    other = np.roll(unit, (turn, turn), axis=(0, 1))
    gamma = other * root / np.sqrt(model.adv / model.beta)[:, None]
    return replace(model, gamma=gamma, gamma_se=np.roll(model.gamma_se, (turn, turn), (0, 1)))


def drawn(truth: ImpactModel, rng: np.random.Generator) -> Day:
    """One day: sectors bought or sold together most of the time, alpha that decays."""
    n = truth.n
    sector = np.unique(truth.sectors, return_inverse=True)[1]
    side = np.where(rng.uniform(size=n) < 0.8, rng.choice([-1, 1], sector.max() + 1)[sector], 1)
    due = rng.integers(4, BUCKETS + 1, n)
    orders = side * truth.adv / 78 * due * POV * rng.uniform(0.1, 0.6, n)
    alpha, life = rng.normal(4, 6, n), rng.uniform(10, 60, n)
    middle = (np.arange(BUCKETS) + 0.5) * BUCKET_MIN
    drift = side * alpha * BPS * (1 - 2 ** (-middle[:, None] / life))
    noise = BPS * NOISE_BPS * np.cumsum(rng.normal(0, 1, (BUCKETS, n)), axis=0)
    market = BPS * NOISE_BPS * 0.5 * np.cumsum(rng.normal(0, 1, BUCKETS))[:, None]
    shape = 1 + 0.4 * np.cos(np.linspace(0, np.pi, BUCKETS))
    volume = truth.adv / 78 * shape[:, None] * np.exp(rng.normal(0, 0.3, (BUCKETS, n)))
    noise = noise + market
    return Day(orders, due, alpha, life, volume, drift + noise, noise)


# -- policies --------------------------------------------------------------------------------------

Work = Callable[[ImpactModel, Day], Array]


def policies_of(models: Mapping[str, ImpactModel]) -> dict[str, Work]:
    """Flows of a day by policy, signed USD, shape (BUCKETS, n)."""
    block = models.get("sector_block", models["self_only"])
    return {
        "self-only": planned(models["self_only"], "optimal"),
        "TWAP": lambda truth, day: paced(day, np.ones((BUCKETS, 1))),
        "VWAP-like": lambda truth, day: paced(day, day.volume),
        "sector-block": planned(block, "optimal"),
        "ranked": planned(models["full"], "ranked"),
        "optimal": planned(models["full"], "optimal"),
    }


def paced(day: Day, weight: Array) -> Array:
    """A share of the order per bucket, within the participation cap."""
    weight = np.where(np.arange(BUCKETS)[:, None] < day.due, weight, 0.0)
    share = weight / weight.sum(axis=0)
    flow = day.orders * np.broadcast_to(share, day.volume.shape)
    return np.asarray(np.clip(flow, -POV * day.volume, POV * day.volume))


def planned(model: ImpactModel, policy: PolicyName) -> Work:
    """A plan every bucket; its children are executed whole."""

    def work(truth: ImpactModel, day: Day) -> Array:
        scheduler, flows = Scheduler(), np.zeros((BUCKETS, truth.n))
        answer = Answer(model, "full", "", POV)
        for bucket in range(BUCKETS):
            state = state_at(truth, day, bucket, flows)
            plan = scheduler.plan(answer, state, policy)
            by_name = {child.symbol: child.quantity for child in plan.children}
            flows[bucket] = [by_name.get(symbol, 0.0) * MID for symbol in truth.symbols]
        return flows

    return work


def state_at(truth: ImpactModel, day: Day, bucket: int, flows: Array) -> DeskState:
    """What the desk sees at a bucket's start; volumes are the usual ones, not the day's own."""
    names, parents = [], []
    left = np.maximum(day.due - bucket, 0) * BUCKET_MIN
    faded = 2 ** (-bucket * BUCKET_MIN / day.half_life_min)
    for i, symbol in enumerate(truth.symbols):
        past = tuple(
            Flow((bucket - 1 - b) * BUCKET_MIN, float(flows[b, i] / MID))
            for b in range(bucket)
            if flows[b, i]
        )
        volume = float(day.volume[bucket, i] / MID)
        names.append(Name(symbol, MID, SPREAD_BPS, volume, flow=past))
        parents.append(
            Parent(
                symbol, symbol, float(day.orders[i] / MID), float(left[i]),
                float(flows[:, i].sum() / MID), float(day.alpha_bps[i] * faded[i]),
                float(day.half_life_min[i]),
            )
        )  # fmt: skip
    return DeskState(
        AT, truth.regime, tuple(names), tuple(parents), BUCKET_MIN, HORIZON, Caps(POV),
        strong_coupling=None,
    )  # fmt: skip


# -- scores ----------------------------------------------------------------------------------------


def shortfall(truth: ImpactModel, day: Day, flows: Array) -> float:
    """Against arrival, bps of the basket: the planted path cost, and the price path, less what its
    noise would have cost an even pace (a control variate, the same for every policy)."""
    flows, every = flows.copy(), np.arange(truth.n)
    flows[day.due - 1, every] += day.orders - flows.sum(axis=0)  # cleared when due, at any cost
    cost = float(truth.path_cost(flows / truth.adv).total.sum())
    even = paced(day, np.ones((BUCKETS, 1)))
    cost += float((flows * day.moves).sum()) - float((even * day.noise).sum())
    return cost / float(np.abs(day.orders).sum()) / BPS


def table(scores: Mapping[str, Array]) -> str:
    base = scores["self-only"]
    measures: dict[str, Callable[[Array], float]] = {
        "mean": lambda x: float(x.mean()),
        "p90": lambda x: float(np.quantile(x, 0.9)),
        "p95": lambda x: float(np.quantile(x, 0.95)),
    }
    rng = np.random.default_rng(1)
    draws = rng.integers(0, len(base), (DRAWS, len(base)))
    lines = ["| policy | mean | p90 | p95 | mean less self-only | p90 less | p95 less |"]
    lines.append("| --- " * 7 + "|")
    for name, days in scores.items():
        cells = [f"{measure(days):.2f}" for measure in measures.values()]
        for measure in measures.values():
            value = measure(days) - measure(base)
            spread = [measure(days[pick]) - measure(base[pick]) for pick in draws]
            low, high = np.quantile(spread, [0.025, 0.975])
            cells.append("" if name == "self-only" else f"{value:+.2f} ({low:+.2f}, {high:+.2f})")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
