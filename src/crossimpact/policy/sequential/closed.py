"""Exact schedules under exponential decay: formulas, and one scalar root for two orders.

With Y the decayed signed volume, ``dY = -rho Y dt + dX`` (price move K Y), the full cost is

    full = 1/2 Y(T_N)' K Y(T_N) + rho int Y' K Y dt,

so where trading is active Y rests at one level y, at the rate ``rho y`` (Obizhaeva and Wang 2013).
Without sign constraints every order has one level, whatever K (`unconstrained`). With them a pair
of orders ends or begins with a pause, and everything hangs on ``m``, the impact left when the
second begins: the second order's least cost F2 is known in closed form, and ``F2'(m) - c`` meets
the first order's marginal saving ``R(m)`` in one root (`two_orders`). In units of one asset with
kappa = 1; z is rho times an order's duration, x rho times a pause.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import exp, log
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq

from crossimpact.errors import ProblemError
from crossimpact.model import Array
from crossimpact.policy.sequential.kernel import Exponential
from crossimpact.policy.sequential.plan import Accuracy, Piece, Plan
from crossimpact.policy.sequential.problem import Problem

#: A trade against its order's direction smaller than this share of its volume is rounding.
ROUNDING = 1e-13


class Stage(NamedTuple):
    """One order of one asset: a block, trading at a level for all but a pause, a block.

    The pause comes before the level in the second order and after it in the first.
    """

    start: float
    pause: float
    level: float
    end: float


def unconstrained(problem: Problem) -> Plan:
    """The best schedule when orders may trade both ways: N orders, M assets, any K.

    With ``c_k`` the volumes struck at T_k and ``z_j = rho (T_j - T_{j-1})``,

        y_1 = (sum V - sum_k c_k (1 + sum_{j>k} z_j / 2)) / (2 + sum z),   y_{j+1} = y_j + c_j / 2,
        m_k = sum_{j<=k} (V_j - z_j y_j);

    order j trades the blocks ``y_j - m_{j-1}`` and ``m_j - y_j`` and the rate ``rho y_j`` between.
    A single order's blocks are ``V / (2 + rho T)``.

    Raises
    ------
    ProblemError
        When the kernel is not exponential.
    """
    y, m = levels(problem)
    before = np.vstack((np.zeros(problem.assets), m[:-1]))
    rho = _rho(problem)
    stages = np.stack((y - before, rho * y * np.diff(problem.times)[:, None], m - y), axis=1)
    n, times = problem.orders, problem.times
    orders = np.repeat(np.arange(n), 3)
    starts = np.stack((times[:-1], times[:-1], times[1:]), axis=1).ravel()
    ends = np.stack((times[:-1], times[1:], times[1:]), axis=1).ravel()
    volumes = stages.reshape(3 * n, problem.assets)
    return Plan(problem, orders, starts, ends, volumes, 0.0, "closed", Accuracy(0.0, 0.0))


def levels(problem: Problem) -> tuple[Array, Array]:
    """Levels ``y_j`` and impacts ``m_j`` at the orders' ends (Y, not K Y), each (N, M)."""
    z = _rho(problem) * np.diff(problem.times)
    later = z.sum() - np.cumsum(z)[:-1]
    first = problem.volumes.sum(axis=0) - (1 + later / 2) @ problem.c
    steps = np.vstack((first / (2 + z.sum()), problem.c / 2))
    y = np.cumsum(steps, axis=0)
    return y, np.cumsum(problem.volumes - z[:, None] * y, axis=0)


def same_way(plan: Plan) -> bool:
    """Whether every piece trades in its order's direction, rounding aside."""
    volumes = plan.problem.volumes[plan.orders]
    return bool(
        (plan.volumes * np.sign(volumes) >= -ROUNDING * np.abs(volumes)).all()
    ) and not bool(
        (np.abs(plan.volumes) > ROUNDING * np.abs(volumes).max(initial=0.0))[volumes == 0].any()
    )


def two_orders(problem: Problem) -> Plan:
    """The best pair of monotone orders, asset by asset (diagonal K).

    Raises
    ------
    ProblemError
        When the kernel is not exponential with a diagonal K, or there are not two orders.
    """
    check_pair(problem)
    z1, z2 = _rho(problem) * np.diff(problem.times)
    pieces: list[Piece] = []
    missed = 0.0
    for asset, (first, second) in enumerate(problem.volumes.T.tolist()):
        sign = -1.0 if first < 0 else 1.0
        c = sign * float(problem.c[0, asset])

        def marginal(m: float, v: float = sign * second, c: float = c) -> float:
            return slope(m, v, z2) - c

        lead, m, miss = meet(marginal, abs(first), z1)
        pieces += first_pieces(problem, asset, sign, lead)
        pieces += second_pieces(problem, asset, sign, following(m, sign * second, z2))
        missed = max(missed, miss * float(problem.kernel.K[asset, asset]))
    off = missed / problem.scale
    return replace(
        Plan.of(problem, pieces, residual=off, method="closed"), accuracy=Accuracy(off, off)
    )


