"""The loop as a process: levels with a hung loop, restarts, feeds and outputs of every kind."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from crossimpact.errors import GateRefused, UsageError
from crossimpact.policy.limits import FILE
from crossimpact.policy.live import events
from pipelines.live import addresses, feeds, levels, recap
from pipelines.live import journal as journals
from pipelines.live import run as step
from pipelines.live.feeds import FileFeed
from pipelines.live.metrics import Metrics
from pipelines.live.places import Places
from pipelines.store.settings import Settings
from tests.crossimpact.policy.live.desk import fill, opening, parent, quote, quotes
from tests.pipelines.live.test_modes import begun

#: A slow day of a slow machine; nothing here is a measurement.
PATIENCE_S = 60.0


def lines(rows: list) -> bytes:
    return b"".join(msgspec.json.encode(events.plain(row)) + b"\n" for row in rows)


def desk() -> list:
    """Quotes that say the names' ADV: no release does."""
    rows = [msgspec.structs.replace(q, adv_usd=1e8) for q in quotes(0.5)]
    return [opening()[0], *rows, parent("p1", "A", 900.0), quote("A", 5.0)]


def until(done: Callable[[], object], what: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < end, f"not {what} in {PATIENCE_S:g} s"
        time.sleep(0.02)


@contextmanager
def loop(home: Path, *words: str, stdin: int | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """`crossimpact live` with its registry away; ended by its process id."""
    command = [sys.executable, "-m", "crossimpact", "live", "--home", str(home), *words]
    env = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{home}/none.db"}
    process = subprocess.Popen(
        command, env=env, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)
            process.terminate()
        try:
            process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()


def told(path: Path) -> list[dict]:
    rows = path.read_bytes().splitlines() if path.exists() else []
    return [json.loads(row) for row in rows if row.strip()]


def test_a_hung_loop_is_killed_by_a_file_latched_and_gone_on_with(tmp_path: Path) -> None:
    """SIGSTOP; KILL is in the output all the same, holds over kill -9 and restart, until a reset
    by name and reason; what is outstanding stays outstanding."""
    home, feed, out = tmp_path / "home", tmp_path / "feed", tmp_path / "out.jsonl"
    feed.write_bytes(lines(desk()))
    words = ["--feed", str(feed), "--output", str(out), "--session", "day", "--watchdog", "600"]
    places = Places(home)
    with loop(home, *words) as process:
        until(lambda: any(row.get("targets") for row in told(out)), "deciding")
        process.send_signal(signal.SIGSTOP)
        levels.write(places.level, "KILL", "ann", "fat finger")
        until(lambda: told(out)[-1].get("type") == "level", "told by the watchdog")
        assert told(out)[-1] == {
            "type": "level", "level": "KILL", "who": "ann", "reason": "fat finger",
        }  # fmt: skip
        process.kill()
        process.wait(PATIENCE_S)
    before = len(told(out))
    with loop(home, *words):
        until(lambda: [r for r in told(out)[before:] if r.get("level") == "KILL"], "latched")
        (killed,) = [r for r in told(out)[before:] if r.get("triggers", [""])[0][:4] == "KILL"]
        assert killed["targets"][0]["target"] == 0.0 and killed["outstanding"]["p1"] > 0
        with pytest.raises(UsageError, match="needs a reason"):
            step.set_level(Settings(home), "RUN", "ann", " ")
        step.set_level(Settings(home), "RUN", "ann", "all clear")
        until(lambda: told(out)[-1].get("level") == "RUN", "reset")
        assert told(out)[-1]["triggers"] == ["reset by ann: all clear"]
    rows = [row for row in told(out) if row["type"] == "decision"]
    assert len({row["id"] for row in rows}) == max(row["seq"] for row in rows)


def test_the_watchdog_kills_a_loop_that_finishes_no_turn(tmp_path: Path) -> None:
    home, feed, out = tmp_path / "home", tmp_path / "feed", tmp_path / "out.jsonl"
    feed.write_bytes(lines(desk()))
    words = ["--feed", str(feed), "--output", str(out), "--session", "d", "--watchdog", "5"]
    with loop(home, *words) as process:
        until(lambda: told(out), "deciding")
        process.send_signal(signal.SIGSTOP)
        beat = Places(home).heartbeat
        os.utime(beat)
        until(lambda: told(out)[-1].get("level") == "KILL", "killed")
        assert told(out)[-1]["who"] == "watchdog" and "hangs" in told(out)[-1]["reason"]
        assert levels.read(Places(home).level).level == "KILL"


def test_levels_by_signal_modes_by_file_a_feed_that_ends_and_a_seal(tmp_path: Path) -> None:
    home = tmp_path / "home"
    first = begun(Settings(home), "first")
    first.journal.seal()
    with loop(home, "--session", "day", "--port", "0", stdin=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(lines(desk()) + b"half a li")
        process.stdin.flush()
        until(lambda: Places(home).journal("day").exists(), "started")
        until(lambda: b'"decision"' in Places(home).journal("day").read_bytes(), "deciding")
        now = datetime.now(UTC)
        step.set_mode(Settings(home), "full", "ann", "bob", "two weeks", now)
        until(lambda: b'"mode":"full"' in Places(home).journal("day").read_bytes(), "stepped up")
        step.set_mode(Settings(home), "advisory", "ann", "", "", now)
        until(lambda: b'"to":"advisory"' in Places(home).journal("day").read_bytes(), "down again")
        process.send_signal(signal.SIGUSR1)
        until(lambda: b'"level":"PAUSE"' in Places(home).journal("day").read_bytes(), "paused")
        process.stdin.close()
        process.stdin = None
        rows = [json.loads(row) for row in process.stdout.read().splitlines() if row.strip()]
        assert process.wait(PATIENCE_S) == 0
    assert "PAUSE" in {row["level"] for row in rows}
    modes = [row["mode"] for row in rows if row["type"] == "decision"]
    assert "full" in modes and modes[-1] == "advisory"
    assert journals.verify(Places(home).journal("day")).ok
    settings = Settings(home)
    assert step.replayed(settings, step.found_journal(settings, "day")).differs is None
    summary = recap.of(Places(home).journal("day")).to_dict()
    assert summary["refused"] == 1 and summary["level"] == "PAUSE"  # the half line


def test_a_level_file_says_what_a_shell_wrote_and_nonsense_kills(tmp_path: Path) -> None:
    path = tmp_path / "live" / "level"
    assert levels.read(path).level == "RUN"
    levels.prepare(path)
    size = path.stat().st_size
    for text, level in (
        ("KILL ann fat finger\n", "KILL"), ("pause", "PAUSE"), ("CANCEL bob\n", "CANCEL"),
        ("", "KILL"), ("stop it", "KILL"), ("\x00\x01", "KILL"), ("RUN ann fine", "RUN"),
    ):  # fmt: skip
        path.write_text(text)
        assert levels.read(path).level == level, text
    levels.write(path, "KILL", "a b", "x" * 10_000)
    assert levels.read(path).who == "a_b" and path.stat().st_size == size  # no room is asked for


def test_the_kill_path_imports_the_standard_library_alone() -> None:
    code = "import sys; from pipelines.live import watchdog; print(sorted(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"numpy", "scipy", "msgspec", "orjson", "crossimpact", "redis", "typer", "mlflow"}
    assert not heavy & set(re.findall(r"'([^'.]+)'", out.stdout))


def test_a_loosened_limit_needs_a_second_name_at_the_next_start(tmp_path: Path) -> None:
    settings, feed = Settings(tmp_path / "home"), tmp_path / "feed"
    feed.write_bytes(lines(desk()))
    asked = step.Asked(
        "one", [str(feed)], [str(tmp_path / "out")], "ann", follow=False, watch=False
    )
    assert step.run(settings, asked, lambda: quote("A", 10.0).at).sealed
    (settings.home / FILE).write_text("max_gross_usd = 9e9\n")
    with pytest.raises(GateRefused, match=r"max_gross_usd 5e\+08 to 9e\+09"):
        step.run(settings, replace(asked, session="two"), lambda: quote("A", 10.0).at)
    named = replace(asked, session="two", approver="bob")
    assert step.run(settings, named, lambda: quote("A", 10.0).at).recap.decisions > 0


# -- feeds -----------------------------------------------------------------------------------------


async def gathered(feed: feeds.Feed, count: int) -> list[bytes]:
    result: list[bytes] = []
    async for batch in feed.rows():
        result += [raw.content.strip() for raw in batch]
        if len(result) >= count:
            break
    return result


def test_a_file_is_read_as_it_grows_half_lines_wait_and_places_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "feed"
    path.write_bytes(b"one\ntwo\nthr")

    async def read() -> list[bytes]:
        rows = FileFeed(path, {"feed": 0}, follow=True).rows()
        first = [raw.content for raw in await anext(rows)]
        with path.open("ab") as stream:
            stream.write(b"ee\nfour\n")
        second = await anext(rows)
        assert [raw.number for raw in second] == [2, 3]
        return first + [raw.content for raw in second]

    assert asyncio.run(asyncio.wait_for(read(), PATIENCE_S)) == [b"two\n", b"three\n", b"four\n"]


def test_a_folders_files_are_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name, text in (("b", b"3\n"), ("a", b"1\n2\n"), (".hidden", b"0\n")):
        (tmp_path / name).write_bytes(text)
    got = asyncio.run(gathered(FileFeed(tmp_path, {}, follow=False), 99))
    assert got == [b"1", b"2", b"3"]


def test_a_unix_socket_takes_events_and_gives_decisions_to_whoever_is_there(tmp_path) -> None:
    path = tmp_path / "s"
    feed = feeds.SocketFeed(f"unix:{path}")

    async def talk() -> list[bytes]:
        reading = asyncio.create_task(gathered(feed, 2))
        while not path.exists():
            await asyncio.sleep(0.01)
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"one\ntwo\n")
        await writer.drain()
        got = await reading
        await feed.send([b"answer\n"])
        assert await reader.readline() == b"answer\n"
        writer.close()
        return got

    assert asyncio.run(asyncio.wait_for(talk(), PATIENCE_S)) == [b"one", b"two"]


@pytest.mark.parametrize("address", ["tcp:0.0.0.0:9", "tcp:desk:9", "tcp:127.0.0.1:x"])
def test_only_this_machine_is_listened_to(address: str) -> None:
    with pytest.raises(UsageError, match="no loopback address"):
        addresses.loopback(address)
    with pytest.raises(UsageError, match="not on this machine"):
        feeds.feed("redis://desk:6379/x", {}, follow=True)


@contextmanager
def redis_server(port: int, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    words = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    process = subprocess.Popen(
        ["redis-server", *words, "--appendonly", "yes", "--appendfsync", "always"],
        stdout=subprocess.DEVNULL,
    )
    try:
        until(lambda: not _free(port), "Redis up")
        yield process
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def _free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")
def test_a_stream_is_acknowledged_after_the_disk_and_redis_may_restart(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"redis://127.0.0.1:{port}/events"

    async def read() -> None:
        out, feed = feeds.output(address), feeds.feed(address, {}, follow=True)
        with redis_server(port, tmp_path):
            await out.send([b"one\n", b"two\n"])
            rows = feed.rows()
            first = await anext(rows)
            assert [raw.content for raw in first] == [b"one", b"two"]
            again = feeds.feed(address, {}, follow=True)  # never acknowledged: given again
            second = await anext(again.rows())
            assert second == first and first[0].number < first[1].number
            await again.acknowledge()
        with redis_server(port, tmp_path):
            await feeds.output(address).send([b"three\n"])
            later = await anext(again.rows())
            assert [raw.content for raw in later] == [b"three"]

    asyncio.run(asyncio.wait_for(read(), 2 * PATIENCE_S))


# -- monitors --------------------------------------------------------------------------------------


def test_names_of_the_metrics_are_those_a_monitor_expects() -> None:
    text = Metrics().text().decode()
    names = set(re.findall(r"^# TYPE (\S+) (?:gauge|counter|histogram)$", text, re.M))
    assert {"xi_live_last_decision_timestamp_seconds", "xi_market_data_age_seconds"} <= names
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M))
    for name, kind in kinds.items():
        if name.endswith("_created"):
            continue
        assert re.fullmatch(r"xi_[a-z]+(_[a-z]+)+", name) and not name.endswith(("_ms", "_count"))
        assert (kind == "counter") == name.endswith("_total"), name
        assert f"# HELP {name} " in text


def test_before_any_data_their_age_is_no_number(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    feed = tmp_path / "feed"
    feed.touch()
    words = ["--feed", str(feed), "--output", str(tmp_path / "out"), "--port", str(port)]
    with loop(tmp_path / "home", *words):
        until(lambda: not _free(port), "up")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as got:
            text = got.read().decode()
    assert "\nxi_market_data_age_seconds NaN\n" in text
    assert "\nxi_live_last_decision_timestamp_seconds NaN\n" in text
    assert "\nxi_live_in_flight_evidence NaN\n" in text  # nothing was printed


def test_readiness_says_why_not_and_liveness_that_it_lives(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    feed = tmp_path / "feed"
    feed.write_bytes(lines([*desk(), fill("f", "p1", "A", 1.0, 6.0), quote("A", 9.0)]))
    words = ["--feed", str(feed), "--output", str(tmp_path / "out"), "--port", str(port)]
    with loop(tmp_path / "home", *words):
        until(lambda: not _free(port) and told(tmp_path / "out"), "up")

        def ask(path: str) -> tuple[int, str]:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as got:
                    return got.status, got.read().decode()
            except urllib.error.HTTPError as error:
                return error.code, error.read().decode()

        assert ask("/healthz")[0] == 200
        status, why = ask("/readyz")
        assert status == 503 and "no release answers" in why
        assert re.search(r"^xi_live_events_total [1-9]", ask("/metrics")[1], re.M)
        assert ask("/nothing")[0] == 404
