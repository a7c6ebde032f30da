"""The prior of couplings, learned from all pairs at once.

Given each pair's own estimate and its noise, the likelihood of shares, means and spreads is a plain
mixture's, and EM climbs it without a look at the rows: a step costs a few sums over pairs, a pass
of the posterior all products of rows. Shares climb slowest (most pairs tell little of what they
are), so they take several steps a pass. Not all the way: estimates answer to the prior, and with
fewer buckets than names shares that run ahead of them end elsewhere, or swing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from crossimpact.model import Array

PRIOR_PAIRS = 2.0  # pairs' worth of belief in the prior's own shape
PRIOR_SPREAD = 0.2  # of couplings in a slab, before data
START = (0.2, 0.1, 0.1)  # share drawn from the slab, share like the template, mean of the slab
STEPS = 3  # of the shares in a pass
OVERSHOOT = 1.9  # of a step of the shares, in log odds
MOST_ODDS = 30.0  # in logs, of a share over what is left: more is all
STEADY, FARTHEST = 0.02, 0.95  # ratio of two steps: how alike the last two, and the largest


class Strata(NamedTuple):
    """Pairs in one line, stratum by stratum.

    Attributes
    ----------
    first, second
        Names of each pair.
    start
        Where a stratum begins, and the end of the last, (strata + 1,).
    group
        Group of each stratum, whose pairs share a slab.
    noise, centre, stray
        Variance of a pair's estimate, the template's coupling and how far pairs stray from it.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    start: NDArray[np.int64]
    group: NDArray[np.int64]
    noise: Array
    centre: Array
    stray: Array


def strata_of(
    label: NDArray[np.int64], groups: int, curvature: Array, centre: Array, stray: Array
) -> Strata:
    """All pairs that have curvature; arrays (n, n), `label` is ``group + groups * stratum``."""
    first, second = np.nonzero(np.triu(curvature > 0, 1))
    of = label[first, second]
    order = np.argsort(of, kind="stable")
    first, second, count = first[order], second[order], int(label.max(initial=0)) + 1
    at = first, second
    return Strata(
        first, second, np.searchsorted(of[order], np.arange(count + 1)), np.arange(count) % groups,
        1 / curvature[at], centre[at], stray[at],
    )  # fmt: skip


def first_prior(strata: int) -> Array:
    """``(pi, omega, mu, tau)`` of each stratum before any data."""
    return np.tile([*START, PRIOR_SPREAD], (strata, 1))


def learn(estimate: Array, pairs: Strata, prior: Array, rounds: int = 1) -> Array:
    """The prior that the pairs' estimates suggest, a few steps of EM on.

    Parameters
    ----------
    estimate
        What the rows say of each pair by itself, given all others, shape (n, n).
    prior
        ``(pi, omega, mu, tau)`` of each stratum to start from, shape (strata, 4).
    rounds
        Of EM: means and spreads take a step in each, shares `STEPS`.
    """
    own, prior = estimate[pairs.first, pairs.second], prior.copy()
    densities = np.empty((3, len(own)))
    for _ in range(rounds):
        _densities(own, pairs.start, pairs.noise, pairs.centre, pairs.stray, prior, densities)
        _climb(pairs.start, pairs.centre, densities, prior)
        drawn = _slabs(own, pairs.start, pairs.noise, pairs.centre, prior, densities)
        prior[:, 2:] = _of_groups(drawn, pairs.group)[pairs.group]
    return prior


def leap(priors: Sequence[Array]) -> Array:
    """Where four priors in a row that move by ever smaller steps would end (Aitken 1926): the last
    few hundredths take most of the passes otherwise. Number by number, and only of one whose steps
    shrink steadily; shares in log odds, spreads in logs."""
    path = np.stack([_unbounded(prior) for prior in priors])
    steps = np.diff(path, axis=0)
    ratio = np.divide(steps[1:], steps[:-1], out=np.zeros_like(steps[1:]), where=steps[:-1] != 0)
    steady = np.abs(ratio[1] - ratio[0]) < STEADY
    along = np.where(steady, np.clip(ratio[1], 0.0, FARTHEST), 0.0)
    there = path[-1] + steps[-1] * along / (1 - along)
    odds = np.exp(np.minimum(there[:, :2], MOST_ODDS))
    shares = odds / (1 + odds.sum(axis=1, keepdims=True))
    return np.column_stack((shares, there[:, 2], np.exp(there[:, 3])))


