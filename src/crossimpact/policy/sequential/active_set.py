"""The optimum of a program of trades: interior point method, then the active set exactly.

The finish is a semismooth Newton method (Hintermueller, Ito and Kunisch 2002): trades are held
where the proximal step of bounds and spread holds them, the others take a Newton step, until the
pattern stands. From the right pattern it is exact, from a close one it needs a few rounds.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
from threadpoolctl import ThreadpoolController

from crossimpact.errors import CrossImpactError
from crossimpact.model import Array
from crossimpact.policy.sequential.interior import interior_point
from crossimpact.policy.sequential.program import (
    Mask,
    Optimum,
    Program,
    System,
    residual,
    spread_over,
    sums,
)

#: KKT residual (see `program.residual`) a solution must have.
TOLERANCE = 1e-8
_ENOUGH = 1e-13  # rounding
_TARGETS = (1e-9, 1e-18)  # complementarity at which the finish is tried
_ROUNDS = 30
_PATIENCE = 3  # steps on one pattern that do not halve the residual


class ScheduleError(CrossImpactError):
    """A schedule that could not be certified optimal."""


def solve(system: System, program: Program, guess: Optimum | None = None) -> Optimum:
    """The optimum, certified to `TOLERANCE`; a `guess` (from a coarser grid) is tried first.

    Raises
    ------
    ScheduleError
        When the residual stays above `TOLERANCE`.
    """
    with _blas().limit(limits=1):  # small products: one thread is faster, and the same digits
        tried = _tries(system, program, guess)
    best = min(tried, key=lambda one: one.residual)
    if best.residual < TOLERANCE:
        return replace(best, factorisations=sum(one.factorisations for one in tried))
    raise ScheduleError(
        f"the schedule's KKT residual is {best.residual:.1e}, must be below {TOLERANCE:g}",
        "check the scales: volumes or impacts many orders of magnitude apart",
    )


@cache
def _blas() -> ThreadpoolController:
    """The linear algebra libraries that are loaded; finding them takes milliseconds."""
    return ThreadpoolController().select(user_api="blas")


def _tries(system: System, program: Program, guess: Optimum | None) -> list[Optimum]:
    """Solutions until one is good enough: from the guess, then from the interior."""
    tried: list[Optimum] = []
    if guess is None and program.unbounded:
        guess = Optimum(np.zeros_like(program.lower), np.zeros_like(program.volumes), np.inf, 0)
    if guess is not None:
        tried.append(active_set(system, program, guess))
    for target in _TARGETS:
        if tried and min(one.residual for one in tried) < TOLERANCE:
            break
        start = interior_point(system, program, target)
        tried += [start, active_set(system, program, start)]
    return tried


def active_set(system: System, program: Program, start: Optimum) -> Optimum:
    """Semismooth Newton from a start close enough; its residual says whether it was."""
    x, mu, best = start.x, start.multipliers, replace(start, residual=np.inf)
    gradient = system.gradient(x)
    pattern: tuple[Mask, Array] | None = None
    rounds = stalled = 0
    while rounds < _ROUNDS and stalled < _PATIENCE:
        pull = gradient + spread_over(system.first, mu)
        moved, held, slope = program.project(x - pull / system.curvature, system.curvature)
        slope[held] = 0.0
        if pattern is None or (held != pattern[0]).any() or (slope != pattern[1]).any():
            pattern, rounds, stalled = (held, slope), rounds + 1, 0
            step = system.newton(~held, np.zeros_like(x))
        x = np.where(held, moved, x)
        gap = program.volumes - sums(system.first, x)
        dx, mu = step(system.gradient(x) + slope, gap)
        x = x + dx
        gradient = system.gradient(x)
        allowed = np.clip(x, program.lower, program.upper)
        miss = residual(program, system.first, allowed, system.gradient(allowed), mu)
        stalled = stalled + 1 if miss > best.residual / 2 else 0
        if miss < best.residual:
            best = Optimum(allowed, mu, miss, rounds)
        if miss < _ENOUGH:
            break
    return replace(best, factorisations=rounds)
