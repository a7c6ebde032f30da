"""Which part of each order is held against the price at which boundary: ``B[j, k]``."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from crossimpact.model import Array


def struck(benchmark: Array) -> Array:
    """``c_k = sum_j B[j, k]`` for the inner boundaries, shape (N-1, M)."""
    return np.asarray(benchmark.sum(axis=0)[1:])


def at_start(volumes: Array) -> Array:
    """Everything known and struck at ``times[0]``, shape (N, N, M)."""
    volumes = np.asarray(volumes, dtype=np.float64)
    benchmark = np.zeros((len(volumes), *volumes.shape))
    benchmark[:, 0] = volumes
    return benchmark


def at_arrival(volumes: Array) -> Array:
    """Every order struck when it starts, shape (N, N, M)."""
    volumes = np.asarray(volumes, dtype=np.float64)
    benchmark = np.zeros((len(volumes), *volumes.shape))
    index = np.arange(len(volumes))
    benchmark[index, index] = volumes
    return benchmark


def amended(volumes: Array, amend: ArrayLike) -> Array:
    """Two orders, `amend` of the second known only when it starts, shape (2, 2, M)."""
    benchmark = at_start(volumes)
    benchmark[1, 0] -= amend
    benchmark[1, 1] += amend
    return benchmark
