"""One fit against the number of symbols, and what one more day of history costs.

    .venv/bin/python -m benchmarks.scale                       # 50, 100, 200 symbols x 60 days
    .venv/bin/python -m benchmarks.scale --symbols 500 --days 60
    .venv/bin/python -m benchmarks.scale --symbols 1000 --days 20 --profile
    .venv/bin/python -m benchmarks.scale --symbols 100 --days 20,40,60      # against days instead

Each size is drawn and fitted in a fresh process on one thread, compiled code warm. `first day` and
`last day` are the CPU seconds of the moments of these days of the window: what one more day adds to
a refit that finds the others' stored, and no business of the days before it. `normal` and
`stressed` are those of `fit_regime` on the whole window, nothing stored, walk-forward and placebo
included. Peak memory is the process's own high-water mark, `panel` the part that was there before
the fit, `day` the moments of one day in both regimes. `gain` is the share of the true cross moves
on fresh days explained (0 for self-only), so that a size is seen to stay sane.
"""

from __future__ import annotations

import argparse
import cProfile
import io
import json
import math
import pstats
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.desks import Desk, draw
from benchmarks.scores import score
from crossimpact.estimate.refit import fit_regime
from crossimpact.estimate.weighted_rows import day_rows
from crossimpact.model import to_scaled
from crossimpact.panel import REGIMES, Panel

WARM = {"symbols": 10, "days": 6}
PROFILED = 15  # functions shown, by their own time
SERIES = ("first_day_s", "last_day_s", "normal_s", "stressed_s", "peak_mb")


# -- one size, in its own process ----------------------------------------------------------------


def measure(kind: str, seed: int, symbols: int, days: int, profile: bool) -> dict[str, Any]:
    """Draw a desk and fit both regimes; seconds are CPU seconds."""
    warm = draw(kind, seed, **WARM).head
    for regime in REGIMES:
        fit_regime(warm, regime)
    desk = draw(kind, seed, symbols=symbols, days=days)
    found: dict[str, Any] = {"symbols": symbols, "days": days, "panel_mb": peak_mb()}
    with threadpool_limits(limits=1):
        found["first_day_s"], _ = _day(desk.head, 0)
        found["last_day_s"], found["day_mb"] = _day(desk.head, -1)
        for regime in REGIMES:
            found |= _fit(desk, regime, profile)
    return found | {"peak_mb": peak_mb()}


def _day(panel: Panel, at: int) -> tuple[float, float]:
    """CPU seconds that one date's linear rows take, and their size in MB."""
    day = panel.where(panel.date == np.unique(panel.date)[at])
    start = time.process_time()
    made = day_rows(day, "linear")
    seconds = time.process_time() - start
    size = sum(a.nbytes for rows in made.values() for a in rows.arrays().values())
    return seconds, size / 2**20


def _fit(desk: Desk, regime: str, profile: bool) -> dict[str, Any]:
    profiler = cProfile.Profile()
    start = time.process_time()
    if profile:
        profiler.enable()
    fit = fit_regime(desk.head, regime)
    profiler.disable()
    seconds = time.process_time() - start
    if profile:
        text = io.StringIO()
        pstats.Stats(profiler, stream=text).sort_stats("tottime").print_stats(PROFILED)
        print(f"{regime}, {seconds:.0f} CPU s\n{text.getvalue()}", file=sys.stderr)
    gain = math.nan
    if fit.model is not None:
        gain = score(to_scaled(fit.model.gamma, fit.model.adv), desk, regime).gain
    found = {"s": seconds, "rung": fit.rung, "edges": fit.metrics.get("edges", 0.0), "gain": gain}
    return {f"{regime}_{name}": value for name, value in found.items()}


def peak_mb() -> float:
    """High-water mark of this process's resident memory."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


# -- the table -----------------------------------------------------------------------------------


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float | None:
    """Least-squares slope of log(value) on log(size); None for one size or a zero value."""
    if len(set(sizes)) < 2 or min(values) <= 0:
        return None
    return statistics.linear_regression([*map(math.log, sizes)], [*map(math.log, values)]).slope


def table(rows: Sequence[Mapping[str, Any]], by: str) -> str:
    """Markdown, a line per size and a last line of growth exponents in `by`."""
    head = ["symbols", "days", "first day, s", "last day, s", "normal, s", "stressed, s"]
    head += ["peak, MB", "panel, MB", "day, MB", *(f"{r}: rung, edges, gain" for r in REGIMES)]
    lines = [head, ["---:"] * len(head)]
    for row in rows:
        line = [str(row["symbols"]), str(row["days"])]
        line += [f"{row[name]:.2f}" for name in SERIES[:-1]]
        line += [f"{row[name]:.0f}" for name in ("peak_mb", "panel_mb", "day_mb")]
        line += [
            f"{row[f'{r}_rung']}, {row[f'{r}_edges']:.0f}, {row[f'{r}_gain']:.2f}" for r in REGIMES
        ]
        lines.append(line)
    slopes = [exponent([row[by] for row in rows], [row[s] for row in rows]) for s in SERIES]
    if None not in slopes:
        lines.append([f"exponent in {by}", "", *(f"{s:.2f}" for s in slopes), *[""] * 4])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


# -- the program ---------------------------------------------------------------------------------


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--symbols", default="50,100,200", help="comma-separated sizes")
    parser.add_argument("--days", default="60", help="sessions of the window, comma-separated")
    parser.add_argument("--kind", default="clean", help="of the trial desks")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--profile", action="store_true", help="where the time goes, on stderr")
    parser.add_argument("--json", action="store_true", help="a line of JSON after the table")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    for name in ("symbols", "days"):
        setattr(asked, name, sorted({int(size) for size in getattr(asked, name).split(",")}))
    return asked


def fresh(asked: argparse.Namespace, symbols: int, days: int) -> dict[str, Any]:
    """`measure` in a process of its own."""
    words = ["--symbols", symbols, "--days", days, "--kind", asked.kind, "--seed", asked.seed]
    words += ["--one"] + ["--profile"] * asked.profile
    command = [sys.executable, "-m", "benchmarks.scale", *map(str, words)]
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if run.returncode:
        raise SystemExit(f"{symbols} symbols x {days} days failed with {run.returncode}")
    found: dict[str, Any] = json.loads(run.stdout)
    return found


def main() -> None:
    asked = arguments()
    if asked.one:
        only = measure(asked.kind, asked.seed, asked.symbols[0], asked.days[0], asked.profile)
        print(json.dumps(only))
        return
    rows = []
    for symbols in asked.symbols:
        for days in asked.days:
            rows.append(fresh(asked, symbols, days))
            print(f"{symbols} symbols x {days} days done", file=sys.stderr)
    print(table(rows, "symbols" if len(asked.symbols) > 1 else "days"))
    if asked.json:
        print(json.dumps(rows, sort_keys=True))


if __name__ == "__main__":
    main()
