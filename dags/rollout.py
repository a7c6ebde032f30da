"""Hourly: a rollout's salts, its stop gates, and what people are to be told."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import dag, task

from dags.common import DEFAULTS, START, cron, due, settings
from dags.runs import log

DOC = """
### Rollout

Each hour: reveals the salts of dates that are over, asks the stop gates of the stage in force and
takes the rollout down to its first stage when one fails; commits to the salt of the date that has
begun, UTC; sends alerts that wait and reminds of approvals. Nothing of it is done twice. Where the
market opens before 01:00 UTC, commit earlier: `crossimpact rollout commit`.

*If `judge` fails* with *stale model*, there is no champion, and the rollout is down.

*Read:* `docs/rollout.md`, `docs/operations.md`.
"""


@dag(
    description="Judges and draws a rollout by the hour; sends alerts and reminders",
    schedule=cron("5 * * * *"),
    start_date=START,
    catchup=False,
    max_active_runs=1,
    deadline=due(timedelta(minutes=50)),
    dagrun_timeout=timedelta(minutes=55),
    default_args=DEFAULTS,
    tags=["crossimpact", "rollout", "hourly"],
    doc_md=DOC,
)
def rollout() -> None:
    @task(doc_md="Reveal, ask the stop gates, go down when one fails.")
    def judge() -> dict[str, Any]:
        from datetime import UTC, datetime

        from crossimpact.errors import StaleModel
        from pipelines.rollout import in_force, notices, steps

        home, now = settings({}), datetime.now(UTC)
        if not in_force.is_on(home):
            return {"stage": ""}
        try:
            moved = steps.judge(home, who="rollout", now=now)
        except StaleModel as error:
            notices.stale(home, error, now)
            raise
        notices.moved(home, moved, now)
        log.info("stage %s%s", moved.stage, f": {moved.why}" if moved.why else "")
        return {"stage": moved.stage}

    @task(doc_md="Commit to the salt of the date that has begun.")
    def commit(judged: dict[str, Any]) -> None:
        from datetime import UTC, datetime

        from pipelines.rollout import drawing

        home, now = settings({}), datetime.now(UTC)
        if not judged["stage"] or not drawing.draws(home):
            log.info("no stage that draws is in force")
            return
        made = drawing.commit(home, now.date().isoformat(), who="rollout", now=now)
        log.info("%s: salt committed, %s", made.date, made.commitment)

    @task(doc_md="Send what waits; remind of approvals.", trigger_rule="all_done")
    def alerts() -> None:
        from datetime import UTC, datetime

        from pipelines.alerts import outbox

        sent = outbox.send(settings({}), datetime.now(UTC))
        log.info("%d messages sent, %d wait", sent.sent, sent.waiting)

    commit(judge()) >> alerts()


rollout()
