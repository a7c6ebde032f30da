"""Each name's own columns taken out of its cells, all names at once (Frisch-Waugh-Lovell)."""

from __future__ import annotations

import numpy as np

from crossimpact.model import Array


def projector(own: Array) -> Array:
    """``(B_i'B_i)^+`` of each name's columns (T, n, k), shape (n, k, k); an empty column adds
    nothing."""
    size = np.sqrt((own**2).sum(axis=0))
    unit = np.divide(1.0, size, out=np.zeros_like(size), where=size > 0)
    inside = np.einsum("tik,til->ikl", own, own) * unit[:, :, None] * unit[:, None, :]
    inverse = np.linalg.pinv(inside, rcond=1e-8, hermitian=True)
    return np.asarray(inverse * unit[:, :, None] * unit[:, None, :])


def fitted(own: Array, solve: Array, y: Array) -> Array:
    """What each name's columns explain of its response, shape (T, n); `solve` as `projector`."""
    coef = np.einsum("ikl,til,ti->ik", solve, own, y, optimize=True)
    return np.asarray(np.einsum("tik,ik->ti", own, coef))
