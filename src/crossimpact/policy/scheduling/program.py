"""The convex program of a desk: what it minimises, and its gradient.

Of the flows u >= 0, USD per line and interval of the horizon, with x the signed flow by name (what
is at the market trades in the first interval):

    J = path cost of x (`ImpactModel.path_cost`)  +  what earlier fills left in the price, times x
        - alpha captured + leftovers + aversion / 2 * sum_h R_h' V R_h

R_h being the position not yet traded after interval h, V the covariance of an interval: one
correlation for the market, one more within a sector. A leftover L of a line with m intervals to go
after the horizon is priced as traded evenly over them: its own impact exactly, decay included; what
the others' even trading adds to it, and what the horizon's flows add to the later ones, by the
gradient there. With none to go it trades at once, in the interval after the deadline, for
`leftover_bps` more: it is part of the path then, and pays what all earlier flows have left.

J is quadratic for a linear model, and convex where the model admits no profitable round trip.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from crossimpact.kernel.decay import Decay
from crossimpact.model import ImpactModel
from crossimpact.policy.plan import Expected
from crossimpact.policy.scheduling.desk import Desk, Index
from crossimpact.policy.scheduling.layout import Layout
from crossimpact.scaled import BPS, Array


@dataclass(frozen=True, eq=False)
class Program:
    """A desk under a linear model: what moves from plan to plan; the rest is its `layout`."""

    desk: Desk
    layout: Layout

    @property
    def model(self) -> ImpactModel:
        return self.layout.model

    @property
    def shape(self) -> tuple[int, int]:
        """Lines and intervals."""
        return self.desk.shape

    # -- linear part ---------------------------------------------------------------------------

    @cached_property
    def _even_impact(self) -> tuple[Array, Array]:
        """Own and cross impact of every line trading evenly to its deadline, scaled, by line."""
        layout, name, signed = self.layout, self.layout.name, self.layout.signed
        if not layout.to_go.any():
            return np.zeros(len(name)), np.zeros(len(name))
        pace = self.desk.lines.remaining / np.maximum(layout.intervals, 1) * (layout.to_go > 0)
        rate = layout.by_name(pace * signed)
        own, cross = layout.couplings.own * rate, layout.couplings.times(rate)
        return own[name] * signed, cross[name] * signed

    @cached_property
    def felt_later(self) -> Array:
        """What the flows after the horizon pay for one within it, USD per USD, shape (P, H)."""
        (own, cross), scales = self._even_impact, self.layout.scales
        pushed = scales[0] * own + scales[1] * cross
        return np.asarray(self.layout.carried_on * pushed[:, None])

    @cached_property
    def past_bps(self) -> Array:
        """What earlier fills have left in the price at the start of each interval of a path, shape
        (n, H + 1)."""
        layout, kernel = self.layout, self.model.kernel
        if kernel is None:
            return np.zeros((self.model.n, self.shape[1] + 1))
        left = layout.left_of(self.desk.market.flow, kernel)
        own = kernel.scale_self * layout.couplings.own[:, None] * left
        both = own + kernel.scale_cross * layout.couplings.times(left)
        return np.asarray(both / (layout.unit[:, None] * BPS))

    @cached_property
    def terminal(self) -> Array:
        """Price of a leftover beside its own impact, USD per USD, shape (P,)."""
        layout, m = self.layout, np.maximum(self.layout.to_go, 1)
        together = 2 * self._even_impact[1] * (1 + layout.scales[1] * layout.between / m)
        carried = self.felt_later.sum(axis=1) / m
        late = BPS * self.desk.state.leftover_bps * layout.due
        return np.asarray(layout.linear - self.desk.lines.later + late + together + carried)

    @cached_property
    def slope(self) -> Array:
        """Of J's linear part in u, leftovers apart, USD per USD, shape (P, H)."""
        layout, lines, market = self.layout, self.desk.lines, self.desk.market
        given = BPS * self.past_bps[lines.name] * lines.sign[:, None]
        if market.working.any():
            first = np.zeros((self.model.n, lines.alpha.shape[1] + 1))
            first[:, 0] = market.working / layout.unit
            given += 2 * layout.impact(first)[lines.name] * layout.signed[:, None]
        return np.asarray(
            layout.linear[:, None] - lines.alpha + self.felt_later + layout.pulled(given)
        )

    # -- J -------------------------------------------------------------------------------------

    @cached_property
    def at_rest(self) -> Array:
        """``dJ/du`` where nothing is traded, USD per USD, shape (P, H)."""
        layout, remaining = self.layout, self.desk.lines.remaining
        result = self.slope - (self.terminal + 2 * layout.curvature * remaining)[:, None]
        result += layout.path_slope(layout.path(np.zeros(self.shape), remaining))
        if aversion := layout.risk.aversion:
            H = self.shape[1]
            result -= aversion * layout.exposed(remaining[:, None]) * (H - np.arange(H))
        return np.asarray(result)

    def gradient(self, u: Array) -> Array:
        """``dJ/du``, USD per USD, shape (P, H)."""
        layout = self.layout
        result = self.at_rest + layout.path_slope(layout.path(u, np.zeros(len(u))))
        result += (2 * layout.curvature * u.sum(axis=1))[:, None]
        if aversion := layout.risk.aversion:
            held = np.cumsum(layout.exposed(np.cumsum(u, axis=1))[:, ::-1], axis=1)[:, ::-1]
            result += aversion * held
        return np.asarray(result)

    def value(self, u: Array) -> float:
        """J less what no plan changes, USD."""
        layout, lines = self.layout, self.desk.lines
        left = lines.remaining - u.sum(axis=1)
        x = layout.by_name(layout.signed[:, None] * layout.path(u, lines.remaining))
        result = (self.slope * u).sum() + (x * layout.impact(x)).sum()
        result += self.terminal @ left + layout.curvature @ left**2
        return float(result + self.risk(u))

    def risk(self, u: Array) -> float:
        """What the variance of what is not yet traded is charged, USD."""
        if not (aversion := self.layout.risk.aversion):
            return 0.0
        position = self.desk.lines.remaining[:, None] - np.cumsum(u, axis=1)
        return aversion / 2 * float((position * self.layout.exposed(position)).sum())


