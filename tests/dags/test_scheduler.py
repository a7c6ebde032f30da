"""Under a real scheduler, over HTTP: unpausing, backfills, logins; only when asked for: minutes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from crossimpact.simulate import DeskSpec
from ops import credentials, serve
from ops.airflow_api import Api, wait_for
from ops.airflow_env import ROOT
from pipelines import release, simulate
from pipelines.store.landing import Landing
from pipelines.store.settings import Settings

ASKED = "CROSSIMPACT_TEST_SCHEDULER"
SLOW_S = 1800
THINKING_S = 5
WATCHED_S = 60  # the DAG processor reads a file every 30 s
DAYS = 60  # of trading: after the first week two firsts of a month at least

pytestmark = pytest.mark.skipif(ASKED not in os.environ, reason=f"set {ASKED}=1 (10 minutes)")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A landing zone up to yesterday."""
    today = datetime.now(UTC).date().isoformat()
    first = DeskSpec.first_date_before(today, DAYS)
    spec = DeskSpec(symbols=4, days=DAYS, seed=11, snapshot_s=60, first_date=first, noise_scale=0.2)
    out = tmp_path_factory.mktemp("landed")
    simulate.run(None, out, spec)
    return out / "landing"


@pytest.fixture(scope="module")
def stage(desk: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty home, served."""
    stage = tmp_path_factory.mktemp("served") / "home"
    env = {**os.environ, "CROSSIMPACT_LANDING": str(desk)}

    def served(action: str) -> None:
        command = [sys.executable, "-m", "ops.serve", action, "--home", str(stage)]
        subprocess.run(command, cwd=ROOT, env=env, capture_output=True, timeout=SLOW_S, check=True)

    try:
        served("up")
        yield stage
    finally:
        served("down")


@pytest.fixture(scope="module")
def api(stage: Path) -> Iterator[Api]:
    url = serve.urls(stage)["airflow"]
    with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
        yield Api(client, credentials.read_passwords(stage))


def test_unpausing_starts_nothing(api):
    dags = {dag["dag_id"] for dag in api.get("dags")["dags"]}
    for dag_id in dags:
        assert api.send("PATCH", f"dags/{dag_id}", json={"is_paused": False}).status_code == 200
    time.sleep(WATCHED_S)
    assert api.get("dags/~/dagRuns")["dag_runs"] == []
    due = {dag["dag_id"]: dag["next_dagrun_run_after"] for dag in api.get("dags")["dags"]}
    assert due.pop("daily_tca") is None and due.pop("shadow_daily") is None
    assert all(datetime.fromisoformat(when) > datetime.now(UTC) for when in due.values())


@pytest.fixture(scope="module")
def runs(api: Api, desk: Path) -> dict[str, dict[str, Any]]:
    """Backfilled refits and one by hand, asked for at once: each answered, and at its end.

    The operator, who asked for all of them, approves each first; then the approver approves the
    one by hand and rejects the others.
    """
    dates = Landing(desk).all_dates()
    backfill = {
        "dag_id": "monthly_refit", "max_active_runs": 2, "run_backwards": False,
        "from_date": f"{dates[5]}T23:00:00Z", "to_date": f"{dates[-1]}T00:00:00Z",
    }  # fmt: skip
    assert api.send("POST", "backfills", json=backfill).status_code == 200
    by_hand = {"logical_date": None, "conf": {}}
    assert api.send("POST", "dags/monthly_refit/dagRuns", json=by_hand).status_code == 200
    own: set[str] = set()

    def ended() -> list[dict[str, Any]] | None:
        for request in api.requests():
            run = request["task_instance"]["dag_run_id"]
            time.sleep(THINKING_S)  # answered at once, Airflow asks again
            if run not in own:
                own.add(run)
                assert api.answer(request, "operator", "Approve", "mine") == 200
            else:
                choice = "Approve" if run.startswith("manual") else "Reject"
                assert api.answer(request, "approver", choice, "seen") == 200
        found = api.get("dags/monthly_refit/dagRuns")["dag_runs"]
        return found if all(run["state"] in ("success", "failed") for run in found) else None

    found = wait_for(ended, SLOW_S)
    return {run["dag_run_id"]: {**run, "tasks": tasks_of(api, run["dag_run_id"])} for run in found}


def tasks_of(api: Api, run: str) -> list[dict[str, Any]]:
    path = f"dags/monthly_refit/dagRuns/{run}/taskInstances"
    return list(api.get(path, limit=500)["task_instances"])


def test_refits_asked_for_at_once_run_one_after_the_other(runs):
    types = sorted(run["run_type"] for run in runs.values())
    assert types[:2] == ["backfill"] * 2
    assert types[-1:] == ["manual"]
    assert {run["state"] for run in runs.values()} == {"success"}
    spans = []
    for run in runs.values():
        tasks = [t for t in run["tasks"] if t["task_id"] != "turn" and t["start_date"]]
        spans.append((min(t["start_date"] for t in tasks), max(t["end_date"] for t in tasks)))
    spans.sort()
    assert all(before[1] <= after[0] for before, after in pairwise(spans))


def test_a_backfilled_refit_ends_on_the_day_before_its_own_date(runs, api, desk):
    landed = Landing(desk).all_dates()
    for name, run in runs.items():
        dates = api.returned("monthly_refit", name, "plan")["dates"]
        if run["run_type"] == "manual":
            assert dates[-1] == landed[-1]
        else:
            slot = run["logical_date"][:10]
            assert date.fromisoformat(slot).day == 1
            assert dates == [day for day in landed if day < slot][-60:]


def test_the_champion_was_approved_by_a_second_login(runs, stage):
    lines = release.ledger_lines(Settings(stage))["ledger"]
    by_hand = next(name for name in runs if name.startswith("manual"))
    assert [(line["action"], line["who"]) for line in lines] == [("promote", "approver")]
    assert lines[0]["why"] == f"approved in {by_hand}: seen"


def test_an_asset_event_brings_a_refit_that_has_nothing_to_decide(runs, api, desk):
    (asset,) = api.get("assets", name_pattern="refit_wanted")["assets"]
    extra = {"landing": str(desk), "flow": "own", "bucket": "300s"}
    event = {"asset_id": asset["id"], "extra": extra}
    assert api.send("POST", "assets/events", json=event).status_code == 200

    def over() -> dict[str, Any] | None:
        run = api.last_run("monthly_refit")
        return run if run["type"] == "asset_triggered" and run["state"] == "success" else None

    assert wait_for(over, SLOW_S)["tasks"]["approve"] == "skipped"
