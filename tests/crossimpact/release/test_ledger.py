"""The ledger: whole or named broken, one writer at a time, the champion at any moment."""

from __future__ import annotations

import json
import multiprocessing
import re
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossimpact import atomic
from crossimpact.errors import CrossImpactError, StaleModel, Unavailable, UsageError
from crossimpact.release import hash_chain, ledger
from tests.registry import faulty

START = datetime(2026, 1, 1, tzinfo=UTC)


def digest(i: int) -> str:
    return f"{i:064x}"


def append(path: Path, i: int, action: ledger.Action = "promote", new: int | None = None) -> None:
    with ledger.locked(path) as book:
        book.append(
            when=START + timedelta(hours=i),
            who="ann",
            action=action,
            new=digest(i if new is None else new),
            version=i if new is None else new,
            why='a "reason" }\n',
        )


def filled(path: Path, n: int) -> Path:
    for i in range(1, n + 1):
        append(path, i)
    return path


def test_the_chain_of_an_untouched_file_is_whole(tmp_path: Path) -> None:
    path = filled(tmp_path / "home" / "ledger.jsonl", 4)
    assert ledger.verify(path).to_dict() == {
        "ok": True,
        "lines": 4,
        "line": None,
        "problem": "",
        "unacknowledged": False,
    }
    entries = ledger.entries(path)
    assert [entry.old for entry in entries] == [None, *(entry.new for entry in entries[:-1])]
    assert [entry.seq for entry in entries] == [1, 2, 3, 4]
    lines = path.read_bytes().splitlines(keepends=True)
    assert [entry.line for entry in entries] == lines
    assert entries[3].prev == hash_chain.sha256(lines[2])


def test_no_file_is_an_empty_ledger(tmp_path: Path) -> None:
    assert ledger.entries(tmp_path / "none") == []
    assert ledger.verify(tmp_path / "none").ok
    assert ledger.standing(ledger.entries(tmp_path / "none"), START) is None


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_any_changed_byte_is_named_by_its_line(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = filled(Path(folder) / "ledger.jsonl", 4)
        content = bytearray(path.read_bytes())
        at = data.draw(st.integers(0, len(content) - 1))
        byte = data.draw(st.integers(0, 255).filter(lambda b: b != content[at]))
        line = content[:at].count(b"\n") + 1
        content[at] = byte
        path.write_bytes(content)
        assert ledger.verify(path).line == line
        with pytest.raises(StaleModel, match=f"line {line}"):
            ledger.entries(path)


@pytest.mark.parametrize("change", ["drop", "swap", "double", "forge"])
@pytest.mark.parametrize("line", [1, 2, 3])
def test_a_dropped_moved_doubled_or_forged_line_is_named(
    tmp_path: Path, change: str, line: int
) -> None:
    path = filled(tmp_path / "ledger.jsonl", 5)
    lines = path.read_bytes().splitlines(keepends=True)
    i = line - 1
    bad = line
    if change == "drop":
        del lines[i]
    elif change == "swap":
        lines[i], lines[i + 1] = lines[i + 1], lines[i]
    elif change == "double":
        lines.insert(i, lines[i])
        bad = line + 1
    else:  # its own hash made right: the next line does not follow it
        entry = ledger.entries(path)[i]
        object.__setattr__(entry, "new", digest(99))
        lines[i] = entry.line
        bad = line + 1
    path.write_bytes(b"".join(lines))
    assert ledger.verify(path).line == bad


@given(cut=st.integers(1, 10_000))
@settings(max_examples=40, deadline=None)
def test_an_append_cut_short_is_ignored_named_and_dropped_by_the_next(cut: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = filled(Path(folder) / "ledger.jsonl", 2)
        whole, head = path.read_bytes(), Path(f"{path}.head")
        acknowledged = head.read_bytes()
        append(path, 3)
        line = path.read_bytes()[len(whole) :]
        head.write_bytes(acknowledged)  # the kill came before the head was moved
        path.write_bytes(whole + line[: cut % len(line)])
        assert [entry.new for entry in ledger.entries(path)] == [digest(1), digest(2)]
        verdict = ledger.verify(path)
        assert verdict.ok == (cut % len(line) == 0)
        assert verdict.unacknowledged != verdict.ok
        append(path, 3)
        assert path.read_bytes() == whole + line
        assert ledger.verify(path).ok


@pytest.mark.parametrize("left", [0, 1, 3])
def test_lines_missing_at_the_end_are_named(tmp_path: Path, left: int) -> None:
    path = filled(tmp_path / "ledger.jsonl", 4)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:left]))
    verdict = ledger.verify(path)
    assert (verdict.line, verdict.unacknowledged) == (left + 1, False)
    assert verdict.problem == "it is gone: 4 lines were acknowledged"
    with pytest.raises(StaleModel, match=f"line {left + 1}: it is gone"):
        ledger.entries(path)


