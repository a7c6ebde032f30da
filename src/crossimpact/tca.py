"""What the model says a day should have cost, to be held against what it did cost.

Every number comes from `ImpactModel`: this module only lines up a day's symbols with the model of
each bucket's regime, and says who priced what. A bucket or symbol without a model moves by zero and
is named, so that the shortfall it leaves is shown as unexplained, never as modelled.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
    left_self_bps, left_cross_bps
        What is in the mid at the bucket's end of all flow so far, the bucket's own too.
    moved_bps
        Move of each name's mid over the bucket by the desk's flow, old and new, (T, n). Of a model
        without kernel it is the bucket's push alone, though nothing of it stays.
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
    left_self_bps: Array
    left_cross_bps: Array
    moved_bps: Array


@dataclass(frozen=True)
class PairCost:
    """What two names cost each other over a day in one regime.

    Attributes
    ----------
    symbol_i, symbol_j, sector_i, sector_j, regime
        The pair, `symbol_i` first in the model's order.
    now_usd
        Of the same buckets, ``1e-4 sum_t (Q_i gamma_ij q_j + Q_j gamma_ji q_i)``, a cost if > 0.
    carried_usd
        What each left for the other in later buckets since its orders' arrivals.
    gamma_ij, gamma_ji
        bps on the first name per unit of ADV fraction in the second.
    """

    symbol_i: str
    symbol_j: str
    sector_i: str
    sector_j: str
    regime: str
    now_usd: float
    carried_usd: float
    gamma_ij: float
    gamma_ji: float

    @property
    def usd(self) -> float:
        return self.now_usd + self.carried_usd


@dataclass(frozen=True)
class Exposure:
    """What a bps in a name's mid costs its orders, signed USD per bps, shape (T, n).

    Between a bucket's ends what lies in the mid goes evenly from the start to the end, so a fill at
    a third of its bucket weighs two thirds of `start` and one third of `end`; where its order's
    benchmark was struck weighs the same with the sign turned.

    Attributes
    ----------
    start, end
        On what lies in the mid at each bucket's start, and at its end, its own flow aside.
    """

    start: Array
    end: Array

    @property
    def at_edges(self) -> Array:
        """On what lies in the mid at each edge between buckets, (T + 1, n)."""
        none = np.zeros_like(self.start[:1])
        return np.asarray(np.vstack((self.start, none)) + np.vstack((none, self.end)))


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
    now, carried, faded, ends = (np.zeros((2, *q.shape)) for _ in range(4))  # self, cross
    moved = np.zeros(q.shape)
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
        if (kernel := model.kernel) is None:
            moved += push.sum(axis=0)
            continue
        for part, scale in enumerate((kernel.scale_self, kernel.scale_cross)):
            left = scale * kernel.carried(np.vstack((push[part], np.zeros_like(q[:1]))))
            carried[part] += left[:-1]
            faded[part] += left[1:] - scale * push[part]
            ends[part] += left[1:]
            moved += left[1:] - left[:-1]
    missing = ((q != 0) & ~priced).any(axis=0)
    return Prediction(
        self_bps=now[0],
        cross_bps=now[1],
        priced=priced,
        priced_by=tuple(
            labels.get(regime, f"{'model' if regime in models else 'none'}/{regime}")
            for regime in regimes
        ),
        unpriced=tuple(symbol for symbol, out in zip(symbols, missing, strict=True) if out),
        carried_self_bps=carried[0],
        carried_cross_bps=carried[1],
        faded_self_bps=faded[0],
        faded_cross_bps=faded[1],
        left_self_bps=ends[0],
        left_cross_bps=ends[1],
        moved_bps=moved,
    )


def purified_market(moves: Array, expected: Array, weight: Array, beta: Array) -> Array:
    """Move of each name's mid with the market, bps, shape (T, n).

    The mean of the *other* names' moves, by `weight`, times the name's beta; of every move what the
    desk's own flow and its peers' are expected to have done is taken out first, or the market would
    be the desk's own push. Zero where no other name's move is known.

    Parameters
    ----------
    moves
        Of the mids over each bucket, bps, NaN where unknown, (T, n).
    expected
        What own and peers' flow moved, bps, (T, n).
    weight, beta
        Of each name: average daily notional, > 0, and market beta, (n,).
    """
    known = np.isfinite(moves)
    w = known * weight
    pure = np.where(known, moves - expected, 0.0) * w
    others = w.sum(axis=1, keepdims=True) - w
    mean = np.divide(
        pure.sum(axis=1, keepdims=True) - pure, others, out=np.zeros_like(w), where=others > 0
    )
    return np.asarray(beta * mean)


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
    exposure: Exposure | None = None,
) -> list[PairCost]:
    """What the pairs cost (or gave), by regime, largest ``|usd|`` first.

    Parameters
    ----------
    models, regimes, q, symbols
        As in `predict`.
    adv
        ADV notional of the day by which `q` was scaled, USD, shape (n,): it turns `q` back into the
        notional executed, where the model's own ADV may be of another month.
    exposure
        Of the day's orders, for what is carried; by default nothing is. Pairs that cost exactly
        nothing never appear.

    Raises
    ------
    ModelError
        As `predict`, and when an ADV is not positive.
    """
    q = _checked(regimes, q, symbols)
    none = np.zeros_like(q)
    weights = exposure or Exposure(none, none)
    labels = np.array(regimes)
    result = chain.from_iterable(
        _regime_pairs(replace(model, regime=regime), q, labels == regime, symbols, adv, weights)
        for regime, model in models.items()
    )
    return sorted(result, key=lambda p: (-abs(p.usd), p.symbol_i, p.symbol_j, p.regime))


def _regime_pairs(
    model: ImpactModel, q: Array, rows: Bool, symbols: Sequence[str], adv: Array, weights: Exposure
) -> Iterator[PairCost]:
    """Pairs of one regime, priced at the day's ADV."""
    align = Alignment.between(symbols, model.symbols)
    model_adv = model.adv.copy()
    model_adv[align.target] = np.asarray(adv, dtype=np.float64)[align.source]
    now = replace(model, adv=model_adv).pair_cost(align(q[rows]))
    left = _pairs_carried(model, align(q), rows, align(weights.at_edges), align(weights.end))
    here, later = (np.triu(ordered + ordered.T, 1) for ordered in (now, left))
    for i, j in zip(
        *(index.tolist() for index in np.nonzero((here != 0) | (later != 0))), strict=True
    ):
        yield PairCost(
            model.symbols[i],
            model.symbols[j],
            model.sectors[i],
            model.sectors[j],
            model.regime,
            float(here[i, j]),
            float(later[i, j]),
            float(model.gamma[i, j]),
            float(model.gamma[j, i]),
        )


def _pairs_carried(model: ImpactModel, q: Array, rows: Bool, at_edges: Array, end: Array) -> Array:
    """USD that what j pushed in the regime's buckets cost i later, (n, n)."""
    if (kernel := model.kernel) is None:
        return np.zeros_like(model.gamma)
    felt = kernel.felt(at_edges)[:-1] - end  # an end is felt without the bucket's own flow
    return np.asarray(kernel.scale_cross * model.gamma * (felt[rows].T @ model.flow(q[rows])))


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
