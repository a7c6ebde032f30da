"""One at a time, for as long as a run of many processes lasts.

A file lock ends with its process; a run of an orchestrator is many. So a file names the run that is
on, and who asks is told whether that run still lives: nothing has to be given back, and a run that
was killed stands in nobody's way.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from crossimpact.atomic import write_atomic
from crossimpact.release.hash_chain import hold


def take(path: Path, run: str, lives: Callable[[str], bool]) -> str | None:
    """Make `run` the one that is on; whose turn it is instead when another one lives.

    Parameters
    ----------
    path
        The file that names the run; its lock lies beside it.
    lives
        Whether a run has not ended yet.
    """
    with hold(path.with_suffix(".lock")):
        holder = path.read_text() if path.exists() else run
        if holder != run and lives(holder):
            return holder
        write_atomic(path, run)
    return None
