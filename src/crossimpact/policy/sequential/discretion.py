"""Discretion: a later order's inventory that may trade in earlier periods, and what that is worth.

Of every order a share d may trade before its own period, as soon as it is known (`Problem.parts`):
an open question of Bordigoni, Figalli, Ledford and Ustinov (2022). What it is held against does
not change, so the benchmark term stays linear and the problem convex. An order becomes two sets of
pieces with a volume each: 1 - d of it over its own period, and d of it over all periods since it
became known. Any schedule that moves no more than the share splits that way, and the reverse.

The value is the cost without discretion less the cost with it: >= 0, and it grows with the share.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crossimpact.model import Array
from crossimpact.policy.sequential.bounds import bounds, units
from crossimpact.policy.sequential.kernel_qp import (
    ENOUGH,
    Dense,
    Points,
    check_size,
    scales,
    smooth,
)
from crossimpact.policy.sequential.mesh import coarsest, settle
from crossimpact.policy.sequential.plan import Plan
from crossimpact.policy.sequential.problem import Problem
from crossimpact.policy.sequential.program import Index, Program
from crossimpact.policy.sequential.state_form import Grid


@dataclass(frozen=True, eq=False)
class Groups:
    """Sets of pieces that share a volume: an order's own, and what of it may move.

    Attributes
    ----------
    orders
        Of each group, (G,).
    since
        First period each may trade in; its order's own is the last. (G,)
    volumes
        (G, M).
    """

    orders: Index
    since: Index
    volumes: Array

    @classmethod
    def of(cls, problem: Problem) -> Groups:
        orders, since, volumes = [], [], []
        for j in range(problem.orders):
            moves = movable(problem, j)
            for k, volume in enumerate((*moves, problem.volumes[j] - moves.sum(axis=0))):
                if k == j or volume.any():
                    orders.append(j)
                    since.append(k)
                    volumes.append(volume)
        return cls(np.array(orders), np.array(since), np.array(volumes))

    @property
    def legs(self) -> tuple[Index, Index]:
        """Group and period of every leg, periods of a group one after the other, (L,) each."""
        spans = [np.arange(k, j + 1) for j, k in zip(self.orders, self.since, strict=True)]
        group = np.repeat(np.arange(len(spans)), [len(span) for span in spans])
        return group, np.concatenate(spans)


def movable(problem: Problem, order: int) -> Array:
    """Volume of the order that may trade from each earlier period on, (order, M).

    What is known by then on the order's own side, and never taken back later, times the share.
    """
    side = np.sign(problem.volumes[order])
    known = np.cumsum(problem.parts[order, : order + 1], axis=0) * side
    kept = np.maximum(np.minimum.accumulate(known[::-1], axis=0)[::-1], 0.0)
    share = float(np.asarray(problem.discretion)[order])
    return np.asarray(np.diff(kept[:-1], axis=0, prepend=0.0) * side * share)


def solve(problem: Problem, largest: int = ENOUGH // 2) -> Plan:
    """The optimal schedule of orders with discretion, refined until cost and blocks settle.

    Raises
    ------
    Inadmissible
        When pieces times assets exceed what a dense factor reaches.
    ScheduleError
        When the optimum could not be certified.
    """
    groups = Groups.of(problem)
    group, periods = groups.legs
    legs = problem.times, periods, np.full(len(periods), -1)
    result, grid, accuracy = settle(
        lambda grid: _pose(problem, grid, groups),
        coarsest(problem.kernel, legs, largest),
        largest,
        together=True,
        tidy=_pooled,
    )
    trades = result.x * units(problem)[0]
    orders = groups.orders[group][grid.legs]
    pieces = orders.astype(np.intp), grid.starts, grid.ends
    moved = grid.pieces[0]
    return Plan(problem, *pieces, trades, result.residual, "discretion", accuracy, moved)


def _pose(problem: Problem, grid: Grid, groups: Groups) -> tuple[Dense, Program]:
    """Smooth cost and bounds: all pieces meet, and lift what is struck after their period."""
    check_size(grid, problem)
    group, _ = groups.legs
    ones = np.ones(len(grid.starts))
    strikes, parts = problem.strikes
    inner = problem.times[1:-1]
    before = np.where(grid.pieces[0][:, None] < np.arange(1, problem.orders)[None, :], 1.0, 0.0)
    terms, flat = smooth(
        problem,
        grid,
        np.ones((len(ones), len(ones))),
        Points(inner, problem.c, before),
        Points(strikes[0], parts, np.ones((len(ones), len(parts)))),
    )
    first = grid.first[np.append(np.flatnonzero(np.diff(group, prepend=-1)), len(group))]
    pieces = groups.orders[group][grid.legs], grid.starts, grid.ends
    program = bounds(problem, pieces, group[grid.legs], groups.volumes, np.zeros(problem.orders))
    return Dense(first, terms, flat, ones), program.scaled(*scales(problem))


def _pooled(grid: Grid, x: Array) -> Array:
    """The same trades, every leg of a period taking its share of each of the period's trades.

    Who of those on one side trades what makes no difference to the cost, so this does.
    """
    pooled = np.zeros_like(x)
    for period in np.unique(grid.orders):
        legs = np.flatnonzero(grid.orders == period)
        rows = np.stack([np.arange(grid.first[leg], grid.first[leg + 1]) for leg in legs])
        trades = x[rows]  # (legs, pieces, assets)
        for side in (np.maximum(trades, 0.0), np.minimum(trades, 0.0)):
            totals, each = side.sum(axis=0), side.sum(axis=1)
            whole = each.sum(axis=0)
            share = np.divide(each, whole, out=np.zeros_like(each), where=whole != 0)
            pooled[rows] += share[:, None, :] * totals
    return pooled
