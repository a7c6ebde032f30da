"""Figures of the reports as inline SVG, and the style of all figures.

The same numbers give the same bytes: no date, no random id, no font embedded. Names are drawn as
they are (no mathtext), and the SVG writer escapes them.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from itertools import cycle
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, DateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from crossimpact.model import Array

#: What a bar is stacked from: name, what a reader calls it, colour (safe for colour-blind eyes).
#: Self impact and realized cross are drawn as their causes, so that noise never looks like cross.
SEGMENTS: dict[str, tuple[str, str]] = {
    "self_now": ("Self impact, now", "#4477aa"),
    "self_own_carried": ("Self impact, carried over", "#8fb0d6"),
    "self_sibling_carried": ("Self impact, by the name's other orders", "#c6d6ea"),
    "cross_now": ("Cross, predicted now", "#d1495b"),
    "cross_carried": ("Cross, predicted carried over", "#eba3ac"),
    "peers": ("Peers' flow", "#4c9f70"),
    "market": ("Purified market", "#a9cdb8"),
    "residual": ("Unexplained", "#c3c8cf"),
    "delay": ("Delay", "#b8a528"),
    "fees_spread": ("Fees and spread", "#5ab4d6"),
    "opportunity": ("Opportunity", "#8e4585"),
}
INK, MUTED = "#222831", "#6b7280"
REGIME_COLOURS = ("#4477aa", "#d1495b", "#8e4585", "#b8a528")
HALF_HOUR = timedelta(minutes=30)
#: Longest name beside a bar; ids may have 128 characters.
MAX_LABEL = 24


def style() -> AbstractContextManager[None]:
    """Settings under which every figure is drawn and written."""
    return mpl.rc_context(
        {
            "svg.hashsalt": "crossimpact",
            "svg.fonttype": "none",
            "text.parse_math": False,
            "font.family": "sans-serif",
            "font.size": 11,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.edgecolor": MUTED,
            "axes.labelcolor": INK,
            "axes.titlesize": 11,
            "xtick.color": MUTED,
            "ytick.color": MUTED,
            "text.color": INK,
            "legend.frameon": False,
            "legend.fontsize": 9.5,
        }
    )


def split(totals: Mapping[str, Mapping[str, float]], alt: str, *, top: int = 10) -> str:
    """Stacked parts of the shortfall per group (basket, sector), the largest totals first, USD.

    Parameters
    ----------
    totals
        Group -> segment -> USD.
    alt
        What the figure shows, for those who cannot see it.
    top
        Groups shown by name; the others are summed.
    """
    groups = _largest(totals, top)
    with style():
        figure = Figure(figsize=(5.6, 1.9 + 0.3 * max(len(groups), 2)), layout="constrained")
        axes = figure.subplots()
        _stack(axes, groups)
        axes.set_xlabel("shortfall, USD (right = cost)")
        axes.xaxis.set_major_formatter(FuncFormatter(_usd_tick))
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=2)
        return to_svg(figure, alt)


def _largest(totals: Mapping[str, Mapping[str, float]], top: int) -> dict[str, dict[str, float]]:
    """The `top` groups by |total| and one line for the rest."""
    ranked = sorted(totals, key=lambda name: (-abs(sum(totals[name].values())), name))
    groups = {name: dict(totals[name]) for name in ranked[:top]}
    if rest := ranked[top:]:
        name = f"{len(rest)} others"
        groups[name] = {part: sum(totals[r][part] for r in rest) for part in SEGMENTS}
    return groups


def _short(name: str) -> str:
    """A long id by both its ends: the table below the figure has it whole."""
    half = MAX_LABEL // 2
    return name if len(name) <= MAX_LABEL else f"{name[:half]}…{name[-half:]}"


def _stack(axes: Axes, groups: Mapping[str, Mapping[str, float]]) -> None:
    """Costs to the right of zero, gains to the left, the total as a mark."""
    axes.use_sticky_edges = False  # a bar's end is no end of the axis
    y = np.arange(len(groups))
    ends = {1: np.zeros(len(groups)), -1: np.zeros(len(groups))}
    for part, (label, colour) in SEGMENTS.items():
        values = np.array([group[part] for group in groups.values()], dtype=float)
        for sign, end in ends.items():
            width = np.where(np.sign(values) == sign, values, 0.0)
            axes.barh(y, width, 0.62, left=end, color=colour, label=label if sign > 0 else None)
            end += width
    total = [sum(group.values()) for group in groups.values()]
    axes.plot(total, y, "D", color=INK, markersize=4.5, label="Total")
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_yticks(y, [_short(name) for name in groups])
    axes.invert_yaxis()


def scatter(
    predicted: Array, realized: Array, regimes: Sequence[str], slope: float | None, alt: str
) -> str:
    """Realized against predicted cross cost of each bucket, USD, with the line of a slope that was
    estimated elsewhere, through the origin."""
    with style():
        figure = Figure(figsize=(5.6, 3.8), layout="constrained")
        axes = figure.subplots()
        labels = np.array(regimes)
        for regime, colour in zip(sorted(set(regimes)), cycle(REGIME_COLOURS), strict=False):
            at = labels == regime
            axes.scatter(predicted[at], realized[at], s=18, color=colour, alpha=0.65, label=regime)
        slope_lines(axes, predicted, slope)
        axes.set_xlabel("predicted cross, USD per bucket")
        axes.set_ylabel("realized cross, USD")
        _usd_axes(axes)
        if len(predicted):
            axes.legend(loc="best")
        return to_svg(figure, alt)


def slope_lines(axes: Axes, predicted: Array, slope: float | None, told: str = "") -> None:
    """The diagonal, and a line of the slope through the origin where there is one."""
    axes.axhline(0, color=MUTED, linewidth=0.6)
    if len(predicted) == 0:
        return
    ends = np.array([predicted.min(), predicted.max()])
    axes.plot(ends, ends, "--", color=MUTED, linewidth=1, label="slope 1")
    if slope is not None:
        label = told or f"slope {slope:.2f} (last dates)"
        axes.plot(ends, slope * ends, color=INK, linewidth=1.6, label=label)


#: Causes of an order's price path: column of `tca_path`, what a reader calls it, colour.
CAUSES = {
    "self_now_bps": SEGMENTS["self_now"],
    "self_carried_bps": SEGMENTS["self_own_carried"],
    "cross_bps": ("Cross, predicted", SEGMENTS["cross_now"][1]),
    "peers_bps": SEGMENTS["peers"],
    "market_bps": SEGMENTS["market"],
    "residual_bps": ("Noise and the rest", SEGMENTS["residual"][1]),
}


def path(rows: Sequence[Mapping[str, Any]], alt: str) -> str:
    """How far an order's fills met the mid from its arrival, bps, and whose flow moved it there."""
    with style():
        figure = Figure(figsize=(8.6, 4.2), layout="constrained")
        axes = figure.subplots()
        at = date2num([row["ts"] for row in rows])
        width = 0.8 * (float(np.diff(at).min()) if len(at) > 1 else 1 / 288)
        ends = {1: np.zeros(len(rows)), -1: np.zeros(len(rows))}
        for column, (label, colour) in CAUSES.items():
            values = np.array([row[column] for row in rows], dtype=float)
            for sign, end in ends.items():
                height = np.where(np.sign(values) == sign, values, 0.0)
                named = label if sign > 0 else None
                axes.bar(at, height, width, bottom=end, color=colour, label=named)
                end += height
        drift = [row["drift_bps"] for row in rows]
        axes.plot(at, drift, "D-", color=INK, markersize=4, linewidth=1, label="Mid since arrival")
        axes.axhline(0, color=INK, linewidth=0.8)
        axes.xaxis.set_major_locator(AutoDateLocator(tz=UTC, maxticks=8))
        axes.xaxis.set_major_formatter(DateFormatter("%H:%M", tz=UTC))
        axes.set_xlabel("bucket start, UTC")
        axes.set_ylabel("bps since arrival (up = cost)")
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=3)
        return to_svg(figure, alt)


