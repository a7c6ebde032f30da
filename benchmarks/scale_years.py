"""What a desk of 3,000 names, 5 s snapshots and 3 years takes, from small ones measured.

    .venv/bin/python -m benchmarks.scale_years                      # 20 and 60 names, 3 dates each
    .venv/bin/python -m benchmarks.scale_years --symbols 50,200 --days 3

A desk per size is simulated, refitted and priced by the very steps, on one thread. Per date and
step are taken: bytes that stay on disk, and CPU seconds. A step that looks at rows grows with
names; its line through the sizes (least squares) is followed to `--to` names, and dates times that
many. Fits are no such step and are told apart: `benchmarks.scale` measures them. Peak memory is the
process's. Prints Markdown for docs/scale.md.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from crossimpact import contract
from crossimpact.simulate import DeskSpec
from pipelines import features, moments, promotion, refit, simulate, tca, validate
from pipelines.store.landing import Landing
from pipelines.store.settings import Settings

YEAR = 252
STEPS = ("validate", "features", "moments", "tca")
LAYERS = {
    "landing": "landing/*",
    "accepted": "warehouse/accepted/*",
    "features": "warehouse/features-*/*",
    "marts": "warehouse/marts/*",
    "audit": "audit",
}


@dataclass(frozen=True)
class Size:
    """A measured desk: CPU seconds and MB per date, rows per date, MB of the process at most."""

    symbols: int
    cpu_s: dict[str, float]
    disk_mb: dict[str, float]
    rows: int
    peak_mb: float


def measure(symbols: int, days: int, folder: Path) -> Size:
    """Every step of a desk's dates; the first date's, which compiles and imports, is left out."""
    spec = DeskSpec(symbols=symbols, days=days, seed=7, first_date="2026-03-02")
    told = simulate.run(None, folder, spec)
    landing, settings = Landing(folder / "landing"), Settings(folder)
    first, *rest = spec.dates
    seconds: dict[str, float] = {}
    _steps(settings, landing, [first], {})
    _steps(settings, landing, rest, seconds)
    _champion(settings, landing.root, spec.dates[-1])
    seconds["tca"] = _timed(lambda: [tca.run_as_of(settings, landing.root, d) for d in rest])
    sizes = {name: _mb(folder, pattern, rest) for name, pattern in LAYERS.items()}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    per = len(rest)
    return Size(
        symbols,
        {name: seconds[name] / per for name in STEPS},
        {name: size / per for name, size in sizes.items()},
        sum(told.rows[name] for name in contract.TABLES) // days,
        peak,
    )


def _steps(
    settings: Settings, landing: Landing, dates: list[str], seconds: dict[str, float]
) -> None:
    seconds["validate"] = _timed(lambda: validate.run(settings, landing, dates))
    seconds["features"] = _timed(lambda: features.prepare(settings, landing, dates))
    seconds["moments"] = _timed(lambda: moments.prepare(settings, dates, ("linear",)))


def _champion(settings: Settings, landing: Path, date: str) -> None:
    """Whoever it is: TCA needs one."""
    now = datetime.fromisoformat(date).replace(tzinfo=UTC) + timedelta(hours=23)
    made = refit.run(settings, landing, date, now=now)
    promotion.promote(
        settings, made.release, override=True, reason="measure TCA", approver="bob", who="ann",
        now=now,
    )  # fmt: skip


def _timed(work: Callable[[], Any]) -> float:
    start = time.process_time()
    with threadpool_limits(limits=1):
        work()
    return time.process_time() - start


def _mb(folder: Path, pattern: str, dates: list[str]) -> float:
    found = (p for d in dates for p in folder.glob(f"{pattern}/date={d}/*") if p.is_file())
    return sum(path.stat().st_size for path in found) / 1e6


def line(sizes: list[Size], value: Callable[[Size], float], at: int) -> tuple[float, float]:
    """A number's value at `at` names on the line through the sizes, and its slope per name."""
    slope, level = np.polyfit([s.symbols for s in sizes], [value(s) for s in sizes], 1)
    return float(level + slope * at), float(slope)


def report(sizes: list[Size], to: int, years: int) -> str:
    dates = years * YEAR
    head = ["", *(f"{s.symbols} names" for s in sizes), f"{to:,} names", f"{years} years"]
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]

    def row(name: str, unit: str, value: Callable[[Size], float], per: float, total: str) -> None:
        there = line(sizes, value, to)[0]
        cells = [f"{value(s):,.2f}" for s in sizes] + [f"{there:,.0f}"]
        lines.append(
            f"| {name}, {unit} | {' | '.join(cells)} | {there * dates / per:,.1f} {total} |"
        )

    row("rows a date", "millions", lambda s: s.rows / 1e6, 1e3, "billion")
    for name in LAYERS:
        row(name, "MB a date", lambda s, n=name: s.disk_mb[n], 1e6, "TB")  # type: ignore[misc]
    for name in STEPS:
        row(name, "CPU s a date", lambda s, n=name: s.cpu_s[n], 3600, "CPU h")  # type: ignore[misc]
    lines.append(
        f"| peak of the process, MB | {' | '.join(f'{s.peak_mb:,.0f}' for s in sizes)} | | |"
    )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--symbols", default="20,60")
    parser.add_argument("--days", type=int, default=3)
    parser.add_argument("--to", type=int, default=3000)
    parser.add_argument("--years", type=int, default=3)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        with tempfile.TemporaryDirectory(prefix="crossimpact-scale-") as folder:
            print(json.dumps(vars(measure(given.one, given.days, Path(folder)))))
        return
    sizes = []
    for symbols in map(int, given.symbols.split(",")):
        command = [sys.executable, "-m", "benchmarks.scale_years", "--one", str(symbols)]
        done = subprocess.run(
            [*command, "--days", str(given.days)], capture_output=True, text=True, check=True
        )
        sizes.append(Size(**json.loads(done.stdout.splitlines()[-1])))
    print(report(sizes, given.to, given.years))


if __name__ == "__main__":
    main()
