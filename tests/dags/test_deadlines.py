"""Deadlines of DAGs in Airflow's own database: when a run is due, and what is told of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ops import airflow_env
from tests.dags.late import LATE

DAGS = {
    "validate_contract", "daily_tca", "shadow_daily", "weekly_drift", "monthly_refit", "rollout",
}  # fmt: skip


@pytest.fixture(scope="module")
def told(
    demos: dict[str, Any], home: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What the exporter says before and after one run was late, and what the callback logged."""
    late = tmp_path_factory.mktemp("late")
    (late / "airflow").mkdir()
    shutil.copy(home / "airflow" / "airflow.db", late / "airflow" / "airflow.db")
    done = subprocess.run(
        [sys.executable, "-m", "tests.dags.late", str(late)],
        cwd=airflow_env.ROOT, env=dict(os.environ), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def test_every_dag_has_a_deadline_within_its_timeout(told):
    from dags import (
        daily_tca,
        monthly_refit,
        rollout,
        shadow_daily,
        validate_contract,
        weekly_drift,
    )

    modules = daily_tca, monthly_refit, rollout, shadow_daily, validate_contract, weekly_drift
    assert set(told["due"]) == DAGS
    for module in modules:
        name = module.__name__.rpartition(".")[2]
        dag = getattr(module, name)()
        assert told["due"][name] < dag.dagrun_timeout.total_seconds()


def test_a_late_run_is_told_before_and_after_airflow_marks_it(told):
    def late(when: str) -> dict[str, float]:
        return {dag: told[when][f"crossimpact_dag_runs_late['{dag}']"] for dag in DAGS}

    def missed(when: str) -> dict[str, float]:
        return {dag: told[when][f"crossimpact_dag_deadlines_missed['{dag}']"] for dag in DAGS}

    nobody, one = dict.fromkeys(DAGS, 0.0), dict.fromkeys(DAGS, 0.0) | {LATE: 1.0}
    assert (late("before"), missed("before")) == (nobody, nobody)
    assert (late("after"), missed("after")) == (one, nobody), "no scheduler has looked"
    assert (late("missed"), missed("missed")) == (one, one)


def test_the_callback_names_the_run_and_when_it_was_due(told):
    (line,) = told["said"]
    assert line.startswith(f"{LATE}: run late-{LATE} was due at 20")


def test_a_failed_run_can_be_cleared_and_is_due_as_long_after(told):
    """Airflow 3.3.2 cannot move the deadline of a run that counts from its queueing by a duration
    it has stored as an object: clearing failed with a TypeError."""
    assert told["cleared"] == pytest.approx(told["due"], abs=60)
