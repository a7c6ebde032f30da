"""A live session at many times a desk's rate: event to decision, and a million guardrail windows.

    .venv/bin/python benchmarks/live_loop.py [--names 500] [--seconds 60] [--rate 1]

One quote a name and `1 / rate` seconds, a parent in every tenth name, plans every minute and on
triggers. Times are CPU of one `Engine.take` with its journal on disk, a batch a second of the feed.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from pathlib import Path

import msgspec
import numpy as np

from crossimpact.policy.guardrails import AMBER, GREEN, RED, Memory, advance
from crossimpact.policy.live import events
from crossimpact.policy.live.settings import Settings
from crossimpact.release.content import Guardrail
from pipelines.live.engine import Engine, Opening, Raw
from tests.crossimpact.policy.live.desk import LOOSE, OPEN, model, parent, quote, swap
from tests.releases import release_of


def main() -> None:
    words = argparse.ArgumentParser()
    words.add_argument("--names", type=int, default=500)
    words.add_argument("--seconds", type=int, default=60)
    words.add_argument("--rate", type=int, default=1)
    words.add_argument("--windows", type=int, default=1_000_000)
    asked = words.parse_args()
    guardrail_windows(asked.windows)
    session(asked.names, asked.seconds, asked.rate)


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


def session(names: int, seconds: int, rate: int) -> None:
    made = model(n=names)
    levels = {"normal": {"cpi_bps": Guardrail(50, 90), "ibb": Guardrail(50, 90)}}
    release = release_of(made, "2026-02-27", guardrails=levels)
    settings = Settings("bench", LOOSE, policy="ranked", every_min=1.0, horizon=1)
    chance, took, decided = random.Random(0), [], 0  # noqa: S311
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.jsonl"
        engine = Engine(path, Opening(settings), {release.digest: release}.__getitem__)
        engine.take([swap(release), events.Regime(regime="normal", at=OPEN)])
        number = 0
        for second in range(seconds):
            rows = [
                quote(s, second + chance.random(), 100 + chance.gauss(0, 0.05))
                for s in made.symbols
                for _ in range(rate)
            ]
            if second == 1:
                rows += [parent(f"p{s}", s, 5e4, 1.9) for s in made.symbols[::10]]
            lines = [msgspec.json.encode(events.plain(row)) for row in rows]
            batch = [Raw(line, "feed", number + k) for k, line in enumerate(lines)]
            number += len(batch)
            began = time.process_time()
            decided += len(engine.take(batch))
            took.append(time.process_time() - began)
        size = path.stat().st_size
        engine.journal.close()
    assert engine.counts.events == number + 2
    assert not engine.counts.duplicates
    each = 1e3 * np.array(took)
    print(
        f"loop        {names} names, {names * rate} events/s, {decided} decisions, "
        f"ms CPU per second of feed: p50 {np.quantile(each, 0.5):.1f}, "
        f"p99 {np.quantile(each, 0.99):.1f}; journal {size / 1e6:.1f} MB"
    )


if __name__ == "__main__":
    main()
