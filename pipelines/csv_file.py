"""A CSV file for other programs: what it may hold, and where it may be written to.

A spreadsheet takes a cell that begins with `=`, `+`, `-`, `@`, a tab or a carriage return for a
formula. Text that does so gets an apostrophe before it; numbers stay numbers. A plain file is
replaced whole; a device, a pipe or a link is written through, for it is not ours to replace.
"""

from __future__ import annotations

import csv
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from crossimpact.errors import UsageError

FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
    """Write the header and the rows; how many. NaN and None are empty cells.

    A reader that goes away has read enough: that is no error.

    Raises
    ------
    UsageError
        When the path is a folder.
    """
    count = 0
    try:
        with _opened(path) as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(columns)
            for count, row in enumerate(rows, start=1):  # noqa: B007 (counted)
                writer.writerow(map(cell, row))
    except BrokenPipeError:
        pass
    return count


def cell(value: Any) -> Any:
    """A value as it may stand in a spreadsheet."""
    if isinstance(value, float):
        return "" if value != value else repr(value)  # the shortest text that reads back the same
    if isinstance(value, str) and value.startswith(FORMULA) and not _is_number(value):
        return f"'{value}"
    return value


def _is_number(text: str) -> bool:
    try:
        return float(text) == float(text) and text.isprintable()
    except ValueError:
        return False


def is_stream(path: Path) -> bool:
    """Whether what is written there goes elsewhere: a link, a device or a pipe."""
    return path.is_symlink() or (path.exists() and not path.is_file())


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    if path.is_dir():
        raise UsageError(f"{path} is a folder", "name a CSV file")
    if is_stream(path):
        with path.open("w", newline="") as stream:
            yield stream
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with draft.open("w", newline="") as stream:
            yield stream
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
