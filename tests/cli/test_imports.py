"""What the commands of a release's life import: what they need, and nothing that takes seconds."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipelines import promotion
from pipelines.store.settings import Settings
from tests.pipelines.test_release import register, sample

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {
    "airflow", "duckdb", "great_expectations", "matplotlib", "mlflow", "numba", "pandas", "pyarrow",
    "scipy", "sklearn", "sqlalchemy",
}  # fmt: skip
#: The command line, and what it had imported by the time it ended.
RUN = """
import sys
from cli import main
try:
    main.main()
except SystemExit as end:
    print(*sys.modules, file=sys.stderr)
    raise
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, mlflow_tables: Path) -> Path:
    """Two releases of the day before yesterday, promoted one after the other."""
    settings = Settings(tmp_path_factory.mktemp("lean") / "home")
    (settings.home / "mlflow").mkdir(parents=True)
    shutil.copy(mlflow_tables, settings.home / "mlflow" / "mlflow.db")
    now = datetime.now(UTC)  # the command line reads it, too
    for beta in (30.0, 31.0):
        as_of = (now - timedelta(days=2)).date().isoformat()
        register(settings, replace(sample(beta), as_of=as_of))
        promotion.promote(settings, who="ann", now=now)
    return settings.home


@pytest.mark.parametrize("command", ["pull", "show", "gates", "ledger show", "ledger verify"])
def test_what_only_reads_imports_nothing_heavy(home: Path, command: str) -> None:
    found = run(home, *command.split())
    assert found == (0, set())


def test_a_demotion_imports_nothing_heavy(home: Path) -> None:
    assert run(home, "demote", "normal", "self_only", "--reason", "a test") == (0, set())


def test_a_pull_answers_live_and_prints_before_anything_else(home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", "pull", "--json", "--home", str(home)],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout)["state"] == "live" and done.stderr == ""


def test_a_pull_answers_though_its_witness_has_to_wait_and_says_so(home: Path) -> None:
    from crossimpact.release import ledger

    env = os.environ | {"MLFLOW_TRACKING_URI": "http://127.0.0.1:1"}
    env["CROSSIMPACT_USER"] = "another"
    with ledger.locked(home / "ledger.jsonl"):
        done = subprocess.run(
            [sys.executable, "-m", "cli.main", "pull", "--json", "--home", str(home)],
            cwd=ROOT, capture_output=True, text=True, check=False, env=env, timeout=120,
        )  # fmt: skip
    assert json.loads(done.stdout)["state"] == "fallback"
    assert done.returncode == 5
    assert "warning: the ledger does not have it: " in done.stderr


def run(home: Path, *words: str) -> tuple[int, set[str]]:
    """Exit code, and the heavy packages that were imported."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, *words, "--home", str(home)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, HEAVY & set(done.stderr.split())
