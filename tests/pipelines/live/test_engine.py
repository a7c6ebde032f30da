"""Journal, restart and replay: cut anywhere, the day ends as if nothing had happened."""

from __future__ import annotations

import errno
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from crossimpact.errors import StaleModel
from crossimpact.policy.live import events
from crossimpact.policy.live.events import Control, Event, Regime
from crossimpact.policy.live.settings import Settings
from pipelines.live import journal as journals
from pipelines.live.engine import Behind, Engine, Opening, replay
from pipelines.live.rows import Raw
from tests.crossimpact.policy.live import desk
from tests.crossimpact.policy.live.desk import LOOSE, RELEASE, fill, opening, quotes, snapshot, swap

SETTINGS = Settings("2026-03-02", LOOSE, policy="ranked", horizon=4, stale_s=400.0, reading_s=300.0)
RELEASES = {RELEASE.digest: RELEASE}.__getitem__


def feed() -> list[bytes]:
    """Half an hour of a desk as its lines, one of them broken."""
    rows: list[Event] = opening()
    for k in range(1, 7):
        rows += quotes(290.0 * k, 100.0 + 0.02 * k)
        if k == 1:  # no model answers from here on: a plan is quickly made
            rows.append(Regime(regime="unknown", at=desk.at(290.0 * k + 1)))
        rows.append(fill(f"f{k}", "p1", "A", 300.0, 290.0 * k + 5, venue_seq=k))
    rows.append(snapshot(1800.0, {"p1": 1800.0, "p2": 0.0}, {"p1": 200.0, "p2": None}))
    rows += quotes(2100.0)
    lines = [msgspec.json.encode(events.plain(row)) for row in rows]
    return [*lines[:9], b'{"type":"market","bid":NaN}', *lines[9:]]


def raws(lines: list[bytes]) -> list[Raw]:
    return [Raw(line, "feed", number) for number, line in enumerate(lines)]


def start(path: Path) -> Engine:
    engine = Engine(path, Opening(SETTINGS), RELEASES)
    if engine.session.release is None:
        engine.take([swap()])
    return engine


def day(path: Path, lines: list[bytes], batch: int = 1) -> Engine:
    engine, rows = start(path), raws(lines)
    for k in range(0, len(rows), batch):
        engine.take(rows[k : k + batch])
    return engine


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[bytes], bytes]:
    path = tmp_path_factory.mktemp("whole") / "day.jsonl"
    lines = feed()
    day(path, lines).journal.close()
    return lines, path.read_bytes()


def asked(content: bytes) -> dict[str, float]:
    """The last decision's targets."""
    rows = [json.loads(line) for line in content.splitlines() if b'"kind":"decision"' in line]
    return {row["parent"]: row["target"] for row in rows[-1]["decision"]["targets"]}


