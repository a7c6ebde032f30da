"""From the last known good on disk to a verified release in memory, against names and density.

    .venv/bin/python -m benchmarks.release_load                          # 100, 500, 1000 names
    .venv/bin/python -m benchmarks.release_load --names 500 --density 0.1 --profile

A release has two regimes, each with a full, a sector-block (all pairs of eleven sectors) and a
self-only model. `first` is the first load of a fresh process, after its imports; `median` that of
the loads after it; both wall milliseconds on one BLAS thread, the best of the processes for
`first`, over all of them for `median`. `cpu` is the median's processor time: on a busy machine the
number to believe. A load reads the files, checks their sha256 and canonical form, builds the
models, and checks the numbers (`crossimpact.release.admissible`), all as
`crossimpact.consumer.client` does when it starts.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import pstats
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from crossimpact.consumer.cache import ReleaseCache
from crossimpact.model import ImpactModel
from crossimpact.release import release_files
from crossimpact.release.bundle import Release
from crossimpact.release.content import Guardrail, Policy, Window

SECTORS = 11
#: Strongest eigenvalue of the couplings, in units of the names' own impacts.
STRENGTH = 0.8
LOADS, PROCESSES = 15, 3
PROFILED = 15  # functions shown, by their own time


def drawn(names: int, density: float, seed: int = 0) -> Release:
    """A release of the size and shape of a real one; its numbers are noise."""
    rng = np.random.default_rng(seed)
    sector = np.arange(names) % SECTORS
    same = sector[:, None] == sector
    models: dict[str, ImpactModel] = {}
    lower: dict[str, dict[str, ImpactModel]] = {}
    for regime in ("normal", "stressed"):
        models[regime] = _model(rng, regime, sector, rng.random((names, names)) < density)
        block = _model(rng, regime, sector, same)
        lower[regime] = {"sector_block": block, "self_only": block.self_only()}
    pov = {"full": 0.15, "sector_block": 0.12, "self_only": 0.1, "fixed_pov": 0.05}
    shipped = Policy("full", "fitted", pov)
    fixed = Policy("fixed_pov", "no label for the bucket", pov)
    return Release(
        as_of="2026-01-31", window=Window("2025-11-01", "2026-01-31", 60),
        flow="own", bucket_s=300, contract_version="1", code_version="0", data_digest="d" * 64,
        models=models, lower=lower, fallback={**dict.fromkeys(models, shipped), "unknown": fixed},
        guardrails={r: {"cross_bps": Guardrail(1.5, 3.0)} for r in models}, report={},
    )  # fmt: skip


def _model(
    rng: np.random.Generator, regime: str, sector: np.ndarray, coupled: np.ndarray
) -> ImpactModel:
    n = len(sector)
    adv, beta = np.exp(rng.normal(17, 1, n)), rng.uniform(30, 300, n)
    upper = np.triu(coupled, 1) * rng.normal(size=(n, n))
    couplings = upper + upper.T
    couplings *= STRENGTH / np.abs(np.linalg.eigvalsh(couplings)).max()
    gamma = couplings * np.sqrt(beta / adv)[:, None] * np.sqrt(beta * adv)
    return ImpactModel(
        symbols=tuple(f"S{i:04d}" for i in range(n)),
        sectors=tuple(f"sector {s}" for s in sector),
        adv=adv, regime=regime, alpha=rng.uniform(0.5, 3, n), beta=beta, gamma=gamma,
        alpha_se=rng.random(n), beta_se=rng.random(n),
        gamma_se=np.where(gamma != 0, rng.random((n, n)), np.nan),
        gamma_frequency=np.where(gamma != 0, rng.random((n, n)), np.nan),
    )  # fmt: skip


def measure(folder: Path, digest: str, profile: bool) -> dict[str, list[float]]:
    """Load it again and again: wall and processor milliseconds of each."""
    cache, wall, cpu = ReleaseCache(folder), [], []
    for _ in range(LOADS):
        start, spent = time.perf_counter(), time.process_time()
        cache.load(digest)
        wall.append(1e3 * (time.perf_counter() - start))
        cpu.append(1e3 * (time.process_time() - spent))
    if profile:
        with cProfile.Profile(time.process_time) as watched:
            cache.load(digest)
        pstats.Stats(watched, stream=sys.stderr).sort_stats("tottime").print_stats(PROFILED)
    return {"wall": wall, "cpu": cpu}


def fresh(folder: Path, digest: str, profile: bool) -> dict[str, list[float]]:
    """`measure` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.release_load", "--one", str(folder), digest]
    command += ["--profile"] * profile
    one = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    run = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=True, env=os.environ | one
    )
    found: dict[str, list[float]] = json.loads(run.stdout)
    return found


def row(names: int, density: float, profile: bool) -> dict[str, Any]:
    release = drawn(names, density)
    with tempfile.TemporaryDirectory() as folder:
        release_files.write(release, Path(folder) / release.digest)
        runs = [fresh(Path(folder), release.digest, profile) for _ in range(PROCESSES)]
    return {
        "names": names,
        "density": density,
        "mb": sum(map(len, release.files.values())) / 1e6,
        "first_ms": min(run["wall"][0] for run in runs),
        "median_ms": statistics.median(t for run in runs for t in run["wall"][1:]),
        "cpu_ms": statistics.median(t for run in runs for t in run["cpu"][1:]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--names", default="100,500,1000")
    parser.add_argument("--density", default="0.05,0.1,0.2")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        folder, digest = asked.one
        print(json.dumps(measure(Path(folder), digest, asked.profile)))
        return
    print("| names | pairs coupled | MB | first, ms | median, ms | cpu, ms |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: |")
    for names in map(int, asked.names.split(",")):
        for density in map(float, asked.density.split(",")):
            found = row(names, density, asked.profile)
            print(
                "| {names} | {density:.0%} | {mb:.1f} | {first_ms:.0f} | {median_ms:.0f} "
                "| {cpu_ms:.0f} |".format(**found),
                flush=True,
            )


if __name__ == "__main__":
    main()
