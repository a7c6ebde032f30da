"""A clock that can be stepped while a service runs, imported by Python where it is on the path.

`$CLOCK` names a file with the seconds by which this process is ahead of the machine; it is read
again twice a second. Durations are not touched, as the step of a real clock does not touch them.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import time_machine

EVERY_S = 0.5


def ahead() -> float:
    """Seconds as the file has them; none while nobody has written it."""
    try:
        return float(Path(os.environ["CLOCK"]).read_text())
    except (OSError, ValueError):
        return 0.0


class Clock:
    """This process's clock, and that of its forks, which are born with it as it stands."""

    def __init__(self) -> None:
        self.steps: time_machine.travel | None = None
        self.ahead = 0.0

    def step(self, seconds: float) -> None:
        if self.steps:
            self.steps.stop()
            self.steps = None
        if seconds:
            self.steps = time_machine.travel(time.time() + seconds, tick=True)
            self.steps.start()
            time.time()  # it runs from the first look at it
        self.ahead = seconds

    def follow(self) -> None:
        """Step whenever the file says something else."""
        while True:
            if (seconds := ahead()) != self.ahead:
                self.step(seconds)
            time.sleep(EVERY_S)

    def begin(self) -> None:
        threading.Thread(target=self.follow, daemon=True).start()


if "CLOCK" in os.environ:
    clock = Clock()
    clock.begin()
    os.register_at_fork(after_in_child=clock.begin)  # threads stay behind in the parent
