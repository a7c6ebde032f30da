"""Policies in a closed loop: a planted market executes the children, shortfall is what counts.

    .venv/bin/python -m benchmarks.closed_loop --case strong --days 60

A desk of `decaying_desks` gives the earlier days, on which a model is fitted as a refit does (both
regimes, self and cross, decay); the policies see that model alone. Then, day by day, a basket in
every name is worked over an hour of five-minute buckets, each order with a deadline of its own.
Every bucket each policy makes a plan from what is left, its own fills and what is left of alpha;
the planted model charges the flows, carried impact included, and adds a price path of noise and
alpha that is the same for all policies. What is left at a deadline is cleared in its bucket.

A day has two scores against the arrival prices, bps of the basket. *Realized*: less what the price
noise would have cost an even pace, a control variate that is the same for every policy. *Expected*:
without any noise, which no policy looks at, so that it is the realized one's expectation given the
flows; what is left in the realized one is luck of the hour, and most of its tail.

Cases: `strong` couplings; `basket`, all names on one side and twice as large; `none`; `wrong`, the
strong market under couplings that belong to other names; `overconfident`, the same as large as a
matrix without free round trips can hold and without standard errors, which caution would shrink
it by; `stale`, a market whose couplings have
gone and whose own impact is up by half since the fit; `noisy`, a model of four earlier days. With
the last four `optimal` is also run under guardrails with the levels of the fit. Printed: mean,
90th and 95th percentile of a day, and differences to self-only with 95% bootstrap intervals over
days.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import msgspec
import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.decaying_desks import DecayingDesk, draw
from crossimpact.cost_indices import budget_burn, session_pressure
from crossimpact.estimate import guardrail_levels
from crossimpact.estimate.decay import fit_decay
from crossimpact.estimate.decay_sums import decay_sums
from crossimpact.estimate.refit import fit_regime
from crossimpact.ladder import RUNGS, Rung
from crossimpact.model import BPS, Array, ImpactModel
from crossimpact.panel import REGIMES
from crossimpact.policy.guardrails import Memory, Reading, step
from crossimpact.policy.schedule import Scheduler
from crossimpact.policy.scheduling.desk import Index
from crossimpact.policy.state import Caps, DeskState, Flow, Name, Parent, PolicyName
from crossimpact.release.bundle import Answer
from crossimpact.release.content import Guardrail
from crossimpact.scaled import to_scaled

AT = datetime(2026, 3, 27, 14, 30, tzinfo=UTC)
NAMES, BUCKETS, BUCKET_MIN = 12, 12, 5.0
POV, MID = 0.2, 100.0
NOISE_BPS, SPREAD_BPS = 9.0, 2.0
DRAWS = 2000
Cases = ("strong", "basket", "none", "wrong", "overconfident", "stale", "noisy")
GUARDED = ("wrong", "overconfident", "stale", "noisy")


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
    parser.add_argument("--horizon", type=int, default=BUCKETS, help="buckets a plan looks ahead")
    parser.add_argument("--policies", nargs="*", help="only these, beside self-only")
    words = parser.parse_args()
    with threadpool_limits(1):
        truth, models, levels = fitted(words.case, words.seed)
        rngs = [np.random.default_rng([words.seed, day]) for day in range(words.days)]
        days = [drawn(truth, rng, one_sided=words.case == "basket") for rng in rngs]
        policies = policies_of(models, words.horizon)
        if words.case in GUARDED:
            policies["guarded"] = planned(models, "optimal", words.horizon, levels)
        asked = {"self-only", *(words.policies or policies)}
        policies = {name: work for name, work in policies.items() if name in asked}
        flows = {name: [work(truth, day) for day in days] for name, work in policies.items()}
    both = {
        name: np.array([shortfall(truth, day, x) for day, x in zip(days, each, strict=True)])
        for name, each in flows.items()
    }
    parts = np.array(
        [parts_of(truth, day, x) for day, x in zip(days, flows["self-only"], strict=True)]
    )
    print(f"## {words.case}, horizon {words.horizon}, {words.days} days, seed {words.seed}")
    for k, title in enumerate(("realized", "expected")):
        print(f"\n{title}\n" + table({name: scores[:, k] for name, scores in both.items()}))
    print("\nself-only, bps: own, cross, alpha lost, noise beside an even pace")
    print("mean", np.round(parts.mean(axis=0), 2), "sd over days", np.round(parts.std(axis=0), 2))


Levels = Mapping[str, Guardrail]


def fitted(case: str, seed: int) -> tuple[ImpactModel, dict[str, ImpactModel], Levels]:
    """The market's model, what a desk knows (`full`, `sector_block` and `self_only`), and the
    levels of its guardrails."""
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
    if case in ("wrong", "overconfident"):
        full = exchanged(full)
    if case == "overconfident":
        full = enlarged(full)
    block = normal.candidates.get("sector_block")
    known = {"full": full, "self_only": full.self_only()}
    if block is not None:
        known["sector_block"] = replace(block, kernel=kernel)
    truth = planted(desk)
    if case == "stale":
        truth = replace(truth, gamma=0.0 * truth.gamma, beta=1.5 * truth.beta)
    return truth, known, guardrail_levels.levels(known["full"], desk.panel, BUCKET_MIN)


def planted(desk: DecayingDesk) -> ImpactModel:
    return desk.models["normal"]


def exchanged(model: ImpactModel) -> ImpactModel:
    """The couplings of other names: rolled by half the list, in the scaled space."""
    root, turn = np.sqrt(model.adv * model.beta), model.n // 2
    unit = model.gamma * np.sqrt(model.adv / model.beta)[:, None] / root
    other = np.roll(unit, (turn, turn), axis=(0, 1))
    gamma = other * root / np.sqrt(model.adv / model.beta)[:, None]
    return replace(model, gamma=gamma, gamma_se=np.roll(model.gamma_se, (turn, turn), (0, 1)))


def enlarged(model: ImpactModel) -> ImpactModel:
    """Couplings nine tenths of what stays positive semidefinite, known exactly as it seems."""
    unit = np.sqrt(model.beta)
    pairs = to_scaled(model.gamma, model.adv) / unit[:, None] / unit
    most = -1 / float(np.linalg.eigvalsh((pairs + pairs.T) / 2)[0])
    return replace(model, gamma=0.9 * most * model.gamma, gamma_se=np.empty(0))


def drawn(truth: ImpactModel, rng: np.random.Generator, *, one_sided: bool = False) -> Day:
    """One day: sectors bought or sold together most of the time, or all of them; alpha decays."""
    n = truth.n
    sector = np.unique(truth.sectors, return_inverse=True)[1]
    side = np.where(rng.uniform(size=n) < 0.8, rng.choice([-1, 1], sector.max() + 1)[sector], 1)
    side = np.full(n, side[0]) if one_sided else side
    due = rng.integers(4, BUCKETS + 1, n)
    orders = side * truth.adv / 78 * due * POV * rng.uniform(0.1, 0.6, n) * (1 + one_sided)
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


def policies_of(models: Mapping[str, ImpactModel], horizon: int) -> dict[str, Work]:
    """Flows of a day by policy, signed USD, shape (BUCKETS, n)."""
    block = {"sector_block": models.get("sector_block", models["self_only"])}
    full = {"full": models["full"]}
    return {
        "self-only": planned({"self_only": models["self_only"]}, "optimal", horizon),
        "TWAP": lambda truth, day: paced(day, np.ones((BUCKETS, 1))),
        "VWAP-like": lambda truth, day: paced(day, day.volume),
        "sector-block": planned(block, "optimal", horizon),
        "ranked": planned(full, "ranked", horizon),
        "optimal": planned(full, "optimal", horizon),
    }


def paced(day: Day, weight: Array) -> Array:
    """A share of the order per bucket, within the participation cap."""
    weight = np.where(np.arange(BUCKETS)[:, None] < day.due, weight, 0.0)
    share = weight / weight.sum(axis=0)
    flow = day.orders * np.broadcast_to(share, day.volume.shape)
    return np.asarray(np.clip(flow, -POV * day.volume, POV * day.volume))


def planned(
    models: Mapping[str, ImpactModel],
    policy: PolicyName,
    horizon: int,
    levels: Levels | None = None,
) -> Work:
    """A plan every bucket; its children are executed whole. The first of the models answers. With
    `levels` guardrails allow what they do of a live session, a reading a bucket, and with the first
    model the others answer where no more is allowed."""
    model = next(iter(models.values()))

    def work(truth: ImpactModel, day: Day) -> Array:
        scheduler, flows, memory = Scheduler(), np.zeros((BUCKETS, truth.n)), Memory()
        for bucket in range(BUCKETS):
            state = state_at(truth, day, bucket, flows, horizon)
            if levels is not None:
                if bucket:
                    memory, _ = step(levels, memory, reading(truth, model, day, flows[:bucket]))
                state = msgspec.structs.replace(state, guardrail=memory.name)
            plan = scheduler.plan(answered(models, state.allowed.rung), state, policy)
            by_name = {child.symbol: child.quantity for child in plan.children}
            flows[bucket] = [by_name.get(symbol, 0.0) * MID for symbol in truth.symbols]
        return flows

    return work


def answered(models: Mapping[str, ImpactModel], at_most: Rung) -> Answer:
    """By the best model of a rung that is allowed, else by the only one."""
    rungs = [rung for rung in RUNGS[RUNGS.index(at_most) :] if rung in models]
    rung = rungs[0] if rungs else RUNGS[0]
    return Answer(models.get(rung, next(iter(models.values()))), rung, "", POV)


def reading(truth: ImpactModel, model: ImpactModel, day: Day, flows: Array) -> Reading:
    """Of the buckets so far: pressure as the desk's model has it, slippage as it was."""
    q = flows / truth.adv
    cost = truth.path_cost(q)
    began = np.vstack((np.zeros(truth.n), day.moves))[: len(flows)]
    paid = (flows * (day.moves[: len(flows)] - began)).sum(axis=1)
    paid += cost.linear + cost.self_now + cost.cross_now
    budget = np.array([float(model.cost(row).total) for row in q])
    pressure, burn = session_pressure(model, q)[-1], budget_burn(paid, budget)[-1]
    known = [float(value) if np.isfinite(value) else None for value in (pressure, burn)]
    return Reading(known[0], known[1], 0.0, 0.0, closes_window=True)


