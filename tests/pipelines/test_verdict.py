"""A drift verdict announced: MLflow's tags, one line in the ledger, a demotion carried out once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crossimpact.errors import CrossImpactError, StaleModel
from crossimpact.release import ledger
from pipelines import ledger_events, promotion
from pipelines.drift import Result
from pipelines.store.settings import Settings
from pipelines.verdict import announce
from registry import tracking
from tests.pipelines.test_release import at, desk, promoted, rung  # noqa: F401


def verdict(release: str, verdict: str = "ok", **demote: str) -> Result:
    row = {"verdict": verdict, "reason": "slope 0.1 ± 0.1", "slope": 0.1}
    return Result(
        as_of="2026-03-27",
        week="2026-03-23",
        release=release,
        dates=["2026-03-27"],
        in_sample_dates=0,
        verdict=verdict,
        regimes={"normal": row},
        demote=demote,
        evidence=[],
    )


def actions(settings: Settings) -> list[str]:
    return [entry.action for entry in ledger.entries(settings.ledger_path)]


def test_a_week_is_told_to_mlflow_and_to_the_ledger_once(desk: Settings) -> None:  # noqa: F811
    (release,) = promoted(desk, 30.0)
    for hours in (2, 3):
        said = announce(desk, verdict(release.id, "watch"), who="ann", now=at(hours))
        assert said == {"verdict": "watch", "recorded": True, "demoted": {}}
    assert actions(desk) == ["promote", "drift"]
    assert ledger.entries(desk.ledger_path)[-1].why == (
        "watch 2026-03-27: normal watch, slope 0.1 ± 0.1"
    )
    tags = tracking.find(desk.mlflow_uri, "champion").tags
    assert tags["drift"] == "watch 2026-03-27"
    assert tags["drift.normal"] == "watch 2026-03-27: slope 0.1 ± 0.1"


def test_a_demotion_is_carried_out_once_and_not_again_after_it_was_lifted(
    desk: Settings,  # noqa: F811
) -> None:
    (release,) = promoted(desk, 30.0)
    week = verdict(release.id, "demote", normal="self_only")
    assert announce(desk, week, who="ann", now=at(2))["demoted"] == {"normal": "self_only"}
    assert rung(desk)[0] == "self_only"
    promotion.promote(desk, release.id, who="bob", now=at(3))
    assert announce(desk, week, who="ann", now=at(4))["demoted"] == {}  # a late retry
    assert rung(desk)[0] == "full"
    assert actions(desk) == ["promote", "demote", "drift", "promote"]


def test_a_kill_between_demotion_and_witness_is_completed(
    desk: Settings,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (release,) = promoted(desk, 30.0)
    week = verdict(release.id, "demote", normal="self_only")

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ledger_events, "record", die)
        with pytest.raises(KeyboardInterrupt):
            announce(desk, week, who="ann", now=at(2))
    announce(desk, week, who="ann", now=at(3))
    assert actions(desk) == ["promote", "demote", "drift"]


def test_a_demotion_does_not_wait_for_mlflow(desk: Settings) -> None:  # noqa: F811
    (release,) = promoted(desk, 30.0)
    week = verdict(release.id, "demote", normal="self_only")
    there, gone = desk.home / "mlflow", desk.home / "gone"
    there.rename(gone)
    there.write_text("not a folder")
    with pytest.raises((CrossImpactError, OSError)):
        announce(desk, week, who="ann", now=at(2))
    assert actions(desk) == ["promote", "demote", "drift"]
    there.unlink()
    gone.rename(there)
    assert rung(desk)[0] == "self_only"
    announce(desk, week, who="ann", now=at(3))
    assert actions(desk) == ["promote", "demote", "drift"]
    assert tracking.find(desk.mlflow_uri, "champion").tags["drift"] == "demote 2026-03-27"


def test_an_uneventful_week_is_told_in_two_words(desk: Settings) -> None:  # noqa: F811
    (release,) = promoted(desk, 30.0)
    announce(desk, verdict(release.id), who="ann", now=at(2))
    assert ledger.entries(desk.ledger_path)[-1].why == "ok 2026-03-27"


def test_a_verdict_on_a_former_champion_changes_nothing_live(desk: Settings) -> None:  # noqa: F811
    first, second = promoted(desk, 30.0, 31.0)
    said = announce(desk, verdict(first.id, "demote", normal="self_only"), who="a", now=at(3))
    assert said == {"verdict": "demote", "recorded": False, "demoted": {}}
    assert actions(desk) == ["promote", "promote"]
    assert tracking.find(desk.mlflow_uri, first.id).tags["drift"] == "demote 2026-03-27"
    with pytest.raises(StaleModel):
        announce(desk, replace(verdict(second.id), release="0" * 12), who="a", now=at(4))
