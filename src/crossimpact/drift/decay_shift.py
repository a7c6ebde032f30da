"""Whether impact still lives as long, and is as large, as the champion's kernel says.

A week is too short to fit a kernel, but not to ask a given one. The mid's moves are regressed on
what the kernel says of own flow and of the others', and on how that changes with the half-life:

    r = a own + c cross + b d(own + cross)/d ln(half-life) + level + peers + noise,

so that `a` is 1 and `b` is 0 where nothing changed; ``half-life * exp(b)`` is one step of Gauss and
Newton towards the week's own. The permanent share is the champion's: one that changed shows here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from crossimpact.estimate.decay_placebo import kernel_moves
from crossimpact.estimate.decay_sums import (
    cells_of,
    nuisance,
    pushes,
    rates_of,
    slots_of,
)
from crossimpact.estimate.own_terms import projector
from crossimpact.kernel.decay import Decay
from crossimpact.model import Array, ImpactModel
from crossimpact.panel import Panel
from crossimpact.slope import Slope, between_days

STEP = 1.05  # ratio of half-lives between which a move's change is taken
SELF, HALF_LIFE = 0, 2  # columns: own, cross, change with the half-life
MOST = 3.0  # steps of the logarithm further than this are no estimate


@dataclass(frozen=True)
class DecayShift:
    """A week against a kernel.

    Attributes
    ----------
    size
        Factor on the own moves that the kernel says; 1 where nothing changed.
    log_half_life
        Logarithm of the week's half-life over the kernel's; None for a kernel that stays.
    """

    size: Slope | None
    log_half_life: Slope | None


def decay_shift(models: Mapping[str, ImpactModel], panel: Panel, regime: str) -> DecayShift:
    """Of the buckets of one regime; all models' pushes are carried into them.

    Parameters
    ----------
    models
        By regime, on the panel's symbols; one without a kernel leaves nothing.
    panel
        Whole sessions, plausible cells, as seen (net of nothing).

    Raises
    ------
    EstimationError
        When no date has two buckets.
    """
    timed = {r: model for r, model in models.items() if model.kernel is not None}
    if regime not in timed or not (panel.regime == regime).any():
        return DecayShift(None, None)
    bucket_min = rates_of(panel).bucket_min
    days = [panel.where(panel.date == date) for date in np.unique(panel.date)]
    parts = [_day(day, timed, bucket_min) for day in days]
    x, y = (np.concatenate(part) for part in zip(*parts, strict=True))
    date = np.concatenate([day.date for day in days])
    rows = np.concatenate([day.regime for day in days]) == regime
    return DecayShift(
        _one(x[rows], y[rows], date[rows], SELF), _one(x[rows], y[rows], date[rows], HALF_LIFE)
    )


def _day(day: Panel, models: Mapping[str, ImpactModel], bucket_min: float) -> tuple[Array, Array]:
    """The three columns (T, n, 3) and the moves (T, n), in units of noise, nuisance out of both."""
    kernels = [model.kernel for model in models.values() if model.kernel is not None]
    slots, push = slots_of(day, bucket_min), pushes(day, models)
    moves = kernel_moves(push, kernels, slots)
    change = (_moved(push, kernels, slots, STEP) - _moved(push, kernels, slots, 1 / STEP)) / (
        2 * np.log(STEP)
    )
    columns = np.concatenate((moves, change[:, :, None]), axis=2)
    y, root = cells_of(day, moves, np.isin(day.regime, list(models)))
    own = nuisance(day) * root[:, :, None]
    both = np.concatenate((columns, y[:, :, None]), axis=2) * root[:, :, None]
    shared = own.transpose(1, 2, 0) @ both.transpose(1, 0, 2)
    left = both - (own.transpose(1, 0, 2) @ (projector(own) @ shared)).transpose(1, 0, 2)
    return left[:, :, :3], left[:, :, 3]


def _moved(push: Array, kernels: list[Decay], slots: NDArray[np.int64], longer: float) -> Array:
    """Moves by own and cross pushes together, half-lives `longer` times as long, (T, n)."""
    slower = [
        replace(kernel, rates_per_min=tuple(rate / longer for rate in kernel.rates_per_min))
        for kernel in kernels
    ]
    return np.asarray(kernel_moves(push, slower, slots).sum(axis=2))


def _one(x: Array, y: Array, date: NDArray[np.str_], column: int) -> Slope | None:
    """The coefficient of one column beside the others; None where it says nothing."""
    flat = x.reshape(-1, x.shape[2])
    gram = flat.T @ flat
    inverse = np.linalg.pinv(gram, rcond=1e-10, hermitian=True)
    if not inverse[column, column] > 0:
        return None
    weights = inverse[column] / inverse[column, column]
    alone = x @ weights  # what the others do not explain of the column
    others = inverse @ (flat.T @ y.ravel())
    others[column] = 0.0
    score = (alone * (y - x @ others)).sum(axis=1)
    return between_days((alone**2).sum(axis=1), score, date)
