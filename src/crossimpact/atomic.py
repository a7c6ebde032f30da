"""Files and folders that appear whole: written beside their place, flushed to disk, then renamed.

Whoever is killed at any moment leaves the old content or the new, and so does a power cut. This is
the one seam to a store that is no file system.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # of Linux' renameat2


def write_atomic(path: Path, content: str | bytes) -> None:
    """Replace the file at `path` in one step; its folder is made when it is missing.

    Raises
    ------
    OSError
        When it could not be written; the old content then stands.
    """
    with replacing(path) as draft:
        draft.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A hidden name beside `path` to write to; it becomes `path` unless the block raises."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        yield draft
        move(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def create(path: Path, content: bytes) -> None:
    """Make a file that was not there, whole or not at all; its folder is made when it is missing.

    Raises
    ------
    FileExistsError
        When there is one already, however lately: it stays as it is.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        draft.write_bytes(content)
        sync(draft)
        path.hardlink_to(draft)
        with suppress(OSError):  # it is in place, and not every file system can
            sync(path.parent)
    finally:
        draft.unlink(missing_ok=True)


def move(source: Path, target: Path) -> None:
    """Make a finished file of the same file system the one at `target`."""
    sync(source)
    source.replace(target)
    with suppress(OSError):  # it is in place, and not every file system can
        sync(target.parent)


def replace_folder(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Make `contents` the only files of `folder`, which appears or changes as a whole."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".folder-") as scratch:
        draft = Path(scratch) / "new"
        draft.mkdir()
        for name, content in contents.items():
            (draft / name).write_bytes(content)
            sync(draft / name)
        sync(draft)
        move_folder(draft, folder)


def move_folder(source: Path, target: Path) -> None:
    """Make a finished folder of the same file system the one at `target`; the old one goes."""
    if not (target.exists() and _exchange(source, target)):
        old = source.with_name(f"{source.name}.old")
        with suppress(FileNotFoundError):
            target.replace(old)
        source.replace(target)
        source = old
    with suppress(OSError):
        sync(target.parent)
    shutil.rmtree(source, ignore_errors=True)


def sync(path: Path) -> None:
    """Flush a file's content, or the names in a folder, to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two names in one step; False where the system or the file system cannot.

    `rename` replaces no folder that holds something.
    """
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    names = os.fsencode(one), os.fsencode(other)
    return (
        rename is not None
        and rename(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0
    )
