"""Couplings as few factors and few pairs: what makes a program of many names small.

Off its diagonal, the scaled matrix (`ImpactModel.scaled`) of a template is ``B T B'``, a column of
B per sector, and single pairs come on top, ``R``, a sparse matrix. Both are recovered from the
numbers alone: within a sector the ratio of two names' couplings is the same against every third
name but for the few pairs of R, so its median is exact. A matrix that is not of this form, or whose
parts are not positive semidefinite by themselves, is kept dense.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from crossimpact.model import ImpactModel
from crossimpact.scaled import Array, impact_units, to_scaled

#: Differences from the template below this share of own impact are rounding.
ROUNDING = 1e-9
#: Single pairs a name may have, on average, before the dense matrix is the smaller one.
MAX_PAIRS = 8
#: Names up to which a product with the dense matrix takes less time than with its parts.
SMALL = 150


@dataclass(frozen=True, eq=False)
class Couplings:
    """The scaled matrix without its diagonal, bps: ``B T B' + R`` off the diagonal, or dense.

    Attributes
    ----------
    own
        beta, bps, shape (n,).
    sector, level, middle
        B has ``level[i]`` in column ``sector[i]`` of row i, and T is `middle`, shape (k, k); k = 0
        without template.
    pairs
        R, sparse (n, n) with zero diagonal; of a dense form the whole matrix.
    factored
        Whether B, T and R are sparse parts.
    """

    own: Array
    sector: NDArray[np.intp]
    level: Array
    middle: Array
    pairs: sparse.csr_matrix
    factored: bool

    def times(self, flows: Array) -> Array:
        """The matrix without its diagonal times flows, shape (n, ...)."""
        if len(self.own) <= SMALL:
            return np.asarray(self.dense @ flows)
        return self._times(flows)

    def _times(self, flows: Array) -> Array:
        """The same from the parts."""
        result = np.asarray(self.pairs @ flows)
        if self.middle.size:
            result += self.basis @ (self.middle @ (self.basis.T @ flows))
            result -= (self.shared * flows.T).T
        return result

    @cached_property
    def basis(self) -> Array:
        """B, shape (n, k)."""
        result = np.zeros((len(self.own), len(self.middle)))
        result[np.arange(len(self.own)), self.sector] = self.level
        return result

    @cached_property
    def shared(self) -> Array:
        """The diagonal of ``B T B'``, shape (n,)."""
        if not self.middle.size:
            return np.zeros(len(self.own))
        return np.asarray(self.level**2 * np.diagonal(self.middle)[self.sector])

    @cached_property
    def dense(self) -> Array:
        """The matrix without its diagonal, multiplied out, shape (n, n)."""
        return self._times(np.eye(len(self.own)))

    @cached_property
    def singles(self) -> tuple[NDArray[np.intp], NDArray[np.intp], Array]:
        """R's entries: rows, columns, values."""
        entries = self.pairs.tocoo()
        return entries.row.astype(np.intp), entries.col.astype(np.intp), entries.data


def of(model: ImpactModel) -> Couplings:
    """The model's couplings, in parts where they have them.

    Their symmetric part, which alone costs anything within a bucket; releases are symmetric.
    """
    scaled = to_scaled(model.gamma, model.adv)
    matrix = (scaled + scaled.T) / 2
    if not matrix.any():
        return _whole(model, matrix, factored=True)
    sectors = np.unique(model.sectors, return_inverse=True)[1]
    unit = np.sqrt(impact_units(model))
    normal = matrix / unit[:, None] / unit
    level = _levels(normal, sectors)
    middle = _middle(normal, level, sectors)
    template = middle[np.ix_(sectors, sectors)] * level[:, None] * level
    rest = normal - template
    np.fill_diagonal(rest, 0.0)
    rest[np.abs(rest) <= ROUNDING] = 0.0
    if np.count_nonzero(rest) > 2 * MAX_PAIRS * model.n or not _definite(
        model, unit, level, sectors, middle, rest
    ):
        return _whole(model, matrix, factored=False)
    return Couplings(
        own=model.beta,
        sector=sectors,
        level=level * unit,
        middle=middle,
        pairs=sparse.csr_matrix(rest * unit[:, None] * unit),
        factored=True,
    )


def _levels(normal: Array, sectors: NDArray[np.intp]) -> Array:
    """Size of each name's template couplings against its sector's first name, shape (n,); 0 for a
    name coupled to fewer than half of the others, which is single pairs and no template."""
    size = np.abs(normal)
    coupled = (size > 0).sum(axis=1)
    result = np.where(2 * coupled >= len(normal) - 1, 1.0, 0.0)
    for sector in range(int(sectors.max()) + 1):
        members = np.flatnonzero((sectors == sector) & (result > 0))
        if not len(members):
            continue
        first = members[np.argmax(coupled[members])]
        for i in members[members != first]:
            both = (size[i] > 0) & (size[first] > 0)
            result[i] = np.median(size[i, both] / size[first, both]) if both.any() else 0.0
    return result


def _middle(normal: Array, level: Array, sectors: NDArray[np.intp]) -> Array:
    """Median coupling of each pair of sectors at level 1, shape (k, k)."""
    count = int(sectors.max()) + 1
    members = [np.flatnonzero((sectors == sector) & (level > 0)) for sector in range(count)]
    result = np.zeros((count, count))
    for a in range(count):
        for b in range(a, count):
            one, other = members[a], members[b]
            block = normal[np.ix_(one, other)] / level[one][:, None] / level[other]
            if a == b:
                block = block[~np.eye(len(block), dtype=bool)]
            if a == b and len(one) == 1:
                result[a, a] = 1 / level[one[0]] ** 2  # nobody else's: all of its own impact
            elif block.size:
                result[a, b] = result[b, a] = np.median(block)
    return result


def _definite(
    model: ImpactModel,
    unit: Array,
    level: Array,
    sectors: NDArray[np.intp],
    middle: Array,
    rest: Array,
) -> bool:
    """Whether factors, and pairs with what own impact the factors leave, are PSD by themselves."""
    left = sparse.diags(model.beta / unit**2 - level**2 * np.diagonal(middle)[sectors])
    alone = (left + sparse.csr_matrix(rest)).tocsr()
    return float(np.linalg.eigvalsh(middle)[0]) >= -ROUNDING and _smallest(alone) >= -ROUNDING


def _smallest(matrix: sparse.csr_matrix) -> float:
    """A bound from below on the smallest eigenvalue: the exact one, component by component."""
    count, label = sparse.csgraph.connected_components(matrix, directed=False)
    order = np.argsort(label, kind="stable")
    ends = np.cumsum(np.bincount(label, minlength=count))
    smallest = np.inf
    for members in np.split(order, ends[:-1]):
        block = matrix[np.ix_(members, members)].toarray() if len(members) > 1 else None
        value = matrix[members[0], members[0]] if block is None else np.linalg.eigvalsh(block)[0]
        smallest = min(smallest, float(value))
    return smallest


def _whole(model: ImpactModel, matrix: Array, *, factored: bool) -> Couplings:
    """Without a template."""
    none = np.zeros(model.n, dtype=np.intp)
    pairs = sparse.csr_matrix(matrix)
    return Couplings(model.beta, none, np.zeros(model.n), np.zeros((0, 0)), pairs, factored)
