"""One plan per scenario, and how far any schedule is from optimal."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from crossimpact.model import Array
from crossimpact.policy.sequential.plan import Accuracy, Index, Plan, measured
from crossimpact.policy.sequential.problem import struck

_BATCH = 16  # plans priced together: they share pieces, and what they do not costs its square


@dataclass(frozen=True, eq=False)
class Contingent:
    """One plan per scenario, agreeing on everything done before they part.

    Attributes
    ----------
    probabilities
        Positive, summing to 1, shape (L,).
    plans
        The whole schedule in each scenario.
    nodes
        Who decides: ``nodes[l, j]`` labels the information order j of scenario l is worked with;
        scenarios of one label share that order's schedule. Shape (L, N).
    residual, method, accuracy
        As of `Plan`.
    """

    probabilities: Array
    plans: tuple[Plan, ...]
    nodes: Index
    residual: float = float("nan")
    method: str = ""
    accuracy: Accuracy = field(default_factory=Accuracy)

    def mean(self, values: ArrayLike) -> Array:
        """Expectation of one value (or array) per scenario."""
        return np.asarray(np.tensordot(self.probabilities, np.asarray(values, float), axes=1))

    @cached_property
    def _measured(self) -> tuple[Array, Array]:
        batches = range(0, len(self.plans), _BATCH)
        full, impact = zip(*(measured(self.plans[i : i + _BATCH]) for i in batches), strict=True)
        return np.concatenate(full), np.concatenate(impact)

    @property
    def full(self) -> float:
        """Expected `full` of a plan, as the others below."""
        return float(self.mean(self._measured[0]))

    @property
    def benchmark_impact(self) -> Array:
        return self.mean(self._measured[1])

    @property
    def spread_cost(self) -> float:
        return float(self.mean([plan.spread_cost for plan in self.plans]))

    @property
    def cost(self) -> float:
        return self._priced([plan.problem.c for plan in self.plans]) + self.risk_charge

    @property
    def risk_charge(self) -> float:
        return float(self.mean([plan.risk_charge for plan in self.plans]))

    @property
    def ttsc(self) -> float:
        return self._priced([plan.problem.volumes[1:] for plan in self.plans])

    @property
    def tthc(self) -> float:
        return self._priced([struck(plan.problem.parts) for plan in self.plans])

    def _priced(self, c: list[Array]) -> float:
        gained = self.mean((np.array(c) * self._measured[1]).sum(axis=(1, 2)))
        return self.full + self.spread_cost - float(gained)


def kkt_residual(schedule: Plan | Contingent, points: int = 64) -> float:
    """How far from optimal, in continuous time: no solver is asked.

    Without limits a schedule is optimal when each order's marginal cost is constant where it trades
    and nowhere more favourable (buys: lower) within its horizon; with ``monotone`` off, constant
    throughout. Judged at the ends and middles of the pieces traded and at `points` more times.

    Returns
    -------
    float
        The largest miss in units of ``problem.scale``: rounding for an exact solution, of the order
        of the squared step for one on a grid.
    """
    if isinstance(schedule, Plan):
        schedule = Contingent(
            np.ones(1), (schedule,), np.zeros((1, len(schedule.problem.times) - 1), np.intp)
        )
    plans, problem = schedule.plans, schedule.plans[0].problem
    worst = 0.0
    for order in range(problem.orders):
        labels = schedule.nodes[:, order]
        for label in np.unique(labels):
            shared = np.flatnonzero(labels == label)
            weights = schedule.probabilities[shared] / schedule.probabilities[shared].sum()
            worst = max(worst, _miss([plans[s] for s in shared], weights, order, points))
    return worst / max(plan.problem.scale for plan in plans)


def _miss(plans: list[Plan], weights: Array, order: int, points: int) -> float:
    """Largest violation of one order's conditions, its gradient averaged over the plans."""
    plan, problem = plans[0], plans[0].problem
    own = plan.orders == order
    starts, ends, volumes = plan.starts[own], plan.ends[own], plan.volumes[own]
    grid = np.linspace(problem.times[order], problem.times[order + 1], points + 2)
    times = np.concatenate((starts, ends, (starts + ends) / 2, grid))
    slopes = sum(w * p.gradient(order, times) for w, p in zip(weights, plans, strict=True))
    traded = np.zeros((len(times), problem.assets), dtype=bool)
    traded[: 3 * len(starts)] = np.tile(volumes != 0, (3, 1))
    worst = 0.0
    for asset, volume in enumerate(problem.volumes[order]):
        slope, active = slopes[:, asset], traded[:, asset]
        if not problem.monotone:
            worst = max(worst, float(np.ptp(slope)))
        elif volume:
            slope = slope * np.sign(volume)
            worst = max(worst, float(slope[active].max() - slope.min()))
    return worst