def _unbounded(prior: Array) -> Array:
    """Shares in log odds over what they leave, means, logs of spreads."""
    rest = 1 - prior[:, :2].sum(axis=1, keepdims=True)
    return np.column_stack((np.log(prior[:, :2] / rest), prior[:, 2], np.log(prior[:, 3])))


def _of_groups(drawn: Array, group: NDArray[np.int64]) -> Array:
    """Mean and spread of each group's slab, (groups, 2), from its strata's sums `_slabs`."""
    sums = np.zeros((int(group.max()) + 1, 3))
    np.add.at(sums, group, drawn)
    share, mean, square = sums.T
    mu = mean / (share + 0.5 * PRIOR_PAIRS)
    around = square - 2 * mu * mean + mu**2 * share
    spread = (np.maximum(around, 0.0) + PRIOR_PAIRS * PRIOR_SPREAD**2) / (share + PRIOR_PAIRS)
    return np.column_stack((mu, np.sqrt(spread)))


@njit(cache=True, error_model="numpy")
def _densities(
    estimate: Array, start: NDArray[np.int64], noise: Array, centre: Array, stray: Array,
    prior: Array, found: Array,
) -> None:  # fmt: skip
    """Densities of each estimate under no coupling, the template's and the slab, (3, pairs), each
    over the largest of the three."""
    for k in range(len(prior)):
        mu, tau = prior[k, 2], prior[k, 3]
        for p in range(start[k], start[k + 1]):
            e, loose, wide = estimate[p], noise[p] + stray[p] ** 2, noise[p] + tau * tau
            zero, drawn, alike = -0.5 * e**2 / noise[p], -0.5 * (e - mu) ** 2 / wide, -np.inf
            if centre[p] != 0.0:
                alike = -0.5 * (e - centre[p]) ** 2 / loose
            top = max(zero, drawn, alike)
            found[0, p] = np.exp(zero - top) / np.sqrt(noise[p])
            found[1, p] = np.exp(drawn - top) / np.sqrt(wide)
            found[2, p] = np.exp(alike - top) / np.sqrt(loose)


@njit(cache=True, error_model="numpy")
def _climb(start: NDArray[np.int64], centre: Array, densities: Array, prior: Array) -> None:
    """Take `STEPS` of EM with each stratum's shares, slabs as they are."""
    for k in range(len(prior)):
        believed = start[k + 1] - start[k] + PRIOR_PAIRS
        for _ in range(STEPS):
            pi, omega = prior[k, 0], prior[k, 1]
            own, shared = START[0] * PRIOR_PAIRS, START[1] * PRIOR_PAIRS
            for p in range(start[k], start[k + 1]):
                like = omega if centre[p] != 0.0 else 0.0
                alike, drawn = like * densities[2, p], pi * densities[1, p]
                total = (1.0 - pi - like) * densities[0, p] + drawn + alike
                own += drawn / total
                shared += alike / total
            left, rest = believed - own - shared, 1.0 - pi - omega
            first = (pi / rest) ** (1 - OVERSHOOT) * (own / left) ** OVERSHOOT
            second = (omega / rest) ** (1 - OVERSHOOT) * (shared / left) ** OVERSHOOT
            prior[k, 0] = first / (1.0 + first + second)
            prior[k, 1] = second / (1.0 + first + second)


@njit(cache=True, error_model="numpy")
def _slabs(
    estimate: Array, start: NDArray[np.int64], noise: Array, centre: Array, prior: Array,
    densities: Array,
) -> Array:  # fmt: skip
    """By stratum: probability of its pairs to be drawn from the slab, summed, and that times what
    each would then be, its mean and its square, (strata, 3)."""
    sums = np.zeros((len(prior), 3))
    for k in range(len(prior)):
        pi, omega, mu, tau = prior[k]
        for p in range(start[k], start[k + 1]):
            like = omega if centre[p] != 0.0 else 0.0
            drawn = pi * densities[1, p]
            drawn /= (1.0 - pi - like) * densities[0, p] + like * densities[2, p] + drawn
            wide = noise[p] + tau * tau
            mean = (estimate[p] * tau * tau + mu * noise[p]) / wide
            sums[k, 0] += drawn
            sums[k, 1] += drawn * mean
            sums[k, 2] += drawn * (mean**2 + noise[p] * tau * tau / wide)
    return sums
