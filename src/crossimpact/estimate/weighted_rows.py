"""A day's buckets as the estimators read them: robust responses, weighted, a row per bucket.

What is kept of a day is its rows, not their sums: with fewer buckets than names the second moments
are the larger by far (`9 n^2` numbers against six a cell), and rows need no second pass over the
raw data when the others' flow is another one (the placebo's). Sums are made from rows where a
window, a fold or a block asks for them, in one matrix product over all of its days.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache, reduce
from itertools import groupby
from typing import Any

import numpy as np

from crossimpact.alignment import Alignment
from crossimpact.errors import EstimationError
from crossimpact.estimate.gram import Moments
from crossimpact.estimate.pilot import CLIP, Pilot, fit_pilot
from crossimpact.estimate.robust import robust_spread
from crossimpact.model import Array, Transform
from crossimpact.panel import OWN, REGIMES, Panel

TRANSFORMS: tuple[Transform, ...] = ("linear", "sqrt")


@dataclass(frozen=True)
class WeightedRows:
    """Buckets of one day (or of several) in one regime, each times the root of its weight.

    Attributes
    ----------
    symbols
        Names, ascending.
    seen
        Weighted buckets in which a name's mid move is known, and all of them, shape (2, n).
    root
        Root of each bucket's weight, shape (T,).
    own, sector, factor
        A name's transformed flow, its sector's and the market's peer flow, (T, n).
    move, residual
        Mid move in bps, and what the day's robust fit of the own terms leaves of it; both 0 where
        unknown.
    excess
        Signed slippage less the mid move; NaN where nothing was executed.
    others
        The others' flow where it is not `own` (placebo).
    ratio
        What fills pay of what the mid keeps, by which mid moves are multiplied (`paid`).
    """

    symbols: tuple[str, ...]
    seen: Array
    root: Array
    own: Array
    sector: Array
    factor: Array
    move: Array
    residual: Array
    excess: Array
    others: Array | None = None
    ratio: float = 1.0

    @property
    def buckets(self) -> int:
        return len(self.root)

    def arrays(self) -> dict[str, Array]:
        """What a day is stored as, by name: all but the placebo's flow and the ratio."""
        return {f.name: getattr(self, f.name) for f in fields(self)[1:-2]}

    def paid(self, ratio: float) -> WeightedRows:
        """The same rows with `ratio` of each mid move in its place, see `Moments.paid`."""
        return replace(self, ratio=ratio * self.ratio)

    def on(self, symbols: tuple[str, ...]) -> WeightedRows:
        """The same rows on other names: an absent one neither traded nor moved."""
        if symbols == self.symbols:
            return self
        wide = Alignment.between(self.symbols, symbols)
        moved: dict[str, Any] = {
            name: wide(value, missing=np.nan if name == "excess" else 0.0)
            for name, value in self.arrays().items()
            if name != "root"
        }
        if self.symbols:
            moved["seen"][1] = self.seen[1].max()  # the buckets happened whoever was listed
        others = None if self.others is None else wide(self.others)
        return replace(self, symbols=symbols, others=others, **moved)

    def with_others(self, flow: Array) -> WeightedRows:
        """The same rows answering another flow of the others, transformed, unweighted, (T, n)."""
        if flow.shape != self.own.shape:
            raise EstimationError(
                f"the others' flow has shape {flow.shape}, the rows {self.own.shape}",
                "the stored rows are of other buckets than the panel: rerun the refit",
            )
        return replace(self, others=flow * self.root[:, None])

    def moments(self) -> Moments:
        """Second moments of the rows."""
        T, n = self.own.shape
        executed = np.isfinite(self.excess)
        F = self.own if self.others is None else self.others
        M, R = self.ratio * self.move, self.ratio * self.residual
        traded = np.where(executed, M, 0.0)
        D = np.where(executed, self.excess + (1.0 - self.ratio) * self.move, 0.0)
        sign = np.sign(self.own) * self.root[:, None]
        B = np.stack((self.own, sign, self.sector, self.factor), axis=2)
        return Moments(
            symbols=self.symbols,
            buckets=T,
            seen=self.seen,
            ff=F.T @ F,
            rr=R.T @ R,
            fb=(F.T @ B.reshape(T, -1)).reshape(n, n, OWN).transpose(1, 0, 2).copy(),
            bb=np.einsum("tik,til->ikl", B, B),
            fm=M.T @ F,
            fd=D.T @ F,
            ft=traded.T @ F,
            bm=np.einsum("tik,ti->ik", B, M),
            bd=np.einsum("tik,ti->ik", B, D),
            bt=np.einsum("tik,ti->ik", B, traded),
            mm=(M**2).sum(axis=0),
            md=(M * D).sum(axis=0),
            dd=(D**2).sum(axis=0),
            tt=(traded**2).sum(axis=0),
            td=(traded * D).sum(axis=0),
        )


#: Buckets as rows where they are fewer than names, else summed.
Sums = Moments | WeightedRows

#: Dates in order, each with its rows per regime.
History = Iterable[tuple[str, Mapping[str, WeightedRows]]]


