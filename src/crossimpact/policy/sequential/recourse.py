"""Two orders when the second is known only by its law: schedule the first, then adapt.

The first order must be worked before the second's volume v is revealed; the second is worked
knowing it. The least cost of the second is known in closed form for every v, so the first order's
root condition only takes an expectation, ``E F2'(m; v) - E c``. The predicted part is the mean and
the revision is held against the second order's own arrival price, so that under `tthc` the
objective is the expected full cost: ``E[(v - E v) m] = 0``.

As long as neither order would ever trade against itself, whatever v, the first order is the one for
the mean (certainty equivalence); `value_of_stochastic_solution` says what is lost otherwise.
"""

from __future__ import annotations

from math import exp

import numpy as np

from crossimpact.errors import ProblemError
from crossimpact.model import Array
from crossimpact.policy.sequential.closed import (
    check_pair,
    first_pieces,
    following,
    meet,
    same_way,
    slope,
    two_orders,
    unconstrained,
)
from crossimpact.policy.sequential.contingent import Contingent
from crossimpact.policy.sequential.kernel import Exponential
from crossimpact.policy.sequential.law import Normal, Scenarios
from crossimpact.policy.sequential.plan import Accuracy, Piece, Plan
from crossimpact.policy.sequential.problem import TOLERANCE, Problem


def two_stage(
    problem: Problem, law: Scenarios | Normal, *, first: Plan | None = None
) -> Contingent:
    """The best first order, and the best second one in every scenario.

    Parameters
    ----------
    problem
        Two orders under exponential decay, the second's volume being the law's mean.
    law
        Of the second order's volume.
    first
        A plan whose first order is settled; default: the best.

    Returns
    -------
    Contingent
        One plan per scenario; of a normal law, one per quadrature node.

    Raises
    ------
    ProblemError
        When the problem is not of this kind, its second volume is not the law's mean, or signs bind
        between assets that move each other (no closed form).
    """
    rho = _check(problem, law)
    z2 = rho * float(problem.times[2] - problem.times[1])
    settled = first or _first(problem, law, z2)
    left = _left(settled)
    scenarios = law.drawn(_cuts(left[0], z2))
    starts, ends, volumes = _joined(settled, _second(problem, scenarios.volumes, left, z2))
    count = len(scenarios.volumes)
    orders = (np.arange(starts.shape[1]) >= (settled.orders == 0).sum()).astype(np.intp)
    plans = tuple(
        Plan(leaf, orders, starts[s], ends[s], volumes[s], method="closed")
        for s, leaf in enumerate(problem.revised(scenarios.volumes))
    )
    off = Accuracy(settled.residual, settled.residual)
    nodes = np.stack((np.zeros(count, np.intp), np.arange(count)), axis=1)
    return Contingent(scenarios.probabilities, plans, nodes, settled.residual, "closed", off)


def exact_recourse(problem: Problem, law: Scenarios | Normal) -> bool:
    """Whether `two_stage` answers: exponential decay, no caps, and signs that bind only where K is
    diagonal."""
    if not isinstance(problem.kernel, Exponential) or problem.limits.bind or problem.orders != 2:
        return False
    if problem.risk is not None:
        return False
    rho = _check(problem, law)
    if not problem.monotone:
        return not np.any(problem.limits.spread)
    z2 = rho * float(problem.times[2] - problem.times[1])
    return problem.kernel.diagonal or _never_binds(unconstrained(problem), law, z2)


def value_of_stochastic_solution(problem: Problem, law: Scenarios | Normal) -> float:
    """What planning for the mean loses: expected cost of its first order less the optimum, >= 0."""
    mean = unconstrained(problem)
    if problem.monotone and not same_way(mean):
        mean = two_orders(problem)
    return two_stage(problem, law, first=mean).cost - two_stage(problem, law).cost


def _check(problem: Problem, law: Scenarios | Normal) -> float:
    if not isinstance(problem.kernel, Exponential) or problem.orders != 2 or problem.limits.bind:
        raise ProblemError(
            "an uncertain second order has a closed form for two orders, exponential decay and no "
            "caps only"
        )
    if law.mean.shape != (problem.assets,):
        raise ProblemError(f"a law of {law.mean.size} assets for {problem.assets}")
    miss = np.abs(law.mean - problem.volumes[1]).max()
    limit = TOLERANCE * max(np.abs(problem.volumes).max(), np.abs(law.mean).max())
    if miss > limit:
        raise ProblemError(
            f"the second order's volume is off its law's mean by {miss:.3g}, limit {limit:.3g}"
        )
    return problem.kernel.rho


