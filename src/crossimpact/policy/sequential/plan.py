"""A schedule as an exact measure: blocks and cells of constant rate, priced without a grid."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossimpact.errors import ProblemError
from crossimpact.model import Array
from crossimpact.policy.sequential.problem import Problem, at_arrival, struck
from crossimpact.policy.sequential.risk import exposure

Index = NDArray[np.intp]
#: A piece: its order, start, end (equal for a block) and signed volume, one number per asset.
Piece = tuple[int, float, float, ArrayLike]
#: Changes of the cost and of a block below which a schedule has settled.
COST, BLOCKS = 1e-6, 1e-3
#: Blocks below this share of the largest volume are judged against it.
FLOOR = 1e-6


@dataclass(frozen=True)
class Accuracy:
    """How much a schedule still changed when its mesh was last refined; NaN when it was not.

    Attributes
    ----------
    cost
        Change of the cost, a share of what impact and benchmark add up to.
    blocks
        Largest change of a block, a share of the block or, if that is more, of a millionth of the
        largest volume.
    """

    cost: float = float("nan")
    blocks: float = float("nan")

    @property
    def reached(self) -> bool:
        """Whether both have settled."""
        return self.cost <= COST and self.blocks <= BLOCKS


@dataclass(frozen=True, eq=False)
class Plan:
    """A schedule of a problem, and what it costs under every benchmark.

    Pieces are shared by the assets: piece i trades ``volumes[i]`` of order ``orders[i]`` evenly
    over ``(starts[i], ends[i])``, at once when these are equal.

    Attributes
    ----------
    problem
        What it schedules; `cost` prices by its benchmark.
    orders, starts, ends
        Shape (n,).
    volumes
        Signed, shape (n, M).
    residual
        The solver's optimality residual, in units of ``problem.scale``; NaN when nobody claims it.
    method
        Who answered: ``closed``, ``grid``, ``kernel_qp``, ``myopic``...
    accuracy
        Of the mesh, where there is one.
    moved
        Period each piece is traded in when that is not its order's own (`Problem.discretion`).
    """

    problem: Problem
    orders: Index
    starts: Array
    ends: Array
    volumes: Array
    residual: float = float("nan")
    method: str = ""
    accuracy: Accuracy = Accuracy()
    moved: Index | None = None

    @classmethod
    def of(
        cls,
        problem: Problem,
        pieces: Iterable[Piece],
        *,
        residual: float = float("nan"),
        method: str = "",
    ) -> Plan:
        """From pieces, in any order; pieces without volume are dropped."""
        kept = [piece for piece in pieces if np.any(piece[3])]
        volumes = np.zeros((len(kept), problem.assets))
        for row, piece in zip(volumes, kept, strict=True):
            row[:] = piece[3]
        orders = np.array([piece[0] for piece in kept], dtype=np.intp)
        starts, ends = (np.array([float(piece[k]) for piece in kept]) for k in (1, 2))  # type: ignore[arg-type]
        return cls(problem, orders, starts, ends, volumes, residual, method)

    @property
    def periods(self) -> Index:
        """Period each piece is traded in, shape (n,)."""
        return self.orders if self.moved is None else self.moved

    def __post_init__(self) -> None:
        times, periods = self.problem.times, self.periods
        outside = (self.starts < times[periods]) | (self.ends > times[periods + 1])
        if outside.any():
            i = int(np.argmax(outside))
            j = self.orders[i]
            raise ProblemError(
                f"order {j} trades over ({self.starts[i]:g}, {self.ends[i]:g}), outside its "
                f"horizon ({times[j]:g}, {times[j + 1]:g})"
            )

    # -- what it costs -------------------------------------------------------------------------

    @cached_property
    def _measured(self) -> tuple[Array, Array]:
        return measured((self,))

    @property
    def full(self) -> float:
        """Cost against the price at ``times[0]``: ``1/2 iint dX' K g dX``, without spread."""
        return float(self._measured[0][0])

    @property
    def benchmark_impact(self) -> Array:
        """``m_k``, k = 1 .. N-1: price move when ``times[k]`` is struck, shape (N-1, M).

        Orders before k in full, their blocks at ``times[k]`` included; nothing of order k.
        """
        return np.asarray(self._measured[1][0])

    @cached_property
    def spread_cost(self) -> float:
        """Spread paid on everything traded."""
        return float((np.abs(self.volumes) * self.problem.limits.spread).sum())

    @cached_property
    def risk_charge(self) -> float:
        """``aversion int R' Sigma R dt`` of what is struck and not yet traded."""
        risk = self.problem.risk
        if risk is None:
            return 0.0
        (at, _), parts = self.problem.strikes
        pieces = np.append(self.starts, at), np.append(self.ends, at)
        open_ = np.vstack((-self.volumes, parts))
        held = exposure(pieces, pieces, float(self.problem.times[-1])) @ open_
        return float(0.5 * (open_ * (held @ risk.curvature)).sum())

    def priced(self, benchmark: Array) -> float:
        """Cost when orders are held against the prices `benchmark` names, shape (N, N, M)."""
        gained = (struck(benchmark) * self.benchmark_impact).sum()
        return self.full + self.spread_cost - float(gained)

    @property
    def cost(self) -> float:
        """The stated objective's value, the charge for risk included."""
        return self.priced(self.problem.benchmark) + self.risk_charge

    @property
    def ttsc(self) -> float:
        """Total of the separate costs: every order against its own arrival price."""
        return self.priced(at_arrival(self.problem.volumes))

    @property
    def tthc(self) -> float:
        """Total of the hybrid costs: every part against the price when it became known."""
        return self.priced(self.problem.parts)

    # -- what it does --------------------------------------------------------------------------

    def blocks(self, order: int, asset: int = 0) -> list[tuple[float, float]]:
        """Blocks of an order, ``(time, volume)``, in time; an order may block at one time twice."""
        chosen = self._pieces(order, asset, self.starts == self.ends)
        return [(float(self.starts[i]), float(self.volumes[i, asset])) for i in chosen]

    def rates(self, order: int, asset: int = 0) -> list[tuple[float, float, float]]:
        """Continuous trading of an order, ``(from, to, rate)``; equal neighbours joined."""
        joined: list[tuple[float, float, float]] = []
        for i in self._pieces(order, asset, self.starts < self.ends):
            start, end = float(self.starts[i]), float(self.ends[i])
            rate = float(self.volumes[i, asset] / (end - start))
            if joined and joined[-1][1] == start and np.isclose(joined[-1][2], rate, 1e-9, 0):
                joined[-1] = (joined[-1][0], end, joined[-1][2])
            else:
                joined.append((start, end, rate))
        return joined

    def _pieces(self, order: int, asset: int, kind: NDArray[np.bool_]) -> Index:
        chosen = np.flatnonzero((self.orders == order) & kind & (self.volumes[:, asset] != 0))
        return chosen[np.argsort(self.starts[chosen], kind="stable")]

    def price_move(self, times: ArrayLike, *, before: bool = False) -> Array:
        """Price move at `times`, shape (len(times), M): blocks at these times included, or not.

        What the benchmarks see at an inner boundary lies between the two: `benchmark_impact`.
        """
        t = np.atleast_1d(np.asarray(times, dtype=np.float64))[:, None]
        cell = self.ends > self.starts
        width = np.where(cell, self.ends - self.starts, 1.0)
        seen = ((self.starts < t) if before else (self.starts <= t)) & ~cell
        total = np.zeros((len(t), self.problem.assets))
        for g, K in self.problem.kernel.components:
            blocks = seen * g.shape(np.maximum(t - self.starts, 0.0))
            since, until = (g.first(np.maximum(t - ends, 0.0)) for ends in (self.starts, self.ends))
            cells = np.where(cell, (since - until) / width, 0.0)
            total += (blocks + cells) @ self.volumes @ K.T
        return total

    @property
    def early(self) -> Array:
        """Volume of each order traded before its own period (`Problem.discretion`), (N, M)."""
        ahead = self.periods < self.orders
        volumes = np.zeros_like(self.problem.volumes)
        np.add.at(volumes, self.orders[ahead], self.volumes[ahead])
        return volumes

    def gradient(self, order: int, times: Array) -> Array:
        """Marginal cost of one more unit of `order` at `times`, spread aside, (len(times), M)."""
        later = self.problem.times[order + 1 : -1]
        return self.slopes((times, times), (later, later), self.problem.c[order:])

    def slopes(self, rows: tuple[Array, Array], strikes: tuple[Array, Array], c: Array) -> Array:
        """Marginal cost of one more unit in each row's piece, all of which lift what is struck."""
        problem, pieces = self.problem, (self.starts, self.ends)
        felt = problem.kernel.felt(rows, pieces, self.volumes)
        felt = felt - problem.kernel.felt(rows, strikes, c)
        if problem.risk is not None:
            end, (struck_at, parts) = float(problem.times[-1]), problem.strikes
            held = exposure(rows, pieces, end) @ self.volumes
            held -= exposure(rows, struck_at, end) @ parts
            felt = felt + held @ problem.risk.curvature
        return np.asarray(felt)


