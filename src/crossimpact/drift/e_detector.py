"""Alarms that stay honest however often one looks: an e-detector of Shiryaev-Roberts type.

Each week a statistic gives a p-value: uniform or larger while nothing has changed, whatever the
weeks before. A bet ``kappa p^(kappa - 1)`` turns it into an e-value, whose mean is then at most 1
(Vovk and Wang 2021, "E-values"), and the detector adds up the evidence of every week on which the
change may have happened (Shin, Ramdas and Rinaldo 2024, "E-detectors"):

    R_0 = 0,    R_t = (1 + R_{t-1}) e_t,    evidence = mean of R_t over the bets.

Without a change ``E R_t <= t``, so by Doob's inequality (Ville 1939 for a single start)
``P(max_{t <= 52} R_t >= 52 / alpha) <= alpha``: no more than `alpha` of the years without a change
see an alarm, although somebody looks every week; several statistics share that `alpha`. The
detector is a function of the weeks' p-values alone: nothing is counted on and on.

A detector waits for its limit even when one week leaves no doubt. What may not wait has `AT_ONCE`
to itself, a 52nd of it a week (Bonferroni), and both together keep to one year in twenty.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from crossimpact.model import Array

AT_ONCE = 0.01  # ... may see an alarm from one week alone
HORIZON = 52  # weeks in which that holds
BETS = (0.1, 0.25, 0.5)  # from rare and strong to frequent and weak evidence
RECENT, WATCH = 2, 20.0  # evidence of so many weeks from where a statistic is watched ...
SLOW = 0.25  # ... and of the limit, for what adds up slowly; rates in benchmarks/drift.py
LEAST_P = 1e-15  # no tail is known any further
MOST = 1e300  # evidence that need not be told apart


def e_values(p: ArrayLike) -> Array:
    """``kappa p^(kappa - 1)`` of each bet, mean at most 1 when p is uniform or larger; 1 where
    there is no p-value (NaN). Shape of `p` and a last axis of bets."""
    kappa, p = np.array(BETS), np.maximum(p, LEAST_P)[..., None]
    return np.asarray(np.where(np.isnan(p), 1.0, kappa * p ** (kappa - 1)))


def e_value(p: float) -> float:
    """One week's evidence alone, the mean over the bets."""
    return float(e_values(p).mean())


def running(history: ArrayLike) -> Array:
    """The detector after each week, from the weeks' p-values on the last axis, oldest first.

    A week without a p-value (NaN) leaves it as it was.
    """
    p = np.asarray(history, dtype=float)
    e = e_values(p)
    detector, path = np.zeros((*p.shape[:-1], len(BETS))), np.zeros(p.shape)
    for week in range(p.shape[-1]):
        known = ~np.isnan(p[..., week, None])
        with np.errstate(over="ignore"):
            grown = np.minimum((1 + detector) * e[..., week, :], MOST)
        detector = np.where(known, grown, detector)
        path[..., week] = detector.mean(axis=-1)
    return path


def evidence(history: Sequence[float]) -> float:
    """The detector after these weeks; 0 before the first."""
    return float(running(history)[-1]) if len(history) else 0.0


def watched(history: Sequence[float], limit: float) -> bool:
    """Whether something seems to have changed: much evidence lately, or a good part of an alarm's.

    Evidence since the start would not do: without a change its mean grows by one a week.
    """
    return evidence(history[-RECENT:]) >= WATCH or evidence(history) >= SLOW * limit


def limit(tests: int, alpha: float, horizon: int = HORIZON) -> float:
    """Evidence from which one of so many statistics raises an alarm; looks in `horizon`."""
    return horizon * tests / alpha


def level_at_once(tests: int) -> float:
    """p-value at which one week alone raises an alarm, of so many tests a week."""
    return AT_ONCE / (HORIZON * tests)
