"""Orders made to trade through the whole of their horizon, at one rate between two blocks.

Left to itself an order may pause before its end, or wait at its start, where the neighbouring order
makes that cheaper. Forced to its full span it trades a block, one constant rate from its first
moment to its last, and a block. The sequence's outer blocks, where no neighbour is near, are at
most rate / rho: that block and that rate hold impact at one level (Obizhaeva and Wang's profile),
and without the bound the rate could be nothing. So a schedule that spans its horizons anyway is
not changed, a single order keeps its profile, and reversing time still reverses a `tthc` schedule.
A rate of nothing remains possible where a neighbour draws the whole order into the block beside it.

What is left to choose is two blocks per order: a small convex program under linear bounds, turned
into a least distance problem and solved to rounding by non-negative least squares (Lawson and
Hanson 1974).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.optimize import nnls

from crossimpact.errors import ProblemError
from crossimpact.model import Array
from crossimpact.policy.sequential.kernel import Exponential
from crossimpact.policy.sequential.plan import Plan
from crossimpact.policy.sequential.problem import Problem

#: Added to K, as a share of its largest entry, where it is singular.
RIDGE = 1e-12
#: A least distance problem whose residual is smaller has no solution.
INFEASIBLE = 1e-9


def solve(problem: Problem) -> Plan:
    """The best schedule in which every order trades at one rate over the whole of its horizon.

    Raises
    ------
    ProblemError
        When the kernel is not exponential, or no such schedule keeps the caps.
    """
    if not isinstance(problem.kernel, Exponential):
        raise ProblemError(
            f"full_span is the profile of an exponential kernel, not of a "
            f"{type(problem.kernel).__name__}",
            "drop full_span",
        )
    n, m = problem.volumes.shape
    volume = float(np.abs(problem.volumes).max()) or 1.0
    starts, ends, orders = _pieces(problem)
    maps, offset = _volumes(problem.volumes / volume)
    hessian, linear = _objective(problem, starts, ends, maps, offset, volume)
    rows, bounds = _constraints(problem, maps, offset, volume)
    blocks, residual = least(hessian, linear, rows, bounds)
    if blocks is None:
        raise ProblemError(
            f"no schedule lets all {n} orders trade through their whole horizons under these caps",
            "drop full_span, or raise a cap",
        )
    volumes = maps @ blocks.reshape(2 * n, m) + offset
    volumes[np.abs(volumes) < RIDGE] = 0.0
    return Plan(problem, orders, starts, ends, volume * volumes, residual, "span")


def least(hessian: Array, linear: Array, rows: Array, bounds: Array) -> tuple[Array | None, float]:
    """Minimise ``1/2 x' H x + f' x`` where ``rows x >= bounds``: x and its KKT residual.

    With ``H = L L'`` and ``u = L' x + L^-1 f`` it is the point of least norm in ``G u >= h``; None
    when there is none.
    """
    if not len(rows):
        x = np.asarray(-np.linalg.solve(hessian, linear))
        return x, float(np.abs(hessian @ x + linear).max())
    root = np.linalg.cholesky(hessian)
    shift = solve_triangular(root, linear, lower=True)
    G = solve_triangular(root, rows.T, lower=True).T
    h = bounds + G @ shift
    size = np.maximum(np.linalg.norm(G, axis=1), 1e-300)
    system = np.vstack(((G / size[:, None]).T, h / size))
    target = np.zeros(len(system))
    target[-1] = 1.0
    multipliers, distance = nnls(system, target, maxiter=30 * len(rows))
    if distance < INFEASIBLE:
        return None, float("inf")
    left = system @ multipliers - target
    x = solve_triangular(root.T, -left[:-1] / left[-1] - shift)
    pressed = multipliers / size / -left[-1]
    slack = rows @ x - bounds
    gap = np.abs(hessian @ x + linear - rows.T @ pressed).max()
    return x, float(max(gap, -slack.min(initial=0.0), np.abs(slack * pressed).max(initial=0.0)))


def _pieces(problem: Problem) -> tuple[Array, Array, NDArray[np.intp]]:
    """Starts, ends and orders of a block, a cell and a block per order."""
    begin, end = problem.times[:-1], problem.times[1:]
    starts, ends = (
        np.stack(parts, axis=1).ravel() for parts in ((begin, begin, end), (begin, end, end))
    )
    return starts, ends, np.repeat(np.arange(problem.orders), 3)


def _volumes(volumes: Array) -> tuple[Array, Array]:
    """Volumes of the pieces as ``maps @ blocks + offset``: the cell trades what blocks leave."""
    n, m = volumes.shape
    maps, offset = np.zeros((n, 3, n, 2)), np.zeros((n, 3, m))
    each = np.arange(n)
    maps[each, 0, each, 0] = maps[each, 2, each, 1] = 1.0
    maps[each, 1, each, :] = -1.0
    offset[:, 1] = volumes
    return maps.reshape(3 * n, 2 * n), offset.reshape(3 * n, m)


def _objective(
    problem: Problem, starts: Array, ends: Array, maps: Array, offset: Array, volume: float
) -> tuple[Array, Array]:
    """Quadratic and linear part of the cost in the blocks, in units of volume and K."""
    kernel, inner = problem.kernel, problem.times[1:-1]
    K = kernel.K / np.abs(kernel.K).max() + RIDGE * np.eye(problem.assets)
    shared = kernel.coupling((starts, ends), (starts, ends))
    reach = kernel.coupling((inner, inner), (starts, ends))
    order = np.arange(len(starts)) // 3
    reach = reach * (order < np.arange(1, problem.orders)[:, None])
    pull = shared @ offset - reach.T @ problem.c / volume
    return np.kron(maps.T @ shared @ maps, K), (maps.T @ pull @ K).ravel()


def _constraints(
    problem: Problem, maps: Array, offset: Array, volume: float
) -> tuple[Array, Array]:
    """Rows and lower bounds on the blocks: signs of monotone orders, caps, and the full span."""
    n, m = problem.volumes.shape
    rows: list[Array] = []
    bounds: list[float] = []

    def at_least(piece: Array, asset: int, constant: float, low: float) -> None:
        row = np.zeros((2 * n, m))
        row[:, asset] = piece
        rows.append(row.ravel())
        bounds.append(low - constant)

    durations = np.diff(problem.times)
    for asset in range(m):
        for i in range(3 * n):
            order, kind = divmod(i, 3)
            side = float(np.sign(problem.volumes[order, asset]))
            cap = _cap(problem, order, kind, asset, float(durations[order])) / volume
            low = 0.0 if problem.monotone else -cap
            for sign in (side, -side) if side else (1.0, -1.0):
                edge = low if sign == side else -cap if side else 0.0
                if np.isfinite(edge):
                    at_least(sign * maps[i], asset, sign * offset[i, asset], edge)
        for block, cell in ((0, 1), (3 * n - 1, 3 * n - 2)) if problem.monotone else ():
            side = float(np.sign(problem.volumes[block // 3, asset]))
            hold = side / (problem.kernel.rho * durations[block // 3])  # type: ignore[attr-defined]
            excess = hold * maps[cell] - side * maps[block]
            at_least(excess, asset, hold * offset[cell, asset], 0.0)
    return np.array(rows).reshape(len(rows), 2 * n * m), np.array(bounds)


def _cap(problem: Problem, order: int, kind: int, asset: int, duration: float) -> float:
    """Largest volume of a piece: of a block (kind 0 and 2) or a cell (1)."""
    limits = problem.limits
    if kind == 1:
        rate = np.inf if limits.max_rate is None else np.asarray(limits.max_rate)[order, asset]
        return float(rate * duration)
    if limits.no_blocks:
        return 0.0
    return float(np.inf if limits.block_cap is None else np.asarray(limits.block_cap)[asset])
