"""Figures of orders in sequence: schedules, the price moves they make, what they cost.

One colour is one schedule (or one scenario) in every figure; what is decided before a scenario is
known is drawn in ink. The same numbers give the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise, product
from typing import Any, Literal, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, MaxNLocator
from matplotlib.transforms import ScaledTranslation

from crossimpact.model import Array
from crossimpact.policy.sequential.kernel import Kernel
from crossimpact.policy.sequential.plan import Plan
from pipelines.pages.plots import INK, MUTED, style, to_png, to_svg
from pipelines.pages.sequence_series import (
    LONG,
    Trace,
    blocks_of,
    horizon,
    largest,
    number,
    rates_of,
    short,
)
from pipelines.pages.sequence_text import ordinal

_WIDE, NARROW = 11.3, 5.6  # inches: the page's width, and half of it
_ROOM = 0.3  # share of a panel in which an order's numbers fit
_AHEAD = 5.0  # points that blocks at one time stand apart
BLOCK = "\N{BLACK UP-POINTING TRIANGLE} volume of a block"
RATE = "\N{BOX DRAWINGS HEAVY HORIZONTAL} rate per unit of time"


class Drawing(NamedTuple):
    """A figure for a page, and as a file."""

    svg: str
    png: bytes


# -- schedules -----------------------------------------------------------------------------------


def schedules(drawn: Sequence[Trace], symbols: Sequence[str], alt: str) -> Drawing:
    """Blocks as triangles at their time and size, rates as lines over filled areas.

    One column a schedule and one row an asset; a single schedule's assets stand side by side.

    Parameters
    ----------
    symbols
        One name per asset of the problem.
    alt
        What the figure shows, for those who cannot see it.
    """
    assets = largest(trace.plan for trace in drawn)
    cells = list(product(assets, drawn))
    table = len(assets) > 1 and len(drawn) > 1
    columns = len(drawn) if table else min(len(cells), 2 if len(cells) == 4 else 3)
    rows = -(-len(cells) // columns)
    with style():
        height = 0.9 + rows * (1.7 if table else 2.7)
        figure = Figure(figsize=(_WIDE, height), layout="constrained")
        shared: Literal["row", "all", "none"] = (
            "row" if table else "all" if len(assets) == 1 else "none"
        )
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=shared)
        for axes, (asset, trace) in zip(grid.ravel(), cells, strict=False):
            _panel(axes, trace, asset, tall=not table)
        for axes in grid.ravel()[len(cells) :]:
            axes.axis("off")
        _name_panels(grid, cells, symbols, table)
        _scales(figure, grid, cells, tall=not table)
        figure.supxlabel("time", fontsize=11)
        return written(figure, alt)


def _panel(axes: Axes, trace: Trace, asset: int, *, tall: bool) -> None:
    """One schedule of one asset."""
    plan, pace = trace.plan, memory(trace.plan.problem.kernel, horizon(trace.plan))
    _boundaries(axes, plan.problem.times, named=tall)
    roomy = np.diff(plan.problem.times).min() >= _ROOM * horizon(plan)
    for order in range(plan.problem.orders):
        colour = trace.colour_of(order)
        for run in _runs(plan, order, asset):
            edges, rates = run[:, 0], run[:, 1] * pace
            axes.stairs(rates[:-1], edges, color=colour, linewidth=2, baseline=None)
            axes.stairs(rates[:-1], edges, color=colour, alpha=0.16, fill=True)
        for t, volume in blocks_of(plan, order, asset):
            first = plan.problem.times[order] == t
            _triangle(axes, t, volume, colour, first, tall, named=tall and roomy)
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.margins(x=0.05, y=0.26)
    axes.yaxis.set_major_locator(MaxNLocator(5 if tall else 3))
    engineering(axes)


def _triangle(
    axes: Axes, t: float, size: float, colour: str, first: bool, tall: bool, *, named: bool
) -> None:
    """A block: up for a buy, right of its time when it starts an order, left when it ends one."""
    place = axes.transData + _points(axes, _AHEAD if first else -_AHEAD)
    marker = "^" if size > 0 else "v"
    axes.plot([t, t], [0, size], color=colour, linewidth=1.2, transform=place, clip_on=False)
    axes.plot(
        t, size, marker, color=colour, markersize=9 if tall else 7, transform=place, clip_on=False
    )
    axes.update_datalim([(t, size), (t, 0.0)])
    if named:
        place += _points(axes, 0, 8 * float(np.sign(size)))
        axes.text(
            t, size, number(size), transform=place, fontsize=9,
            ha="left" if first else "right", va="bottom" if size > 0 else "top",
        )  # fmt: skip


def _runs(plan: Plan, order: int, asset: int) -> list[Array]:
    """Continuous trading without gaps: rows of (time, rate from there), the last a closing time."""
    runs: list[list[tuple[float, float]]] = []
    for start, end, rate in rates_of(plan, order, asset):
        if runs and np.isclose(runs[-1][-1][0], start, rtol=1e-12):
            runs[-1][-1] = (start, rate)
        else:
            runs.append([(start, rate)])
        runs[-1].append((end, 0.0))
    return [np.array(run) for run in runs]


def memory(kernel: Kernel, span: float) -> float:
    """``-g(0) / g'(0)``, within reason: the time over which a block wears off at first.

    A rate times it is the volume that keeps impact level (Obizhaeva and Wang 2013), which puts
    rates and blocks on one scale.
    """
    step = 1e-6 * span
    top, next_ = kernel.shape(np.array([0.0, step]))
    lost = 1 - next_ / top
    return float(np.clip(step / lost if lost > 0 else span, span / 20, span))


def _boundaries(axes: Axes, times: Array, *, named: bool) -> None:
    """A dotted line between orders, each order's number above."""
    for t in times[1:-1]:
        axes.axvline(t, color=MUTED, linewidth=0.8, linestyle=":")
    if named:
        for order, t in enumerate((times[1:] + times[:-1]) / 2):
            axes.text(
                t, 1.0, ordinal(order) + " order" * (len(times) < 6), fontsize=9, color=MUTED,
                ha="center", va="bottom", transform=axes.get_xaxis_transform(),
            )  # fmt: skip


