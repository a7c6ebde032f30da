"""A rollout from shadow to a slice and down again, and every way in which it is refused."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from crossimpact.errors import CrossImpactError, GateRefused, StaleModel, UsageError
from crossimpact.rollout import ledger
from pipelines.rollout import steps
from pipelines.rollout.places import Places
from pipelines.store.settings import Settings
from tests.pipelines.rollout import desk

DAYS = desk.days(40)
SHADOW, AA, SLICE = DAYS[:12], DAYS[12:17], DAYS[17:]


def book(settings: Settings) -> list[ledger.Entry]:
    return ledger.entries(Places(settings.home).ledger)


def begin(settings: Settings, last: str = SHADOW[-1]) -> None:
    for day in [day for day in SHADOW if day <= last]:
        desk.trade(settings, day)
    steps.start(settings, signed=desk.signed(), now=lambda: desk.night(last))


def at_aa(settings: Settings) -> None:
    begin(settings)
    desk.up(settings, SHADOW[-1])


def at_slice(settings: Settings) -> None:
    at_aa(settings)
    for day in AA:
        assert not desk.day_of(settings, day).changed
    desk.up(settings, AA[-1])


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    return desk.home(tmp_path / "home")


def test_a_rollout_goes_up_by_gates_and_a_second_person_and_down_by_harm(home: Settings) -> None:
    at_slice(home)
    moves = [
        (line.action, line.stage, line.approver)
        for line in book(home)
        if line.action in ledger.MOVES
    ]
    assert moves == [("start", "shadow", ""), ("up", "aa", "bob"), ("up", "slice", "bob")]
    found = steps.status(home, now=desk.night(AA[-1]))
    assert (found.stage, found.next, found.days) == ("slice", "full", 0)
    for day in SLICE:
        moved = desk.day_of(home, day, effect=60.0)
        if moved.changed:
            break
    assert moved.stage == "shadow" and "harm" in moved.why and day < SLICE[-1]
    last = book(home)[-1]
    assert last.action == "down" and last.refused and last.who == "loop"
    assert Places(home.home).evidence(last.evidence).exists()
    assert steps.status(home, now=desk.night(day)).stage == "shadow"


def test_a_slice_without_effect_says_that_the_evidence_is_not_enough(home: Settings) -> None:
    at_slice(home)
    for day in SLICE[:10]:
        assert not desk.day_of(home, day).changed
    found = steps.status(home, now=desk.night(SLICE[9]))
    assert found.evidence and found.evidence.live
    mean = found.evidence.live.readings[0]
    assert mean.verdict == "not enough evidence" and mean.power < 0.8
    assert mean.days_needed and mean.days_needed > 10
    assert found.evidence.live.controls["market_bps"] == pytest.approx(1.0, abs=0.4)
    assert found.evidence.to_dict()["facts"]["live"]["missing_days"] == 0
    with pytest.raises(GateRefused, match="non_inferior"):
        desk.up(home, SLICE[9])


def test_the_first_stage_is_not_left_without_enough_days_gain_and_a_second_person(home) -> None:
    begin(home, SHADOW[4])
    with pytest.raises(GateRefused, match=r"min_days: 5, must be >= 10") as refused:
        desk.up(home, SHADOW[4])
    assert refused.value.report["stage"] == "shadow"
    with pytest.raises(UsageError, match="needs a reason and an approver"):
        desk.up(home, SHADOW[4], approver="")
    with pytest.raises(GateRefused, match="cannot approve"):
        desk.up(home, SHADOW[4], approver="Ann")
    assert len(book(home)) == 1


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"gain": -1.0}, "shadow_gain"),
        ({"shadow": False}, "missing_days: 1, must be <= 0"),
    ],
)
def test_a_shadow_that_loses_or_lacks_a_day_refuses(home: Settings, change, told) -> None:
    begin(home)
    last = SHADOW if "gain" in change else DAYS[12:13]
    for day in last:
        desk.trade(home, day, **change)
    with pytest.raises(GateRefused, match=told):
        desk.up(home, DAYS[12])


def test_nothing_begins_without_a_champion(tmp_path: Path) -> None:
    settings = Settings(tmp_path / "home")
    settings.home.mkdir()
    with pytest.raises(StaleModel):
        steps.start(settings, signed=desk.signed(), now=lambda: desk.night(DAYS[0]))
    assert not Places(settings.home).ledger.exists()
    with pytest.raises(UsageError, match="no rollout is on"):
        steps.stop(settings, who="ann", reason="enough", now=desk.night(DAYS[0]))


def test_another_champion_takes_a_drawing_rollout_down_at_once(home: Settings) -> None:
    at_aa(home)
    desk.promote(home, desk.champion(beta=40.0), version=2)
    moved = desk.day_of(home, AA[0])
    assert moved.changed and "model" in moved.why and moved.stage == "shadow"


def test_a_salt_is_committed_once_and_one_that_was_changed_midway_takes_it_down(home) -> None:
    at_aa(home)
    first = steps.commit(home, AA[0], who="ann", now=desk.morning(AA[0]))
    again = steps.commit(home, AA[0], who="ann", now=desk.morning(AA[0]) + timedelta(minutes=1))
    assert first == again
    desk.trade(home, AA[0])
    Places(home.home).salt(AA[0]).write_bytes(bytes(32))
    moved = steps.judge(home, who="loop", now=desk.night(AA[0]))
    assert moved.changed and f"salt of {AA[0]} was changed" in moved.why
    assert not [line for line in book(home) if line.action == "reveal"]
    assert ledger.verify(Places(home.home).ledger).ok


def test_a_salt_written_by_a_killed_process_is_the_one_that_is_committed_to(home) -> None:
    at_aa(home)
    path = Places(home.home).salt(AA[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(range(32)))
    steps.commit(home, AA[0], who="ann", now=desk.morning(AA[0]))
    draw = book(home)[-1].draw
    assert draw is not None
    draw.opens(bytes(range(32)))


def test_a_commitment_after_the_open_and_baskets_that_span_days_are_named(home: Settings) -> None:
    at_aa(home)
    late = desk.morning(AA[0]).replace(hour=15)
    steps.commit(home, AA[0], who="ann", now=late, entropy=desk.entropy(AA[0]))
    desk.trade(home, AA[0])
    steps.judge(home, who="loop", now=desk.night(AA[0]))
    desk.day_of(home, AA[1], spans=[f"{AA[1]}/B3"])
    desk.trade(home, AA[2])  # nobody committed
    found = steps.status(home, now=desk.night(AA[2])).evidence
    assert found and found.live and found.live.days == 1
    told = {(row.date, row.basket_id): row.why for row in (*found.missing, *found.left_out)}
    assert "after the open" in told[AA[0], ""]
    assert told[AA[1], f"{AA[1]}/B3"] == "it spans days"
    assert told[AA[2], ""] == "no salt was committed"
    with pytest.raises(GateRefused, match="missing_days: 2"):
        desk.up(home, AA[2])


def test_a_stage_that_draws_nothing_commits_to_nothing_and_a_date_that_is_over_neither(
    home,
) -> None:
    begin(home)
    with pytest.raises(UsageError, match="stage shadow draws no basket"):
        steps.commit(home, AA[0], who="ann", now=desk.morning(AA[0]))
    desk.up(home, SHADOW[-1])
    with pytest.raises(UsageError, match="is over"):
        steps.commit(home, AA[0], who="ann", now=desk.morning(AA[1]))


def test_a_stop_takes_a_reason_and_ends_it(home: Settings) -> None:
    at_aa(home)
    with pytest.raises(UsageError, match="needs a reason"):
        steps.stop(home, who="ann", reason=" ", now=desk.night(AA[0]))
    steps.stop(home, who="ann", reason="halt", now=desk.night(AA[0]))
    assert steps.status(home, now=desk.night(AA[0])).stage == ""
    with pytest.raises(UsageError, match="no rollout is on"):
        steps.commit(home, AA[1], who="ann", now=desk.morning(AA[1]))


def test_the_gates_of_a_promotion_get_the_shadow_of_the_release(home: Settings) -> None:
    import json

    begin(home)
    steps.judge(home, who="loop", now=desk.night(SHADOW[-1]))
    release = desk.champion()
    told = json.loads(Places(home.home).shadow(release.id).read_text())
    assert told["p90_ratio"] < 1.0 and told["days"] == 12


def test_a_line_that_was_changed_is_named(home: Settings) -> None:
    at_aa(home)
    path = Places(home.home).ledger
    path.write_bytes(path.read_bytes().replace(b'"aa"', b'"ab"'))
    with pytest.raises(StaleModel, match="broken at line 2"):
        steps.status(home, now=desk.night(AA[0]))


def test_the_same_dates_give_the_same_evidence(tmp_path: Path) -> None:
    digests = []
    for name in ("one", "two"):
        made = desk.home(tmp_path / name)
        at_aa(made)
        for day in AA[:2]:
            desk.day_of(made, day)
        found = steps.status(made, now=desk.night(AA[1])).evidence
        digests.append(found.digest if found else "")
    assert digests[0] == digests[1] != ""
    with pytest.raises(CrossImpactError):
        steps.commit(made, AA[0], who="ann", now=desk.morning(AA[1]))
