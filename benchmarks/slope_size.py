"""How often a week's slope is called significantly negative when it is zero, by simulation.

A true slope of zero is the worst case of "below zero": nothing is predicted rightly or wrongly. The
t of `slope.between_days` (buckets and days together) is held against the plain ones: buckets
taken as independent, and days as the only independent draws. Flows come in spells of one side with
log-normal sizes; the noise is one of several worlds, among them some in which a day's buckets go
together.

    .venv/bin/python benchmarks/slope_size.py                # 100,000 weeks of each kind
    .venv/bin/python benchmarks/slope_size.py --weeks 5000

Prints a markdown table of the rate over the nominal level: 1 is honest, below is careful.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
from scipy.signal import lfilter
from scipy.stats import t

from crossimpact.model import Array
from crossimpact.slope import between_days

LEVELS = (1e-2, 1e-3)
SHAPES = ((5, 60), (4, 60), (5, 18), (4, 20))  # days, buckets a day: of a calm regime, a stressed
WORLDS = ("independent", "fat tails", "loud days", "momentum 0.2", "slope by day")
CHUNK = 2000
SPELL, SIZE = 10.0, 0.8  # mean buckets on one side, standard deviation of the log of sizes
LOUD, MOMENTUM, BY_DAY = 0.7, 0.2, 0.1  # of log volatility; autocorrelation; of a day's slope


def flows(rng: np.random.Generator, weeks: int, days: int, buckets: int) -> Array:
    """Predicted moves, (weeks, days, buckets): spells of one side or none, log-normal sizes."""
    shape = (weeks, days, buckets)
    starts = rng.random(shape) < 1 / SPELL
    starts[..., 0] = True
    spell = np.cumsum(starts, axis=-1) - 1
    side = np.take_along_axis(rng.integers(-1, 2, shape), spell, axis=-1)
    return np.asarray(side * np.exp(SIZE * rng.standard_normal(shape)))


def noises(rng: np.random.Generator, world: str, x: Array) -> Array:
    """Moves that `x` has no part in on average, of unit variance or so, shaped like it."""
    e = rng.standard_normal(x.shape)
    by_day = rng.standard_normal((*x.shape[:2], 1))
    if world == "fat tails":
        return rng.standard_t(3, x.shape)
    if world == "loud days":
        return np.asarray(e * np.exp(LOUD * by_day))
    if world.startswith("momentum"):
        return np.asarray(lfilter([1.0], [1.0, -MOMENTUM], e, axis=-1))
    if world == "slope by day":
        return np.asarray(e + BY_DAY * by_day * x)
    return e


def p_values(rng: np.random.Generator, world: str, days: int, buckets: int) -> Iterator[Array]:
    """Of one week after the other: this project's, independent buckets', independent days'."""
    x = flows(rng, CHUNK, days, buckets)
    y = noises(rng, world, x)
    date = np.repeat(np.arange(days).astype(str), buckets)
    for information, score in zip(
        (x * x).reshape(CHUNK, -1), (x * y).reshape(CHUNK, -1), strict=True
    ):
        slope = between_days(information, score, date)
        if slope is None:
            continue
        left = (score - slope.value * information).reshape(days, buckets)
        count, total = left.size, information.sum()
        by_bucket = np.sqrt((left**2).sum() * count / (count - 1)) / total
        by_day = np.sqrt((left.sum(axis=1) ** 2).sum() * days / (days - 1)) / total
        yield np.array([
            slope.p_below(0.0),
            t.cdf(slope.value / by_bucket, count - 1),
            t.cdf(slope.value / max(by_day, 1e-12), days - 1),
        ])  # fmt: skip


def sizes(world: str, days: int, buckets: int, weeks: int, seed: int = 0) -> Array:
    """Rate of significance over the level, (levels, tests)."""
    rng = np.random.default_rng([seed, days, buckets, WORLDS.index(world)])
    chunks = range(max(1, weeks // CHUNK))
    p = np.array([row for _ in chunks for row in p_values(rng, world, days, buckets)])
    return np.array([(p <= level).mean(axis=0) / level for level in LEVELS])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--weeks", type=int, default=100_000, help="of each kind")
    asked = parser.parse_args()
    tests = ("this t", "buckets alone", "days alone")
    print(
        "| noise | days x buckets |",
        " | ".join(f"{t} at {a:g}" for a in LEVELS for t in tests),
        "|",
    )
    print("|", " | ".join(["---"] * (2 + len(LEVELS) * len(tests))), "|")
    for world in WORLDS:
        for days, buckets in SHAPES:
            told = sizes(world, days, buckets, asked.weeks).ravel()
            print(
                f"| {world} | {days} x {buckets} |",
                " | ".join(f"{x:.2f}" for x in told),
                "|",
                flush=True,
            )


if __name__ == "__main__":
    main()
