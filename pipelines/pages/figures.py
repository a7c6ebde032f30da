"""Figures of the model card, PNG bytes in the refit's record. The same numbers give the same bytes.

Cross impact is drawn in the space where it is symmetric, ``M_ij = gamma_ij sqrt(adv_i / adv_j)``;
red costs more together, blue helps.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from numpy.typing import NDArray

from crossimpact.model import Array, ImpactModel, to_scaled
from pipelines.pages.plots import INK, MUTED, slope_lines, style, to_png

#: Flow of the heatmap: gamma is per unit of ADV fraction, nobody trades that much.
TYPICAL_FLOW = 0.01
COST, HELP, PALE = "#d1495b", "#4477aa", "#c3c8cf"
#: Edges of the network, and lines of each kind among the stability paths, that a reader can follow.
MAX_EDGES = 150
MAX_LINES = 150
#: Beyond this many names on the circle only those with a line are named.
MAX_NAMES = 250
#: Up to this many names the heatmap's axes name each, beyond it its sectors alone.
MAX_TICKS = 60


def heatmap(model: ImpactModel) -> bytes:
    """PNG of gamma ordered by sector; up to `MAX_TICKS` symbols each is named, sectors on top.

    Cell (i, j) is ``M_ij`` at a flow of 1% of ADV, bps; of a square-root model the slope through
    the reference flow. The scale ends at the 99.5th percentile of ``|M|``.
    """
    order = _by_sector(model)
    values = TYPICAL_FLOW * to_scaled(model.gamma, model.adv)[np.ix_(order, order)]
    sizes = np.abs(values[values != 0])
    limit = float(np.quantile(sizes, 0.995)) if sizes.size else 1.0
    with style():
        figure = Figure(figsize=(7.2, 6.2), layout="constrained")
        axes = figure.subplots()
        image = axes.imshow(values, cmap="RdBu_r", norm=TwoSlopeNorm(0, -limit, limit))
        sectors, symbols = ([names[i] for i in order] for names in (model.sectors, model.symbols))
        _sector_ticks(axes, sectors, symbols if model.n <= MAX_TICKS else None)
        bar = figure.colorbar(image, ax=axes, shrink=0.85, extend="both")
        at = "" if model.transform == "linear" else ", at the reference flow"
        bar.set_label(f"bps per 1% of ADV{at} (scaled to be symmetric)")
        axes.set_title(_title(model))
        return to_png(figure)


def _title(model: ImpactModel) -> str:
    pairs = "1 pair" if model.edges == 1 else f"{model.edges:,} pairs"
    return f"cross impact, regime {model.regime}: {pairs}"


def _by_sector(model: ImpactModel) -> list[int]:
    return sorted(range(model.n), key=lambda i: (model.sectors[i], model.symbols[i]))


def _sector_ticks(axes: Axes, sectors: Sequence[str], symbols: Sequence[str] | None = None) -> None:
    """A line between sectors, a name at the middle of each; on top where symbols are named, too."""
    names = sorted(set(sectors))
    starts = np.array([sectors.index(name) for name in names])
    ends = np.append(starts[1:], len(sectors))
    middles = (starts + ends - 1) / 2
    if symbols is None:
        axes.set_xticks(middles, names, rotation=45, ha="right")
        axes.set_yticks(middles, names)
    else:
        size = float(np.clip(260 / len(symbols), 4.5, 9.5))  # points, so that names stay apart
        axes.set_xticks(range(len(symbols)), symbols, rotation=90, fontsize=size)
        axes.set_yticks(range(len(symbols)), symbols, fontsize=size)
        top = axes.secondary_xaxis("top")
        top.set_xticks(middles, names, rotation=30, ha="left", fontsize=9)
        top.tick_params(length=0)
        top.spines["top"].set_visible(False)
    axes.tick_params(length=0)
    for start in starts[1:]:
        axes.axhline(start - 0.5, color=MUTED, linewidth=0.5)
        axes.axvline(start - 0.5, color=MUTED, linewidth=0.5)


# -- network -------------------------------------------------------------------------------------


def network(model: ImpactModel) -> bytes:
    """PNG of the coupled pairs: names on a circle by sector, the wider a line the larger ``|M|``.

    Beyond `MAX_EDGES` pairs the strongest are drawn, and the title says so.
    """
    order = _by_sector(model)
    M = to_scaled(model.gamma, model.adv)[np.ix_(order, order)]
    symbols, sectors = ([names[i] for i in order] for names in (model.symbols, model.sectors))
    first, second = strongest(np.abs(M + M.T) / 2, MAX_EDGES)
    angles, coupled = _angles(sectors), np.isin(np.arange(model.n), (first, second))
    side = float(np.clip(model.n / 15, 8.4, 13.0))
    with style():
        figure = Figure(figsize=(side, side + 0.4), layout="constrained")
        axes = figure.subplots()
        axes.set_aspect("equal")
        axes.axis("off")
        _edges(axes, angles[first], angles[second], M[first, second])
        size = float(np.clip(76 * side / model.n, 4.5, 9.5))  # points, so that names stay apart
        _names(axes, symbols, angles, coupled, size)
        letters = max(map(len, symbols))
        _sector_arcs(axes, sectors, angles, 1.06 + 0.0286 * letters * size / side)
        axes.legend(
            handles=[
                Line2D([], [], color=COST, linewidth=2.5, label="costs more together"),
                Line2D([], [], color=HELP, linewidth=2.5, label="helps (opposite sign)"),
            ],
            loc="lower right",
        )
        left_out = model.edges > first.size
        axes.set_title(_title(model) + f", the strongest {first.size} drawn" * left_out)
        return to_png(figure)


def strongest(size: Array, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The pairs (i < j) of the `count` largest positive entries of a symmetric matrix, largest
    first; ties in the order of the names."""
    first, second = np.triu_indices(len(size), 1)
    value = size[first, second]
    order = np.argsort(-value, kind="stable")[: min(count, int((value > 0).sum()))]
    return first[order], second[order]


