"""What monotone orders and a desk's limits leave to every piece of a schedule."""

from __future__ import annotations

import numpy as np

from crossimpact.errors import Inadmissible
from crossimpact.model import Array
from crossimpact.policy.sequential.plan import Index
from crossimpact.policy.sequential.problem import Problem
from crossimpact.policy.sequential.program import Program


def bounds(
    problem: Problem,
    pieces: tuple[Index, Array, Array],
    legs: Index,
    volumes: Array,
    floors: Array,
) -> Program:
    """Bounds and spread per piece.

    Parameters
    ----------
    problem
        For its limits.
    pieces
        Orders, starts and ends (equal for a block), each of shape (S,).
    legs
        Row of `volumes` each piece belongs to, shape (S,).
    volumes
        Signed, shape (L, M).
    floors
        Least rate per unit of volume of each order, for `Limits.full_span`, shape (N,).

    Raises
    ------
    ProblemError
        When the least rate is above the cap on rates.
    """
    limits, (orders, starts, ends) = problem.limits, pieces
    block, width = (starts == ends)[:, None], (ends - starts)[:, None]
    most = np.where(block, np.inf if limits.block_cap is None else limits.block_cap, np.inf)
    if limits.no_blocks:
        most = np.where(block, 0.0, most)
    most = np.broadcast_to(most, (len(orders), problem.assets))
    if limits.max_rate is not None:
        most = np.where(block, most, np.asarray(limits.max_rate)[orders] * width)
    side = np.sign(volumes)[legs]
    least = (floors[orders][:, None] * width if limits.full_span else 0.0) * np.abs(volumes)[legs]
    _check(least, most, orders, width)
    below = least if problem.monotone else np.where(least > 0, least, -most)
    most = np.where(side == 0, 0.0, most) if problem.monotone else most
    spread = np.zeros_like(least) if problem.monotone else np.asarray(limits.spread) + 0 * least
    buys = side >= 0
    lower, upper = np.where(buys, below, -most), np.where(buys, most, -below)
    room = np.zeros_like(volumes, dtype=np.float64)
    np.add.at(room, legs, most)
    full = room <= np.abs(volumes) * (1 + 1e-9)  # caps that leave one schedule only
    share = np.where(full, np.abs(volumes) / np.where(room > 0, room, 1.0), 0.0)
    only = side * np.where(full[legs], most, 0.0) * share[legs]
    lower, upper = np.where(full[legs], only, lower), np.where(full[legs], only, upper)
    return Program(lower, upper, spread, volumes)


def _check(least: Array, most: Array, orders: Index, width: Array) -> None:
    over = least > most * (1 + 1e-9)
    if over.any():
        s, i = np.argwhere(over)[0]
        raise Inadmissible(
            f"order {orders[s]} of asset {i} must trade at a rate of {least[s, i] / width[s, 0]:g} "
            f"or more to span its horizon, the cap is {most[s, i] / width[s, 0]:g}",
            "raise the cap, lengthen the horizon or drop full_span",
        )


def units(problem: Problem) -> tuple[float, float]:
    """Largest volume and largest entry of K: what programs are scaled by."""
    return float(np.abs(problem.volumes).max()) or 1.0, float(np.abs(problem.kernel.K).max()) or 1.0
