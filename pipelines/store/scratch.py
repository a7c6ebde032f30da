"""Private folders for work in progress under `<home>/tmp`, and what killed processes left there.

Who works in a folder holds the lock beside it, which goes with the process however it ends. The
next one clears away every folder whose lock nobody holds.
"""

from __future__ import annotations

import fcntl
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

LOCK = ".lock"


@contextmanager
def folder(home: Path) -> Iterator[Path]:
    """A new folder below home, or elsewhere when home cannot be written (a read-only mount)."""
    place = home / "tmp" / uuid.uuid4().hex
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        lock = place.with_suffix(LOCK).open("w")
    except OSError:
        with tempfile.TemporaryDirectory(prefix="crossimpact-") as elsewhere:
            yield Path(elsewhere)
        return
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _sweep(place.parent)
        place.mkdir()
        try:
            yield place
        finally:
            clear(place)


def idle(home: Path) -> bool:
    """Whether nobody works in a folder of this home: every lock was left by a killed process."""
    for path in (home / "tmp").glob(f"*{LOCK}"):
        with suppress(FileNotFoundError), path.open("r+") as lock:
            if not _is_free(lock):
                return False
    return True


def left(home: Path) -> tuple[Path, ...]:
    """Folders that have no owner any more."""
    return tuple(_left(home / "tmp"))


def clear(place: Path) -> None:
    """Remove a folder, then its lock."""
    shutil.rmtree(place, ignore_errors=True)
    place.with_suffix(LOCK).unlink(missing_ok=True)


def _sweep(root: Path) -> None:
    """Clear away what has no owner any more."""
    for place in _left(root):
        clear(place)


def _left(root: Path) -> Iterator[Path]:
    for path in sorted(root.glob(f"*{LOCK}")):
        try:
            with path.open("r+") as lock:
                if _is_free(lock):
                    yield path.with_suffix("")
        except OSError:  # cleared by another process, or somebody else's
            continue


def _is_free(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
