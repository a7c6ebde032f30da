"""What fills pay of the impact that the mid keeps: the ratio of two responses to one flow.

A push builds up through the bucket while its fills are spread over it, so they pay a part of what
the mid shows at the bucket's end: .5 where both are even, 1 where the push comes first. Gamma and
beta are what fills pay; the mid, seen in every cell, tells them once its moves are multiplied by
the ratio (`crossimpact.response`).

The ratio is the slope of slippage on a predicted push over that of the mid move on it, in the same
cells and with the same weights, own terms and peers out of all three: any push that goes with the
true one will do, and a wrong size of it drops out. Errors are those of a slope over a few days
(`crossimpact.slope.between_days`). Own and cross impact each have their own; where the cells do not
tell one, the market's pooled value answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossimpact.estimate.own_terms import fitted, projector
from crossimpact.estimate.robust import random_effects, robust_spread
from crossimpact.model import Array
from crossimpact.panel import Panel, tick_scale
from crossimpact.slope import between_days

CLIP = 6.0  # robust standard deviations beyond which a residual counts as that far
MIN_CELLS = 30  # of a name in which slippage and mid move are both known
UNLIKE = 0.1  # standard deviation of the cross ratio around the own one, before any cell is seen
LEAST, MOST = 0.05, 1.5  # fills before all of the push, and fills that pay what then comes back
LEAST_SE = 1e-6  # of a ratio: public flow's slippage is its mid move, and the ratio exactly 1
TOLD = 0.25  # standard error above which cells, a regime's own or all, do not tell a ratio


@dataclass(frozen=True)
class Ratio:
    """A ratio, its standard error (infinite when unknown), and who told it.

    Attributes
    ----------
    source
        ``own`` cells of the regime, the ``market``'s pooled value (other regimes, or own impact's
        ratio for the cross one), or ``unknown``: the mid is then taken for what fills pay.
    """

    value: float
    se: float
    source: str = "own"

    @property
    def told(self) -> bool:
        return self.se <= TOLD

    @property
    def doubt(self) -> float:
        """Relative standard error; of one that nobody tells, what would just not be told."""
        return min(self.se, TOLD) / self.value


@dataclass(frozen=True)
class FillRatio:
    """Ratios of own and of cross impact in one regime."""

    own: Ratio
    cross: Ratio

    def recorded(self) -> dict[str, Any]:
        """Plain data for a model's provenance; no error where none is known."""
        parts = {"own": self.own, "cross": self.cross}
        return {
            name: {"value": r.value, "se": r.se if np.isfinite(r.se) else None, "source": r.source}
            for name, r in parts.items()
        }


UNKNOWN = Ratio(1.0, float("inf"), "unknown")


def own_ratio(panel: Panel, cross: Array | None = None, cross_ratio: float = 1.0) -> Ratio:
    """Ratio of own impact, net of the `cross` impact (signed bps as fills pay it, (T, n))."""
    columns = [np.sign(panel.q), panel.sector_flow, panel.factor_flow]
    moved = np.zeros_like(panel.q) if cross is None else cross
    return _ratio(
        panel, panel.q, columns, (panel.response - moved, panel.move - moved / cross_ratio)
    )


def cross_ratio(panel: Panel, cross: Array) -> Ratio:
    """Ratio of cross impact, from a prediction of it, signed bps (T, n), of any size."""
    columns = [panel.q, np.sign(panel.q), panel.sector_flow, panel.factor_flow]
    return _ratio(panel, cross, columns, (panel.response, panel.move))


def _ratio(
    panel: Panel, push: Array, columns: Sequence[Array], responses: tuple[Array, Array]
) -> Ratio:
    paid, kept = responses
    known = np.isfinite(paid) & np.isfinite(kept) & (panel.q != 0)
    known &= known.sum(axis=0) >= MIN_CELLS
    own = np.stack(columns, axis=2) * known[:, :, None]
    solve = projector(own)

    def left(y: Array) -> Array:
        y = np.where(known, y, 0.0)
        return np.where(known, y - fitted(own, solve, y), 0.0)

    x, paid_left, kept_left = left(push), left(paid), left(kept)
    reach = _reach(paid_left, panel.seen.response, known)
    weight, seen = x / reach**2, known.any(axis=1)
    score = (weight * np.clip(paid_left, -reach, reach)).sum(axis=1)[seen]
    reach = _reach(kept_left, panel.seen.move, known)
    information = (weight * np.clip(kept_left, -reach, reach)).sum(axis=1)[seen]
    total = float(information.sum())
    if not total > 0:
        return UNKNOWN
    slope = between_days(information, score, panel.date[seen])
    if slope is None:  # nothing is left of any bucket: fills pay exactly so much
        return Ratio(float(score.sum()) / total, LEAST_SE)
    return Ratio(slope.value, max(slope.se, LEAST_SE))


def _reach(left: Array, response: Array, known: NDArray[np.bool_]) -> Array:
    """How far each name's residual may lie from zero, (n,)."""
    size = np.abs(np.where(known, left, np.nan))
    tick = tick_scale(np.where(known, response, np.nan))
    return np.asarray(CLIP * np.maximum(robust_spread(size, axis=0), tick))


def pooled(ratios: Mapping[str, Ratio], beside: Ratio = UNKNOWN) -> dict[str, Ratio]:
    """Each regime's ratio, shrunk to the market's as far as the regimes are alike.

    Parameters
    ----------
    ratios
        By regime, each from its own cells.
    beside
        Own impact's ratio beside the cross ones: what a push that nobody could tell is taken for.
    """
    values = np.array([r.value for r in ratios.values()] + [beside.value])
    se = np.array([r.se for r in ratios.values()] + [float(np.hypot(beside.se, UNLIKE))])
    seen = np.isfinite(se) & np.isfinite(values)
    if not seen.any():
        return dict.fromkeys(ratios, UNKNOWN)
    mean, between = random_effects(values[seen], se[seen])
    mean_var = 1.0 / float((1.0 / (se[seen] ** 2 + between)).sum())
    if mean_var > TOLD**2:
        return dict.fromkeys(ratios, UNKNOWN)
    return {regime: _shrunk(ratio, mean, mean_var, between) for regime, ratio in ratios.items()}


def _shrunk(ratio: Ratio, mean: float, mean_var: float, between: float) -> Ratio:
    keep = between / (between + ratio.se**2) if np.isfinite(ratio.se) else 0.0
    value = mean + keep * ((ratio.value if keep else mean) - mean)
    se = float(np.sqrt((1 - keep) ** 2 * mean_var + keep * ratio.se**2 if keep else mean_var))
    return Ratio(float(np.clip(value, LEAST, MOST)), se, "own" if ratio.told else "market")
