"""Any convex decay, given as a function and examined point by point."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from crossimpact.errors import ProblemError
from crossimpact.kernel.base import DecayKernel
from crossimpact.scaled import Array

#: Violations below this share of g(0) are rounding.
TOLERANCE = 1e-9
#: Points at which a kernel given as a function is examined.
CHECKED_POINTS = 1025
_NODES, _WEIGHTS = (x / 2 for x in np.polynomial.legendre.leggauss(96))


@dataclass(frozen=True)
class ConvexDecay(DecayKernel):
    """Any non-increasing convex g, given as a function of an array of lags.

    Its antiderivatives are 96-point Gauss-Legendre sums over (0, t): exact to rounding for a smooth
    g, about 1e-4 relative for one with kinks.

    Parameters
    ----------
    function
        ``g(t)`` for t >= 0, vectorised, finite at 0 (an infinite one prices no block).
    """

    function: Callable[[Array], Array]

    def shape(self, t: Array) -> Array:
        return np.asarray(self.function(t), dtype=np.float64)

    def first(self, t: Array) -> Array:
        return np.asarray(t * self._moment(t, _WEIGHTS))

    def second(self, t: Array) -> Array:
        return np.asarray(t**2 * self._moment(t, _WEIGHTS * (0.5 - _NODES)))

    def _moment(self, t: Array, weights: Array) -> Array:
        lags = np.multiply.outer(np.asarray(t, float), _NODES + 0.5)
        return np.asarray(self.shape(lags) @ weights)

    def check(self, horizon: float) -> None:
        t = np.linspace(0.0, horizon, CHECKED_POINTS)
        g = self.shape(t)
        if g.shape != t.shape or not np.isfinite(g).all():
            raise ProblemError("the kernel is not a finite number at every lag of the horizon")
        if not g[0] > 0:
            raise ProblemError(f"the kernel at lag 0 is {g[0]:g}, must be > 0")
        slack = TOLERANCE * g[0]
        for name, values, lags in (
            ("increases", -np.diff(g), t[1:]),
            ("is not convex", np.diff(g, 2), t[1:-1]),
            ("is negative", g, t),
        ):
            if values.min() < -slack:
                k = int(np.argmin(values))
                raise ProblemError(
                    f"the kernel {name} at lag {lags[k]:g}, by {-values[k]:.3g}, limit {slack:.3g}",
                    "a schedule needs a non-increasing, convex, non-negative kernel",
                )
        if g[0] - g[-1] <= slack:
            raise ProblemError("the kernel does not decay over the horizon: any schedule is best")
