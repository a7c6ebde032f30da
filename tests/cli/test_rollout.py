"""`crossimpact rollout` and `alerts`: exit codes, JSON, and what people are told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli import views_rollout
from crossimpact.rollout import ledger
from pipelines.rollout import steps
from pipelines.rollout.places import Places
from pipelines.store.settings import Settings
from tests.pipelines.rollout import desk


@pytest.fixture
def home(fresh_home: Path) -> Settings:
    return desk.home(fresh_home)


def test_a_rollout_begins_is_refused_and_stopped_by_exit_codes(home: Settings, crossimpact) -> None:
    told = home.home / "told"
    (home.home / "alerts.toml").write_text(
        f'[[channel]]\nname = "desk"\nkind = "command"\ncommand = ["sh", "-c", "cat >> {told}"]\n'
    )
    at = ("--home", home.home, "--json")
    code, out, _ = crossimpact("rollout", "status", *at)
    assert code == 0 and json.loads(out)["stage"] == ""
    code, out, _ = crossimpact("rollout", "start", *at)
    assert code == 0 and json.loads(out)["stage"] == "shadow"
    code, out, err = crossimpact(
        "rollout", "start", "--approver", "bob", "--reason", "now", *at
    )  # fmt: skip
    refused = json.loads(out)
    assert code == 4 and refused["exit_code"] == 4 and "min_days" in err
    assert {row["gate"] for row in refused["gates"]} >= {"min_days", "shadow_gain", "shadow_p95"}
    assert crossimpact("rollout", "start", *at)[0] == 2  # nobody approves
    assert crossimpact("rollout", "commit", *at)[0] == 2  # shadow draws nothing
    assert crossimpact("rollout", "stop", *at)[0] == 2
    code, out, _ = crossimpact("rollout", "stop", "--reason", "halt", *at)
    assert code == 0 and json.loads(out)["action"] == "stop"
    code, out, _ = crossimpact("alerts", "test", *at)
    assert code == 0 and "Test of the alerts" in told.read_text()
    kinds = [line.action for line in ledger.entries(Places(home.home).ledger)]
    assert kinds == ["start", "stop"]


def test_a_rollout_without_a_champion_is_stale(fresh_home: Path, crossimpact) -> None:
    fresh_home.mkdir(exist_ok=True)
    assert crossimpact("rollout", "start", "--home", fresh_home)[0] == 5


def test_the_status_as_people_read_it_tells_days_and_gates(home: Settings) -> None:
    for day in desk.days(3):
        desk.trade(home, day)
    steps.start(home, signed=desk.signed(), now=lambda: desk.night(desk.days(3)[-1]))
    found = steps.status(home, now=desk.night(desk.days(3)[-1]))
    told = views_rollout.status(found.to_dict())
    assert told["days"] == "3 of 10" and told["next"] == "aa"
    assert told["shadow"][0]["gain_bps"] == pytest.approx(4.0, abs=2.0)
    assert [row["gate"] for row in told["gates up"]][:2] == ["min_days", "shadow_gain"]
