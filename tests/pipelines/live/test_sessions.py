"""Sessions of a home: played, explained, compared with another policy, assessed; the drill."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from crossimpact.errors import StaleModel, UsageError
from crossimpact.policy.live.events import Control
from pipelines.live import assessment, counterfactual, levels, page, recap
from pipelines.live import journal as journals
from pipelines.live import run as step
from pipelines.live.drill import kill
from pipelines.live.engine import Engine, Opening
from pipelines.live.places import Places
from pipelines.live.release_store import ReleaseStore
from pipelines.live.run import Asked
from pipelines.store.settings import Settings
from tests.crossimpact.policy.live.desk import OPEN, RELEASE, at, opening, quotes, swap
from tests.pipelines import desk as landings
from tests.pipelines.live.test_engine import SETTINGS


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home with one sealed session of a coupled release."""
    settings = Settings(tmp_path_factory.mktemp("sessions") / "home")
    store = ReleaseStore(settings)
    store.keep(RELEASE)
    engine = Engine(Places(settings.home).journal("day"), Opening(SETTINGS), store)
    engine.take([swap(), *opening(), *[row for k in range(1, 5) for row in quotes(300.5 * k)]])
    engine.take([Control(level="PAUSE", who="ann", reason="lunch", at=at(1300.0))])
    engine.journal.seal()
    return settings


def test_a_journal_replays_by_itself_from_the_releases_kept_beside_it(home: Settings) -> None:
    path = step.found_journal(home, "day")
    assert step.replayed(home, path).differs is None
    elsewhere = Settings(home.home.parent / "elsewhere")
    with pytest.raises(StaleModel, match="is not in"):
        step.replayed(elsewhere, path)
    with pytest.raises(UsageError, match="there is no journal nil; give a file or a session: day"):
        step.found_journal(home, "nil")


def test_the_policy_of_record_is_no_counterfactual_and_another_costs_what_it_plans(home) -> None:
    path = step.found_journal(home, "day")
    same = counterfactual.counterfactual(home, path, "ranked")
    assert len(same.by_plan) > 3 and same.other_costs_usd == 0.0
    other = counterfactual.counterfactual(home, path, "optimal")
    assert {row.other for row in other.by_plan} <= {"optimal", "ranked"}
    assert len(other.by_plan) == len(same.by_plan)
    ends = [(one.until, next_.at) for one, next_ in pairwise(other.apart)]
    assert all(end <= begin for end, begin in ends)  # no hour counts twice
    assert other.other_costs_usd == sum(row.change_usd for row in other.apart)
    assert other.other_costs_usd < 0.0  # by its own measure, optimal is no dearer


def test_the_record_says_why_a_name_got_what_it_got(home: Settings) -> None:
    told = step.explained(home, "A", OPEN + timedelta(hours=1))
    assert told.symbol == "A" and told.child is not None and told.own_bps is not None
    assert told.answered == "ranked"
    with pytest.raises(UsageError, match="no journal has a plan up to"):
        step.explained(home, "A", OPEN - timedelta(days=1))


def test_a_recap_counts_what_the_journal_holds(home: Settings) -> None:
    path = step.found_journal(home, "day")
    lines, _ = journals.read(path.read_bytes())
    rows = [line["decision"] for line in lines if line["kind"] == "decision"]
    told = recap.of(path)
    assert told.decisions == len(rows) == sum(told.answered.values())
    assert told.events["parent"] == 2 and told.lines == len(lines)
    begin, end = (datetime.fromisoformat(rows[k]["at"]) for k in (0, -1))
    assert sum(told.minutes.values()) == pytest.approx((end - begin).total_seconds() / 60, abs=0.1)
    assert told.minutes["green"] > 0 and told.minutes["amber"] > 0 and told.minutes["red"] == 0
    by_others = [row for row in rows if row["answered"] not in ("ranked", "nobody")]
    assert told.fallbacks == len(by_others) > 0 and "nobody" in told.answered
    assert (told.level, told.mode) == ("PAUSE", "advisory")


def test_the_page_has_states_refusals_and_what_was_asked_for(home: Settings) -> None:
    path = step.found_journal(home, "day")
    made = page.build(home, path, ReleaseStore(home))
    text = made.read_text()
    assert (
        made.name == "live-2026-03-02.html" and page.build(home, path, ReleaseStore(home)) == made
    )
    assert made.read_text() == text  # the same journal, the same bytes
    for told in ("guardrail amber to green", "fewer at once", "p1", "lunch", "ranked"):
        assert told in text, told
    lines, _ = journals.read(path.read_bytes())
    moments = page.timeline(lines, ReleaseStore(home))
    assert {moment.state for moment in moments} == {0, 1}
    assert moments[-1].levels["cpi_bps"].amber == 50.0
    assert moments[-1].levels["in_flight"].amber == 1000.0 and "Own fills move the market" in text


def test_the_assessment_has_limits_with_articles_levels_and_sessions(home: Settings) -> None:
    told = assessment.of(home)
    assert told is not None
    assert told.limits["max_child_adv"].article == "RTS 6 Art. 15(1)(c) order volume"
    assert [row["who"] for row in told.levels] == ["ann"]
    assert told.sessions[0].sealed and told.stress.to_test_at >= 2
    assert "never replace" in told.note
    assert assessment.of(Settings(home.home / "nothing")) is None


def test_a_landed_date_is_played_decided_on_and_replays(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/none.db")
    landings.write(tmp_path / "landing", landings.clean())
    settings = Settings(tmp_path / "home")
    player = step.player(settings, tmp_path / "landing", landings.DATE, 0.0)
    asked = Asked("play", [], [str(tmp_path / "out")], "ann", watch=False)
    told = step.run(settings, asked, lambda: landings.OPEN + timedelta(days=1), player)
    assert told.sealed and told.recap.decisions > 3 and told.recap.refused == 0
    assert told.recap.events["fill"] == landings.N_FILLS
    assert told.recap.events["market"] >= 2 * 24 * 5  # a quote every ten seconds of each name
    path = Places(settings.home).journal("play")
    assert journals.verify(path).ok and step.replayed(settings, path).differs is None
    assert told.page is not None
    text = told.page.read_text()
    assert "Live session play</h1>" in text and "<svg" in text and "fixed_pov" in text
    assert f'href="live-{landings.DATE}.html"' in (settings.reports / "index.html").read_text()
    with pytest.raises(UsageError, match="no market_snapshots on 2001-01-01"):
        step.player(settings, tmp_path / "landing", "2001-01-01", 0.0)


def test_a_drilled_kill_is_told_by_a_loop_that_hangs_and_kept(tmp_path: Path) -> None:
    """The one second is the drill's own verdict, on the machine that trades."""
    settings = Settings(tmp_path / "home")
    found = kill(settings, "ann", OPEN)
    assert found.latched and found.seconds > 0
    assert found.passed == (found.seconds <= 1.0)
    assert list((settings.home / "live" / "drills").glob("*.json"))
    assert levels.read(Places(settings.home).level).level == "RUN"  # of the home itself
    assert msgspec.json.encode(found.to_dict())
