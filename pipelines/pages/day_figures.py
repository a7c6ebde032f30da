"""Geometry of the day's figures that the page draws itself, in percent or in an SVG's units: they
follow the reader's width, and his colours by day and night."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pipelines.pages.past import Past, Usual
from pipelines.pages.plots import SEGMENTS

Row = Mapping[str, Any]
#: Names in the heatmap and the network of pairs.
NAMES = 12
QUANTILES = {"p50": "Half", "p90": "9 in 10", "p95": "19 in 20"}
#: Of the network's drawing.
SIZE, MARGIN = 320.0, 58.0


@dataclass(frozen=True)
class Step:
    """A cause in the waterfall: where its bar begins and ends, percent of the width; where it would
    end on a usual day (the middle 80%), None where that is not known.
    """

    key: str
    name: str
    colour: str
    usd: Any
    bps: float
    left: float
    width: float
    zero: float
    usual: Usual | None
    usual_left: float | None
    usual_width: float | None


def waterfall(day: Row, past: Past) -> list[Step]:
    """The causes one after the other, from nothing to the total, on one axis of bps."""
    values = {key: float(day.get(f"{key}_bps") or 0.0) for key in SEGMENTS}
    starts: dict[str, float] = {}
    at = 0.0
    for key, value in values.items():
        starts[key], at = at, at + value
    usual = {key: past.usual(f"{key}_bps") for key in SEGMENTS}
    ends = [0.0, at, *starts.values()]
    for key, found in usual.items():
        ends += [starts[key] + found.low, starts[key] + found.high] if found else []
    low, high = min(ends), max(ends)
    scale = 100 / ((high - low) or 1.0)

    def place(value: float) -> float:
        return round((value - low) * scale, 2)

    return [
        Step(
            key, SEGMENTS[key][0], SEGMENTS[key][1], day.get(f"{key}_usd"), value,
            left=place(min(starts[key], starts[key] + value)),
            width=round(abs(value) * scale, 2),
            zero=place(0.0),
            usual=usual[key],
            usual_left=place(starts[key] + found.low) if (found := usual[key]) else None,
            usual_width=round((found.high - found.low) * scale, 2) if found else None,
        )
        for key, value in values.items()
    ]  # fmt: skip


@dataclass(frozen=True)
class Quantile:
    """A quantile of the orders' cost, bps, with its interval, beside what is usual; places are
    percent of the strip's width."""

    label: str
    name: str
    value: float | None
    low: float | None
    high: float | None
    usual: Usual | None
    dot: float | None
    interval: tuple[float, float] | None
    band: tuple[float, float] | None


def strip(day: Row, past: Past) -> list[Quantile]:
    """The quantiles on one axis."""
    rows = [(name, past.usual(f"{name}_bps")) for name in QUANTILES]
    known: list[float] = [0.0]
    for name, usual in rows:
        known += [v for v in _ends(day, name) if v is not None]
        known += [usual.low, usual.high] if usual else []
    low, high = min(known), max(known)
    scale = 100 / ((high - low) or 1.0)

    def span(first: float | None, last: float | None) -> tuple[float, float] | None:
        if first is None or last is None:
            return None
        return round((first - low) * scale, 2), round((last - first) * scale, 2)

    result = []
    for name, usual in rows:
        value, begin, end = _ends(day, name)
        result.append(
            Quantile(
                QUANTILES[name], name, value, begin, end, usual,
                dot=None if value is None else round((value - low) * scale, 2),
                interval=span(begin, end),
                band=span(usual.low, usual.high) if usual else None,
            )
        )  # fmt: skip
    return result


def _ends(day: Row, name: str) -> tuple[float | None, float | None, float | None]:
    return day.get(f"{name}_bps"), day.get(f"{name}_low_bps"), day.get(f"{name}_high_bps")


@dataclass(frozen=True)
class Trend:
    """A line over dates, in the units of its SVG: `points` as an attribute, the last one apart."""

    points: str
    band: tuple[float, float] | None
    zero: float | None
    last: tuple[float, float] | None
    first_date: str
    last_date: str
    low: float
    high: float


def trend(
    dates: Sequence[str], values: Sequence[float | None], marks: Iterable[float] = (),
    *, width: float = 300.0, height: float = 60.0,
) -> Trend | None:  # fmt: skip
    """The dated values, `marks` kept in sight; None of fewer than two."""
    known = [(k, v) for k, v in enumerate(values) if v is not None and v == v]
    if len(known) < 2:
        return None
    ends = [v for _, v in known] + list(marks)
    low, high = min(ends), max(ends)
    up = (height - 8) / ((high - low) or 1.0)
    step = (width - 8) / max(len(values) - 1, 1)
    places = [(round(4 + k * step, 1), round(height - 4 - (v - low) * up, 1)) for k, v in known]
    line = [round(height - 4 - (mark - low) * up, 1) for mark in marks]
    return Trend(
        " ".join(f"{x},{y}" for x, y in places),
        (line[0], line[1]) if len(line) > 1 else None,
        line[0] if line else None,
        places[-1],
        dates[known[0][0]],
        dates[known[-1][0]],
        low,
        high,
    )


