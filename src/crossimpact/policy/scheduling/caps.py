"""The caps of a plan, as bounds and rows over the flows u >= 0, USD by line and interval.

- a line trades what remains of it at most, nothing after its deadline, and in its own direction;
- a name takes part in its market's volume by `pov` at most, what is at the market included;
- the net flow of a sector, and the sum of flow times volatility, stay below their caps, what is at
  the market included.

What is at the market may break a cap by itself. Such a cap is relaxed to what is there, so that no
trading is always allowed: first participation, then sectors, then risk.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from scipy import sparse

from crossimpact.errors import ProblemError
from crossimpact.policy.scheduling.desk import Desk, Flags, Index
from crossimpact.policy.scheduling.restraint import HELD, Restraint, pace
from crossimpact.scaled import Array

Kind = Literal["pov", "sector_net", "risk", "remaining"]


@dataclass(frozen=True)
class Row:
    """A cap over several flows: ``low <= sum of weight * u[line, interval] <= high``, USD.

    `interval` -1 stands for all of the horizon.
    """

    cap: Kind
    of: str
    interval: int
    lines: Index
    weight: Array
    low: float
    high: float

    def sum(self, u: Array) -> float:
        columns = u[self.lines]
        flow = columns.sum(axis=1) if self.interval < 0 else columns[:, self.interval]
        return float(self.weight @ flow)


@dataclass(frozen=True, eq=False)
class Caps:
    """Bounds ``0 <= u <= most``, shape (P, H), and rows; `room` of each name's participation, shape
    (n, H), and what was relaxed."""

    most: Array
    rows: tuple[Row, ...]
    room: Array
    relaxed: tuple[str, ...]

    @cached_property
    def entries(self) -> tuple[Index, Index, Array]:
        """The rows' weights over the flattened flows: row, column and weight of each."""
        H, none = self.most.shape[1], np.zeros(0, dtype=np.intp)
        if not self.rows:
            return none, none, np.zeros(0)
        every = np.arange(H)
        columns, weights = [], []
        for row in self.rows:
            if row.interval < 0:
                columns.append((row.lines[:, None] * H + every).ravel())
                weights.append(np.repeat(row.weight, H))
            else:
                columns.append(row.lines * H + row.interval)
                weights.append(row.weight)
        at = np.repeat(np.arange(len(self.rows)), [len(part) for part in columns])
        return at, np.concatenate(columns), np.concatenate(weights)

    @cached_property
    def matrix(self) -> sparse.csr_matrix:
        """The rows' weights as a matrix, shape (rows, P * H)."""
        row, column, weight = self.entries
        return sparse.csr_matrix((weight, (row, column)), shape=(len(self.rows), self.most.size))

    def totals(self, u: Array) -> Array:
        """What each row's flows add up to, shape (rows,)."""
        row, column, weight = self.entries
        return np.asarray(
            np.bincount(row, weight * u.ravel()[column], minlength=len(self.rows)), np.float64
        )

    def priced(self, y: Array) -> Array:
        """What a dollar of each flow pays at prices y of the rows, shape (P, H)."""
        row, column, weight = self.entries
        paid = np.bincount(column, weight * y[row], minlength=self.most.size)
        return np.asarray(paid, np.float64).reshape(self.most.shape)

    @cached_property
    def sizes(self) -> Array:
        """Largest weight of each row, shape (rows,)."""
        row, _, weight = self.entries
        result = np.zeros(len(self.rows))
        np.maximum.at(result, row, np.abs(weight))
        return np.where(result > 0, result, 1.0)

    @cached_property
    def limits(self) -> tuple[Array, Array]:
        """The rows' limits, low and high, shape (rows,) each."""
        low, high = (np.array([getattr(row, end) for row in self.rows]) for end in ("low", "high"))
        return low, high

    @cached_property
    def can_bind(self) -> Flags:
        """Which rows the bounds alone do not keep, shape (rows,): no other can have a price."""
        row, column, weight = self.entries
        most, (low, high) = weight * self.most.ravel()[column], self.limits
        up, down = (
            np.bincount(row, np.maximum(sign * most, 0.0), minlength=len(self.rows))
            for sign in (1.0, -1.0)
        )
        return np.asarray((up > high) | (-down < low))

    def beyond(self, u: Array) -> Array:
        """How far each row is beyond its limits, 0 within, shape (rows,)."""
        (low, high), total = self.limits, self.totals(u)
        return np.asarray(np.maximum(np.maximum(low - total, total - high), 0.0))

    def kept(self, u: Array) -> Array:
        """The nearest smaller flows that keep every cap to rounding: none grows, none turns."""
        u = np.clip(u, 0.0, self.most)
        if self.rows:
            for k in np.flatnonzero(self.beyond(u)):
                _shrink(self.rows[k], u)
        return u

    def excess(self, u: Array) -> float:
        """Largest breach of a cap as a share of the largest flow allowed; 0 without one."""
        scale = float(self.most.max(initial=0.0)) or 1.0
        worst = max(float((-u).max(initial=0.0)), float((u - self.most).max(initial=0.0)), 0.0)
        if self.rows:
            worst = max(worst, float((self.beyond(u) / self.sizes).max()))
        return worst / scale


