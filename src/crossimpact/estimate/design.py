"""The panel of buckets every estimator reads, and the regressions' common parts.

Everything is fitted in signed space, where the model is linear in the flows:

    y_i = sign(q_i) s_i
        = alpha_i sign(q_i) + beta_i q_i + sum_{j != i} gamma_ij q_j + controls + noise

The own terms ``sign(q_i), q_i`` and the peer-flow controls are never penalised.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from crossimpact.model import Array

REGIMES = ("normal", "stressed")


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

    def blended(self, share: float) -> Array:
        """Signed response of each cell, bps: `share` of the fills' slippage and the rest of the mid
        move where something was executed, the mid move elsewhere; one alone where the other is not
        known, NaN without either, shape (T, n)."""
        signed = self.response
        both = np.isfinite(signed) & np.isfinite(self.move)
        mixed = np.where(both, self.move + share * (signed - self.move), self.move)
        return np.where(np.isfinite(mixed), mixed, signed)

    def shaped(self, reference: Array) -> Panel:
        """The panel in square-root flows ``sign(q) sqrt(|q| reference)``; signs stay."""
        return replace(self, q=np.sign(self.q) * np.sqrt(np.abs(self.q) * reference))

    def where(self, keep: NDArray[np.bool_]) -> Panel:
        """The buckets `keep` selects, shape (T,) of bool."""
        rows = ("ts", "date", "regime", "q", "s", "move", "sector_flow", "factor_flow")
        return replace(self, **{name: getattr(self, name)[keep] for name in rows})

    def of_regime(self, regime: str) -> Panel:
        return self.where(self.regime == regime)

    def on(self, symbols: tuple[str, ...], sectors: tuple[str, ...], adv: Array) -> Panel:
        """The panel on a model's symbols: others are left out, missing ones did not trade."""
        at = {symbol: column for column, symbol in enumerate(self.symbols)}
        into = [k for k, symbol in enumerate(symbols) if symbol in at]
        take = [at[symbols[k]] for k in into]

        def wide(values: Array, missing: float) -> Array:
            array = np.full((len(self.ts), len(symbols)), missing)
            array[:, into] = values[:, take]
            return array

        return replace(
            self,
            symbols=symbols,
            sectors=sectors,
            adv=adv,
            q=wide(self.q, 0.0),
            s=wide(self.s, np.nan),
            move=wide(self.move, np.nan),
            sector_flow=wide(self.sector_flow, 0.0),
            factor_flow=wide(self.factor_flow, 0.0),
        )

    def day_shifted_q(self) -> Array:
        """The placebo's flow: what was traded at this time of day one session earlier, (T, n).

        Zero where there was no such bucket: on the first date, after a short session.
        """
        shifted = np.zeros_like(self.q)
        clock = self.ts - self.ts.astype("datetime64[D]")
        dates = np.unique(self.date)
        for before, date in pairwise(dates):
            there, here = np.flatnonzero(self.date == before), np.flatnonzero(self.date == date)
            _, a, b = np.intersect1d(clock[there], clock[here], return_indices=True)
            shifted[here[b]] = self.q[there[a]]
        return shifted

    def typical_flow(self) -> Array:
        """Median ``|q|`` of the buckets in which a symbol traded, shape (n,); 0 if it never did."""
        size = np.where(self.q != 0, np.abs(self.q), np.nan)
        typical = np.zeros(self.n)
        traded = ~np.isnan(size).all(axis=0)
        typical[traded] = np.nanmedian(size[:, traded], axis=0)
        return typical


def controls(panel: Panel, i: int) -> Array:
    """Peer-flow controls of symbol `i` in signed space, (T, 2); a constant one is all zero."""
    columns = np.column_stack((panel.sector_flow[:, i], panel.factor_flow[:, i]))
    return np.asarray(np.where(columns.std(axis=0) > 0, columns, 0.0))


def blocked_folds(length: int, folds: int) -> NDArray[np.int64]:
    """Fold number of each of `length` rows in time order: contiguous blocks, as equal as can be."""
    return np.arange(length) * folds // max(length, 1)
