"""Simulated slices: a day factor and fat-tailed baskets, drawn by the real mechanism."""

from __future__ import annotations

from datetime import date, timedelta
from functools import cache

import numpy as np

from crossimpact.rollout.outcomes import Outcomes
from crossimpact.rollout.randomisation_test import Mechanism

DAY_SD, OWN_SD = 15.0, 35.0  # bps: what all baskets of a day share, and a basket's own (t, 4 df)
SIZE_SD = 0.7  # of log notional
STRATA = 3


@cache
def slice_of(
    days: int, baskets: int, *, effect: float = 0.0, share: float = 0.25, seed: int = 0
) -> tuple[Outcomes, Mechanism]:
    """Randomised baskets whose cost the policy raises by `effect` bps, and how they were drawn."""
    rng, n = np.random.default_rng(seed), days * baskets
    day = np.repeat(np.arange(days), baskets)
    cost = 20 + DAY_SD * rng.standard_normal(days)[day]
    controls = 10 * rng.standard_normal((n, 3))
    cost = cost + controls @ [1.0, 0.5, 0.0] + OWN_SD * rng.standard_t(4, n) / np.sqrt(2)
    notional = 1e6 * np.exp(SIZE_SD * rng.standard_normal(n))
    stratum = np.searchsorted(np.quantile(notional, [1 / 3, 2 / 3]), notional)
    usual = np.bincount(stratum, notional, STRATA) / days
    mechanism = Mechanism(stratum, np.tile(usual, (days, 1)), share)
    dates = np.array([(date(2026, 1, 1) + timedelta(d)).isoformat() for d in range(days)])[day]
    names = np.array([f"B{k}" for k in range(n)])
    zeros = np.zeros(n)
    blank = Outcomes(
        dates, names, names, zeros.astype(bool), np.full(n, 0.5), notional, cost, controls,
        zeros, zeros, np.full(n, 0.1), np.ones(n),
    )  # fmt: skip
    treated, chance = mechanism.draw(blank, blank.uniforms(1, seed + 1))
    z = treated[0]
    drawn = Outcomes(
        dates, names, names, z, chance[0], notional, cost + effect * z, controls,
        zeros, zeros, np.full(n, 0.1), np.ones(n),
    )  # fmt: skip
    return drawn, mechanism
