"""The mode of the running session: a step up asked for with a second name and evidence, by a file.

The loop reads the file between two turns. It says which session it is meant for, so that another
one begins in advisory whatever the last one was; one that says nothing known is a step down.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from crossimpact.atomic import write_atomic
from crossimpact.errors import GateRefused, UsageError
from crossimpact.policy.live.events import MODES, Mode, ModeChange
from crossimpact.policy.live.session import Session
from pipelines.live import journal as journals
from pipelines.live import levels
from pipelines.live.journal import Line
from pipelines.store.settings import Settings


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a mode file says. `who` asked, `approver` is the second person of a step up."""

    session: str
    mode: Mode
    who: str
    approver: str
    reason: str
    evidence: str
    asked_at: str

    def change(self, at: datetime) -> ModeChange:
        """As the session is told it; a step up by one person alone goes without evidence."""
        alone = self.approver in ("", self.who)
        who = self.who if alone else f"{self.who}, approved by {self.approver}"
        told = f"{self.evidence}; {self.reason}; asked {self.asked_at}"
        missing = self.mode != MODES[0] and (alone or not self.evidence)
        return ModeChange(to=self.mode, who=who, evidence="" if missing else told, at=at)


class Watch:
    """A mode file as the loop sees it: each content counts once, also over a restart."""

    def __init__(self, path: Path) -> None:
        self._path, self._seen = path, b""

    def changes(self, session: Session, at: datetime) -> list[ModeChange]:
        """What somebody wrote since the last look."""
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as error:
            content = str(error.strerror).encode()
        if content == self._seen:
            return []
        self._seen = content
        try:
            request = msgspec.json.decode(content, type=Request)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return [ModeChange(to=MODES[0], who="mode file", evidence="says nothing known", at=at)]
        change, last = request.change(at), session.controls.asked_mode
        known = last is not None and (last.to, last.who, last.evidence) == (
            change.to, change.who, change.evidence,
        )  # fmt: skip
        return [change] if request.session == session.settings.name and not known else []


def path_of(settings: Settings) -> Path:
    return settings.home / "live" / "mode"


def ask(
    settings: Settings,
    sessions: Sequence[Path],
    mode: Mode,
    who: str,
    approver: str,
    reason: str,
    at: datetime,
) -> Request:
    """Ask the open session for a mode: any step down, or one up.

    Parameters
    ----------
    sessions
        Journals of the home, the one written last at the end.

    Raises
    ------
    UsageError
        When no session is open, or it is in that mode.
    GateRefused
        When a step up has no reason, no second person or no evidence, or a level is latched.
    """
    session, now = _open(sessions)
    step = MODES.index(mode) - MODES.index(now)
    if step == 0:
        raise UsageError(f"session {session} is {now} already", "see its last decision")
    found = _refuse_or_evidence(settings, sessions, who, approver, reason) if step > 0 else ""
    request = Request(session, mode, who, approver, reason, found, at.isoformat())
    write_atomic(path_of(settings), msgspec.json.encode(request) + b"\n")
    return request


def _open(sessions: Sequence[Path]) -> tuple[str, Mode]:
    """The session that goes on, and its mode."""
    for path in reversed(sessions):
        lines, verdict = journals.read(path.read_bytes())
        sealed = verdict.sealed or journals.manifest_of(path).exists()
        if lines and not sealed:
            told = [line["decision"]["mode"] for line in lines if line["kind"] == "decision"]
            return path.stem, told[-1] if told else lines[0]["opening"]["mode"]
    raise UsageError("no live session is open", "run `crossimpact live` and ask again")


def _refuse_or_evidence(
    settings: Settings, sessions: Sequence[Path], who: str, approver: str, reason: str
) -> str:
    if not reason.strip():
        raise GateRefused("a step up needs a reason", "say --reason")
    if approver.strip() in ("", who):
        raise GateRefused(
            f"a step up needs a second person, and {who} asks for it", "name one with --approver"
        )
    level = levels.read(settings.home / "live" / "level")
    if level.rank:
        raise GateRefused(
            f"{level.level} by {level.who} is latched", "take it back with `crossimpact live reset`"
        )
    return _evidence(sessions)


def _evidence(sessions: Sequence[Path]) -> str:
    """The last sealed advisory session that verifies."""
    problems = []
    for path in reversed(sessions):
        verdict = journals.verify(path)
        lines, _ = journals.read(path.read_bytes())
        if problem := verdict.problem or _not_advisory(lines):
            problems.append(f"{path.stem}: {problem}")
            continue
        return f"session {path.stem}, {verdict.lines} lines, last {lines[-1]['prev'][:12]}"
    raise GateRefused(
        f"no sealed advisory session is evidence ({'; '.join(problems[:3])})",
        "run one to its end in advisory, then ask again",
    )


def _not_advisory(lines: Sequence[Line]) -> str:
    """Why a sealed journal is no evidence; empty when it is."""
    rows = [line["decision"] for line in lines if line["kind"] == "decision"]
    if any(row["mode"] != MODES[0] for row in rows):
        return "it was not advisory throughout"
    planned = any(row["answered"] != "nobody" for row in rows)
    return "" if planned else "it decided nothing"
