"""Whose flow moved the prices an order met: its own, its siblings' in the name, other names'.

Moves carried over from earlier buckets (`crossimpact.path`) are counted from where the order's
benchmark was struck: what was in the price then is not its cost, but how that fades since is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossimpact.errors import ModelError
from crossimpact.kernel.decay import Decay
from crossimpact.model import BPS, Array
from crossimpact.tca import Prediction


@dataclass(frozen=True)
class OrderPath:
    """Moves carried into the buckets of one name since its orders' arrivals, shape (orders, T), bps
    signed like the move; zero before the arrival.

    Attributes
    ----------
    own_bps
        By the order itself.
    sibling_bps
        By other orders in the name: their pushes since the arrival, less what earlier ones have
        lost again since then, so that decay alone is negative.
    cross_bps
        By other names, likewise.
    """

    own_bps: Array
    sibling_bps: Array
    cross_bps: Array


@dataclass(frozen=True)
class OrderCost:
    """What the model says each order of one name paid, USD, shape (orders,); positive = worse.

    Against the mid at the benchmark bucket's start: `self_now` and `cross_now` as the whole name's
    flow of the bucket moves prices, the carried parts as of `OrderPath`.
    """

    self_now: Array
    own_carried: Array
    sibling_carried: Array
    cross_now: Array
    cross_carried: Array

    @property
    def total(self) -> Array:
        carried = self.own_carried + self.sibling_carried + self.cross_carried
        return self.self_now + self.cross_now + carried


def order_path(
    prediction: Prediction,
    kernels: Mapping[str, Decay],
    regimes: Sequence[str],
    column: int,
    flows: Array,
    arrivals: Sequence[int],
) -> OrderPath:
    """Split the moves carried into one name's buckets by whose flow made them.

    Only the name's net flow pushes: it is shared by the orders on its side, in proportion, and what
    opposite orders cross between themselves moves nothing.

    Parameters
    ----------
    prediction
        Of the whole day, all orders together.
    kernels
        Per regime, of the models that predicted; a regime without carries nothing over.
    regimes
        Regime of each bucket, length T.
    column
        The name's place in the prediction.
    flows
        Signed ADV fractions each order executed, shape (orders, T); they sum to the name's flow.
    arrivals
        Bucket at whose start each order's benchmark is struck, length orders.

    Raises
    ------
    ModelError
        When shapes disagree or an arrival is no bucket.
    """
    flows, benchmark = np.asarray(flows, dtype=np.float64), np.asarray(arrivals, dtype=int)
    if flows.shape != (len(benchmark), len(regimes)):
        raise ModelError(
            f"flows have shape {flows.shape} for {len(benchmark)} orders, {len(regimes)} buckets"
        )
    if benchmark.size and not 0 <= benchmark.min() <= benchmark.max() < len(regimes):
        raise ModelError(f"an order arrives in a bucket outside 0..{len(regimes) - 1}")
    own = own_carried(prediction, kernels, regimes, np.full(len(flows), column), flows).start
    carried = prediction.carried_self_bps[:, [column]]
    cross = np.broadcast_to(prediction.carried_cross_bps[:, [column]], own.shape)
    after = np.arange(len(regimes))[:, None] >= benchmark

    def since(state: Array) -> Array:
        return np.where(after, state - state[benchmark, np.arange(len(benchmark))], 0.0).T

    return OrderPath(since(own), since(carried - own), since(cross))


@dataclass(frozen=True)
class OwnLeft:
    """What each order's own earlier pushes left in its name's mid, bps, shape (T, orders): at each
    bucket's start, and at its end, the bucket's own push aside."""

    start: Array
    end: Array


def own_carried(
    prediction: Prediction,
    kernels: Mapping[str, Decay],
    regimes: Sequence[str],
    columns: NDArray[np.intp],
    flows: Array,
) -> OwnLeft:
    """What orders left for themselves, by the shares of `order_path`.

    Parameters
    ----------
    columns
        Place of each order's name in the prediction, length orders.
    flows
        Signed ADV fractions each order executed, shape (orders, T); of a name they sum to its flow.
    """
    net = np.zeros_like(prediction.self_bps.T)
    np.add.at(net, columns, flows)
    along = np.maximum(flows * np.sign(net[columns]), 0.0)
    whole = np.zeros_like(net)
    np.add.at(whole, columns, along)
    share = np.divide(along, whole[columns], out=np.zeros_like(flows), where=whole[columns] > 0)
    push = share.T * prediction.self_bps[:, columns]
    start, end = np.zeros_like(push), np.zeros_like(push)
    for regime, kernel in kernels.items():
        pushed = push * (np.array(regimes) == regime)[:, None]
        left = kernel.scale_self * kernel.carried(np.vstack((pushed, np.zeros_like(push[:1]))))
        start += left[:-1]
        end += left[1:] - kernel.scale_self * pushed
    return OwnLeft(start, end)


def order_costs(
    prediction: Prediction, path: OrderPath, column: int, flows: Array, adv: float
) -> OrderCost:
    """What each order of a name paid by the model, see `order_path`; `adv` in USD."""
    notional = BPS * adv * np.asarray(flows, dtype=np.float64)
    return OrderCost(
        self_now=notional @ prediction.self_bps[:, column],
        own_carried=(notional * path.own_bps).sum(axis=1),
        sibling_carried=(notional * path.sibling_bps).sum(axis=1),
        cross_now=notional @ prediction.cross_bps[:, column],
        cross_carried=(notional * path.cross_bps).sum(axis=1),
    )
