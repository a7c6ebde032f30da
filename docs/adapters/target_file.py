"""What a strategy of nautilus_trader, Lean or any other engine does with the loop's targets.

The strategy reads lines of the loop's output and trades the difference between a parent's target
and what it has filled and working itself. It imports nothing of ours. In Lean call `poll` from
`OnData`, in nautilus from a timer; `submit(parent, symbol, quantity, style)` and `cancel(parent)`
are yours, and so is lowering `placed` once a cancel is confirmed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

#: Shares below which a difference is rounding.
DUST = 1e-6


class Targets:
    """The loop's word on each parent, believed once and in order."""

    def __init__(
        self,
        path: Path,
        submit: Callable[[str, str, float, str], None],
        cancel: Callable[[str], None],
    ) -> None:
        self._path, self._submit, self._cancel = path, submit, cancel
        self._read = self._seq = 0
        self.stopped = False
        self.placed: dict[str, float] = {}  # filled and working, by parent

    def poll(self) -> None:
        """Act on whole lines that are new."""
        with self._path.open("rb") as stream:
            stream.seek(self._read)
            content = stream.read()
        whole = content[: content.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in filter(None, whole.splitlines()):
            try:
                self._act(json.loads(line))
            except ValueError:
                continue  # half a line that a watchdog ended

    def _act(self, told: dict) -> None:
        if told["type"] == "level":
            if told["level"] in ("CANCEL", "KILL"):
                self._stop()
            return
        if told["seq"] <= self._seq:
            return  # said before
        self._seq = told["seq"]
        if told["level"] in ("CANCEL", "KILL"):
            self._stop()
        elif told["mode"] == "full":
            self.stopped = False
            for row in told["targets"]:
                self._move(row)

    def _move(self, row: dict) -> None:
        more = row["target"] - self.placed.get(row["parent"], 0.0)
        if abs(more) <= DUST:
            return
        if more * row["target"] < 0 or row["target"] == 0:
            self._cancel(row["parent"])  # your order system then lowers `placed`
            return
        self.placed[row["parent"]] = row["target"]
        self._submit(row["parent"], row["symbol"], more, row["style"])

    def _stop(self) -> None:
        if not self.stopped:
            self.stopped = True
            for parent in self.placed:
                self._cancel(parent)
