"""Addresses of this machine alone."""

from __future__ import annotations

from crossimpact.errors import UsageError

LOOPBACK = ("127.0.0.1", "::1", "localhost")


def loopback(address: str) -> tuple[str, int]:
    """Host and port of `tcp:HOST:PORT`; no other machine reaches it."""
    host, _, port = address.removeprefix("tcp:").rpartition(":")
    if host not in LOOPBACK or not port.isdecimal():
        raise UsageError(f"{address} is no loopback address", "give tcp:127.0.0.1:PORT")
    return host, int(port)