def _name_panels(
    grid: Any, cells: Sequence[tuple[int, Trace]], symbols: Sequence[str], table: bool
) -> None:
    """Schedules name columns and assets rows; else each panel is named by what differs."""
    single = len({asset for asset, _ in cells}) == 1
    for axes, (asset, trace) in zip(grid.ravel(), cells, strict=False):
        if not table:
            title = trace.label if single else short(symbols[asset])
            axes.set_title(title, loc="left", color=trace.colour if single else INK, pad=18)
    if table:
        for axes, (_, trace) in zip(grid[0], cells, strict=False):
            axes.set_title(trace.label, loc="left", color=trace.colour)
    for row, axes in enumerate(grid[:, 0]):
        axes.set_ylabel(short(symbols[cells[row * grid.shape[1]][0]]) if table else "")


def _scales(figure: Figure, grid: Any, cells: Sequence[tuple[int, Trace]], *, tall: bool) -> None:
    """Rates are drawn at the volume they trade in one `memory`; an axis on the right reads them."""
    plan = cells[0][1].plan
    pace = memory(plan.problem.kernel, horizon(plan))
    if np.isclose(pace, 1.0, rtol=1e-3):
        figure.supylabel(f"{BLOCK}, {RATE}", fontsize=11)
        return
    figure.supylabel(BLOCK, fontsize=11)
    for row in range(len(grid)):
        last = min((row + 1) * grid.shape[1], len(cells)) - 1
        axes = grid.ravel()[last]
        right = axes.secondary_yaxis("right", functions=(lambda v: v / pace, lambda v: v * pace))
        right.spines["right"].set_visible(True)
        right.spines["right"].set_edgecolor(MUTED)
        right.tick_params(colors=MUTED)
        right.yaxis.set_major_locator(MaxNLocator(5 if tall else 3))
        if np.abs(axes.get_ylim()).max() / pace >= LONG:
            right.yaxis.set_major_formatter(EngFormatter(sep=""))
        if tall or row == (len(grid) - 1) // 2:
            right.set_ylabel(RATE if tall else RATE.partition(" per")[0])


# -- price moves ---------------------------------------------------------------------------------


