"""Is a plan optimal? Conditions on flows and prices that need no trust in a solver.

With the gradient g of J, prices z >= 0 of the bounds and y of the rows A, all USD per USD,

    g + A'y + z_upper - z_lower = 0,   z_lower u = z_upper (most - u) = y (limit - A u) = 0,

and J convex, the flows are optimal (Karush, Kuhn and Tucker). Prices of bounds are taken from the
gradient itself, so what is left to be told is y.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crossimpact.policy.scheduling.caps import Caps
from crossimpact.policy.scheduling.program import Program
from crossimpact.scaled import Array

#: Largest residual of a plan that is called optimal.
KKT = 1e-6
#: Largest breach of a cap, as a share of the largest flow.
CAPS = 1e-9


@dataclass(frozen=True)
class Certificate:
    """Residuals of a plan.

    Attributes
    ----------
    kkt
        What the conditions are missed by: a share of the prices' scale times the flows'.
    caps
        Largest breach of a cap, a share of the largest flow.
    upper
        Price of each bound from above, USD per USD, shape (P, H).
    """

    kkt: float
    caps: float
    upper: Array

    @property
    def holds(self) -> bool:
        return self.kkt < KKT and self.caps <= CAPS

    @property
    def failure(self) -> str:
        return (
            f"not certified: KKT residual {self.kkt:.2g}, limit {KKT:g}; caps {self.caps:.2g}, "
            f"limit {CAPS:g}"
        )


def certificate(program: Program, caps: Caps, u: Array, y: Array) -> Certificate:
    """Judge flows, shape (P, H), with the prices y of the rows, shape (rows,)."""
    if not (np.isfinite(u).all() and np.isfinite(y).all()):
        return Certificate(np.inf, np.inf, np.zeros_like(u))
    gradient = program.gradient(u)
    total = gradient + caps.priced(y)
    size = float(caps.most.max(initial=0.0)) or 1.0
    prices = max(
        float(np.abs(part).max(initial=0.0)) for part in (gradient, program.slope, program.terminal)
    )
    lower, upper = np.maximum(total, 0.0), np.maximum(-total, 0.0)
    free = np.maximum(lower * u, upper * (caps.most - u)).max(initial=0.0)
    kkt = max(float(free), _slack(caps, u, y)) / (size * (prices or 1.0))
    return Certificate(kkt, caps.excess(u), upper)


def _slack(caps: Caps, u: Array, y: Array) -> float:
    """Largest price times distance from the limit it is the price of; inf where there is none."""
    counts = np.flatnonzero(y)
    if not len(counts):
        return 0.0
    (low, high), y = caps.limits, y[counts]
    limit = np.where(y > 0, high[counts], low[counts])
    return float(np.abs(y * (limit - caps.totals(u)[counts])).max())
