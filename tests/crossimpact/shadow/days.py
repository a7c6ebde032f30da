"""A planted day for the shadow's tests: a market, orders in baskets, a model that moves it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from crossimpact.kernel.decay import DecayErrors
from crossimpact.model import ImpactModel
from crossimpact.release.bundle import Release
from crossimpact.release.content import Guardrail
from crossimpact.shadow.day import Day, Orders
from tests.crossimpact.policy.scheduling.universes import model_of
from tests.releases import release_of

OPENS = datetime(2026, 3, 27, 14, 30, tzinfo=UTC)
POV = 0.15


def model(n: int = 6, sectors: int = 2, **fields: Any) -> ImpactModel:
    """With standard errors, of kernel and couplings alike."""
    made = model_of(n, sectors=sectors, pairs=2, **fields)
    errors = DecayErrors(20.0, 45.0, 0.1, 0.3, 0.05, 0.05)
    kernel = None if made.kernel is None else replace(made.kernel, errors=errors)
    return replace(
        made, kernel=kernel, beta_se=0.1 * made.beta,
        gamma_se=np.where(made.gamma != 0, 0.2 * np.abs(made.gamma).max(), np.nan),
    )  # fmt: skip


def release(made: ImpactModel) -> Release:
    """Whose guardrails never leave green."""
    levels = {name: Guardrail(1e9, 1e9) for name in ("cpi_bps", "ibb")}
    return release_of(made, "2026-03-20", guardrails={made.regime: levels})


def day(made: ImpactModel, orders: int = 12, buckets: int = 18, seed: int = 0) -> Day:
    """Names trade one way each; windows lie within the day."""
    rng, n = np.random.default_rng(seed), made.n
    mid = 100 * np.exp(np.cumsum(rng.normal(0, 1e-3, (buckets + 1, n)), axis=0))
    name = rng.integers(0, n, orders).astype(np.intp)
    side = np.where(np.arange(n) % 3, 1.0, -1.0)
    start = rng.integers(0, buckets // 2, orders).astype(float)
    end = start + rng.integers(4, buckets // 2, orders)
    usual = made.adv[name] / buckets / 100
    quantity = side[name] * usual * (end - start) * rng.uniform(0.01, 0.06, orders)
    parents = Orders(
        tuple(f"p{k}" for k in range(orders)), tuple(f"b{k % 4}" for k in range(orders)), name,
        quantity, mid[start.astype(int), name], start, end, rng.normal(3, 3, orders),
    )  # fmt: skip
    noise = np.exp(rng.normal(0, 0.3, (buckets, n)))
    return Day(
        "2026-03-27", made.symbols, made.adv, OPENS, 5.0, (made.regime,) * buckets, mid,
        np.full((buckets, n), 1e-4), made.adv / buckets * noise, parents, np.zeros((buckets, n)),
    )  # fmt: skip


def whole_day(made: ImpactModel, buckets: int = 12) -> Day:
    """An order in every name, all day long, on prices that stand still at 100."""
    n = made.n
    quantity = np.where(np.arange(n) % 2, 1.0, -1.0) * made.adv / 100 * 0.02
    orders = Orders(
        made.symbols, made.symbols, np.arange(n), quantity, np.full(n, 100.0), np.zeros(n),
        np.full(n, float(buckets)), np.zeros(n),
    )  # fmt: skip
    zero = np.zeros((buckets, n))
    return Day(
        "2026-03-27", made.symbols, made.adv, OPENS, 5.0, (made.regime,) * buckets,
        np.full((buckets + 1, n), 100.0), zero, np.tile(made.adv / buckets, (buckets, 1)), orders,
        zero,
    )  # fmt: skip
