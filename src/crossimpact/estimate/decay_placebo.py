"""A control of a decay kernel: flows a session late, which cannot have moved the price.

A kernel may fit what has nothing to do with impact: a daily pattern of moves, a drift that flow
goes with. So the mid's moves are regressed on what the kernel says of the day's own flows and,
beside it, of the flows of the session before at the same time of day. The first get about 1, the
second nothing but noise. Errors are clustered by day.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t
from threadpoolctl import threadpool_limits

from crossimpact.estimate.decay_sums import (
    Models,
    cells_of,
    on_slots,
    products,
    pushes,
    rates_of,
    slots_of,
)
from crossimpact.kernel.decay import Decay, states
from crossimpact.model import Array
from crossimpact.panel import Panel

MIN_DAYS = 5  # with a session before them: fewer tell no error


@dataclass(frozen=True)
class Placebo:
    """What flows a session late seem to move, as a share of what the kernel says of them.

    Attributes
    ----------
    own, cross
        About 0; the day's own flows have 1. NaN where nothing is pushed, or no couplings ship.
    own_se, cross_se
        Their standard errors, clustered by day.
    p
        Chance that noise alone takes the further of them so far from 0.
    """

    own: float
    own_se: float
    cross: float
    cross_se: float
    p: float


def placebo(panel: Panel, models: Models) -> Placebo | None:
    """Fit it; None without a kernel, or with fewer than `MIN_DAYS` sessions that follow another.

    Parameters
    ----------
    panel
        All buckets of the window, raw flows, on the models' symbols.
    models
        By regime; one without a kernel is left out, and its buckets' moves with it.
    """
    timed = {regime: model for regime, model in models.items() if model.kernel is not None}
    dates = np.unique(panel.date)[1:]
    if not timed or len(dates) < MIN_DAYS:
        return None
    late, bucket_min = replace(panel, q=panel.shifted_q()), rates_of(panel).bucket_min
    days = ((panel.where(panel.date == date), late.where(late.date == date)) for date in dates)
    with threadpool_limits(limits=1):  # the same digits whatever the machine's cores
        return _judged(*_sums(days, timed, bucket_min))


def _sums(
    days: Iterable[tuple[Panel, Panel]], models: Models, bucket_min: float
) -> tuple[Array, Array]:
    """By day, the products of four predictions of the mid's moves with each other (4, 4) and with
    the moves (4,): by the day's flows own and cross, by those a session late own and cross."""
    grams, answers = [], []
    kernels = [model.kernel for model in models.values() if model.kernel is not None]
    for day, late in days:
        slots = slots_of(day, bucket_min)
        both = [kernel_moves(pushes(flows, models), kernels, slots) for flows in (day, late)]
        y, root = cells_of(day, both[0], np.isin(day.regime, list(models)))
        gram, xy, _ = products(day, np.concatenate(both, axis=2), y, root)
        grams.append(gram)
        answers.append(xy)
    return np.array(grams), np.array(answers)


def kernel_moves(push: Array, kernels: Sequence[Decay], slots: NDArray[np.int64]) -> Array:
    """What the regimes' kernels say pushes move the mid by, own and cross, (T, n, 2)."""
    moves = np.zeros((*push.shape[:2], 2))
    for k, kernel in enumerate(kernels):
        pushed = on_slots(push[:, :, 2 * k : 2 * k + 2], slots)
        walk = states(pushed, kernel.rates_per_min, kernel.bucket_min)
        changes = np.array([np.tensordot(kernel.weights, end - start, 1) for start, end in walk])
        moves += changes[slots] * (kernel.scale_self, kernel.scale_cross)
    return moves


def _judged(gram: Array, xy: Array) -> Placebo:
    days = len(gram)
    inverse = np.linalg.pinv(gram.sum(axis=0), rcond=1e-10, hermitian=True)
    shares = inverse @ xy.sum(axis=0)
    scores = (xy - gram @ shares) @ inverse
    se = np.sqrt((scores**2).sum(axis=0) * days / (days - 1))
    seen = se[2:] > 0
    own, cross = np.where(seen, shares[2:], np.nan).tolist()
    own_se, cross_se = np.where(seen, se[2:], np.nan).tolist()
    far = np.abs(shares[2:][seen] / se[2:][seen])
    chance = 2 * far.size * t.sf(far.max(initial=0.0), days - 1)
    return Placebo(own, own_se, cross, cross_se, min(float(chance), 1.0) if far.size else 1.0)
