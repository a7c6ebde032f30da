"""The baselines a matrix has to beat: what a desk would do without it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from crossimpact.estimate import paths
from crossimpact.estimate.equations import Design, Equations, per_bucket
from crossimpact.estimate.folds import Folded
from crossimpact.estimate.market_control import coefficients, loadings, weights
from crossimpact.estimate.penalty import Penalty
from crossimpact.model import Array

NAMES = ("factor_rows", "lasso_rows")
LAMBDAS = 25
STAGES = (7, 13, LAMBDAS)  # penalties of a row's path before it is asked whether it goes on
PATIENCE = 2  # penalties in a row that are worse than the best: it does not
ASKED = 128  # names whose held-out loss chooses the penalty; with more it is in common
TOLERANCE = 1e-4  # of the largest gradient: a rival's R2 needs no more


def fit(found: Folded, beta: Array, adv: Array) -> dict[str, Array]:
    """Scaled matrices (n, n) of each baseline, by name.

    ``factor_rows``: every name answers the sum of the others' scaled flow, weighted as
    `market_control` says, one coefficient per row; not symmetric in dollars, so it never ships.
    ``lasso_rows``: the lasso on each row by itself, penalty by blocked folds of days (LassoCV).
    """
    equations = found.whole.equations
    return {
        "factor_rows": factor_rows(equations, weights(equations, beta, adv)),
        "lasso_rows": lasso_rows(found.whole, found.folds),
    }


def factor_rows(equations: Equations, root: Array) -> Array:
    """Least squares of each row on the others' flows weighted by `root`."""
    return loadings(coefficients(equations, root), root)


def lasso_rows(whole: Design, folds: Sequence[tuple[Design, Design]]) -> Array:
    """LassoCV of every row, on the shared Gram; folds as `folded` cuts.

    A row's path is followed as far as its held-out loss falls (`STAGES`): with fewer buckets than
    names the end of a path, where nothing but noise is left, is nearly all of its cost, and is left
    out altogether: the record's ``oos_r2_lasso_rows`` is then of penalties down to a tenth. With
    more than `ASKED` names so many are asked, evenly spread, and their median place on the path is
    every row's: folds of all rows would cost more than the model.
    """
    equations, n = per_bucket(whole), len(whole.noise)
    penalty = Penalty(l1_ratio=1.0, tolerance=TOLERANCE)
    lambdas = paths.row_lambdas(equations, penalty, LAMBDAS)
    if not folds or not lambdas.any():
        return np.zeros((n, n))
    trained, held_out = zip(*((per_bucket(a), per_bucket(b)) for a, b in folds), strict=True)
    if whole.buckets < n:
        lambdas = lambdas[: STAGES[1]]
    asked = np.zeros(n, dtype=bool)
    asked[np.linspace(0, n - 1, min(n, ASKED)).astype(int)] = True
    best = _least_loss(trained, held_out, penalty, lambdas, asked)
    if n > ASKED:
        best[:] = np.median(best[asked])
    chosen = lambdas[best, np.arange(n)]
    return np.asarray(paths.row_paths(equations, penalty, chosen[None, :])[0])


def _least_loss(
    trained: Sequence[Equations], held_out: Sequence[Equations], penalty: Penalty,
    lambdas: Array, asked: NDArray[np.bool_],
) -> NDArray[np.int64]:  # fmt: skip
    """Index of the penalty with the least held-out loss of each row that is asked, shape (n,)."""
    best, falling = np.zeros(len(asked), dtype=np.int64), asked.copy()
    for count in STAGES:
        training = [replace(e, weight=np.where(falling, e.weight, 0.0)) for e in trained]
        judged = paths.cross_validate_rows(training, held_out, penalty, lambdas[:count])
        best[falling] = judged.best[falling]
        falling &= best >= count - PATIENCE
        if not falling.any():
            break
    return best
