"""A session in a few numbers, from its journal alone."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from crossimpact.policy.guardrails import STATES
from pipelines.live import journal as journals
from pipelines.live.engine import Opening
from pipelines.live.journal import Line


@dataclass(frozen=True)
class Recap:
    """What a session was.

    Attributes
    ----------
    events
        Applied, by type.
    refused, skipped
        Lines that were no event, and events that changed nothing.
    answered, guardrail
        Decisions by who answered and by state.
    minutes
        By guardrail state, from the first decision to the feeds' last event.
    limit_refusals
        Children that a hard limit refused.
    fallbacks
        Decisions whose plan is not by the policy that was asked for.
    """

    session: str
    journal: str
    lines: int
    events: Mapping[str, int]
    refused: int
    skipped: int
    decisions: int
    answered: Mapping[str, int]
    guardrail: Mapping[str, int]
    minutes: Mapping[str, float]
    limit_refusals: int
    fallbacks: int
    level: str
    mode: str
    outstanding: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def of(path: Path) -> Recap:
    """Of a journal's whole lines."""
    lines, verdict = journals.read(path.read_bytes())
    rows = [line["decision"] for line in lines if line["kind"] == "decision"]
    events = [line["event"] for line in lines if line["kind"] == "event"]
    told = [line["event"] for line in lines if line["kind"] == "event" and "feed" in line]
    opening = Opening.of(lines[0])
    known = (opening.settings.policy, "nobody")
    last: Mapping[str, Any] = rows[-1] if rows else {}
    return Recap(
        session=path.stem,
        journal=str(path),
        lines=verdict.lines,
        events=dict(sorted(Counter(event["type"] for event in events).items())),
        refused=sum(line["kind"] == "refused" for line in lines),
        skipped=sum(len(line.get("skipped", ())) for line in lines),
        decisions=len(rows),
        answered=dict(Counter(row["answered"] for row in rows)),
        guardrail=dict(Counter(row["guardrail"] for row in rows)),
        minutes=_minutes(rows, told),
        limit_refusals=sum(len(row["refusals"]) for row in rows),
        fallbacks=sum(row["answered"] not in known for row in rows),
        level=last.get("level", opening.level),
        mode=last.get("mode", opening.mode),
        outstanding=last.get("outstanding", {}),
    )


def guardrail(path: Path) -> list[tuple[datetime, str]]:
    """The guardrail's state at each decision of a journal, and once more at its end."""
    lines, _ = journals.read(path.read_bytes())
    rows = [line["decision"] for line in lines if line["kind"] == "decision"]
    return _states(
        rows, [line["event"] for line in lines if line["kind"] == "event" and "feed" in line]
    )


def _states(rows: Sequence[Line], events: Sequence[Line]) -> list[tuple[datetime, str]]:
    """Each change of state makes a decision, so a state lasts from one to the next."""
    if not rows:
        return []
    found = [(datetime.fromisoformat(row["at"]), str(row["guardrail"])) for row in rows]
    moment, state = found[-1]
    last = max((datetime.fromisoformat(event["at"]) for event in events), default=moment)
    return [*found, (max(last, moment), state)]


def _minutes(rows: Sequence[Line], events: Sequence[Line]) -> dict[str, float]:
    result: dict[str, float] = defaultdict(float, dict.fromkeys(STATES, 0.0))
    for (begin, state), (end, _) in pairwise(_states(rows, events)):
        result[state] += (end - begin).total_seconds() / 60
    return {state: round(minutes, 1) for state, minutes in result.items()}
