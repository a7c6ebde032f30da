"""The day's session as a page: states with CPI and IBB against their levels, what was kept back and
why, planned against done, who answered. Made from the journal alone, by replaying it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from markupsafe import Markup
from matplotlib.dates import DateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from crossimpact.atomic import write_atomic
from crossimpact.policy.guardrails import IN_FLIGHT, STATES
from crossimpact.policy.live import events
from crossimpact.policy.state import LARGEST
from crossimpact.release.bundle import Release
from crossimpact.release.content import Guardrail
from pipelines.live import journal as journals
from pipelines.live.engine import Opening
from pipelines.live.journal import Line
from pipelines.pages import plots
from pipelines.pages.reports import render, write_index
from pipelines.store.settings import Settings

INDICES = {
    "cpi_bps": "CPI, bps of notional",
    "ibb": "IBB, realized over expected",
    "in_flight": "Own fills move the market: by chance once in",
}
#: Of the dashed levels.
COLOURS = {"amber": "#e09f3e", "red": "#d1495b"}
SHOWN = 40


@dataclass(frozen=True)
class Moment:
    """The guardrails after one reading."""

    at: datetime
    state: int
    values: Mapping[str, float | None]
    levels: Mapping[str, Guardrail]


def build(settings: Settings, path: Path, releases: Callable[[str], Release]) -> Path:
    """Write `<home>/reports/live-<day>.html` of a session, and the index; return its path."""
    lines, _ = journals.read(path.read_bytes())
    decisions = [line["decision"] for line in lines if line["kind"] == "decision"]
    moments = timeline(lines, releases)
    day = moments[-1].at.date().isoformat() if moments else path.stem
    out = settings.reports / f"live-{day}.html"
    asked = Opening.of(lines[0]).settings.policy
    content = {
        "session": path.stem,
        "day": day,
        "decisions": len(decisions),
        "figure": _figure(moments),
        "changes": [
            {"at": row["at"][11:19], "why": why}
            for row in decisions
            for why in row["triggers"]
            if why.startswith("guardrail ")
        ],
        "kept": _kept(lines),
        "parents": _parents(lines, decisions),
        "answered": dict(Counter(row["answered"] for row in decisions)),
        "fallbacks": _fallbacks(decisions, asked),
        "levels": [row for row in map(_level, lines) if row],
        "tca": (settings.reports / f"tca-{day}.html").exists(),
    }
    write_atomic(out, render("live.html.j2", **content))
    write_index(settings)
    return out


def timeline(lines: list[Line], releases: Callable[[str], Release]) -> list[Moment]:
    """The guardrails' readings of a journal, in order."""
    session = Opening.of(lines[0]).session(releases)
    result: list[Moment] = []
    last = session.reading
    for line in lines:
        if line["kind"] != "event":
            continue
        session.apply(events.read(msgspec.json.encode(line["event"]), own=True))
        if session.reading is not last:
            last = session.reading
            values = {name: getattr(last, name) for name in INDICES}
            known = session.release.guardrails.get(session.regime, {}) if session.release else {}
            rows = {**known, **IN_FLIGHT}
            result.append(Moment(session.now, session.guardrail.state, values, rows))
    return result


def _figure(moments: list[Moment]) -> Markup:
    """The state and what was measured over the day, each with its levels dashed."""
    with plots.style():
        figure = Figure(figsize=(8.4, 6.0), layout="constrained")
        state, *rest = figure.subplots(1 + len(INDICES), 1, sharex=True)
        times = date2num([moment.at for moment in moments])
        state.step(times, [moment.state for moment in moments], where="post")
        state.set_yticks(range(3), STATES)
        state.set_ylim(-0.2, 2.2)
        for axes, (name, label) in zip(rest, INDICES.items(), strict=True):
            known = [m.values[name] for m in moments]
            axes.plot(times, [float("nan") if v is None else v for v in known], ".-", markersize=3)
            for colour in COLOURS:
                level = [_level_of(m, name, colour) for m in moments]
                axes.step(times, level, "--", where="post", linewidth=1, color=COLOURS[colour])
            if name == "in_flight":
                axes.set_yscale("log")
                axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
            empty = all(value is None for value in known)
            axes.set_title(label + (": no value" if empty else ""), loc="left", fontsize="medium")
        rest[-1].xaxis.set_major_formatter(DateFormatter("%H:%M"))
        alt = "Guardrail state, CPI, IBB and in-flight evidence over the session, with their levels"
        return Markup(plots.to_svg(figure, alt))  # noqa: S704 (escaped by the writer)


def _level_of(moment: Moment, name: str, colour: str) -> float:
    """NaN where the release has none; a level that cannot be reached is not drawn."""
    level = getattr(moment.levels.get(name), colour, LARGEST)
    return level if level < LARGEST else float("nan")


def _kept(lines: list[Line]) -> list[dict[str, Any]]:
    """Children staggered, frozen or refused, by name and reason, the most frequent first."""
    seen: Counter[tuple[str, str]] = Counter()
    for line in lines:
        if line["kind"] != "decision":
            continue
        for text in line["decision"]["refusals"]:
            symbol, _, why = text.partition(": ")
            seen[symbol, f"refused: {why.partition(' ')[0]}"] += 1
        for child in (line["plan"] or {}).get("children", ()):
            for reason in child["reasons"]:
                seen[child["symbol"], reason.partition(": ")[2] or reason] += 1
        for rule in (line["plan"] or {}).get("rules", ()):
            seen[", ".join(rule["of"]), f"rule {rule['rule']}"] += 1
    return [{"name": name, "why": why, "times": n} for (name, why), n in seen.most_common(SHOWN)]


def _parents(lines: list[Line], decisions: list[Any]) -> list[dict[str, Any]]:
    """What each parent was, was last asked to be, and is."""
    told = [line["event"] for line in lines if line["kind"] == "event"]
    orders = {event["id"]: event for event in told if event["type"] == "parent"}
    asked = {row["parent"]: row["target"] for d in decisions for row in d["targets"]}
    filled: Counter[str] = Counter()
    for event in told:
        if event["type"] == "fill" and event["kind"] == "new":
            filled[event["parent"]] += event["quantity"]
    rows = [
        {"id": k, "symbol": o["symbol"], "quantity": o["quantity"], "asked": asked.get(k, 0.0),
         "filled": filled[k]}
        for k, o in orders.items()
    ]  # fmt: skip
    return sorted(rows, key=lambda row: -abs(row["quantity"]))[:SHOWN]


def _fallbacks(decisions: list[Any], asked: str) -> list[dict[str, Any]]:
    seen = Counter((row["answered"], row["why"]) for row in decisions if row["answered"] != asked)
    return [{"who": who, "why": why, "times": n} for (who, why), n in seen.most_common(SHOWN)]


def _level(line: Line) -> dict[str, Any] | None:
    event = line["event"] if line["kind"] == "event" else {}
    return {k: event[k] for k in ("at", "level", "who", "reason")} if "level" in event else None