# -- pairs ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    """Two names' cost to each other, in the heatmap: column, row, strength 0 to 1."""

    x: int
    y: int
    names: str
    usd: float
    strength: float


@dataclass(frozen=True)
class Edge:
    """A pair in the network."""

    x1: float
    y1: float
    x2: float
    y2: float
    width: float
    names: str
    usd: float


@dataclass(frozen=True)
class Node:
    """A name in the network."""

    name: str
    x: float
    y: float
    label_x: float
    label_y: float
    anchor: str


@dataclass(frozen=True)
class Pairs:
    """The names whose pairs matter most, and what each pair cost, over all regimes."""

    names: tuple[str, ...]
    cells: tuple[Cell, ...]
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]


def pairs(rows: Sequence[Row]) -> Pairs:
    """Of the day's pairs, the largest names."""
    cost: dict[tuple[str, str], float] = {}
    weight: dict[str, float] = {}
    sector: dict[str, str] = {}
    for row in rows:
        i, j, usd = row["symbol_i"], row["symbol_j"], float(row["usd"])
        cost[i, j] = cost.get((i, j), 0.0) + usd
        sector |= {i: row.get("sector_i") or "", j: row.get("sector_j") or ""}
        for name in (i, j):
            weight[name] = weight.get(name, 0.0) + abs(usd)
    top = sorted(weight, key=lambda name: (-weight[name], name))[:NAMES]
    names = tuple(sorted(top, key=lambda name: (sector[name], name)))
    kept = {pair: usd for pair, usd in cost.items() if set(pair) <= set(names)}
    most = max(map(abs, kept.values()), default=1.0) or 1.0
    nodes = _circle(names)
    return Pairs(names, tuple(_cells(names, kept, most)), nodes, tuple(_edges(nodes, kept, most)))


def _cells(
    names: Sequence[str], cost: Mapping[tuple[str, str], float], most: float
) -> Iterable[Cell]:
    place = {name: k for k, name in enumerate(names)}
    for (i, j), usd in cost.items():
        for a, b in ((i, j), (j, i)):
            strength = round(math.sqrt(abs(usd) / most), 3)
            yield Cell(place[a], place[b], f"{i} and {j}", usd, strength)


def _circle(names: Sequence[str]) -> tuple[Node, ...]:
    middle, radius = SIZE / 2, SIZE / 2 - MARGIN
    result = []
    for k, name in enumerate(names):
        angle = 2 * math.pi * k / max(len(names), 1) - math.pi / 2
        cos, sin = math.cos(angle), math.sin(angle)
        anchor = "middle" if abs(cos) < 0.2 else "start" if cos > 0 else "end"
        result.append(
            Node(
                name, round(middle + radius * cos, 1), round(middle + radius * sin, 1),
                round(middle + (radius + 9) * cos, 1), round(middle + (radius + 12) * sin + 4, 1),
                anchor,
            )
        )  # fmt: skip
    return tuple(result)


def _edges(
    nodes: Sequence[Node], cost: Mapping[tuple[str, str], float], most: float
) -> Iterable[Edge]:
    at = {node.name: node for node in nodes}
    for (i, j), usd in sorted(cost.items(), key=lambda item: abs(item[1])):
        width = round(0.6 + 6 * abs(usd) / most, 2)
        yield Edge(at[i].x, at[i].y, at[j].x, at[j].y, width, f"{i} and {j}", usd)


# -- lines through the day -----------------------------------------------------------------------


@dataclass(frozen=True)
class Stretch:
    """A state from one moment to another, percent of the line's width."""

    state: str
    begin: datetime
    end: datetime
    left: float
    width: float


def line(changes: Sequence[tuple[datetime, str]], end: datetime) -> list[Stretch]:
    """States in order of time, each until the next one, equal neighbours as one."""
    merged: list[tuple[datetime, str]] = []
    for moment, state in changes:
        if not merged or merged[-1][1] != state:
            merged.append((moment, state))
    if not merged or end <= merged[0][0]:
        return []
    first, whole = merged[0][0], (end - merged[0][0]).total_seconds()
    until = [moment for moment, _ in merged[1:]] + [end]
    return [
        Stretch(
            state, begin, stop,
            round(100 * (begin - first).total_seconds() / whole, 2),
            round(100 * (stop - begin).total_seconds() / whole, 2),
        )
        for (begin, state), stop in zip(merged, until, strict=True)
    ]  # fmt: skip


def minutes(stretches: Sequence[Stretch]) -> dict[str, float]:
    """How long each state lasted in all."""
    result: dict[str, float] = {}
    for stretch in stretches:
        spent = (stretch.end - stretch.begin).total_seconds() / 60
        result[stretch.state] = result.get(stretch.state, 0.0) + spent
    return result
