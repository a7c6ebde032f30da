"""Latched levels: PAUSE, CANCEL and KILL by a file, a reset by name and reason.

The file's first word is the level, so `echo KILL ann fat finger > FILE` is a kill switch that needs
nothing but a shell. It is made with room for its content, so that a full disk cannot refuse it.
This module and `watchdog` import the standard library alone.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ORDER = ("RUN", "PAUSE", "CANCEL", "KILL")
ROOM = 512


@dataclass(frozen=True)
class Told:
    """What a level file says."""

    level: str
    who: str
    reason: str

    @property
    def rank(self) -> int:
        return ORDER.index(self.level)


def prepare(path: Path) -> None:
    """Make the file where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o660)
        os.write(handle, b"RUN nobody start".ljust(ROOM))
        os.close(handle)


def read(path: Path) -> Told:
    """The file's level; one that says nothing known is a KILL, an absent one a RUN by nobody."""
    try:
        text = path.read_bytes()[:ROOM].decode("utf-8", "replace")
    except FileNotFoundError:
        return Told("RUN", "", "")
    except OSError as error:
        return Told("KILL", "loop", f"{path} cannot be read: {error.strerror}")
    level, _, rest = text.strip().partition(" ")
    who, _, reason = rest.strip().partition(" ")
    if level.upper() not in ORDER:
        return Told("KILL", who or "somebody", f"{path} says {level[:20]!r}")
    return Told(level.upper(), who, reason.strip())


def write(path: Path, level: str, who: str, reason: str) -> None:
    """Say a level, in place: no byte more on the disk than there was."""
    content = f"{level} {who.replace(' ', '_') or 'nobody'} {reason}".encode()[:ROOM]
    handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o660)
    try:
        os.pwrite(handle, content.ljust(ROOM), 0)
    finally:
        os.close(handle)
