"""A real S3-compatible server (moto, in an environment of its own), behind a proxy with faults.

`$CROSSIMPACT_MOTO` names `moto_server`, else it is looked for on the path:
`uv venv moto && uv pip install -p moto/bin/python 'moto[server]'`.
"""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MOTO = os.environ.get("CROSSIMPACT_MOTO") or shutil.which("moto_server")
READY_S = 120
UNAVAILABLE = b"<Error><Code>SlowDown</Code><Message>Please reduce your rate</Message></Error>"
DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"


@dataclass
class Faults:
    """What goes wrong from now on: so many answers 503 first, a denied part of a path, stale lists.

    `lost`: the next so many puts happen, and their answer gets lost.
    """

    busy: int = 0
    lost: int = 0
    denied: str = ""
    stale_lists: bool = False
    asked: list[str] = field(default_factory=list)
    lists: dict[str, bytes] = field(default_factory=dict)


@contextmanager
def serve() -> Iterator[tuple[str, Faults]]:
    """Address of the proxy, and the faults it makes; bucket `desk` is there."""
    assert MOTO is not None
    port = _free_port()
    server = subprocess.Popen([MOTO, "-H", "127.0.0.1", "-p", str(port)], stderr=subprocess.DEVNULL)
    faults = Faults()
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), _handler(port, faults))
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    try:
        _bucket(f"http://127.0.0.1:{port}/desk")
        yield f"http://127.0.0.1:{proxy.server_port}", faults
    finally:
        proxy.shutdown()
        server.terminate()
        server.wait()


def _handler(port: int, faults: Faults) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            faults.asked.append(f"{self.command} {self.path}")
            if faults.denied and faults.denied in self.path:
                return self.tell(403, DENIED)
            if faults.busy > 0:
                faults.busy -= 1
                return self.tell(503, UNAVAILABLE)
            status, headers, content = self.forwarded(body)
            if self.command == "PUT" and faults.lost > 0:
                faults.lost -= 1
                return self.tell(503, UNAVAILABLE)
            if "list-type" in self.path:
                content = self.listed(content)
            return self.tell(status, content, headers)

        def listed(self, content: bytes) -> bytes:
            if faults.stale_lists:
                return faults.lists.get(self.path, content)
            faults.lists[self.path] = content
            return content

        def forwarded(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
            upstream = http.client.HTTPConnection("127.0.0.1", port)
            upstream.request(self.command, self.path, body, dict(self.headers))
            answer = upstream.getresponse()
            kept = {k: v for k, v in answer.getheaders() if k.lower() in KEPT}
            return answer.status, kept, answer.read()

        def tell(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            length = (headers or {}).get("Content-Length") if self.command == "HEAD" else None
            if length is None:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Nothing."""

    return Handler


KEPT = ("etag", "last-modified", "content-type", "x-amz-version-id", "content-range")


def _bucket(address: str) -> None:
    deadline = time.monotonic() + READY_S
    while True:
        try:
            urllib.request.urlopen(urllib.request.Request(address, method="PUT"))  # noqa: S310
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
