"""What is left of a push, lag by lag, with no shape assumed: the curve beside the fitted kernel.

The mid's move is regressed on the pushes of the bucket and of those before it, own and cross, of
all regimes alike; the running sums of the coefficients are the level of the price so many buckets
after a push, in bps per bps its fills paid. Errors are clustered by day.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from crossimpact.errors import EstimationError
from crossimpact.estimate.decay_sums import (
    Models,
    Rates,
    cells_of,
    on_slots,
    products,
    pushes,
    rates_of,
    slots_of,
    state_changes,
)
from crossimpact.model import Array
from crossimpact.panel import Panel

LAGS = 24  # buckets after the push's own


@dataclass(frozen=True)
class LagCurve:
    """Level of the price after a push, bps per bps its fills paid.

    Attributes
    ----------
    lags_min
        Minutes after the push's bucket's end, 0 first, shape (L,).
    own, cross
        Levels for own and for the others' pushes, shape (L,).
    own_se, cross_se
        Their standard errors, clustered by day.
    """

    lags_min: Array
    own: Array
    own_se: Array
    cross: Array
    cross_se: Array


def lag_curve(panel: Panel, models: Models, lags: int = LAGS) -> LagCurve:
    """Fit the curve.

    Parameters
    ----------
    panel
        All buckets of the window, raw flows, on the models' symbols.
    models
        By regime.
    lags
        Buckets after the push's own; no more than the longest session has.

    Raises
    ------
    EstimationError
        With a single date, or none on which a name was pushed.
    """
    rates = rates_of(panel)
    lags = min(lags, rates.session_buckets - 1)
    days = [panel.where(panel.date == date) for date in np.unique(panel.date)]
    gram, xy = _sums(days, models, rates, lags)
    if len(days) < 2 or not gram.any():
        raise EstimationError(
            f"{len(days)} dates with {int(gram.any(axis=(1, 2)).sum())} of them pushed: no lag "
            "curve",
            "take a longer window",
        )
    inverse = np.linalg.pinv(gram.sum(axis=0), rcond=1e-10, hermitian=True)
    coefficients = inverse @ xy.sum(axis=0)
    scores = (xy - gram @ coefficients) @ inverse
    level = np.kron(np.tril(np.ones((lags + 1, lags + 1))), np.eye(2))
    spread = np.sqrt(((scores @ level.T) ** 2).sum(axis=0) * len(days) / (len(days) - 1))
    levels, errors = (values.reshape(-1, 2) for values in (level @ coefficients, spread))
    at = np.asarray(rates.bucket_min * np.arange(lags + 1.0))
    return LagCurve(at, levels[:, 0], errors[:, 0], levels[:, 1], errors[:, 1])


def _sums(days: Iterable[Panel], models: Models, rates: Rates, lags: int) -> tuple[Array, Array]:
    """Products of the lagged pushes, lag by lag own then cross, with each other and with the mid
    moves, by day."""
    grams, answers = [], []
    for day in days:
        slots = slots_of(day, rates.bucket_min)
        both = pushes(day, models).reshape(*day.q.shape, -1, 2).sum(axis=2)
        total = on_slots(both.sum(axis=2, keepdims=True), slots)
        impact = state_changes(total, rates)[slots][:, :, rates.pilot, 0]
        y, root = cells_of(day, impact, np.isin(day.regime, list(models)))
        whole = np.pad(on_slots(both, slots), ((lags, 0), (0, 0), (0, 0)))
        lagged = np.stack([whole[slots + lags - lag] for lag in range(lags + 1)], axis=2)
        gram, xy, _ = products(day, lagged.reshape(*day.q.shape, -1), y, root)
        grams.append(gram)
        answers.append(xy)
    return np.array(grams), np.array(answers)
