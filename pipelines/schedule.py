"""`crossimpact schedule`: a state file and a release become a plan."""

from __future__ import annotations

from pathlib import Path

from crossimpact.errors import UsageError
from crossimpact.policy import schedule, state
from crossimpact.policy.plan import Plan
from crossimpact.policy.schedule import Engine
from crossimpact.policy.state import PolicyName
from pipelines.release import champion, resolve
from pipelines.store.settings import Settings
from registry.tracking import CHAMPION

#: Longest state file that is read, bytes; 2,000 names with their fills take 2 MB.
MAX_BYTES = 64 << 20


def run(
    settings: Settings,
    file: Path,
    which: str = CHAMPION,
    policy: PolicyName = "optimal",
    engine: Engine = "fast",
) -> Plan:
    """The plan of a state file under a release.

    Raises
    ------
    UsageError
        When the file cannot be read.
    ProblemError
        When it is no state: which field, and its limit.
    StaleModel
        When there is no such release.
    """
    desk = state.read(_bytes(file))
    release = champion(settings)[0] if which == CHAMPION else resolve(settings, which)[0]
    answer = release.model_for(desk.regime, desk.allowed.rung)
    return schedule.plan(answer, desk, policy, engine, release=release.digest)


def _bytes(file: Path) -> bytes:
    try:
        if file.stat().st_size > MAX_BYTES:
            raise UsageError(f"{file} is longer than {MAX_BYTES} bytes")
        return file.read_bytes()
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from error