def _angles(sectors: Sequence[str]) -> Array:
    """Where each name stands, clockwise from the top, a gap of 1.5 names between sectors."""
    turns = np.array([a != b for a, b in zip(sectors[1:], sectors[:-1], strict=True)], dtype=float)
    place = np.arange(len(sectors)) + 1.5 * np.concatenate(([0.0], np.cumsum(turns)))
    around = len(sectors) + 1.5 * (turns.sum() + 1)
    return np.asarray(np.pi / 2 - 2 * np.pi * place / around)


def _point(angle: Array, radius: float = 1.0) -> Array:
    return radius * np.stack((np.cos(angle), np.sin(angle)), axis=-1)


def _edges(axes: Axes, start: Array, end: Array, values: Array) -> None:
    """Curves that bend to the middle the further they reach; the strongest on top."""
    a, b = _point(start), _point(end)
    reach = np.linalg.norm(a - b, axis=1, keepdims=True) / 2
    control = (a + b) / 2 * (0.85 - 0.8 * reach)
    t = np.linspace(0, 1, 40)[:, None, None]
    curves = (1 - t) ** 2 * a + 2 * t * (1 - t) * control + t**2 * b  # (40, edges, 2)
    share = np.abs(values) / np.abs(values).max(initial=1e-300)
    weakest_first = np.argsort(share, kind="stable")
    axes.add_collection(
        LineCollection(
            [curves[:, k] for k in weakest_first],
            colors=[COST if values[k] > 0 else HELP for k in weakest_first],
            linewidths=0.3 + 3.2 * share[weakest_first],
            alpha=0.7,
            capstyle="round",
        )
    )


def _names(
    axes: Axes, symbols: Sequence[str], angles: Array, coupled: NDArray[np.bool_], size: float
) -> None:
    """A dot and a name each, paler without a line."""
    colours = np.where(coupled, INK, PALE)
    x, y = _point(angles).T
    axes.scatter(x, y, s=(size / 2) ** 2, c=colours.tolist(), zorder=3)
    for symbol, angle, has_line, colour in zip(symbols, angles, coupled, colours, strict=True):
        if not has_line and len(symbols) > MAX_NAMES:
            continue
        left = np.cos(angle) < 0
        at = _point(angle, 1.03)
        axes.text(
            at[0],
            at[1],
            symbol,
            rotation=np.degrees(angle) + 180 * left,
            rotation_mode="anchor",
            ha="right" if left else "left",
            va="center",
            fontsize=size,
            color=MUTED if colour == PALE else INK,
        )


def _sector_arcs(axes: Axes, sectors: Sequence[str], angles: Array, radius: float) -> None:
    """An arc with its name outside the symbols of each sector."""
    names = list(dict.fromkeys(sectors))
    for name in names:
        at = angles[[sector == name for sector in sectors]]
        arc = np.linspace(at[0] + 0.01, at[-1] - 0.01, 30)
        axes.plot(*_point(arc, radius).T, color=MUTED, linewidth=1.5, solid_capstyle="butt")
        middle = float(at.mean())
        upside = np.sin(middle) < 0
        x, y = _point(np.array(middle), radius + 0.05)
        axes.text(
            x,
            y,
            name,
            rotation=np.degrees(middle) - 90 + 180 * upside,
            ha="center",
            va="center",
            fontsize=float(np.clip(260 / len(names), 6.0, 10.0)),
            color=MUTED,
        )
    axes.set_xlim(-radius - 0.12, radius + 0.12)
    axes.set_ylim(-radius - 0.12, radius + 0.12)


