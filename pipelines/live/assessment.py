"""The facts of a self-assessment (RTS 6 Art. 9), from the journals and drills of a home."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from crossimpact.policy.limits import ARTICLES, Limits
from pipelines.live import journal as journals
from pipelines.live.engine import Opening
from pipelines.live.places import Places
from pipelines.live.run import journals_of
from pipelines.store.settings import Settings

#: A stress test is at this many times the peak.
STRESS = 2


@dataclass(frozen=True)
class Limit:
    """A hard limit as it stands, and the article it is named after."""

    limit: float
    article: str


@dataclass(frozen=True)
class Stress:
    """Events in the busiest second, and at how many a stress test is to be run."""

    peak_events_a_second: int
    to_test_at: int
    how: str = "benchmarks/live_loop.py"


@dataclass(frozen=True)
class Assessed:
    """A session: its decisions, and whether its journal is whole and sealed."""

    session: str
    decisions: int
    whole: bool
    sealed: bool


@dataclass(frozen=True)
class SelfAssessment:
    """What a home's sessions say of their controls; levels, changes and drills as recorded."""

    limits: Mapping[str, Limit]
    breaches: Mapping[str, int]
    levels: tuple[Mapping[str, str], ...]
    drills: tuple[Mapping[str, object], ...]
    stress: Stress
    changes: tuple[Mapping[str, str], ...]
    sessions: tuple[Assessed, ...]
    note: str = "these limits supplement the broker's controls and never replace them"


def of(settings: Settings) -> SelfAssessment | None:
    """Per session and in all; None where no session was."""
    sessions: list[Assessed] = []
    levels: list[Mapping[str, str]] = []
    changes: list[Mapping[str, str]] = []
    breaches: Counter[str] = Counter()
    peak, before = 0, None
    for path in journals_of(settings):
        lines, verdict = journals.read(path.read_bytes())
        if not lines:
            continue
        opening = Opening.of(lines[0])
        now = (opening.settings.limits, lines[0]["opening"]["code_version"])
        if before is not None and now != before:
            changes.append(
                {"session": path.stem, "approver": opening.approver, **_changed(before, now)}
            )
        before = now
        rows = [line["decision"] for line in lines if line["kind"] == "decision"]
        breaches.update(_limit(text) for row in rows for text in row["refusals"])
        told = [line["event"] for line in lines if line["kind"] == "event"]
        levels += [
            {"session": path.stem, **{k: event[k] for k in ("at", "level", "who", "reason")}}
            for event in told
            if event["type"] == "control"
        ]
        a_second = Counter(event["at"][:19] for event in told)
        peak = max(peak, *a_second.values(), 0)
        sessions.append(Assessed(path.stem, len(rows), verdict.line is None, verdict.sealed))
    if not sessions:
        return None
    return SelfAssessment(
        limits=_limits(settings),
        breaches=dict(breaches),
        levels=tuple(levels),
        drills=_drills(settings),
        stress=Stress(peak, STRESS * peak),
        changes=tuple(changes),
        sessions=tuple(sessions),
    )


def _limits(settings: Settings) -> dict[str, Limit]:
    limits = Limits.read(Places(settings.home).limits)
    return {name: Limit(getattr(limits, name), article) for name, article in ARTICLES.items()}


def _limit(text: str) -> str:
    return next((name for name in ARTICLES if f"{name} " in text), "other")


def _changed(before: tuple[Limits, str], now: tuple[Limits, str]) -> dict[str, str]:
    old, new = vars(before[0]), vars(now[0])
    limits = {name: f"{old[name]:g} to {new[name]:g}" for name in old if old[name] != new[name]}
    code = {} if before[1] == now[1] else {"code": f"{before[1]} to {now[1]}"}
    return {**limits, **code}


def _drills(settings: Settings) -> tuple[Mapping[str, object], ...]:
    folder = Places(settings.home).level.parent / "drills"
    return tuple(json.loads(path.read_text()) for path in sorted(folder.glob("*.json")))
