"""The clock that a rehearsal steps: dates move with it, durations do not, forks follow."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from ops.airflow_env import ROOT

SCRIPT = """
import os, sys, time
from datetime import UTC, datetime
from pathlib import Path

file = Path(os.environ["CLOCK"])
ahead = lambda: time.time() - started - (time.monotonic() - since)

def until(seconds):
    end = time.monotonic() + 60
    while abs(ahead() - seconds) > 0.1:
        assert time.monotonic() < end, ahead()
        time.sleep(0.05)
    by_date = datetime.now(UTC).timestamp() - time.time()
    assert abs(by_date) < 1, by_date

started, since = time.time(), time.monotonic()
file.write_text("45")
until(45)
if os.fork() == 0:
    file.write_text("-45")
    until(-45)
    os._exit(0)
assert os.wait()[1] == 0
until(-45)
file.write_text("0")
until(0)
"""


def test_stepped_clock_moves_dates_and_no_durations_in_a_process_and_its_fork(
    tmp_path: Path,
) -> None:
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "ops" / "stack" / "clock"),
        "CLOCK": str(tmp_path / "clock"),
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
