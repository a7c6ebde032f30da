"""Whatever raises: the loop lives on, the last safe plan stands, the journal says why."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from crossimpact.policy import guardrails, limits
from crossimpact.policy.live import book as books
from crossimpact.policy.live import (
    controls,
    deciding,
    effects,
    events,
    intake,
    pretrade,
    readings,
    session,
    triggers,
    watching,
)
from crossimpact.policy.live.answering import Answering
from crossimpact.policy.live.events import (
    Cancel,
    Clock,
    Control,
    Event,
    LimitsChange,
    ModeChange,
    OrderState,
    Status,
)
from crossimpact.policy.schedule import Scheduler
from crossimpact.policy.scheduling import fast
from pipelines.live import journal as journals
from pipelines.live import levels
from pipelines.live.engine import Engine, Opening, replay
from pipelines.live.loop import Loop
from pipelines.live.places import Places
from pipelines.live.rows import Rows
from tests.crossimpact.policy.live.desk import (
    LOOSE,
    at,
    fill,
    opening,
    parent,
    quotes,
    snapshot,
    swap,
)
from tests.pipelines.live.test_engine import RELEASES, SETTINGS, raws, start


class Broken(RuntimeError):
    """What a test injects."""


@dataclass
class Once:
    """Raises at the given call, and is the real function at any other."""

    real: Callable[..., Any]
    call: int = 1
    error: type[BaseException] = Broken
    calls: int = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        if self.calls == self.call:
            raise self.error("injected")
        return self.real(*args, **kwargs)


OPTIMAL = replace(SETTINGS, policy="optimal")
#: Every handler that an event, a reading or a plan goes through.
HANDLERS: list[tuple[Any, str]] = [
    (session, "applied"), (deciding, "desk_state"), (deciding, "inputs_digest"),
    (deciding, "identity"), (watching, "is_quiet"), (session.Session, "_decide"),
    (effects, "_quoted"), (effects, "_status"), (effects, "_cancel"),
    (books.Book, "quote"), (books.Book, "fill"), (books.Book, "parent"), (books.Book, "state_of"),
    (books.Book, "snapshot"), (books.Book, "begin_bucket"), (books.Book, "begin_session"),
    (books.Book, "outstanding"), (books.Book, "working"), (books.Book, "_mismatch"),
    (intake.Intake, "add"), (intake.Intake, "pop"), (triggers.Triggers, "add"),
    (triggers.Triggers, "taken"), (guardrails, "step"), (guardrails, "advance"),
    (readings.Readings, "pressure"), (readings.Readings, "burned"), (readings.Readings, "close"),
    (Answering, "swap"), (Answering, "answer"), (Answering, "levels"), (Answering, "adv"),
    (controls.Controls, "set_level"), (controls.Controls, "set_mode"),
    (controls.Controls, "set_limits"), (Scheduler, "plan"), (pretrade, "ask"), (limits, "check"),
    (pretrade, "raise_targets"), (pretrade, "targets"),
]  # fmt: skip
IDS = [f"{getattr(place, '__name__', place).rpartition('.')[2]}.{name}" for place, name in HANDLERS]


def rows() -> list[Event]:
    """Half an hour in which every handler has something to do, and another day's first quotes."""
    result: list[Event] = [*opening(), *quotes(62.0)]
    for k in range(1, 5):
        result += quotes(290.0 * k, 100.0 + 0.02 * k)
        result.append(fill(f"f{k}", "p1", "A", 300.0, 290.0 * k + 5, venue_seq=k))
    result += [
        OrderState(parent="p2", status="working", leaves=500.0, at=at(1170.0)),
        Status(symbol="B", status="halted", at=at(1171.0)), parent("p3", "C", 500.0, 1172.0),
        Cancel(parent="p2", at=at(1173.0)), LimitsChange(limits=LOOSE, at=at(1174.0)),
        ModeChange(to="full", who="ann", evidence="e", at=at(1175.0)),
        snapshot(1200.0, {"p1": 1200.0}, {"p1": 200.0}), swap(),
        Clock(data_age_s=0.0, model_age_days=0.0, at=at(1201.0)),
        *quotes(1500.0), *quotes(86400.0), *quotes(86402.0),
    ]  # fmt: skip
    return result


