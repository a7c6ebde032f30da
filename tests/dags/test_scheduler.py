"""The refit under a real scheduler, answered over HTTP; only when asked for, it takes minutes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ops import serve
from ops.airflow_env import ROOT
from pipelines import release
from pipelines.config import Settings
from tests.dags.airflow_api import Api, wait_for
from tests.dags.desk import without_champion

ASKED = "CROSSIMPACT_TEST_SCHEDULER"
SLOW_S = 600
THINKING_S = 5

pytestmark = pytest.mark.skipif(ASKED not in os.environ, reason=f"set {ASKED}=1 (3 minutes)")


@pytest.fixture(scope="module")
def stage(
    first: dict[str, Any], home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """A home without a champion, served."""
    stage = without_champion(home, tmp_path_factory.mktemp("served") / "home")
    env = {**os.environ, "CROSSIMPACT_LANDING": str(home / "demo" / "landing")}

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
        yield Api(client, stage)


def answered(api: Api, choice: str) -> dict[str, Any]:
    """The run that waits, answered, at its end.

    Airflow asks again when the answer comes before its scheduler has seen the request.
    """
    wait_for(api.requests, SLOW_S)

    def ended() -> dict[str, Any] | None:
        for request in api.requests():
            time.sleep(THINKING_S)
            assert api.answer(request, "approver", choice, "seen") == 200
        run = api.last_run("monthly_refit")
        return run if run["state"] in ("success", "failed") else None

    return wait_for(ended, SLOW_S)


def test_the_clocks_run_is_rejected_and_the_one_drift_asked_for_approved(api, stage, home):
    settings = Settings(stage)
    unpaused = api.send("PATCH", "dags/monthly_refit", json={"is_paused": False})
    assert unpaused.status_code == 200
    rejected = answered(api, "Reject")
    assert (rejected["type"], rejected["state"]) == ("scheduled", "success")
    assert rejected["tasks"]["promote"] == "skipped"
    assert not release.ledger_lines(settings)["ledger"]

    (asset,) = api.get("assets", name_pattern="refit_wanted")["assets"]
    extra = {"landing": str(home / "demo" / "landing"), "flow": "own", "bucket": "300s"}
    event = {"asset_id": asset["id"], "extra": extra}
    assert api.send("POST", "assets/events", json=event).status_code == 200
    approved = answered(api, "Approve")
    assert (approved["type"], approved["state"]) == ("asset_triggered", "success")
    (line,) = release.ledger_lines(settings)["ledger"]
    assert (line["action"], line["who"]) == ("promote", "approver")
    assert line["why"] == f"approved in {approved['id']}: seen"
