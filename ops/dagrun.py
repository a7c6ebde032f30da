"""Run the DAGs in this process, one task after the other, without a scheduler."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from crossimpact.errors import CrossImpactError
from ops.airflow_env import DAGS

if TYPE_CHECKING:
    from airflow.sdk import DAG


def load() -> dict[str, DAG]:
    """The DAGs by id; a file that does not import is an error, not a gap."""
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(str(DAGS))
    for path, trace in bag.import_errors.items():
        reason = trace.strip().splitlines()[-1]
        raise CrossImpactError(f"DAG file {path} does not import: {reason}")
    return dict(bag.dags)


def run(dag_id: str, conf: Mapping[str, Any]) -> None:
    """Run a DAG to its end; the error of the first task that failed is raised.

    A task that waits for a human waits until an API server of the same home brings the answer.
    """
    dag = load()[dag_id]  # anew each time: a test run leaves its conf in the params as defaults
    failures: list[tuple[str, BaseException]] = []

    def keep(context: Mapping[str, Any]) -> None:
        failures.append((context["task_instance"].task_id, context["exception"]))

    dag.deadline = None  # Airflow 3.3 stops at the end of a test run that has one
    for task in dag.tasks:
        task.retries = 0  # someone is watching: say it now, do not wait for a second try
        before = task.on_failure_callback or ()
        task.on_failure_callback = [*(before if isinstance(before, Sequence) else (before,)), keep]
    state = dag.test(run_conf=dict(conf)).state
    for task_id, error in failures:
        if isinstance(error, CrossImpactError):
            raise error
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise CrossImpactError(f"{dag.dag_id}.{task_id}: {reason}") from error
    if state != "success":
        raise CrossImpactError(f"DAG {dag.dag_id} ended as {state}")


def end_quietly(log: Path) -> None:
    """From here on stderr goes to `log`: DuckDB's bindings list their leaks when Python exits."""
    sys.stderr.flush()
    with log.open("ab") as stream:
        os.dup2(stream.fileno(), 2)


@contextmanager
def output_to(log: Path) -> Iterator[TextIO]:
    """Send whatever this process and its children print to `log`; gives the real stderr."""
    sys.stdout.flush()
    sys.stderr.flush()
    stdout, stderr = os.dup(1), os.dup(2)
    with log.open("ab") as stream, os.fdopen(os.dup(2), "w") as terminal:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
        try:
            yield terminal
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os.dup2(stdout, 1)
            os.dup2(stderr, 2)
            os.close(stdout)
            os.close(stderr)
