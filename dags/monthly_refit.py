"""Monthly, or when drift asks: fit the matrices of a window; gates and a human choose champion."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import AssetOrTimeSchedule, Param, dag, task

from crossimpact.ladder import REGIMES
from dags.approval import SecondLoginApproval
from dags.common import (
    DEFAULTS,
    REFIT_WANTED,
    START,
    announced,
    bucket_param,
    cron,
    date_param,
    due,
    flow_param,
    handed_on,
    landing,
    landing_param,
    mlflow_links,
    planned,
    runs_of,
    settings,
    settings_of,
)
from dags.runs import log

ANSWER_WITHIN = timedelta(days=3)  # a weekend; who is silent has said no
WAIT = ANSWER_WITHIN + timedelta(hours=5)  # for the run before to be over
UNFINISHED = ("queued", "running")

DOC = """
### Refit

Starts on the first of the month, and when `weekly_drift` updates `refit_wanted`: then on the
landing zone, flow and bucket width of the event. Unpausing it starts nothing.

`turn` waits until no other refit of this home runs, backfills included. `plan` fixes the window;
the contract's verdict over its dates must pass; features and moments are made date by date and fits
regime by regime; `register` bundles the matrices, the fallback policy and the report into one
release and registers it as **challenger**. `gates` asks every gate, the refit done again in another
process among them. Then `decide` chooses:

- a gate refuses: nobody is asked and the champion stays; `gates` lists the rows that refused. To
  overrule: `crossimpact promote --release ID --override --reason ... --approver ...`;
- `approve` shows under *Required Actions* what would change and every gate, and waits for a human,
  three days at most. **Approve** promotes in the responder's name; **Reject**, or silence, leaves
  the champion. Whoever triggered the run cannot approve it: another login has to;
- only where the deployment sets `CROSSIMPACT_AUTO_PROMOTE=1`, a run that no person started promotes
  what the gates let through.

An approval holds for the champion it was asked about: once that changed, clear `gates` to ask anew.
While a run waits, the next one queues. A rerun over the same data registers and promotes nothing
new.

The window ends on `as_of`; without it, a scheduled or backfilled run ends on the day before its own
date, any other on the last landed date. Data older than a week are told in the log and to whoever
approves; a scheduled or backfilled run whose data are more than 45 days old fails.

