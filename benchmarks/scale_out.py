"""The same refit on one core, on Ray's workers, and with its partitions in an object store.

    .venv/bin/python -m benchmarks.scale_out --symbols 200 --days 20 --ray
    CROSSIMPACT_MOTO=moto/bin/moto_server .venv/bin/python -m benchmarks.scale_out --s3
    .venv/bin/python -m benchmarks.scale_out --ray --kill        # a worker is killed on the way

Each runs the command line in a fresh home. Seconds per stage are the command's own, so that neither
Ray's start nor imports count; the release's digest must be the same in all. `efficiency` is the one
core's seconds over twice those of the two workers, beside that of two plain processes that do
nothing but compute: what the machine gives two cores at that moment. The S3 server is a real one
(moto) on loopback. Prints Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import psutil

from benchmarks.desks import draw
from benchmarks.landing import write_landing

COMMAND = [sys.executable, "-m", "crossimpact"]
TURNS = 3_000_000


def refit(landing: Path, home: Path, env: Mapping[str, str], *words: str) -> dict[str, Any]:
    """What the command says of it."""
    done = subprocess.run(
        [*COMMAND, "refit", str(landing), "--home", str(home), "--json", *words],
        env={**os.environ, **env}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def spin(_: int) -> float:
    start = time.perf_counter()
    total = 0
    for n in range(TURNS):
        total += n
    return time.perf_counter() - start


def two_cores() -> float:
    """Share of a second core that the machine gives now: 1 where two processes cost no time."""
    alone = spin(0)
    start = time.perf_counter()
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(spin, range(2)))
    return alone / (time.perf_counter() - start)


def kill_one(after_s: float, told: list[int]) -> None:
    """SIGKILL one of the workers that are at a task, once."""
    time.sleep(after_s)
    while not told:
        for process in psutil.process_iter(["name"]):
            busy = "_called" in " ".join(process.cmdline() if process.is_running() else [])
            if busy and not told:
                process.send_signal(signal.SIGKILL)
                told.append(process.pid)
        time.sleep(0.2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--symbols", type=int, default=40)
    parser.add_argument("--days", type=int, default=6)
    parser.add_argument("--kind", default="small")
    parser.add_argument("--ray", action="store_true")
    parser.add_argument("--kill", action="store_true", help="kill a worker 5 s after Ray began")
    parser.add_argument("--s3", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="crossimpact-out-") as root:
        folder = Path(root)
        landing = write_landing(draw(given.kind, 1, symbols=given.symbols, days=given.days), folder)
        runs = {"local": refit(landing, folder / "local", {})}
        killed: list[int] = []
        if given.ray:
            if given.kill:
                threading.Thread(target=kill_one, args=(5.0, killed), daemon=True).start()
            runs["ray"] = refit(landing, folder / "ray", {}, "--engine", "ray")
        if given.s3:
            runs["s3"] = _on_s3(landing, folder / "s3")
    say(runs, killed)


def _on_s3(landing: Path, home: Path) -> dict[str, Any]:
    from tests.pipelines.store import s3_server

    with s3_server.serve() as (address, _):
        env = {
            "CROSSIMPACT_WAREHOUSE": "s3://desk/scale", "AWS_ENDPOINT_URL": address,
            "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "desk",
            "AWS_SECRET_ACCESS_KEY": "desk",
        }  # fmt: skip
        return refit(landing, home, env)


def say(runs: dict[str, dict[str, Any]], killed: list[int]) -> None:
    stages = [*runs["local"]["stages"]]
    print("| | " + " | ".join([*stages, "all, s", "times local", "digest"]) + " |")
    print("| --- |" + " ---: |" * (len(stages) + 2) + " --- |")
    base = sum(runs["local"]["stages"].values())
    for name, run in runs.items():
        total = sum(run["stages"].values())
        cells = [f"{run['stages'][stage]:.1f}" for stage in stages]
        cells += [f"{total:.1f}", f"{total / base:.2f}", run["digest"][:12]]
        print(f"| {name} | {' | '.join(cells)} |")
    if "ray" in runs:
        share = base / (2 * sum(runs["ray"]["stages"].values()))
        print(f"\nefficiency {share:.2f} of two cores; two plain processes {two_cores():.2f}")
    if killed:
        print(f"worker {killed[0]} was killed on the way")
    if len({run["digest"] for run in runs.values()}) != 1:
        raise SystemExit("the digests differ")


if __name__ == "__main__":
    main()
