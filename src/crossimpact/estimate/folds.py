"""A window's equations and those of its blocked folds of days, from one pass over its rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from crossimpact.estimate.equations import Design, design, without_market
from crossimpact.estimate.gram import Moments
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
    for part, rest in zip(parts, without_each(parts), strict=True) if len(parts) > 1 else ():
        result.append((design(rest, adv, reference), design(part, adv, reference)))
    return Folded(design(total(parts), adv, reference), result)


def without_each(parts: Sequence[Moments]) -> Iterator[Moments]:
    """The sum of all parts but one, of each in turn; at least two parts. Those after it are added
    up once for all, from the last."""
    after = [parts[-1]]
    for part in parts[-2:0:-1]:
        after.append(part + after[-1])
    before = parts[0]
    yield after.pop()
    for part in parts[1:-1]:
        yield before + after.pop()
        before = before + part
    yield before
