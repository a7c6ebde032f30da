"""What a task's log lines carry besides Airflow's own: partition, and a release it learns of."""

from __future__ import annotations

import contextvars
from types import SimpleNamespace
from typing import Any

import pytest
import structlog

from crossimpact import json_log
from dags.common import DEFAULTS, name_in_log


def carried(op_kwargs: Any, release: str = "") -> dict[str, Any]:
    """What structlog, which writes a task's lines, adds to each of them once the task has begun."""

    def run() -> dict[str, Any]:
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(run_id="of Airflow")
        name_in_log({"task": SimpleNamespace(op_kwargs=op_kwargs)})  # type: ignore[typeddict-item]
        if release:
            json_log.know(release=release)
        return dict(structlog.contextvars.get_contextvars())

    return contextvars.copy_context().run(run)


@pytest.mark.parametrize(
    ("op_kwargs", "partition"),
    [
        ({"date": "2026-02-09"}, "2026-02-09"),
        ({"partition": {"landing": "/x", "date": "2026-02-09"}}, "2026-02-09"),
        ({"dates": ["2026-02-09", "2026-02-10"]}, "2026-02-09, 2026-02-10"),
        ({"plan": {}, "regime": "stressed"}, "stressed"),
        ({}, None),
        (None, None),
    ],
)
def test_a_tasks_lines_name_its_partition(op_kwargs, partition):
    found = carried(op_kwargs)
    assert found.get("partition") == partition
    assert found["run_id"] == "of Airflow"


def test_a_tasks_lines_name_the_release_it_learns_of():
    assert carried({"date": "2026-02-09"}, "abc") == {
        "run_id": "of Airflow", "partition": "2026-02-09", "release": "abc",
    }  # fmt: skip


def test_every_task_begins_so():
    assert DEFAULTS["on_execute_callback"] == [name_in_log]