def cumulative(times: Sequence[datetime], realized: Array, predicted: Array, alt: str) -> str:
    """Running realized and predicted cross cost over the day, USD."""
    with style():
        figure = Figure(figsize=(5.6, 3.8), layout="constrained")
        axes = figure.subplots()
        if len(times):
            days = date2num(times)
            axes.plot(days, np.cumsum(realized), color="#d1495b", linewidth=1.8, label="realized")
            axes.plot(
                days, np.cumsum(predicted), "--", color="#4477aa", linewidth=1.8, label="predicted"
            )
            axes.set_xlim(date2num(min(times) - HALF_HOUR), date2num(max(times) + HALF_HOUR))
            axes.xaxis.set_major_locator(AutoDateLocator(tz=UTC, maxticks=7))
            axes.legend(loc="best")
        axes.axhline(0, color=MUTED, linewidth=0.6)
        axes.xaxis.set_major_formatter(DateFormatter("%H:%M", tz=UTC))
        axes.set_xlabel("bucket start, UTC")
        axes.set_ylabel("cumulative cross, USD")
        axes.yaxis.set_major_formatter(FuncFormatter(_usd_tick))
        return to_svg(figure, alt)


def pairs(rows: Sequence[Mapping[str, Any]], alt: str, *, top: int = 12) -> str:
    """Predicted cost of the largest pairs, USD: costs and gains in different colours."""
    shown = rows[:top]
    usd = np.array([float(row["usd"]) for row in shown])
    names = [f"{row['symbol_i']} / {row['symbol_j']}, {row['regime']}" for row in shown]
    with style():
        figure = Figure(figsize=(5.6, 1.0 + 0.26 * max(len(shown), 3)), layout="constrained")
        axes = figure.subplots()
        axes.barh(np.arange(len(shown)), usd, 0.66, color=np.where(usd > 0, "#d1495b", "#4477aa"))
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.set_yticks(np.arange(len(shown)), names)
        axes.invert_yaxis()
        axes.set_xlabel("predicted cross, USD (red = cost, blue = gain)")
        axes.xaxis.set_major_formatter(FuncFormatter(_usd_tick))
        return to_svg(figure, alt)


