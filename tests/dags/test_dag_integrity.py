"""The DAGs parse, say who owns them and how they fail, and parse without heavy imports."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from crossimpact.errors import ContractViolation, GateRefused, Unavailable, UsageError
from crossimpact.ladder import REGIMES
from dags import common
from ops import dagrun
from ops.airflow_env import DAGS, ROOT
from pipelines.plan import RefitPlan

if TYPE_CHECKING:
    from airflow.sdk import DAG

IDS = (
    "daily_tca", "monthly_refit", "rollout", "shadow_daily", "validate_contract", "weekly_drift",
)  # fmt: skip
FILES = sorted(path for path in DAGS.glob("*.py") if path.stem in IDS)
PLAN = RefitPlan("k", "own", 300, Path("/l"), ("2026-03-31",), "huber")
HEAVY = ("duckdb", "mlflow", "great_expectations", "sklearn", "pandas", "pyarrow", "matplotlib")


@pytest.fixture(scope="module")
def dags() -> dict[str, DAG]:
    return dagrun.load()


@pytest.fixture(params=IDS)
def dag(request: pytest.FixtureRequest, dags: dict[str, DAG]) -> DAG:
    return dags[request.param]


def test_the_folder_holds_exactly_these_dags(dags):
    assert sorted(dags) == list(IDS)
    assert [path.stem for path in FILES] == list(IDS)


def test_dag_is_documented_tagged_and_bounded(dag):
    assert dag.doc_md
    assert "docs/operations.md" in dag.doc_md
    assert 20 < len(dag.description) <= 100
    assert dag.tags >= {"crossimpact"}
    assert dag.max_active_runs == 1
    assert not dag.catchup
    assert dag.dagrun_timeout


def test_tasks_have_an_owner_retries_a_timeout_and_a_retry_policy(dag):
    for task in dag.tasks:
        assert task.owner == "execution-research"
        assert task.retries >= 2
        assert task.retry_exponential_backoff
        assert timedelta(0) < task.execution_timeout <= timedelta(hours=1)
        assert task.has_retry_policy
        assert task.has_on_failure_callback


def test_tasks_say_what_they_do(dag):
    for task in dag.tasks:
        described = task.partial_kwargs if task.is_mapped else vars(task)
        assert described.get("doc_md"), task.task_id


def test_assets_say_what_they_are(dags):
    (accepted,) = dags["validate_contract"].get_task("verdict").outlets
    (wanted,) = dags["weekly_drift"].get_task("want_refit").outlets
    assert "daily_tca" in accepted.extra["description"]
    assert "monthly_refit" in wanted.extra["description"]


def test_logs_are_named_after_the_platform_not_after_a_parsed_file(dags):
    import logging

    from dags import common, runs

    assert runs.log is logging.getLogger("crossimpact")
    for path in DAGS.glob("*.py"):
        assert "getLogger(__name__)" not in path.read_text(), path
    assert common.log is runs.log


def test_params_have_a_schema_and_valid_defaults(dag):
    for name in dag.params:
        param = dag.params.get_param(name)
        assert param.schema["type"]
        assert param.schema["title"]
        assert param.description
    dag.params.validate()


@pytest.mark.parametrize(
    ("dag_id", "name", "value"),
    [
        ("validate_contract", "date", "yesterday"),
        ("monthly_refit", "flow", "peer"),
        ("monthly_refit", "window_days", 0),
        ("monthly_refit", "bucket", "five minutes"),
        ("monthly_refit", "loss", "squares"),
        ("daily_tca", "landing", ""),
    ],
)
def test_a_wrong_param_is_refused(dags, dag_id, name, value):
    from airflow.sdk.exceptions import ParamValidationError

    with pytest.raises(ParamValidationError):
        dags[dag_id].params.get_param(name).resolve(value)


def test_the_verdict_announces_what_the_tca_waits_for(dags):
    (outlet,) = dags["validate_contract"].get_task("verdict").outlets
    assert outlet.name == "accepted_partitions"
    assert dags["daily_tca"].timetable.asset_condition.objects == (outlet,)


def test_drift_asks_for_the_refit_that_waits_for_it_or_the_clock(dags):
    wanted, refit = dags["weekly_drift"].get_task("want_refit"), dags["monthly_refit"].timetable
    assert [asset.name for asset in wanted.outlets] == ["refit_wanted"]
    assert refit.asset_condition.objects == tuple(wanted.outlets)
    assert refit.timetable.summary == "0 3 1 * *"
    others = {t.task_id for t in dags["weekly_drift"].tasks if t.outlets} - {"want_refit"}
    assert not others


def test_the_refit_fits_every_regime(dags):
    assert dags["monthly_refit"].get_task("fit").op_kwargs_expand_input.value == {
        "regime": list(REGIMES)
    }


def test_silence_is_a_no_and_the_run_lives_to_hear_it(dags):
    refit = dags["monthly_refit"]
    approve = refit.get_task("approve")
    assert approve.defaults == ["Reject"]
    assert not approve.fail_on_reject
    assert timedelta(days=1) <= approve.response_timeout < refit.dagrun_timeout
    assert approve.upstream_task_ids == {"gates", "decide"}
    assert approve.downstream_task_ids == {"promote"}


def test_no_form_promotes_unasked_and_no_reason_is_demanded(dags):
    """Whoever may trigger a run could else promote without a second login."""
    assert "auto_promote" not in dags["monthly_refit"].params
    reason = dags["monthly_refit"].get_task("approve").params.get_param("reason")
    assert reason.resolve(None) is None
    assert "null" in reason.schema["type"]


def test_a_refit_waits_for_the_one_before_it(dags):
    turn = dags["monthly_refit"].get_task("turn")
    assert turn.mode == "reschedule"  # it holds no worker
    assert turn.downstream_task_ids == {"plan"}
    assert not turn.upstream_task_ids
    longest = timedelta(seconds=turn.timeout)
    assert longest > timedelta(days=3)
    approve = dags["monthly_refit"].get_task("approve")  # who waited long is heard as long
    assert longest + approve.response_timeout < dags["monthly_refit"].dagrun_timeout


def test_an_event_brings_its_landing_zone_flow_and_bucket(dags, monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr("pipelines.refit.plan", lambda *args: seen.append(args) or PLAN)
    plan = dags["monthly_refit"].get_task("plan").python_callable
    params = {name: value.value for name, value in dags["monthly_refit"].params.items()}
    desk, other = tmp_path / "desk", tmp_path / "other"
    desk.mkdir(), other.mkdir()
    extra = {"landing": str(desk), "flow": "public", "bucket": "60s", "release": "abc", "why": {}}
    events = [SimpleNamespace(extra=extra), SimpleNamespace(extra={})]  # one made by hand
    slot = datetime(2026, 4, 1, 3, tzinfo=UTC)
    by_asset = SimpleNamespace(run_type="asset_triggered", logical_date=None, run_after=slot)
    backfill = SimpleNamespace(run_type="backfill", logical_date=slot, run_after=slot)
    plan(params, triggering_asset_events={"refit_wanted": events}, dag_run=by_asset)
    plan(params | {"landing": str(other)}, triggering_asset_events={}, dag_run=backfill)
    (wanted, zone, *rest), (usual, given, last, *_) = seen
    assert last == "2026-03-31"
    assert (wanted.flow, wanted.bucket_s, zone) == ("public", 60, desk)
    assert (usual.flow, usual.bucket_s, given) == ("own", 300, other)
    *asked, now = rest
    assert asked == [None, None, "huber"]
    assert abs(datetime.now(UTC) - now) < timedelta(minutes=5)  # what is later is refused


@pytest.mark.parametrize("task", ["contract", "features", "moments", "fit", "register"])
def test_a_worker_with_other_code_than_the_plans_is_told_apart_and_tried_again(dags, task):
    callable_ = dags["monthly_refit"].get_task(task).python_callable
    rest = {"features": ["2026-03-31"], "moments": [["2026-03-31"]], "fit": ["normal"]}
    plan = common.handed_on(PLAN) | {common.CODE: "0" * 64}
    with pytest.raises(Unavailable, match="the run was planned by 000000000000") as told:
        callable_(plan, *rest.get(task, []))
    assert "deploy one version on every worker" in str(told.value.hint)
    assert common.planned(common.handed_on(PLAN)) == PLAN


def test_no_dag_reads_a_date_of_the_future(dags, tmp_path):
    (tmp_path / "instruments" / "date=2226-01-05").mkdir(parents=True)
    asked = {"landing": str(tmp_path), "date": None, "as_of": None}
    asked |= {"flow": "own", "bucket": "5min", "window_days": 60, "loss": "huber"}
    run = SimpleNamespace(run_type="manual", logical_date=None, run_after=datetime.now(UTC))
    by_hand = {"triggering_asset_events": {}}
    for dag, task, params, given in (
        ("monthly_refit", "plan", asked, by_hand | {"dag_run": run}),
        ("weekly_drift", "drift", asked, {"dag_run": run}),
        ("validate_contract", "pending", asked, {}),
        ("validate_contract", "pending", asked | {"date": "2226-01-05"}, {}),
        ("daily_tca", "partitions", asked | {"date": "2226-01-05"}, by_hand),
    ):
        with pytest.raises(UsageError, match="2226-01-05 is in the future, today is"):
            dags[dag].get_task(task).python_callable(params, **given)


NOBODY = SimpleNamespace(triggering_user_name=None, run_id="r")
ANNA = SimpleNamespace(triggering_user_name="anna", run_id="r")


@pytest.mark.parametrize(
    "reply",
    [
        None,
        {"chosen_options": ["Reject"], "responded_by_user": {"id": "1", "name": "anna"}},
        {"chosen_options": ["Approve"], "responded_by_user": None},
    ],
)
def test_a_task_marked_as_successful_is_no_approval(dags, reply):
    from airflow.sdk.exceptions import AirflowSkipException

    promote = dags["monthly_refit"].get_task("promote").python_callable
    with pytest.raises(AirflowSkipException, match="nobody has approved"):
        promote({}, {}, {}, reply, dag_run=NOBODY, triggering_asset_events={})


@pytest.mark.parametrize("user", [{"id": "1", "name": "anna"}, {"id": "anna", "name": "Anna B."}])
def test_an_approval_by_who_triggered_the_run_is_refused_by_name(dags, user):
    """Whatever way the answer came in: the operator asks again, and the promotion looks, too."""
    promote = dags["monthly_refit"].get_task("promote").python_callable
    reply = {"chosen_options": ["Approve"], "responded_by_user": user, "params_input": {}}
    with pytest.raises(GateRefused, match="anna triggered this run and cannot approve it"):
        promote({}, {}, {}, reply, dag_run=ANNA, triggering_asset_events={})


def test_work_is_mapped_where_it_splits(dags):
    mapped = {f"{d.dag_id}.{t.task_id}" for d in dags.values() for t in d.tasks if t.is_mapped}
    assert mapped == {
        "validate_contract.validate",
        "monthly_refit.features",
        "monthly_refit.moments",
        "monthly_refit.fit",
        "daily_tca.tca",
        "shadow_daily.shadow",
    }


def test_the_platforms_own_errors_fail_at_once_and_the_disks_are_retried():
    from airflow.sdk import RetryAction

    from dags.common import RETRY_POLICY

    def action(error: BaseException) -> RetryAction:
        return RETRY_POLICY.evaluate(error, try_number=1, max_tries=3).action

    for error in (ContractViolation("x"), UsageError("x"), GateRefused("x")):
        assert action(error) is RetryAction.FAIL
    for error in (ConnectionError("x"), Unavailable("x")):
        assert action(error) is RetryAction.RETRY
    assert action(ZeroDivisionError("x")) is RetryAction.DEFAULT


def test_a_dag_file_that_does_not_import_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "broken.py").write_text("from airflow.sdk import dag\nimport no_such_module\n")
    monkeypatch.setattr(dagrun, "DAGS", tmp_path)
    with pytest.raises(
        dagrun.CrossImpactError, match=r"broken\.py does not import.*no_such_module"
    ):
        dagrun.load()


def test_parsing_is_light():
    """What a DAG file costs the DAG processor at every parse: none of the heavy packages."""
    script = (
        "import sys, airflow.sdk; before = set(sys.modules)\n"
        "import dags.validate_contract, dags.monthly_refit, dags.weekly_drift, dags.daily_tca\n"
        "import dags.shadow_daily\n"
        f"print(*sorted((set(sys.modules) - before) & {set(HEAVY)!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""
