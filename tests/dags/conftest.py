"""One run of the demo for all tests that need a desk with a champion."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.dags.desk import run_demo, state


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("desk")


@pytest.fixture(scope="session")
def first(home: Path) -> dict[str, Any]:
    done = run_demo(home)
    assert done.returncode == 0, done.stderr
    return {**json.loads(done.stdout), "state": state(home)}