def impact(
    drawn: Sequence[Trace], symbols: Sequence[str], alt: str, *, relative: bool = False
) -> Drawing:
    """The price move each schedule makes, one panel per asset; rings mark where prices are struck.

    Parameters
    ----------
    relative
        Whether moves are shares of the price, to be read in bps.
    """
    unit = 1e4 if relative else 1.0
    assets = largest(trace.plan for trace in drawn)
    columns = min(len(assets), 3)
    rows = -(-len(assets) // columns)
    with style():
        size = (_WIDE, 1.0 + 2.2 * rows) if len(assets) > 1 else (NARROW, 4.2)
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True)
        paths = [_path(trace.plan) for trace in drawn]
        for axes, asset in zip(grid.ravel(), assets, strict=False):
            axes.axhline(0, color=INK, linewidth=0.8)
            for place, (trace, (t, move)) in enumerate(zip(drawn, paths, strict=True)):
                aside = 2.4 * (place - (len(drawn) - 1) / 2)  # points, so that blocks show
                _walk(axes, trace, t, unit * move[:, asset], unit, asset, aside)
            _boundaries(axes, drawn[0].plan.problem.times, named=len(assets) == 1)
            axes.set_title(short(symbols[asset]) if len(assets) > 1 else "", loc="left")
            engineering(axes)
        for axes in grid.ravel()[len(assets) :]:
            axes.axis("off")
        for axes in grid[:, 0]:
            axes.set_ylabel("price move" + ", bps" * relative)
        figure.supxlabel("time", fontsize=11)
        _legend(figure, drawn)
        return written(figure, alt)


def _legend(figure: Figure, drawn: Sequence[Trace]) -> None:
    """Schedules by name, where there are several, and what the rings are."""
    lines = [Line2D([], [], color=t.colour, linewidth=1.8, label=t.label) for t in drawn]
    ring = Line2D(
        [], [], color=MUTED, marker="o", markerfacecolor="white", linestyle="none",
        label="price struck for the next order",
    )  # fmt: skip
    handles = lines * (len(lines) > 1) + [ring] * (drawn[0].plan.problem.orders > 1)
    if handles:
        columns = 2 if figure.get_figwidth() < _WIDE else len(handles)
        figure.legend(handles=handles, loc="outside upper center", ncols=columns)


def _walk(
    axes: Axes, trace: Trace, t: Array, move: Array, unit: float, asset: int, aside: float
) -> None:
    """A path, in ink while other scenarios share it, and where its inner boundaries are struck."""
    plan, place = trace.plan, axes.transData + _points(axes, aside)
    common = 0
    if trace.shared:  # up to the strike at the end of the last shared order
        common = int(np.searchsorted(t, plan.problem.times[trace.shared], "right")) - 2
        axes.plot(t[: common + 1], move[: common + 1], color=INK, linewidth=1.8)
    axes.plot(t[common:], move[common:], color=trace.colour, linewidth=1.8, transform=place)
    struck = unit * plan.benchmark_impact[:, asset]
    for order, (at, height) in enumerate(zip(plan.problem.times[1:-1], struck, strict=True)):
        axes.plot(
            at, height, "o", markersize=6, markerfacecolor="white", zorder=3,
            color=trace.colour_of(order),
            transform=axes.transData if order < trace.shared else place,
        )  # fmt: skip
    axes.update_datalim(np.column_stack((t, move)))
    axes.autoscale_view()


def _path(plan: Plan, points: int = 24) -> tuple[Array, Array]:
    """Times and price moves, both sides of every block; shapes (n,) and (n, M)."""
    stops = np.unique(np.concatenate((plan.problem.times, plan.starts, plan.ends)))
    times, moves = [stops[:1]], [plan.price_move(stops[:1], before=True)]
    struck = dict(zip(plan.problem.times[1:-1].tolist(), plan.benchmark_impact, strict=True))
    for start, end in pairwise(stops):
        inside = np.linspace(start, end, points)
        times += [inside[:1], inside[1:]]
        moves += [plan.price_move(inside[:1]), plan.price_move(inside[1:], before=True)]
        if end in struck:
            times.append(np.array([end]))
            moves.append(struck[float(end)][None])
    times.append(stops[-1:])
    moves.append(plan.price_move(stops[-1:]))
    return np.concatenate(times), np.concatenate(moves)


def written(figure: Figure, alt: str) -> Drawing:
    """Laid out once for both."""
    svg = to_svg(figure, alt)
    figure.set_layout_engine("none")
    return Drawing(svg, to_png(figure))


def _points(axes: Axes, right: float, up: float = 0.0) -> ScaledTranslation:
    """A shift by points on paper, whatever the scale."""
    return ScaledTranslation(right / 72, up / 72, axes.get_figure(root=True).dpi_scale_trans)  # type: ignore[union-attr]


def engineering(axes: Axes, which: str = "y") -> None:
    axis = axes.xaxis if which == "x" else axes.yaxis
    if np.abs(axis.get_view_interval()).max() >= LONG:
        axis.set_major_formatter(EngFormatter(sep=""))
