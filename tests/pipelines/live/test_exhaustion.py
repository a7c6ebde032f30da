"""A loop that runs out of disk or memory, or loses its registry: levels hold, nothing is lost."""

from __future__ import annotations

import asyncio
import re
import resource
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines.live import journal as journals
from pipelines.live import levels
from pipelines.live import loop as loops
from pipelines.live import run as step
from pipelines.live.backlog import BACKLOG
from pipelines.live.loop import Loop
from pipelines.live.places import Places
from pipelines.live.rows import Raw, Rows
from pipelines.store.settings import Settings
from tests.crossimpact.policy.live.desk import at, quote, quotes
from tests.pipelines.live.test_engine import start
from tests.pipelines.live.test_loop import PATIENCE_S, desk, lines, loop, told, until

UNLIMITED = resource.RLIM_INFINITY


def events_of(path: Path) -> list[str]:
    """Whole lines of a feed in a journal, by their place."""
    rows, _ = journals.read(path.read_bytes())
    return [row["number"] for row in rows if "feed" in row]


def test_a_full_disk_pauses_the_session_and_loses_nothing(tmp_path: Path) -> None:
    """The kernel refuses the journal's next byte: what waits is bounded, PAUSE is latched and told
    with its reason, and after room is made every event is on disk once."""
    home, feed, out = tmp_path / "home", tmp_path / "feed", tmp_path / "out.jsonl"
    feed.write_bytes(lines(desk()))
    words = ["--feed", str(feed), "--output", str(out), "--session", "day", "--watchdog", "600"]
    places = Places(home)
    path = places.journal("day")
    with loop(home, *words) as process:
        until(lambda: any(row.get("targets") for row in told(out)), "deciding")
        full = path.stat().st_size + 10
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (full, UNLIMITED))
        with feed.open("ab") as stream:
            for k in range(1, 60):
                stream.write(lines(quotes(10.0 + k)))
        until(lambda: levels.read(places.level).level == "PAUSE", "paused")
        reason = levels.read(places.level).reason
        assert "bytes wait to be written: File too large" in reason
        until(lambda: told(out)[-1].get("level") == "PAUSE", "told")
        assert path.stat().st_size <= full
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (UNLIMITED, UNLIMITED))
        count = len(feed.read_bytes().splitlines())
        until(lambda: len(events_of(path)) == count, "written")
        until(lambda: told(out)[-1].get("seq") and told(out)[-1]["level"] == "PAUSE", "taken up")
        step.set_level(Settings(home), "RUN", "ann", "room was made")
        until(lambda: told(out)[-1].get("level") == "RUN", "reset")
    assert events_of(path) == list(range(count))
    settings = Settings(home)
    assert step.replayed(settings, path).differs is None
    seqs = [row["seq"] for row in told(out) if row["type"] == "decision"]
    assert seqs == sorted(set(seqs))


def test_without_memory_a_kill_is_told_all_the_same_and_nothing_is_lost(tmp_path: Path) -> None:
    """Not a byte more than the loop has, and 30 MB to take: whatever becomes of it (it goes on, or
    hangs where Python starts a thread), KILL is told, latched, and after kill -9 and a restart
    every line is on disk once."""
    home, feed, out = tmp_path / "home", tmp_path / "feed", tmp_path / "out.jsonl"
    feed.write_bytes(lines(desk()))
    words = ["--feed", str(feed), "--output", str(out), "--session", "day", "--watchdog", "600"]
    places = Places(home)
    path = places.journal("day")
    with loop(home, *words) as process:
        until(lambda: any(row.get("targets") for row in told(out)), "deciding")
        data = re.search(r"VmData:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
        assert data is not None
        size = 1024 * int(data.group(1))
        resource.prlimit(process.pid, resource.RLIMIT_DATA, (size, UNLIMITED))
        with feed.open("ab") as stream:
            for k in range(60):
                stream.write(b"x" * 500_000 + b"\n" + lines([quote("A", 10.0 + k)]))
        levels.write(places.level, "KILL", "ann", "out of memory")
        until(lambda: [r for r in told(out) if r.get("type") == "level"], "told")
        process.kill()
        process.wait(PATIENCE_S)
    before = [row["seq"] for row in told(out) if row["type"] == "decision"]
    with loop(home, *words):
        count = len(feed.read_bytes().splitlines())
        until(lambda: len(events_of(path)) == count, "read")
        until(lambda: told(out)[-1].get("level") == "KILL", "latched")
    assert events_of(path) == list(range(count))
    rows = [row for row in told(out) if row["type"] == "decision"]
    assert rows[-1]["level"] == "KILL" and rows[-1]["seq"] >= before[-1]
    asked = [target["target"] for row in rows for target in row["targets"]]
    assert asked and max(asked) <= 900.0
    assert step.replayed(Settings(home), path).differs is None


def test_feeds_wait_where_the_loop_does_not_take_their_events(tmp_path: Path) -> None:
    """What has arrived and waits is bounded, and all of it is taken once there is room."""
    given: list[int] = []

    async def rows() -> Rows:
        for k in range(40):
            given.append(k)
            yield [Raw(b"x" * 1_000_000, "feed", k)]

    async def run() -> None:
        feed: Any = SimpleNamespace(rows=rows)
        made = Loop(
            start(tmp_path / "day.jsonl"), [feed], [], Places(tmp_path), lambda: at(0.0), print
        )
        reading = asyncio.create_task(made._read(feed))
        while made._backlog._waiting < BACKLOG - 1_000_000:
            await asyncio.sleep(0)
        assert len(given) == pytest.approx(BACKLOG / 1e6, abs=2)
        taken = 0
        while taken < 40:
            batch, _ = await made._backlog.arrived(0.1)
            taken += sum(len(raws) for _, raws in batch)
        await reading

    asyncio.run(asyncio.wait_for(run(), PATIENCE_S))
    assert given == list(range(40))


def test_a_feed_that_fails_has_not_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is opened again, what it gives twice counts once, and the session is not sealed before its
    end."""
    monkeypatch.setattr(loops, "AGAIN_S", 0.01)
    content = [Raw(line, "feed", k) for k, line in enumerate(lines(desk()).splitlines())]
    opened: list[int] = []

    async def rows() -> Rows:
        opened.append(1)
        yield content[:3]
        if len(opened) < 3:
            raise OSError(5, "Input/output error")
        yield content

    async def nothing() -> None:
        """Nobody waits."""

    feed: Any = SimpleNamespace(rows=rows, acknowledge=nothing)
    engine = start(tmp_path / "day.jsonl")
    made = Loop(engine, [feed], [], Places(tmp_path), lambda: at(0.0), print, watch=False)
    assert asyncio.run(asyncio.wait_for(made.run(), PATIENCE_S))
    assert len(opened) == 3 and engine.counts.duplicates == 3 + 3 + 3
    assert set(engine.session.book.orders) == {"p1"}
    assert made.metrics.failed_feeds._value.get() == 2