def state_at(truth: ImpactModel, day: Day, bucket: int, flows: Array, horizon: int) -> DeskState:
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
        AT, truth.regime, tuple(names), tuple(parents), BUCKET_MIN, horizon, Caps(POV),
        strong_coupling=None,
    )  # fmt: skip


# -- scores ----------------------------------------------------------------------------------------


def shortfall(truth: ImpactModel, day: Day, flows: Array) -> tuple[float, float]:
    """Realized and expected, against arrival, bps of the basket."""
    own, cross, drift, luck = parts_of(truth, day, flows)
    return own + cross + drift + luck, own + cross + drift


def parts_of(truth: ImpactModel, day: Day, flows: Array) -> tuple[float, float, float, float]:
    """Bps of the basket: own impact with the spread, cross, what alpha cost, and what price noise
    cost beside an even pace (a control variate, the same for every policy)."""
    flows, every = flows.copy(), np.arange(truth.n)
    flows[day.due - 1, every] += day.orders - flows.sum(axis=0)  # cleared when due, at any cost
    cost = truth.path_cost(flows / truth.adv)
    cross = float((cost.cross_now + cost.cross_carried).sum())
    even = paced(day, np.ones((BUCKETS, 1)))
    drift = float((flows * (day.moves - day.noise)).sum())
    luck = float(((flows - even) * day.noise).sum())
    size = float(np.abs(day.orders).sum()) * BPS
    return (float(cost.total.sum()) - cross) / size, cross / size, drift / size, luck / size


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
