"""Monthly: estimate the cross-impact matrices of a window and register them as challenger."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import CronTriggerTimetable, Param, dag, task

from dags.common import (
    DEFAULTS,
    START,
    bucket_param,
    date_param,
    flow_param,
    landing,
    landing_param,
    settings,
)

DOC = """
### Refit

`plan` fixes the window; the contract's verdict over its dates must pass; features are built date by
date and fits made regime by regime; `register` bundles the matrices, the fallback policy and the
report into one release and registers it as **challenger**. With `auto_promote` the gates decide
whether the alias `champion` moves to it.

*If a gate refuses,* `promote` is skipped with the gate's reason in its log and the champion stays.
To overrule: `crossimpact promote --release ID --override --reason ... --approver ...`.
A rerun over the same data gives the same digest and registers nothing new.
"""


@dag(
    schedule=CronTriggerTimetable("0 3 1 * *", timezone="UTC"),
    start_date=START,
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=6),
    default_args=DEFAULTS,
    tags=["crossimpact", "model", "monthly"],
    doc_md=DOC,
    params={
        "landing": landing_param(),
        "as_of": date_param("As of", "Last date of the window; empty: the last landed date"),
        "window_days": Param(
            60, type="integer", minimum=1, maximum=1000, title="Trading days in the window"
        ),
        "flow": flow_param(),
        "bucket": bucket_param(),
        "auto_promote": Param(
            False, type="boolean", title="Promote", description="Promote if every gate agrees"
        ),
    },
)
def monthly_refit() -> None:
    @task(multiple_outputs=False)
    def plan(params: Any = None) -> dict[str, Any]:
        """Which dates, which data, under which key."""
        from pipelines import refit

        root = landing(params).root
        return refit.plan(settings(params), root, params["as_of"], params["window_days"])

    @task
    def contract(plan: dict[str, Any], params: Any = None) -> list[str]:
        """The window keeps the contract; its dates and those its regime labels look back on."""
        from pipelines import features, validate

        validate.run(settings(params), landing(params), plan["dates"])
        return features.readable(settings(params), landing(params), plan["dates"])

    @task(map_index_template="{{ task.op_kwargs['date'] }}")
    def features(date: str, params: Any = None) -> dict[str, Any]:
        """Buckets of one date."""
        from pipelines import features

        return features.build(settings(params), date)

    @task
    def regimes(plan: dict[str, Any], read: list[str], params: Any = None) -> list[str]:
        """Label the buckets of the window and sum up its new days; the regimes to fit."""
        from crossimpact.estimate.design import REGIMES
        from pipelines import features, moments

        features.label(settings(params), plan["dates"], read)
        moments.prepare(settings(params), plan["dates"], ("linear",))
        return list(REGIMES)

    @task(map_index_template="{{ task.op_kwargs['regime'] }}")
    def fit(plan: dict[str, Any], regime: str, params: Any = None) -> dict[str, Any]:
        """One regime's matrix, stabilised."""
        from pipelines import refit

        return refit.fit(settings(params), plan, regime)

    @task
    def register(plan: dict[str, Any], params: Any = None) -> dict[str, Any]:
        """One release of all regimes, registered as challenger."""
        from pipelines import refit

        return refit.assemble(settings(params), plan)

    @task
    def promote(release: dict[str, Any], params: Any = None) -> dict[str, Any]:
        """Ask the gates."""
        from datetime import UTC, datetime

        from airflow.sdk.exceptions import AirflowSkipException

        from crossimpact.errors import GateRefused
        from pipelines.release import promote

        if not params["auto_promote"]:
            raise AirflowSkipException("auto_promote is off: the challenger waits for an approver")
        try:
            return promote(
                settings(params), release["release"], who="monthly_refit", now=datetime.now(UTC)
            ).to_dict()
        except GateRefused as refusal:
            raise AirflowSkipException(f"the champion stays: {refusal}") from refusal

    window = plan()
    dates = contract(window)
    labelled = regimes(window, dates)
    release = register(window)
    features.expand(date=dates) >> labelled
    fit.partial(plan=window).expand(regime=labelled) >> release
    promote(release)


monthly_refit()
