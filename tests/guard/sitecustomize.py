"""Every Python that starts with this folder on its path connects to loopback alone.

What it tries beyond is refused, and kept in the file `$NETWORK_ATTEMPTS`: program and address.
"""

from __future__ import annotations

import os
import sys

LOCAL = ("127.", "::1", "::ffff:127.", "localhost")
#: What resolves a name or sends to an address; the place of the address among the arguments.
EVENTS = {
    "socket.connect": 1, "socket.sendto": 1, "socket.sendmsg": 1,
    "socket.getaddrinfo": 0, "socket.gethostbyname": 0, "socket.gethostbyaddr": 0,
}  # fmt: skip


def _refuse_beyond_loopback(event: str, args: tuple[object, ...]) -> None:
    if event not in EVENTS:
        return
    address = args[EVENTS[event]]
    host = address[0] if isinstance(address, tuple) and address else address
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    # A path is a Unix socket; none and the empty name are this machine.
    if not isinstance(host, str) or not host or "/" in host or host.startswith(("\0", *LOCAL)):
        return
    if path := os.environ.get("NETWORK_ATTEMPTS"):
        with open(path, "a") as file:  # noqa: PTH123 - light, in every process
            print(f"{' '.join(sys.argv)[:200]}: {event} {address!r}", file=file)
    raise PermissionError(f"{event} {address!r}: beyond loopback")


sys.addaudithook(_refuse_beyond_loopback)
