"""The fast engine: PIQP (Schwan, Jiang, Kuhn and Jones 2023) on the program in factors.

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
#: Unknown flows beyond which none is tried: with the iterations it bounds a plan's time, without a
#: clock, which would make a replay differ.
MOST = 30_000
EPS = 1e-10
#: Share of a bound that may be the rounding of an interior point.
NEAR = 1e-6
MAX_ITER = 100
#: Whose answer the certificate judges: below `EPS`, or as near as rounding let it come.
TRIED = (piqp.PIQP_SOLVED, piqp.PIQP_MAX_ITER_REACHED)


@dataclass(frozen=True)
class Solution:
    """Flows, USD, shape (P, H), prices of the rows, USD per USD, and the solver's word."""

    u: Array
    y: Array
    status: str
    solved: bool


def solve(program: Program, caps: Caps) -> Solution:
    """Minimise J; see `Program`. The same numbers whatever was solved before, to the last bit: no
    preconditioner, which would remember it, and no warm start. A replay differs otherwise."""
    free = caps.most > 0
    nothing = np.zeros_like(caps.most), np.zeros(len(caps.rows))
    if not free.any():
        return Solution(*nothing, "no room to trade", True)
    posed, dense = Posed(program, caps, free), not program.layout.couplings.factored
    if dense and posed.count > MOST_DENSE:
        words = f"{posed.count} unknowns whose couplings have no factors, limit {MOST_DENSE}"
        return Solution(*nothing, words, False)
    if posed.count > MOST:
        return Solution(*nothing, f"{posed.count} unknowns, limit {MOST}", False)
    solver = _solved_dense(posed) if dense else _solved_in_factors(posed)
    result = solver.result  # of memory that goes with the solver
    u, y = nothing
    y[posed.rows.which] = (np.asarray(result.z_u) - result.z_l) * posed.price / posed.row_size
    u[free] = _settled_at_bounds(posed, result) * posed.size
    status = result.info.status
    return Solution(caps.kept(u), y, status.name, status in TRIED)


def _solved_in_factors(posed: Posed) -> piqp.SparseSolver:
    """Solved by whom was set up for the same matrices, if anybody was."""
    of, kept, vectors = posed.matrices, posed.rows.solver, _vectors(posed)
    for name, value in (("c", 0.0), ("x_l", -np.inf), ("x_u", np.inf)):
        vectors[name] = np.append(vectors[name], np.full(of.extra, value))
    solver = kept.pop() if kept else None  # kept again when nothing was raised
    if solver is None:
        solver, A = _accurate(piqp.SparseSolver()), of.factors
        solver.setup(P=of.quadratic, A=A, b=np.zeros(A.shape[0]), G=posed.caps_matrix, **vectors)
    else:
        solver.update(**vectors)
    solver.solve()
    kept.append(solver)
    return solver


def _settled_at_bounds(posed: Posed, result: piqp.Result) -> Array:
    """The flows, those put at a bound that an interior point only comes near: where its price
    exceeds the distance left."""
    x, upper = np.asarray(result.x)[: posed.count], posed.bounds[1][: posed.count]
    lower_price = np.asarray(result.z_bl)[: posed.count]
    upper_price = np.asarray(result.z_bu)[: posed.count]
    x = np.where((x < NEAR * upper) & (lower_price > x), 0.0, x)
    return np.where((upper - x < NEAR * upper) & (upper_price > upper - x), upper, x)


def _solved_dense(posed: Posed) -> piqp.DenseSolver:
    solver = _accurate(piqp.DenseSolver())
    solver.setup(P=posed.matrices.dense, G=posed.dense_caps(), **_vectors(posed))
    solver.solve()
    return solver


def _vectors(posed: Posed) -> dict[str, Array]:
    (lower, upper), (low, high) = posed.bounds, posed.row_limits
    return {"c": posed.linear, "x_l": lower, "x_u": upper, "h_l": low, "h_u": high}


def _accurate(solver: Any) -> Any:
    solver.settings.eps_abs = solver.settings.eps_duality_gap_abs = EPS
    solver.settings.eps_rel = solver.settings.eps_duality_gap_rel = EPS
    solver.settings.max_iter = MAX_ITER
    solver.settings.preconditioner_iter = 0
    return solver
