"""Every test run has a home of its own, set before airflow, mlflow or matplotlib is imported."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from ops.airflow_env import airflow_env, prepare  # noqa: E402

# Two workers with two BLAS threads each would wait for one another.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
settings.register_profile("patient", deadline=None)  # a slow machine is no failure
settings.load_profile("patient")
HOME = Path(tempfile.mkdtemp(prefix="crossimpact-tests-"))
for name in ("MLFLOW_TRACKING_URI", "CROSSIMPACT_LANDING"):
    os.environ.pop(name, None)
os.environ.update(airflow_env(HOME), AIRFLOW__LOGGING__LOGGING_LEVEL="ERROR")
prepare(HOME)


@pytest.hookimpl(tryfirst=True)  # before the workers read the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A file's tests share what it sets up, and the DAGs' files share one demo: one worker each."""
    for item in items:
        folder, name = item.path.parent.name, item.path.name
        item.add_marker(pytest.mark.xdist_group("dags" if folder == "dags" else f"{folder}/{name}"))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave nothing behind."""
    shutil.rmtree(HOME, ignore_errors=True)
