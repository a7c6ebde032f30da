"""Levels and an orderly end by signal."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable
from pathlib import Path

from crossimpact.policy.live.events import Level
from pipelines.live import levels

SIGNALS: dict[signal.Signals, Level] = {
    signal.SIGUSR1: "PAUSE", signal.SIGUSR2: "CANCEL", signal.SIGQUIT: "KILL",
}  # fmt: skip


def listen(file: Path, end: Callable[[], None]) -> None:
    """Latch levels in the file by signal, and `end` by SIGTERM and SIGINT."""
    loop = asyncio.get_running_loop()
    if threading.current_thread() is not threading.main_thread():
        return  # Python gives signals to the main thread alone
    for number, level in SIGNALS.items():
        loop.add_signal_handler(number, _latch, file, level)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)


def _latch(file: Path, level: Level) -> None:
    if levels.read(file).rank < levels.ORDER.index(level):
        levels.write(file, level, "signal", "a signal")
