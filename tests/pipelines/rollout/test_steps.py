"""A rollout from shadow to a slice and down again, and every way in which it is refused."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from crossimpact.errors import CrossImpactError, GateRefused, StaleModel, UsageError
from crossimpact.rollout import ledger
from pipelines.rollout import drawing, steps
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


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Homes with a champion, at the A/A stage, and at the slice."""
    root = tmp_path_factory.mktemp("homes")
    desk.home(root / "fresh")
    at_aa(desk.home(root / "aa"))
    shutil.copytree(root / "aa", root / "slice")
    for day in AA:
        assert not desk.day_of(Settings(root / "slice"), day).changed
    desk.up(Settings(root / "slice"), AA[-1])
    return root


def copied(homes: Path, name: str, into: Path) -> Settings:
    return Settings(shutil.copytree(homes / name, into / "home"))


@pytest.fixture
def fresh(homes: Path, tmp_path: Path) -> Settings:
    return copied(homes, "fresh", tmp_path)


@pytest.fixture
def aa(homes: Path, tmp_path: Path) -> Settings:
    return copied(homes, "aa", tmp_path)


@pytest.fixture
def sliced(homes: Path, tmp_path: Path) -> Settings:
    return copied(homes, "slice", tmp_path)


def test_a_rollout_goes_up_by_gates_and_a_second_person_and_down_by_harm(sliced: Settings) -> None:
    moves = [
        (line.action, line.stage, line.approver)
        for line in book(sliced)
        if line.action in ledger.MOVES
    ]
    assert moves == [("start", "shadow", ""), ("up", "aa", "bob"), ("up", "slice", "bob")]
    found = steps.status(sliced, now=desk.night(AA[-1]))
    assert (found.stage, found.next, found.days) == ("slice", "full", 0)
    for day in SLICE:
        moved = desk.day_of(sliced, day, effect=60.0)
        if moved.changed:
            break
    assert moved.stage == "shadow" and "harm" in moved.why and day < SLICE[-1]
    last = book(sliced)[-1]
    assert last.action == "down" and last.refused and last.who == "loop"
    assert Places(sliced.home).evidence(last.evidence).exists()
    assert steps.status(sliced, now=desk.night(day)).stage == "shadow"


def test_a_slice_without_effect_says_that_the_evidence_is_not_enough(sliced: Settings) -> None:
    for day in SLICE[:10]:
        assert not desk.day_of(sliced, day).changed
    found = steps.status(sliced, now=desk.night(SLICE[9]))
    assert found.evidence and found.evidence.live
    mean = found.evidence.live.readings[0]
    assert mean.verdict == "not enough evidence" and mean.power < 0.8
    assert mean.days_needed and mean.days_needed > 10
    assert found.evidence.live.controls["market_bps"] == pytest.approx(1.0, abs=0.4)
    assert found.evidence.to_dict()["facts"]["live"]["missing_days"] == 0
    with pytest.raises(GateRefused, match="non_inferior"):
        desk.up(sliced, SLICE[9])


def test_the_first_stage_is_not_left_without_enough_days_gain_and_a_second_person(fresh) -> None:
    begin(fresh, SHADOW[4])
    with pytest.raises(GateRefused, match=r"min_days: 5, must be >= 10") as refused:
        desk.up(fresh, SHADOW[4])
    assert refused.value.report["stage"] == "shadow"
    with pytest.raises(UsageError, match="needs a reason and an approver"):
        desk.up(fresh, SHADOW[4], approver="")
    with pytest.raises(GateRefused, match="cannot approve"):
        desk.up(fresh, SHADOW[4], approver="Ann")
    assert len(book(fresh)) == 1


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"gain": -1.0}, "shadow_gain"),
        ({"shadow": False}, "missing_days: 1, must be <= 0"),
    ],
)
def test_a_shadow_that_loses_or_lacks_a_day_refuses(fresh: Settings, change, told) -> None:
    begin(fresh)
    last = SHADOW if "gain" in change else DAYS[12:13]
    for day in last:
        desk.trade(fresh, day, **change)
    with pytest.raises(GateRefused, match=told):
        desk.up(fresh, DAYS[12])


def test_nothing_begins_without_a_champion(tmp_path: Path) -> None:
    settings = Settings(tmp_path / "home")
    settings.home.mkdir()
    with pytest.raises(StaleModel):
        steps.start(settings, signed=desk.signed(), now=lambda: desk.night(DAYS[0]))
    assert not Places(settings.home).ledger.exists()
    with pytest.raises(UsageError, match="no rollout is on"):
        steps.stop(settings, who="ann", reason="enough", now=desk.night(DAYS[0]))


