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
from crossimpact.policy.scheduling.couplings import Couplings
from crossimpact.policy.scheduling.desk import Desk, Flags, Index
from crossimpact.policy.state import Expected
from crossimpact.scaled import BPS, Array


@dataclass(frozen=True, eq=False)
class Program:
    """A desk under a linear model of the names of its market, in the market's order."""

    desk: Desk
    model: ImpactModel
    couplings: Couplings

    # -- sizes and units -----------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, int]:
        """Lines and intervals."""
        return self.desk.shape

    @cached_property
    def unit(self) -> Array:
        """USD per scaled unit of each name (`ImpactModel.scaled`), shape (n,)."""
        return np.sqrt(self.model.adv / BPS)

    @cached_property
    def signed(self) -> Array:
        """Scaled units of its name per USD of a line, signed, shape (P,)."""
        lines = self.desk.lines
        return np.asarray(lines.sign / self.unit[lines.name])

    def by_name(self, per_line: Array) -> Array:
        """Sums over the lines of each name, shape (n, ...)."""
        result = np.zeros((self.model.n, *per_line.shape[1:]))
        if self.desk.lines.one_a_name:
            result[self.desk.lines.name] = per_line
        else:
            np.add.at(result, self.desk.lines.name, per_line)
        return result

    # -- kernels -------------------------------------------------------------------------------

    @cached_property
    def own_kernel(self) -> Array:
        """What a unit of own impact costs between two intervals of a path, symmetric, shape
        (H + 1, H + 1)."""
        return self._over_time(self._scales[0])

    @cached_property
    def cross_kernel(self) -> Array:
        """The same of the others' impact."""
        return self._over_time(self._scales[1])

    @cached_property
    def _scales(self) -> tuple[float, float]:
        kernel = self.model.kernel
        return (kernel.scale_self, kernel.scale_cross) if kernel else (0.0, 0.0)

    def _over_time(self, scale: float) -> Array:
        steps = np.arange(self.desk.state.horizon + 1)
        apart = np.abs(np.subtract.outer(steps, steps))
        result = scale / 2 * self._carried(apart - 1)
        np.fill_diagonal(result, 1.0)
        return result

    def _carried(self, buckets: Array | Index) -> Array:
        """``g`` after so many whole buckets between two; 0 without a kernel."""
        if self.model.kernel is None:
            return np.zeros(np.shape(buckets))
        return self.model.kernel.value(np.maximum(buckets, 0) * self.model.kernel.bucket_min)

    # -- paths: flows, and leftovers in the interval after their deadline -----------------------

    @cached_property
    def due(self) -> Flags:
        """Whose deadline lies within the horizon, shape (P,)."""
        return np.asarray(self.desk.lines.intervals <= self.desk.state.horizon)

    @cached_property
    def _after(self) -> tuple[Index, Index]:
        """The lines that are due, and their intervals after the deadline."""
        lines = np.flatnonzero(self.due)
        return lines, self.desk.lines.intervals[lines]

    def path(self, u: Array, remaining: Array) -> Array:
        """Flows by line and what they leave of it, shape (P, H + 1)."""
        result = np.zeros((len(u), u.shape[1] + 1))
        result[:, :-1] = u
        left = remaining - u.sum(axis=1)
        result[self._after] = left[self._after[0]]
        return result

    def pulled(self, slope: Array) -> Array:
        """What a slope along a path, shape (P, H + 1), is to the flows, shape (P, H)."""
        at = np.zeros(len(slope))
        at[self._after[0]] = slope[self._after]
        return np.asarray(slope[:, :-1] - at[:, None])

    def _path_slope(self, paths: Array) -> Array:
        """Gradient of the path cost without its linear part, by line, shape (P, H)."""
        x = self.by_name(self.signed[:, None] * paths)
        return self.pulled(2 * self.impact(x)[self.desk.lines.name] * self.signed[:, None])

    # -- what lies outside of the horizon ------------------------------------------------------

    @cached_property
    def _to_go(self) -> Array:
        """Intervals of a line after the horizon, shape (P,)."""
        lines = self.desk.lines
        return np.maximum(lines.intervals - self.desk.state.horizon, 0)

    @cached_property
    def _longest(self) -> int:
        return int(self._to_go.max(initial=0))

    @cached_property
    def _cumulated(self) -> Array:
        """``sum of g`` over the first k buckets, k = 0 .. H + the most to go."""
        g = self._carried(np.arange(self.desk.state.horizon + self._longest))
        return np.append(0.0, np.cumsum(g))

    @cached_property
    def _between(self) -> Array:
        """Carried among m even buckets, ``sum_{0 < l < m} (m - l) g(l - 1)``, m = 0, 1, ..."""
        return np.append(0.0, np.cumsum(self._cumulated[: self._longest + 1]))

    @cached_property
    def evenly(self) -> Array:
        """What own impact of a leftover costs against one bucket, spread evenly, shape (P,)."""
        m = np.maximum(self._to_go, 1)
        return np.asarray((m + self._scales[0] * self._between[m]) / m**2)

    @cached_property
    def _even_impact(self) -> tuple[Array, Array]:
        """Own and cross impact of every line trading evenly to its deadline, scaled, by line."""
        lines = self.desk.lines
        pace = lines.remaining / np.maximum(lines.intervals, 1) * (self._to_go > 0)
        rate = self.by_name(pace * self.signed)
        own, cross = self.couplings.own * rate, self.couplings.times(rate)
        return (own[lines.name] * self.signed, cross[lines.name] * self.signed)

    @cached_property
    def felt_later(self) -> Array:
        """What the flows after the horizon pay for one within it, USD per USD, shape (P, H)."""
        own, cross = self._even_impact
        pushed = self._scales[0] * own + self._scales[1] * cross
        return np.asarray(self._felt_later * pushed[:, None])

    @cached_property
    def _felt_later(self) -> Array:
        """Carried from each interval of the horizon to all later ones of a line, shape (P, H)."""
        H, m = self.desk.state.horizon, self._to_go[:, None].astype(np.intp)
        before = (H - 1 - np.arange(H))[None, :]
        return np.asarray(self._cumulated[before + m] - self._cumulated[before])

    @cached_property
    def past_bps(self) -> Array:
        """What earlier fills have left in the price at the start of each interval of a path, shape
        (n, H + 1)."""
        kernel = self.model.kernel
        H = self.desk.state.horizon + 1
        if kernel is None:
            return np.zeros((self.model.n, H))
        at, age, usd = self.desk.market.flow
        left = np.zeros((self.model.n, H))
        steps = kernel.bucket_min * np.arange(H)
        np.add.at(left, at, (usd / self.unit[at])[:, None] * kernel.value(age[:, None] + steps))
        own = kernel.scale_self * self.couplings.own[:, None] * left
        return np.asarray(
            (own + kernel.scale_cross * self.couplings.times(left)) / self.unit[:, None] / BPS
        )

    # -- linear part ---------------------------------------------------------------------------

    @cached_property
    def terminal(self) -> Array:
        """Price of a leftover beside its own impact, USD per USD, shape (P,)."""
        lines, state = self.desk.lines, self.desk.state
        due, m = self._to_go == 0, np.maximum(self._to_go, 1)
        cross = self._even_impact[1]
        together = 2 * cross * (1 + self._scales[1] * self._between[self._to_go] / m)
        carried = self.felt_later.sum(axis=1) / m
        late = np.where(due, BPS * state.leftover_bps, 0.0)
        return np.asarray(self._linear - lines.later + late + together + carried)

    @cached_property
    def _linear(self) -> Array:
        return np.asarray(BPS * self.model.alpha[self.desk.lines.name])

    @cached_property
    def slope(self) -> Array:
        """Of J's linear part in u, leftovers apart, USD per USD, shape (P, H)."""
        lines, market = self.desk.lines, self.desk.market
        given = BPS * self.past_bps[lines.name] * lines.sign[:, None]
        if market.working.any():
            first = np.zeros((self.model.n, lines.alpha.shape[1] + 1))
            first[:, 0] = market.working / self.unit
            given += 2 * self.impact(first)[lines.name] * self.signed[:, None]
        return np.asarray(
            self._linear[:, None] - lines.alpha + self.felt_later + self.pulled(given)
        )

    # -- quadratic part ------------------------------------------------------------------------

    def impact(self, scaled: Array) -> Array:
        """Half the gradient of a path's own and cross cost, scaled units, shape (n, H + 1)."""
        own = (self.couplings.own * scaled.T).T @ self.own_kernel
        return np.asarray(own + self.couplings.times(scaled) @ self.cross_kernel)

    @cached_property
    def curvature(self) -> Array:
        """Of each later leftover: J holds it times the leftover squared, shape (P,); 0 where it is
        part of the path."""
        own = self.couplings.own[self.desk.lines.name] * self.signed**2
        return np.asarray(np.where(self.due, 0.0, own * self.evenly))

    @cached_property
    def factors(self) -> tuple[Index, Array, Array]:
        """The covariance: positions of each line's sector, and the factor of its volatility per USD
        (signed) that market and sector share, and what is its name's alone; shapes (P,)."""
        lines, market, risk = self.desk.lines, self.desk.market, self.desk.state.risk
        sectors = market.by_sector[1][lines.name]
        volatility = lines.sign * market.volatility[lines.name]
        alone = max(0.0, 1 - risk.market - risk.sector)
        return sectors, volatility, alone * volatility

    def exposed(self, position: Array) -> Array:
        """``V R`` by line for positions >= 0 by line, shape (P, H)."""
        sectors, volatility, alone = self.factors
        risk, size = self.desk.state.risk, volatility[:, None] * position
        sums = np.zeros((int(sectors.max(initial=0)) + 1, size.shape[1]))
        np.add.at(sums, sectors, size)
        common = risk.market * size.sum(axis=0) + risk.sector * sums[sectors]
        own = self.by_name(size)[self.desk.lines.name]
        return np.asarray(volatility[:, None] * common + alone[:, None] * own)

    # -- J -------------------------------------------------------------------------------------

    @cached_property
    def at_rest(self) -> Array:
        """``dJ/du`` where nothing is traded, USD per USD, shape (P, H)."""
        remaining, aversion = self.desk.lines.remaining, self.desk.state.risk.aversion
        result = self.slope - (self.terminal + 2 * self.curvature * remaining)[:, None]
        result += self._path_slope(self.path(np.zeros(self.shape), remaining))
        if aversion:
            H = self.shape[1]
            result -= aversion * self.exposed(remaining[:, None]) * (H - np.arange(H))
        return np.asarray(result)

    def gradient(self, u: Array) -> Array:
        """``dJ/du``, USD per USD, shape (P, H)."""
        result = self.at_rest + self._path_slope(self.path(u, np.zeros(len(u))))
        result += (2 * self.curvature * u.sum(axis=1))[:, None]
        if self.desk.state.risk.aversion:
            held = np.cumsum(self.exposed(np.cumsum(u, axis=1))[:, ::-1], axis=1)[:, ::-1]
            result += self.desk.state.risk.aversion * held
        return np.asarray(result)

    def value(self, u: Array) -> float:
        """J less what no plan changes, USD."""
        lines, left = self.desk.lines, self.desk.lines.remaining - u.sum(axis=1)
        x = self.by_name(self.signed[:, None] * self.path(u, lines.remaining))
        result = (self.slope * u).sum() + (x * self.impact(x)).sum()
        result += self.terminal @ left + self.curvature @ left**2
        if self.desk.state.risk.aversion:
            position = lines.remaining[:, None] - np.cumsum(u, axis=1)
            variance = (position * self.exposed(position)).sum()
            result += self.desk.state.risk.aversion / 2 * variance
        return float(result)


def _at_once(program: Program, model: ImpactModel, flow: Array, u: Array) -> float:
    """What leftovers that trade at once add to a path's cost, the linear part apart, USD."""
    nothing = np.zeros_like(u)
    extra = program.path(nothing, program.desk.lines.remaining - u.sum(axis=1))
    extra = program.by_name(program.desk.lines.sign[:, None] * extra)
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
        leftover = float((program.terminal + program.curvature * left) @ left)
        leftover += _at_once(program, model, flow, u)
        leftover += float((program.felt_later * u).sum())
        position = lines.remaining[:, None] - np.cumsum(u, axis=1)
        risk = desk.state.risk.aversion / 2 * float((position * program.exposed(position)).sum())
    return Expected(
        alpha_usd=float((lines.alpha * u).sum()),
        spread_usd=float(cost.linear.sum()),
        self_usd=float(cost.self_now.sum()),
        cross_usd=float(cost.cross_now.sum()),
        carried_usd=float((cost.self_carried + cost.cross_carried).sum()) + past,
        leftover_usd=leftover,
        risk_usd=risk,
    )
