"""A challenger waits for a human: what each answer does, for real, in Airflow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from crossimpact.release import gates
from ops.airflow_env import ROOT
from tests.dags.answering import MEDDLING, NO_REPORTS, REASON, REPORTS
from tests.dags.desk import without_champion

HANGS_S = 1800


@pytest.fixture(scope="module")
def acts(first: dict[str, Any], home: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    stage = without_champion(home, tmp_path_factory.mktemp("approval") / "home")
    landing = home / "demo" / "landing"
    command = [sys.executable, "-m", "tests.dags.answering", str(stage), str(landing)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=HANGS_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_refused_challenger_asks_nobody_and_is_not_promoted(acts):
    act = acts["refused"]
    assert act["state"] == "success"
    assert {act["tasks"][name] for name in ("gates", "decide")} == {"success"}
    assert {act["tasks"][name] for name in ("approve", "promote")} == {"skipped"}
    assert act["ledger"] == []


def test_a_reject_leaves_everything_as_it_was(acts):
    act = acts["rejected"]
    assert (act["state"], act["tasks"]["approve"]) == ("success", "success")
    assert act["tasks"]["promote"] == "skipped"
    assert act["ledger"] == []


@pytest.mark.parametrize("name", ["rejected", "approved"])
def test_a_reader_may_not_answer_and_the_first_answer_counts(acts, name):
    assert acts[name]["statuses"] == [403, 200, 409]


def test_airflow_shows_the_desks_reports_to_who_is_logged_in_and_nothing_else(acts):
    act = acts["reports"]
    assert {name: act["statuses"][name] for name in REPORTS} == dict.fromkeys(REPORTS, 200)
    assert {act["statuses"][name] for name in NO_REPORTS} == {404}
    assert act["texts"] == list(REPORTS)
    assert act["policy"].startswith("default-src 'none'")
    assert act["stranger"] == 401
    assert "/reports/index.html" in act["menu"]


def test_whoever_is_asked_sees_every_gate(acts, first):
    request = acts["approved"]["request"]
    assert request["defaults"] == ["Reject"]
    assert request["subject"] == f"Make release {first['champion']['id']} champion?"
    table = [line.split(" | ") for line in request["body"].splitlines() if line.startswith("| ")]
    assert {cells[0].removeprefix("| ") for cells in table[2:]} == {g.name for g in gates.load()}


def test_an_approval_promotes_in_the_name_of_who_gave_it(acts, first):
    act = acts["approved"]
    assert (act["state"], act["tasks"]["promote"]) == ("success", "success")
    (line,) = act["ledger"]
    assert (line["action"], line["who"]) == ("promote", "approver")
    assert line["identity"] == "login"
    assert line["release"] == first["champion"]["id"]
    assert line["why"] == f"approved in {act['id']}: {REASON}"


def test_who_triggered_the_run_is_asked_again_when_he_approves_it(acts):
    act = acts["approved"]
    assert act["own"] == 200  # Airflow takes the answer; the task does not
    assert act["statuses"] == [403, 200, 409]
    assert [line["who"] for line in act["ledger"]] == ["approver"]


def test_an_approver_may_answer_and_nothing_else(acts):
    assert acts["approved"]["meddling"] == [403] * len(MEDDLING)


def test_a_cleared_promotion_changes_nothing(acts):
    assert acts["cleared"] == {"said": "", "ledger": acts["approved"]["ledger"]}


def test_an_approval_does_not_outlive_the_champion_it_was_asked_about(acts):
    assert "clear `gates` to ask anew" in acts["outdated"]["said"]
    assert acts["outdated"]["ledger"] == acts["approved"]["ledger"]


def test_a_week_that_needs_a_refit_asks_for_it_once(acts, first, home):
    watched, wanted, again = (acts[f"drift {name}"] for name in ("watch", "refit", "again"))
    assert {act["state"] for act in (watched, wanted, again)} == {"success"}
    assert (watched["tasks"]["want_refit"], watched["wanted"]) == ("skipped", [])
    (event,) = wanted["wanted"]
    assert set(event.pop("why")) <= {"normal", "stressed"}
    assert event == {
        "landing": str(home / "demo" / "landing"),
        "flow": "own",
        "bucket": "300s",
        "release": first["champion"]["id"],
        "week": "2026-03-09",
    }
    assert again["tasks"]["want_refit"] == "skipped"
    assert len(again["wanted"]) == 1


def test_the_ledger_bears_witness_of_each_week_once(acts):
    lines = acts["drift again"]["ledger"]
    assert lines == acts["drift refit"]["ledger"]
    assert [(line["action"], line["who"]) for line in lines[-2:]] == [("drift", "weekly_drift")] * 2


def test_a_demotion_is_carried_out_and_asks_for_a_refit(acts):
    act = acts["drift demote"]
    assert (act["state"], act["tasks"]["want_refit"]) == ("success", "success")
    demoted = [line for line in act["ledger"] if line["action"] == "demote"]
    assert [(line["who"], line["rungs"]) for line in demoted] == [
        ("weekly_drift", "normal to self_only")
    ]
    assert len(act["wanted"]) == 2
