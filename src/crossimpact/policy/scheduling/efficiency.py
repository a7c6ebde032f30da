"""What a line gains by trading now, what it costs, and the ratio: who comes first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crossimpact.model import ImpactModel
from crossimpact.policy.scheduling.desk import Desk, Index
from crossimpact.policy.scheduling.program import decayed
from crossimpact.scaled import BPS, Array

#: A marginal cost below this, bps, counts as this: trading there costs nothing, or relieves.
CHEAPEST_BPS = 0.01


@dataclass(frozen=True)
class Marginal:
    """Marginal cost of each line in its own direction, USD per USD, in parts, shape (P,).

    Attributes
    ----------
    total
        ``sign * d(cost) / dQ`` of the interval that begins now.
    linear, own
        Spread-like cost, and own impact, now and carried to the rest of the plan.
    past
        What earlier fills of all names left in the price; negative where it helps.
    """

    total: Array
    linear: Array
    own: Array
    past: Array

    @property
    def cross(self) -> Array:
        """What the other names' trading adds, and what this name's adds to theirs."""
        return np.asarray(self.total - self.linear - self.own - self.past)


def marginal(desk: Desk, model: ImpactModel, alone: ImpactModel, u: Array) -> Marginal:
    """At flows u, USD >= 0 by line and interval, by `ImpactModel.path_marginal_cost`; `alone` is
    the model without couplings."""
    lines, market = desk.lines, desk.market
    flow = np.zeros((model.n, u.shape[1]))
    np.add.at(flow, lines.name, lines.sign[:, None] * u)
    flow[:, 0] += market.working
    q = (flow / model.adv[:, None]).T
    past = np.zeros(model.n)
    if model.kernel is not None:
        own_left, cross_left = decayed(model, model.kernel, market.flow, 1)
        past = BPS * (own_left + cross_left)[:, 0]
    total = model.path_marginal_cost(q)[0] + past
    linear = BPS * np.sign(q[0]) * model.alpha
    own = alone.path_marginal_cost(q)[0] - linear
    parts = (total, linear, own, past)
    return Marginal(*(np.asarray(lines.sign * part[lines.name]) for part in parts))


def opportunity(desk: Desk) -> Array:
    """Alpha forgone by waiting, as a fraction, shape (P,); a line in its last interval has what is
    left at the deadline to lose besides."""
    lines, state = desk.lines, desk.state
    last = np.where(lines.intervals <= 1, BPS * state.leftover_bps, 0.0)
    return np.asarray(lines.waiting + last)


def efficiency(desk: Desk, cost: Marginal) -> Array:
    """`opportunity` over marginal cost, shape (P,)."""
    return np.asarray(opportunity(desk) / np.maximum(cost.total, BPS * CHEAPEST_BPS))


def order(desk: Desk, value: Array) -> Index:
    """Lines by falling efficiency; equal ones by falling opportunity, then in their order."""
    return np.lexsort((np.arange(len(value)), -opportunity(desk), -value))
