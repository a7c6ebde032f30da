"""Where events come from and decisions go: lines of JSON over pipes, files, sockets, Redis streams.

    -                        standard input, output
    FILE                     lines appended to a file; FOLDER/: files in the order of their names
    unix:PATH                a Unix socket; tcp:127.0.0.1:PORT: a loopback one
    redis://HOST:PORT/STREAM a Redis stream (consumer group `crossimpact`, field `event`)

A file's lines have places, so that a restart goes on where the journal ends. Entries of a stream
are acknowledged once their decisions are on disk. A half-written last line waits for its end.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from crossimpact.errors import UsageError
from pipelines.live.addresses import loopback
from pipelines.live.redis_stream import RedisStream
from pipelines.live.rows import Raw, Rows

POLL_S = 0.05
#: Of one line; a feed that sends more is not one of events.
MAX_LINE = 1 << 20


class Feed(Protocol):
    """Batches of lines, until the feed ends."""

    def rows(self) -> Rows: ...

    async def acknowledge(self) -> None:
        """What was given is on disk."""


class Output(Protocol):
    async def send(self, lines: list[bytes]) -> None: ...

    async def close(self) -> None: ...


class LineFeed:
    """Standard input, or any stream of bytes that ends."""

    def __init__(self, open_stream: Callable[[], Awaitable[asyncio.StreamReader]]) -> None:
        self._open = open_stream

    async def rows(self) -> Rows:
        stream = await self._open()
        while True:
            try:
                line = await stream.readline()
            except ValueError:  # longer than the limit: it is dropped, and said
                yield [Raw(b"(a line longer than a feed may send)")]
                continue
            if not line:
                return
            if line.strip():
                yield [Raw(line)]

    async def acknowledge(self) -> None:
        """Nobody waits."""


async def stdin_stream() -> asyncio.StreamReader:
    reader = asyncio.StreamReader(limit=MAX_LINE)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


class FileFeed:
    """Lines appended to a file, or to the files of a folder one after the other."""

    def __init__(self, path: Path, places: Mapping[str, int], follow: bool) -> None:
        self._path, self._places, self._follow = path, places, follow

    async def rows(self) -> Rows:
        done: dict[Path, tuple[int, int]] = {}  # bytes, lines
        while True:
            found = False
            for path in self._files():
                batch = self._more(path, done)
                if batch:
                    found = True
                    yield batch
            if not found:
                if not self._follow:
                    return
                await asyncio.sleep(POLL_S)

    def _files(self) -> list[Path]:
        if not self._path.is_dir():
            return [self._path]
        visible = (path for path in self._path.iterdir() if not path.name.startswith("."))
        return sorted(path for path in visible if path.is_file())

    def _more(self, path: Path, done: dict[Path, tuple[int, int]]) -> list[Raw]:
        """Whole lines after those that were read."""
        at, number = done.get(path, (0, 0))
        with suppress(FileNotFoundError), path.open("rb") as stream:
            if os.fstat(stream.fileno()).st_size < at:
                at, number = 0, 0  # another file under the old name: its lines count anew
            stream.seek(at)
            content = stream.read(MAX_LINE)
            whole = content[: content.rfind(b"\n") + 1]
            if not whole and len(content) == MAX_LINE:
                whole = content
            lines = whole.splitlines(keepends=True)
            done[path] = (at + len(whole), number + len(lines))
            known = self._places.get(path.name, -1)
            return [
                Raw(line, path.name, number + k)
                for k, line in enumerate(lines)
                if line.strip() and number + k > known
            ]
        return []

    async def acknowledge(self) -> None:
        """A file keeps its lines."""


class SocketFeed:
    """Whoever connects sends lines; decisions go back to all that are connected."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._queue: asyncio.Queue[Raw] = asyncio.Queue(maxsize=10_000)
        self.writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> asyncio.Server:
        if path := self._address.partition("unix:")[2]:
            with suppress(FileNotFoundError):
                Path(path).unlink()
            server = await asyncio.start_unix_server(self._serve, path, limit=MAX_LINE)
            Path(path).chmod(0o660)
            return server
        host, port = loopback(self._address)
        return await asyncio.start_server(self._serve, host, port, limit=MAX_LINE)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.add(writer)
        try:
            async for batch in LineFeed(lambda: _made(reader)).rows():
                for raw in batch:
                    await self._queue.put(raw)
        except (ConnectionError, asyncio.CancelledError):
            return
        finally:
            self.writers.discard(writer)

    async def rows(self) -> Rows:
        server = await self.start()
        async with server:
            while True:
                batch = [await self._queue.get()]
                while not self._queue.empty() and len(batch) < 1000:
                    batch.append(self._queue.get_nowait())
                yield batch

    async def acknowledge(self) -> None:
        """Nobody waits."""

    async def send(self, lines: list[bytes]) -> None:
        for writer in list(self.writers):
            try:
                writer.write(b"".join(lines))
                await asyncio.wait_for(writer.drain(), 1.0)
            except (ConnectionError, TimeoutError):
                self.writers.discard(writer)  # a reader that hangs holds nobody up

    async def close(self) -> None:
        for writer in self.writers:
            writer.close()


async def _made(reader: asyncio.StreamReader) -> asyncio.StreamReader:
    return reader


class FileOutput:
    """Lines appended to a file, on disk when `send` returns; `-` is standard output."""

    def __init__(self, path: str) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        self._handle = 1 if path == "-" else os.open(path, flags, 0o640)

    async def send(self, lines: list[bytes]) -> None:
        content = b"".join(lines)
        while content:
            content = content[os.write(self._handle, content) :]

    async def close(self) -> None:
        if self._handle != 1:
            os.close(self._handle)


def feed(address: str, places: Mapping[str, int], *, follow: bool) -> Feed:
    """The feed of an address."""
    if address == "-":
        return LineFeed(stdin_stream)
    if address.startswith("redis://"):
        return RedisStream(address)
    if address.startswith(("unix:", "tcp:")):
        return SocketFeed(address)
    path = Path(address)
    if not path.exists():
        raise UsageError(f"feed {address} is not there", "give a file, a folder, -, unix: or tcp:")
    return FileFeed(path, places, follow)


def output(address: str) -> Output:
    """The output of an address."""
    if address.startswith("redis://"):
        return RedisStream(address)
    if address.startswith(("unix:", "tcp:")):
        raise UsageError(f"{address} is a feed's", "whoever sends events there gets the decisions")
    return FileOutput(address)
