"""The live loop beside its registry: away in the middle of a session, and back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec

from crossimpact.policy.live import events
from crossimpact.policy.live.settings import Settings
from pipelines.live import journal as journals
from pipelines.live.engine import Engine, Opening, replay
from pipelines.live.loop import Loop
from pipelines.live.places import Places
from pipelines.live.rows import Raw, Rows
from registry import tracking
from tests.crossimpact.policy.live.desk import LOOSE, parent, quote
from tests.registry.desk import FIRST, Desk
from tests.registry.servers import Store

PATIENCE_S = 120.0


async def until(done: Callable[[], object]) -> None:
    while not done():
        await asyncio.sleep(0.02)


def test_a_registry_that_goes_away_in_a_session_leaves_the_last_release_standing(
    embedded: Store, tmp_path: Path
) -> None:
    """The journal and the metrics say so, the release's age takes the guardrails to amber and red,
    and with the registry back it is confirmed again."""
    desk = Desk(tmp_path, embedded.uri)
    version = embedded.register(FIRST).version
    tracking.move_alias(embedded.uri, "champion", version)
    desk.write(release=FIRST, version=version)
    database, away = embedded.home / "mlflow" / "mlflow.db", tmp_path / "away.db"
    path = Places(tmp_path).journal("day")
    releases = {FIRST.digest: FIRST}.__getitem__
    told = Settings("day", LOOSE, policy="ranked", horizon=2, reading_s=300.0, stale_s=400.0)
    engine = Engine(path, Opening(told), releases)
    arriving: asyncio.Queue[list[events.Event]] = asyncio.Queue()

    async def rows() -> Rows:
        number = 0
        while batch := await arriving.get():
            yield [
                Raw(msgspec.json.encode(events.plain(row)), "feed", number + k)
                for k, row in enumerate(batch)
            ]
            number += len(batch)

    async def nothing() -> None:
        """Nobody waits."""

    def market(seconds: float) -> list[events.Event]:
        return [quote("A", seconds), quote("B", seconds)]

    async def day() -> None:
        feed: Any = SimpleNamespace(rows=rows, acknowledge=nothing)
        client = desk.client()
        client.pull()
        loop = Loop(
            engine, [feed], [], Places(tmp_path), lambda: desk.now, lambda _: None, client,
            watch=False, pull_s=0.05,
        )  # fmt: skip
        running = asyncio.create_task(loop.run())
        failed = loop.metrics.failed_pulls._value.get
        opening = [events.Regime(regime="normal", at=quote("A", 0.0).at), *market(0.5)]
        await arriving.put([*opening, parent("p1", "A", 900.0), *market(61.0)])
        await until(lambda: engine.last is not None and engine.last.answered == "ranked")
        assert engine.last is not None and engine.last.release == FIRST.digest and not failed()

        database.rename(away)
        await until(lambda: failed() > 2)
        await arriving.put([parent("p2", "B", 500.0, 62.0), *market(65.0)])
        await until(lambda: engine.last is not None and "parent p2" in engine.last.triggers)
        assert (engine.last.release, engine.last.rung) == (FIRST.digest, "self_only")
        for days, state in ((1.1, "amber"), (2.1, "red")):
            desk.now += timedelta(days=days) if state == "amber" else timedelta(days=1)
            await until(lambda state=state: engine.session.guardrail.name == state)
        assert engine.last is not None and engine.last.release == FIRST.digest

        away.rename(database)
        await until(lambda: engine.session.reading.model_age_days < 0.1)
        await arriving.put([])
        assert await running

    asyncio.run(asyncio.wait_for(day(), PATIENCE_S))
    engine.journal.seal()
    lines, _ = journals.read(path.read_bytes())
    swaps = [row["event"] for row in lines if row.get("event", {}).get("type") == "release"]
    assert [swap["digest"] for swap in swaps] == [FIRST.digest] * 3
    assert "champion since" in swaps[0]["reason"] and "cannot be opened" in swaps[1]["reason"]
    assert replay(lines, releases).differs is None
