"""Panels drawn from the contract's own equation, for tests of the estimators alone."""

from __future__ import annotations

import numpy as np

from crossimpact.estimate.design import Panel
from crossimpact.model import from_scaled


def draw(
    seed: int = 0, T: int = 2000, n: int = 8, noise: float = 8.0, active: float = 0.6,
    confounded: bool = False, regime: str = "normal",
) -> tuple[Panel, dict[str, np.ndarray]]:  # fmt: skip
    """A panel and what was planted: alpha, beta, gamma, M (scaled)."""
    rng = np.random.default_rng(seed)
    adv = np.exp(rng.normal(18, 0.8, n))
    sectors = tuple("AB"[i * 2 // n] for i in range(n))
    same = np.equal.outer(np.array(sectors), np.array(sectors))
    beta = rng.uniform(2000, 4000, n)
    M = 0.3 * np.sqrt(np.outer(beta, beta)) * same
    M[0, n - 1] = M[n - 1, 0] = 0.6 * np.sqrt(beta[0] * beta[n - 1])
    np.fill_diagonal(M, 0)
    alpha = rng.uniform(0.5, 2.0, n)
    peer = rng.normal(0, 1e-3, (T, 2))[:, [i * 2 // n for i in range(n)]]  # by sector
    q = rng.normal(0, 1e-3, (T, n)) * (rng.random((T, n)) < active)
    if confounded:
        q += 0.5 * peer * (q != 0)
    gamma = from_scaled(M, adv)
    move = beta * q + q @ gamma.T + 3000.0 * confounded * peer + rng.normal(0, noise, (T, n))
    s = np.where(q != 0, alpha + np.sign(q) * move, np.nan)
    day = np.arange(T) // 78
    panel = Panel(
        ts=np.datetime64("2026-03-02T14:30", "us")
        + day * np.timedelta64(1, "D")
        + (np.arange(T) % 78) * np.timedelta64(300, "s"),
        date=np.array([f"2026-{1 + d // 28:02d}-{1 + d % 28:02d}" for d in day]),
        regime=np.full(T, regime),
        symbols=tuple(f"S{i}" for i in range(n)),
        sectors=sectors,
        adv=adv,
        q=q,
        s=s,
        move=move,
        sector_flow=peer if confounded else np.zeros((T, n)),
        factor_flow=np.zeros((T, n)),
    )
    return panel, {"alpha": alpha, "beta": beta, "gamma": gamma, "M": M}
