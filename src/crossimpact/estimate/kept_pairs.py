"""Which pairs are kept, and how sure the kept ones are: discoveries, sectors, joint errors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crossimpact.estimate import shrinkage, template
from crossimpact.estimate.equations import Design, Equations
from crossimpact.model import Array

MAX_JOINT = 3000  # pairs whose joint covariance is still worth a Cholesky factor


def discoveries(inclusion: Array, at_most: float) -> NDArray[np.bool_]:
    """The largest set of pairs whose mean probability of not being coupled is at most so much."""
    upper = np.triu_indices(len(inclusion), 1)
    null = 1.0 - inclusion[upper]
    order = np.argsort(null, kind="stable")
    rate = np.cumsum(null[order]) / np.arange(1, null.size + 1)
    chosen = np.zeros(null.size, dtype=bool)
    chosen[order[: int((rate <= at_most).sum())]] = True
    keep = np.zeros(inclusion.shape, dtype=bool)
    keep[upper] = chosen
    return keep | keep.T


def significant_sectors(
    whole: Design, M: Array, group: NDArray[np.int64], scale: Array
) -> NDArray[np.bool_]:
    """All pairs of one sector when their common coupling is significant given the rest, else none.

    With few days no single pair stands out although their sum does; each keeps its shrunk estimate.
    """
    equations = whole.equations
    within = (group == 0) & ~np.eye(len(scale), dtype=bool)
    shape = np.where(within, scale, 0.0)
    push = template.quadratic(equations, shape)
    if not push > 0:
        return np.zeros_like(within)
    left = shrinkage.row_gradients(equations, np.where(within, 0.0, M))
    z = float((equations.weight[:, None] * shape * left).sum()) / np.sqrt(push)
    z /= np.sqrt(template.overdispersion(equations, shape, whole.factors))
    return within if abs(z) > template.cutoff(1) else np.zeros_like(within)


def joint_spread(
    equations: Equations, scale: Array, posterior: shrinkage.Posterior,
    group: NDArray[np.int64], keep: NDArray[np.bool_],
) -> Array:  # fmt: skip
    """Posterior standard deviations of the kept couplings, shape (n, n).

    From the kept pairs' joint covariance (the factorised posterior's own spread is too small where
    flows go together), plus what not knowing whether and how the pair is coupled adds.
    """
    first, second = np.nonzero(np.triu(keep, 1))
    variance = posterior.spread**2
    if 0 < first.size <= MAX_JOINT:
        joint = shrinkage.joint_curvature(equations, scale, first, second)
        tau = posterior.prior[group[first, second], 3]
        alone = 1 / (np.diagonal(joint) + tau**-2)
        joint[np.diag_indices_from(joint)] += tau**-2
        extra = np.maximum(np.diagonal(np.linalg.inv(joint)) - alone, 0.0)
        variance[first, second] += posterior.own[first, second] * extra
        variance[second, first] = variance[first, second]
    return np.asarray(np.sqrt(variance))
