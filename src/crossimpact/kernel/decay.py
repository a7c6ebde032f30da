"""How a model's impact decays from bucket to bucket: one kernel for all names, self and cross.

A bucket's push x (bps, as its fills pay it on average) leaves ``scale g(t)`` in the mid a time t
after the bucket's END,

    g(t) = sum_k w_k exp(-rho_k t),   w_k >= 0,  sum_k w_k = 1,  rho_0 = 0 for permanent impact,

so that bucket b starts from prices which the buckets before it have moved by

    C_b = scale sum_{a < b} g((b - a - 1) D) x_a,     D the bucket's width,

a recursion per rate. Nonnegative exponentials make g completely monotone: decreasing, convex and
positive definite (Alfonsi, Schied and Slynko 2012), and in the limit of many any such decay, power
laws included. One shape for self and cross, a scale each (Schneider and Lillo 2019 on why shapes
may not differ; `crossimpact.path_manipulation`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossimpact.errors import ModelError
from crossimpact.kernel.exponential import ExponentialsDecay
from crossimpact.kernel.uncertainty import DecayErrors as DecayErrors
from crossimpact.kernel.uncertainty import expect, number, numbers
from crossimpact.scaled import Array

#: Weights may miss a sum of 1 by this much: rounding.
TOLERANCE = 1e-9
UNKNOWN = DecayErrors()


@dataclass(frozen=True)
class Decay:
    """The decay kernel of one regime.

    Parameters
    ----------
    weights
        Share of a push that decays at each rate, >= 0, summing to 1.
    rates_per_min
        Decay rates, >= 0, increasing; 0 is permanent impact. Typical: 0 and ``ln 2 / 30``.
    scale_self, scale_cross
        What the mid keeps at the bucket's end per bps its fills paid, of a name's own push and of
        the others', >= 0. Typical: 1.1 to 1.8, as a push that builds up through the bucket costs
        the average fill less than it leaves behind.
    bucket_min
        Width of a bucket, minutes, > 0.
    overnight
        Share of a session's last state with which the next one begins, 0 to 1.
    errors
        How well all this is known.

    Raises
    ------
    ModelError
        Naming the number and its limit.
    """

    weights: tuple[float, ...]
    rates_per_min: tuple[float, ...]
    scale_self: float = 1.0
    scale_cross: float = 1.0
    bucket_min: float = 5.0
    overnight: float = 0.0
    errors: DecayErrors = UNKNOWN

    def __post_init__(self) -> None:
        for name in ("weights", "rates_per_min"):
            object.__setattr__(self, name, numbers(f"{name} of the kernel", getattr(self, name)))
        for name in ("scale_self", "scale_cross", "bucket_min", "overnight"):
            object.__setattr__(self, name, number(f"{name} of the kernel", getattr(self, name)))
        self._check()

    def _check(self) -> None:
        if not self.weights or len(self.weights) != len(self.rates_per_min):
            raise ModelError(
                f"the kernel has {len(self.weights)} weights for {len(self.rates_per_min)} rates",
                "give one of each, at least one",
            )
        if abs(math.fsum(self.weights) - 1) > TOLERANCE:
            raise ModelError(f"the kernel's weights sum to {math.fsum(self.weights):.12g}, not 1")
        if any(np.diff(self.rates_per_min) <= 0):
            raise ModelError(f"the kernel's rates {self.rates_per_min} do not increase")
        if self.bucket_min == 0:
            raise ModelError("bucket_min of the kernel is 0, must be > 0")
        if self.overnight > 1:
            raise ModelError(f"overnight of the kernel is {self.overnight:g}, must be at most 1")

    @classmethod
    def from_half_life(cls, half_life_min: float, permanent: float = 0.0, **more: Any) -> Decay:
        """``p + (1 - p) exp(-ln 2 t / half_life)``; an infinite half-life is permanent impact."""
        if not (half_life_min > 0 and 0 <= permanent <= 1):
            raise ModelError(
                f"a half-life of {half_life_min:g} minutes with a permanent share of "
                f"{permanent:g} is no decay",
                "give a half-life > 0 and a share from 0 to 1",
            )
        if permanent == 1 or half_life_min == math.inf:
            return cls((1.0,), (0.0,), **more)
        rate = math.log(2) / half_life_min
        if permanent == 0:
            return cls((1.0,), (rate,), **more)
        return cls((permanent, 1 - permanent), (0.0, rate), **more)

    # -- the curve -----------------------------------------------------------------------------

    @cached_property
    def kernel(self) -> ExponentialsDecay:
        """g with its antiderivatives, time in minutes, as a sequence's solver takes it."""
        return ExponentialsDecay(self.weights, self.rates_per_min)

    def value(self, lag_min: ArrayLike) -> Array:
        """``g``: share of what a bucket left at its end that is there `lag_min` minutes later."""
        return self.kernel.shape(np.asarray(lag_min, dtype=np.float64))

    @property
    def permanent(self) -> float:
        """Share that stays for good."""
        return self.weights[0] if self.rates_per_min[0] == 0 else 0.0

    @property
    def half_life_min(self) -> float:
        """Minutes in which the transient part halves; inf when there is none."""
        share, low, high = 1 - self.permanent, 0.0, 0.0
        transient = [w > 0 < rate for w, rate in zip(self.weights, self.rates_per_min, strict=True)]
        if not any(transient):
            return math.inf
        if sum(transient) == 1:
            return math.log(2) / self.rates_per_min[transient.index(True)]
        high = math.log(2) / self.rates_per_min[transient.index(True)]  # of the slowest
        for _ in range(100):
            middle = (low + high) / 2
            left = float(self.value(middle)) - self.permanent
            low, high = (middle, high) if left > share / 2 else (low, middle)
        return high

    def slow_end(self) -> Decay:
        """The slowest decay within the half-life's interval, for optimisers: believing in too
        fast a decay turns profit into loss, in too slow a one only shrinks it (Hey, Bouchaud,
        Mastromatteo, Muhle-Karbe and Webster 2023). Itself where no interval was estimated."""
        slowest = self.errors.half_life_hi
        if slowest is None or slowest <= self.half_life_min:
            return self
        stretched = self.half_life_min / slowest
        return replace(self, rates_per_min=tuple(rate * stretched for rate in self.rates_per_min))

    # -- from bucket to bucket -----------------------------------------------------------------

    def carried(self, push: ArrayLike, sessions: Sequence[Any] | None = None) -> Array:
        """What earlier pushes have left at the START of each bucket, in units of the push.

        Unscaled: multiply by `scale_self` or `scale_cross`.

        Parameters
        ----------
        push
            Per bucket, shape (buckets, ...); a bucket without trading is a row of zeros.
        sessions
            Label of each bucket's session, length buckets; one session by default. Its first bucket
            starts from `overnight` times where the one before ended.

        Returns
        -------
        Array
            Shape of `push`; zeros in the first bucket.

        Raises
        ------
        ModelError
            When a session's buckets do not follow each other.
        """
        push = np.asarray(push, dtype=np.float64)
        result = np.empty_like(push)
        weights = np.reshape(self.weights, (-1,) + (1,) * (push.ndim - 1))
        walk = states(push, self.rates_per_min, self.bucket_min, sessions, self.overnight)
        for bucket, (start, _) in enumerate(walk):
            result[bucket] = (weights * start).sum(axis=0)
        return result

    def felt(self, weight: ArrayLike, sessions: Sequence[Any] | None = None) -> Array:
        """How much later buckets, of these weights, feel a unit pushed in each: the transpose of
        `carried`, same shapes."""
        backwards = None if sessions is None else list(sessions)[::-1]
        return self.carried(np.asarray(weight)[::-1], backwards)[::-1]

    @cached_property
    def spectral_range(self) -> tuple[float, float]:
        """Least and largest ``sum_{l >= 1} g((l - 1) D) cos(l theta)`` over round trips.

        Per rate the sum is ``(cos theta - r) / (1 - 2 r cos theta + r^2)``, ``r = exp(-rho D)``,
        increasing in ``cos theta`` from ``-1 / (1 + r)`` (buying and selling in turns) to
        ``1 / (1 - r)`` (slowly); a permanent part gives -1/2 at every theta but 0, where no round
        trip is.
        """
        low = high = 0.0
        for weight, rate in zip(self.weights, self.rates_per_min, strict=True):
            ratio = math.exp(-rate * self.bucket_min)
            low -= weight / (1 + ratio)
            high += weight / -math.expm1(-rate * self.bucket_min) if rate else -weight / 2
        return low, high

    def left(self, couplings: Array) -> Array:
        """What a bucket leaves behind at its end, ``scale_self diag + scale_cross rest``: of
        couplings with own impacts on the diagonal, in any scaling, shape (n, n)."""
        own = np.diag(np.diagonal(couplings))
        return self.scale_self * own + self.scale_cross * (couplings - own)

    def spectral_ends(self, couplings: Array) -> tuple[Array, Array]:
        """The path cost's spectral density, halved, at the two ends of `spectral_range`:
        ``couplings + phi left(couplings)``. With symmetric couplings no round trip of buckets makes
        money exactly when both are positive semidefinite (`crossimpact.path_manipulation`)."""
        left, (low, high) = self.left(couplings), self.spectral_range
        return couplings + low * left, couplings + high * left

    @property
    def largest_scale(self) -> float:
        """Scales beyond this let buying and selling in turns make money, in a single name."""
        return -1 / self.spectral_range[0]

    # -- plain data ----------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Plain data, what was not estimated as null."""
        return {"type": "sum_of_exponentials", **_plain(self), "errors": _plain(self.errors)}

    @classmethod
    def from_dict(cls, data: Any) -> Decay:
        """Inverse of `to_dict`.

        Raises
        ------
        ModelError
            When a field is missing, unknown or out of its limits.
        """
        expect("the kernel", data, {"type", *(field.name for field in fields(cls))})
        if data["type"] != "sum_of_exponentials":
            raise ModelError(f"the kernel is of type {data['type']!r}, not sum_of_exponentials")
        expect("errors of the kernel", data["errors"], {f.name for f in fields(DecayErrors)})
        values = {name: value for name, value in data.items() if name != "type"}
        return cls(**{**values, "errors": DecayErrors(**data["errors"])})


