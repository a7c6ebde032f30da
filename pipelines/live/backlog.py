"""What has arrived from the feeds and waits for the writer; beyond a size the feeds wait, too."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from pipelines.live.feeds import Feed
from pipelines.live.rows import Raw

#: Bytes of feeds that have arrived and wait; beyond them the feeds are made to wait.
BACKLOG = 8 << 20


class Backlog:
    """Batches by feed, in the order of their arrival."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[tuple[Feed, list[Raw]] | None] = asyncio.Queue(maxsize=1000)
        self._room, self._waiting = asyncio.Event(), 0

    async def put(self, feed: Feed, batch: list[Raw]) -> None:
        """Hand over a batch, once there is room."""
        while self._waiting > BACKLOG:
            self._room.clear()
            await self._room.wait()
        self._waiting += _size(batch)
        await self._queue.put((feed, batch))

    async def end(self) -> None:
        """A feed has ended."""
        await self._queue.put(None)

    async def arrived(self, within_s: float) -> tuple[list[tuple[Feed, list[Raw]]], int]:
        """What has come from the feeds, at the latest after a while, and how many have ended."""
        result, ended = [], 0
        with suppress(TimeoutError):
            item = await asyncio.wait_for(self._queue.get(), within_s)
            while True:
                if item is None:
                    ended += 1
                else:
                    result.append(item)
                    self._waiting -= _size(item[1])
                if self._queue.empty() or len(result) >= 100:
                    break
                item = self._queue.get_nowait()
        if self._waiting <= BACKLOG:
            self._room.set()
        return result, ended


def _size(batch: list[Raw]) -> int:
    return sum(len(raw.content) for raw in batch)
