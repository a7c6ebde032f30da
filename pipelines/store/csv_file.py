"""A CSV file for other programs: what it may hold, and where it may be written to.

A spreadsheet takes a cell that begins with `=`, `+`, `-`, `@`, a tab or a carriage return for a
formula. Text that does so gets an apostrophe before it; numbers stay numbers. A plain file is
replaced whole; a device, a pipe or a link is written through, for it is not ours to replace.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from crossimpact.atomic import replacing
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
            stream.write(_line(columns))
            for count, row in enumerate(rows, start=1):  # noqa: B007 (counted)
                stream.write(_line(row))
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


def _line(row: Sequence[Any]) -> str:
    """`csv.writer` leaves a lone carriage return bare, which readers take for the end of a row."""
    texts = ("" if value is None else str(cell(value)) for value in row)
    return ",".join(map(_quoted, texts)) + "\n"


def _quoted(text: str) -> str:
    doubled = text.replace('"', '""')
    return f'"{doubled}"' if any(mark in text for mark in ',"\n\r') else text


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
    with replacing(path) as draft, draft.open("w", newline="") as stream:
        yield stream
