"""What a command prints: data on stdout (JSON or tables), the log and errors on stderr."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from crossimpact.errors import CrossImpactError

MAX_ROWS = 40


def show(data: Mapping[str, Any], *, as_json: bool) -> None:
    """Print a result: JSON on one line for machines, scalars and tables for people."""
    if as_json:
        print(json.dumps(data, sort_keys=True, allow_nan=False, default=str))
        return
    console = Console()
    scalars = {name: value for name, value in data.items() if not isinstance(value, dict | list)}
    if scalars:
        grid = Table.grid(padding=(0, 2))
        for name, value in scalars.items():
            grid.add_row(name, _cell(value))
        console.print(grid)
    for name, value in data.items():
        if isinstance(value, dict | list) and value:
            console.print(_table(name, value))


def fail(error: CrossImpactError, *, as_json: bool) -> int:
    """One line on stderr (and the report, if the error carries one, on stdout); the exit code."""
    report = getattr(error, "report", None)
    if as_json:
        data = {"error": error.what, "hint": error.hint, "exit_code": error.exit_code}
        show({**data, **({"report": report} if report else {})}, as_json=True)
    Console(stderr=True, soft_wrap=True).print(f"error: {error}", markup=False, highlight=False)
    return error.exit_code


def _table(title: str, value: Mapping[str, Any] | Sequence[Any]) -> Table:
    rows = _rows(value)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    left = len(rows) - MAX_ROWS
    table = Table(title=title, title_justify="left", title_style="bold")
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
            return [{"": name, **item} for name, item in value.items()]
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