# -- stability paths -----------------------------------------------------------------------------


def followed(shares: Array, kept: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The pairs whose stability paths are worth a line: of the kept ones and of the others, the
    `MAX_LINES` selected earliest and most, i < j.

    Parameters
    ----------
    shares
        Selection shares, shape (L, n, n).
    kept
        Symmetric, shape (n, n).
    """
    area = shares.mean(axis=0)
    chosen = [strongest(np.where(part, area, 0.0), MAX_LINES) for part in (~kept, kept)]
    first, second = (np.concatenate(parts) for parts in zip(*chosen, strict=True))
    return first, second


def stability_paths(
    penalties: Array, shares: Array, kept: NDArray[np.bool_], title: str, left_out: int = 0
) -> bytes:
    """PNG of how often each pair is selected along the penalty (Meinshausen and Buehlmann 2010).

    Parameters
    ----------
    penalties
        Largest first, > 0, shape (L,).
    shares
        Share of the time folds that select each pair, shape (L, pairs).
    kept
        Pairs of the model, shape (pairs,); they are drawn in colour.
    title, left_out
        What is shown, and how many pairs that were ever selected are not.
    """
    with style():
        figure = Figure(figsize=(7.2, 4.6), layout="constrained")
        axes = figure.subplots()
        nudged = shares + _nudge(shares)
        for colour, mine, on_top in ((PALE, ~kept, 1), (COST, kept, 2)):
            lines = [np.column_stack((penalties, path)) for path in nudged[:, mine].T]
            axes.add_collection(
                LineCollection(lines, colors=colour, linewidths=0.9, alpha=0.6, zorder=on_top)
            )
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
        if len(penalties):
            axes.set_xlim(penalties.max() * 1.05, penalties.min() / 1.05)
        axes.set_ylim(-0.1, 1.1)
        axes.set_xlabel("penalty, per bucket (weaker to the right)")
        axes.set_ylabel("share of time folds selecting the pair\n(lines set apart by up to 0.05)")
        axes.set_title(title + (f"\n{left_out:,} more pairs not drawn" if left_out else ""))
        figure.legend(
            handles=[
                Line2D([], [], color=COST, label=f"in the full matrix: {int(kept.sum()):,}"),
                Line2D([], [], color=PALE, label=f"left out of it: {int((~kept).sum()):,}"),
            ],
            loc="outside lower center",
            ncols=2,
        )
        return to_png(figure)


def _nudge(shares: Array) -> Array:
    """Shares are a few fifths: up to 5% each way sets lines apart that would hide each other."""
    return np.asarray(np.linspace(-0.05, 0.05, shares.shape[1])[None, :])


# -- calibration ---------------------------------------------------------------------------------


def calibration_plot(
    predicted: Array,
    realized: Array,
    title: str,
    slope: float | None = None,
    unit: str = "bps",
    bins: int = 10,
) -> bytes:
    """PNG of realized on predicted: means of equally filled bins with two standard errors.

    Parameters
    ----------
    predicted, realized
        Same length; pairs with a non-finite member are left out.
    title, unit
        What is compared, and in what.
    slope
        As estimated out of sample, drawn through the origin.
    bins
        How many groups of equal size along the prediction.
    """
    keep = np.isfinite(predicted) & np.isfinite(realized)
    x, y = np.asarray(predicted)[keep], np.asarray(realized)[keep]
    order = np.argsort(x, kind="stable")
    groups = [g for g in np.array_split(order, bins) if len(g) > 1]
    centre = np.array([x[g].mean() for g in groups])
    with style():
        figure = Figure(figsize=(5.6, 4.2), layout="constrained")
        axes = figure.subplots()
        axes.errorbar(
            centre,
            [y[g].mean() for g in groups],
            [2 * y[g].std(ddof=1) / np.sqrt(len(g)) for g in groups],
            fmt="o",
            color="#4477aa",
            capsize=2,
            label=f"bin means ± 2 se, {len(x):,} points",
        )
        slope_lines(axes, centre, slope, f"out of sample: slope {slope:.2f}" if slope else "")
        axes.set_xlabel(f"predicted, {unit}")
        axes.set_ylabel(f"realized, {unit}")
        axes.set_title(title)
        axes.legend(loc="best")
        return to_png(figure)