def test_another_champion_takes_a_drawing_rollout_down_at_once(aa: Settings) -> None:
    desk.promote(aa, desk.champion(beta=40.0), version=2)
    moved = desk.day_of(aa, AA[0])
    assert moved.changed and "model" in moved.why and moved.stage == "shadow"


def test_a_salt_is_committed_once_and_one_that_was_changed_midway_takes_it_down(aa) -> None:
    first = drawing.commit(aa, AA[0], who="ann", now=desk.morning(AA[0]))
    again = drawing.commit(aa, AA[0], who="ann", now=desk.morning(AA[0]) + timedelta(minutes=1))
    assert first == again
    desk.trade(aa, AA[0])
    Places(aa.home).salt(AA[0]).write_bytes(bytes(32))
    moved = steps.judge(aa, who="loop", now=desk.night(AA[0]))
    assert moved.changed and f"salt of {AA[0]} was changed" in moved.why
    assert not [line for line in book(aa) if line.action == "reveal"]
    assert ledger.verify(Places(aa.home).ledger).ok


def test_a_salt_written_by_a_killed_process_is_the_one_that_is_committed_to(aa) -> None:
    path = Places(aa.home).salt(AA[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(range(32)))
    drawing.commit(aa, AA[0], who="ann", now=desk.morning(AA[0]))
    draw = book(aa)[-1].draw
    assert draw is not None
    draw.opens(bytes(range(32)))


def test_a_commitment_after_the_open_and_baskets_that_span_days_are_named(aa: Settings) -> None:
    late = desk.morning(AA[0]).replace(hour=15)
    drawing.commit(aa, AA[0], who="ann", now=late, entropy=desk.entropy(AA[0]))
    desk.trade(aa, AA[0])
    steps.judge(aa, who="loop", now=desk.night(AA[0]))
    desk.day_of(aa, AA[1], spans=[f"{AA[1]}/B3"])
    desk.trade(aa, AA[2])  # nobody committed
    found = steps.status(aa, now=desk.night(AA[2])).evidence
    assert found and found.live and found.live.days == 1
    told = {(row.date, row.basket_id): row.why for row in (*found.missing, *found.left_out)}
    assert "after the open" in told[AA[0], ""]
    assert told[AA[1], f"{AA[1]}/B3"] == "it spans days"
    assert told[AA[2], ""] == "no salt was committed"
    with pytest.raises(GateRefused, match="missing_days: 2"):
        desk.up(aa, AA[2])


def test_a_stage_that_draws_nothing_commits_to_nothing_nor_is_a_date_that_is_over(
    fresh,
) -> None:
    begin(fresh)
    with pytest.raises(UsageError, match="stage shadow draws no basket"):
        drawing.commit(fresh, AA[0], who="ann", now=desk.morning(AA[0]))
    desk.up(fresh, SHADOW[-1])
    with pytest.raises(UsageError, match="is over"):
        drawing.commit(fresh, AA[0], who="ann", now=desk.morning(AA[1]))


def test_a_committed_date_on_which_nobody_traded_is_no_missing_one(aa: Settings) -> None:
    drawing.commit(aa, "2026-02-21", who="ann", now=desk.morning("2026-02-21"))  # a Saturday
    desk.day_of(aa, "2026-02-23")
    found = steps.status(aa, now=desk.night("2026-02-23")).evidence
    assert found and found.missing == () and found.days == 1


def test_a_stop_takes_a_reason_and_ends_it(aa: Settings) -> None:
    with pytest.raises(UsageError, match="needs a reason"):
        steps.stop(aa, who="ann", reason=" ", now=desk.night(AA[0]))
    steps.stop(aa, who="ann", reason="halt", now=desk.night(AA[0]))
    assert steps.status(aa, now=desk.night(AA[0])).stage == ""
    with pytest.raises(UsageError, match="no rollout is on"):
        drawing.commit(aa, AA[1], who="ann", now=desk.morning(AA[1]))


def test_the_gates_of_a_promotion_get_the_shadow_of_the_release(fresh: Settings) -> None:
    begin(fresh)
    steps.judge(fresh, who="loop", now=desk.night(SHADOW[-1]))
    release = desk.champion()
    told = json.loads(Places(fresh.home).shadow(release.id).read_text())
    assert told["p90_ratio"] < 1.0 and told["days"] == 12


def test_a_line_that_was_changed_is_named(aa: Settings) -> None:
    path = Places(aa.home).ledger
    path.write_bytes(path.read_bytes().replace(b'"aa"', b'"ab"'))
    with pytest.raises(StaleModel, match="broken at line 2"):
        steps.status(aa, now=desk.night(AA[0]))


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
        drawing.commit(made, AA[0], who="ann", now=desk.morning(AA[1]))
