"""Couplings in the space where they are symmetric and well scaled, and in units of own impact."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
BPS = 1e-4
#: Asymmetries, and eigenvalues below zero, smaller than this are rounding (units of own impact).
TOLERANCE = 1e-9


class Coupled(Protocol):
    """What a model must tell: ADV in USD, beta in bps, shape (n,), and gamma in bps, (n, n)."""

    @property
    def adv(self) -> Array: ...
    @property
    def beta(self) -> Array: ...
    @property
    def gamma(self) -> Array: ...


def to_scaled(gamma: Array, adv: Array) -> Array:
    """gamma in the space where it is symmetric and well scaled: ``gamma_ij sqrt(adv_i/adv_j)``."""
    root = np.sqrt(adv)
    return np.asarray(gamma * root[:, None] / root[None, :])


def from_scaled(scaled: Array, adv: Array) -> Array:
    """Inverse of `to_scaled`."""
    root = np.sqrt(adv)
    return np.asarray(scaled * root[None, :] / root[:, None])


def impact_units(model: Coupled) -> Array:
    """What a name's couplings are measured against: its beta, the largest one where it is zero."""
    return np.where(model.beta > 0, model.beta, model.beta.max(initial=0.0) or 1.0)


def normalised(model: Coupled) -> Array:
    """``C_ij = M_ij / sqrt(beta_i beta_j)``: couplings in units of the names' own impacts, shape
    (n, n), ones on the diagonal, not symmetrised.

    A name with zero beta is measured against the largest beta instead; its diagonal is 0, or 1 when
    it has no cross terms either (it moves nothing, and condemns nothing).
    """
    own = impact_units(model)
    matrix = model.gamma * np.sqrt(model.adv / own)[:, None]
    matrix /= np.sqrt(model.adv * own)
    coupled = matrix.any(axis=0) | matrix.any(axis=1)
    np.fill_diagonal(matrix, np.where((model.beta > 0) | ~coupled, 1.0, 0.0))
    return matrix


def frozen(values: ArrayLike) -> Array:
    """As an array nobody can write to: itself when it is one, else a copy."""
    if isinstance(values, np.ndarray) and values.dtype == np.float64:
        whole: Array = values
        owner = whole if whole.base is None else whole.base
        if isinstance(owner, np.ndarray) and not owner.flags.writeable:
            return whole
    return np.array(values, dtype=np.float64)
