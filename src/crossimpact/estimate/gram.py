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

from dataclasses import dataclass, fields, replace

from crossimpact.alignment import Alignment
from crossimpact.model import Array


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
