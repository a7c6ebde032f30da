"""CPU seconds of the commands that are run often or in a hurry, each in a process of its own.

    .venv/bin/python benchmarks/command_cpu.py [--runs 3]

On a home with two small promoted releases; prints a Markdown table, the best of the runs.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]
COMMANDS = (
    "--help", "pull", "show", "gates", "ledger verify", "ledger show", "demote normal self_only",
)  # fmt: skip


def desk(home: Path) -> None:
    """Two releases of the day before yesterday, promoted one after the other."""
    from pipelines import promotion
    from pipelines.store.settings import Settings
    from tests.pipelines.test_release import register, sample

    now = datetime.now(UTC)
    for beta in (30.0, 31.0):
        as_of = (now - timedelta(days=2)).date().isoformat()
        register(Settings(home), replace(sample(beta), as_of=as_of))
        promotion.promote(Settings(home), who="benchmark", now=now)


def spent(command: str, home: Path) -> tuple[float, float]:
    """CPU and wall seconds of one run."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "cli.main", *command.split()],
        cwd=ROOT, check=True, capture_output=True,
        env=os.environ | {"CROSSIMPACT_HOME": str(home)},
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, time.monotonic() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    runs = parser.parse_args().runs
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    with tempfile.TemporaryDirectory() as folder:
        desk(Path(folder) / "home")
        print("| command | CPU, s | wall, s |\n| --- | ---: | ---: |")
        for command in COMMANDS:
            found = [spent(command, Path(folder) / "home") for _ in range(runs)]
            cpu, wall = (min(column) for column in zip(*found, strict=True))
            print(f"| `crossimpact {command}` | {cpu:.2f} | {wall:.2f} |")


if __name__ == "__main__":
    main()
