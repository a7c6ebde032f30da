"""A primal-dual interior point method for programs of trades (Mehrotra 1992).

A trade is ``base + buy - sell`` with parts >= 0 and, maybe, a cap: one part from a finite bound,
both around the spread's kink, none where nothing binds. A part p with multipliers z of ``p >= 0``
and t of ``room = cap - p >= 0`` adds ``z/p + t/room`` to its diagonal of the Hessian; the two parts
of a trade condense into one weight, so a Newton step has the trades' own size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from crossimpact.model import Array
from crossimpact.policy.sequential.program import (
    Mask,
    Optimum,
    Program,
    Step,
    System,
    residual,
    spread_over,
    sums,
)

_SIGN = np.array([1.0, -1.0])[:, None, None]
_ROUNDS = 100
_MISSING = 1e-9  # volume that may still be missing at the end


@dataclass(frozen=True)
class Parts:
    """What a program's trades consist of; arrays of parts are (2, S, M): buy, sell."""

    base: Array
    present: Mask
    cap: Array
    cost: Array
    loose: Mask

    @classmethod
    def of(cls, program: Program) -> Parts:
        """The parts, their caps (infinite: none) and the slope of the spread along them."""
        lower, upper = program.lower, program.upper
        moves = upper > lower
        kink = moves & (program.spread > 0) & (lower < 0) & (upper > 0)
        from_lower = moves & ~kink & np.isfinite(lower)
        from_upper = moves & ~kink & ~from_lower & np.isfinite(upper)
        base = np.where(from_upper, upper, np.where(kink | ~np.isfinite(lower), 0.0, lower))
        cap = np.stack((upper - base, np.where(kink, -lower, np.inf)))
        side = np.where(lower >= 0, 1.0, np.where(upper <= 0, -1.0, 0.0))
        slope = program.spread * np.where(kink, 1.0, side)
        cost = np.stack((slope, np.where(kink, slope, -slope)))
        present = np.stack((kink | from_lower, kink | from_upper))
        return cls(base, present, cap, cost, moves & ~present.any(axis=0))

    @property
    def capped(self) -> Mask:
        return self.present & np.isfinite(self.cap)

    @property
    def count(self) -> int:
        """Complementarity conditions."""
        return max(int(self.present.sum() + self.capped.sum()), 1)


class Point(NamedTuple):
    """An iterate, or the change of one. Parts that are absent stand at p = room = 1, z = t = 0."""

    x: Array
    mu: Array
    p: Array
    room: Array
    z: Array
    t: Array

    @property
    def complementarity(self) -> float:
        return float((self.z * self.p).sum() + (self.t * self.room).sum())

    def ahead(self, change: Point, size: float) -> Point:
        return Point(*(a + size * b for a, b in zip(self, change, strict=True)))

    def reach(self, change: Point) -> float:
        """Largest step <= 1 that keeps parts, rooms and their multipliers non-negative."""
        pairs = zip(self[2:], change[2:], strict=True)
        return 1 / max(1.0, *(float(np.max(-b / np.maximum(a, 1e-300))) for a, b in pairs))


def interior_point(system: System, program: Program, target: float) -> Optimum:
    """Iterate until the mean complementarity is below `target` and the volumes are met."""
    parts, first = Parts.of(program), system.first
    free = parts.present.any(axis=0) | parts.loose
    now, work = _start(parts, system, program), 0
    for _ in range(_ROUNDS):
        gap = now.complementarity / parts.count
        missing = program.volumes - sums(first, now.x)
        if gap < target and np.abs(missing).max() < max(target, _MISSING):
            break
        work += 1
        inverse = now.z / now.p + now.t / now.room
        soft = np.where(parts.present, 1 / np.where(parts.present, inverse, 1.0), 0.0)
        bound = free & ~parts.loose
        weights = np.where(bound, 1 / np.where(bound, soft.sum(axis=0), 1.0), 0.0)
        newton = system.newton(free, weights)
        fixed = (parts, now, soft, weights, newton, system.gradient(now.x), missing)
        guess = _change(*fixed, np.zeros_like(now.p), np.zeros_like(now.p))
        left = now.ahead(guess, now.reach(guess)).complementarity / parts.count
        aim = gap * (left / max(gap, 1e-300)) ** 3
        change = _change(*fixed, aim - guess.p * guess.z, aim - guess.room * guess.t)
        now = now.ahead(change, min(1.0, (0.999 - min(0.05, 5 * gap)) * now.reach(change)))
    x = np.clip(now.x, program.lower, program.upper)
    return Optimum(x, now.mu, residual(program, first, x, system.gradient(x), now.mu), work)


def _start(parts: Parts, system: System, program: Program) -> Point:
    """Every leg's volume spread evenly over its trades, multipliers of the gradient's size."""
    first, present = system.first, parts.present
    share = np.abs(program.volumes) + np.abs(program.volumes).mean()
    even = spread_over(first, share / np.diff(first)[:, None])
    p = np.where(present, np.minimum(even, parts.cap / 2), 1.0)
    x = parts.base + (_SIGN * np.where(present, p, 0.0)).sum(axis=0)
    size = np.abs(system.gradient(x)).mean() + program.spread.mean() + 0.1
    return Point(
        x,
        np.zeros_like(program.volumes),
        p,
        np.where(parts.capped, parts.cap - p, 1.0),
        np.where(present, size, 0.0),
        np.where(parts.capped, size, 0.0),
    )


def _change(
    parts: Parts,
    now: Point,
    soft: Array,
    weights: Array,
    newton: Step,
    gradient: Array,
    missing: Array,
    for_z: Array,
    for_t: Array,
) -> Point:
    """Newton's change towards ``z p = for_z``, ``t room = for_t`` and stationarity."""
    present, capped = parts.present, parts.capped
    for_z, for_t = np.where(present, for_z, 0.0), np.where(capped, for_t, 0.0)
    slope = parts.cost - for_z / now.p + for_t / now.room
    shift = weights * (_SIGN * slope * soft).sum(axis=0)
    dx, mu = newton(gradient + shift, missing)
    dp = -soft * (slope - _SIGN * (weights * dx + shift))
    dz = np.where(present, for_z / now.p - now.z - now.z / now.p * dp, 0.0)
    dt = np.where(capped, for_t / now.room - now.t + now.t / now.room * dp, 0.0)
    return Point(dx, mu - now.mu, dp, np.where(capped, -dp, 0.0), dz, dt)
