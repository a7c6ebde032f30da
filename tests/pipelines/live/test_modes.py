"""The mode of a running session: one step up with a second person and evidence, down at once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from crossimpact.errors import GateRefused, UsageError
from crossimpact.policy.live.events import Clock, Control
from pipelines.live import levels, modes
from pipelines.live import run as step
from pipelines.live.engine import Engine, Opening
from pipelines.live.places import Places
from pipelines.live.release_store import ReleaseStore
from pipelines.store.settings import Settings
from tests.crossimpact.policy.live.desk import RELEASE, at, opening, swap
from tests.pipelines.live.test_engine import SETTINGS

NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)


def begun(settings: Settings, name: str) -> Engine:
    """An open session that has decided."""
    store = ReleaseStore(settings)
    store.keep(RELEASE)
    told = Opening(replace(SETTINGS, name=name))
    engine = Engine(Places(settings.home).journal(name), told, store)
    engine.take([swap(), *opening(), Clock(data_age_s=0.0, model_age_days=0.0, at=at(1.0))])
    return engine


def turn(engine: Engine, watch: modes.Watch, seconds: float) -> str:
    """A turn of the loop with what the mode file says; the mode after it."""
    when = at(seconds)
    clock = Clock(data_age_s=0.0, model_age_days=0.0, at=when)
    engine.take([*watch.changes(engine.session, when), clock])
    return engine.session.mode


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    """A home with one sealed advisory session and a second one under way."""
    settings = Settings(tmp_path / "home")
    begun(settings, "first").journal.seal()
    return settings


def ask(home: Settings, mode: str = "full", approver: str = "bob", reason: str = "two weeks"):
    return step.set_mode(home, mode, "ann", approver, reason, NOW)


def test_a_step_up_is_applied_journaled_and_not_again_after_a_restart(home: Settings) -> None:
    engine = begun(home, "second")
    watch = modes.Watch(modes.path_of(home))
    assert turn(engine, watch, 61.0) == "advisory"
    told = ask(home)
    assert told.session == "second" and told.evidence.startswith("session first, ")
    assert turn(engine, watch, 62.0) == "full" and turn(engine, watch, 63.0) == "full"
    with pytest.raises(UsageError, match="second is full already"):
        ask(home)
    engine.take([Control(level="CANCEL", who="ann", reason="news", at=at(64.0))])
    engine.take([Control(level="RUN", who="ann", reason="over", at=at(65.0))])
    engine.journal.close()
    again = begun(home, "second")
    assert turn(again, modes.Watch(modes.path_of(home)), 66.0) == "advisory"
    path = step.found_journal(home, "second")
    assert b"ann, approved by bob" in path.read_bytes()
    assert step.replayed(home, path).differs is None


def test_a_step_down_needs_a_name_alone_and_works_while_a_level_is_latched(home: Settings) -> None:
    engine, watch = begun(home, "second"), modes.Watch(modes.path_of(home))
    ask(home)
    assert turn(engine, watch, 61.0) == "full"
    levels.write(Places(home.home).level, "PAUSE", "ann", "lunch")
    ask(home, "advisory", approver="", reason="")
    assert turn(engine, watch, 62.0) == "advisory"


@pytest.mark.parametrize(
    ("approver", "reason", "told"),
    [
        ("", "two weeks", "needs a second person, and ann asks for it"),
        ("ann", "two weeks", "needs a second person, and ann asks for it"),
        ("bob", " ", "needs a reason"),
    ],
)
def test_a_step_up_by_one_person_or_without_a_reason_is_refused(
    home: Settings, approver: str, reason: str, told: str
) -> None:
    begun(home, "second")
    with pytest.raises(GateRefused, match=told):
        ask(home, approver=approver, reason=reason)
    assert not modes.path_of(home).exists()


def test_a_step_up_is_refused_while_a_level_is_latched(home: Settings) -> None:
    begun(home, "second")
    levels.write(Places(home.home).level, "PAUSE", "ann", "lunch")
    with pytest.raises(GateRefused, match="PAUSE by ann is latched"):
        ask(home)


def test_only_a_sealed_whole_and_advisory_session_is_evidence(home: Settings) -> None:
    first = step.found_journal(home, "first")
    whole = first.read_bytes()
    engine = begun(home, "second")
    first.write_bytes(whole.replace(b'"A"', b'"Z"', 1))
    with pytest.raises(GateRefused, match="first: its sha256 does not match"):
        ask(home)
    first.write_bytes(whole)
    ask(home)
    assert turn(engine, modes.Watch(modes.path_of(home)), 61.0) == "full"
    engine.journal.seal()
    first.unlink()
    begun(home, "third")
    with pytest.raises(GateRefused, match="second: it was not advisory throughout"):
        ask(home)


def test_without_an_open_session_there_is_no_mode_to_change(home: Settings) -> None:
    with pytest.raises(UsageError, match="no live session is open"):
        ask(home)


def test_another_session_is_not_told_and_a_file_of_nonsense_is_a_step_down(home: Settings) -> None:
    engine, path = begun(home, "second"), modes.path_of(home)
    ask(home)
    other = begun(home, "third")
    assert turn(other, modes.Watch(path), 61.0) == "advisory"
    watch = modes.Watch(path)
    assert turn(engine, watch, 61.0) == "full"
    path.write_text("full please")
    assert turn(engine, watch, 62.0) == "advisory"


def test_a_file_written_by_hand_without_a_second_person_is_no_step_up(home: Settings) -> None:
    engine, path = begun(home, "second"), modes.path_of(home)
    ask(home)
    path.write_text(path.read_text().replace('"bob"', '"ann"'))
    assert turn(engine, modes.Watch(path), 61.0) == "advisory"
    assert engine.session.controls.asked_mode is not None
