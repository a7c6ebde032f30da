"""Registries that misbehave, and what can be done to one that does not."""

from __future__ import annotations

import contextlib
import json
import resource
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

FOLDER = "release/"
DRIP_S = 0.05
MISSING = 404, b'{"error_code": "RESOURCE_DOES_NOT_EXIST"}'


@contextmanager
def refusing() -> Iterator[str]:
    """Nobody listens there."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{probe.getsockname()[1]}"


@contextmanager
def hanging() -> Iterator[str]:
    """Connections are taken, and nothing ever comes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def registry(files: dict[str, bytes], version: int, **faults: Any) -> Iterator[Registry]:
    """A server that answers like MLflow's, but for its `faults` (see `Registry`)."""
    server = Registry(files, version, **faults)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


class Registry(ThreadingHTTPServer):
    """One version of one release, on loopback.

    `status` is what every question is answered with, `text` the answer; `alias` gives the version
    the alias points at; `listed` is added to the listing; `sent` changes a file's bytes on the way;
    `drip` what is sent byte by byte: `headers` or `files`; `lost`: the version is not there.
    """

    daemon_threads = True

    def __init__(
        self, files: dict[str, bytes], version: int, *, status: int = 200,
        text: bytes | None = None, alias: Callable[[], int | None] | None = None,
        listed: dict[str, int | None] | None = None,
        sent: Callable[[bytes], bytes] = bytes, drip: str = "", lost: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files, self.version, self.status, self.text = files, version, status, text
        self.alias, self.listed, self.sent, self.drip, self.lost = (
            alias,
            listed or {},
            sent,
            drip,
            lost,
        )
        self.asked: list[str] = []

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def answer(self, path: str, query: dict[str, str]) -> tuple[int, bytes]:
        self.asked.append(path)
        if self.status != 200 or self.text is not None:
            return self.status, self.text or b"<html>it broke</html>"
        if path.endswith("/get-artifact"):
            return 200, self.sent(self.files.get(query["path"].removeprefix(FOLDER), b"{}"))
        if path.endswith("/artifacts/list"):
            sizes = {name: len(content) for name, content in self.files.items()} | self.listed
            return 200, json.dumps({"files": [_entry(*item) for item in sizes.items()]}).encode()
        version = self.version
        if path.endswith("/registered-models/alias") and self.alias:
            found = self.alias()
            if found is None:
                return MISSING
            version = found
        if path.endswith("/model-versions/get") and self.lost:
            return MISSING
        return 200, json.dumps({"model_version": {"version": str(version), "run_id": "r"}}).encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Registry

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        status, content = self.server.answer(parts.path, query)
        head = f"HTTP/1.1 {status} so\r\nContent-Length: {len(content)}\r\n\r\n".encode()
        with contextlib.suppress(OSError):
            self._send(head, slow=self.server.drip == "headers")
            self._send(content, slow=self.server.drip == "files" and "get-artifact" in self.path)

    def _send(self, content: bytes, slow: bool) -> None:
        for piece in [content[i : i + 1] for i in range(len(content))] if slow else [content]:
            self.wfile.write(piece)
            self.wfile.flush()
            time.sleep(DRIP_S * slow)

    def log_message(self, *_: object) -> None:
        """Not a word."""


def _entry(name: str, size: int | None) -> dict[str, Any]:
    path = name if name.startswith("/") else FOLDER + name
    if size is None:
        return {"path": path, "is_dir": True}
    return {"path": path, "is_dir": False, "file_size": str(size)}


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Another process holds an exclusive transaction on it."""
    code = (
        "import sqlite3, sys; db = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "db.execute('BEGIN EXCLUSIVE'); print('held', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None and process.stdout.readline() == b"held\n"
        yield
    finally:
        process.communicate(b"")


@contextmanager
def without(database: Path) -> Iterator[None]:
    """It is gone; reading makes no new one."""
    database.unlink()
    yield
    assert not database.exists()


@contextmanager
def garbage(database: Path) -> Iterator[None]:
    database.write_bytes(b"no database" * 1000)
    yield


@contextmanager
def emptied(database: Path) -> Iterator[None]:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute("DELETE FROM model_versions")
        connection.commit()
    yield


@contextmanager
def full_disk(room: int = 0) -> Iterator[None]:
    """No file may grow beyond `room` bytes: what this process writes there fails, as on a disk
    without room."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