def test_a_journal_cut_at_any_byte_ends_as_the_uninterrupted_one(whole, tmp_path: Path) -> None:
    """At least 200 places: every line's end, its middle, and one byte to either side."""
    lines, content = whole
    ends = [0]
    for line in content.splitlines(keepends=True):
        ends.append(ends[-1] + len(line))
    points = sorted(
        {
            point
            for one, other in itertools.pairwise(ends)
            for point in (one, one + 1, (one + other) // 2, one + (other - one) // 4, other - 1)
        }
    )
    assert len(points) >= 200
    path = tmp_path / "day.jsonl"
    for point in points:
        path.write_bytes(content[:point])
        day(path, lines, batch=len(lines)).journal.close()
        assert path.read_bytes() == content, f"cut at byte {point}"


def test_sending_everything_again_asks_for_nothing_twice(whole, tmp_path: Path) -> None:
    lines, content = whole
    path = tmp_path / "day.jsonl"
    path.write_bytes(content)
    engine = start(path)
    (again,) = engine.take([])  # its last word, which may never have arrived
    assert {row.parent: row.target for row in again.targets} == asked(content)
    assert engine.take(raws(lines)) == [] and engine.counts.duplicates == len(lines)
    engine.journal.close()
    assert path.read_bytes() == content


KILLED = """
import os, sys
from pathlib import Path
from tests.pipelines.live.test_engine import feed, raws, start
engine = start(Path(sys.argv[1]))
for number, raw in enumerate(raws(feed())):
    engine.take([raw])
    if number == int(sys.argv[2]):
        os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("number", [3, 12])
def test_a_killed_process_is_gone_on_with(whole, tmp_path: Path, number: int) -> None:
    lines, content = whole
    path = tmp_path / "day.jsonl"
    command = [sys.executable, "-c", KILLED, str(path), str(number)]
    assert subprocess.run(command, env={**os.environ, "PYTHONPATH": "."}).returncode == -9
    assert 0 < path.stat().st_size < len(content)
    day(path, lines).journal.close()
    assert path.read_bytes() == content


def test_decision_ids_are_of_session_release_state_inputs_and_number(whole) -> None:
    _, content = whole
    rows = [json.loads(line)["decision"] for line in content.splitlines() if b'"plan"' in line]
    assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
    assert len({row["id"] for row in rows}) == len(rows) > 5
    assert {row["propensity"] for row in rows} == {1.0}


def test_a_replay_is_byte_for_byte_and_names_the_first_difference(whole) -> None:
    _, content = whole
    lines, _ = journals.read(content)
    assert replay(lines, RELEASES).differs is None
    at = next(k for k, line in enumerate(lines) if line.get("plan"))
    at = next(k for k in range(at, len(lines)) if lines[k].get("decision", {}).get("targets"))
    forged = json.loads(json.dumps(lines[at]))
    forged["decision"]["targets"][0]["target"] += 1.0
    found = replay([*lines[:at], forged, *lines[at + 1 :]], RELEASES)
    assert found.differs == at + 1 and found.decisions > 5
    assert "target: " in found.said and found.said != found.again


def test_what_was_tampered_with_is_refused_by_its_line(whole, tmp_path: Path) -> None:
    _, content = whole
    path = tmp_path / "day.jsonl"
    rows = content.splitlines(keepends=True)
    for broken in (
        [*rows[:4], rows[4].replace(b"2026", b"2027", 1), *rows[5:]],
        [*rows[:4], *rows[5:]],
        [*rows[:4], rows[5], rows[4], *rows[6:]],
        [*rows[:4], rows[3], *rows[4:]],
    ):
        path.write_bytes(b"".join(broken))
        assert not journals.verify(path).ok and journals.verify(path).line == 5
        with pytest.raises(StaleModel, match="line 5 of journal"):
            start(path)


def test_a_sealed_journal_is_whole_and_ends(whole, tmp_path: Path) -> None:
    _, content = whole
    path = tmp_path / "day.jsonl"
    path.write_bytes(content)
    assert not journals.verify(path).ok and journals.verify(path).problem == "it is not sealed"
    made = start(path).journal.seal()
    assert journals.verify(path).ok and made.releases == (RELEASE.digest,)
    with pytest.raises(StaleModel, match="is sealed"):
        start(path)
    sealed = path.read_bytes()
    for cut in (content, sealed[:-1], sealed[: len(content) // 2]):
        path.write_bytes(cut)
        assert not journals.verify(path).ok


def test_a_full_disk_keeps_decisions_back_and_nothing_is_lost(whole, tmp_path, monkeypatch) -> None:
    lines, content = whole
    path = tmp_path / "day.jsonl"
    engine = start(path)
    real, sent = os.pwrite, []

    def full(handle: int, data: bytes, at: int) -> int:
        if len(data) > 10:
            return real(handle, data[:10], at)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    refused, waiting = 0, list(raws(lines))
    while waiting:
        monkeypatch.setattr(os, "pwrite", full if len(waiting) < 40 and refused < 10 else real)
        size = path.stat().st_size
        try:
            sent += engine.take(waiting[:1])
        except Behind:  # not taken: what waits is one batch, however long this lasts
            refused += 1
            assert engine.journal.waiting < 5_000 and path.stat().st_size == size
            continue
        except OSError:
            assert path.stat().st_size == size
        waiting = waiting[1:]
    assert refused == 10
    engine.journal.close()
    assert path.read_bytes() == content
    rows = [json.loads(line)["decision"] for line in content.splitlines() if b'"plan"' in line]
    assert [row.id for row in sent] == [row["id"] for row in rows]


def test_levels_are_latched_across_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "day.jsonl"
    engine = start(path)
    engine.take(raws(feed())[:10])
    (killed,) = engine.take([Control(level="KILL", who="ann", reason="drill", at=desk.at(60))])
    assert killed.level == "KILL" and killed.mode == "advisory"
    engine.journal.close()
    again = start(path)
    assert again.session.level == "KILL"
    assert again.last is not None and again.last.id == killed.id
