"""The best kernel of some sums: a shape for all pushes, a nonnegative scale for each.

A shape is a sum of exponentials with nonnegative shares. Given one, the scales are nonnegative
least squares of a handful of columns; shapes are searched over a grid of half-lives and shares,
which is then narrowed around the best, for many weightings of the days at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from crossimpact.estimate.decay_sums import DecaySums, Rates
from crossimpact.model import Array

HALF_LIVES, SHARES = 30, 21  # points of the first search for one rate
FEW_HALF_LIVES, FEW_SHARES = 10, 11  # for two
NARROWINGS = 3  # of it, and the points around the best one, in new steps
ONE_AROUND, TWO_AROUND = np.linspace(-1, 1, 7), np.linspace(-1, 1, 5)
SWEEPS = 60  # of coordinate descent where a scale would be negative
BISECTIONS = 60
ROUNDS = 2  # of fitting each regime's shape given the others'


@dataclass(frozen=True)
class Shapes:
    """Best shapes and scales under each of D weightings of the days.

    Attributes
    ----------
    half_lives_min, shares
        Of the exponentials that make up a shape, the permanent one (inf) first, (D, terms).
    scales
        Per column of the sums, shape (D, m).
    gain
        How much of the noise-weighted square of the moves they explain, shape (D,).
    """

    half_lives_min: Array
    shares: Array
    scales: Array
    gain: Array

    @property
    def permanent(self) -> Array:
        """Share that stays, shape (D,)."""
        return np.asarray(self.shares[:, 0])

    @property
    def half_life_min(self) -> Array:
        """Minutes in which the transient part halves, shape (D,); inf where there is none."""
        shares, half_lives = self.shares[:, 1:], self.half_lives_min[:, 1:]
        there = (shares > 0).any(axis=1)
        low = np.where(shares > 0, half_lives, np.inf).min(axis=1, initial=np.inf)
        high = np.where(shares > 0, half_lives, 0.0).max(axis=1, initial=0.0)
        low, high = np.where(there, low, 1.0), np.where(there, high, 1.0)
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            faded = (shares * 0.5 ** (middle[:, None] / half_lives)).sum(axis=1)
            above = faded > shares.sum(axis=1) / 2
            low, high = np.where(above, middle, low), np.where(above, high, middle)
        return np.asarray(np.where(there, high, np.inf))

    def left(self, lags_min: Array) -> Array:
        """What is left of a push so long after its bucket's end, shape (D, lags)."""
        faded = 0.5 ** (lags_min[:, None] / self.half_lives_min[:, None, :])
        return np.asarray((faded * self.shares[:, None, :]).sum(axis=2))

    def coefficients(self, rates: Rates) -> Array:
        """Of the grid's states, shape (D, rates, m)."""
        weights = (self.shares[..., None] * rates.mix(self.half_lives_min)).sum(axis=-2)
        return np.asarray(weights[:, :, None] * self.scales[:, None, :])


@dataclass(frozen=True)
class Quadratic:
    """Sums under each of D weightings of the days, gram (D, K K, m m) and xy (D, K, m)."""

    rates: Rates
    gram: Array
    xy: Array

    @classmethod
    def weighted(cls, sums: DecaySums, counts: Array) -> Quadratic:
        """How often each day counts, shape (D, days)."""
        days, rates, columns = sums.xy.shape
        gram = sums.gram.transpose(0, 1, 3, 2, 4).reshape(days, -1)
        summed = (counts @ gram).reshape(-1, rates**2, columns**2)
        xy = (counts @ sums.xy.reshape(days, -1)).reshape(-1, rates, columns)
        return cls(sums.rates, summed, xy)

    def less(self, coefficients: Array) -> Quadratic:
        """The same with what these explain of the mid moves taken out, (D or 1, rates, m)."""
        rates, columns = self.xy.shape[1:]
        gram = self.gram.reshape(-1, rates, rates, columns, columns)
        taken = np.einsum("dklmn,dln->dkm", gram, np.broadcast_to(coefficients, self.xy.shape))
        return replace(self, xy=self.xy - taken)

    def only(self, columns: slice) -> Quadratic:
        """Some of the columns."""
        rates, every = self.xy.shape[1:]
        gram = self.gram.reshape(-1, rates**2, every, every)[:, :, columns, columns]
        xy = self.xy[:, :, columns]
        return replace(self, gram=gram.reshape(*gram.shape[:2], -1), xy=xy)

    def explained(self, coefficients: Array) -> Array:
        """What of the square of the moves coefficients (rates, m) explain, shape (D,)."""
        left = self.less(coefficients[None]).xy
        return np.asarray(((self.xy + left) * coefficients).sum(axis=(1, 2)))

    def of(self, half_lives_min: Array, shares: Array) -> tuple[Array, Array]:
        """Products of the shapes' columns with each other (D, C, m, m) and with the mid moves
        (D, C, m); shapes (C, terms), or (D, C, terms)."""
        weights = (shares[..., None] * self.rates.mix(half_lives_min)).sum(axis=-2)
        pairs = (weights[..., :, None] * weights[..., None, :]).reshape(*weights.shape[:-1], -1)
        columns = self.xy.shape[2]
        gram = (pairs @ self.gram).reshape(len(self.xy), -1, columns, columns)
        return gram, weights @ self.xy

    def best(self, half_lives_min: Array, shares: Array) -> Shapes:
        """The best of candidates for each weighting; arguments as `of`."""
        gram, xy = self.of(half_lives_min, shares)
        scales = nonnegative(gram, xy)
        gain = explained(gram, xy, scales)
        rows, best = np.arange(len(gain)), gain.argmax(axis=1)
        if shares.ndim == 2:
            picked = half_lives_min[best], shares[best]
        else:
            picked = half_lives_min[rows, best], shares[rows, best]
        return Shapes(*picked, scales[rows, best], gain[rows, best])


