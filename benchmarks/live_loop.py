"""A live session at many times a desk's rate: event to decision, and a million guardrail windows.

    .venv/bin/python -m benchmarks.live_loop [--names 500] [--seconds 60] [--rate 2]
    .venv/bin/python -m benchmarks.live_loop --events 1000000     # at random; memory

One quote a name and `1 / rate` seconds, a parent in every tenth name, plans every minute and on
triggers, a horizon of 12. Times are CPU of one `Engine.take` with its journal on disk, a batch a
tenth of a second of the feed, as the loop takes them: a step. Event to plan: the steps with a plan.
Random events are of every kind, some twice, late, out of order or wrong; memory is what the process
holds after each tenth of them, and a second session must decide the same.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import msgspec
import numpy as np
from threadpoolctl import threadpool_limits

from crossimpact.policy.guardrails import AMBER, GREEN, RED, Memory, advance
from crossimpact.policy.limits import Limits
from crossimpact.policy.live import events
from crossimpact.policy.live.events import (
    Cancel,
    Clock,
    Event,
    OrderState,
    Regime,
    Snapshot,
    Status,
)
from crossimpact.policy.live.session import Session
from crossimpact.policy.live.settings import Settings
from crossimpact.policy.state import PolicyName
from crossimpact.release.content import Guardrail
from pipelines.live.engine import Engine, Opening
from pipelines.live.rows import Raw
from tests.crossimpact.policy.live.desk import (
    LOOSE,
    OPEN,
    RELEASE,
    at,
    fill,
    model,
    opening,
    parent,
    quote,
    swap,
)
from tests.releases import release_of

#: Steps a second of the feed.
TICKS = 10
#: Random events a step.
BATCH = 50
STATUSES = ("working", "pending_cancel", "filled", "cancelled", "rejected", "expired")


def main() -> None:
    words = argparse.ArgumentParser()
    words.add_argument("--names", type=int, default=500)
    words.add_argument("--seconds", type=int, default=60)
    words.add_argument("--rate", type=int, default=1)
    words.add_argument("--policy", choices=("optimal", "ranked"), default="optimal")
    words.add_argument("--windows", type=int, default=1_000_000)
    words.add_argument("--events", type=int, default=0)
    asked = words.parse_args()
    if asked.events:
        random_events(asked.events)
        return
    guardrail_windows(asked.windows)
    with threadpool_limits(1):
        session(asked.names, asked.seconds, asked.rate, asked.policy)


def guardrail_windows(count: int) -> None:
    """Random windows without a violated hysteresis."""
    chance = np.random.default_rng(0)
    readings = chance.choice(3, size=(count, 2), p=(0.6, 0.25, 0.15)).tolist()
    memory, better, before_measured, steps = Memory(), 0, GREEN, [0, 0]
    began = time.process_time()
    for measured, aged in readings:
        before, memory = memory, advance(memory, measured, aged, True)
        up, down = memory.state > before.state, memory.state < before.state
        calm = max(measured, aged) < before.state
        assert not up or memory.state == max(aged, min(measured, before_measured))
        assert not down or (memory.state == before.state - 1 and calm and better == 1)
        assert memory.state in (GREEN, AMBER, RED)
        better = 0 if up or down or not calm else better + 1
        before_measured = measured
        steps[0] += up
        steps[1] += down
    seconds = time.process_time() - began
    print(f"guardrails  {count:,} windows, {steps[0]:,} up, {steps[1]:,} down, {seconds:.1f} CPU s")


def session(names: int, seconds: int, rate: int, policy: PolicyName) -> None:
    made = model(n=names)
    levels = {"normal": {"cpi_bps": Guardrail(50, 90), "ibb": Guardrail(50, 90)}}
    release = release_of(made, "2026-02-27", guardrails=levels)
    settings = Settings("bench", LOOSE, policy=policy, every_min=1.0, horizon=12)
    chance, took, planned = random.Random(0), [], []  # noqa: S311
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.jsonl"
        engine = Engine(path, Opening(settings), {release.digest: release}.__getitem__)
        engine.take([swap(release), events.Regime(regime="normal", at=OPEN)])
        number, step = 0, max(1, names * rate // TICKS)
        answered: Counter[str] = Counter()
        for second in range(seconds):
            rows = [
                quote(s, second + chance.random(), 100 + chance.gauss(0, 0.05))
                for s in made.symbols
                for _ in range(rate)
            ]
            rows.sort(key=lambda row: row.at)
            if second == 1:
                rows[:0] = [parent(f"p{s}", s, 5e4, 1.0) for s in made.symbols[::10]]
            lines = [msgspec.json.encode(events.plain(row)) for row in rows]
            for k in range(0, len(lines), step):
                batch = [Raw(x, "feed", number + i) for i, x in enumerate(lines[k : k + step])]
                number += len(batch)
                began = time.process_time()
                decided = engine.take(batch)
                took.append(time.process_time() - began)
                if decided:
                    planned.append(took[-1])
                    answered.update(row.answered for row in decided)
        size = path.stat().st_size
        engine.journal.close()
    assert engine.counts.events == number + 2
    assert not engine.counts.duplicates
    each, plans = 1e3 * np.array(took), 1e3 * np.array(planned)
    print(
        f"loop        {names} names, {names * rate} events/s, {policy}, {dict(answered)}; ms CPU "
        f"a step: p50 {np.quantile(each, 0.5):.1f}, p99 {np.quantile(each, 0.99):.1f}; event to "
        f"plan: p50 {np.quantile(plans, 0.5):.1f}, p99 {np.quantile(plans, 0.99):.1f}; "
        f"journal {size / 1e6:.1f} MB"
    )


def random_events(count: int) -> None:
    """So many through a session with its journal, then through another one without."""
    settings = Settings("bench", Limits.read(), policy="ranked", horizon=1, stale_s=5.0)
    releases = {RELEASE.digest: RELEASE}.__getitem__
    digest, decisions, held, taken = hashlib.sha256(), 0, list[float](), 0
    began, drawn_events = time.process_time(), drawn(count)
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine(Path(folder) / "bench.jsonl", Opening(settings), releases)
        while batch := list(islice(drawn_events, BATCH)):
            for decision in engine.take(batch):
                digest.update(decision.id.encode())
                decisions += 1
            taken += len(batch)
            if taken % (count // 10) < BATCH:
                held.append(resident_mb())
        assert not engine.counts.failed
    seconds = time.process_time() - began
    again, session_ = hashlib.sha256(), Session(settings, releases)
    for event in drawn(count):
        for row in session_.apply(event):
            again.update(row.decision.id.encode())
    assert again.digest() == digest.digest(), "the same events gave other decisions"
    print(
        f"events      {taken:,} at random, {decisions:,} decisions, {seconds:.0f} CPU s; twice the "
        f"same; MB held: {', '.join(f'{mb:.0f}' for mb in held)}"
    )


def drawn(count: int) -> Iterator[Event]:
    """A desk's events of every kind at twenty a second, some of them bad."""
    chance, time_s, numbers = random.Random(1), 1.0, dict.fromkeys("ABC", 0)  # noqa: S311
    yield swap()
    yield from opening()
    for k in range(count):
        time_s += chance.expovariate(20)
        symbol, what = chance.choice("ABC"), chance.random()
        name, when = f"p{chance.randrange(k // 2000, k // 2000 + 5)}", time_s - chance.random()
        if what < 0.8:
            half = 0.01 if what < 0.79 else -0.01  # crossed
            mid = 100 + chance.gauss(0, 0.05)
            row: Event = quote(symbol, when, bid=mid - half, ask=mid + half)
        elif what < 0.9:
            numbers[symbol] += 1 + (chance.random() < 0.001)  # a gap
            row = fill(f"f{k}", name, symbol, chance.uniform(0, 50), when,
                       venue_seq=numbers[symbol])  # fmt: skip
        elif what < 0.95:
            row = OrderState(parent=name, status=chance.choice(STATUSES), at=at(when))
        elif what < 0.96:
            row = parent(name, symbol, chance.uniform(1, 5000), when, deadline=at(time_s + 600))
        elif what < 0.97:
            row = Cancel(parent=name, at=at(when))
        elif what < 0.98:
            row = Snapshot(filled={name: 10.0}, working={name: None}, venue_seq=dict(numbers),
                           at=at(when))  # fmt: skip
        elif what < 0.985:
            row = Status(symbol=symbol, status=chance.choice(("trading", "halted")), at=at(when))
        elif what < 0.99:
            row = Regime(regime=chance.choice(("normal", "stressed")), at=at(when))
        else:
            row = Clock(data_age_s=chance.expovariate(1), model_age_days=0.1, at=at(when))
        row = msgspec.structs.replace(row, source="x", seq=k)
        yield row
        if chance.random() < 0.01:
            yield row  # once more


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


if __name__ == "__main__":
    main()
