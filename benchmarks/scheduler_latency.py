"""How long a plan takes, against names and horizon, and against cvxpy building it anew.

    .venv/bin/python -m benchmarks.scheduler_latency            # all sizes, a table
    .venv/bin/python -m benchmarks.scheduler_latency --runs 100 --no-reference

Processor milliseconds on one BLAS thread, median and 99th percentile over the runs, of

- solver: PIQP's set-up and solve on matrices at hand;
- re-solve: from caps, alpha, prices and fills to certified flows (program, matrices, solver,
  certificate), the model's factors at hand, and what the lines, sides and deadlines make of them
  kept from the plan before where no order has ended since; *same lines*: where none has;
- plan: from a state to a plan, ranking, rules and reasons included;
- cvxpy: the reference engine, built and solved by Clarabel (few runs, median).

Every state is another one (alpha, mids and remaining quantity move), names keep a planted template
of sectors and single pairs. On a busy machine processor time grows, too: run it alone.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from threadpoolctl import threadpool_limits

from crossimpact.model import ImpactModel
from crossimpact.policy.schedule import Scheduler
from crossimpact.policy.scheduling import caps as limits
from crossimpact.policy.scheduling import couplings, fast, reference
from crossimpact.policy.scheduling import desk as desks
from crossimpact.policy.scheduling.certificate import certificate
from crossimpact.policy.scheduling.layout import Layout, Layouts
from crossimpact.policy.scheduling.posed import Posed
from crossimpact.policy.scheduling.program import Program
from crossimpact.policy.state import DeskState
from tests.crossimpact.policy.scheduling.universes import answer_of, model_of, state_of

#: Names, horizon, and the target in milliseconds (99th percentile).
SIZES = ((50, 1, 1.0), (500, 1, 6.0), (2000, 1, 50.0), (50, 12, 20.0), (500, 12, 250.0))
POV = 0.15


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=60)
    parser.add_argument("--no-reference", action="store_true")
    words = parser.parse_args()
    with threadpool_limits(1):
        for names, horizon, target in SIZES:
            row = measured(names, horizon, words.runs, reference_too=not words.no_reference)
            print(json.dumps({"names": names, "horizon": horizon, "target_ms": target, **row}))


def measured(names: int, horizon: int, runs: int, *, reference_too: bool) -> dict[str, Any]:
    """Milliseconds of one size."""
    model = model_of(names, sectors=11 if names > 100 else 5, pairs=names // 5)
    parts, scheduler, answer = couplings.of(model), Scheduler(), answer_of(model)
    scheduler.plan(answer, state_of(model, 1))  # a warm one
    runs = runs if horizon == 1 else max(10, runs // 5)
    states = [moved(state_of(model, horizon), seed) for seed in range(runs)]
    programs = [posed(model, parts, state) for state in states]
    layouts = Layouts()
    certified(parts, layouts, programs[0][0])
    ready = [Posed(program, caps, caps.most > 0) for program, caps in programs]
    for each in ready:
        _touch(each)
    again = [
        [timed(lambda p=p: certified(parts, layouts, p)) for _ in range(2)] for p, _ in programs
    ]
    row = {
        "solver": spread([timed(lambda e=e: fast._solved_in_factors(e)) for e in ready]),
        "re_solve": spread([first for first, _ in again]),
        "same_lines": spread([second for _, second in again]),
        "plan": spread([timed(lambda s=s: scheduler.plan(answer, s)) for s in states]),
    }
    if reference_too:
        few = programs[: 3 if names * horizon <= 2000 else 1]
        row["cvxpy"] = spread([timed(lambda p=p: reference.solve(*p)) for p in few])
        row["times_faster"] = round(row["cvxpy"]["p50"] / row["re_solve"]["p50"], 1)
    return row


def moved(state: DeskState, seed: int) -> DeskState:
    """The desk some minutes later: alpha, mids and fills have moved."""
    rng = np.random.default_rng(seed)
    names = tuple(
        msgspec.structs.replace(name, mid=name.mid * float(np.exp(rng.normal(0, 1e-3))))
        for name in state.names
    )
    parents = tuple(
        msgspec.structs.replace(
            parent,
            alpha_bps=parent.alpha_bps + float(rng.normal(0, 1)),
            filled=parent.quantity * float(rng.uniform(0, 0.3)),
        )
        for parent in state.parents
    )
    return msgspec.structs.replace(state, names=names, parents=parents)


def posed(
    model: ImpactModel, parts: couplings.Couplings, state: DeskState
) -> tuple[Program, limits.Caps]:
    desk = desks.of(state, dict(zip(model.symbols, model.sectors, strict=True)))
    return Program(desk, Layout.of(desk, model, parts)), limits.of(desk, POV)


def certified(parts: couplings.Couplings, layouts: Layouts, before: Program) -> None:
    """The re-solve of a desk's arrays, refused when it is not optimal."""
    program = Program(before.desk, layouts.of(before.desk, before.model, parts))
    caps = limits.of(before.desk, POV)
    found = fast.solve(program, caps)
    assert certificate(program, caps, found.u, found.y).holds


def _touch(each: Posed) -> None:
    """Make all matrices."""
    _ = (each.matrices.quadratic, each.matrices.factors, each.caps_matrix)
    _ = (each.linear, each.bounds)
    _ = each.row_limits


def timed(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return 1e3 * (time.process_time() - start)


def spread(values: list[float]) -> dict[str, float]:
    return {
        "p50": round(float(np.median(values)), 2),
        "p99": round(float(np.quantile(values, 0.99)), 2),
    }


if __name__ == "__main__":
    main()
