"""Refit of a desk over two Celery workers of the service against one process, and where time goes.

`python -m benchmarks.two_workers [--symbols 100] [--days 20]`: needs what `make rehearse` needs.
A mapped task's overhead is its time in Airflow less what the same step takes in one process.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from ops.stack import compose, secrets
from ops.stack.form import Form
from ops.stack.opening import WORKERS
from ops.stack.process_form import ProcessForm
from ops.stack.questions import Size
from ops.stack.rehearsal import Rehearsal
from ops.stack.rehearse import apart

WITHOUT = ("grafana", "prometheus", "alertmanager", "metrics", "live")
ALONE = "/srv/home/alone"


def moment(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def by_task(tasks: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Of each task: how many, their seconds, how long they waited for a worker, and the span."""
    found = {}
    for name in dict.fromkeys(t["task_id"] for t in tasks if t["start_date"] and t["end_date"]):
        rows = [t for t in tasks if t["task_id"] == name and t["end_date"]]
        spans = [(moment(t["start_date"]), moment(t["end_date"])) for t in rows]
        waits = [
            moment(t["start_date"]) - moment(t["queued_when"] or t["start_date"]) for t in rows
        ]
        found[name] = {
            "tasks": len(rows),
            "median_s": statistics.median(end - start for start, end in spans),
            "sum_s": sum(end - start for start, end in spans),
            "median_wait_s": statistics.median(waits),
            "span_s": max(end for _, end in spans) - min(start for start, _ in spans),
        }
    return found


def alone(form: Form) -> float:
    """Seconds of the same refit in one process, the contract's verdict at hand in both."""
    command = (
        "unset MLFLOW_TRACKING_URI; exec python -m crossimpact {} /srv/landing --home " + ALONE
    )
    for word in ("validate", "refit"):
        begun = time.monotonic()
        done = form.execute(WORKERS[0], ["sh", "-c", command.format(word)], timeout_s=7200)
        if done.code:
            raise SystemExit(f"{word} ended with {done.code}: {done.err[-500:]}")
    return time.monotonic() - begun


def measure(folder: Path, size: Size) -> dict[str, Any]:
    known = compose.services(secrets.generate())
    names = [name for name in known if name not in WITHOUT]

    def make(values: Mapping[str, str], at: Path) -> Form:
        return ProcessForm(compose.services(values), at)

    rehearsal = Rehearsal(make, folder, names, size)
    try:
        for name, step in rehearsal.opening():
            print(f"{name}: {step()}", file=sys.stderr, flush=True)
            if name == "refit":
                break
        tasks = by_task(rehearsal.api.tasks("monthly_refit", rehearsal.refit_run))
        fitted = {k: v for k, v in tasks.items() if k in ("features", "regimes", "moments", "fit")}
        return {"symbols": size.symbols, "days": size.days, "tasks": fitted | tasks,
                "two_workers_s": sum(row["span_s"] for row in fitted.values()),
                "one_process_s": alone(rehearsal.form)}  # fmt: skip
    finally:
        for form in rehearsal.forms:
            form.stop()
            form.discard()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=100)
    parser.add_argument("--days", type=int, default=20)
    asked = parser.parse_args()
    apart(sys.argv[1:], "benchmarks.two_workers")
    folder = Path(tempfile.mkdtemp(prefix="crossimpact-workers-"))
    try:
        print(json.dumps(measure(folder, Size(asked.symbols, asked.days)), indent=1))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