def check_pair(problem: Problem) -> None:
    """Two orders of assets that do not move each other, under exponential decay."""
    _rho(problem)
    if problem.orders != 2 or not problem.kernel.diagonal:
        raise ProblemError(
            f"no closed form for {problem.orders} monotone orders of {problem.assets} assets",
            "two orders and a diagonal K have one; use solve",
        )


# -- the second order: impact m >= 0 when it starts, volume v -----------------------------------


def following(m: float, v: float, z: float) -> Stage:
    """The second order's best schedule.

    ====================================  ==========================================================
    ``v >= m (1 + z)`` or ``v <= -m``     level y = (v + m) / (2 + z), blocks y - m and y
    ``m exp(-z) < v < m (1 + z)``         wait for ``m exp(-x) = y``, then level y and end block y
    ``0 < v <= m exp(-z)``                one block at the end
    ``-m < v < 0``                        one block at the start
    ====================================  ==========================================================
    """
    if v >= m * (1 + z) or v <= -m:
        y = (v + m) / (2 + z)
        return Stage(y - m, 0.0, y, y)
    if v <= 0:
        return Stage(v, z, 0.0, 0.0)
    if v <= m * exp(-z):
        return Stage(0.0, z, 0.0, v)
    x = _pause(v / m, z)
    y = m * exp(-x)
    return Stage(0.0, x, y, y)


def slope(m: float, v: float, z: float) -> float:
    """``dF2/dm``: what a unit of impact left to the second order costs it; continuous in m."""
    if v >= m * (1 + z) or v <= -m:
        return 2 * (v + m) / (2 + z)
    if v <= 0:
        return m + v
    if v <= m * exp(-z):
        left = exp(-z)
        return m + v * left
    return m * (1 + exp(-2 * _pause(v / m, z)))


def _pause(ratio: float, z: float) -> float:
    """x with ``exp(-x) (1 + z - x) = v / m``: Newton on ``u + log u``, concave, from the left."""
    target, u = log(ratio) + 1 + z, 1.0
    for _ in range(50):
        step = (target - u - log(u)) * u / (1 + u)
        u += step
        if abs(step) <= 4e-16 * u:
            break
    return min(max(1 + z - u, 0.0), z)


# -- the first order: volume V > 0, leaving impact m ---------------------------------------------


def meet(marginal: Callable[[float], float], V: float, z: float) -> tuple[Stage, float, float]:
    """The first order's best schedule, the impact m it leaves, and by how much the root is missed.

    `marginal` is ``F'(m)``, non-decreasing; the first order saves ``R(m) = 2y`` per unit of m while
    it ends in a block (``V = m + z y, m >= y``), and ``2 y cosh x`` once it pauses before the end
    (``V = y (1 + z - x), m = y exp(-x)``).
    """

    def block(y: float) -> float:
        return 2 * y - marginal(V - z * y)

    def paused(x: float) -> float:  # times exp(-x), which keeps a long pause from overflowing
        y = V / (1 + z - x)
        return exp(-x) * marginal(y * exp(-x)) - y * (1 + exp(-2 * x))

    if V == 0 or block(0.0) >= 0:
        return Stage(0.0, 0.0, 0.0, V), V, 0.0
    even = V / (1 + z)
    if block(even) >= 0:
        y = brentq(block, 0.0, even, xtol=1e-300, rtol=1e-15)
        m = V - z * y
        return Stage(y, 0.0, y, max(0.0, m - y)), m, abs(block(y))
    if paused(z) >= 0:
        return Stage(V, z, 0.0, 0.0), V * exp(-z), 0.0
    # at x = 0 it equals `block` above, but for rounding
    x = brentq(paused, 0.0, z, xtol=1e-16, rtol=1e-15) if paused(0.0) > 0 else 0.0
    y = V / (1 + z - x)
    return Stage(y, x, y, 0.0), y * exp(-x), abs(paused(x)) * exp(x)


def first_pieces(problem: Problem, asset: int, sign: float, stage: Stage) -> list[Piece]:
    """The first order of one asset."""
    (begin, end, _), rho = problem.times.tolist(), _rho(problem)
    until = max(begin, end - stage.pause / rho)
    volumes = (stage.start, rho * stage.level * (until - begin), stage.end)
    spans = ((begin, begin), (begin, until), (end, end))
    return _pieces(0, spans, volumes, sign * np.eye(problem.assets)[asset])


def second_pieces(problem: Problem, asset: int, sign: float, stage: Stage) -> list[Piece]:
    """The second order of one asset."""
    (_, begin, end), rho = problem.times.tolist(), _rho(problem)
    since = min(end, begin + stage.pause / rho)
    volumes = (stage.start, rho * stage.level * (end - since), stage.end)
    spans = ((begin, begin), (since, end), (end, end))
    return _pieces(1, spans, volumes, sign * np.eye(problem.assets)[asset])


def _pieces(
    order: int, spans: tuple[tuple[float, float], ...], volumes: tuple[float, ...], unit: Array
) -> list[Piece]:
    parts = zip(spans, volumes, strict=True)
    return [(order, start, end, v * unit) for (start, end), v in parts if v]


def _rho(problem: Problem) -> float:
    if not isinstance(problem.kernel, Exponential):
        raise ProblemError(f"a closed form needs an exponential kernel, not {problem.kernel!r}")
    return problem.kernel.rho
