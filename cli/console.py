"""What a command prints: data on stdout (JSON or tables), the log and errors on stderr."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Column, Table

from crossimpact.errors import CrossImpactError

MAX_ROWS = 40
MAX_COLUMNS = 6  # wider tables are printed on their side


def show(data: Mapping[str, Any], *, as_json: bool) -> None:
    """Print a result: JSON on one line for machines, scalars and tables for people."""
    if as_json:
        print(json.dumps(data, sort_keys=True, allow_nan=False, default=str))
        return
    _section(Console(markup=False, emoji=False), "", data)  # a reason may hold [brackets]


def _section(console: Console, title: str, data: Mapping[str, Any]) -> None:
    """Scalars first, then a table per nested value; a mix of both is a section of its own."""
    scalars = {name: value for name, value in data.items() if not _is_nested(value)}
    if title:
        console.print(f"\n{title}", style="bold")
    if scalars:
        grid = Table.grid("", Column(overflow="fold"), padding=(0, 2))
        for name, value in scalars.items():
            grid.add_row(name, _cell(value))
        console.print(grid)
    for name, value in data.items():
        if (
            isinstance(value, Mapping)
            and any(isinstance(v, Mapping) for v in value.values())
            and (not all(isinstance(v, Mapping) for v in value.values()))
        ):
            _section(console, name, value)
        elif _is_nested(value):
            console.print(_table(name, value))


def _is_nested(value: Any) -> bool:
    """Worth a table: a mapping, or a list of mappings; a list of words is a scalar."""
    return bool(value) and (
        isinstance(value, Mapping) or (isinstance(value, list) and isinstance(value[0], Mapping))
    )


def fail(error: CrossImpactError, *, as_json: bool) -> int:
    """One line on stderr, the exit code; as JSON also on stdout, with the error's report if any."""
    report: Mapping[str, Any] = getattr(error, "report", {})
    if as_json:
        data = {"error": error.what, "hint": error.hint, "exit_code": error.exit_code}
        show({**report, **data}, as_json=True)
    told = Console(stderr=True, soft_wrap=True, markup=False, emoji=False, highlight=False)
    told.print(f"error: {error}")
    return error.exit_code


def _table(title: str, value: Mapping[str, Any] | Sequence[Any]) -> Table:
    rows = _rows(value)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    left = len(rows) - MAX_ROWS
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    if left > 0:
        table.caption = f"and {left} more (--json shows all)"
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows[:MAX_ROWS]:
        table.add_row(*(_cell(row.get(name, "")) for name in columns))
    return table


def _rows(value: Mapping[str, Any] | Sequence[Any]) -> list[dict[str, Any]]:
    if isinstance(value, Mapping):
        if all(isinstance(item, Mapping) for item in value.values()):
            inner = list(dict.fromkeys(name for item in value.values() for name in item))
            cells = sum(map(len, value.values()))
            if 2 * cells < len(inner) * len(value):  # sparse: one line per cell reads better
                return [
                    {"": name, " ": k, "value": v}
                    for name, item in value.items()
                    for k, v in item.items()
                ]
            if len(inner) <= MAX_COLUMNS:
                return [{"": name, **item} for name, item in value.items()]
            return [{"": n, **{k: item.get(n) for k, item in value.items()}} for n in inner]
        return [{"": name, "value": item} for name, item in value.items()]
    return [item if isinstance(item, dict) else {"": item} for item in value]


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.4g}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_cell(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_cell, value))
    return "" if value is None else str(value)
