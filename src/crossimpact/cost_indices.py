"""Two indices of how execution goes, for guardrails: cross pressure and budget burn.

    CPI = 1e4 (cross_now + cross_carried) / sum_i |Q_i|      [bps of notional]
    IBB = realized shortfall / expected cost                 [ratio, over a trailing window]

The first is the weighted sum of active ``gamma_ij q_i q_j``, with what earlier buckets left in the
price; both use the one impact model. The second measures slippage from the mid at the bucket's
start, so its budget is what a bucket costs by itself.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from crossimpact.model import ImpactModel
from crossimpact.path import PathCost
from crossimpact.scaled import BPS, Array

#: Buckets over which the budget's burn is summed: one bucket's slippage is mostly noise.
BURN_BUCKETS = 6


def cross_pressure(cost: PathCost, notional: Array) -> Array:
    """CPI of each bucket, bps, positive: names that trade together make each other dearer.

    Parameters
    ----------
    cost
        Of the session's path of flows, from its first bucket on.
    notional
        Sum of what was traded, both sides, USD per bucket, shape (buckets,).

    Returns
    -------
    Array
        Shape (buckets,), NaN where nothing was traded.
    """
    traded = notional > 0
    pressure = (cost.cross_now + cost.cross_carried) / np.where(traded, notional, 1.0) / BPS
    return np.where(traded, pressure, np.nan)


def session_pressure(model: ImpactModel, flows: Array) -> Array:
    """CPI of each bucket of one session, flows in ADV fractions, shape (buckets, n)."""
    return cross_pressure(model.path_cost(flows), np.abs(flows * model.adv).sum(axis=1))


def budget_burn(realized_usd: Array, budget_usd: Array) -> Array:
    """IBB of the trailing `BURN_BUCKETS` at the end of each bucket of one session.

    Parameters
    ----------
    realized_usd, budget_usd
        Slippage from the mid at the bucket's start and expected cost, per bucket, shape (buckets,);
        zero where nothing was traded.

    Returns
    -------
    Array
        Shape (buckets,), NaN where the window has no budget to burn.
    """
    realized, budget = (_trailing(values) for values in (realized_usd, budget_usd))
    known = budget > 0
    return np.where(known, realized / np.where(known, budget, 1.0), np.nan)


def _trailing(values: Array) -> Array:
    padded = np.concatenate((np.zeros(BURN_BUCKETS - 1), np.asarray(values, dtype=np.float64)))
    return np.asarray(sliding_window_view(padded, BURN_BUCKETS).sum(axis=1))
