"""The rivals a matrix has to beat: what a desk would do without it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from crossimpact.estimate import paths
from crossimpact.estimate.design import Panel
from crossimpact.estimate.equations import Design, Equations, folded, per_bucket, summed
from crossimpact.estimate.gram import Moments
from crossimpact.model import Array

NAMES = ("one_factor", "lasso_rows")
FOLDS = 5
LAMBDAS = 50


def fit(
    days: Sequence[Moments], panel: Panel, beta: Array, reference: Array | None
) -> dict[str, Array]:
    """Scaled matrices (n, n) of each rival, by name.

    ``one_factor``: every name answers the sum of the others' scaled flow, each weighted by the root
    of its beta, one coefficient per row.
    ``lasso_rows``: the lasso on each row by itself, penalty by blocked folds of days (LassoCV).
    """
    whole = summed(days, panel, reference)
    folds = folded(days, panel, reference, FOLDS)
    return {
        "one_factor": one_factor(whole.equations, np.sqrt(beta)),
        "lasso_rows": lasso_rows(whole, folds),
    }


def one_factor(equations: Equations, root: Array) -> Array:
    """Least squares of each row on the others' flows weighted by `root`."""
    others = np.tile(root, (len(root), 1))
    np.fill_diagonal(others, 0.0)
    inside = np.einsum("ijr,ij->ir", equations.basis, others)
    push = ((others @ equations.gram) * others).sum(axis=1) - (inside**2).sum(axis=1)
    answer = (others * equations.xy).sum(axis=1)
    coefficient = np.divide(answer, push, out=np.zeros_like(push), where=push > 0)
    return np.asarray(coefficient[:, None] * others)


def lasso_rows(whole: Design, folds: Sequence[tuple[Design, Design]]) -> Array:
    """LassoCV of every row, on the shared Gram; folds as `folded` cuts."""
    equations, n = per_bucket(whole), len(whole.factors)
    penalty = paths.Penalty(l1_ratio=1.0)
    lambdas = paths.row_lambdas(equations, penalty, LAMBDAS)
    if not folds or not lambdas.any():
        return np.zeros((n, n))
    trained, held_out = zip(*((per_bucket(a), per_bucket(b)) for a, b in folds), strict=True)
    judged = paths.cross_validate_rows(trained, held_out, penalty, lambdas)
    chosen = lambdas[judged.best, np.arange(n)]
    return np.asarray(paths.row_paths(equations, penalty, chosen[None, :])[0])
