"""What a command prints: data on stdout (JSON or tables), the log and errors on stderr.

Tables fit the terminal, 80 columns where there is none, and never cut a name or a number in two:
text too long for a column is told below its table, and a table that is still too wide becomes a
record per row.
"""

from __future__ import annotations

import json
import os
import sys
import textwrap
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from crossimpact.errors import CrossImpactError

if TYPE_CHECKING:
    from rich.console import Console

MAX_ROWS = 40
MAX_COLUMNS = 6  # wider tables are printed on their side
PROSE = 24  # a longer text with spaces in it may be told below its table
WORDS = ("reason", "note", "why")  # so may these, whatever their length
GAP = 2  # spaces between columns
#: Control characters, and halves of a character, which no encoding has.
UNPRINTABLE = ("Cc", "Cs")
#: Directions of writing that would reorder what follows them on a line.
BIDI = {*map(chr, (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)))}

Row = dict[str, Any]


def show(data: Mapping[str, Any], *, as_json: bool) -> None:
    """Print a result on stdout: JSON on one line for machines, values and tables for people."""
    if as_json:
        line = json.dumps(data, sort_keys=True, allow_nan=False, default=str)
        _out(lambda: print(line, flush=True))
    else:
        _out(lambda: _section(_console(), "", data))


def fail(error: CrossImpactError, *, as_json: bool) -> int:
    """One line on stderr, the exit code; as JSON also on stdout, with the error's report if any."""
    report: Mapping[str, Any] = getattr(error, "report", {})
    if as_json:
        data = {"error": error.what, "hint": error.hint, "exit_code": error.exit_code}
        with suppress(OSError):  # a full disk may be what went wrong
            show({**report, **data}, as_json=True)
    print(f"error: {plain(str(error))}", file=sys.stderr, flush=True)
    return error.exit_code


def plain(text: str) -> str:
    """Text as a terminal may show it: nothing in it moves the cursor or reorders the line."""
    return "".join(
        ascii(char)[1:-1] if unicodedata.category(char) in UNPRINTABLE or char in BIDI else char
        for char in text
    )


def _out(write: Any) -> None:
    """A reader that went away (`| head`) has read enough; the work is done, its code stands."""
    try:
        write()
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _console() -> Console:
    from rich.console import Console

    class Patient(Console):
        def on_broken_pipe(self) -> None:
            """Rich would exit 1; what the command found still counts."""
            raise BrokenPipeError

    return Patient(markup=False, emoji=False, highlight=False)  # a reason may hold [brackets]


def _section(console: Console, title: str, data: Mapping[str, Any]) -> None:
    """Values first, then a table per nested one; a mix of both is a section of its own."""
    if title:
        console.print(f"\n{plain(title)}", style="bold")
    values = {k: v for k, v in data.items() if not (_is_nested(v) or v in ([], {}, ()))}
    _pairs(console, values)
    for name, value in data.items():
        if not _is_nested(value):
            continue
        inner = value.values() if isinstance(value, Mapping) else ()
        mappings = sum(isinstance(item, Mapping) for item in inner)
        if 0 < mappings < len(inner):
            _section(console, name, value)
        else:
            _table(console, name, value)


def _is_nested(value: Any) -> bool:
    """Worth a table: a mapping, or a list of mappings; a list of words is a value."""
    return bool(value) and (
        isinstance(value, Mapping) or (isinstance(value, list) and isinstance(value[0], Mapping))
    )


def _pairs(console: Console, values: Mapping[str, Any], indent: int = 0) -> None:
    """Name and value, a line each; a long text goes on under its beginning."""
    wide = max((len(plain(name)) for name in values), default=0) + GAP
    for name, value in values.items():
        _paragraph(console, " " * indent + plain(name).ljust(wide), cell(value, name))


def _paragraph(console: Console, head: str, text: str) -> None:
    """`text` after `head`, broken between words only."""
    room = max(console.width - len(head), PROSE)
    lines = textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False) or [""]
    for number, line in enumerate(lines):
        start = head if not number else " " * len(head)
        console.print(f"{start}{line}".rstrip(), soft_wrap=True)


