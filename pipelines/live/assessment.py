"""The facts of a self-assessment (RTS 6 Art. 9), from the journals and drills of a home."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from crossimpact.policy.limits import ARTICLES, Limits
from pipelines.live import journal as journals
from pipelines.live.engine import Opening
from pipelines.live.loop import Places
from pipelines.live.run import journals_of
from pipelines.store.settings import Settings

#: A stress test is at this many times the peak.
STRESS = 2


def of(settings: Settings) -> dict[str, Any]:
    """Per session and in all; empty where no session was."""
    sessions, levels, changes = [], [], []
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
        sessions.append({
            "session": path.stem, "decisions": len(rows), "whole": verdict.line is None,
            "sealed": verdict.sealed,
        })  # fmt: skip
    if not sessions:
        return {}
    return {
        "note": "these limits supplement the broker's controls and never replace them",
        "limits": _limits(settings),
        "breaches": dict(breaches),
        "levels": levels,
        "drills": _drills(settings),
        "stress": {
            "peak_events_a_second": peak, "to_test_at": STRESS * peak,
            "how": "benchmarks/live_loop.py",
        },
        "changes": changes,
        "sessions": sessions,
    }  # fmt: skip


def _limits(settings: Settings) -> dict[str, Any]:
    limits = Limits.read(Places(settings.home).limits)
    return {
        name: {"limit": getattr(limits, name), "article": article}
        for name, article in ARTICLES.items()
    }


def _limit(text: str) -> str:
    return next((name for name in ARTICLES if f"{name} " in text), "other")


def _changed(before: tuple[Limits, str], now: tuple[Limits, str]) -> dict[str, Any]:
    old, new = vars(before[0]), vars(now[0])
    limits = {name: f"{old[name]:g} to {new[name]:g}" for name in old if old[name] != new[name]}
    code = {} if before[1] == now[1] else {"code": f"{before[1]} to {now[1]}"}
    return {**limits, **code}


def _drills(settings: Settings) -> list[dict[str, Any]]:
    folder = Places(settings.home).level.parent / "drills"
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
