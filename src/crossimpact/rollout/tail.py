"""Tail of basket costs: p90, p95 and CVaR of policy less control, days drawn with replacement.

A basket weighs the inverse of the chance of its arm, so that either arm stands for all baskets
although days and sizes had different chances.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from crossimpact.estimate import day_bootstrap
from crossimpact.model import Array
from crossimpact.rollout.outcomes import Outcomes

DRAWS = 2000
CHUNK = 250
#: Baskets of an arm beyond a quantile, from where its interval means something.
BEYOND = 5


@dataclass(frozen=True)
class TailEffect:
    """Difference of a tail number, policy less control, bps.

    Attributes
    ----------
    policy, control
        Of either arm; NaN with too few baskets.
    value, se, low, high
        Their difference, its standard error and 95% interval of one look, from drawn days.
    """

    policy: float
    control: float
    value: float
    se: float
    low: float
    high: float


NOTHING = TailEffect(*[float("nan")] * 6)
#: From costs in ascending order and the cumulative share of weight up to each, (draws, n).
Statistic = Callable[[Array, Array], Array]


def quantile(level: float) -> Statistic:
    """The cost that a share `level` of the baskets does not exceed."""

    def of(y: Array, shares: Array) -> Array:
        at = np.minimum((shares < level - 1e-12).sum(axis=1), len(y) - 1)
        return np.asarray(y[at])

    return of


def mean_beyond(level: float) -> Statistic:
    """Mean of the share ``1 - level`` of baskets that cost most (Acerbi and Tasche 2002)."""

    def of(y: Array, shares: Array) -> Array:
        below = np.hstack((np.zeros((len(shares), 1)), shares[:, :-1]))
        beyond = np.clip(shares, level, 1) - np.clip(below, level, 1)
        return np.asarray(beyond @ y / (1 - level))

    return of


STATISTICS: Mapping[str, tuple[float, Statistic]] = {
    "p90_bps": (0.90, quantile(0.90)),
    "p95_bps": (0.95, quantile(0.95)),
    "cvar95_bps": (0.95, mean_beyond(0.95)),
}


def tail_effects(of: Outcomes, *, draws: int = DRAWS, seed: int = 0) -> dict[str, TailEffect]:
    """p90, p95 and CVaR 95 of either arm and their differences; `NOTHING` with too few baskets."""
    days = len(of.days)
    arms = {True: of.treated, False: ~of.treated}
    least = min((int(rows.sum()) for rows in arms.values()), default=0)
    known = {k: v for k, v in STATISTICS.items() if days > 1 and least * (1 - v[0]) >= BEYOND}
    found = dict.fromkeys(STATISTICS, NOTHING)
    if not known:
        return found
    counts = day_bootstrap.counts(days, draws, seed)
    values = {arm: _values(of, rows, counts, known) for arm, rows in arms.items()}
    for name in known:
        policy, control = values[True][name], values[False][name]
        change = policy - control
        told = day_bootstrap.estimate(change[np.isfinite(change)], days)
        se = float(np.nanstd(change[1:], ddof=1))
        found[name] = TailEffect(
            float(policy[0]), float(control[0]), told.value, se, told.low, told.high
        )
    return found


def _values(
    of: Outcomes, rows: np.ndarray, counts: Array, known: Mapping[str, tuple[float, Statistic]]
) -> dict[str, Array]:
    """Each statistic of one arm, as is and in every draw, (draws + 1,); NaN for an empty draw."""
    order = np.argsort(of.is_bps[rows], kind="stable")
    y, day = of.is_bps[rows][order], of.day[rows][order]
    chance = np.where(of.treated, of.propensity, 1 - of.propensity)[rows][order]
    result: dict[str, list[Array]] = {name: [] for name in known}
    for first in range(0, len(counts), CHUNK):
        weight = np.cumsum(counts[first : first + CHUNK][:, day] / chance, axis=1)
        with np.errstate(invalid="ignore"):
            shares = weight / weight[:, -1:]
        for name, (_, statistic) in known.items():
            found = statistic(y, np.nan_to_num(shares))
            result[name].append(np.where(weight[:, -1] > 0, found, np.nan))
    return {name: np.concatenate(parts) for name, parts in result.items()}
