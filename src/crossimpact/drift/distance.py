"""How far a week's own estimate lies from the champion, and how far it would if nothing changed.

The fresh estimate is a ridge towards the champion: what the champion leaves of all rows is
regressed on all flows at once, ``D = (X'X + r)^-1 X'E``, and symmetrised by precision. Its null is
a wild bootstrap around the champion: buckets change sign at random (Liu 1988), all names of a
bucket together, so fat tails, quiet hours and moves common to the market are the week's own; and
the truth is drawn around the champion by its own standard errors, for a champion is an estimate.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from crossimpact.estimate.held_out import HeldOut
from crossimpact.model import Array

STATISTICS = ("frobenius", "spectral", "sign_flips", "turnover", "coverage")
DRAWS = 299
SEED = 20260302
SIGNIFICANT = 3.0  # standard errors from which a pair of one week is taken for an edge
COVERED = 1.96  # standard errors: 95% of the pairs lie within
CHUNK = 4_000_000  # numbers held at a time


@dataclass(frozen=True)
class Distance:
    """A statistic of the week's estimate against the champion.

    Attributes
    ----------
    value
        ``frobenius`` and ``spectral`` norms of the change are relative to the champion's own;
        ``sign_flips`` counts the champion's edges that are significant with the other sign;
        ``turnover`` is the share of edges, the champion's that the week could have seen and the
        week's, that are not in both; ``coverage`` the share of the champion's edges whose fresh
        estimate lies within their 95% predictive interval.
    low, high
        Between which the bootstrap null has 95% of its draws.
    p
        Share of the null at least as far, the week itself included.
    """

    value: float
    low: float
    high: float
    p: float


def distances(
    scaled: Array, gamma_se: Array, allowance: float, week: HeldOut
) -> dict[str, Distance]:
    """Compare a week with the champion; empty when there are no edges, no flow or no noise.

    Parameters
    ----------
    scaled
        The champion's couplings in scaled space, symmetric, shape (n, n), bps.
    doubt
        Their standard errors, shape (n, n).
    allowance
        Times its standard errors that the champion may be off under the null.
    week
        See `held_out.open_held_out`.
    """
    if not scaled.any() or not (week.noise > 0).any() or not week.flow.any():
        return {}
    solve, weigh = _ridge(week, scaled)
    noise, error = map(np.concatenate, zip(*_draws(week, solve, weigh, gamma_se), strict=True))
    se = noise.std(axis=0)
    spread = np.hypot(se, error.std(axis=0))
    fresh = _symmetric(solve @ week.left, weigh)
    seen = _statistics(fresh[None], scaled, se, spread)
    null = _statistics(noise + allowance * error, scaled, se, spread)
    return {name: _compare(name, float(seen[name][0]), null[name]) for name in STATISTICS}


def _compare(name: str, value: float, null: Array) -> Distance:
    side = -1.0 if name == "coverage" else 1.0
    beyond = int((side * null >= side * value - 1e-12).sum())
    low, high = np.quantile(null, [0.025, 0.975])
    return Distance(value, float(low), float(high), (1 + beyond) / (1 + len(null)))


def _ridge(week: HeldOut, scaled: Array) -> tuple[Array, Array]:
    """``(X'X + r)^-1 X'`` and each row's precision of each coefficient, (n, T) and (n, n).

    The ridge is the prior that a pair changes by about the size of the champion's edges.
    """
    noise, known = week.noise, week.noise > 0
    ridge = float(np.median(noise[known] ** 2) / (scaled[scaled != 0] ** 2).mean())
    inverse = np.linalg.inv(week.flow.T @ week.flow + ridge * np.eye(len(scaled)))
    weight = np.where(known, 1 / np.where(known, noise, 1.0) ** 2, 0.0)
    return inverse @ week.flow.T, np.outer(weight, 1 / np.diagonal(inverse))


def _draws(
    week: HeldOut, solve: Array, weigh: Array, gamma_se: Array
) -> Iterator[tuple[Array, Array]]:
    """Estimated changes that noise makes and that the champion's errors make, (draws, n, n)."""
    n, length = solve.shape
    first = int(np.datetime64(week.date[0], "D").astype(int))
    rng = np.random.default_rng([SEED, first % 2**31])
    keep = solve @ week.flow
    step = max(1, CHUNK // (n * length))
    for start in range(0, DRAWS, step):
        size = min(step, DRAWS - start)
        signs = rng.integers(0, 2, (size, 1, length)) * 2.0 - 1
        noise = ((signs * solve).reshape(-1, length) @ week.left).reshape(size, n, n)
        error = np.triu(rng.standard_normal((size, n, n)), 1) * gamma_se
        error = keep @ (error + error.transpose(0, 2, 1))
        yield _symmetric(noise, weigh), _symmetric(error, weigh)


def _symmetric(coef: Array, weigh: Array) -> Array:
    """One number per pair from both rows by their precision, zero diagonal; `coef` holds row i's
    coefficients in column i, shape (..., n, n)."""
    total = weigh + weigh.T
    np.fill_diagonal(total, 0.0)
    share = np.divide(weigh, total, out=np.zeros_like(total), where=total > 0)
    part = share * coef.swapaxes(-1, -2)
    return np.asarray(part + part.swapaxes(-1, -2))


def _statistics(change: Array, old: Array, se: Array, spread: Array) -> dict[str, Array]:
    """The statistics of each estimated change, shape (draws,), from (draws, n, n)."""
    edge = np.triu(old != 0, 1)
    upper = np.triu(se > 0, 1)
    before, error = old[upper], se[upper]
    fresh = before + change[:, upper]
    sure = np.abs(fresh) > SIGNIFICANT * error
    same = np.sign(fresh) == np.sign(before)
    either, both = sure | (np.abs(before) > SIGNIFICANT * error), sure & same
    inside = np.abs(change[:, edge]) <= COVERED * spread[edge]
    return {
        "frobenius": np.linalg.norm(change, axis=(1, 2)) / np.linalg.norm(old),
        "spectral": np.abs(np.linalg.eigvalsh(change)).max(axis=1) / np.linalg.norm(old, 2),
        "sign_flips": (sure & ~same & (before != 0)).sum(axis=1).astype(float),
        "turnover": 1 - both.sum(axis=1) / np.maximum(either.sum(axis=1), 1),
        "coverage": inside.mean(axis=1),
    }