def _first(problem: Problem, law: Scenarios | Normal, z2: float) -> Plan:
    """The best first order, in a plan for the mean."""
    mean = unconstrained(problem)
    if not problem.monotone or _never_binds(mean, law, z2):
        return mean
    check_pair(problem)
    z1 = (
        z2 * float(problem.times[1] - problem.times[0]) / float(problem.times[2] - problem.times[1])
    )
    pieces: list[Piece] = []
    missed = 0.0
    for asset, volume in enumerate(problem.volumes[0].tolist()):
        sign = -1.0 if volume < 0 else 1.0
        struck = sign * float(problem.c[0, asset])

        def marginal(m: float, asset: int = asset, sign: float = sign, c: float = struck) -> float:
            p, v = law.nodes(_cuts(sign * m, z2), asset)
            slopes = [slope(m, sign * volume, z2) for volume in v.tolist()]
            return float(p @ np.array(slopes)) - c

        lead, _, miss = meet(marginal, abs(volume), z1)
        pieces += first_pieces(problem, asset, sign, lead)
        missed = max(missed, miss * float(problem.kernel.K[asset, asset]))
    return Plan.of(problem, pieces, residual=missed / problem.scale)


def _never_binds(mean: Plan, law: Scenarios | Normal, z2: float) -> bool:
    """Whether the plan for the mean has every order trade one way, in every scenario."""
    if isinstance(law, Normal):
        return False
    left, first = _left(mean), mean.orders == 0
    own = mean.volumes[first] * np.sign(mean.problem.volumes[0])
    level = (law.volumes + left) / (2 + z2)
    blocks = np.minimum((level - left) * np.sign(law.volumes), level * np.sign(law.volumes))
    still = (law.volumes != 0).all() and (mean.problem.volumes[0] != 0).all()
    return bool(still and own.min() >= 0 and blocks.min() >= 0)


def _second(problem: Problem, volumes: Array, left: Array, z2: float) -> tuple[Array, Array, Array]:
    """The second order in every scenario, after the impact `left` (Y, signed, shape (M,)).

    Starts and ends of its pieces, shape (L, P), and their volumes, (L, P, M).
    """
    _, begin, end = problem.times.tolist()
    count, m = volumes.shape
    level = (volumes + left) / (2 + z2)
    signs = np.sign(volumes)
    if (
        not problem.monotone
        or ((signs != 0) & (level * signs >= 0) & ((level - left) * signs >= 0)).all()
    ):
        starts, ends = (np.tile(at, (count, 1)) for at in ([begin, begin, end], [begin, end, end]))
        return starts, ends, np.stack((level - left, z2 * level, level), axis=1)
    check_pair(problem)
    side = np.where(left < 0, -1.0, 1.0)
    result = [
        following(abs(y), s * v, z2)
        for volume in volumes.tolist()
        for v, y, s in zip(volume, left.tolist(), side.tolist(), strict=True)
    ]
    start, pause, resting, last = np.array(result).reshape(count, m, 4).transpose(2, 0, 1)
    since = np.minimum(end, begin + pause * (end - begin) / z2)
    traded = np.stack((start, resting * (z2 - pause), last), axis=2) * side[:, None]
    first, final = np.full_like(since, begin), np.full_like(since, end)
    starts, ends = np.stack((first, since, final), axis=2), np.stack((first, final, final), axis=2)
    own = traded[..., None] * np.eye(m)[None, :, None, :]
    return tuple(x.reshape(count, 3 * m, *x.shape[3:]) for x in (starts, ends, own))  # type: ignore[return-value]


def _joined(plan: Plan, second: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
    """The first order of `plan` before every scenario's second order."""
    own = plan.orders == 0
    first = plan.starts[own], plan.ends[own], plan.volumes[own]
    count = len(second[0])
    return tuple(  # type: ignore[return-value]
        np.concatenate((np.broadcast_to(a, (count, *a.shape)), b), axis=1)
        for a, b in zip(first, second, strict=True)
    )


def _left(plan: Plan) -> Array:
    """Decayed volume Y of the first order when the second starts, shape (M,)."""
    first, at = plan.orders == 0, plan.problem.times[1:2]
    reach = plan.problem.kernel.coupling((at, at), (plan.starts[first], plan.ends[first]))
    return np.asarray((reach @ plan.volumes[first])[0])


def _cuts(left: float, z2: float) -> Array:
    """Volumes of the second order at which its best schedule changes kind."""
    return left * np.array([-1.0, 0.0, exp(-z2), 1 + z2])
