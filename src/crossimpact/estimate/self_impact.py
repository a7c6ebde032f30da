"""Self impact per symbol and regime: robust regression of slippage on the symbol's own flow.

    s_i = alpha_i + beta_i |q_i| + controls + noise,  q_i own signed fraction of ADV

(``q`` already shaped when the square-root transform is fitted.) Huber by default (Huber 1964), the
conditional median as an option. Standard errors are the M-estimator's sandwich. A symbol with few
buckets borrows its beta from its sector (empirical Bayes).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from crossimpact.errors import EstimationError
from crossimpact.estimate import robust
from crossimpact.estimate.huber_regression import sandwich
from crossimpact.estimate.robust import TINY, random_effects
from crossimpact.estimate.self_regression import (
    ANSWERS,
    answers,
    beyond,
    fit_names,
    regressors,
    told,
)
from crossimpact.model import Array
from crossimpact.panel import Panel, tick_scale
from crossimpact.response import SLIPPAGE, Response

Loss = Literal["huber", "quantile"]
MIN_ROWS = 30  # fewer executed buckets than this and the sector answers alone


@dataclass(frozen=True)
class SelfFit:
    """Self impact of all symbols in one regime.

    Attributes
    ----------
    alpha, beta
        bps, and bps per unit of ADV fraction (>= 0), shape (n,).
    alpha_se, beta_se
        Standard errors of the symbol's own fit, before pooling. Where the sector answered, how far
        names stray from it for beta, NaN for alpha.
    level
        What the mixed response has in place of alpha, bps, shape (n,).
    peer
        Coefficients of the peer-flow controls, bps per unit of ADV fraction, shape (n, 2).
    source
        Who answered for each symbol: ``own`` (pooled with its sector) or ``sector``.
    """

    alpha: Array
    beta: Array
    alpha_se: Array
    beta_se: Array
    level: Array
    peer: Array
    source: NDArray[np.str_]


def fit_self(
    panel: Panel,
    *,
    response: Response = SLIPPAGE,
    cross: Array | None = None,
    loss: Loss = "huber",
    origin: bool = False,
) -> SelfFit:
    """Fit alpha and beta of every symbol.

    Beta comes from the blended response (the mid move carries it with less noise than the fills),
    alpha from the slippage that beta and the controls leave.

    Parameters
    ----------
    panel
        Buckets of one regime.
    response
        How slippage and mid move are read as one.
    cross
        Cross impact to take out of the response first, signed bps, shape (T, n).
    loss
        ``huber`` or ``quantile`` (conditional median).
    origin
        Let the mixed response go through the origin: with a level of its own a linear move can
        pass for a concave one. Alpha is not fitted then.

    Raises
    ------
    EstimationError
        When no symbol has `MIN_ROWS` executed buckets, all trade one size only, or no price moves
        with the flow.
    """
    moved = np.zeros_like(panel.q) if cross is None else cross
    least = tick_scale(np.where(panel.q != 0, response.to_own(panel.seen), np.nan))
    blend, signed = response.to_own(panel, moved), panel.response - moved
    traded = np.isfinite(signed) & np.isfinite(blend) & (panel.q != 0)
    rows = traded.sum(axis=0)
    enough = np.flatnonzero(rows >= MIN_ROWS)
    if not enough.size:
        raise EstimationError(
            f"no symbol has {MIN_ROWS} executed buckets (the most is {rows.max(initial=0)})",
            "widen the window or lower the bucket width",
        )
    raw = np.full((panel.n, ANSWERS), np.nan)
    level = 0.0 if origin else 1.0
    raw[enough] = _fit_names(panel, traded, enough, blend, signed, level, least[enough], loss)
    if np.isnan(raw[:, 1]).all():
        raise EstimationError(
            "every symbol trades one size only, so spread and impact cannot be told apart",
            "widen the window to days with other sizes",
        )
    return _pool(panel, raw)


def _fit_names(
    panel: Panel, traded: NDArray[np.bool_], names: NDArray[np.int64], blend: Array, signed: Array,
    level: float, least: Array, loss: Loss,
) -> Array:  # fmt: skip
    """`ANSWERS` of the names listed, from the buckets each traded in."""
    of, rows = np.nonzero(traded[:, names].T)
    at = rows, names[of]
    start = np.searchsorted(of, np.arange(len(names) + 1))
    peers = np.column_stack((panel.sector_flow[at], panel.factor_flow[at]))
    q, blend, signed = panel.q[at], blend[at], signed[at]
    if loss == "huber":
        return fit_names(start, q, peers, blend, signed, level, least, robust.HUBER_K)
    found = np.empty((len(names), ANSWERS))
    for i, (a, b) in enumerate(pairwise(start)):
        cells = slice(a, b)
        found[i] = _by_median(q[cells], peers[cells], blend[cells], signed[cells], level, least[i])
    return found


def _by_median(
    q: Array, peers: Array, blend: Array, signed: Array, level: float, least: float
) -> Array:
    """`ANSWERS` of one name by the conditional median; its errors as if of Gaussian noise."""
    if not told(q):
        return np.full(ANSWERS, np.nan)
    X, unit, tame = regressors(q, peers, level)
    coef, covariance = median(X * tame[:, None], np.sign(q) * blend * tame, least)
    left, alpha, variance = beyond(X, coef, np.sign(q) * signed), np.zeros(1), np.zeros((1, 1))
    if level:
        alpha, variance = median(np.ones((len(q), 1)), left, least)
    return answers(X, unit, coef, covariance, alpha[0], variance[0, 0])


def median(X: Array, y: Array, least: float = TINY) -> tuple[Array, Array]:
    """Coefficients of the conditional median and their covariance, see `huber`."""
    from sklearn.linear_model import QuantileRegressor  # seconds that no other loss need pay

    fit = QuantileRegressor(quantile=0.5, alpha=0.0, fit_intercept=False, solver="highs")
    coef = np.asarray(fit.fit(X, y).coef_)
    return coef, sandwich(X, y - X @ coef, robust.HUBER_K, least, np.pi / 2)


def _pool(panel: Panel, raw: Array) -> SelfFit:
    """Shrink beta toward its sector by its own precision; fill symbols that had too few rows."""
    alpha, beta, alpha_se, beta_se, level = raw[:, :5].T.copy()
    known, fitted = np.isfinite(beta), beta.copy()
    among = random_effects(fitted[known], beta_se[known])[1]
    for sector in sorted(set(panel.sectors)):
        members = np.array([name == sector for name in panel.sectors])
        donors = known & members if (known & members).any() else known
        center, between = random_effects(fitted[donors], beta_se[donors])
        own = known & members
        keep = between / (between + beta_se[own] ** 2 + 1e-300)
        beta[own] = center + keep * (beta[own] - center)
        missing = members & ~known
        beta[missing], alpha[missing] = center, np.median(alpha[donors])
        sure = 1 / (1 / (beta_se[donors] ** 2 + between + 1e-300)).sum()
        beta_se[missing] = np.sqrt(max(between, among) + sure)
    positive = beta[beta * panel.typical_flow() > TINY]
    if not positive.size:
        raise EstimationError(
            "no symbol's price moves with the desk's flow in it",
            "check the signs of fills and the mids, or widen the window",
        )
    beta = np.maximum(beta, 0.05 * np.median(positive))
    size = panel.mean_flow()  # the level at the mean flow is what the fit is sure of
    alpha[known] += ((fitted - beta) * size)[known]
    level[known] += ((fitted - beta) * size)[known]
    source = np.where(known, "own", "sector")
    return SelfFit(
        alpha, beta, alpha_se, beta_se, np.nan_to_num(level), np.nan_to_num(raw[:, 5:]), source
    )
