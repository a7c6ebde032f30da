"""Panels drawn from the contract's own equation, for tests of the estimators alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossimpact.model import from_scaled
from crossimpact.panel import Panel

BUCKETS = 78  # a session of five-minute buckets
CELLS = ("q", "s", "move", "sector_flow", "factor_flow")


def draw(
    seed: int = 0, T: int = 2000, n: int = 8, noise: float = 8.0, active: float = 0.6,
    confounded: bool = False, regime: str = "normal", fill: float = 4.0, common: float = 0.0,
    coupling: float = 0.3,
) -> tuple[Panel, dict[str, np.ndarray]]:  # fmt: skip
    """A panel of two sectors, and what was planted: alpha, beta, gamma, M (scaled), true moves.

    Pairs of one sector share `coupling`, the first and the last name are coupled across sectors.
    `noise` of the mid moves, a share `common` of its variance the market's, and `fill` of the fills
    around the mid move are in bps; `confounded` flows chase the peers' that move prices too.
    """
    rng = np.random.default_rng(seed)
    adv = np.exp(rng.normal(18, 0.8, n))
    sectors = tuple("AB"[i * 2 // n] for i in range(n))
    same = np.equal.outer(np.array(sectors), np.array(sectors))
    beta = rng.uniform(2000, 4000, n)
    M = coupling * np.sqrt(np.outer(beta, beta)) * same
    M[0, n - 1] = M[n - 1, 0] = 2 * coupling * np.sqrt(beta[0] * beta[n - 1])
    np.fill_diagonal(M, 0)
    alpha = rng.uniform(0.5, 2.0, n)
    peer = rng.normal(0, 1e-3, (T, 2))[:, [i * 2 // n for i in range(n)]]  # by sector
    q = rng.normal(0, 1e-3, (T, n)) * (rng.random((T, n)) < active)
    if confounded:
        q += 0.5 * peer * (q != 0)
    gamma = from_scaled(M, adv)
    market, own = rng.normal(0, noise, (T, 1)), rng.normal(0, noise, (T, n))
    cross = q @ gamma.T
    shocks = np.sqrt(common) * market + np.sqrt(1 - common) * own
    move = beta * q + cross + 3000.0 * confounded * peer + shocks
    paid = alpha + np.sign(q) * move + rng.normal(0, fill, (T, n))
    ts, date = calendar(T)
    panel = Panel(
        ts=ts,
        date=date,
        regime=np.full(T, regime),
        symbols=tuple(f"S{i}" for i in range(n)),
        sectors=sectors,
        adv=adv,
        q=q,
        s=np.where(q != 0, paid, np.nan),
        move=move,
        sector_flow=peer if confounded else np.zeros((T, n)),
        factor_flow=np.zeros((T, n)),
    )
    return panel, {"alpha": alpha, "beta": beta, "gamma": gamma, "M": M, "cross": cross}


def calendar(T: int) -> tuple[NDArray[np.datetime64], NDArray[np.str_]]:
    """Bucket starts and dates of sessions of `BUCKETS` buckets."""
    day, bucket = np.divmod(np.arange(T), BUCKETS)
    open_ = np.datetime64("2026-03-02T14:30", "us") + day * np.timedelta64(1, "D")
    ts = open_ + bucket * np.timedelta64(300, "s")
    return ts, open_.astype("datetime64[D]").astype(str)


def spread_sizes(seed: int, power: float) -> tuple[Panel, dict[str, np.ndarray]]:
    """Log-normal sizes, prices that move with flow to a power (equal at a flow of 0.1% of ADV)."""
    panel, truth = draw(seed, T=1600, noise=4.0, fill=2.0)
    noise = panel.move - truth["cross"] - truth["beta"] * panel.q
    fill = np.sign(panel.q) * (panel.s - truth["alpha"]) - panel.move
    q = 1e-3 * np.sign(panel.q) * np.exp(np.random.default_rng(seed).normal(0, 1, panel.q.shape))
    f = np.sign(q) * 1e-3 * (np.abs(q) / 1e-3) ** power
    cross = f @ truth["gamma"].T
    move = truth["beta"] * f + cross + noise
    s = truth["alpha"] + np.sign(q) * (move + fill)
    return replace(panel, q=q, move=move, s=s), {**truth, "cross": cross}


def without_cross(panel: Panel, truth: dict[str, np.ndarray], factor: float = 0.0) -> Panel:
    """The same desk, had cross impact been `factor` times as strong (0: none)."""
    extra = (factor - 1) * truth["cross"]
    return replace(panel, move=panel.move + extra, s=panel.s + np.sign(panel.q) * extra)


def permuted(panel: Panel, order: NDArray[np.int64]) -> Panel:
    """The same desk with its names in another order."""
    return replace(
        panel,
        symbols=tuple(panel.symbols[i] for i in order),
        sectors=tuple(panel.sectors[i] for i in order),
        adv=panel.adv[order],
        **{name: getattr(panel, name)[:, order] for name in CELLS},
    )


def with_cells(panel: Panel, **cells: tuple[Any, float]) -> Panel:
    """The panel with other numbers in some cells: ``q=(index, value)``."""
    changed = {}
    for name, (index, value) in cells.items():
        array = getattr(panel, name).copy()
        array[index] = value
        changed[name] = array
    return replace(panel, **changed)
