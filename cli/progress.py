"""How far a command is, on stderr: bars on a terminal, lines otherwise."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cli.console import plain
from crossimpact.errors import UsageError
from crossimpact.json_log import VARIABLE
from crossimpact.progress import LOG, tell

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


def json_lines() -> bool:
    """Whether the environment asks for logs in JSON.

    Raises
    ------
    UsageError
        When it asks for a format that is none.
    """
    asked = os.environ.get(VARIABLE, "").lower()
    if asked not in ("", "text", "json"):
        raise UsageError(f"{VARIABLE} is {asked!r}", "say text or json")
    return asked == "json"


@contextmanager
def stages(command: str) -> Iterator[None]:
    """Show what the pipelines tell while inside; at once, for importing them takes seconds."""
    if json_lines():  # every line has its handler already
        tell(command)
        yield
    elif sys.stderr.isatty():
        with _bars() as bars, _shown(handler := Bars(bars)):
            tell(command)
            yield
            handler.close_stage()
    else:
        with _shown(Lines()):
            tell(command)
            yield


@contextmanager
def _shown(handler: logging.Handler) -> Iterator[None]:
    level, propagate = LOG.level, LOG.propagate
    LOG.addHandler(handler)
    LOG.setLevel(logging.INFO)
    LOG.propagate = False  # or a library that sets up the root logger shows each line again
    try:
        yield
    finally:
        LOG.removeHandler(handler)
        LOG.setLevel(level)
        LOG.propagate = propagate


class Lines(logging.Handler):
    """A line each, as they come."""

    def emit(self, record: logging.LogRecord) -> None:
        print(plain(record.getMessage()), file=sys.stderr, flush=True)


class Bars(logging.Handler):
    """A bar for each stage, full when the next one begins; a stage that goes on has its bar."""

    def __init__(self, bars: Progress) -> None:
        super().__init__()
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}
        self._stage = ""

    def emit(self, record: logging.LogRecord) -> None:
        stage = plain(getattr(record, "stage", record.getMessage()))
        done, total = getattr(record, "done", 0), getattr(record, "total", 0)
        if stage != self._stage:
            self.close_stage()
            self._stage = stage
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=None)
        self._bars.update(self._tasks[stage], completed=max(done - 1, 0), total=total or None)
        self._bars.refresh()

    def close_stage(self) -> None:
        """What ran until now is done."""
        if self._stage:
            task = self._tasks[self._stage]
            total = self._bars.tasks[list(self._tasks).index(self._stage)].total or 1
            self._bars.update(task, completed=total, total=total)


@contextmanager
def _bars() -> Iterator[Progress]:
    """Drawn when something is told, not by a thread: a process that forks must not inherit one."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn()
    console = Console(stderr=True)
    with Progress(*columns, TimeElapsedColumn(), console=console, auto_refresh=False) as bars:
        yield bars