def to_svg(figure: Figure, alt: str) -> str:
    """The figure as one `<svg>` element for an HTML page, ids of its own, labelled `alt`."""
    stream = io.StringIO()
    figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    text = re.sub(r"<metadata>.*?</metadata>", "", stream.getvalue(), count=1, flags=re.DOTALL)
    head, body = text[text.index("<svg") :].split(">", 1)
    viewbox = re.search(r'viewBox="([0-9. ]+)"', head)
    prefix = re.sub(r"\W+", "-", alt.lower())[:24]
    body = re.sub(r'(\bid="|"#|url\(#)', rf"\g<1>{prefix}-", body)
    for colour, name in ((INK, "ink"), (MUTED, "muted")):  # as the page has it, by day and night
        body = body.replace(f": {colour}", f": var(--{name}, {colour})")
    size = viewbox.group(1) if viewbox else "0 0 400 300"
    return f'<svg role="img" viewBox="{size}" aria-label="{html.escape(alt)}">{body}'


def to_png(figure: Figure) -> bytes:
    """The figure as PNG bytes without the writer's name."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=120, metadata={"Software": None})
    return stream.getvalue()


def _usd_axes(axes: Axes) -> None:
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(_usd_tick))


def _usd_tick(value: float, _position: int | None = None) -> str:
    """12k, 1.5M, 300: short enough for an axis."""
    for size, suffix in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{suffix}".replace("-", "\N{MINUS SIGN}")
    return f"{value:g}".replace("-", "\N{MINUS SIGN}")
