"""kill -9 at random moments of a re-landing: half states and lost rows, over many kills.

    PYTHONPATH=. .venv/bin/python benchmarks/audit_kills.py --kills 50 --seed 7

Two versions of a date are landed in turn; the process that judges the next one is killed after a
random part of the time it takes. Then the date must be the old one or the new one whole, every file
must verify, the ledger must read, and a run that is not killed must complete it and leave nothing
behind. The sweep over every step, without kills, is `tests/pipelines/audit/test_crash.py`.
"""

from __future__ import annotations

import argparse
import os
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from pipelines.audit.ledger import Ledger
from pipelines.store.landing import Landing
from pipelines.store.settings import Settings
from pipelines.store.warehouse import DRAFTS, Warehouse
from pipelines.validate import run
from tests.pipelines import desk


def land(root: Path, version: int) -> Landing:
    tables = desk.clean()
    tables["child_fills"][3]["fill_px"] = 100.0 + 0.01 * (version % 2)
    return Landing(desk.write(root, tables))


def killed(settings: Settings, landing: Landing, after_s: float) -> bool:
    """Judge in a child that dies after a while; whether it did before its end."""
    child = os.fork()
    if not child:
        try:
            run(settings, landing)
        finally:
            os._exit(0)
    time.sleep(after_s)
    os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=7)
    asked = parser.parse_args()
    draw, told = np.random.default_rng(asked.seed), Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        settings = Settings(root / "home")
        warehouse = Warehouse(settings)
        run(settings, land(root / "landing", 0))
        landing = land(root / "landing", 1)
        start = time.perf_counter()
        run(settings, landing)
        took = time.perf_counter() - start
        version = 1
        while told["kills"] < asked.kills:
            version += 1
            old, landing = warehouse.day(desk.DATE), land(root / "landing", version)
            if not killed(settings, landing, took * draw.random() * 1.2):
                continue
            told["kills"] += 1
            live = warehouse.day(desk.DATE)
            for manifest in live.partitions:
                warehouse.file(manifest)
            entries = Ledger.of(settings).entries(desk.DATE)
            told["left a draft"] += bool([*settings.home.rglob(DRAFTS)])
            told["old"] += live == old
            run(settings, landing)
            new = warehouse.day(desk.DATE)
            told["half"] += live not in (old, new)
            rows = [m.extra["rows"] for m in new.partitions if m.layer == "accepted"]
            told["lost rows"] += sum(r["landed"] - r["accepted"] - r["quarantined"] for r in rows)
            told["not in the ledger"] += live.digest not in {e["manifest"] for e in entries}
            told["drafts after the next run"] += len([*warehouse.root.rglob(DRAFTS)])
    names = ("kills", "old", "half", "lost rows", "not in the ledger", "left a draft",
             "drafts after the next run")  # fmt: skip
    print({name: told[name] for name in names})


if __name__ == "__main__":
    main()