def states(
    push: ArrayLike,
    rates_per_min: Sequence[float],
    bucket_min: float,
    sessions: Sequence[Any] | None = None,
    overnight: float = 0.0,
) -> Iterator[tuple[Array, Array]]:
    """Decayed sums of pushes, bucket by bucket: at its start and at its end.

    ``end = exp(-rho D) start + push``, and the next bucket starts there; the first bucket of a
    later session starts from `overnight` times it. Of the mid's move in the bucket, a unit of the
    push at that rate explains ``end - start``.

    Parameters
    ----------
    push, sessions
        As of `Decay.carried`.
    rates_per_min, bucket_min, overnight
        As of `Decay`.

    Yields
    ------
    tuple of Array
        Per bucket, shape (rates, ...).
    """
    push = np.asarray(push, dtype=np.float64)
    column = (-1,) + (1,) * (push.ndim - 1)
    kept = np.exp(-bucket_min * np.reshape(np.asarray(rates_per_min, dtype=np.float64), column))
    start = np.zeros((len(kept), *push.shape[1:]))
    for new, first in zip(push, _first(sessions, len(push)), strict=True):
        if first:
            start = overnight * start
        end = kept * start + new
        yield start, end
        start = end


def _plain(value: Decay | DecayErrors) -> dict[str, Any]:
    return {
        name: list(item) if isinstance(item, tuple) else item
        for name, item in asdict(value).items()
    }


def _first(sessions: Sequence[Any] | None, buckets: int) -> NDArray[np.bool_]:
    """Which buckets begin a session after another one."""
    if sessions is None:
        return np.zeros(buckets, dtype=bool)
    labels = np.asarray(sessions)
    if labels.shape != (buckets,):
        raise ModelError(f"{labels.size} session labels for {buckets} buckets")
    changes = np.append(False, labels[1:] != labels[:-1]) if buckets else np.zeros(0, dtype=bool)
    if changes.sum() + bool(buckets) != len(np.unique(labels)):
        raise ModelError("the buckets of a session do not follow each other", "sort them by time")
    return changes
