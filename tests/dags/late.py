"""Runs of the DAGs in Airflow's own database, one of them late. Told as JSON.

`python -m tests.dags.late HOME`, for a home whose Airflow database is migrated. DAGs are written as
the DAG processor writes them, runs as the scheduler and the REST API make them, and what the
scheduler does every five seconds with deadlines that have passed is done once.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ops import airflow_env

LATE = "daily_tca"


def main(home: Path) -> None:
    airflow_env.enter(home, AIRFLOW__LOGGING__LOGGING_LEVEL="ERROR")
    from airflow.utils.session import create_session

    with create_session() as session:
        write_dags(session)
    with create_session() as session:
        told: dict[str, Any] = {"due": make_runs(session), "before": read(home)}
    with create_session() as session:
        clear(session)
    with create_session() as session:
        told["cleared"] = due(session)
        turn_back(session)
    told["after"] = read(home)
    with create_session() as session:
        told["said"] = miss(session)
    told["missed"] = read(home)
    print(json.dumps(told))


def write_dags(session: Any) -> None:
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.models.dagbundle import DagBundleModel

    session.merge(DagBundleModel(name="dags-folder"))
    session.flush()
    bag = DagBag(str(airflow_env.DAGS), bundle_name="dags-folder", bundle_path=airflow_env.DAGS)
    sync_bag_to_db(bag, "dags-folder", None, session=session)


def make_runs(session: Any) -> dict[str, float]:
    """A queued run of each DAG; when each is due."""
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.utils.state import DagRunState
    from airflow.utils.types import DagRunTriggeredByType, DagRunType

    for dag_id in sorted(SerializedDagModel.read_all_dags(session=session)):
        dag = SerializedDagModel.get_dag(dag_id, session=session)
        dag.create_dagrun(
            run_id=f"late-{dag_id}", run_after=datetime.now(UTC), run_type=DagRunType.MANUAL,
            triggered_by=DagRunTriggeredByType.TEST, state=DagRunState.QUEUED, session=session,
        )  # fmt: skip
    session.flush()
    return due(session)


def due(session: Any) -> dict[str, float]:
    """By DAG, seconds from a run's queueing to its deadline."""
    from airflow.models.deadline import Deadline
    from sqlalchemy import select

    deadlines = session.scalars(select(Deadline))
    return {
        row.dagrun.dag_id: (row.deadline_time - row.dagrun.queued_at).total_seconds()
        for row in deadlines
    }


def clear(session: Any) -> None:
    """What an operator does to a run that failed; it is queued anew, and due later."""
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import clear_task_instances
    from airflow.utils.state import DagRunState, TaskInstanceState
    from sqlalchemy import select

    for run in session.scalars(select(DagRun)):
        if not run.run_id.startswith("late-"):
            continue
        tasks = run.get_task_instances(session=session)
        for task in tasks:
            task.state = TaskInstanceState.FAILED
        run._state = DagRunState.FAILED
        session.flush()
        clear_task_instances(tasks, session)


def turn_back(session: Any) -> None:
    """One run was queued a day ago."""
    from airflow.models.deadline import Deadline
    from sqlalchemy import select

    for row in session.scalars(select(Deadline)):
        if row.dagrun.dag_id == LATE:
            row.deadline_time -= timedelta(days=1)


def miss(session: Any) -> list[str]:
    """As the scheduler does; then what the callback says, given what the executor would give it."""
    from airflow.models.deadline import Deadline
    from airflow.sdk._shared.module_loading import import_string
    from sqlalchemy import select

    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("crossimpact").addHandler(handler)
    passed = Deadline.deadline_time < datetime.now(UTC)
    for row in session.scalars(select(Deadline).where(passed, ~Deadline.missed)):
        row.handle_miss(session)
        import_string(row.callback.data["path"])(**row.callback.data["kwargs"])
    return said


def read(home: Path) -> dict[str, float]:
    """What the exporter says of runs and deadlines."""
    from pipelines.monitoring import dag_runs

    found = dag_runs.database(home)
    assert found is not None
    with found.connect() as connection:
        return {
            f"{s.family.name}{list(s.labels)}": s.value
            for s in dag_runs.samples(connection, datetime.now(UTC))
        }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
