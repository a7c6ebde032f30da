"""The model an optimiser is given: the estimated one, less what its uncertainty could invent.

An optimiser seeks out the errors of its input: with coefficients known to 15% of a name's own
impact, the unshrunk matrix promises a gain and loses a fifth (docs/scheduler.md). So

- couplings are multiplied by ``theta = max(0, 1 - sum se^2 / sum gamma^2)``, both sums over the
  coupled pairs in units of own impact: the share of the estimates' size that is not their noise
  (James and Stein 1961). One number for all pairs: between the matrix and its own diagonal all
  stays positive semidefinite, with a decay kernel too;
- the decay is the slow end of its half-life's interval (`Decay.slow_end`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from crossimpact.model import ImpactModel
from crossimpact.scaled import impact_units


@dataclass(frozen=True)
class Caution:
    """What was taken off a model: `theta` of its couplings is left, 1 where no standard errors are
    known, and impact halves in `half_life_min` (None: no kernel)."""

    theta: float
    half_life_min: float | None


def cautious(model: ImpactModel) -> tuple[ImpactModel, Caution]:
    """The model for an optimiser, and how it differs from the estimated one."""
    theta = reliability(model)
    kernel = None if model.kernel is None else model.kernel.slow_end()
    caution = Caution(theta, None if kernel is None else kernel.half_life_min)
    if theta == 1.0 and kernel == model.kernel:
        return model, caution
    return replace(model, gamma=theta * model.gamma, kernel=kernel), caution


def reliability(model: ImpactModel) -> float:
    """``max(0, 1 - sum se^2 / sum gamma^2)`` over coupled pairs with a standard error; 1 without
    any."""
    pairs = model.pairs()
    known = np.isfinite(pairs["se"])
    i, j = pairs["i"][known], pairs["j"][known]
    own = impact_units(model)
    unit = np.sqrt(model.adv[i] / model.adv[j] / (own[i] * own[j]))
    signal = float(((pairs["bps"][known] * unit) ** 2).sum())
    noise = float(((pairs["se"][known] * unit) ** 2).sum())
    return max(0.0, 1.0 - noise / signal) if signal > 0 else 1.0
