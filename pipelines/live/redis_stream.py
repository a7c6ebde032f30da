"""A Redis stream as a feed and as an output (consumer group `crossimpact`, field `event`)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from crossimpact.errors import UsageError
from pipelines.live.addresses import LOOPBACK
from pipelines.live.rows import Raw, Rows

GROUP, FIELD = "crossimpact", "event"
#: The environment's variable with the password of Redis, where it asks for one.
PASSWORD = "CROSSIMPACT_REDIS_PASSWORD"  # noqa: S105


class RedisStream:
    """A Redis stream, read by a consumer group or written to; a server away is waited for."""

    def __init__(self, address: str) -> None:
        from redis.asyncio import Redis  # only who uses it needs it

        if "@" in address:  # it would end up in logs, so it is not repeated
            raise UsageError(
                "the address of Redis holds credentials", f"give the password as {PASSWORD}"
            )
        parts = urlsplit(address)
        self._stream = parts.path.strip("/") or "crossimpact"
        if parts.hostname not in LOOPBACK:
            raise UsageError(
                f"{address} is not on this machine", "give redis://127.0.0.1:PORT/NAME"
            )
        self._redis: Any = Redis(
            host=parts.hostname,
            port=parts.port or 6379,
            password=os.environ.get(PASSWORD),
            socket_timeout=5.0,
        )
        self._given: list[Any] = []

    async def rows(self) -> Rows:
        start = "0"  # what was given and never acknowledged comes first
        while True:
            try:
                await self._group()
                found = await self._redis.xreadgroup(
                    GROUP, "loop", {self._stream: start}, count=1000, block=500
                )
            except _away():
                await asyncio.sleep(0.2)
                start = "0"
                continue
            entries = [entry for _, rows in found or () for entry in rows]
            if not entries and start == "0":
                start = ">"
            if entries:
                self._given += [key for key, _ in entries]
                start = entries[-1][0] if start != ">" else ">"
                yield [self._raw(key, row) for key, row in entries if row]

    def _raw(self, key: bytes, row: Mapping[bytes, bytes]) -> Raw:
        """An entry's id is its place: what is given again was there before."""
        ms, _, count = key.partition(b"-")
        return Raw(row.get(FIELD.encode(), b""), self._stream, (int(ms) << 20) + int(count))

    async def _group(self) -> None:
        from redis.exceptions import ResponseError

        with suppress(ResponseError):
            await self._redis.xgroup_create(self._stream, GROUP, id="0", mkstream=True)

    async def acknowledge(self) -> None:
        if self._given:
            with suppress(*_away()):
                await self._redis.xack(self._stream, GROUP, *self._given)
                self._given.clear()

    async def send(self, lines: list[bytes]) -> None:
        for line in lines:
            await self._redis.xadd(self._stream, {FIELD: line.strip()})

    async def close(self) -> None:
        await self._redis.aclose()


def _away() -> tuple[type[Exception], ...]:
    from redis.exceptions import RedisError

    return (OSError, RedisError)
