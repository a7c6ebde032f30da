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


def error_left(q: Array, se: Array) -> Array:
    """Error of each name's coefficient on own flow from those of its couplings, shape (n,).

    What a wrong coupling leaves goes with own flow as far as the other's flow does: with
    ``b_ij = q_i'q_j / q_i'q_i`` it is ``sqrt(sum_j b_ij^2 se_ij^2)``.

    Parameters
    ----------
    q
        Flows, shape (T, n); a name that never trades gets zero.
    se
        Standard errors of the couplings of row i to flow j, shape (n, n), independent.
    """
    if not se.any():
        return np.zeros(len(se))
    together = q.T @ q
    own = np.diagonal(together)[:, None]
    along = np.divide(together, own, out=np.zeros_like(together), where=own > 0)
    return np.asarray(np.sqrt(((along * se) ** 2).sum(axis=1)))
