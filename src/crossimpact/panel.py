"""The panel of buckets every estimator reads, and the regressions' common parts.

Everything is fitted in signed space, where the model is linear in the flows:

    y_i = sign(q_i) s_i
        = alpha_i sign(q_i) + beta_i q_i + sum_{j != i} gamma_ij q_j + controls + noise

The own terms ``sign(q_i), q_i`` and the peer-flow controls are never penalised.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossimpact.alignment import Alignment
from crossimpact.errors import EstimationError
from crossimpact.ladder import REGIMES as REGIMES
from crossimpact.model import Array

OWN = 4  # nuisance columns of a name: own flow, its sign, sector flow, factor flow
MIN_BUCKETS = 60  # of a regime: with fewer no matrix is fitted, and no week of a fitted one judged
MAX_FLOW = 10.0  # days of volume; a desk that trades more in one bucket is a wrong number
MAX_PEER = 1e5  # the same of the whole market's net flow, in days of one name's volume
MAX_BPS = 5000.0  # a price that halves, or goes up by half, within one bucket


@dataclass(frozen=True)
class Panel:
    """Buckets x symbols.

    Attributes
    ----------
    ts, date, regime
        Bucket start (UTC), trading date and label of each bucket, shape (T,).
    symbols, sectors, adv
        Names, their sectors and average daily notional (USD), length n.
    q
        Signed fraction of ADV executed, 0 when none, shape (T, n).
    s
        Slippage in bps, positive = cost, NaN where nothing was executed, shape (T, n).
    move
        Mid move over the bucket in bps, NaN where a book is missing, shape (T, n).
    sector_flow, factor_flow
        Peer flow of the symbol's sector and of the market over the symbol's ADV, shape (T, n).
    raw
        The same buckets before anything was taken out of `s` and `move` (`estimate.carried`); None:
        nothing was.
    net_of_own
        The same buckets less what fades of own pushes alone; None as `raw`.
    """

    ts: NDArray[np.datetime64]
    date: NDArray[np.str_]
    regime: NDArray[np.str_]
    symbols: tuple[str, ...]
    sectors: tuple[str, ...]
    adv: Array
    q: Array
    s: Array
    move: Array
    sector_flow: Array
    factor_flow: Array
    raw: Panel | None = None
    net_of_own: Panel | None = None

    @property
    def seen(self) -> Panel:
        """The panel with the responses that were seen: where a price ticks, and where it stood
        still, is told from these."""
        return self.raw or self

    @property
    def n(self) -> int:
        return len(self.symbols)

    def peer_move(self, peer: Array) -> Array:
        """What peer flow moved, signed bps (T, n), from its coefficients (n, 2)."""
        return np.asarray(self.sector_flow * peer[:, 0] + self.factor_flow * peer[:, 1])

    @property
    def response(self) -> Array:
        """Signed slippage ``sign(q) s``, bps, NaN where nothing was executed."""
        return np.sign(self.q) * self.s

    def shaped(self, reference: Array) -> Panel:
        """The panel in square-root flows ``sign(q) sqrt(|q| reference)``; signs stay."""
        return replace(self, q=np.sign(self.q) * np.sqrt(np.abs(self.q) * reference))

    def where(self, keep: NDArray[np.bool_] | slice) -> Panel:
        """The buckets `keep` selects, shape (T,) of bool, or a run of them, not copied."""
        rows = ("ts", "date", "regime", "q", "s", "move", "sector_flow", "factor_flow")
        kept: dict[str, Any] = {name: getattr(self, name)[keep] for name in rows}
        before = {"raw": self.raw, "net_of_own": self.net_of_own}
        kept |= {name: panel and panel.where(keep) for name, panel in before.items()}
        return replace(self, **kept)

    def until(self, date: str) -> Panel:
        """The buckets up to the end of a date; nothing is copied where dates come in order."""
        keep = self.date <= date
        count = int(keep.sum())
        return self.where(slice(count) if keep[:count].all() else keep)

    def plausible(self) -> tuple[Panel, int]:
        """The panel without its impossible cells, and how many those are.

        A flow above `MAX_FLOW`, a move or slippage above `MAX_BPS`, a peer flow above `MAX_PEER` or
        no number at all (NaN stands for an absent one in `s` and `move` only) says nothing of its
        size. The response of such a cell is unknown, and what of it was impossible is 0.

        Raises
        ------
        EstimationError
            When a symbol's ADV is not a positive number.
        """
        bad = ~((self.adv > 0) & np.isfinite(self.adv))
        if bad.any():
            i = int(np.argmax(bad))
            raise EstimationError(
                f"ADV of {self.symbols[i]} is {self.adv[i]:g}, must be > 0",
                "leave the symbol out or land its instrument row again",
            )
        flow = ~(np.abs(self.q) <= MAX_FLOW)
        peers = ~(np.abs(self.sector_flow) <= MAX_PEER) | ~(np.abs(self.factor_flow) <= MAX_PEER)
        wild = (np.abs(self.s) > MAX_BPS) | (np.abs(self.move) > MAX_BPS)
        cells = flow | peers | wild
        if not cells.any():
            return self, 0
        kept = replace(
            self,
            q=np.where(flow, 0.0, self.q),
            s=np.where(cells, np.nan, self.s),
            move=np.where(cells, np.nan, self.move),
            sector_flow=np.where(peers, 0.0, self.sector_flow),
            factor_flow=np.where(peers, 0.0, self.factor_flow),
        )
        return kept, int(cells.sum())

    def of_regime(self, regime: str) -> Panel:
        return self.where(self.regime == regime)

    def on(self, symbols: tuple[str, ...], sectors: tuple[str, ...], adv: Array) -> Panel:
        """The panel on a model's symbols: others are left out, missing ones did not trade."""
        wide = Alignment.between(self.symbols, symbols)
        return replace(
            self,
            symbols=symbols,
            sectors=sectors,
            adv=adv,
            q=wide(self.q),
            s=wide(self.s, missing=np.nan),
            move=wide(self.move, missing=np.nan),
            sector_flow=wide(self.sector_flow),
            factor_flow=wide(self.factor_flow),
            raw=self.raw and self.raw.on(symbols, sectors, adv),
            net_of_own=self.net_of_own and self.net_of_own.on(symbols, sectors, adv),
        )

    def in_parts(self, parts: int) -> Panel:
        """The panel with every date cut into so many equal stretches of time after its open.

        A part is a date of its own, named ``2026-03-02 1/4``, in order; with one part nothing is
        cut. The longest session sets the lengths.
        """
        if parts == 1 or not len(self.ts):
            return self
        dates, of = np.unique(self.date, return_inverse=True)
        start = np.array([self.ts[of == k].min() for k in range(len(dates))])
        since = (self.ts - start[of]).astype("timedelta64[us]").astype(np.int64)
        part = since * parts // (since.max() + 1)
        digits = len(str(parts))
        label = [f"{dates[k]} {p + 1:0{digits}d}/{parts}" for k, p in zip(of, part, strict=True)]
        return replace(self, date=np.array(label))

    def shifted_q(self, sessions: int = 1) -> Array:
        """The placebo's flow: what was traded this long after the open so many sessions (or parts
        of one) earlier, (T, n).

        Zero where there was no such bucket: on the first dates, after a short session.
        """
        shifted = np.zeros_like(self.q)
        dates = np.unique(self.date)
        for before, date in zip(dates[:-sessions], dates[sessions:], strict=True):
            there, here = np.flatnonzero(self.date == before), np.flatnonzero(self.date == date)
            since = (self.ts[rows] - self.ts[rows].min() for rows in (there, here))
            _, a, b = np.intersect1d(*since, return_indices=True)
            shifted[here[b]] = self.q[there[a]]
        return shifted

    def mean_flow(self) -> Array:
        """Mean ``|q|`` of the buckets in which a symbol traded, shape (n,); 0 if it never did."""
        traded = self.q != 0
        return np.asarray(np.abs(self.q).sum(axis=0) / np.maximum(traded.sum(axis=0), 1))

    def typical_flow(self) -> Array:
        """Median ``|q|`` of the buckets in which a symbol traded, shape (n,); 0 if it never did."""
        return self._typical_flow.copy()

    @cached_property
    def _typical_flow(self) -> Array:
        size = np.where(self.q != 0, np.abs(self.q), np.nan)
        typical = np.zeros(self.n)
        traded = ~np.isnan(size).all(axis=0)
        typical[traded] = np.nanmedian(size[:, traded], axis=0)
        return typical