*Read:* `docs/releases.md` (gates, ledger), `docs/estimation.md` (the fit), `docs/operations.md`.
"""


@dag(
    description="Fits a window, registers a challenger, asks the gates and then a human",
    schedule=AssetOrTimeSchedule(timetable=cron("0 3 1 * *"), assets=[REFIT_WANTED]),
    start_date=START,
    catchup=False,
    max_active_runs=1,
    deadline=due(timedelta(days=1)),
    dagrun_timeout=WAIT + ANSWER_WITHIN + timedelta(hours=2),
    default_args=DEFAULTS,
    tags=["crossimpact", "model", "monthly"],
    doc_md=DOC,
    params={
        "landing": landing_param(),
        "as_of": date_param(
            "As of",
            "Last date of the window; empty: the run's own date, by hand the last landed one",
        ),
        "window_days": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            maximum=1000,
            title="Window",
            description="Trading days in the window, fewer when fewer are landed; empty: as the "
            "desk's policy says (60)",
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
    },
)
def monthly_refit() -> None:
    @task.sensor(mode="reschedule", poke_interval=60, timeout=WAIT.total_seconds())
    def turn(dag_run: Any = None, ti: Any = None) -> bool:
        """Wait until no other refit of this home runs; backfills have a limit of their own."""
        from airflow.sdk.exceptions import AirflowRuntimeError

        from pipelines.store import lease
        from pipelines.store.settings import default_home

        def lives(run_id: str) -> bool:
            try:
                return ti.get_dagrun_state(dag_run.dag_id, run_id) in UNFINISHED
            except AirflowRuntimeError:  # it was deleted
                return False

        other = lease.take(default_home() / "run" / "monthly_refit", dag_run.run_id, lives)
        if other:
            log.info("run %s is not over: this one waits", other)
        return other is None

    @task(multiple_outputs=False)
    def plan(
        params: Any = None, triggering_asset_events: Any = None, dag_run: Any = None
    ) -> dict[str, Any]:
        """Which dates, which data, under which key."""
        from datetime import UTC, datetime

        from dags import summaries
        from dags.runs import as_of, staleness
        from pipelines import refit

        asked = dict(params)
        for event in announced(triggering_asset_events):
            asked |= {k: event.extra[k] for k in ("landing", "flow", "bucket") if k in event.extra}
        result = refit.plan(
            settings(asked),
            landing(asked).root,
            as_of(asked, dag_run),
            asked["window_days"],
            asked["loss"],
            datetime.now(UTC),
        )
        summaries.say(summaries.plan(result, staleness(result.dates[-1], dag_run)))
        return handed_on(result)

    @task
    def contract(plan: dict[str, Any]) -> list[str]:
        """The window keeps the contract; its dates and those its regime labels look back on."""
        from pipelines import features, validate

        window = planned(plan)
        validate.run(settings_of(window), landing(plan), window.dates)
        return features.readable(settings_of(window), landing(plan), window.dates)

    @task(map_index_template="{{ task.op_kwargs['date'] }}", doc_md="Buckets of one date.")
    def features(plan: dict[str, Any], date: str) -> dict[str, Any]:
        from pipelines import features

        return features.build(settings_of(planned(plan)), date)

    @task
    def regimes(plan: dict[str, Any], read: list[str]) -> list[list[str]]:
        """Label the buckets of the window; its dates in runs."""
        from pipelines import features

        window = planned(plan)
        features.label(settings_of(window), window.dates, read)
        return runs_of(window.dates)

    @task(
        map_index_template="{{ task.op_kwargs['dates'][0] }}",
        doc_md="What each date of a run adds to the estimators' sums.",
    )
    def moments(plan: dict[str, Any], dates: list[str]) -> dict[str, Any]:
        from pipelines import moments

        return moments.prepare(settings_of(planned(plan)), dates, ("linear",))

    @task(
        map_index_template="{{ task.op_kwargs['regime'] }}",
        doc_md="One regime's matrix, stabilised.",
    )
    def fit(plan: dict[str, Any], regime: str) -> dict[str, Any]:
        from pipelines import refit

        window = planned(plan)
        made = refit.fit(settings_of(window), window, regime)
        return {"regime": regime, "rung": made.rung, "reason": made.reason}

    @task(multiple_outputs=False)
    def register(plan: dict[str, Any], dag_run: Any = None) -> dict[str, Any]:
        """One release of all regimes, registered as challenger."""
        from dags import summaries
        from dags.runs import origin
        from pipelines import refit

        window = planned(plan)
        made = refit.assemble(settings_of(window), window, origin(dag_run))
        links = mlflow_links(settings_of(window), made.version, made.run_id)
        summaries.say(summaries.release(made, links))
        return made.to_dict()

    @task(multiple_outputs=True)
    def gates(
        plan: dict[str, Any], challenger: dict[str, Any], dag_run: Any = None
    ) -> dict[str, Any]:
        """What each gate says of the challenger, and the question a human would be asked."""
        from dataclasses import asdict
        from datetime import UTC, datetime

        from dags import summaries
        from dags.approval import question, standing
        from dags.runs import staleness, triggered_by
        from pipelines.comparison import compare
        from pipelines.promotion import check

        window = planned(plan)
        home = settings_of(window)
        live = standing(home)  # before the gates: they judge this champion or a later
        checked = check(home, challenger["release"], now=datetime.now(UTC))
        old = staleness(window.dates[-1], dag_run)
        links = mlflow_links(home, challenger["version"], challenger["run_id"])
        summaries.say(summaries.gates(checked, old, links))
        asked = question(
            challenger,
            checked.gates,
            compare(home, challenger["release"]),
            old=old,
            user=triggered_by(dag_run),
            links=links,
        )
        return checked.to_dict() | asdict(live) | asked

    @task.branch
    def decide(
        asked: dict[str, Any], dag_run: Any = None, triggering_asset_events: Any = None
    ) -> str | None:
        """Nobody is asked when a gate refuses, or where the deployment promotes unasked."""
        from dags.approval import settled, want_approval
        from dags.runs import promotes_unasked

        if why := settled(asked["champion"], asked["release"], asked["refused"]):
            log.warning("the champion stays: %s", why)
            return None
        if promotes_unasked(dag_run, announced(triggering_asset_events)):
            return "promote"
        want_approval(asked, dag_run.run_id)
        return "approve"

    @task(trigger_rule="none_failed_min_one_success")
    def promote(
        plan: dict[str, Any],
        asked: dict[str, Any],
        challenger: dict[str, Any],
        reply: Any,
        dag_run: Any = None,
        triggering_asset_events: Any = None,
    ) -> dict[str, Any]:
        """Move the alias in the name of who said so; cleared, it changes nothing."""
        from dataclasses import asdict
        from datetime import UTC, datetime

        from airflow.sdk.exceptions import AirflowSkipException

        from crossimpact.errors import GateRefused
        from dags import summaries
        from dags.approval import Reply, approved, approves_own, own_approval, signature, standing
        from dags.runs import promotes_unasked, triggered_by
        from pipelines import promotion

        unasked = promotes_unasked(dag_run, announced(triggering_asset_events))
        answer = Reply.from_dict(reply) if reply else None
        if not unasked and not approved(answer):
            raise AirflowSkipException("the champion stays: nobody has approved")
        if (user := triggered_by(dag_run)) and answer and approves_own(answer, user):
            raise own_approval(user)
        home = settings_of(planned(plan))
        live = standing(home)
        if live.changes != asked["changes"]:
            if live.champion == asked["release"]:
                return asdict(live)  # by an earlier try of this task
            raise AirflowSkipException(
                f"the champion is {live.champion} since the gates were asked: "
                "clear `gates` to ask anew"
            )
        who, why = signature(answer, dag_run.run_id)
        try:
            done = promotion.promote(
                home,
                asked["release"],
                who=who,
                reason=why,
                now=datetime.now(UTC),
                identity="login" if approved(answer) else "name",
            )
        except GateRefused as refusal:
            raise AirflowSkipException(f"the champion stays: {refusal}") from refusal
        links = mlflow_links(home, challenger["version"], challenger["run_id"])
        summaries.say(summaries.promotion(done, who, links))
        return done.to_dict()

    window = plan()
    turn() >> window
    dates = contract(window)
    labelled = regimes(window, dates)
    challenger = register(window)
    features.partial(plan=window).expand(date=dates) >> labelled
    sums = moments.partial(plan=window).expand(dates=labelled)
    sums >> fit.partial(plan=window).expand(regime=list(REGIMES)) >> challenger
    asked = gates(window, challenger)
    approve = SecondLoginApproval(
        task_id="approve",
        doc_md="A human's answer; not that of whoever triggered the run.",
        subject=asked["subject"],
        body=asked["body"],
        defaults="Reject",
        response_timeout=ANSWER_WITHIN,
        params={
            "reason": Param(
                None,
                type=["null", "string"],
                title="Why",
                description="Optional; kept in the ledger",
            )
        },
    )
    promoted = promote(window, asked, challenger, approve.output)
    decide(asked) >> [approve, promoted]


monthly_refit()
