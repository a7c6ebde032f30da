"""What else a desk could do: estimates of the scaled coupling matrix to be measured against.

Each takes the panel of one regime (with the truth, for the last) and gives an estimate of ``M``,
shape (n, n), bps, zero diagonal. The regressions per name see what such regressions usually see,
the fills' slippage, with the penalty from five contiguous folds in time order; the joint ones see
the mid moves.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import ElasticNetCV, LassoCV
from sklearn.model_selection import KFold

from crossimpact.model import Array
from crossimpact.panel import Panel, controls

FOLDS = 5
MIN_ROWS = 20  # executed buckets below which a row is left at zero


def lasso_rows(panel: Panel) -> Array:
    """sklearn's LassoCV, one regression per name on everybody's flow: the first thing one tries."""
    x = panel.q * np.sqrt(panel.adv)
    size = _spread(x)
    estimate = np.zeros((panel.n, panel.n))
    for i in range(panel.n):
        rows = np.isfinite(panel.response[:, i])
        if rows.sum() < MIN_ROWS:
            continue
        y = panel.response[rows, i] * np.sqrt(panel.adv[i])
        fit = LassoCV(cv=KFold(FOLDS), max_iter=5000)
        estimate[i] = _fitted(fit, x[rows] / size, y) / size
    return _no_diagonal(estimate)


def elastic_rows(panel: Panel) -> Array:
    """ElasticNetCV per name after own terms and controls, symmetrised by the rows' precision."""
    x = panel.q * np.sqrt(panel.adv)
    estimate, precision = np.zeros((panel.n, panel.n)), np.full((panel.n, panel.n), 1e-300)
    for i in range(panel.n):
        rows = np.isfinite(panel.response[:, i])
        if rows.sum() < MIN_ROWS:
            continue
        y = panel.response[rows, i] * np.sqrt(panel.adv[i])
        z = _residual(
            np.column_stack((x[rows], y)), np.column_stack((x[rows, i], _nuisance(panel, i)[rows]))
        )
        z[:, i] = 0
        size = _spread(z[:, :-1])
        fit = ElasticNetCV(l1_ratio=0.5, cv=KFold(FOLDS), max_iter=5000)
        estimate[i] = _fitted(fit, z[:, :-1] / size, z[:, -1]) / size
        precision[i] = 1e-300 + (z[:, :-1] ** 2).sum(axis=0) / z[:, -1].var()
    mixed = precision * estimate
    return _no_diagonal((mixed + mixed.T) / (precision + precision.T))


def sector_template(panel: Panel) -> Array:
    """One coupling per sector, ``rho_s sqrt(beta_i beta_j)``, all rows jointly."""
    root = np.sqrt(np.maximum(_own_impact(panel), 0.0))
    shapes = []
    for sector in sorted(set(panel.sectors)):
        inside = root * (np.array(panel.sectors) == sector)
        shapes.append(_no_diagonal(np.outer(inside, inside)))
    return _joint(panel, panel.move, shapes)


def one_factor(panel: Panel) -> Array:
    """One coupling per name to the mean of the others' scaled flow."""
    shapes = []
    for i in range(panel.n):
        shapes.append(np.zeros((panel.n, panel.n)))
        shapes[-1][i] = 1.0 / max(panel.n - 1, 1)
    return _joint(panel, panel.move, [_no_diagonal(shape) for shape in shapes])


def self_only(panel: Panel) -> Array:
    """No couplings."""
    return np.zeros((panel.n, panel.n))


def known_support(panel: Panel, truth: Array) -> Array:
    """One symmetric parameter per truly coupled pair, all rows' mid moves jointly.

    Unpenalised: no ceiling where all pairs are coupled (`market`) or buckets are few.
    """
    shapes = []
    for i, j in np.argwhere(np.triu(truth)):
        shapes.append(np.zeros(truth.shape))
        shapes[-1][i, j] = shapes[-1][j, i] = 1.0
    return _joint(panel, panel.move, shapes) if shapes else self_only(panel)


#: Peers that see nothing of the truth, in the table's order.
PEERS: dict[str, Callable[[Panel], Array]] = {
    "LassoCV rows": lasso_rows,
    "ElasticNetCV rows": elastic_rows,
    "sector template": sector_template,
    "one factor": one_factor,
    "self-only": self_only,
}


# -- common parts ------------------------------------------------------------------------------


def _joint(panel: Panel, response: Array, shapes: list[Array]) -> Array:
    """Least squares of all rows on a linear family of matrices, rows weighted by their noise."""
    family = np.array(shapes)
    x = panel.q * np.sqrt(panel.adv)
    gram, right = np.zeros((len(shapes), len(shapes))), np.zeros(len(shapes))
    for i in range(panel.n):
        rows = np.isfinite(response[:, i])
        mine = np.flatnonzero(family[:, i].any(axis=1))
        if rows.sum() < MIN_ROWS or not mine.size:
            continue
        own = np.column_stack((x[rows, i], _nuisance(panel, i)[rows]))
        y = response[rows, i] * np.sqrt(panel.adv[i])
        z = _residual(np.column_stack((x[rows], y)), own)
        columns = z[:, :-1] @ family[mine, i].T
        gram[np.ix_(mine, mine)] += columns.T @ columns / z[:, -1].var()
        right[mine] += columns.T @ z[:, -1] / z[:, -1].var()
    size = np.sqrt(np.maximum(np.diag(gram), 1e-300))
    solution = np.linalg.lstsq(gram / np.outer(size, size), right / size, rcond=1e-10)[0] / size
    return np.asarray(np.tensordot(solution, family, axes=1))


def _own_impact(panel: Panel) -> Array:
    """Own impact by least squares on own terms and controls, bps, (n,); 0 where not estimable."""
    beta = np.zeros(panel.n)
    for i in range(panel.n):
        rows = np.isfinite(panel.response[:, i])
        if rows.sum() >= MIN_ROWS:
            basis = np.column_stack((panel.q[:, i], _nuisance(panel, i)))[rows]
            size = _spread(basis)
            beta[i] = np.linalg.lstsq(basis / size, panel.response[rows, i])[0][0] / size[0]
    return beta


def _nuisance(panel: Panel, i: int) -> Array:
    """Side and peer flow of name `i`, (T, 3)."""
    return np.column_stack((np.sign(panel.q[:, i]), controls(panel, i)))


def _residual(columns: Array, basis: Array) -> Array:
    basis = basis / _spread(basis)
    return np.asarray(columns - basis @ np.linalg.lstsq(basis, columns, rcond=1e-10)[0])


def _spread(columns: Array) -> Array:
    """Root mean square of each column, 1 where it is zero."""
    size = np.sqrt((columns**2).mean(axis=0))
    return np.asarray(np.where(size > 0, size, 1.0))


def _fitted(fit: Any, columns: Array, y: Array) -> Array:
    """Coefficients of a cross-validated path; what does not converge is taken as it is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        scale = float(y.std()) or 1.0
        return np.asarray(fit.fit(columns, y / scale).coef_ * scale)


def _no_diagonal(matrix: Array) -> Array:
    return np.asarray(matrix - np.diag(np.diag(matrix)))
