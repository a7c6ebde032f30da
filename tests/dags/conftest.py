"""The demos of one home, for all tests that need a desk with a champion."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.dags.desk import run_demos


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory, mlflow_tables: Path) -> Path:
    home = tmp_path_factory.mktemp("desk")
    (home / "mlflow").mkdir()
    shutil.copy(mlflow_tables, home / "mlflow" / "mlflow.db")
    return home


@pytest.fixture(scope="session")
def demos(home: Path) -> dict[str, dict[str, Any]]:
    return run_demos(home)


@pytest.fixture(scope="session")
def first(demos: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What the first demo found; the home is in the same state after the last one."""
    assert "found" in demos["first"], demos["first"]["error"]
    found: dict[str, Any] = demos["first"]["found"]
    return found
