"""The DAGs parse, say who owns them and how they fail, and parse without heavy imports."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from crossimpact.errors import ContractViolation, GateRefused, Unavailable, UsageError
from crossimpact.estimate.design import REGIMES
from ops import dagrun
from ops.airflow_env import DAGS, ROOT

if TYPE_CHECKING:
    from airflow.sdk import DAG

IDS = ("daily_tca", "monthly_refit", "validate_contract", "weekly_drift")
FILES = sorted(path for path in DAGS.glob("*.py") if path.stem in IDS)
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


def test_params_have_a_schema_and_valid_defaults(dag):
    for name in dag.params:
        param = dag.params.get_param(name)
        assert param.schema["type"]
        assert param.schema["title"]
    dag.params.validate()


@pytest.mark.parametrize(
    ("dag_id", "name", "value"),
    [
        ("validate_contract", "date", "yesterday"),
        ("monthly_refit", "flow", "peer"),
        ("monthly_refit", "window_days", 0),
        ("monthly_refit", "bucket", "five minutes"),
        ("monthly_refit", "loss", "squares"),
        ("monthly_refit", "auto_promote", "yes"),
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
    assert refit.timetable.expression == "0 3 1 * *"
    others = {t.task_id for t in dags["weekly_drift"].tasks if t.outlets} - {"want_refit"}
    assert not others


def test_the_regimes_of_the_refit_are_those_of_the_panel(dags):
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


def test_an_event_brings_its_landing_zone_flow_and_bucket(dags, monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr("pipelines.refit.plan", lambda *args: seen.append(args))
    plan = dags["monthly_refit"].get_task("plan").python_callable
    params = {name: value.value for name, value in dags["monthly_refit"].params.items()}
    desk, other = tmp_path / "desk", tmp_path / "other"
    desk.mkdir(), other.mkdir()
    extra = {"landing": str(desk), "flow": "public", "bucket": "60s", "release": "abc", "why": {}}
    events = [SimpleNamespace(extra=extra), SimpleNamespace(extra={})]  # one made by hand
    plan(params, triggering_asset_events={"refit_wanted": events})
    plan(params | {"landing": str(other)}, triggering_asset_events={})
    (wanted, zone, *rest), (usual, given, *_) = seen
    assert (wanted.flow, wanted.bucket_s, zone) == ("public", 60, desk)
    assert (usual.flow, usual.bucket_s, given) == ("own", 300, other)
    assert rest == [None, 60, "huber"]


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
        promote({}, {}, reply, params={"auto_promote": False})


def test_work_is_mapped_where_it_splits(dags):
    mapped = {f"{d.dag_id}.{t.task_id}" for d in dags.values() for t in d.tasks if t.is_mapped}
    assert mapped == {
        "validate_contract.validate",
        "monthly_refit.features",
        "monthly_refit.moments",
        "monthly_refit.fit",
        "daily_tca.tca",
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
        f"print(*sorted((set(sys.modules) - before) & {set(HEAVY)!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""
