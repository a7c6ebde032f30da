"""End-to-end refit against the number of symbols: wall time, peak memory, growth exponents.

Simulates a desk per size, refits it through the command line in a fresh process with a fresh home,
and prints a markdown table and one line of JSON. An exponent is the slope of log(value) against
log(symbols); 1 is linear growth. Run it alone on the machine:

    .venv/bin/python benchmarks/refit_scaling.py                          # 20, 50, 100 x 20 days
    .venv/bin/python benchmarks/refit_scaling.py --symbols 4,8 --days 3   # does it run

Small sizes are all start-up cost: their exponents say nothing about growth.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMMAND = Path(sys.executable).with_name("crossimpact")


@dataclass(frozen=True)
class Run:
    """One refit: wall and CPU seconds, peak resident memory of the process, seconds per stage."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    stages: Mapping[str, float]


def command(*arguments: object) -> tuple[Run, str]:
    """Run the command line once and measure exactly that child process."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as log:
        start = time.perf_counter()
        child = subprocess.Popen([str(COMMAND), *map(str, arguments)], stdout=out, stderr=log)
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        log.seek(0)
        if child.returncode:
            raise SystemExit(
                f"{arguments[0]} failed with {child.returncode}:\n{log.read()[-2000:]}"
            )
        run = Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, {})
        return run, out.read()


def measure(symbols: int, days: int, seed: int, repeats: int, folder: Path) -> dict[str, Any]:
    """Simulate one size, refit it `repeats` times from nothing, take medians."""
    desk = folder / f"desk-{symbols}"
    size = ("--symbols", symbols, "--days", days, "--seed", seed, "--home", folder / "home-sim")
    simulated, _ = command("simulate", desk, *size)
    runs = []
    for repeat in range(repeats):
        home = folder / f"home-{symbols}-{repeat}"
        run, text = command("refit", desk / "landing", "--home", home, "--json")
        stages = {name: float(s) for name, s in json.loads(text).get("stages", {}).items()}
        runs.append(Run(run.wall_s, run.cpu_s, run.peak_mb, stages))
    return {
        "symbols": symbols,
        "days": days,
        "landing_mb": megabytes(desk / "landing"),
        "simulate_s": simulated.wall_s,
        "refit_s": statistics.median(run.wall_s for run in runs),
        "refit_s_all": [run.wall_s for run in runs],
        "cpu_s": statistics.median(run.cpu_s for run in runs),
        "peak_mb": statistics.median(run.peak_mb for run in runs),
        "stages": medians([run.stages for run in runs]),
    }


def medians(stages: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: statistics.median(run[name] for run in stages) for name in stages[0]}


def megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float | None:
    """Least-squares slope of log(value) on log(size); None for one size or a zero value."""
    if len(set(sizes)) < 2 or min(values) <= 0:
        return None
    slope, _ = statistics.linear_regression([math.log(n) for n in sizes], [*map(math.log, values)])
    return slope


def columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """The measured series, stages last."""
    names = ("landing_mb", "simulate_s", "refit_s", "cpu_s", "peak_mb")
    series = {name: [float(row[name]) for row in rows] for name in names}
    return series | {
        f"{stage}_s": [row["stages"][stage] for row in rows] for stage in rows[0]["stages"]
    }


def table(rows: Sequence[Mapping[str, Any]], exponents: Mapping[str, float | None]) -> str:
    """Markdown: a line per size and a last line of exponents."""
    series = columns(rows)
    lines = [["symbols", *series], ["---:"] * (len(series) + 1)]
    for at, row in enumerate(rows):
        lines.append([str(row["symbols"]), *(f"{values[at]:.2f}" for values in series.values())])
    slopes = (exponents[name] for name in series)
    lines.append(["exponent", *("-" if slope is None else f"{slope:.2f}" for slope in slopes)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--symbols", default="20,50,100", help="comma-separated sizes")
    parser.add_argument("--days", type=int, default=20)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--repeats", type=int, default=1, help="refits per size; medians are shown")
    parser.add_argument("--folder", type=Path, help="where to put the temporary desks")
    return parser.parse_args()


def main() -> None:
    asked = arguments()
    sizes = sorted({int(size) for size in asked.symbols.split(",")})
    with tempfile.TemporaryDirectory(prefix="refit-scaling-", dir=asked.folder) as folder:
        measure(4, 3, asked.seed, 1, Path(folder) / "warm-up")  # cold imports are not growth
        rows = []
        for size in sizes:
            rows.append(measure(size, asked.days, asked.seed, asked.repeats, Path(folder)))
            print(f"{size} symbols: {rows[-1]['refit_s']:.1f} s", file=sys.stderr)
    exponents = {name: exponent(sizes, values) for name, values in columns(rows).items()}
    print(table(rows, exponents))
    print(json.dumps({"rows": rows, "exponents": exponents}, sort_keys=True))


if __name__ == "__main__":
    main()