def test_a_cut_line_that_was_acknowledged_is_no_torn_append(tmp_path: Path) -> None:
    path = filled(tmp_path / "ledger.jsonl", 3)
    path.write_bytes(path.read_bytes()[:-20])
    verdict = ledger.verify(path)
    assert (verdict.line, verdict.unacknowledged) == (3, False)


@pytest.mark.parametrize("cuts", [1, 2, 3])
def test_appends_cut_before_their_acknowledgement_count_for_nobody_and_lock_nobody_out(
    tmp_path: Path, cuts: int
) -> None:
    path = filled(tmp_path / "ledger.jsonl", 2)
    head, whole = Path(f"{path}.head"), path.read_bytes()
    acknowledged = head.read_bytes()
    for i in range(cuts):
        append(path, 3 + i)
        head.write_bytes(acknowledged)
        assert [entry.new for entry in ledger.entries(path)] == [digest(1), digest(2)]
        verdict = ledger.verify(path)
        assert (verdict.lines, verdict.line, verdict.unacknowledged) == (2, 3, True)
    append(path, 9)
    assert path.read_bytes().startswith(whole)
    assert [entry.new for entry in ledger.entries(path)] == [digest(1), digest(2), digest(9)]
    assert ledger.verify(path).ok


def forged(path: Path, **fields: object) -> bytes:
    """A well-formed line after the last one, as somebody may write who can hash."""
    last = ledger.entries(path)[-1]
    made = json.loads(last.line) | {"seq": last.seq + 1, "prev": hash_chain.sha256(last.line)}
    del made["sha256"]
    return hash_chain.line(made | fields)


def acknowledge(path: Path) -> None:
    """Make the head agree with whatever is in the file."""
    lines = path.read_bytes().splitlines(keepends=True)
    hash_chain._acknowledge(path, len(lines), hash_chain.sha256(lines[-1]))


def test_a_forged_line_in_the_file_alone_counts_for_nobody_is_named_and_dropped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hash_chain.LOG, "disabled", False)  # another's logging set-up may do it
    monkeypatch.setattr(hash_chain.LOG, "handlers", [caplog.handler])
    caplog.set_level("WARNING", hash_chain.LOG.name)  # Airflow's level in the tests is ERROR
    path = filled(tmp_path / "ledger.jsonl", 2)
    line = forged(path, who="mallory", action="rollback", new=digest(1), version=1)
    path.write_bytes(path.read_bytes() + line)
    assert ledger.standing(ledger.entries(path)).digest == digest(2)
    verdict = ledger.verify(path)
    assert (verdict.ok, verdict.line) == (False, 3)
    assert "never acknowledged and does not count" in verdict.problem
    append(path, 3)
    assert "dropped what was never acknowledged" in caplog.text and "rollback" in caplog.text
    assert [entry.who for entry in ledger.entries(path)] == ["ann"] * 3


