"""A kill, drilled: a real loop is stopped dead, KILL is written, and its output is watched."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from crossimpact.atomic import write_atomic
from crossimpact.errors import CrossImpactError
from pipelines.live import levels
from pipelines.live.places import Places
from pipelines.store.settings import Settings

#: A kill is to be seen by then.
LIMIT_S = 1.0
START_S = 120.0


@dataclass(frozen=True)
class Drill:
    """How long a hung loop's kill took to reach its output, and whether it was still latched."""

    when: str
    who: str
    seconds: float
    latched: bool

    @property
    def passed(self) -> bool:
        return self.latched and self.seconds <= LIMIT_S

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"passed": self.passed, "limit_s": LIMIT_S}


def kill(settings: Settings, who: str, now: datetime) -> Drill:
    """Drill in a home of its own; what came out is kept in this one.

    Raises
    ------
    CrossImpactError
        When the drilled loop does not start, or never tells the kill.
    """
    with tempfile.TemporaryDirectory(prefix="crossimpact-drill-") as scratch:
        seconds, latched = _drilled(Path(scratch))
    made = Drill(now.isoformat(), who, seconds, latched)
    folder = Places(settings.home).level.parent / "drills"
    write_atomic(folder / f"{now:%Y%m%dT%H%M%S%f}.json", json.dumps(made.to_dict()))
    return made


def _drilled(home: Path) -> tuple[float, bool]:
    places, told, feed = Places(home), home / "targets.jsonl", home / "events.jsonl"
    feed.touch()
    command = [sys.executable, "-m", "crossimpact", "live", "--home", str(home)]
    words = ["--feed", str(feed), "--output", str(told), "--session", "drill"]
    uri = {"MLFLOW_TRACKING_URI": f"sqlite:///{home}/none.db"}
    loop = subprocess.Popen(
        [*command, *words], env={**os.environ, **uri}, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        _until(lambda: places.heartbeat.exists() and told.exists(), START_S, "start")
        time.sleep(5 * 0.1)  # the watchdog, too
        loop.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        levels.write(places.level, "KILL", "drill", "a drill")
        _until(lambda: b'"KILL"' in told.read_bytes(), START_S, "tell the kill")
        return time.monotonic() - began, levels.read(places.level).level == "KILL"
    finally:
        loop.send_signal(signal.SIGCONT)
        loop.terminate()
        try:
            loop.wait(30)
        except subprocess.TimeoutExpired:
            loop.kill()


def _until(done: Callable[[], bool], limit_s: float, what: str) -> None:
    until = time.monotonic() + limit_s
    while not done():
        if time.monotonic() > until:
            raise CrossImpactError(f"the drilled loop did not {what} within {limit_s:g} s")
        time.sleep(0.01)
