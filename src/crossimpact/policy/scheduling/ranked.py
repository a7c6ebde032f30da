"""The policy without a solver: names in order of their efficiency, each until a cap binds.

A line whose opportunity exceeds its marginal cost trades what the caps leave; any other its even
share, so that it is done by its deadline. Whoever comes first uses up the caps it shares with
others. Later intervals keep the order.
"""

from __future__ import annotations

import numpy as np

from crossimpact.policy.scheduling.caps import Caps, Row
from crossimpact.policy.scheduling.desk import Desk, Index
from crossimpact.scaled import Array


def ranked(desk: Desk, caps: Caps, order: Index, efficiency: Array) -> Array:
    """Flows, USD >= 0 by line and interval, shape (P, H), within every cap."""
    lines, H = desk.lines, desk.state.horizon
    u = np.zeros((len(lines), H))
    left = lines.remaining.copy()
    shared = _shared(caps, len(lines), H)
    for h in range(H):
        even = left / np.maximum(lines.intervals - h, 1)
        asked = np.where(efficiency >= 1, left, even)
        asked = np.minimum(asked, caps.most[:, h])
        _fill(u, h, asked, order, shared[h])
        left -= u[:, h]
    return caps.kept(u)


def _shared(caps: Caps, lines: int, H: int) -> list[list[Row]]:
    """Rows over several lines, by interval."""
    result: list[list[Row]] = [[] for _ in range(H)]
    for row in caps.rows:
        if row.interval >= 0 and lines:
            result[row.interval].append(row)
    return result


def _fill(u: Array, h: int, asked: Array, order: Index, rows: list[Row]) -> None:
    """Give each line in order what it asks for, or what the rows leave, in place.

    A row's room is used up in order, so within one row a running sum says who gets what. Rows over
    buys and sells let each side in order; what nets out is not counted on.
    """
    given = asked[order]
    for row in rows:
        weight = np.zeros(len(asked))
        weight[row.lines] = row.weight
        for sign, limit in ((1.0, row.high), (-1.0, -row.low)):
            if np.isfinite(limit):
                given = _within(given, np.maximum(sign * weight[order], 0.0), max(limit, 0.0))
    u[order, h] = given


def _within(given: Array, weight: Array, room: float) -> Array:
    """Cut what, in order, exceeds the room: all of it after the one that is cut."""
    used = weight * given
    before = np.cumsum(used) - used
    fits = np.clip(room - before, 0.0, used)
    return np.where(weight > 0, np.divide(fits, weight, out=given.copy(), where=weight > 0), given)
