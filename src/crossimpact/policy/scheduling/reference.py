"""The reference engine: the program once more, as cvxpy states it.

What a quant extends with a constraint of his own: append to `constraints`. Every call builds the
problem anew, which is what makes it slow. Needs the extra `cvxpy`.
"""

from __future__ import annotations

import numpy as np

from crossimpact.errors import UsageError
from crossimpact.policy.scheduling.caps import Caps
from crossimpact.policy.scheduling.fast import Solution
from crossimpact.policy.scheduling.program import Program


def solve(program: Program, caps: Caps) -> Solution:
    """Minimise J by Clarabel; flows, prices of the rows and status as of `fast.solve`.

    Raises
    ------
    UsageError
        Without cvxpy.
    """
    try:
        import cvxpy as cp
    except ImportError as error:
        raise UsageError(
            "engine cvxpy needs cvxpy, which is not installed", "pip install 'crossimpact[cvxpy]'"
        ) from error
    desk, layout, (P, H) = program.desk, program.layout, program.shape
    lines, risk = desk.lines, desk.state.risk
    money = float(caps.most.max(initial=0.0)) or 1.0  # unknowns near 1 are what solvers like
    v = cp.Variable((P, H), nonneg=True)
    u = money * v

    left = lines.remaining - cp.sum(u, axis=1)
    after = np.zeros((P, H + 1))  # what is left at a deadline trades in the interval after it
    after[layout.due, lines.intervals[layout.due]] = 1.0
    path = cp.hstack([u, np.zeros((P, 1))]) + cp.multiply(after, cp.reshape(left, (P, 1), "C"))
    flow = cp.multiply(layout.signed[:, None], path)
    flow = np.eye(program.model.n)[:, lines.name] @ flow  # by name, scaled units
    own, couplings = layout.couplings.own, layout.couplings.times(np.eye(program.model.n))
    over_time = np.kron(np.diag(own), layout.own_kernel)
    over_time += np.kron(couplings, layout.cross_kernel)
    impact = cp.quad_form(cp.vec(flow, order="C"), cp.psd_wrap(over_time))

    leftovers = program.terminal @ left + layout.curvature @ cp.square(left)
    cost = cp.sum(cp.multiply(program.slope, u)) + impact + leftovers
    if risk.aversion:
        covariance = layout.exposed(np.eye(P))
        for h in range(H):
            position = lines.remaining - cp.sum(u[:, : h + 1], axis=1)
            cost += risk.aversion / 2 * cp.quad_form(position, cp.psd_wrap(covariance))

    constraints = [u <= caps.most]
    totals = caps.matrix @ cp.vec(u, order="C") if caps.rows else np.zeros(0)
    (low, high), bounded = caps.limits, np.isfinite(caps.limits)
    if caps.rows:
        constraints += [totals[bounded[1]] / money <= high[bounded[1]] / money]
        constraints += [totals[bounded[0]] / money >= low[bounded[0]] / money]
    price = money * float(np.abs(program.gradient(np.zeros((P, H)))).max(initial=0.0)) or 1.0
    problem = cp.Problem(cp.Minimize(cost / price), constraints)
    tight = {"tol_gap_abs": 1e-11, "tol_gap_rel": 1e-11, "tol_feas": 1e-11}
    problem.solve(solver=cp.CLARABEL, **tight)

    y = np.zeros(len(caps.rows))
    if caps.rows:
        y[bounded[1]] += np.asarray(constraints[1].dual_value) * price / money
        y[bounded[0]] -= np.asarray(constraints[2].dual_value) * price / money
    solved = problem.status == cp.OPTIMAL
    return Solution(caps.kept(np.asarray(v.value) * money), y, str(problem.status), solved)
