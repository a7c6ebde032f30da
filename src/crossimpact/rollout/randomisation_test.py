"""Exact tests from the known assignment (Bojinov and Shephard 2019).

Under the null that the policy adds a known number to every basket's cost, what each would have cost
as a control is known; only who was drawn is chance, and that can be drawn again by the very
mechanism. A p-value is the share of draws at least as far out as what happened, itself counted. A
day's own p-value is exact given all before, so evidence may be summed up over days.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossimpact.drift import e_detector
from crossimpact.model import Array
from crossimpact.rollout.design import chances
from crossimpact.rollout.effect import within_day
from crossimpact.rollout.outcomes import Outcomes

DRAWS = 999
#: Trading days in which the alarm keeps to its error rate: a quarter.
QUARTER = 63


@dataclass(frozen=True)
class Mechanism:
    """How the chances of the baskets came about, to draw them again.

    Attributes
    ----------
    stratum
        Of each basket, (n,).
    usual_usd
        What a day of each stratum usually orders, as used at the open, (days, strata).
    share
        Of the notional.
    """

    stratum: NDArray[np.intp]
    usual_usd: Array
    share: float

    def draw(self, of: Outcomes, uniforms: Array) -> tuple[NDArray[np.bool_], Array]:
        """Who is treated, and at which chances, from uniforms in [0, 1); all (draws, n).

        Day after day, as it was done: chances make good for what earlier days of the draw gave.
        """
        treated = np.zeros(uniforms.shape, dtype=bool)
        chance = np.zeros(uniforms.shape)
        excess = np.zeros((len(uniforms), self.usual_usd.shape[1]))
        ends = np.searchsorted(of.date, of.days, side="right")
        first = 0
        for number, end in enumerate(ends):
            rows, strata = slice(first, end), self.stratum[first:end]
            chance[:, rows] = chances(excess, self.usual_usd[number], self.share)[:, strata]
            treated[:, rows] = uniforms[:, rows] < chance[:, rows]
            gained = (treated[:, rows] - self.share) * of.notional_usd[rows]
            for stratum in np.unique(strata):
                excess[:, stratum] += gained[:, strata == stratum].sum(axis=1)
            first = end
        return treated, chance


def p_value(
    of: Outcomes, y: Array, mechanism: Mechanism, *, null: float = 0.0, draws: int = DRAWS,
    seed: int = 0,
) -> float:  # fmt: skip
    """Two-sided, of the null that the policy adds `null` to every basket; all days together."""
    control = within_day(of, y - null * of.treated)
    treated, chance = mechanism.draw(of, of.uniforms(draws, seed))
    again = _studentised(np.add.reduceat((treated - chance) * control, of.first, axis=1))
    seen = _studentised(np.add.reduceat((of.treated - of.propensity) * control, of.first)[None])[0]
    return float((1 + (again >= seen - 1e-12).sum()) / (draws + 1))


def day_p_values(
    of: Outcomes, y: Array, *, null: float = 0.0, draws: int = DRAWS, seed: int = 0
) -> Array:
    """Per day, one-sided: of the null that the policy adds at most `null` to a basket; (days,).

    Uniform or larger given all before, whatever the costs' distribution.
    """
    control = within_day(of, y - null * of.treated)
    drawn = (of.uniforms(draws, seed) < of.propensity) - of.propensity
    again = np.add.reduceat(drawn * control, of.first, axis=1)
    seen = np.add.reduceat((of.treated - of.propensity) * control, of.first)
    return np.asarray((1 + (again >= seen - 1e-12).sum(axis=0)) / (draws + 1))


@dataclass(frozen=True)
class Alarm:
    """Evidence, summed up over the days, that the policy costs more than its margin.

    Attributes
    ----------
    evidence, limit
        Of the e-detector after the last day, and from where it raises the alarm.
    raised
        Date of the first alarm, empty while there is none.
    """

    evidence: float
    limit: float
    raised: str


def alarm(of: Outcomes, y: Array, *, margin: float, alpha: float, draws: int = DRAWS) -> Alarm:
    """The drift alarm on the days' own p-values: at most `alpha` of the quarters without harm see
    one, however often one looks."""
    limit = e_detector.limit(1, alpha, QUARTER)
    if not len(of):
        return Alarm(0.0, limit, "")
    path = e_detector.running(day_p_values(of, y, null=margin, draws=draws))
    beyond = np.flatnonzero(path >= limit)
    return Alarm(float(path[-1]), limit, str(of.days[beyond[0]]) if beyond.size else "")


def _studentised(daily: Array) -> Array:
    """|sum| over the root of the squares, per row of (draws, days); 0 where nothing was drawn."""
    spread = np.sqrt((daily**2).sum(axis=1))
    return np.asarray(np.divide(np.abs(daily.sum(axis=1)), spread, out=np.zeros(len(daily)),
                                where=spread > 0))  # fmt: skip
