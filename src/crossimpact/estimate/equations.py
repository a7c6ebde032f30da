"""Normal equations of every row at once, from one Gram matrix shared by all of them."""

from __future__ import annotations

from dataclasses import dataclass

from crossimpact.model import Array


@dataclass(frozen=True)
class Equations:
    """Weighted normal equations of all rows ``Y_i = sum_j M_ij x_j + nuisance + noise``.

    Every row regresses on the same flows, so all share one Gram matrix; what differs, its own
    terms and controls, is partialled out as a downdate of low rank (Frisch-Waugh-Lovell). Row i's
    matrix is ``weight[i] (gram - basis[i] basis[i]')`` and its right-hand side
    ``weight[i] xy[i]``; its own row and column are never used.

    Attributes
    ----------
    gram
        ``X'X`` of the scaled flows, shape (n, n).
    basis
        ``X'B_i (B_i'B_i)^-1/2`` of each row's nuisance columns B_i, shape (n, n, r).
    xy
        ``X'Y_i`` with the nuisance taken out of Y_i, shape (n, n), row i for name i.
    weight
        One over the noise variance of each row's response, shape (n,); 0 leaves a row out.
    """

    gram: Array
    basis: Array
    xy: Array
    weight: Array