def asked(decision: Any) -> dict[str, float]:
    return {row.parent: row.target for row in decision.targets}


@pytest.mark.parametrize(("place", "name"), HANDLERS, ids=IDS)
def test_a_handler_that_raises_is_undone_paused_on_and_told(
    place: Any, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event is left out and nothing else, no target grows until a person looks, and the sound
    code replays the journal byte for byte."""
    path, day = tmp_path / "day.jsonl", rows()
    engine, half = start(path), len(opening()) + 3
    engine.take(day[:half])
    broken = Once(getattr(place, name), call=2 if name == "add" else 1)
    monkeypatch.setattr(place, name, lambda *args, **kwargs: broken(*args, **kwargs))
    last, paused = asked(engine.last), False
    for event in [*day[half:], Control(level="CANCEL", who="a", reason="b", at=at(86403.0))]:
        for row in engine.take([event]):
            paused = paused or any("Broken" in why for why in row.triggers)
            if paused:  # what a snapshot says is at the market counts as asked for
                assert all(asked(row)[k] <= max(last.get(k, 0.0), 1400.0) for k in asked(row))
                assert row.level in ("PAUSE", "CANCEL")
            last = asked(row)
    assert broken.calls >= broken.call, "the handler had nothing to do"
    monkeypatch.undo()
    assert engine.counts.failed == 1 and engine.session.level != "RUN"
    engine.take([Control(level="RUN", who="ann", reason="looked", at=at(86404.0))])
    engine.take(quotes(86700.0))
    assert engine.session.level == "RUN" and engine.session.now >= at(86400.0)
    engine.journal.close()
    lines, _ = journals.read(path.read_bytes())
    told = [line for line in lines if line.get("event", {}).get("type") == "failed"]
    assert len(told) == 1 and "Broken: injected" in told[0]["event"]["why"]
    assert replay(lines, RELEASES).differs is None
    again = Engine(path, engine.opening, RELEASES)  # and a restart goes on with it
    assert asked(again.last) == asked(engine.last)
    again.journal.close()


def test_no_memory_in_a_plan_is_not_taken_for_the_programs_word(tmp_path, monkeypatch) -> None:
    """A plan that runs out of memory is none; recorded as the ranked one it would not replay."""
    path = tmp_path / "day.jsonl"
    engine = Engine(path, replace(Opening(SETTINGS), settings=OPTIMAL), RELEASES)
    broken = Once(fast.solve, error=MemoryError)
    monkeypatch.setattr(fast, "solve", lambda *words: broken(*words))
    engine.take([swap(), *opening(), *quotes(62.0)])
    assert broken.calls == 1 and engine.session.level == "PAUSE"
    monkeypatch.undo()
    engine.take([Control(level="RUN", who="ann", reason="looked", at=at(63.0)), *quotes(300.5)])
    assert engine.last is not None and engine.last.answered == "optimal"
    engine.journal.close()
    lines, _ = journals.read(path.read_bytes())
    assert replay(lines, RELEASES).differs is None


def test_where_even_telling_of_a_failure_fails_the_loop_ends_killed(tmp_path, monkeypatch) -> None:
    """Fail-stop: KILL is in the level file, for the watchdog to tell, and the journal goes on."""
    path = Places(tmp_path).journal("day")
    engine = start(path)

    def broken(*words: object) -> None:
        raise Broken("for good")

    async def rows() -> Rows:
        yield raws([msgspec.json.encode(events.plain(row)) for row in [*opening(), *quotes(62.0)]])
        await asyncio.sleep(60)

    feed = type("Feed", (), {"rows": staticmethod(rows)})()
    monkeypatch.setattr(session.Session, "_decide", broken)
    loop = Loop(engine, [feed], [], Places(tmp_path), lambda: at(0.0), lambda _: None, watch=False)
    assert asyncio.run(asyncio.wait_for(loop.run(), 120)) is False
    found = levels.read(Places(tmp_path).level)
    assert found.level == "KILL" and "the loop failed: Broken: for good" in found.reason
    engine.journal.close()
    monkeypatch.undo()
    assert start(path).session.level == "RUN"  # the file's level is taken up by the next loop
