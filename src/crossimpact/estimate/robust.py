"""Robust weights and scales of the estimators: Huber's weight, and two standard deviations.

Both scales are those of Gaussian data and are never zero. `robust_scale` reads one sample off its
80% quantile, which a price that ticks in few buckets still moves; `robust_spread` reads many
samples at once off their medians and ignores what is not known.
"""

from __future__ import annotations

import numpy as np

from crossimpact.model import Array

HUBER_K = 1.35  # standard deviations; 95% efficiency under Gaussian noise (Huber 1964)
TINY = 1e-9  # bps; a scale is never zero, and less than it is no impact
INNER, OUTER = 0.8, 0.99  # quantiles that `robust_scale` reads


def huber_weight(residual: Array, scale: Array | float) -> Array:
    """Weight of each residual in reweighted least squares: 1 up to `HUBER_K` scales, then falling
    as one over its size."""
    return np.asarray(np.minimum(1.0, HUBER_K * scale / np.maximum(np.abs(residual), 1e-12)))


def robust_scale(residual: Array) -> float:
    """Standard deviation of Gaussian data, read off the 80% quantile of ``|residual|``.

    A name whose price ticks in few buckets has residuals of mostly zero: a quarter of the
    winsorised mean deviation is the floor, so that its scale never vanishes; nor does one outlier
    in twenty raise it.
    """
    if not residual.size:
        return TINY
    size, (at80, at99) = np.abs(residual), scale_ranks(len(residual))
    ranked = np.partition(size, (at80, at99))
    far = 50 * ranked[at80] if ranked[at80] > TINY else np.inf
    winsorised = float(np.minimum(size, min(ranked[at99], far)).mean())
    return max(float(ranked[at80]) / 1.2816, winsorised / 4, TINY)


def scale_ranks(count: int) -> tuple[int, int]:
    """Places of the 80% and 99% quantiles among so many sorted sizes."""
    return round(INNER * (count - 1)), round(OUTER * (count - 1))


def robust_spread(size: Array, axis: int) -> Array:
    """Robust standard deviation of absolute residuals along `axis`, NaN ignored, never 0.

    The median, with the mean of the moderate ones as a floor for names that tick rarely.
    """
    known = np.isfinite(size)
    count = known.sum(axis=axis)
    ordered = np.sort(np.where(known, size, np.inf), axis=axis)

    def ranked(share: float) -> Array:
        at = (np.maximum(count - 1, 0) * share).astype(int)
        value = np.take_along_axis(ordered, np.expand_dims(at, axis), axis=axis).squeeze(axis)
        return np.asarray(np.where(np.isfinite(value), value, 0.0))

    capped = np.where(known, np.minimum(size, np.expand_dims(ranked(0.95), axis)), 0.0)
    mean = capped.sum(axis=axis) / np.maximum(count, 1)
    scale = np.maximum(ranked(0.5) / 0.6745, mean / 4)
    return np.asarray(np.where(scale > 0, scale, 1.0))


def random_effects(values: Array, se: Array) -> tuple[float, float]:
    """Mean and between-symbol variance of noisy `values` (DerSimonian and Laird 1986)."""
    if len(values) == 1:  # has no spread, not that of its rounding
        return float(values[0]), 0.0
    w = 1.0 / np.maximum(se, 1e-12) ** 2
    mean = float((w * values).sum() / w.sum())
    excess = float((w * (values - mean) ** 2).sum()) - (len(values) - 1)
    between = max(0.0, excess / max(float(w.sum() - (w**2).sum() / w.sum()), 1e-300))
    total = 1.0 / (se**2 + between + 1e-300)
    return float((total * values).sum() / total.sum()), between