def of(desk: Desk, pov: float, restraint: Restraint | None = None) -> Caps:
    """The caps of a desk's lines at this participation, 0 to 1; lines that rest get no room, and
    paced ones that of about an even pace.

    Raises
    ------
    ProblemError
        When a cap is of a sector nobody has, negative, or no number.
    """
    lines, state = desk.lines, desk.state
    relaxed: list[str] = []
    room = _room(desk, pov, relaxed)
    open_ = np.arange(state.horizon) < lines.intervals[:, None]
    most = np.minimum(room[lines.name], lines.remaining[:, None])
    if restraint is not None:
        open_ = open_ & ~restraint.rests[:, None]
        held = np.minimum(most, HELD * pace(desk)[:, None])
        most = np.where(restraint.paced[:, None], held, most)
    most = np.where(open_, most, 0.0)
    rows = [*_shared(desk, room), *_sectors(desk, relaxed), *_risk(desk, relaxed)]
    if state.horizon > 1:
        rows += [
            Row("remaining", parent.id, -1, np.array([p]), np.ones(1), -np.inf, size)
            for p, (parent, size) in enumerate(zip(lines.parents, lines.remaining, strict=True))
        ]
    return Caps(most, tuple(rows), room, tuple(relaxed))


def _room(desk: Desk, pov: float, relaxed: list[str]) -> Array:
    """USD per name and interval: what a guardrail leaves of a participation, and never less than an
    even pace where that keeps the whole of it."""
    market = desk.market
    if not 0 < pov <= 1:
        raise ProblemError(f"caps.pov is {pov:g}, must be > 0 and at most 1")
    share = pov * desk.state.allowed.pov_share
    room = share * market.volume
    beyond = np.abs(market.working) > room[:, 0] * (1 + 1e-9)
    for i in np.flatnonzero(beyond & (market.volume[:, 0] > 0)):
        relaxed.append(
            f"pov of {market.symbols[i]}: {abs(market.working[i]):,.0f} USD at the market, the cap "
            f"is {room[i, 0]:,.0f}"
        )
    whole = pov * market.volume
    for each in (room, whole):
        each[:, 0] = np.maximum(each[:, 0] - np.abs(market.working), 0.0)
    even = np.bincount(desk.lines.name, pace(desk), minlength=len(room))[:, None]
    return np.asarray(np.maximum(room, np.minimum(even, whole)))


def _shared(desk: Desk, room: Array) -> Iterator[Row]:
    """Participation of the names with several lines; of the others it is their bound."""
    lines = desk.lines
    count = np.bincount(lines.name, minlength=len(room))
    for i in np.flatnonzero(count > 1):
        members = np.flatnonzero(lines.name == i)
        for h in range(desk.state.horizon):
            limit = float(room[i, h])
            ones = np.ones(len(members))
            yield Row("pov", desk.market.symbols[i], h, members, ones, -np.inf, limit)


def _sectors(desk: Desk, relaxed: list[str]) -> Iterator[Row]:
    lines, market, state = desk.lines, desk.market, desk.state
    given = state.caps.sector_net_usd
    if given is None:
        return
    labels, code = market.by_sector
    unknown = set(given) - set(labels) if isinstance(given, dict) else set()
    if unknown:
        raise ProblemError(
            f"caps.sector_net_usd names {', '.join(sorted(unknown))}",
            f"sectors are {', '.join(labels)}",
        )
    of_line = code[lines.name]
    there_now = np.bincount(code, market.working, minlength=len(labels))
    for k, sector in enumerate(labels):
        limit = given.get(sector, np.inf) if isinstance(given, dict) else given
        _check(f"caps.sector_net_usd of {sector}", limit)
        members = np.flatnonzero(of_line == k)
        there = float(there_now[k])
        if abs(there) > limit:
            relaxed.append(
                f"sector_net of {sector}: {there:,.0f} USD net at the market, the cap is "
                f"{limit:,.0f}"
            )
        if not (np.isfinite(limit) and len(members)):
            continue
        for h in range(state.horizon):
            used = there if h == 0 else 0.0
            low, high = min(-limit - used, 0.0), max(limit - used, 0.0)
            yield Row("sector_net", sector, h, members, lines.sign[members], low, high)


def _risk(desk: Desk, relaxed: list[str]) -> Iterator[Row]:
    lines, market, limit = desk.lines, desk.market, desk.state.caps.risk_usd
    if limit is None:
        return
    _check("caps.risk_usd", limit)
    there = float(np.abs(market.working) @ market.volatility)
    if there > limit:
        relaxed.append(f"risk: {there:,.0f} USD at the market, the cap is {limit:,.0f}")
    everyone = np.arange(len(lines))
    for h in range(desk.state.horizon if len(lines) else 0):
        room = max(limit - (there if h == 0 else 0.0), 0.0)
        yield Row("risk", "desk", h, everyone, market.volatility[lines.name], -np.inf, room)


def _check(name: str, limit: float) -> None:
    if not limit >= 0:
        raise ProblemError(f"{name} is {limit:g}, must be >= 0")


def _shrink(row: Row, u: Array) -> None:
    """Take what is beyond a row's limits off the flows that push it there, in place."""
    for sign, limit in ((1.0, row.high), (-1.0, -row.low)):
        beyond = sign * row.sum(u) - limit
        if not beyond > 0:
            continue
        pushing = row.lines[sign * row.weight > 0]
        weight = np.abs(row.weight[sign * row.weight > 0])
        flow = u[pushing] if row.interval < 0 else u[pushing, row.interval : row.interval + 1]
        keep = 1 - beyond / float(weight @ flow.sum(axis=1))
        flow = flow * max(0.0, keep * (1 - 1e-15))
        if row.interval < 0:
            u[pushing] = flow
        else:
            u[pushing, row.interval : row.interval + 1] = flow
