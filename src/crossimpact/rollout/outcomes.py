"""What randomised baskets cost, a row each; the day is the unit of all that is said of them."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from crossimpact.errors import EstimationError
from crossimpact.model import Array

#: Known before the order trades, or moved by the market and not by its schedule.
CONTROLS = ("market_bps", "spread_bps", "other_expected_bps")


@dataclass(frozen=True)
class Outcomes:
    """Baskets in the order of their dates.

    Attributes
    ----------
    date
        ISO dates, ascending, shape (n,).
    basket
        Names, (n,).
    unit
        What was drawn together within its date: the basket itself, or its half day, (n,).
    treated
        Whether the assignment gave the basket to the policy, executed so or not (intention to
        treat), (n,).
    propensity
        Chance with which it did, in (0, 1), (n,).
    notional_usd
        Ordered, > 0, (n,).
    is_bps
        Implementation shortfall, positive = worse, bps of the notional ordered, (n,).
    controls
        The columns of `CONTROLS`, bps, (n, 3).
    bad_fills, bad_fill_usd
        Buckets in which coupled names were traded together at a cross cost, and that cost, (n,).
    participation, completion
        Share of the market's volume; filled over ordered, (n,).

    Raises
    ------
    EstimationError
        On dates out of order, numbers that are none, or a propensity of 0 or 1.
    """

    date: NDArray[np.str_]
    basket: NDArray[np.str_]
    unit: NDArray[np.str_]
    treated: NDArray[np.bool_]
    propensity: Array
    notional_usd: Array
    is_bps: Array
    controls: Array
    bad_fills: Array
    bad_fill_usd: Array
    participation: Array
    completion: Array

    def __post_init__(self) -> None:
        lengths = {field.name: len(getattr(self, field.name)) for field in fields(self)}
        if len(set(lengths.values())) > 1:
            raise EstimationError(f"columns of outcomes differ in length: {lengths}")
        if np.any(self.date[1:] < self.date[:-1]):
            raise EstimationError("outcomes are not in the order of their dates", "sort them")
        if not np.all((self.propensity > 0) & (self.propensity < 1)):
            raise EstimationError(
                "a propensity is not in (0, 1)", "leave out baskets that were not randomised"
            )
        for name in ("is_bps", "controls"):
            bad = ~np.isfinite(getattr(self, name))
            if bad.any():
                row = int(np.argwhere(bad)[0][0])
                raise EstimationError(f"{name} of basket {self.basket[row]} is no number")

    def __len__(self) -> int:
        return len(self.date)

    @cached_property
    def days(self) -> NDArray[np.str_]:
        """The dates there are, ascending."""
        return np.unique(self.date)

    @cached_property
    def day(self) -> NDArray[np.intp]:
        """Per basket the place of its date in `days`, (n,)."""
        return np.unique(self.date, return_inverse=True)[1]

    @cached_property
    def first(self) -> NDArray[np.intp]:
        """Place of the first basket of each date, (days,)."""
        return np.searchsorted(self.date, self.days)

    def uniforms(self, draws: int, seed: int) -> Array:
        """One draw in [0, 1) for all baskets of a unit, (draws, n)."""
        units = int(self._unit.max(initial=-1)) + 1
        drawn = np.random.default_rng([seed, len(self)]).random((draws, units))
        return np.asarray(drawn[:, self._unit])

    @cached_property
    def _unit(self) -> NDArray[np.intp]:
        names = np.char.add(np.char.add(self.date, " "), self.unit)
        return np.asarray(np.unique(names, return_inverse=True)[1])

    def where(self, rows: NDArray[np.bool_]) -> Outcomes:
        """Some of the baskets."""
        return replace(self, **{f.name: getattr(self, f.name)[rows] for f in fields(self)})
