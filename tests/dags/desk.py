"""The demo on a small dirty desk, and what it leaves behind."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from ops.airflow_env import ROOT

SIZE = ("--symbols", "10", "--days", "6")


def run_demo(home: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ops.demo", "--home", str(home), *SIZE, "--json"]
    return subprocess.run(
        command, cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, check=False
    )


def state(home: Path) -> dict[str, str]:
    """Everything that the platform publishes, byte for byte."""
    published = [*(home / "warehouse").rglob("_manifest.json"), home / "ledger.jsonl"]
    published += (home / "refits").rglob("*.json")
    return {str(path.relative_to(home)): path.read_text() for path in sorted(published)}


def without_champion(home: Path, to: Path) -> Path:
    """A copy of a home whose champion is a challenger again."""
    shutil.copytree(home, to)
    for path in to.glob("ledger*"):
        path.unlink()
    # A lost ledger is noticed by this alias: a new history is begun on purpose.
    with closing(sqlite3.connect(to / "mlflow" / "mlflow.db")) as db, db:
        db.execute("DELETE FROM registered_model_aliases WHERE alias = 'champion'")
    return to
