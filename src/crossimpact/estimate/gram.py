"""One shared Gram: the sufficient statistics of a day, which add up over days and folds.

All rows regress on the same flows f, so one matrix ``F'F`` serves every name, every fold and every
penalty; what is a row's own (its flow, the sign of its flow, its peers' flow) enters as four
nuisance columns per name and is partialled out when the days are added up.

Responses are mid moves, seen in every cell, and what fills paid, seen where the desk traded. A push
builds up through the bucket while its fills are spread over it, so fills pay a part of what the mid
keeps (`fill_ratio`); sums of both are kept, so that an estimator may bring the mid to what fills
pay (`Moments.paid`) and mix the two by their noise.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import reduce

import numpy as np

from crossimpact.alignment import Alignment
from crossimpact.estimate.pilot import CLIP, Pilot, fit_pilot
from crossimpact.estimate.robust import robust_spread
from crossimpact.model import Array, Transform
from crossimpact.panel import OWN, REGIMES, Panel

TRANSFORMS: tuple[Transform, ...] = ("linear", "sqrt")


@dataclass(frozen=True)
class Moments:
    """Second moments of one day (or a sum of days) in one regime.

    n names; f is a name's transformed flow, B_i row i's nuisance columns, m its mid move in bps,
    d its signed slippage less its mid move and t that move, both 0 where nothing was executed, r
    what the day's robust fit of the own terms leaves of m. Buckets are weighted; `buckets` counts
    them unweighted.

    Attributes
    ----------
    symbols
        Names, ascending.
    buckets
        Buckets summed.
    seen
        Weighted buckets in which a name's mid move is known, and all of them, shape (2, n).
    ff, rr
        ``f_j f_k`` and ``r_j r_k``, shape (n, n).
    fb, bb
        ``f_j B_i`` (n, n, 4) and ``B_i B_i'`` (n, 4, 4).
    fm, fd, ft, bm, bd, bt
        ``f_j m_i``, ``f_j d_i``, ``f_j t_i`` (n, n), row i for name i; the same of B_i (n, 4).
    mm, md, dd, tt, td
        ``m_i^2, m_i d_i, d_i^2, t_i^2, t_i d_i``, shape (n,).
    """

    symbols: tuple[str, ...]
    buckets: int
    seen: Array
    ff: Array
    rr: Array
    fb: Array
    bb: Array
    fm: Array
    fd: Array
    ft: Array
    bm: Array
    bd: Array
    bt: Array
    mm: Array
    md: Array
    dd: Array
    tt: Array
    td: Array

    def paid(self, ratio: float) -> Moments:
        """The same sums with `ratio` of each mid move in its place: what fills would have paid.

        Parameters
        ----------
        ratio
            What fills pay of what the mid keeps at the bucket's end, see `fill_ratio`.
        """
        rest = 1.0 - ratio
        return replace(
            self,
            rr=ratio**2 * self.rr,
            fm=ratio * self.fm,
            bm=ratio * self.bm,
            mm=ratio**2 * self.mm,
            ft=ratio * self.ft,
            bt=ratio * self.bt,
            tt=ratio**2 * self.tt,
            fd=self.fd + rest * self.ft,
            bd=self.bd + rest * self.bt,
            md=ratio * (self.md + rest * self.tt),
            dd=self.dd + 2 * rest * self.td + rest**2 * self.tt,
            td=ratio * (self.td + rest * self.tt),
        )

    def arrays(self) -> dict[str, Array]:
        """The arrays by name, for storage."""
        return {f.name: getattr(self, f.name) for f in fields(self)[2:]}

    def on(self, symbols: tuple[str, ...]) -> Moments:
        """The same sums on other names: an absent one neither traded nor moved."""
        if symbols == self.symbols:
            return self
        wide = Alignment.between(self.symbols, symbols)
        moved = {name: wide(value, _NAMED[name]) for name, value in self.arrays().items()}
        if self.symbols:
            moved["seen"][1] = self.seen[1].max()  # the buckets happened whoever was listed
        return Moments(symbols, self.buckets, **moved)

    def __add__(self, other: Moments) -> Moments:
        names = self.symbols
        if names != other.symbols:
            names = tuple(sorted({*names, *other.symbols}))
        a, b = self.on(names), other.on(names)
        summed = {name: value + getattr(b, name) for name, value in a.arrays().items()}
        return Moments(names, a.buckets + b.buckets, **summed)


#: Axes of each array that run over names.
_NAMED = {
    "seen": (1,), "ff": (0, 1), "rr": (0, 1), "fb": (0, 1), "bb": (0,), "fm": (0, 1),
    "fd": (0, 1), "ft": (0, 1), "bm": (0,), "bd": (0,), "bt": (0,), "mm": (0,), "md": (0,),
    "dd": (0,), "tt": (0,), "td": (0,),
}  # fmt: skip


#: Dates in order, each with its moments per regime.
History = Iterable[tuple[str, Mapping[str, Moments]]]


def total(days: Iterable[Moments]) -> Moments:
    """The sum of at least one day, in the order given."""
    return reduce(lambda a, b: a + b, days)


def day_moments(
    panel: Panel, transform: Transform, flows: Array | None = None
) -> dict[str, Moments]:
    """The moments of one day, per regime.

    Parameters
    ----------
    panel
        One trading date (a pure function of it: no other day is looked at).
    transform
        ``linear`` f = q, or ``sqrt`` f = sign(q) sqrt(|q|).
    flows
        The others' flow q when it is not the panel's own (placebo), shape (T, n).
    """
    panel = panel.plausible()[0]
    own = shape_flow(panel.q, transform)
    others = own if flows is None else shape_flow(flows, transform)
    columns = (own, np.sign(own), panel.sector_flow, panel.factor_flow)
    B = np.stack([np.where(np.isfinite(c), c, 0.0) for c in columns], axis=2)  # (T, n, 4)
    pilot = fit_pilot(panel, B)
    days = {}
    for regime in REGIMES:
        rows = panel.regime == regime
        if rows.any():
            days[regime] = _moments(panel.where(rows), others[rows], B[rows], pilot.of(rows))
    return days


def shape_flow(q: Array, transform: Transform) -> Array:
    """Flow as the estimators see it; a cell that is no number did not trade."""
    q = np.where(np.isfinite(q), q, 0.0)
    return np.asarray(np.sign(q) * np.sqrt(np.abs(q)) if transform == "sqrt" else q)


def _moments(panel: Panel, f: Array, B: Array, pilot: Pilot) -> Moments:
    root, n = np.sqrt(pilot.weight)[:, None], panel.n
    own, m = B[:, :, 0], pilot.move
    excess = np.where((own != 0) & pilot.known, panel.response - m, np.nan)
    d = np.clip(np.where(np.isfinite(excess), excess, 0.0), -_reach(excess), _reach(excess))
    t = np.where(np.isfinite(excess), m, 0.0)
    F, M, D, T = f * root, m * root, d * root, t * root
    R, B = pilot.residual * root, B * root[:, :, None]
    seen = (pilot.weight[:, None] * pilot.known).sum(axis=0)
    return Moments(
        symbols=panel.symbols,
        buckets=len(f),
        seen=np.vstack([seen, np.full(n, pilot.weight.sum())]),
        ff=F.T @ F,
        rr=R.T @ R,
        fb=(F.T @ B.reshape(len(B), -1)).reshape(n, n, OWN).transpose(1, 0, 2).copy(),
        bb=np.einsum("tik,til->ikl", B, B),
        fm=M.T @ F,
        fd=D.T @ F,
        ft=T.T @ F,
        bm=np.einsum("tik,ti->ik", B, M),
        bd=np.einsum("tik,ti->ik", B, D),
        bt=np.einsum("tik,ti->ik", B, T),
        mm=(M**2).sum(axis=0),
        md=(M * D).sum(axis=0),
        dd=(D**2).sum(axis=0),
        tt=(T**2).sum(axis=0),
        td=(T * D).sum(axis=0),
    )


def _reach(excess: Array) -> Array:
    """How far a fill's slippage may lie from the mid move before it is moved in, per name."""
    size = np.abs(excess)
    return np.asarray(CLIP * robust_spread(size, axis=0))


def history(panel: Panel, transform: Transform, flows: Array | None = None) -> History:
    """The moments of every day of a panel, one after the other."""
    for date in np.unique(panel.date):
        rows = panel.date == date
        part = None if flows is None else flows[rows]
        yield str(date), day_moments(panel.where(rows), transform, part)


def blocks(days: History, last: Sequence[str], regimes: Sequence[str]) -> list[dict[str, Moments]]:
    """Days summed into blocks of dates, so that memory does not grow with the window.

    Parameters
    ----------
    days
        In time order.
    last
        Last date of each block, ascending; what comes later joins the last block.
    regimes
        Whose moments are wanted.
    """
    result: list[dict[str, Moments]] = [{} for _ in last]
    for date, by_regime in days:
        block = result[min(bisect_left(last, date), len(last) - 1)]
        for regime in regimes:
            if regime in by_regime:
                day = by_regime[regime]
                block[regime] = block[regime] + day if regime in block else day
    return result
