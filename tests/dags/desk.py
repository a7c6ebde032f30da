"""The demo on a small dirty desk: as it is, with a broken table, and mended. Told as JSON.

`python -m tests.dags.desk HOME` runs the three one after the other in one process, since it takes
Airflow, MLflow and GX longer to be imported than to do their work on a desk of this size.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from crossimpact.errors import CrossImpactError
from ops import airflow_env, dagrun, demo
from tests.canary import canaries

GUARD = airflow_env.ROOT / "tests" / "guard"
SIZE = {"symbols": 10, "days": 6, "seed": 7}


def state(home: Path) -> dict[str, str]:
    """Everything that the platform publishes, byte for byte."""
    published = [*(home / "warehouse").rglob("_manifest.json"), home / "ledger.jsonl"]
    published += (home / "refits").rglob("*.json")
    return {str(path.relative_to(home)): path.read_text() for path in sorted(published)}


def attempts(home: Path) -> Path:
    """Where the guard keeps what was tried beyond loopback."""
    return home.parent / "network-attempts"


def without_champion(home: Path, to: Path) -> Path:
    """A copy of a home whose champion is a challenger again."""
    shutil.copytree(home, to)
    for path in to.glob("ledger*"):
        path.unlink()
    # A lost ledger is noticed by this alias: a new history is begun on purpose.
    with closing(sqlite3.connect(to / "mlflow" / "mlflow.db")) as db, db:
        db.execute("DELETE FROM registered_model_aliases WHERE alias = 'champion'")
    return to


def run_demos(home: Path) -> dict[str, dict[str, Any]]:
    """By act: what it found or its error, and the state after it.

    Every secret of the environment is a canary meanwhile, and nothing beyond loopback is reached:
    `test_secrets` looks at what is left.
    """
    path = os.pathsep.join((str(GUARD), os.environ["PYTHONPATH"]))
    watched = {"PYTHONPATH": path, "NETWORK_ATTEMPTS": str(attempts(home))}
    # a proxy on loopback would take calls out of sight
    plain = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    done = subprocess.run(
        [sys.executable, "-m", "tests.dags.desk", str(home)],
        cwd=airflow_env.ROOT, env={**plain, **canaries(), **watched},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (home.parent / "printed").write_text(done.stdout + done.stderr)
    told: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return told


def one(home: Path) -> dict[str, Any]:
    """The demo once: its error, else what it found."""
    today = datetime.now(UTC).date()
    try:
        with dagrun.output_to(home / "logs" / demo.LOG) as terminal:
            told = {"found": demo.demo(home, SIZE, today, terminal).to_dict()}
    except CrossImpactError as error:
        told = {"code": error.exit_code, "error": str(error)}
    return told | {"state": state(home)}


@contextmanager
def broken_table(home: Path) -> Iterator[None]:
    """The last date's fills without their prices, while the block runs."""
    (file,) = sorted((home / "demo" / "landing" / "child_fills").glob("date=*/*.parquet"))[-1:]
    whole = file.read_bytes()
    pq.write_table(pq.read_table(file, partitioning=None).drop_columns(["fill_px"]), file)
    try:
        yield
    finally:
        file.write_bytes(whole)


def main(home: Path) -> None:
    airflow_env.enter(home, AIRFLOW__LOGGING__LOGGING_LEVEL="ERROR", CROSSIMPACT_AUTO_PROMOTE="1")
    told = {"first": one(home)}
    with broken_table(home):
        told["broken"] = one(home)
    told["mended"] = one(home)
    print(json.dumps(told))
    dagrun.end_quietly(home / "logs" / demo.LOG)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
