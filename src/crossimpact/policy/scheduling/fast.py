"""The fast engine: PIQP on the program in factors, set up once and solved again.

Unknowns are the flows that have room, and what they add up to in each factor of couplings and of
risk, interval by interval. So the matrix is a block per name and one per factor, whatever the
number of names, and no product of all names with all names is formed. Couplings without factors
are one dense block.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import piqp

from crossimpact.policy.scheduling.caps import Caps
from crossimpact.policy.scheduling.posed import Posed
from crossimpact.policy.scheduling.program import Program
from crossimpact.scaled import Array

#: Unknowns beyond which couplings without factors are not tried.
MOST_DENSE = 1500
#: Unknowns up to which the dense form is the faster one.
SMALL = 60
EPS = 1e-10
#: Share of a bound that may be the rounding of an interior point.
NEAR = 1e-6
MAX_ITER = 100


@dataclass(frozen=True)
class Solution:
    """Flows, USD, shape (P, H), prices of the rows, USD per USD, and the solver's word."""

    u: Array
    y: Array
    status: str
    solved: bool


@dataclass
class Fast:
    """Holds the last set-up: a program of the same pattern is only updated. What it answers does
    not depend on what it solved before."""

    _solver: piqp.SparseSolver | None = None
    _pattern: tuple[bytes, ...] = ()

    def solve(self, program: Program, caps: Caps) -> Solution:
        """Minimise J; see `Program`."""
        free = caps.most > 0
        nothing = np.zeros_like(caps.most), np.zeros(len(caps.rows))
        if not free.any():
            return Solution(*nothing, "no room to trade", True)
        posed, dense = Posed(program, caps, free), not program.couplings.factored
        if dense and posed.count > MOST_DENSE:
            words = f"{posed.count} unknowns whose couplings have no factors, limit {MOST_DENSE}"
            return Solution(*nothing, words, False)
        small = posed.count <= SMALL
        result = _solve_dense(posed) if dense or small else self._solve_factors(posed)
        u, y = nothing
        y[:] = (np.asarray(result.z_u) - result.z_l) * posed.price / posed.row_size
        u[free] = _settled_at_bounds(posed, result) * posed.size
        status = result.info.status
        return Solution(caps.kept(u), y, status.name, status == piqp.PIQP_SOLVED)

    def _solve_factors(self, posed: Posed) -> piqp.Result:
        P, A, G = posed.quadratic, posed.factors, posed.caps_matrix
        vectors = _vectors(posed) | {"b": np.zeros(A.shape[0])}
        pattern = tuple(part.tobytes() for m in (P, A, G) for part in (m.indptr, m.indices))
        if self._solver is None or pattern != self._pattern:
            self._solver, self._pattern = _accurate(piqp.SparseSolver()), pattern
            self._solver.setup(P=P, A=A, G=G, **vectors)
        else:
            self._solver.update(P=P, A=A, G=G, **vectors)
        self._solver.solve()
        return self._solver.result


def _settled_at_bounds(posed: Posed, result: piqp.Result) -> Array:
    """The flows, those put at a bound that an interior point only comes near: where its price
    exceeds the distance left."""
    x, upper = np.asarray(result.x)[: posed.count], posed.bounds[1][: posed.count]
    lower_price = np.asarray(result.z_bl)[: posed.count]
    upper_price = np.asarray(result.z_bu)[: posed.count]
    x = np.where((x < NEAR * upper) & (lower_price > x), 0.0, x)
    return np.where((upper - x < NEAR * upper) & (upper_price > upper - x), upper, x)


def _solve_dense(posed: Posed) -> piqp.Result:
    solver, vectors = _accurate(piqp.DenseSolver()), _vectors(posed)
    count = posed.count
    vectors |= {name: vectors[name][:count] for name in ("c", "x_l", "x_u")}
    G = np.asfortranarray(posed.caps_matrix[:, :count].toarray())
    solver.setup(P=np.asfortranarray(posed.dense()), G=G, **vectors)
    solver.solve()
    return solver.result


def _vectors(posed: Posed) -> dict[str, Array]:
    (lower, upper), (low, high) = posed.bounds, posed.row_limits
    return {"c": posed.linear, "x_l": lower, "x_u": upper, "h_l": low, "h_u": high}


def _accurate(solver: Any) -> Any:
    solver.settings.eps_abs = solver.settings.eps_duality_gap_abs = EPS
    solver.settings.eps_rel = solver.settings.eps_duality_gap_rel = EPS
    solver.settings.max_iter = MAX_ITER
    return solver
