"""Monthly, or when drift asks: fit the matrices of a window; gates and a human choose champion."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import AssetOrTimeSchedule, CronTriggerTimetable, Param, dag, task

from dags.common import (
    DEFAULTS,
    REFIT_WANTED,
    START,
    announced,
    bucket_param,
    date_param,
    flow_param,
    landing,
    landing_param,
    runs_of,
    settings,
    settings_of,
)

REGIMES = ["normal", "stressed"]
ANSWER_WITHIN = timedelta(days=3)  # a weekend; who is silent has said no

DOC = """
### Refit

Starts on the first of the month, and when `weekly_drift` updates `refit_wanted`: then on the
landing zone, flow and bucket width of the event.

`plan` fixes the window; the contract's verdict over its dates must pass; features and moments are
made date by date and fits regime by regime; `register` bundles the matrices, the fallback policy
and the report into one release and registers it as **challenger**. `gates` asks every gate, the
refit done again in another process among them. Then `decide` chooses:

- a gate refuses: nobody is asked and the champion stays; `gates` lists the rows that refused. To
  overrule: `crossimpact promote --release ID --override --reason ... --approver ...`;
- `auto_promote`: the alias `champion` moves to the challenger;
- otherwise `approve` shows the gates under *Required Actions* and waits for a human, three days at
  most. **Approve** promotes in the responder's name; **Reject**, or silence, leaves the champion.

An approval holds for the champion it was asked about: once that changed, clear `gates` to ask anew.
While a run waits, the next one queues. A rerun over the same data registers and promotes nothing
new.
"""


@dag(
    schedule=AssetOrTimeSchedule(
        timetable=CronTriggerTimetable("0 3 1 * *", timezone="UTC"), assets=[REFIT_WANTED]
    ),
    start_date=START,
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=ANSWER_WITHIN + timedelta(hours=6),
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
        "loss": Param(
            "huber",
            type="string",
            enum=["huber", "quantile"],
            title="Loss",
            description="Of the self fit; quantile: the median, whatever the tails",
        ),
        "auto_promote": Param(
            False, type="boolean", title="Promote", description="Ask the gates only, no human"
        ),
    },
)
def monthly_refit() -> None:
    @task(multiple_outputs=False)
    def plan(params: Any = None, triggering_asset_events: Any = None) -> dict[str, Any]:
        """Which dates, which data, under which key."""
        from pipelines import refit

        asked = dict(params)
        for event in announced(triggering_asset_events):
            asked |= {k: event.extra[k] for k in ("landing", "flow", "bucket") if k in event.extra}
        return refit.plan(
            settings(asked),
            landing(asked).root,
            asked["as_of"],
            asked["window_days"],
            asked["loss"],
        )

    @task
    def contract(plan: dict[str, Any]) -> list[str]:
        """The window keeps the contract; its dates and those its regime labels look back on."""
        from pipelines import features, validate

        validate.run(settings_of(plan), landing(plan), plan["dates"])
        return features.readable(settings_of(plan), landing(plan), plan["dates"])

    @task(map_index_template="{{ task.op_kwargs['date'] }}")
    def features(plan: dict[str, Any], date: str) -> dict[str, Any]:
        """Buckets of one date."""
        from pipelines import features

        return features.build(settings_of(plan), date)

    @task
    def regimes(plan: dict[str, Any], read: list[str]) -> list[list[str]]:
        """Label the buckets of the window; its dates in runs."""
        from pipelines import features

        features.label(settings_of(plan), plan["dates"], read)
        return runs_of(plan["dates"])

    @task(map_index_template="{{ task.op_kwargs['dates'][0] }}")
    def moments(plan: dict[str, Any], dates: list[str]) -> dict[str, Any]:
        """What each date of a run adds to the estimators' sums."""
        from pipelines import moments

        return moments.prepare(settings_of(plan), dates, ("linear",))

    @task(map_index_template="{{ task.op_kwargs['regime'] }}")
    def fit(plan: dict[str, Any], regime: str) -> dict[str, Any]:
        """One regime's matrix, stabilised."""
        from pipelines import refit

        return refit.fit(settings_of(plan), plan, regime)

    @task(multiple_outputs=False)
    def register(plan: dict[str, Any]) -> dict[str, Any]:
        """One release of all regimes, registered as challenger."""
        from pipelines import refit

        return refit.assemble(settings_of(plan), plan)

    @task(multiple_outputs=True)
    def gates(plan: dict[str, Any], challenger: dict[str, Any]) -> dict[str, Any]:
        """What each gate says of the challenger, and the question a human would be asked."""
        from datetime import UTC, datetime

        from dags.approval import question, standing
        from pipelines.promotion import check

        live = standing(settings_of(plan))  # before the gates: they judge this champion or a later
        said = check(settings_of(plan), challenger["release"], now=datetime.now(UTC))
        return said | live | question(challenger, said["gates"], live["champion"])

    @task.branch
    def decide(asked: dict[str, Any], params: Any = None) -> str | None:
        """Nobody is asked when a gate refuses; no human with `auto_promote`."""
        from dags.approval import settled

        if why := settled(asked):
            logging.getLogger(__name__).warning("the champion stays: %s", why)
            return None
        return "promote" if params["auto_promote"] else "approve"

    @task(trigger_rule="none_failed_min_one_success")
    def promote(
        plan: dict[str, Any],
        asked: dict[str, Any],
        reply: Any,
        params: Any = None,
        run_id: Any = None,
    ) -> dict[str, Any]:
        """Move the alias in the name of who said so; cleared, it changes nothing."""
        from datetime import UTC, datetime

        from airflow.sdk.exceptions import AirflowSkipException

        from crossimpact.errors import GateRefused
        from dags.approval import approved, signature, standing
        from pipelines import promotion

        if not params["auto_promote"] and not approved(reply):
            raise AirflowSkipException("the champion stays: nobody has approved")
        live = standing(settings_of(plan))
        if live["changes"] != asked["changes"]:
            if live["champion"] == asked["release"]:
                return live  # by an earlier try of this task
            raise AirflowSkipException(
                f"the champion is {live['champion']} since the gates were asked: "
                "clear `gates` to ask anew"
            )
        who, why = signature(reply, run_id)
        try:
            return promotion.promote(
                settings_of(plan), asked["release"], who=who, reason=why, now=datetime.now(UTC)
            ).to_dict()
        except GateRefused as refusal:
            raise AirflowSkipException(f"the champion stays: {refusal}") from refusal

    window = plan()
    dates = contract(window)
    labelled = regimes(window, dates)
    challenger = register(window)
    features.partial(plan=window).expand(date=dates) >> labelled
    sums = moments.partial(plan=window).expand(dates=labelled)
    sums >> fit.partial(plan=window).expand(regime=REGIMES) >> challenger
    asked = gates(window, challenger)
    approve = ApprovalOperator(
        task_id="approve",
        subject=asked["subject"],
        body=asked["body"],
        defaults="Reject",
        response_timeout=ANSWER_WITHIN,
        params={"reason": Param("", type="string", title="Why", description="Kept in the ledger")},
    )
    promoted = promote(window, asked, approve.output)
    decide(asked) >> [approve, promoted]


monthly_refit()
