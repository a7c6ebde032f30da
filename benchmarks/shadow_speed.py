"""How long a day in the shadow takes: judging it, and replaying it through live sessions.

    .venv/bin/python -m benchmarks.shadow_speed                          # 500 names, 5,000 parents
    .venv/bin/python -m benchmarks.shadow_speed --draws 400 --no-replay  # linear in draws
    .venv/bin/python -m benchmarks.shadow_speed --replays 1              # one session of eight

CPU seconds of one process with one BLAS thread, and its largest memory. *Judging* is all that two
judges say of eleven schedules (seven policies, the four chosen ones by either half): draws, every
kernel, the square root, both tables' rows. *A replay* is one chosen schedule: a day of events
through a live session, a plan every `--every` minutes over `--horizon` intervals.
"""

from __future__ import annotations

import argparse
import resource
import time
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
from threadpoolctl import threadpool_limits

from crossimpact.kernel.decay import DecayErrors
from crossimpact.model import ImpactModel
from crossimpact.policy.live.settings import Settings
from crossimpact.policy.state import Caps
from crossimpact.release.content import Guardrail
from crossimpact.shadow.baselines import twap, vwap
from crossimpact.shadow.counterfactual import EXECUTED, Replayed
from crossimpact.shadow.day import Day, Orders, Schedule
from crossimpact.shadow.impact import Judge
from crossimpact.shadow.judging import POLICIES, UNCHOSEN, Verdicts, chosen
from crossimpact.shadow.replay import NO_LIMITS, Chooser, replay
from crossimpact.shadow.rows import rows
from tests.crossimpact.policy.scheduling.universes import model_of
from tests.releases import release_of

BUCKETS, POV = 78, 0.15
PARENTS_A_BASKET = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--names", type=int, default=500)
    parser.add_argument("--parents", type=int, default=5000)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--replays", type=int, default=1)
    parser.add_argument("--every", type=float, default=5.0)
    parser.add_argument("--horizon", type=int, default=12)
    parser.add_argument("--no-replay", action="store_true")
    words = parser.parse_args()
    with threadpool_limits(1):
        model = planted(words.names)
        day = market(model, words.parents)
        began = time.process_time()
        count = judged(model, day, words.draws)
        told(f"judging, {words.draws} draws, {count:,} rows", began)
        if words.no_replay:
            return
        levels = {name: Guardrail(1e9, 1e9) for name in ("cpi_bps", "ibb")}
        release = release_of(model, "2026-03-20", guardrails={model.regime: levels})
        settings = Settings(
            "bench", NO_LIMITS, every_min=words.every, horizon=words.horizon, stale_s=450.0,
            caps=Caps(POV),
        )  # fmt: skip
        judge = Judge.of({model.regime: model}, day.symbols, day.adv)
        for _ in range(words.replays):
            began = time.process_time()
            made = replay(Chooser(release, settings), day, judge, twap(day, POV))
            told(f"a replay, {dict(made.answered)}", began)


def told(what: str, began: float) -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{what}: {time.process_time() - began:.1f} CPU s, peak {peak:,.0f} MB", flush=True)


def planted(n: int) -> ImpactModel:
    model = model_of(n, sectors=11, pairs=n // 5)
    kernel = model.kernel
    assert kernel is not None
    errors = DecayErrors(20.0, 45.0, 0.1, 0.3, 0.05, 0.05)
    return replace(
        model, kernel=replace(kernel, errors=errors), beta_se=0.1 * model.beta,
        gamma_se=np.where(model.gamma != 0, 0.3 * np.abs(model.gamma), np.nan),
    )  # fmt: skip


def market(model: ImpactModel, parents: int) -> Day:
    rng, n = np.random.default_rng(0), model.n
    mid = 100 * np.exp(np.cumsum(rng.normal(0, 1e-3, (BUCKETS + 1, n)), axis=0))
    name = rng.integers(0, n, parents).astype(np.intp)
    side = np.where(np.arange(n) % 2, 1.0, -1.0)
    start = rng.integers(0, BUCKETS - 12, parents).astype(float)
    end = np.minimum(start + rng.integers(6, 24, parents), BUCKETS)
    usual = model.adv[name] / BUCKETS / 100
    orders = Orders(
        tuple(f"p{k:05d}" for k in range(parents)),
        tuple(f"b{k // PARENTS_A_BASKET:04d}" for k in range(parents)),
        name, side[name] * usual * (end - start) * rng.uniform(0.01, 0.06, parents),
        mid[start.astype(int), name], start, end, rng.normal(3, 3, parents),
    )  # fmt: skip
    noise = np.exp(rng.normal(0, 0.3, (BUCKETS, n)))
    return Day(
        "2026-03-27", model.symbols, model.adv, datetime(2026, 3, 27, 14, 30, tzinfo=UTC), 5.0,
        (model.regime,) * BUCKETS, mid, np.full((BUCKETS, n), 1e-4), model.adv / BUCKETS * noise,
        orders, np.zeros((BUCKETS, n)),
    )  # fmt: skip


def judged(model: ImpactModel, day: Day, draws: int) -> int:
    """Rows of the day: schedules that differ, two judges that do."""
    base, rng = vwap(day, POV), np.random.default_rng(1)
    schedules = {EXECUTED: twap(day, POV), "twap": twap(day, 0.1), "vwap": base}
    for policy in POLICIES:
        for k in (0, 1):
            if policy not in UNCHOSEN:
                shares = base.shares * rng.uniform(0.7, 1.0, base.shares.shape)
                schedules[chosen(policy, k)] = Schedule(shares, 0.5 * shares)
    judges = [
        Judge.of({m.regime: m}, day.symbols, day.adv)
        for m in (model, replace(model, beta=1.1 * model.beta))
    ]
    labels, _ = day.orders.by_basket
    verdicts = Verdicts(
        Replayed(day, schedules, np.zeros(len(day.orders))), judges,
        np.ones(len(labels), dtype=bool), draws,
    )  # fmt: skip
    made = rows(verdicts, ("ok",) * len(labels), POV, (day.mid,))
    return len(made.baskets) + len(made.daily)


if __name__ == "__main__":
    main()
