"""How much of a matrix is other than before, edge by edge."""

from __future__ import annotations

import numpy as np

from crossimpact.alignment import Alignment, Index
from crossimpact.model import Array, ImpactModel, to_scaled


def edge_turnover(new: ImpactModel, old: ImpactModel) -> float:
    """Weighted Jaccard distance of two models' couplings over the names they share.

    ``1 - sum min(|M_ij|, |M'_ij|) / sum max(|M_ij|, |M'_ij|)`` in scaled space, where a pair whose
    sign differs has nothing in common: 0 for the same matrix, 1 for no pair in common, 0 when
    neither has any. Typical from one month to the next: 0.1 to 0.4.
    """
    shared = Alignment.between(old.symbols, new.symbols)
    a, b = _scaled(new, shared.target), _scaled(old, shared.source)
    both = np.where(a * b > 0, np.minimum(np.abs(a), np.abs(b)), 0.0).sum()
    either = np.maximum(np.abs(a), np.abs(b)).sum()
    return float(1 - both / either) if either > 0 else 0.0


def _scaled(model: ImpactModel, rows: Index) -> Array:
    return to_scaled(model.gamma, model.adv)[np.ix_(rows, rows)]
