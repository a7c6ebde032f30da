"""A pull from the command line: who answers, and the line it leaves in the ledger."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from crossimpact.errors import UsageError
from crossimpact.release import ledger
from pipelines import consume
from pipelines import release as life
from pipelines.store.settings import Settings
from tests.pipelines.test_release import START, at, desk, promoted  # noqa: F401

NOW = at(2)


def pull(settings: Settings, hours: float = 2):
    return consume.pull(settings, who="scheduler", clock=lambda: at(hours))


def actions(settings: Settings) -> list[str]:
    return [entry.action for entry in ledger.entries(settings.ledger_path)]


def test_the_champion_answers_and_leaves_no_trace(desk: Settings) -> None:  # noqa: F811
    (release,) = promoted(desk, 30.0)
    found = pull(desk)
    assert (found["state"], found["digest"]) == ("live", release.digest)
    normal, stressed, unknown = found["regimes"]
    assert (normal["rung"], normal["edges"], normal["max_pov"]) == ("full", 1, 0.15)
    assert stressed["rung"] == unknown["rung"] == "fixed_pov"
    assert actions(desk) == ["promote"]


def test_a_registry_that_is_gone_is_answered_for_and_witnessed_once(
    desk: Settings,  # noqa: F811
) -> None:
    (release,) = promoted(desk, 30.0)
    pull(desk)
    (desk.home / "mlflow" / "mlflow.db").rename(desk.home / "gone.db")
    for hours in (3, 4):
        found = pull(desk, hours)
        assert (found["state"], found["digest"]) == ("last_known_good", release.digest)
    assert actions(desk) == ["promote", "fallback"]
    entry = ledger.entries(desk.ledger_path)[-1]
    assert entry.who == "scheduler" and "mlflow.db" in entry.why
    assert entry.rungs == {"normal": "full", "stressed": "fixed_pov", "unknown": "fixed_pov"}


@pytest.mark.parametrize("who", ["../../ann", "/ann", "..", "a/b"])
def test_whatever_its_name_a_reader_stays_in_the_home(desk: Settings, who: str) -> None:  # noqa: F811
    promoted(desk, 30.0)
    before = sorted(desk.home.parent.iterdir())
    assert consume.pull(desk, who=who, clock=lambda: at(2))["state"] == "live"
    (cache,) = (desk.home / "consumer").iterdir()
    assert (cache / "pointer.json").exists()
    assert sorted(desk.home.parent.iterdir()) == before


def test_an_expired_release_answers_no_more(desk: Settings) -> None:  # noqa: F811
    promoted(desk, 30.0)
    late = consume.pull(desk, who="s", clock=lambda: START + timedelta(days=60))
    assert late["state"] == "fallback" and "has expired" in late["reason"]
    assert {row["rung"] for row in late["regimes"]} == {"fixed_pov"}
    assert {row["max_pov"] for row in late["regimes"]} == {0.05}


def test_a_broken_ledger_is_no_reason_to_stop(desk: Settings) -> None:  # noqa: F811
    promoted(desk, 30.0)
    pull(desk)
    desk.ledger_path.write_bytes(desk.ledger_path.read_bytes().replace(b"ann", b"bob"))
    found = pull(desk, 3)
    assert found["state"] == "last_known_good"
    assert "broken at line 1" in found["reason"]
    assert "the ledger does not have it" in found["reason"]
    assert not life.ledger_verify(desk).ok


@pytest.mark.parametrize(("said", "seconds"), [("", 2.0), ("10", 10.0), ("0.5", 0.5)])
def test_the_deadline_of_a_pull_is_two_seconds_or_what_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, seconds: float
) -> None:
    monkeypatch.setenv("CROSSIMPACT_PULL_DEADLINE_S", said)
    assert Settings(tmp_path).pull_deadline_s == seconds


@pytest.mark.parametrize("said", ["nan", "soon", "0", "-1", "61", "inf"])
def test_a_deadline_that_is_none_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    monkeypatch.setenv("CROSSIMPACT_PULL_DEADLINE_S", said)
    with pytest.raises(UsageError, match="is no deadline; set CROSSIMPACT_PULL_DEADLINE_S"):
        _ = Settings(tmp_path).pull_deadline_s
