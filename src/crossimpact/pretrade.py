"""What a basket will cost before it is traded: the causes that TCA books after it, and how well
they are known.

Orders trade evenly over their windows, from a market that nobody has pushed yet. Every dollar comes
from the model (`ImpactModel`, `attribution`). The cost is linear in alpha, beta, gamma and in what
the decay keeps, so its standard error is the root of their squares: names by themselves; the two
directions of a pair together, as dollar symmetry ties them; the kernel's curve at all lags, of self
and cross, together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossimpact.attribution import order_costs, order_path
from crossimpact.errors import ModelError
from crossimpact.model import BPS, Array, ImpactModel
from crossimpact.tca import predict


@dataclass(frozen=True)
class ExpectedCost:
    """Expected cost of orders, USD, positive = worse; against the mid at the basket's start.

    Attributes
    ----------
    spread, self_now, self_carried, cross_now, cross_carried
        Per order, shape (orders,); the carried parts since the order's own arrival.
    delay
        Of what the basket's earlier orders have moved before the order arrives.
    se
        Standard error of each order's total, shape (orders,); NaN where a number that it rests on
        has none.
    basket_se
        Of the basket's total: orders share their names' coefficients.
    pairs_now, pairs_carried, pairs_se
        What two names cost each other, both directions, upper triangle of shape (n, n).
    """

    spread: Array
    self_now: Array
    self_carried: Array
    cross_now: Array
    cross_carried: Array
    delay: Array
    se: Array
    basket_se: float
    pairs_now: Array
    pairs_carried: Array
    pairs_se: Array

    @property
    def total(self) -> Array:
        """USD per order."""
        now = self.spread + self.self_now + self.cross_now
        return now + self.self_carried + self.cross_carried + self.delay


def even_flow(start: float, end: float, buckets: int) -> Array:
    """Share of an order that trades in each bucket, at one pace from `start` to `end`, both in
    buckets since the first one's start; shape (buckets,), summing to 1."""
    edges = np.arange(buckets + 1.0)
    inside = np.clip(np.minimum(edges[1:], end) - np.maximum(edges[:-1], start), 0.0, None)
    return np.asarray(inside / (end - start))


def expected_cost(
    model: ImpactModel, flows: ArrayLike, names: Sequence[int], arrivals: Sequence[int]
) -> ExpectedCost:
    """What the model expects of a basket.

    Parameters
    ----------
    flows
        Signed ADV fractions each order trades, shape (orders, buckets).
    names
        Place of each order's symbol in the model.
    arrivals
        Bucket in which each order begins.

    Raises
    ------
    ModelError
        When shapes disagree, or an order arrives in no bucket.
    """
    q, owner = np.asarray(flows, dtype=np.float64), np.asarray(names, dtype=int)
    if q.ndim != 2 or not len(q) == len(owner) == len(arrivals):
        raise ModelError(f"flows have shape {q.shape} for {len(owner)} orders")
    path = np.zeros((q.shape[1], model.n))
    np.add.at(path.T, owner, q)
    spread, *causes, delay = _causes(model, path, q, owner, np.asarray(arrivals, dtype=int))
    self_now, self_carried, cross_now, cross_carried = causes
    felt = _felt(model, path)
    notional = BPS * q * model.adv[owner, None]
    se, basket_se = _errors(model, path, notional, owner, felt)
    now, carried = (np.triu(part + part.T, 1) for part in model.path_pair_cost(path))
    whole = (BPS * path * model.adv).T @ felt.pushing
    return ExpectedCost(
        spread=spread,
        self_now=self_now,
        self_carried=self_carried,
        cross_now=cross_now,
        cross_carried=cross_carried,
        delay=delay,
        se=se,
        basket_se=basket_se,
        pairs_now=now,
        pairs_carried=carried,
        pairs_se=np.abs(_pair_errors(model, whole)),
    )


