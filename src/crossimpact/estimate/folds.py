"""A window's equations and those of its blocked folds of days, from one pass over its rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from crossimpact.estimate.equations import Design, design, without_market
from crossimpact.estimate.weighted_rows import Sums, total
from crossimpact.model import Array
from crossimpact.panel import Panel, blocked_folds

FOLDS = 5


@dataclass(frozen=True)
class Folded:
    """All days together, and the training and held-out designs of each fold; no fold with a single
    day (or block of days): there is nothing to hold out."""

    whole: Design
    folds: Sequence[tuple[Design, Design]]

    def without_market(self, market: Array | None) -> Folded:
        """The others' flows weighted by `market` out of every row; the same when None."""
        if market is None:
            return self
        folds = [(without_market(a, market), without_market(b, market)) for a, b in self.folds]
        return Folded(without_market(self.whole, market), folds)


def folded(
    days: Sequence[Sums], panel: Panel, reference: Array | None, folds: int = FOLDS
) -> Folded:
    """Days summed, whole and by fold, and every row's own terms taken out."""
    fold = blocked_folds(len(days), min(folds, len(days)))
    parts = [
        total(day.on(panel.symbols) for day, f in zip(days, fold, strict=True) if f == k)
        for k in range(int(fold.max()) + 1)
    ]
    adv, result = panel.adv, []
    whole = design(total(parts), adv, reference)
    for k in range(len(parts) if len(parts) > 1 else 0):
        rest = total(other for at, other in enumerate(parts) if at != k)
        result.append((design(rest, adv, reference), design(parts[k], adv, reference)))
    return Folded(whole, result)