def explained(gram: Array, xy: Array, scales: Array) -> Array:
    """What of the square of the moves these scales explain, of shapes (..., m, m), (..., m)."""
    return np.asarray((scales * (2 * xy - (gram @ scales[..., None])[..., 0])).sum(axis=-1))


def nonnegative(gram: Array, xy: Array) -> Array:
    """Nonnegative least squares of few columns, many at once, shape of xy, (..., m)."""
    diagonal = np.einsum("...mm->...m", gram)
    ridge = np.where(diagonal > 0, 1e-10 * diagonal, 1.0)
    inside = gram + ridge[..., None] * np.eye(xy.shape[-1])
    scales = np.linalg.solve(inside, xy[..., None])[..., 0]
    wrong = (scales < 0).any(axis=-1)
    if wrong.any():
        scales[wrong] = _descended(inside[wrong], xy[wrong], np.maximum(scales[wrong], 0.0))
    return np.asarray(scales)


def _descended(gram: Array, xy: Array, scales: Array) -> Array:
    for _ in range(SWEEPS):
        for k in range(scales.shape[1]):
            left = xy[:, k] - np.einsum("cm,cm->c", gram[:, k], scales)
            scales[:, k] = np.maximum(0.0, scales[:, k] + left / gram[:, k, k])
    return scales


# -- families of shapes --------------------------------------------------------------------------

Family = Callable[[Quadratic], Shapes]


def coefficients(quadratic: Quadratic, family: Family) -> Array:
    """Of the best shape for all columns, (D, rates, m)."""
    return family(quadratic).coefficients(quadratic.rates)


def coefficients_by_regime(quadratic: Quadratic, family: Family) -> Array:
    """Of the best shapes for each regime's pushes by themselves, (D, rates, m)."""
    found = coefficients(quadratic, family)
    for _ in range(ROUNDS):
        for first in range(0, found.shape[2], 2):
            regime = slice(first, first + 2)
            others = found.copy()
            others[:, :, regime] = 0.0
            left = quadratic.less(others).only(regime)
            found[:, :, regime] = coefficients(left, family)
    return found


def best_permanent(quadratic: Quadratic) -> Shapes:
    """Impact that stays."""
    return quadratic.best(*_terms(np.empty((1, 0)), 0))


def best_one_rate(quadratic: Quadratic) -> Shapes:
    """A permanent part and one rate: a half-life from a quarter of a bucket to the session."""
    half_lives = _half_lives(quadratic.rates, HALF_LIVES)
    first = _crossed(half_lives, np.linspace(0.0, 1.0, SHARES))
    steps = np.array([half_lives[1] - half_lives[0], 1 / (SHARES - 1)])
    return _searched(quadratic, first, steps, _crossed(ONE_AROUND, ONE_AROUND))


def best_two_rates(quadratic: Quadratic) -> Shapes:
    """A permanent part and two rates."""
    half_lives = _half_lives(quadratic.rates, FEW_HALF_LIVES)
    shares = np.linspace(0.0, 1.0, FEW_SHARES)
    split = _crossed(shares, shares)
    split = split[split.sum(axis=1) <= 1 + 1e-9]
    pairs = np.array(list(combinations(half_lives, 2)))
    first = np.hstack((np.repeat(pairs, len(split), axis=0), np.tile(split, (len(pairs), 1))))
    steps = np.repeat([half_lives[1] - half_lives[0], shares[1]], 2)
    return _searched(quadratic, first, steps, _crossed(*[TWO_AROUND] * 4))


def shortest_half_life(rates: Rates) -> float:
    """Minutes, the least that is searched: shorter ones look alike from bucket to bucket."""
    return rates.bucket_min / 4


def _half_lives(rates: Rates, points: int) -> Array:
    """Logarithms of the half-lives to search."""
    return np.linspace(np.log(shortest_half_life(rates)), np.log(rates.session_min), points)


def _crossed(*axes: Array) -> Array:
    """Every combination of the axes' values, (C, axes)."""
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))


def _searched(quadratic: Quadratic, first: Array, steps: Array, around: Array) -> Shapes:
    """The best of `first`, then of its surroundings in ever smaller steps. A candidate is the
    logarithms of its half-lives, then the shares of all its exponentials but the last."""
    rates = len(steps) // 2
    best = quadratic.best(*_terms(first, rates))
    low, high = _half_lives(quadratic.rates, 2)
    for _ in range(NARROWINGS):
        at = np.hstack((np.log(best.half_lives_min[:, 1:]), best.shares[:, :-1]))
        near = at[:, None] + around * steps
        near[..., :rates] = np.clip(near[..., :rates], low, high)
        best = quadratic.best(*_terms(near, rates))
        steps = steps * 2 / len(np.unique(around[:, 0]))
    return best


def _terms(at: Array, rates: int) -> tuple[Array, Array]:
    """Half-lives and shares of candidates, (..., rates + 1)."""
    shares = np.clip(at[..., rates:], 0.0, 1.0)
    shares = shares / np.maximum(shares.sum(axis=-1, keepdims=True), 1.0)
    last = np.maximum(0.0, 1 - shares.sum(axis=-1, keepdims=True))
    permanent = np.full((*at.shape[:-1], 1), np.inf)
    return (
        np.concatenate((permanent, np.exp(at[..., :rates])), axis=-1),
        np.concatenate((shares, last), axis=-1),
    )