def _causes(
    model: ImpactModel, path: Array, q: Array, owner: NDArray[np.int_], arrivals: NDArray[np.int_]
) -> tuple[Array, ...]:
    """Spread, the four causes and delay of each order, as TCA attributes them."""
    regimes = [model.regime] * len(path)
    prediction = predict({model.regime: model}, regimes, path, model.symbols)
    kernels = {model.regime: model.kernel} if model.kernel else {}
    parts = np.zeros((6, len(q)))
    parts[0] = BPS * (np.abs(q) * model.adv[owner, None]).sum(axis=1) * model.alpha[owner]
    moved = prediction.carried_self_bps + prediction.carried_cross_bps
    parts[5] = BPS * q.sum(axis=1) * model.adv[owner] * moved[arrivals, owner]
    for name in np.unique(owner):
        mine = np.flatnonzero(owner == name)
        since = order_path(prediction, kernels, regimes, name, q[mine], arrivals[mine].tolist())
        cost = order_costs(prediction, since, name, q[mine], model.adv[name])
        own = cost.own_carried + cost.sibling_carried
        parts[1:5, mine] = cost.self_now, own, cost.cross_now, cost.cross_carried
    return tuple(parts)


@dataclass(frozen=True)
class _Felt:
    """Flow that moves each bucket's prices, shape (buckets, n): per unit of beta, of gamma, and per
    standard error of the kernel's curve of either."""

    own: Array
    pushing: Array
    own_doubt: Array
    cross_doubt: Array


def _felt(model: ImpactModel, path: Array) -> _Felt:
    """The path's own push and what earlier buckets left of it."""
    push = model.flow(path)
    if (kernel := model.kernel) is None:
        return _Felt(push, push, np.zeros_like(push), np.zeros_like(push))
    left = kernel.carried(push)
    own_doubt, cross_doubt = (
        _lag_errors(model, len(path), known) @ push
        for known in (kernel.errors.se_self, kernel.errors.se_cross)
    )
    return _Felt(
        push + kernel.scale_self * left, push + kernel.scale_cross * left, own_doubt, cross_doubt
    )


def _lag_errors(model: ImpactModel, buckets: int, known: Sequence[float]) -> Array:
    """Standard error of ``scale g`` from bucket to later bucket, shape (buckets, buckets); that of
    the last lag beyond it, zeros where none was estimated."""
    later, earlier = np.indices((buckets, buckets))
    if model.kernel is None or not known:
        return np.zeros((buckets, buckets))
    lag_min = (later - earlier - 1) * model.kernel.bucket_min
    errors = np.interp(lag_min, model.kernel.errors.lags_min, known)
    return np.where(later > earlier, errors, 0.0)


def _errors(
    model: ImpactModel, path: Array, notional: Array, owner: NDArray[np.int_], felt: _Felt
) -> tuple[Array, float]:
    """Standard errors of each order's cost and of the basket's, USD."""
    size = np.abs(notional).sum(axis=1)
    spread = _known(size, model.alpha_se[owner])
    own = _known((notional * felt.own[:, owner].T).sum(axis=1), model.beta_se[owner])
    by_pair = _known(notional @ felt.pushing, _gamma_se(model)[owner])
    doubt = felt.own_doubt * model.beta + felt.cross_doubt @ model.gamma.T
    decay = (notional * doubt[:, owner].T).sum(axis=1)
    if model.kernel is not None and not model.kernel.errors.lags_min and len(path) > 1:
        decay += np.nan  # it decays, and nobody knows how well that is known
    each = np.sqrt(spread**2 + own**2 + (by_pair**2).sum(axis=1) + decay**2)

    whole = np.zeros((model.n, path.shape[0]))
    np.add.at(whole, owner, notional)
    sums = [np.bincount(owner, part, model.n) for part in (spread, own)]
    pairs = _pair_errors(model, whole @ felt.pushing)
    squares = sum(float((part**2).sum()) for part in (*sums, pairs)) + float(decay.sum()) ** 2
    return each, float(np.sqrt(squares))


def _pair_errors(model: ImpactModel, exposure: Array) -> Array:
    """USD per standard error of each pair, both directions together, upper triangle."""
    both = _known(exposure, _gamma_se(model))
    return np.asarray(np.triu(both + both.T, 1))


def _gamma_se(model: ImpactModel) -> Array:
    """A pair that the model does not have costs nothing, for sure as far as it knows."""
    return np.where(model.gamma != 0, model.gamma_se, 0.0)


def _known(exposure: Array | float, errors: Array) -> Array:
    """``exposure x errors``; nothing rides on an unknown error where there is no exposure."""
    return np.where(exposure == 0, 0.0, exposure * errors)
