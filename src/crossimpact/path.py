"""What a path of flows costs when impact lives longer than a bucket.

Fills of bucket b pay the bucket's own cost, as ever, and start from prices that earlier buckets
have moved:

    cost = sum_b cost(q_b) + 1e-4 sum_b Q_b' (C^self_b + C^cross_b),
    C^self_b  = scale_self  sum_{a < b} g((b - a - 1) D) beta f(q_a)              [bps]
    C^cross_b = scale_cross sum_{a < b} g((b - a - 1) D) gamma f(q_a)             [bps]

with the kernel g of `crossimpact.kernel.decay`. A model without one carries nothing over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from crossimpact.errors import ModelError
from crossimpact.kernel.decay import Decay
from crossimpact.scaled import BPS, Array


class BucketCost(Protocol):
    """A bucket's cost in USD, per bucket."""

    @property
    def linear(self) -> Array: ...
    @property
    def self_impact(self) -> Array: ...
    @property
    def cross(self) -> Array: ...


class Model(Protocol):
    """What a path asks of a model (`ImpactModel`)."""

    @property
    def symbols(self) -> tuple[str, ...]: ...
    @property
    def regime(self) -> str: ...
    @property
    def adv(self) -> Array: ...
    @property
    def beta(self) -> Array: ...
    @property
    def gamma(self) -> Array: ...
    @property
    def kernel(self) -> Decay | None: ...

    def cost(self, q: ArrayLike) -> BucketCost: ...
    def marginal_cost(self, q: ArrayLike) -> Array: ...
    def self_bps(self, q: ArrayLike) -> Array: ...
    def cross_bps(self, q: ArrayLike) -> Array: ...
    def flow(self, q: ArrayLike) -> Array: ...
    def flow_slope(self, q: Array) -> Array: ...


@dataclass(frozen=True)
class PathCost:
    """Expected cost of a path of flows, USD per bucket, shape (buckets,); positive = worse.

    Attributes
    ----------
    linear, self_now, cross_now
        Of each bucket by itself, as `Cost`.
    self_carried, cross_carried
        What its fills pay for pushes of earlier buckets, by the same name and by the others;
        negative where they trade against them.
    carried_self_bps, carried_cross_bps
        The moves carried into each bucket, signed like the move, bps, shape (buckets, n).
    """

    linear: Array
    self_now: Array
    self_carried: Array
    cross_now: Array
    cross_carried: Array
    carried_self_bps: Array
    carried_cross_bps: Array

    @property
    def total(self) -> Array:
        """USD per bucket."""
        now = self.linear + self.self_now + self.cross_now
        return now + self.self_carried + self.cross_carried


def cost(model: Model, flows: ArrayLike, sessions: Sequence[Any] | None = None) -> PathCost:
    """Expected cost of a path of flows, with what each bucket carries over to later ones.

    Parameters
    ----------
    flows
        Signed fractions of ADV, shape (buckets, n), buckets of the kernel's width one after the
        other; zeros where nothing traded.
    sessions
        Label of each bucket's session, length buckets; one session by default.

    Returns
    -------
    PathCost
        USD per bucket; carried parts are exactly zero for a model without kernel.

    Raises
    ------
    ModelError
        On another shape, a number that is not finite, or sessions out of order.
    """
    q = checked(model, flows)
    now, notional = model.cost(q), BPS * q * model.adv
    own, cross = np.zeros_like(q), np.zeros_like(q)
    if model.kernel is not None:
        own = model.kernel.scale_self * model.kernel.carried(model.self_bps(q), sessions)
        cross = model.kernel.scale_cross * model.kernel.carried(model.cross_bps(q), sessions)
    return PathCost(
        linear=now.linear,
        self_now=now.self_impact,
        self_carried=(notional * own).sum(axis=1),
        cross_now=now.cross,
        cross_carried=(notional * cross).sum(axis=1),
        carried_self_bps=own,
        carried_cross_bps=cross,
    )


def pair_cost(model: Model, flows: ArrayLike) -> tuple[Array, Array]:
    """USD cost of each ordered pair over a path of one session, shape (n, n) each: what a name's
    fills pay for the other's push of the same bucket, and for what its earlier ones left.

    `[i, j] + [j, i]` is what the pair cost together; all pairs sum to `cross_now` and
    `cross_carried` of `cost`.
    """
    q = checked(model, flows)
    notional, pushing = BPS * q * model.adv, model.flow(q)
    now = model.gamma * (notional.T @ pushing)
    if model.kernel is None:
        return now, np.zeros_like(now)
    left = model.kernel.scale_cross * model.kernel.carried(pushing)
    return now, model.gamma * (notional.T @ left)


def marginal_cost(model: Model, flows: ArrayLike, sessions: Sequence[Any] | None = None) -> Array:
    """See `ImpactModel.path_marginal_cost`."""
    q = checked(model, flows)
    slope = model.marginal_cost(q)
    if model.kernel is None:
        return slope
    carried = cost(model, q, sessions)
    later = model.kernel.felt(q * model.adv, sessions)
    own = model.kernel.scale_self * model.beta * later
    cross = model.kernel.scale_cross * (later @ model.gamma)
    pushed = (own + cross) / model.adv * model.flow_slope(q)
    moved = carried.carried_self_bps + carried.carried_cross_bps
    return np.asarray(slope + BPS * (moved + pushed))


def checked(model: Model, flows: ArrayLike) -> Array:
    """Flows of a path as finite numbers, shape (buckets, n)."""
    q = np.asarray(flows, dtype=np.float64)
    if q.ndim != 2 or q.shape[1] != len(model.symbols):
        raise ModelError(f"a path of shape {q.shape} for {len(model.symbols)} symbols")
    if not np.isfinite(q).all():
        bucket, i = np.argwhere(~np.isfinite(q))[0]
        raise ModelError(
            f"flow of {model.symbols[i]} in bucket {bucket} is not finite", "give 0 for no flow"
        )
    return q
