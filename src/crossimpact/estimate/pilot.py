"""The day's robust fit of each name's own terms, which keeps outliers out of the shared Gram.

Robustness without reweighting, so that the Gram stays shared:

- a response further than `CLIP` robust standard deviations from the day's fit of its own terms is
  moved to that distance (Huber's psi on pseudo-values), so one bad print weighs no more than `CLIP`
  ordinary ones;
- a bucket in which the whole market is noisier than `NOISY` times its regime's median (an outage, a
  catch-up print) counts less, one weight for all its names;
- a cell that is no number is left out, and its row's sums are scaled by what is known.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from crossimpact.estimate.robust import huber_weight, robust_spread
from crossimpact.model import Array
from crossimpact.panel import Panel, tick_scale

CLIP = 6.0  # robust standard deviations of the day
NOISY = 2.0  # times its regime's median noise, from where a bucket counts less
PRIOR_NAMES = 5.0  # names' worth of belief that a bucket is as noisy as others of its regime
STEPS = 6  # of the day's robust fit
PILOT_RIDGE = 2.0  # buckets' worth of belief that a day's own terms are flat


@dataclass(frozen=True)
class Pilot:
    """The day's robust fit of each name's own terms: its mid moves with far ones moved in, what it
    leaves (both 0 where unknown), which are known, all (T, n), and the buckets' weights (T,)."""

    move: Array
    residual: Array
    known: Array
    weight: Array

    def of(self, rows: Array) -> Pilot:
        return Pilot(*(getattr(self, f.name)[rows] for f in fields(self)))


def fit_pilot(panel: Panel, B: Array) -> Pilot:
    """Fit one day.

    Parameters
    ----------
    panel
        One trading date.
    B
        Each name's own columns, shape (T, n, k), finite.
    """
    known = np.isfinite(panel.move)
    y = np.where(known, panel.move, 0.0)
    size = np.sqrt((B**2).mean(axis=0))
    unit = np.divide(B, size, out=np.zeros_like(B), where=size > 0)
    w, bucket = known.astype(float), np.ones(len(y))
    tick = tick_scale(panel.seen.move)
    for _ in range(STEPS):
        inside = np.einsum("tik,ti,til->ikl", unit, w, unit) + PILOT_RIDGE * np.eye(B.shape[2])
        coef = np.linalg.solve(inside, np.einsum("tik,ti->ik", unit, w * y)[:, :, None])[:, :, 0]
        fitted = np.einsum("tik,ik->ti", unit, coef)
        far = np.where(known, np.abs(y - fitted), np.nan)
        name = np.maximum(robust_spread(far / bucket[:, None], axis=0), tick)
        bucket = bucket_noise(robust_spread(far / name, axis=1), known.sum(axis=1), panel.regime)
        noise = name * bucket[:, None]
        w = np.where(known, huber_weight(far, noise), 0.0)
        w = np.nan_to_num(w) / bucket[:, None] ** 2
    residual = np.where(known, np.clip(y - fitted, -CLIP * noise, CLIP * noise), 0.0)
    weight = np.minimum(1.0, (NOISY / _relative(bucket, panel.regime)) ** 2)
    return Pilot(np.where(known, fitted, 0.0) + residual, residual, known, weight)


def bucket_noise(noise: Array, names: NDArray[np.int64], regime: NDArray[np.str_]) -> Array:
    """A bucket's noise relative to the day's median bucket, as far as its names can tell it from
    its regime's."""
    typical = noise / _relative(noise, regime)
    told = (names * noise**2 + PRIOR_NAMES * typical**2) / (names + PRIOR_NAMES)
    return np.asarray(np.sqrt(told) / np.median(noise))


def _relative(noise: Array, regime: NDArray[np.str_]) -> Array:
    """Noise of each bucket over the median of its regime's buckets of the day."""
    relative = np.ones_like(noise)
    for label in np.unique(regime):
        rows = regime == label
        relative[rows] = noise[rows] / np.median(noise[rows])
    return relative
