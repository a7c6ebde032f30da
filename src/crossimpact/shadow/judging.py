"""Two halves judge each other's schedules: gains by basket and in total, for every kernel.

`independent` is the mean of either half's schedules under the other's judgement, `claimed` that of
each under its own. Draws of the two are of different fits, so they are paired as they come.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import get_args

import numpy as np

from crossimpact.scaled import Array
from crossimpact.shadow import impact
from crossimpact.shadow.counterfactual import EXECUTED, Replayed, bad_fills, costs, expected_usd
from crossimpact.shadow.draws import DRAWS, Drawn, drawn
from crossimpact.shadow.impact import Curve
from crossimpact.shadow.impact import Judge as ImpactJudge
from crossimpact.shadow.tables import Judge, Kernel, Policy

POLICIES: tuple[Policy, ...] = get_args(Policy)
#: Schedules that no half has chosen.
UNCHOSEN: tuple[Policy, ...] = ("executed", "twap", "vwap")
KERNELS: tuple[Kernel, ...] = get_args(Kernel)


def chosen(policy: Policy, half: int) -> str:
    """The name of a policy's schedule as a half chose it."""
    return policy if policy in UNCHOSEN else f"{policy}/{half}"


@dataclass(frozen=True)
class Gain:
    """Over what was executed, USD, positive = cheaper: by basket as estimated, shape (baskets,),
    and in total by draw, shape (draws,)."""

    by_basket: Array
    draws: Array


@dataclass(frozen=True)
class Verdicts:
    """What two judges say of the schedules of one day.

    Attributes
    ----------
    replayed
        With a schedule per name of `chosen`.
    judges
        Of the halves, in their order.
    counted
        Which baskets are evidence, flags of shape (baskets,).
    draws
        Of each judge's numbers.
    """

    replayed: Replayed
    judges: Sequence[ImpactJudge]
    counted: Array
    draws: int = DRAWS

    def pooled(self, of: Callable[[int, str], Array], policy: Policy, judge: Judge) -> Array:
        """The mean over both judges of what `of` says for a judge and a schedule's name."""
        return np.asarray((self.one(of, policy, judge, 0) + self.one(of, policy, judge, 1)) / 2)

    def one(self, of: Callable[[int, str], Array], policy: Policy, judge: Judge, k: int) -> Array:
        """The same of judge k alone."""
        return of(k, chosen(policy, k if judge == "claimed" else 1 - k))

    def basket_draws(self, policy: Policy, judge: Judge) -> Array:
        """Gains by the judges' own kernels, USD, shape (baskets, draws)."""
        return self.pooled(lambda k, name: self._drawn[k].by_basket[name], policy, judge)

    def gain(self, policy: Policy, judge: Judge, kernel: Kernel) -> Gain:
        """With a kernel in place of the judges' own; of several curves the worst."""
        if kernel == "release":
            point = self.pooled(lambda k, name: -self._costs[k][name], policy, judge)
            return Gain(point, self.basket_draws(policy, judge)[self.counted].sum(axis=0))
        if kernel == "sqrt":
            point = self.pooled(lambda k, name: -self._sqrt_costs[k][name], policy, judge)
            rows = self.pooled(lambda k, name: self._sqrt[k].by_basket[name], policy, judge)
            return Gain(point, rows[self.counted].sum(axis=0))
        found = [
            self._with_curve(policy, judge, (kernel, c)) for c in range(len(self._curves[kernel]))
        ]
        return min(found, key=lambda gain: float(gain.by_basket[self.counted].sum()))

    def _with_curve(self, policy: Policy, judge: Judge, curve: tuple[str, int]) -> Gain:
        return Gain(
            self.pooled(lambda k, name: -self._other_costs[k][curve][name], policy, judge),
            self.pooled(lambda k, name: self._drawn[k].total[curve][name], policy, judge),
        )

    def bad_fills(self, policy: Policy, judge: Judge) -> tuple[int, float]:
        """Of `counterfactual.bad_fills`."""
        both = self.pooled(lambda k, name: np.array(self._bad[k][name]), policy, judge)
        return int(np.floor(both[0] + 0.5)), float(both[1])

    @cached_property
    def expected_usd(self) -> Array:
        """What both models expect that the executed flow cost, by basket, USD, their mean."""
        each = [expected_usd(judge, judge.estimate(), self.replayed) for judge in self.judges]
        return np.asarray(sum(each) / len(each))

    @cached_property
    def _curves(self) -> dict[str, tuple[Curve, ...]]:
        return impact.curves()

    @cached_property
    def _drawn(self) -> list[Drawn]:
        return [
            drawn(judge, self.replayed, self._curves, self.counted, self.draws)
            for judge in self.judges
        ]

    @cached_property
    def _costs(self) -> list[dict[str, Array]]:
        return [costs(judge, judge.estimate(), self.replayed) for judge in self.judges]

    @cached_property
    def _other_costs(self) -> list[dict[tuple[str, int], dict[str, Array]]]:
        return [
            {
                (name, c): costs(judge, judge.estimate(), self.replayed, curve)
                for name, those in self._curves.items()
                for c, curve in enumerate(those)
            }
            for judge in self.judges
        ]

    @cached_property
    def _shaped(self) -> list[ImpactJudge]:
        return [judge.shaped(self._typical) for judge in self.judges]

    @cached_property
    def _typical(self) -> Array:
        """Mean executed flow of the buckets in which a name traded, ADV fraction, shape (n,)."""
        day = self.replayed.day
        q = np.abs(self.replayed.flows[self.replayed.names.index(EXECUTED)]) / day.adv
        mean = q.sum(axis=0) / np.maximum((q > 0).sum(axis=0), 1)
        usual = float(np.median(mean[mean > 0])) if (mean > 0).any() else 1.0
        return np.where(mean > 0, mean, usual)

    @cached_property
    def _sqrt(self) -> list[Drawn]:
        return [drawn(judge, self.replayed, {}, self.counted, self.draws) for judge in self._shaped]

    @cached_property
    def _sqrt_costs(self) -> list[dict[str, Array]]:
        return [costs(judge, judge.estimate(), self.replayed) for judge in self._shaped]

    @cached_property
    def _bad(self) -> list[dict[str, tuple[int, float]]]:
        return [bad_fills(judge, judge.estimate(), self.replayed) for judge in self.judges]