def test_a_ledger_robbed_of_its_head_is_named_however_short_it_was_cut(tmp_path: Path) -> None:
    path = filled(tmp_path / "ledger.jsonl", 3)
    Path(f"{path}.head").unlink()
    lines = path.read_bytes().splitlines(keepends=True)
    for left in (3, 2, 1):
        path.write_bytes(b"".join(lines[:left]))
        assert "its .head file is gone" in ledger.verify(path).problem
        for act in (lambda: ledger.entries(path), lambda: append(path, 4)):
            with pytest.raises(StaleModel, match=r"line 1: its .head file is gone"):
                act()


def test_the_first_append_cut_anywhere_leaves_an_empty_ledger(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    append(path, 1)
    line = path.read_bytes()
    for left in (None, b"", line[:9], line):
        hash_chain._acknowledge(path, 0, hash_chain.GENESIS)
        path.unlink(missing_ok=True)
        if left is not None:
            path.write_bytes(left)
        assert ledger.entries(path) == []
        append(path, 1)
        assert path.read_bytes() == line and ledger.verify(path).ok


def test_a_spoilt_head_is_named(tmp_path: Path) -> None:
    path = filled(tmp_path / "ledger.jsonl", 2)
    Path(f"{path}.head").write_bytes(b"{")
    with pytest.raises(StaleModel, match=r"ledger.jsonl.head cannot be read"):
        ledger.verify(path)


@pytest.mark.parametrize("room", [0, 10, 60])
def test_a_full_disk_is_told_changes_nothing_and_locks_nobody_out(
    tmp_path: Path, room: int
) -> None:
    path = filled(tmp_path / "ledger.jsonl", 2)
    before, head = path.read_bytes(), Path(f"{path}.head").read_bytes()
    for _ in range(3):
        with faulty.full_disk(len(before) + room), pytest.raises(CrossImpactError, match="full"):
            append(path, 3)
        assert (path.read_bytes(), Path(f"{path}.head").read_bytes()) == (before, head)
        assert ledger.verify(path).ok
    append(path, 3)
    assert ledger.verify(path).lines == 3


def test_a_head_that_cannot_be_written_takes_its_line_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(atomic.uuid, "uuid4", lambda: UUID(int=0))
    path = filled(tmp_path / "ledger.jsonl", 2)
    before, draft = path.read_bytes(), path.with_name(f".{UUID(int=0).hex}.tmp")
    draft.mkdir()
    for _ in range(3):
        with pytest.raises(CrossImpactError, match="nothing was changed"):
            append(path, 3)
        assert path.read_bytes() == before and ledger.verify(path).ok
    draft.rmdir()
    append(path, 3)
    assert ledger.verify(path).lines == 3


NO_ENTRIES = {
    "unknown rung": ({"action": "demote", "rungs": {"normal": "hope"}}, "rungs is .*hope"),
    "rungs a list": ({"action": "demote", "rungs": ["normal"]}, "rungs is"),
    "rungs a text": ({"action": "fallback", "rungs": "self_only"}, "rungs is"),
    "a rung that is none": ({"action": "demote", "rungs": {"normal": ["full"]}}, "rungs is"),
    "unknown action": ({"action": "crown"}, "action is 'crown', must be one of promote"),
    "an action that is none": ({"action": {"promote": 1}}, "action is"),
    "no moment": ({"when": "yesterday"}, "when is 'yesterday', must be a moment"),
    "a number for a moment": ({"when": 7}, "when is 7"),
    "a moment without zone": ({"when": "2026-02-01T00:00:00"}, "when is"),
    "a moment before the last": ({"when": "2025-02-01T00:00:00+00:00"}, "before the line above"),
    "short digest": ({"new": "abc"}, "new is 'abc', must be a digest"),
    "digest of another kind": ({"new": 7}, "new is 7"),
    "no release": ({"new": None}, "a promote names no release"),
    "version a text": ({"version": "2"}, "version is '2'"),
    "version below zero": ({"version": -1}, "version is -1"),
    "version beyond any database": ({"version": 1 << 63}, "version is 9223372036854775808"),
    "version a truth": ({"version": True}, "version is True"),
    "who a list": ({"who": ["ann"]}, "who is"),
    "half a character": ({"why": "a\udcff"}, "why is 'a.*udcff', must be text"),
    "why a number": ({"why": 1.5}, "why is 1.5"),
    "approver nothing": ({"approver": None}, "approver is None"),
    "refused a text": ({"refused": "none"}, "refused is 'none'"),
    "refused numbers": ({"refused": [1]}, "refused is"),
    "identity": ({"identity": "trust me"}, "identity is"),
    "a field too many": ({"rank": 1}, "rank"),
}


@pytest.mark.parametrize("name", NO_ENTRIES)
def test_a_chained_acknowledged_line_of_no_sense_is_named_by_everybody(
    tmp_path: Path, name: str
) -> None:
    path = filled(tmp_path / "ledger.jsonl", 2)
    fields, why = NO_ENTRIES[name]
    path.write_bytes(path.read_bytes() + forged(path, **fields))
    acknowledge(path)
    verdict = ledger.verify(path)
    assert (verdict.ok, verdict.line, verdict.unacknowledged) == (False, 3, False)
    assert re.search(why, verdict.problem), verdict.problem
    for act in (lambda: ledger.entries(path), lambda: append(path, 4)):
        with pytest.raises(StaleModel, match="broken at line 3: it is no entry"):
            act()


def test_a_field_that_is_missing_is_named(tmp_path: Path) -> None:
    path = filled(tmp_path / "ledger.jsonl", 1)
    body = json.loads(forged(path))
    for name in ("sha256", "why"):
        del body[name]
    path.write_bytes(path.read_bytes() + hash_chain.line(body))
    acknowledge(path)
    assert "the fields why are missing" in ledger.verify(path).problem


def test_nothing_is_written_that_could_not_be_read_back(tmp_path: Path) -> None:
    path = filled(tmp_path / "ledger.jsonl", 1)
    with pytest.raises(UsageError, match=r"rungs is .*hope"):
        demote(path, 2, normal="hope")
    assert ledger.verify(path).lines == 1


def test_a_login_is_told_from_a_name_and_older_lines_read_as_names(tmp_path: Path) -> None:
    path = filled(tmp_path / "ledger.jsonl", 1)
    assert b"identity" not in path.read_bytes()
    with ledger.locked(path) as book:
        when = START + timedelta(hours=2)
        book.append(
            when=when, who="a", action="rollback", new=digest(1), version=1, identity="login"
        )
    assert [entry.identity for entry in ledger.entries(path)] == ["name", "login"]
    append(path, 3)
    assert ledger.verify(path).ok


def test_a_held_ledger_is_waited_for_as_long_as_asked(tmp_path: Path) -> None:
    path = filled(tmp_path / "ledger.jsonl", 1)
    start = time.monotonic()
    with (
        ledger.locked(path),
        pytest.raises(Unavailable, match=r"ledger.lock is held by another process"),
        ledger.locked(path, wait_s=0.2),
    ):
        pass
    assert time.monotonic() - start >= 0.2
    append(path, 2)


def held(path: Path) -> dict[str, str]:
    live = ledger.standing(ledger.entries(path))
    return {regime: hold.rung for regime, hold in live.held.items()} if live else {}


def demote(path: Path, hours: int, **rungs: str) -> None:
    with ledger.locked(path) as book:
        when = START + timedelta(hours=hours)
        book.append(when=when, who="ann", action="demote", why="slope 0.2", rungs=rungs)


def test_a_demotion_holds_until_its_champion_is_promoted_again(tmp_path: Path) -> None:
    path = filled(tmp_path / "ledger.jsonl", 2)
    demote(path, 3, stressed="self_only")
    demote(path, 4, normal="sector_block")
    assert held(path) == {"stressed": "self_only", "normal": "sector_block"}
    reason = ledger.standing(ledger.entries(path)).held["stressed"].reason
    assert reason == "demoted by ann on 2026-01-01: slope 0.2"
    append(path, 5, "promote", 3)
    assert held(path) == {}  # another champion
    append(path, 6, "rollback", 2)
    assert held(path) == {"stressed": "self_only", "normal": "sector_block"}
    append(path, 7, "promote", 2)
    assert held(path) == {}


def test_witnesses_change_nothing_and_name_the_champion(tmp_path: Path) -> None:
    path = filled(tmp_path / "ledger.jsonl", 2)
    before = ledger.standing(ledger.entries(path))
    with ledger.locked(path) as book:
        for action in ("fallback", "drift"):
            entry = book.append(when=START + timedelta(days=1), who="x", action=action, why="w")
            assert (entry.old, entry.new, entry.version) == (digest(2), digest(2), 2)
    assert ledger.standing(ledger.entries(path)) == before
    assert ledger.previous(ledger.entries(path)).version == 1


def test_promoting_the_champion_again_is_no_step_to_roll_back_to(tmp_path: Path) -> None:
    path = filled(tmp_path / "ledger.jsonl", 2)
    demote(path, 3, normal="self_only")
    append(path, 4, "promote", 2)
    assert ledger.previous(ledger.entries(path)).version == 1


def test_a_broken_ledger_is_not_extended(tmp_path: Path) -> None:
    path = filled(tmp_path / "ledger.jsonl", 3)
    broken = path.read_bytes().replace(b"ann", b"bob", 1)
    path.write_bytes(broken)
    with pytest.raises(StaleModel, match="line 1"):
        append(path, 4)
    assert path.read_bytes() == broken


@pytest.mark.parametrize(
    ("hours", "champion"), [(0.5, None), (1, 1), (1.5, 1), (2, 2), (2.99, 2), (9, 3)]
)
def test_as_of_is_the_champion_at_that_moment(
    tmp_path: Path, hours: float, champion: int | None
) -> None:
    path = filled(tmp_path / "ledger.jsonl", 3)
    moment = START + timedelta(hours=hours)
    for ts in (moment, moment.replace(tzinfo=None)):  # without a zone: UTC
        live = ledger.standing(ledger.entries(path), ts)
        assert (live.digest if live else None) == (digest(champion) if champion else None)


def test_time_does_not_run_backwards(tmp_path: Path) -> None:
    path = filled(tmp_path / "ledger.jsonl", 3)
    with pytest.raises(UsageError, match="before the ledger's last entry"):
        append(path, 2)
    assert ledger.verify(path).lines == 3


@given(minutes=st.lists(st.integers(-4, 4), min_size=2, max_size=6))
@settings(max_examples=25, deadline=None)
def test_machines_whose_clocks_differ_a_little_promote_in_the_order_of_the_file(
    minutes: list[int],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.jsonl"
        for i, skew in enumerate(minutes):
            with ledger.locked(path) as book:
                now = START + timedelta(minutes=max(skew, max([*minutes[:i], 0]) - 4))
                book.append(when=now, who="a", action="promote", new=digest(i), version=i)
        when = [entry.when for entry in ledger.entries(path)]
        assert when == sorted(when)
        assert ledger.standing(ledger.entries(path), START + timedelta(hours=1)).version == i


def test_a_rollback_undoes_the_promotion_before_it(tmp_path: Path) -> None:
    path = filled(tmp_path / "ledger.jsonl", 3)
    expected = [2, 1, None]
    for i, champion in enumerate(expected):
        before = ledger.previous(ledger.entries(path))
        assert (before.version if before else None) == champion
        if champion:
            append(path, 10 + i, "rollback", champion)


def _promoter(path: Path, first: int) -> None:
    for i in range(first, first + 20):
        with ledger.locked(path) as book:
            book.append(when=START, who="p", action="promote", new=digest(i), version=i)


def test_two_processes_keep_the_chain_whole(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_promoter, args=(path, first)) for first in (100, 200)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert ledger.verify(path).lines == 40
    assert ledger.verify(path).ok
    assert {entry.version for entry in ledger.entries(path)} == {*range(100, 120), *range(200, 220)}
