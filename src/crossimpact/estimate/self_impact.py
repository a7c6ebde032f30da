"""Self impact per symbol and regime: robust regression of slippage on the symbol's own flow.

    s_i = alpha_i + beta_i |q_i| + controls + noise,  q_i own signed fraction of ADV

(``q`` already shaped when the square-root transform is fitted.) Huber by default (Huber 1964), the
conditional median as an option. Standard errors are the M-estimator's sandwich. A symbol with few
buckets borrows its beta from its sector (empirical Bayes).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from crossimpact.errors import EstimationError
from crossimpact.estimate.huber_regression import huber
from crossimpact.estimate.robust import HUBER_K, TINY, random_effects, robust_scale
from crossimpact.model import Array
from crossimpact.panel import Panel, controls, tick_scale
from crossimpact.response import SLIPPAGE, Response

Loss = Literal["huber", "quantile"]
MIN_ROWS = 30  # fewer executed buckets than this and the sector answers alone
LEVERAGE = 30.0  # typical flows beyond which a bucket weighs less, by its size (Mallows)
SAME_SIZE = 1e-3  # relative spread of |q| below which its effect is not identified


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
    if not (rows >= MIN_ROWS).any():
        raise EstimationError(
            f"no symbol has {MIN_ROWS} executed buckets (the most is {rows.max(initial=0)})",
            "widen the window or lower the bucket width",
        )
    raw = np.full((panel.n, 7), np.nan)  # alpha, beta, their se, level, peer
    for i in np.flatnonzero(rows >= MIN_ROWS):
        at = traded[:, i]
        tick, level = float(least[i]), 0.0 if origin else 1.0
        own, peers = panel.q[at, i], controls(panel, int(i), at)
        raw[i] = _fit_one(own, peers, blend[at, i], signed[at, i], level, loss, tick)
    if np.isnan(raw[:, 1]).all():
        raise EstimationError(
            "every symbol trades one size only, so spread and impact cannot be told apart",
            "widen the window to days with other sizes",
        )
    return _pool(panel, raw)


def _fit_one(
    q: Array, peers: Array, blend: Array, signed: Array, level: float, loss: Loss, least: float
) -> Array:
    """alpha, beta, se(alpha), se(beta), level, peer of one symbol from the buckets it traded in."""
    sign = np.sign(q)
    if np.abs(q).std() < SAME_SIZE * np.abs(q).mean():
        return np.full(7, np.nan)  # alpha and beta are one number: the sector answers
    X = np.column_stack((np.full_like(q, level), np.abs(q), sign[:, None] * peers))
    scale = np.maximum(np.abs(X).mean(axis=0), 1e-300)
    tame = np.minimum(1.0, LEVERAGE * np.median(np.abs(q)) / np.abs(q))
    coef, covariance = _robust(X / scale * tame[:, None], sign * blend * tame, loss, least)
    left = sign * signed - X[:, 1:] / scale[1:] @ coef[1:]
    alpha, alpha_var = np.zeros(1), np.zeros((1, 1))
    if level:  # through the origin nobody asks for the spread
        alpha, alpha_var = _robust(np.ones((len(q), 1)), left, loss, least)
    reach = (X[:, 1:] / scale[1:]).mean(axis=0)  # what an error in the slopes adds to the level
    alpha_se = np.sqrt(alpha_var[0, 0] + reach @ covariance[1:, 1:] @ reach)
    return np.array(
        [alpha[0], coef[1] / scale[1], alpha_se, np.sqrt(covariance[1, 1]) / scale[1],
         coef[0], coef[2] / scale[2], coef[3] / scale[3]]
    )  # fmt: skip


def _robust(X: Array, y: Array, loss: Loss, least: float = TINY) -> tuple[Array, Array]:
    """Coefficients and their sandwich covariance; the median's as if of Gaussian noise."""
    coef = _median(X, y) if loss == "quantile" else huber(X, y, least)
    residual = y - X @ coef
    sigma = max(robust_scale(residual), least)
    psi = np.clip(residual / sigma, -HUBER_K, HUBER_K)
    inside = max(float((np.abs(psi) < HUBER_K).mean()), 0.1)
    excess = np.pi / 2 if loss == "quantile" else (psi**2).mean() / inside**2
    return coef, np.asarray(sigma**2 * excess * np.linalg.pinv(X.T @ X))


def _median(X: Array, y: Array) -> Array:
    from sklearn.linear_model import QuantileRegressor  # seconds that no other loss need pay

    fit = QuantileRegressor(quantile=0.5, alpha=0.0, fit_intercept=False, solver="highs")
    return np.asarray(fit.fit(X, y).coef_)


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
