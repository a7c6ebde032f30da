"""Gains under many draws of a judge's numbers: by basket with its own kernel, and in total with
every other kernel.

The flows of all schedules are stacked, so a draw of the couplings is one product of matrices; other
kernels are felt backwards from what was traded, so each costs no product at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from crossimpact.scaled import Array
from crossimpact.shadow.counterfactual import EXECUTED, Moves, Pushes, Replayed, kernel_of
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
    names, at = replayed.names, replayed.names.index(EXECUTED)
    numbered = _numbered(curves)
    exposed = _Exposed.of(replayed, [carry_of(c, replayed) for c in numbered.values()], counted)
    fixed = np.array([replayed.observed_usd[name] for name in names])
    by_basket = np.empty((len(names), len(counted), count))
    total = np.empty((len(numbered), len(names), count))
    pushes = Pushes.of(judge, replayed)
    with threadpool_limits(1):  # the same digits whatever the machine's cores
        for d, numbers in enumerate(judge.draws(count, seed)):
            moves = Moves.of(pushes, numbers)
            now = moves.own + moves.cross
            met = moves.carried(kernel_of(numbers, replayed.day), at)
            met[:, :-1] += now
            paid = np.array([replayed.exposure[n] @ met[k].ravel() for k, n in enumerate(names)])
            by_basket[:, :, d] = paid[at] - paid - fixed
            spent = exposed.cost(now, moves.left - moves.left[at])
            total[:, :, d] = spent[:, at, None] - spent - fixed[:, counted].sum(axis=1)
    return Drawn(
        dict(zip(names, by_basket, strict=True)),
        {
            key: dict(zip(names, those, strict=True))
            for key, those in zip(numbered, total, strict=True)
        },
    )


def carry_of(curve: Curve, replayed: Replayed) -> Array:
    """A kernel for every regime of the day."""
    day = replayed.day
    return carry(dict.fromkeys(set(day.regimes), curve), day.regimes, day.bucket_min)


def _numbered(curves: Mapping[str, tuple[Curve, ...]]) -> dict[tuple[str, int], Curve]:
    return {(name, k): each for name, those in curves.items() for k, each in enumerate(those)}


@dataclass(frozen=True)
class _Exposed:
    """USD that a bps costs the counted baskets together, per schedule: met in its bucket, shape
    (schedules, B n, 1), and left by each bucket under each kernel, (schedules, kernels, B n)."""

    now: Array
    later: Array

    @classmethod
    def of(cls, replayed: Replayed, kernels: Sequence[Array], counted: Array) -> _Exposed:
        B, n = replayed.day.shape
        flags = counted.astype(float)
        usd = np.array([(flags @ e).reshape(B + 1, n) for e in replayed.exposure.values()])
        later = np.empty((len(usd), len(kernels), B * n))
        for k, kernel in enumerate(kernels):
            later[:, k] = (kernel.T @ usd).reshape(len(usd), -1)
        return cls(usd[:, :-1].reshape(len(usd), -1), later)

    def cost(self, now: Array, change: Array) -> Array:
        """Shape (kernels, schedules)."""
        flat = change.reshape(len(change), -1, 1)
        met = np.einsum("sx,sx->s", self.now, now.reshape(len(now), -1))
        return np.asarray((self.later @ flat)[:, :, 0].T + met)
