"""Gains under many draws of a judge's numbers: by basket with its own kernel, and in total with
every other kernel.

The flows of all schedules are stacked, so a draw of the couplings is one product of matrices; other
kernels are felt backwards from what was traded, so each costs no product at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from crossimpact.scaled import Array
from crossimpact.shadow.counterfactual import EXECUTED, Moves, Replayed, kernel_of
from crossimpact.shadow.impact import Curve, Judge, carry

#: Of the numbers; with fewer a verdict at a tenth is not told from chance.
DRAWS = 200
SEED = 20260301


@dataclass(frozen=True)
class Drawn:
    """Gains over what was executed, USD, positive = cheaper.

    Attributes
    ----------
    by_basket
        Per schedule with the judge's own kernel, shape (baskets, draws).
    total
        Per kernel and place of its curve, per schedule, over the baskets asked for, shape (draws,).
    """

    by_basket: Mapping[str, Array]
    total: Mapping[tuple[str, int], Mapping[str, Array]]


def drawn(
    judge: Judge,
    replayed: Replayed,
    curves: Mapping[str, tuple[Curve, ...]],
    counted: Array,
    count: int = DRAWS,
    seed: int = SEED,
) -> Drawn:
    """Gains under `count` draws; equal seeds, equal draws.

    Parameters
    ----------
    curves
        Kernels in place of the judge's, by name.
    counted
        Which baskets a total is over, flags of shape (baskets,).
    """
    names = replayed.names
    exposed = {k: _Exposed.of(replayed, carry_of(curve, replayed), counted) for k, curve in
               _numbered(curves).items()}  # fmt: skip
    by_basket = {n: np.empty((len(counted), count)) for n in names}
    total = {key: {n: np.empty(count) for n in names} for key in exposed}
    fixed = {n: replayed.observed_usd[n] for n in names}
    at = names.index(EXECUTED)
    with threadpool_limits(1):  # the same digits whatever the machine's cores
        for d, numbers in enumerate(judge.draws(count, seed)):
            moves = Moves.of(judge, numbers, replayed)
            now = moves.own + moves.cross
            met = moves.carried(kernel_of(numbers, replayed.day), at)
            met[:, :-1] += now
            paid = [replayed.exposure[n] @ met[k].ravel() for k, n in enumerate(names)]
            change = moves.left - moves.left[at]
            for k, n in enumerate(names):
                by_basket[n][:, d] = paid[at] - paid[k] - fixed[n]
            for key, each in exposed.items():
                spent = each.cost(now, change)
                for k, n in enumerate(names):
                    total[key][n][d] = spent[at] - spent[k] - fixed[n][counted].sum()
    return Drawn(by_basket, total)


def carry_of(curve: Curve, replayed: Replayed) -> Array:
    """A kernel for every regime of the day."""
    day = replayed.day
    return carry(dict.fromkeys(set(day.regimes), curve), day.regimes, day.bucket_min)


def _numbered(curves: Mapping[str, tuple[Curve, ...]]) -> dict[tuple[str, int], Curve]:
    return {(name, k): each for name, those in curves.items() for k, each in enumerate(those)}


@dataclass(frozen=True)
class _Exposed:
    """USD that a bps costs the counted baskets together, per schedule: met in its bucket, and left
    by each bucket, shape (schedules, B, n)."""

    now: Array
    later: Array

    @classmethod
    def of(cls, replayed: Replayed, kernel: Array, counted: Array) -> _Exposed:
        B, n = replayed.day.shape
        flags = counted.astype(float)
        usd = np.array([(flags @ e).reshape(B + 1, n) for e in replayed.exposure.values()])
        return cls(usd[:, :-1], np.asarray(kernel.T @ usd))

    def cost(self, now: Array, change: Array) -> Array:
        """Shape (schedules,)."""
        both = np.einsum("sbi,sbi->s", self.now, now) + np.einsum("sbi,sbi->s", self.later, change)
        return np.asarray(both)
