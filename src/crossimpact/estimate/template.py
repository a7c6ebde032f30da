"""The low-parameter template: what whole groups of pairs have in common.

Three families compete, all symmetric in dollar space and fitted to all rows jointly:

- **blocks**: one coupling ``rho`` for all pairs (the market's), one more for pairs of one sector,
  and one for each pair of sectors that differs from these; ``M_ij = rho_ij u_i u_j`` with
  ``u = sqrt(beta) ADV^p``, p by held-out days as well: a market-wide flow may move large names
  more than small ones;
- **kyle**: ``kappa`` times the off-diagonal of the Kyle-type matrix
  ``L^-T (L' S L)^1/2 L^-1``, ``L L'`` the covariance of flows and S that of moves (Caballe and
  Krishnan 1994; del Molino, Mastromatteo, Benzaquen and Bouchaud 2020).

- **lent**, for the regime with less data: ``a`` times what the other regime found, pair by pair;
  a pair's own ratio strays from a by `LENT_SPREAD` or so, and by what the other regime's is off.

The one with the smallest squared error on held-out days is the template.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.special import ndtri  # scipy.stats takes a second longer to import

from crossimpact.estimate.equations import Equations, own_share
from crossimpact.model import Array

FAMILY_WISE = 0.05
LENT_SPREAD = 0.35  # of a pair's size around what another regime lends, relative
RIDGE = 1e-9  # on unit curvature: groups whose flows are always alike share their effect


@dataclass(frozen=True)
class Template:
    """Couplings of groups of pairs.

    Attributes
    ----------
    scaled, se
        M in bps and its standard errors, shape (n, n), symmetric, zero diagonal.
    couplings
        What was kept, by name: ``market``, ``sector``, ``A|B``, ``kyle``, or ``lent``.
    spread
        How far a pair's own coupling strays from the template's, bps, (n, n); not at all when None.
    """

    scaled: Array
    se: Array
    couplings: dict[str, float]
    spread: Array | None = None


def none(n: int) -> Template:
    """No group of pairs is coupled."""
    return Template(np.zeros((n, n)), np.zeros((n, n)), {})


def fit_blocks(
    equations: Equations, beta: Array, sectors: Sequence[str], factors: Array | None = None
) -> Template:
    """Market, sector and block couplings, each kept when significant within its family.

    Parameters
    ----------
    equations, factors
        All rows, and the correlation of their noise (independent when None).
    beta
        Self impact, bps per unit of ADV fraction, shape (n,): pairs couple in proportion to
        ``sqrt(beta_i beta_j)``.
    """
    names = sorted(set(sectors))
    sector = np.array([names.index(name) for name in sectors])
    first, second = np.triu_indices(len(names))
    hessian, score = _block_equations(equations, np.sqrt(beta), sector, len(names))
    pooled = np.column_stack((np.ones(len(first)), first == second)).astype(float)
    members = np.bincount(sector, minlength=len(names))
    filled = np.where(first == second, members[first] > 1, True) & (np.diagonal(hessian) > 0)
    design = pooled * filled[:, None]
    shape = np.sqrt(np.outer(beta, beta)) * ~np.eye(len(beta), dtype=bool)
    groups = (np.zeros_like(sector), sector)
    excess = np.array(
        [overdispersion(equations, Grouped(np.sqrt(beta), of), factors) for of in groups]
    )
    rho, rho_se = _significant(design.T @ hessian @ design, design.T @ score, excess)
    base, base_se = design @ rho, np.sqrt(design**2 @ rho_se**2)
    extra, extra_se = _significant(
        hessian, score - hessian @ base, np.where(first == second, excess[1], excess[0])
    )
    couplings = dict(zip(("market", "sector"), rho.tolist(), strict=True))
    couplings |= {
        f"{names[a]}|{names[b]}": float(x) for a, b, x in zip(first, second, extra, strict=True)
    }
    at = np.zeros((len(names), len(names)), dtype=int)
    at[first, second] = at[second, first] = np.arange(len(first))
    block = at[sector[:, None], sector[None, :]]
    return Template(
        (base + extra)[block] * shape,
        np.sqrt(base_se**2 + extra_se**2)[block] * shape,
        {name: rho for name, rho in couplings.items() if rho != 0.0},
    )


def fit_kyle(equations: Equations, response: Array, factors: Array | None = None) -> Template:
    """The Kyle-type matrix times the one factor that fits best.

    Parameters
    ----------
    response
        `kyle` of the covariances of the scaled flows and of the scaled moves, shape (n, n); its
        diagonal is not read.
    """
    shape = response - np.diag(np.diagonal(response))
    return _multiple(equations, shape, factors, "kyle")


def fit_lent(
    equations: Equations, lent: Array, lent_se: Array, factors: Array | None = None
) -> Template:
    """What another regime found, times the one factor that fits best.

    Parameters
    ----------
    lent, lent_se
        The other regime's couplings in scaled space and their errors, shape (n, n), symmetric, zero
        diagonal.
    """
    found = _multiple(equations, lent, factors, "lent")
    factor = found.couplings.get("lent", 0.0)
    return replace(found, spread=abs(factor) * np.hypot(LENT_SPREAD * lent, lent_se))


def _multiple(equations: Equations, shape: Array, factors: Array | None, name: str) -> Template:
    """The factor on `shape` that fits best, none where it is not significant."""
    seen = shape @ equations.gram
    push = _quadratic(equations, shape, seen)
    if not push > 0:
        return none(len(shape))
    factor = float((equations.weight[:, None] * shape * equations.xy).sum()) / push
    se = np.sqrt(_overdispersion(equations, shape, factors, seen, push) / push)
    if abs(factor) < cutoff(1) * se:
        return none(len(shape))
    return Template(factor * shape, se * np.abs(shape), {name: factor})


def kyle(flow: Array, moves: Array) -> Array:
    """``L^-T (L' moves L)^1/2 L^-1`` with ``L L' = flow``: the one symmetric positive response
    under which flows of covariance `flow` make moves of covariance `moves`."""
    ridge = 1e-6 * max(float(np.trace(flow)) / len(flow), 1e-300)
    values, vectors = np.linalg.eigh(flow + ridge * np.eye(len(flow)))
    root = np.sqrt(np.maximum(values, ridge))
    L = vectors * root  # any root of the flow covariance gives the same matrix
    inner, axes = np.linalg.eigh(L.T @ moves @ L)
    middle = (axes * np.sqrt(np.maximum(inner, 0.0))) @ axes.T
    inverse = (vectors / root).T
    response = inverse.T @ middle @ inverse
    return np.asarray((response + response.T) / 2)  # to the bit: pairs have one number


def loss(equations: Equations, M: Array) -> float:
    """Noise-weighted squared error of M on these rows, less that of no cross impact."""
    if not M.any():
        return 0.0
    cross = float((equations.weight[:, None] * M * equations.xy).sum())
    return quadratic(equations, M) - 2 * cross


def quadratic(equations: Equations, M: Array) -> float:
    """``sum_i weight_i M_i' (gram - basis_i basis_i') M_i``, M with zero diagonal."""
    return _quadratic(equations, M, M @ equations.gram)


def _quadratic(equations: Equations, M: Array, seen: Array) -> float:
    inside = own_share(equations.basis, M)
    return float(equations.weight @ ((seen * M).sum(axis=1) - (inside**2).sum(axis=1)))


def _block_equations(
    equations: Equations, root: Array, sector: NDArray[np.int64], sectors: int
) -> tuple[Array, Array]:
    """Normal equations of one coupling per pair of sectors (upper triangle, row by row).

    Row i sees sector t as one regressor, ``sqrt(beta_i) sum_{j in t, j != i} sqrt(beta_j) x_j``.
    """
    n = len(root)
    member = np.zeros((n, sectors))
    member[np.arange(n), sector] = root
    inside = member.T @ equations.gram @ member
    own = equations.gram @ member  # (n, S): x_i with each sector
    nuisance = np.matmul(member.T, equations.basis)
    nuisance[np.arange(n), sector] -= root[:, None] * np.diagonal(equations.basis).T
    rows = np.repeat(inside[None], n, axis=0)
    rows[np.arange(n), sector, :] -= root[:, None] * own
    rows[np.arange(n), :, sector] -= root[:, None] * own
    rows[np.arange(n), sector, sector] += root**2 * np.diagonal(equations.gram)
    rows -= np.matmul(nuisance, nuisance.swapaxes(1, 2))
    strength = equations.weight * root**2
    right = (equations.weight * root)[:, None] * (equations.xy @ member)
    first, second = np.triu_indices(sectors)
    at = np.zeros((sectors, sectors), dtype=int)
    at[first, second] = at[second, first] = np.arange(len(first))
    hessian, score = np.zeros((len(first), len(first))), np.zeros(len(first))
    for s in range(sectors):
        mine = sector == s
        hessian[np.ix_(at[s], at[s])] += np.einsum("i,ist->st", strength[mine], rows[mine])
        score[at[s]] += right[mine].sum(axis=0)
    return hessian, score


class Grouped(NamedTuple):
    """The matrix ``root_i root_j`` of pairs of one group, 0 elsewhere and on the diagonal, whose
    products cost as many sums as there are groups."""

    root: Array
    group: NDArray[np.int64]

    def __matmul__(self, other: Array) -> Array:
        return np.asarray(
            self.root[:, None] * (self._member.T @ other)[self.group]
            - (self.root**2)[:, None] * other
        )

    @property
    def _member(self) -> Array:
        member = np.zeros((len(self.root), int(self.group.max(initial=0)) + 1))
        member[np.arange(len(self.root)), self.group] = self.root
        return member

    def dense(self) -> Array:
        matrix = np.outer(self.root, self.root) * (self.group[:, None] == self.group[None, :])
        np.fill_diagonal(matrix, 0.0)
        return np.asarray(matrix)


def overdispersion(equations: Equations, shape: Array | Grouped, factors: Array | None) -> float:
    """Variance of a common coupling's score over what independent rows would give it, at least 1.

    Rows whose noise goes together, on flows that go together, say the same thing twice. With v_i
    what row i's regressor ``X shape_i`` has beyond its own flow, and C the noise correlation, the
    score has variance ``sum_ik C_ik sqrt(w_i w_k) v_i'v_k``.
    """
    left = shape @ equations.gram  # X shape_i with every flow
    dense = shape.dense() if isinstance(shape, Grouped) else shape
    return _overdispersion(equations, shape, factors, left, _quadratic(equations, dense, left))


def _overdispersion(
    equations: Equations, shape: Array | Grouped, factors: Array | None, left: Array, push: float
) -> float:
    """The same from ``shape @ gram`` and `quadratic`."""
    if factors is None or not push > 0:
        return 1.0
    gram, own = equations.gram, np.diagonal(equations.gram)
    slope = np.divide(np.diagonal(left), own, out=np.zeros_like(own), where=own > 0)
    cross = (shape @ left.T).T  # the shape is symmetric
    cross -= slope[:, None] * left.T + left * slope - np.outer(slope, slope) * gram
    root = np.sqrt(equations.weight)
    between = factors * np.outer(root, root) * cross
    return max(1.0, 1.0 + float(between.sum() - np.trace(between)) / push)


def _significant(hessian: Array, score: Array, excess: Array) -> tuple[Array, Array]:
    """Joint least squares, refitted on what is significant within the family; 0 elsewhere."""
    seen = np.diagonal(hessian) > 0
    solution, se = least_squares(hessian, score, seen)
    real = np.abs(solution) > cutoff(int(seen.sum())) * se * np.sqrt(excess)
    solution, se = least_squares(hessian, score, seen & real)
    return solution, se * np.sqrt(excess)


def cutoff(tests: int) -> float:
    """Standard errors beyond which one of `tests` estimates is not zero, family-wise."""
    return -float(ndtri(FAMILY_WISE / 2 / max(tests, 1)))


def least_squares(hessian: Array, score: Array, active: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Solution and standard errors on the active coordinates, 0 elsewhere."""
    solution, se = np.zeros(score.size), np.zeros(score.size)
    index = np.flatnonzero(active)
    if index.size:
        scale = 1.0 / np.sqrt(np.diagonal(hessian)[index])
        unit = hessian[np.ix_(index, index)] * np.outer(scale, scale) + RIDGE * np.eye(index.size)
        inverse = cho_solve(cho_factor(unit), np.eye(index.size))
        solution[index] = scale * (inverse @ (scale * score[index]))
        se[index] = scale * np.sqrt(np.maximum(np.diagonal(inverse), 0.0))
    return solution, se