def _at_once(program: Program, model: ImpactModel, flow: Array, u: Array) -> float:
    """What leftovers that trade at once add to a path's cost, the linear part apart, USD."""
    nothing = np.zeros_like(u)
    extra = program.layout.path(nothing, program.desk.lines.remaining - u.sum(axis=1))
    extra = program.layout.by_name(program.desk.lines.sign[:, None] * extra)
    before = np.append(flow, np.zeros((model.n, 1)), axis=1)
    costs = [model.path_cost((x / model.adv[:, None]).T) for x in (before + extra, before)]
    both, alone = (float(cost.total.sum() - cost.linear.sum()) for cost in costs)
    return both - alone + float((BPS * program.past_bps * extra).sum())


def decayed(
    model: ImpactModel, kernel: Decay, flow: tuple[Index, Array, Array], intervals: int
) -> tuple[Array, Array]:
    """What fills of the past have left in the price at the start of each interval, by the names'
    own and the others' flow, signed bps, shape (n, intervals) each."""
    at, age, usd = flow
    ages, when = np.unique(age, return_inverse=True)
    q = np.zeros((len(ages), model.n))
    np.add.at(q, (when, at), usd / model.adv[at])
    steps = kernel.bucket_min * np.arange(intervals)
    left = kernel.value(ages[None, :] + steps[:, None]) @ model.flow(q)
    own = kernel.scale_self * left * model.beta
    cross = kernel.scale_cross * left @ model.gamma.T
    return np.asarray(own.T), np.asarray(cross.T)


def expected(desk: Desk, model: ImpactModel, u: Array, program: Program | None) -> Expected:
    """What the model expects of flows u, USD >= 0 by line and interval; every cost by the one
    model, leftovers and risk by the program where there is one (a linear model)."""
    lines, market = desk.lines, desk.market
    flow = np.zeros((model.n, u.shape[1]))
    np.add.at(flow, lines.name, lines.sign[:, None] * u)
    flow[:, 0] += market.working
    cost = model.path_cost((flow / model.adv[:, None]).T)
    past = 0.0
    if model.kernel is not None:
        own, cross = decayed(model, model.kernel, market.flow, u.shape[1])
        past = float((BPS * (own + cross) * flow).sum())
    leftover = risk = 0.0
    if program is not None:
        left = lines.remaining - u.sum(axis=1)
        leftover = float((program.terminal + program.layout.curvature * left) @ left)
        leftover += _at_once(program, model, flow, u)
        leftover += float((program.felt_later * u).sum())
        risk = program.risk(u)
    return Expected(
        alpha_usd=float((lines.alpha * u).sum()),
        spread_usd=float(cost.linear.sum()),
        self_usd=float(cost.self_now.sum()),
        cross_usd=float(cost.cross_now.sum()),
        carried_usd=float((cost.self_carried + cost.cross_carried).sum()) + past,
        leftover_usd=leftover,
        risk_usd=risk,
    )
