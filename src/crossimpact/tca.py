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

from crossimpact.alignment import Alignment
from crossimpact.errors import ModelError
from crossimpact.model import Array, ImpactModel

Bool = NDArray[np.bool_]


@dataclass(frozen=True)
class Prediction:
    """Modelled price moves of a day, bps, signed like the move (positive = up).

    Attributes
    ----------
    self_bps, cross_bps
        Move of each name from its own flow and from the others' of the same bucket, shape (T, n);
        zero where unpriced.
    priced
        Whether a model knew the symbol in the bucket's regime, shape (T, n).
    priced_by
        Who answered for each bucket, length T.
    unpriced
        Symbols traded in some bucket whose regime had no model for them.
    carried_self_bps, carried_cross_bps
        Moves carried into each bucket from earlier ones, shape (T, n), by the name's own flow and
        the others'; a push decays as the kernel of the regime it was made in says, and not beyond
        its bucket where that model has none.
    faded_self_bps, faded_cross_bps
        What is left of them at the bucket's end, the bucket's own flow aside.
    """

    self_bps: Array
    cross_bps: Array
    priced: Bool
    priced_by: tuple[str, ...]
    unpriced: tuple[str, ...]
    carried_self_bps: Array
    carried_cross_bps: Array
    faded_self_bps: Array
    faded_cross_bps: Array


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
    now, carried, faded = (np.zeros((2, *q.shape)) for _ in range(3))  # self, cross
    priced = np.zeros(q.shape, dtype=bool)
    for regime, model in models.items():
        rows = np.flatnonzero(np.array(regimes) == regime)
        align = Alignment.between(symbols, model.symbols)
        flow = align(q[rows])  # names the day does not have trade nothing
        cells = np.ix_(rows, align.source)
        push = np.zeros_like(now)
        for part, moves in zip(push, (model.self_bps(flow), model.cross_bps(flow)), strict=True):
            part[cells] = moves[:, align.target]
        priced[cells] = True
        now += push
        if kernel := model.kernel:
            for part, scale in enumerate((kernel.scale_self, kernel.scale_cross)):
                left = kernel.carried(np.vstack((push[part], np.zeros_like(q[:1]))))
                carried[part] += scale * left[:-1]
                faded[part] += scale * (left[1:] - push[part])
    missing = ((q != 0) & ~priced).any(axis=0)
    return Prediction(
        now[0],
        now[1],
        priced,
        tuple(
            labels.get(regime, f"{'model' if regime in models else 'none'}/{regime}")
            for regime in regimes
        ),
        tuple(symbol for symbol, out in zip(symbols, missing, strict=True) if out),
        *carried,
        *faded,
    )


def peer_moves(
    models: Mapping[str, ImpactModel],
    regimes: Sequence[str],
    symbols: Sequence[str],
    sector_flow: Array,
    factor_flow: Array,
) -> Array:
    """Move of each name's mid over each bucket from its peers' flow, bps, shape (T, n).

    Coefficients are those the model was fitted beside (`peer_bps` of its provenance, as fills pay
    them); peers' flow comes through the bucket as the desk's own does, so the mid keeps as much of
    it. Zero where a model does not know them.

    Parameters
    ----------
    sector_flow, factor_flow
        Of the name's peers over its ADV, shape (T, n).
    """
    result = np.zeros(sector_flow.shape)
    for regime, model in models.items():
        if "peer_bps" not in model.provenance:
            continue
        align = Alignment.between(symbols, model.symbols)
        cells = np.ix_(np.flatnonzero(np.array(regimes) == regime), align.source)
        kept = np.array(model.provenance["peer_bps"], dtype=float)[align.target]
        kept = kept * (model.kernel.scale_self if model.kernel else 1.0)
        result[cells] = sector_flow[cells] * kept[:, 0] + factor_flow[cells] * kept[:, 1]
    return result


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
    result = chain.from_iterable(
        _regime_pairs(
            replace(model, regime=regime), q[np.array(regimes) == regime], symbols, adv, top
        )
        for regime, model in models.items()
    )
    ranked = sorted(result, key=lambda p: (-abs(p.usd), p.symbol_i, p.symbol_j, p.regime))
    return ranked[:top]


def _regime_pairs(
    model: ImpactModel, q: Array, symbols: Sequence[str], adv: Array, top: int
) -> list[PairCost]:
    """Top pairs of one regime, priced at the day's ADV."""
    align = Alignment.between(symbols, model.symbols)
    model_adv = model.adv.copy()
    model_adv[align.target] = np.asarray(adv, dtype=np.float64)[align.source]
    ordered = replace(model, adv=model_adv).pair_cost(align(q))
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