def controls(panel: Panel, i: int, rows: NDArray[np.bool_] | slice = slice(None)) -> Array:
    """Peer-flow controls of symbol `i` of `rows`, (rows, 2); a constant one is all zero."""
    columns = np.column_stack((panel.sector_flow[rows, i], panel.factor_flow[rows, i]))
    return np.asarray(np.where(columns.std(axis=0) > 0, columns, 0.0))


def tick_scale(response: Array) -> Array:
    """Least scale of each column's noise: its median move that is not zero, times how often it is.

    A price that ticks in few buckets leaves residuals of mostly nothing. Any scale read off their
    middle takes every tick for an outlier, and what moves the price goes with them; a continuous
    response is hardly ever zero and has no such least scale. NaN is ignored; (n,) from (T, n).
    """
    size = np.abs(response)
    still = (size == 0).sum(axis=0) / np.maximum(np.isfinite(size).sum(axis=0), 1)
    least = np.zeros(size.shape[1])
    known = (still > 0) & (size > 0).any(axis=0)
    moved = np.where(size[:, known] > 0, size[:, known], np.nan)
    least[known] = np.nanmedian(moved, axis=0)
    return np.asarray(still * least)


def blocked_folds(length: int, folds: int) -> NDArray[np.int64]:
    """Fold number of each of `length` rows in time order: contiguous blocks, as equal as can be."""
    return np.arange(length) * folds // max(length, 1)