def _table(console: Console, title: str, value: Mapping[str, Any] | Sequence[Any]) -> None:
    console.print(f"\n{plain(title)}", style="bold")
    rows = _rows(value)
    shown = [{plain(k): cell(v, k) for k, v in row.items()} for row in rows[:MAX_ROWS]]
    names = list(dict.fromkeys(name for row in shown for name in row))
    names = [name for name in names if any(row.get(name) for row in shown)]
    prose = [
        name
        for name in names[1:]
        if name in WORDS or any(_is_prose(row.get(name, "")) for row in shown)
    ]
    short = [name for name in names if name not in prose]
    if _width(shown, names) <= console.width:
        _grid(console, shown, names, rows)
    elif _width(shown, short) <= console.width:
        _grid(console, shown, short, rows)
        for row in shown:
            head = " ".join(filter(None, (row.get(name, "") for name in short[:2])))
            for name in prose:
                if row.get(name):
                    _paragraph(console, "  ", f"{head}: {row[name]}")
    else:
        for number, row in enumerate(shown):
            if number:
                console.print()
            _pairs(console, {name: row[name] for name in names if row.get(name)}, indent=2)
    if len(rows) > MAX_ROWS:
        console.print(f"and {len(rows) - MAX_ROWS} more (--json shows all)")


def _is_prose(text: str) -> bool:
    return len(text) > PROSE and " " in text


def _width(rows: Sequence[Row], names: Sequence[str]) -> int:
    widths = (max(len(name), *(len(row.get(name, "")) for row in rows)) for name in names)
    return sum(width + GAP for width in widths) - GAP


def _grid(
    console: Console, shown: Sequence[Row], names: Sequence[str], rows: Sequence[Row]
) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    grid = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, GAP - 1, 0, 0), show_edge=False)
    for name in names:
        values = [row.get(name) for row in rows if row.get(name) is not None]
        right = all(isinstance(v, int | float) for v in values)
        grid.add_column(name, no_wrap=True, justify="right" if right else "left")
    for row in shown:
        grid.add_row(*(row.get(name, "") for name in names))
    console.print(grid)


def _rows(value: Mapping[str, Any] | Sequence[Any]) -> list[Row]:
    if isinstance(value, Mapping):
        if all(isinstance(item, Mapping) for item in value.values()):
            return list(_nested_rows(value))
        return [{"": name, "value": item} for name, item in value.items()]
    return [item if isinstance(item, dict) else {"": item} for item in value]


def _nested_rows(value: Mapping[str, Mapping[str, Any]]) -> Iterator[Row]:
    inner = list(dict.fromkeys(name for item in value.values() for name in item))
    if 2 * sum(map(len, value.values())) < len(inner) * len(value):  # sparse: a line per cell
        for name, item in value.items():
            yield from ({"": name, " ": key, "value": cell} for key, cell in item.items())
    elif len(inner) <= MAX_COLUMNS:
        yield from ({"": name, **item} for name, item in value.items())
    else:
        yield from ({"": key, **{k: v.get(key) for k, v in value.items()}} for key in inner)


def cell(value: Any, name: str = "") -> str:
    """A value as text. The unit in a name decides: money and bps have two decimals."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return number(value, name)
    if isinstance(value, Mapping):
        return ", ".join(f"{plain(str(key))} {cell(item, key)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(cell(item, name) for item in value)
    return "" if value is None else plain(str(value))


def number(value: float, name: str = "") -> str:
    """Never an exponent for what a person counts: 76,720 and not 7.672e+04."""
    if name.rpartition("_")[2] in ("usd", "bps"):
        return f"{value:,.2f}"
    if value != value or abs(value) == float("inf"):
        return str(value)
    if abs(value) >= 1e4 or value == round(value):
        return f"{value:,.0f}"
    return f"{value:,.4g}" if abs(value) >= 1e-4 else f"{value:.1e}"