def measured(plans: tuple[Plan, ...]) -> tuple[Array, Array]:
    """`full`, shape (L,), and `benchmark_impact`, shape (L, N-1, M), of plans of one kernel.

    The one place where a schedule is priced: averages of the kernel over pairs of pieces.
    """
    problem = plans[0].problem
    starts = np.concatenate([plan.starts for plan in plans])
    ends = np.concatenate([plan.ends for plan in plans])
    place = np.arange(len(starts))
    if len(plans) > 1:
        pieces, place = np.unique(np.stack((starts, ends), axis=1), axis=0, return_inverse=True)
        starts, ends = pieces.T
    traded = np.zeros((len(plans), problem.orders, len(starts), problem.assets))
    scenario = np.repeat(np.arange(len(plans)), [len(plan.starts) for plan in plans])
    period = np.concatenate([plan.periods for plan in plans])
    np.add.at(traded, (scenario, period, place), np.concatenate([plan.volumes for plan in plans]))
    kernel, inner, total = problem.kernel, problem.times[1:-1], traded.sum(axis=1)
    moved = sum(C @ total @ K.T for C, K in kernel.terms((starts, ends), (starts, ends)))
    before = traded.cumsum(axis=1)[:, :-1]
    impact = sum(
        np.einsum("kn,lknm->lkm", C, before) @ K.T
        for C, K in kernel.terms((inner, inner), (starts, ends))
    )
    return 0.5 * (total * moved).sum(axis=(1, 2)), impact
