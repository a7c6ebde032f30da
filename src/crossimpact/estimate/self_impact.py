"""Self impact per symbol and regime: robust regression of slippage on the symbol's own flow.

    s_i = alpha_i + beta_i |q_i| + controls + noise,  q_i own signed fraction of ADV

Huber by default (Huber 1964), the conditional median as an option. Standard errors are the
M-estimator's sandwich. A symbol with few buckets borrows its beta from its sector (empirical
Bayes).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import HuberRegressor, QuantileRegressor

from crossimpact.errors import EstimationError
from crossimpact.estimate.design import Panel, controls
from crossimpact.model import Array

Loss = Literal["huber", "quantile"]
HUBER_K = 1.35  # 95% efficiency under Gaussian noise
MIN_ROWS = 30  # fewer executed buckets than this and the sector answers alone
SAME_SIZE = 1e-3  # relative spread of |q| below which its effect is not identified
TINY = 1e-9  # bps; a scale is never zero
FAR = 50.0  # robust standard deviations


@dataclass(frozen=True)
class SelfFit:
    """Self impact of all symbols in one regime.

    Attributes
    ----------
    alpha, beta
        bps, and bps per unit of ADV fraction (>= 0), shape (n,).
    alpha_se, beta_se
        Standard errors, NaN where the sector answered alone.
    sigma
        Robust noise of a bucket's slippage, bps, shape (n,).
    weights
        Huber weights in (0, 1], 0 where nothing was executed, shape (T, n).
    peer
        Coefficients of the peer-flow controls, bps per unit of ADV fraction, shape (n, 2).
    source
        Who answered for each symbol: ``own`` (pooled with its sector) or ``sector``.
    """

    alpha: Array
    beta: Array
    alpha_se: Array
    beta_se: Array
    sigma: Array
    weights: Array
    peer: Array
    source: NDArray[np.str_]


def fit_self(panel: Panel, *, cross: Array | None = None, loss: Loss = "huber") -> SelfFit:
    """Fit alpha and beta of every symbol.

    Parameters
    ----------
    panel
        Buckets of one regime.
    cross
        Cross impact to take out of the response first, signed bps, shape (T, n).
    loss
        ``huber`` or ``quantile`` (conditional median).

    Raises
    ------
    EstimationError
        When no symbol has `MIN_ROWS` executed buckets.
    """
    response = panel.response if cross is None else panel.response - cross
    traded = np.isfinite(response) & (panel.q != 0)
    rows = traded.sum(axis=0)
    if not (rows >= MIN_ROWS).any():
        raise EstimationError(
            f"no symbol has {MIN_ROWS} executed buckets (the most is {rows.max(initial=0)})",
            "widen the window or lower the bucket width",
        )
    estimates = np.full((panel.n, 7), np.nan)  # alpha, beta, their se, sigma, peer
    for i in np.flatnonzero(rows >= MIN_ROWS):
        estimates[i] = _fit_one(panel, int(i), response[:, i], traded[:, i], loss)
    if np.isnan(estimates[:, 1]).all():
        raise EstimationError(
            "every symbol trades one size only, so spread and impact cannot be told apart",
            "widen the window to days with other sizes",
        )
    return _pool(panel, estimates, response, traded)


def _fit_one(panel: Panel, i: int, y: Array, traded: NDArray[np.bool_], loss: Loss) -> Array:
    """alpha, beta, se(alpha), se(beta), sigma, peer of one symbol from its own buckets."""
    q, sign = panel.q[traded, i], np.sign(panel.q[traded, i])
    X = np.column_stack((np.ones_like(q), np.abs(q), sign[:, None] * controls(panel, i)[traded]))
    if np.abs(q).std() < SAME_SIZE * np.abs(q).mean():
        return np.full(7, np.nan)  # alpha and beta are one number: the sector answers
    scale = np.maximum(np.abs(X).mean(axis=0), 1e-300)
    slippage = sign * y[traded]
    coef = _robust_coef(X / scale, slippage, loss)
    residual = slippage - X / scale @ coef
    sigma = robust_scale(residual)
    psi = np.clip(residual / sigma, -HUBER_K, HUBER_K)
    efficiency = (psi**2).mean() / max(float((np.abs(psi) < HUBER_K).mean()), 0.1) ** 2
    covariance = sigma**2 * efficiency * np.linalg.pinv((X / scale).T @ (X / scale))
    se = np.sqrt(np.diagonal(covariance)) / scale
    coef = coef / scale
    return np.array([coef[0], coef[1], se[0], se[1], sigma, coef[2], coef[3]])


def robust_scale(residual: Array) -> float:
    """Standard deviation of Gaussian data, read off the 80% quantile of ``|residual|``.

    A name whose price ticks in few buckets has residuals of mostly zero: a quarter of the
    winsorised mean deviation is the floor, so that its scale never vanishes.
    """
    if not residual.size:
        return TINY
    size = np.abs(residual)
    q80, q99 = np.quantile(size, (0.8, 0.99))
    return max(float(q80) / 1.2816, float(np.minimum(size, q99).mean()) / 4, TINY)


def _robust_coef(X: Array, y: Array, loss: Loss) -> Array:
    if loss == "quantile":
        fit = QuantileRegressor(quantile=0.5, alpha=0.0, fit_intercept=False, solver="highs")
        return np.asarray(fit.fit(X, y).coef_)
    spread = robust_scale(y - float(np.median(y)))
    # Far outliers pull no harder when clipped (psi is flat there), but the solver stays accurate.
    bounded = np.clip(y / spread, -FAR, FAR)
    fit = HuberRegressor(epsilon=HUBER_K, alpha=0.0, fit_intercept=False, max_iter=500)
    try:
        return np.asarray(fit.fit(X, bounded).coef_) * spread
    except ValueError:  # no convergence: the same optimum is sought without scale estimation
        return _robust_coef(X, y, "quantile")


def _pool(panel: Panel, raw: Array, response: Array, traded: NDArray[np.bool_]) -> SelfFit:
    """Shrink beta toward its sector by its own precision; fill symbols that had too few rows."""
    alpha, beta, alpha_se, beta_se, sigma = raw[:, :5].T.copy()
    peer = np.nan_to_num(raw[:, 5:])
    known, fitted = np.isfinite(beta), beta.copy()
    for sector in sorted(set(panel.sectors)):
        members = np.array([name == sector for name in panel.sectors])
        donors = known & members if (known & members).any() else known
        center, between = _random_effects(fitted[donors], beta_se[donors])
        own = known & members
        keep = between / (between + beta_se[own] ** 2 + 1e-300)
        beta[own] = center + keep * (beta[own] - center)
        missing = members & ~known
        beta[missing] = center
        alpha[missing], sigma[missing] = np.median(alpha[donors]), np.median(sigma[donors])
    positive = beta[beta > 0]
    beta = np.maximum(beta, 0.05 * np.median(positive) if positive.size else 0.0)
    signed = alpha * np.sign(panel.q) + beta * panel.q + panel.peer_move(peer)
    residual = np.abs(np.where(traded, response - signed, 0.0)) / sigma
    weights = np.where(traded, np.minimum(1.0, HUBER_K / np.maximum(residual, 1e-12)), 0.0)
    source = np.where(known, "own", "sector")
    return SelfFit(alpha, beta, alpha_se, beta_se, sigma, weights, peer, source)


def _random_effects(values: Array, se: Array) -> tuple[float, float]:
    """Mean and between-symbol variance of noisy `values` (DerSimonian and Laird 1986)."""
    w = 1.0 / np.maximum(se, 1e-12) ** 2
    mean = float((w * values).sum() / w.sum())
    excess = float((w * (values - mean) ** 2).sum()) - (len(values) - 1)
    between = max(0.0, excess / max(float(w.sum() - (w**2).sum() / w.sum()), 1e-300))
    total = 1.0 / (se**2 + between + 1e-300)
    return float((total * values).sum() / total.sum()), between
