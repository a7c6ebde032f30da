"""Who is treated: baskets drawn by a salt that nobody knows before the open, at known chances.

The chance of a day and size stratum is set before the open, from the notional that earlier days
gave the policy beyond its share, so that the share is kept over a month (a biased coin: Efron
1971). Within the day a basket's draw is a hash of the salt and its name, whatever came before: it
can be done in any order, by anybody who knows the salt, and gives a basket one arm.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from crossimpact.errors import CrossImpactError, UsageError
from crossimpact.model import Array

Arm = Literal["policy", "control"]
Kind = Literal["basket", "switchback"]
#: Bytes of a salt.
SALT_BYTES = 32
#: How far a chance may be moved to make good for earlier days, in shares.
LEAST, MOST = 0.2, 3.0
#: Burn-in of a switchback, in half-lives of the impact carried over: an eighth of it is left.
BURN_IN_HALF_LIVES = 3.0


@dataclass(frozen=True)
class Design:
    """How baskets are drawn.

    Attributes
    ----------
    share
        Of basket notional that the policy is to have, 0.2 to 0.3 in a slice.
    strata
        Number of size classes with a chance of their own.
    kind
        `basket` draws each basket, `switchback` all of a half day together.
    half_day
        Where the second half begins, UTC (switchback).
    """

    share: float
    strata: int = 3
    kind: Kind = "basket"
    half_day: time = time(17, 45)

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise ValueError(f"share = {self.share:g}, must be a share in (0, 1)")
        if not 1 <= self.strata <= 10:
            raise ValueError(f"strata = {self.strata}, must be 1 to 10 size classes")
        if self.kind == "switchback" and self.strata > 1:
            raise ValueError(f"strata = {self.strata}, a switchback draws half days: strata = 1")


@dataclass(frozen=True)
class DayDraw:
    """What is fixed of a date before its open.

    Attributes
    ----------
    commitment
        sha256 of the date and its salt (`commitment`), published before the open.
    cuts_usd
        Upper ends of the size strata but the last, ascending; as many chances as strata.
    chances
        Per stratum, in (0, 1).
    usual_usd
        Per stratum, what a day usually orders: `chances` was set by it.
    """

    date: str
    design: Design
    commitment: str
    cuts_usd: tuple[float, ...]
    chances: tuple[float, ...]
    usual_usd: tuple[float, ...] = ()

    def stratum(self, notional_usd: float) -> int:
        """Of a basket of that size; a size on a cut belongs below it."""
        return int(np.searchsorted(self.cuts_usd, notional_usd, side="left"))

    def chance(self, notional_usd: float) -> float:
        """Of a basket of that size to be given to the policy."""
        return self.chances[self.stratum(notional_usd)]

    def arm(self, salt: bytes, basket: str, notional_usd: float, start: datetime) -> Arm:
        """Whose a basket is.

        Parameters
        ----------
        start
            When it begins, UTC; decides in a switchback, where every basket of a half day has the
            arm of that half.
        """
        drawn = uniform(salt, self.unit(basket, start))
        return "policy" if drawn < self.chance(notional_usd) else "control"

    def unit(self, basket: str, start: datetime) -> str:
        """What the basket is drawn with: itself, or its half day."""
        if self.design.kind == "basket":
            return basket
        return f"half {1 if start.time() < self.design.half_day else 2}"

    def opens(self, salt: bytes) -> None:
        """Whether a salt is the one that was committed to.

        Raises
        ------
        CrossImpactError
            When it was changed since.
        """
        found = commitment(self.date, salt)
        if found != self.commitment:
            raise CrossImpactError(
                f"the salt of {self.date} was changed: it hashes to {found[:12]}, committed before "
                f"the open was {self.commitment[:12]}",
                "the date is no evidence; find out who wrote the salt's file",
            )


def commitment(date: str, salt: bytes) -> str:
    """sha256 that binds to a date's salt and gives nothing of it away.

    Raises
    ------
    UsageError
        On a salt of another length, which might be guessed.
    """
    if len(salt) != SALT_BYTES:
        raise UsageError(f"the salt of {date} has {len(salt)} bytes, {SALT_BYTES} are needed")
    return hashlib.sha256(date.encode() + b"\0" + salt).hexdigest()


def uniform(salt: bytes, unit: str) -> float:
    """A unit's draw in [0, 1): the first 53 bits of sha256(salt, name)."""
    digest = hashlib.sha256(salt + b"\0" + unit.encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2.0**53


def chances(excess_usd: ArrayLike, usual_usd: ArrayLike, share: float) -> Array:
    """Chance of a day by stratum, so that earlier excess is made good that day on average.

    Parameters
    ----------
    excess_usd
        Notional that earlier days gave the policy beyond its share; last axis strata.
    usual_usd
        What a day of the stratum usually orders, > 0 or 0 where nothing is known yet.
    share
        Of the notional, over time.

    Returns
    -------
    Array
        Of the same shape, between ``LEAST * share`` and ``MOST * share`` (at most 0.9).
    """
    excess, usual = np.asarray(excess_usd, dtype=float), np.asarray(usual_usd, dtype=float)
    with np.errstate(over="ignore"):
        pull = excess / np.where(usual > 0, usual, np.inf)
    return np.asarray(np.clip(share - pull, LEAST * share, min(MOST * share, 0.9)))


def cuts(notional_usd: Sequence[float], strata: int) -> tuple[float, ...]:
    """Upper ends of the size strata but the last: quantiles of the baskets seen before."""
    if not len(notional_usd):
        raise UsageError(
            "no basket is known to set the size strata by", "run a shadow on some dates first"
        )
    levels = np.arange(1, strata) / strata
    return tuple(np.quantile(notional_usd, levels, method="inverted_cdf").tolist())


def burn_in(start: datetime, design: Design, half_lives_min: Mapping[str, float]) -> bool:
    """Whether a basket of a switchback begins while impact of the other half's arm is left.

    Parameters
    ----------
    half_lives_min
        Of the champion's regimes, minutes; the longest counts.
    """
    if design.kind != "switchback" or start.time() < design.half_day:
        return False
    boundary = datetime.combine(start.date(), design.half_day, start.tzinfo)
    longest = max(half_lives_min.values(), default=0.0)
    return (start - boundary).total_seconds() / 60 < BURN_IN_HALF_LIVES * longest