def day_rows(panel: Panel, transform: Transform) -> dict[str, WeightedRows]:
    """The rows of one day, per regime.

    Parameters
    ----------
    panel
        One trading date (a pure function of it: no other day is looked at).
    transform
        ``linear`` f = q, or ``sqrt`` f = sign(q) sqrt(|q|).
    """
    panel = panel.plausible()[0]
    own = shape_flow(panel.q, transform)
    columns = (own, np.sign(own), panel.sector_flow, panel.factor_flow)
    B = np.stack([np.where(np.isfinite(c), c, 0.0) for c in columns], axis=2)  # (T, n, 4)
    pilot, days = fit_pilot(panel, B), {}
    for regime in REGIMES:
        rows = panel.regime == regime
        if rows.any():
            days[regime] = _weighted(panel.where(rows), B[rows], pilot.of(rows))
    return days


def shape_flow(q: Array, transform: Transform) -> Array:
    """Flow as the estimators see it; a cell that is no number did not trade."""
    q = np.where(np.isfinite(q), q, 0.0)
    return np.asarray(np.sign(q) * np.sqrt(np.abs(q)) if transform == "sqrt" else q)


def _weighted(panel: Panel, B: Array, pilot: Pilot) -> WeightedRows:
    root = np.sqrt(pilot.weight)
    column, known = root[:, None], pilot.weight[:, None] * pilot.known
    excess = np.where((B[:, :, 0] != 0) & pilot.known, panel.response - pilot.move, np.nan)
    reach = CLIP * robust_spread(np.abs(excess), axis=0)
    return WeightedRows(
        symbols=panel.symbols,
        seen=np.vstack([known.sum(axis=0), np.full(panel.n, pilot.weight.sum())]),
        root=root,
        own=B[:, :, 0] * column,
        sector=B[:, :, 2] * column,
        factor=B[:, :, 3] * column,
        move=pilot.move * column,
        residual=pilot.residual * column,
        excess=np.where(np.isfinite(excess), np.clip(excess, -reach, reach), np.nan) * column,
    )


def history(panel: Panel, transform: Transform) -> Iterator[tuple[str, dict[str, WeightedRows]]]:
    """The rows of every day of a panel, one after the other."""
    for date in np.unique(panel.date):
        yield str(date), day_rows(panel.where(panel.date == date), transform)


def held(panel: Panel) -> Callable[[Transform], History]:
    """A panel's rows by transform, made once: they take about as much memory as the panel."""
    return cache(lambda transform: list(history(panel, transform)))


def answering(
    days: History, panel: Panel, flows: Array, transform: Transform
) -> Iterator[tuple[str, dict[str, WeightedRows]]]:
    """The days on the panel's names with other flows q of the others, (T, n): a placebo costs no
    second look at the responses."""
    for date, by_regime in days:
        there = panel.date == date
        yield (
            date,
            {
                regime: rows.on(panel.symbols).with_others(
                    shape_flow(flows[there & (panel.regime == regime)], transform)
                )
                for regime, rows in by_regime.items()
            },
        )


def stacked(days: Sequence[WeightedRows]) -> WeightedRows:
    """At least one day's rows under one another, on all of their names."""
    first = days[0]
    if len(days) == 1:
        return first
    names = first.symbols
    if any(day.symbols != names for day in days):
        names = tuple(sorted({symbol for day in days for symbol in day.symbols}))
    days = [day.on(names) for day in days]
    joined: dict[str, Any] = {
        name: np.concatenate([day.arrays()[name] for day in days])
        for name in first.arrays()
        if name != "seen"
    }
    others = [day.others for day in days if day.others is not None]
    return replace(
        first,
        symbols=names,
        seen=reduce(np.add, (day.seen for day in days)),
        others=np.concatenate(others) if others else None,
        **joined,
    )


def total(parts: Iterable[Sums]) -> Moments:
    """The sum of at least one part, in the order given; rows in one product, before the rest."""
    parts = list(parts)
    rows = [part for part in parts if isinstance(part, WeightedRows)]
    sums = [part for part in parts if isinstance(part, Moments)]
    if rows:
        sums.insert(0, stacked(rows).moments())
    return reduce(lambda a, b: a + b, sums)


def blocks(days: History, last: Sequence[str], regimes: Sequence[str]) -> list[dict[str, Sums]]:
    """Days joined into blocks of dates: their sums, or their rows where these are fewer than names,
    so that memory grows neither with the window nor with the square of the names.

    Parameters
    ----------
    days
        In time order.
    last
        Last date of each block, ascending; what comes later joins the last block.
    regimes
        Whose rows are wanted.
    """
    result: list[dict[str, Sums]] = [{} for _ in last]
    for at, run in groupby(days, key=lambda day: min(bisect_left(last, day[0]), len(last) - 1)):
        found = [by_regime for _, by_regime in run]
        for regime in regimes:
            if of_days := [day[regime] for day in found if regime in day]:
                result[at][regime] = _smaller(of_days)
    return result


def _smaller(days: Sequence[WeightedRows]) -> Sums:
    if sum(day.buckets for day in days) < max(len(day.symbols) for day in days):
        return stacked(days)
    return reduce(lambda a, b: a + b, (day.moments() for day in days))
