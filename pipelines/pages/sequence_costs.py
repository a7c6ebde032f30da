"""The figure of what schedules cost under every metric."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from crossimpact.policy.sequential.contingent import Contingent
from crossimpact.policy.sequential.plan import Plan
from pipelines.pages.plots import INK, style
from pipelines.pages.sequence_figures import NARROW, Drawing, engineering, written
from pipelines.pages.sequence_series import Answer, number, traces


class Bar(NamedTuple):
    """A schedule's cost under every metric."""

    label: str
    colour: str
    ttsc: float
    tthc: float
    full: float


def bars(answer: Answer) -> list[Bar]:
    """One bar a schedule; of scenarios their expectation last. None for a single plan."""
    drawn = [] if isinstance(answer, Plan) else traces(answer)
    rows = [
        Bar(trace.label, trace.colour, trace.plan.ttsc, trace.plan.tthc, trace.plan.full)
        for trace in drawn
    ]
    if isinstance(answer, Contingent):
        rows.append(Bar("Expected", INK, answer.ttsc, answer.tthc, answer.full))
    return rows


def costs(rows: Sequence[Bar], alt: str) -> Drawing:
    """What separate costs show of each schedule (hollow), what it costs (filled), the rest hatched.

    The full cost is drawn where it is another number: amendments are held against the price at
    their arrival, and a spread is no impact.
    """
    apart = any(not np.isclose(row.full, row.tthc, rtol=1e-9) for row in rows)
    names = ("TTSC", "TTHC", "full") if apart else ("TTSC", "TTHC = full")
    step = len(names) + 1
    with style():
        figure = Figure(figsize=(NARROW, 1.2 + 0.3 * step * len(rows)), layout="constrained")
        axes = figure.subplots()
        for place, row in enumerate(rows):
            values = (row.ttsc, row.tthc, row.full)[: len(names)]
            for k, (name, value) in enumerate(zip(names, values, strict=True)):
                _bar(axes, place * step + k, value, row, name)
        middle = (len(names) - 1) / 2
        axes.set_yticks([i * step + middle for i in range(len(rows))], [row.label for row in rows])
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.invert_yaxis()
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.set_xlabel("cost")
        axes.margins(x=0.34)
        axes.set_xlim(left=min(0.0, axes.get_xlim()[0]) if _least(rows) < 0 else 0.0)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        engineering(axes, "x")
        return written(figure, alt)


def _bar(axes: Axes, y: float, value: float, row: Bar, name: str) -> None:
    """Hollow what separate costs show, hatched what they do not."""
    seen = min(max(row.ttsc, 0.0), value) if name.startswith("TTHC") and value > 0 else value
    solid = name.startswith("TTHC") or name == "full"
    edge: dict[str, Any] = {"edgecolor": row.colour, "linewidth": 1.4}
    axes.barh(y, seen, 0.8, color=row.colour if solid else "none", **edge)
    text = f"{name} {number(value)}"
    if seen < value:
        axes.barh(y, value - seen, 0.8, left=seen, color="none", hatch="////", **edge)
        text += f" ({1 - row.ttsc / value:.0%} unseen)"
    axes.annotate(
        text, (max(value, 0.0), y), (5, 0), textcoords="offset points", fontsize=9, va="center"
    )


def _least(rows: Sequence[Bar]) -> float:
    return min(min(row[2:]) for row in rows)
