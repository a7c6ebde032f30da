"""The weekly post-mortem of a rollout as one page: what it cost, who broke what, who was wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from markupsafe import Markup
from matplotlib.dates import DateFormatter, date2num
from matplotlib.figure import Figure

from crossimpact.atomic import write_atomic
from pipelines.pages import plots
from pipelines.pages.reports import render, write_index
from pipelines.rollout.week import Week
from pipelines.store.settings import Settings

SHADOW, LIVE = "#4477aa", "#d1495b"


def build(settings: Settings, week: Week) -> Path:
    """Write `<home>/reports/rollout-<monday>.html` and the index; return its path."""
    live = week.live
    content = {
        "week": week,
        "live": live,
        "mean": live.readings[0] if live else None,
        "readings": live.readings if live else (),
        "missing": week.missing,
        "last": week.path[:, -1].tolist(),
        "path": _path(week),
        "beside": _beside(week),
        "totals": _totals(week),
    }
    path = settings.reports / f"rollout-{week.monday}.html"
    write_atomic(path, render("post_mortem.html.j2", **content))
    write_index(settings)
    return path


def _totals(week: Week) -> dict[str, tuple[int, int, float]]:
    """Per arm: baskets, orders at a cross cost, and that cost."""
    result = {}
    for arm in ("policy", "control"):
        rows = [row for row in week.breaches if row.arm == arm]
        result[arm] = (
            sum(row.baskets for row in rows), sum(row.orders for row in rows),
            sum(row.cost_usd for row in rows),
        )  # fmt: skip
    return result


def _path(week: Week) -> Markup:
    """The effect as seen after each day of the stage, with bounds of all looks."""
    with plots.style():
        figure = Figure(figsize=(6.2, 3.2), layout="constrained")
        axes = figure.subplots()
        times = date2num([np.datetime64(day) for day in week.days])
        value, _, low, high = week.path
        known = np.isfinite(low)
        if known.any():
            axes.fill_between(times[known], low[known], high[known], color=LIVE, alpha=0.15)
        axes.plot(times, value, ".-", color=LIVE)
        axes.axhline(0, color=plots.INK, linewidth=0.8)
        axes.set_ylabel("policy less control, bps")
        axes.set_xticks(times[:: max(1, len(times) // 6)])
        axes.xaxis.set_major_formatter(DateFormatter("%d %b"))
        alt = "Mean effect after each day of the stage, with the bounds of all looks"
        return Markup(plots.to_svg(figure, alt))  # noqa: S704 (escaped by the writer)


def _beside(week: Week) -> Markup:
    """Each date's gain in the shadow and in the slice."""
    with plots.style():
        figure = Figure(figsize=(6.2, 3.2), layout="constrained")
        axes = figure.subplots()
        place = np.arange(len(week.beside))
        for shift, name, label, colour in (
            (-0.2, "shadow_bps", "shadow, independent judge", SHADOW),
            (0.2, "live_bps", "live, drawn baskets", LIVE),
        ):
            told = [getattr(row, name) for row in week.beside]
            axes.bar(place + shift, [np.nan if v is None else v for v in told], 0.38,
                     color=colour, label=label)  # fmt: skip
        axes.axhline(0, color=plots.INK, linewidth=0.8)
        axes.set_xticks(place, [row.date[5:] for row in week.beside])
        axes.set_ylabel("gain, bps")
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=2)
        alt = "Gain of each date in the shadow and in the slice"
        return Markup(plots.to_svg(figure, alt))  # noqa: S704 (escaped by the writer)
