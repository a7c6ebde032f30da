"""What the model says a day should have cost, to be held against what it did cost.

Every number comes from `ImpactModel`: this module only lines up a day's symbols with the model of
each bucket's regime, and says who priced what. A bucket or symbol without a model moves by zero and
is named, so that the shortfall it leaves is shown as unexplained, never as modelled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from crossimpact.errors import ModelError
from crossimpact.model import Array, ImpactModel

Bool = NDArray[np.bool_]
Index = NDArray[np.intp]


@dataclass(frozen=True)
class Prediction:
    """Modelled price moves of a day, bps, signed like the move (positive = up).

    Attributes
    ----------
    self_bps, cross_bps
        Move of each name from its own flow and from the others', shape (T, n); zero where unpriced.
    priced
        Whether a model knew the symbol in the bucket's regime, shape (T, n).
    priced_by
        Who answered for each bucket, length T.
    unpriced
        Symbols traded in some bucket whose regime had no model for them.
    """

    self_bps: Array
    cross_bps: Array
    priced: Bool
    priced_by: tuple[str, ...]
    unpriced: tuple[str, ...]


@dataclass(frozen=True)
class PairCost:
    """What two names cost each other over a day in one regime.

    Attributes
    ----------
    symbol_i, symbol_j, sector_i, sector_j, regime
        The pair, `symbol_i` first in the model's order.
    usd
        ``1e-4 sum_t (Q_i gamma_ij q_j + Q_j gamma_ji q_i)``, positive = a cost.
    gamma_ij, gamma_ji
        bps on the first name per unit of ADV fraction in the second.
    """

    symbol_i: str
    symbol_j: str
    sector_i: str
    sector_j: str
    regime: str
    usd: float
    gamma_ij: float
    gamma_ji: float


@dataclass(frozen=True)
class Slope:
    """Least squares of realized on predicted: 1 is a calibrated model, 0 a useless one.

    Attributes
    ----------
    slope, intercept, slope_se
        `slope_se` is White's (HC1): bucket noise grows with the notional traded. NaN when fewer
        than three points or no spread of the prediction.
    n
        Points used.
    """

    slope: float
    intercept: float
    slope_se: float
    n: int


def predict(
    models: Mapping[str, ImpactModel],
    regimes: Sequence[str],
    q: Array,
    symbols: Sequence[str],
    priced_by: Mapping[str, str] | None = None,
) -> Prediction:
    """Price moves the models expect from a day's own flow.

    Parameters
    ----------
    models
        One model per regime; a regime may be missing, a model may lack symbols.
    regimes
        Regime of each bucket, length T.
    q
        Signed ADV fractions executed, shape (T, n); buys positive, zero when nothing traded.
    symbols
        Names of the n columns.
    priced_by
        Label per regime (rung and reason); by default ``model/<regime>`` or ``none/<regime>``.

    Raises
    ------
    ModelError
        When shapes disagree or `q` is not finite.
    """
    q = _checked(regimes, q, symbols)
    labels = priced_by or {}
    self_bps, cross_bps = np.zeros_like(q), np.zeros_like(q)
    priced = np.zeros(q.shape, dtype=bool)
    for regime, model in models.items():
        rows = np.flatnonzero(np.array(regimes) == regime)
        day, place = _shared(model, symbols)
        flow = _scatter(q[rows], day, place, model.n)
        cells = np.ix_(rows, day)
        self_bps[cells] = model.self_bps(flow)[:, place]
        cross_bps[cells] = model.cross_bps(flow)[:, place]
        priced[cells] = True
    missing = ((q != 0) & ~priced).any(axis=0)
    return Prediction(
        self_bps,
        cross_bps,
        priced,
        tuple(
            labels.get(regime, f"{'model' if regime in models else 'none'}/{regime}")
            for regime in regimes
        ),
        tuple(symbol for symbol, out in zip(symbols, missing, strict=True) if out),
    )


def pair_costs(
    models: Mapping[str, ImpactModel],
    regimes: Sequence[str],
    q: Array,
    symbols: Sequence[str],
    adv: Array,
    top: int = 20,
) -> list[PairCost]:
    """The pairs that cost (or gave) most, by regime, largest ``|usd|`` first.

    Parameters
    ----------
    models, regimes, q, symbols
        As in `predict`.
    adv
        ADV notional of the day by which `q` was scaled, USD, shape (n,): it turns `q` back into the
        notional executed, where the model's own ADV may be of another month.
    top
        How many pairs to keep; pairs that cost exactly nothing never appear.

    Raises
    ------
    ModelError
        As `predict`, and when an ADV is not positive.
    """
    q = _checked(regimes, q, symbols)
    found = chain.from_iterable(
        _regime_pairs(
            replace(model, regime=regime), q[np.array(regimes) == regime], symbols, adv, top
        )
        for regime, model in models.items()
    )
    ranked = sorted(found, key=lambda p: (-abs(p.usd), p.symbol_i, p.symbol_j, p.regime))
    return ranked[:top]


def calibration(predicted: Array, realized: Array) -> Slope:
    """Slope of realized on predicted cost with its standard error.

    Parameters
    ----------
    predicted, realized
        Same length and unit; pairs with a non-finite member are left out.
    """
    keep = np.isfinite(predicted) & np.isfinite(realized)
    x, y = np.asarray(predicted)[keep], np.asarray(realized)[keep]
    n = len(x)
    if n < 3 or np.ptp(x) <= 1e-12 * np.abs(x).max():
        return Slope(np.nan, np.nan, np.nan, n)
    centred = x - x.mean()
    spread = float(centred @ centred)
    slope = float(centred @ y) / spread
    intercept = float(y.mean() - slope * x.mean())
    residual = y - intercept - slope * x
    variance = float((centred**2) @ (residual**2)) / spread**2 * n / (n - 2)
    return Slope(slope, intercept, float(np.sqrt(variance)), n)


def _regime_pairs(
    model: ImpactModel, q: Array, symbols: Sequence[str], adv: Array, top: int
) -> list[PairCost]:
    """Top pairs of one regime, priced at the day's ADV."""
    day, place = _shared(model, symbols)
    model_adv = model.adv.copy()
    model_adv[place] = np.asarray(adv, dtype=np.float64)[day]
    ordered = replace(model, adv=model_adv).pair_cost(_scatter(q, day, place, model.n))
    both = np.triu(ordered + ordered.T, 1)
    best = np.argsort(-np.abs(both), axis=None, kind="stable")[:top]
    rows, columns = np.unravel_index(best, both.shape)
    return [
        PairCost(
            model.symbols[i],
            model.symbols[j],
            model.sectors[i],
            model.sectors[j],
            model.regime,
            float(both[i, j]),
            float(model.gamma[i, j]),
            float(model.gamma[j, i]),
        )
        for i, j in zip(rows.tolist(), columns.tolist(), strict=True)
        if both[i, j] != 0
    ]


def _checked(regimes: Sequence[str], q: Array, symbols: Sequence[str]) -> Array:
    """`q` as an array of finite numbers, one row a bucket, one column a symbol."""
    q = np.asarray(q, dtype=np.float64)
    if q.shape != (len(regimes), len(symbols)):
        raise ModelError(
            f"q has shape {q.shape} for {len(regimes)} buckets and {len(symbols)} symbols"
        )
    if not np.isfinite(q).all():
        t, i = np.argwhere(~np.isfinite(q))[0]
        raise ModelError(f"q of {symbols[i]} in bucket {t} is not finite", "give 0 for no flow")
    return q


def _shared(model: ImpactModel, symbols: Sequence[str]) -> tuple[Index, Index]:
    """Columns of the day that the model knows, and their places in the model."""
    places = {symbol: place for place, symbol in enumerate(model.symbols)}
    known = [(i, places[symbol]) for i, symbol in enumerate(symbols) if symbol in places]
    pairs = np.array(known, dtype=np.intp).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def _scatter(q: Array, day: Index, place: Index, n: int) -> Array:
    """The day's flow in the model's order; names the day does not have trade nothing."""
    flow = np.zeros((len(q), n))
    flow[:, place] = q[:, day]
    return flow
