"""What the days before cost, for a day to be held against."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from pipelines.store.warehouse import Warehouse

DATES = 20
#: Fewer days say nothing of what is usual.
ENOUGH = 5
#: The middle of the days that counts as usual, and the 95% interval of a mean.
MIDDLE, WIDTH = (0.1, 0.9), 1.96
Row = Mapping[str, Any]
Place = Literal["above", "below", "within"]


@dataclass(frozen=True)
class Usual:
    """A number over the last dates.

    Attributes
    ----------
    mean, mean_low, mean_high
        With its 95% interval, days being what varies.
    low, high
        Between which the middle 80% of the days lie.
    dates
        How many there are.
    """

    mean: float
    mean_low: float
    mean_high: float
    low: float
    high: float
    dates: int

    def place(self, value: float) -> Place:
        """Where a day lies to the middle 80%."""
        return "above" if value > self.high else "below" if value < self.low else "within"


def usual(values: Iterable[float | None]) -> Usual | None:
    """Of the days' values; None of fewer than `ENOUGH`."""
    known = np.array([value for value in values if value is not None and value == value])
    if len(known) < ENOUGH:
        return None
    low, high = np.quantile(known, MIDDLE)
    mean, doubt = known.mean(), WIDTH * known.std(ddof=1) / np.sqrt(len(known))
    ends = float(mean - doubt), float(mean + doubt)
    return Usual(float(mean), *ends, float(low), float(high), len(known))


@dataclass(frozen=True)
class Past:
    """The desk's rows of `tca_daily` of the last dates before one, ascending."""

    rows: tuple[Row, ...]

    def usual(self, column: str) -> Usual | None:
        return self.of(lambda row: row.get(column))

    def of(self, value: Callable[[Row], float | None]) -> Usual | None:
        return usual(value(row) for row in self.rows)

    @property
    def yesterday(self) -> Row | None:
        return self.rows[-1] if self.rows else None


def dates_before(warehouse: Warehouse, date: str) -> list[str]:
    """The last `DATES` analysed dates before one."""
    return [d for d in warehouse.dates("marts", "tca_daily") if d < date][-DATES:]


def read(warehouse: Warehouse, date: str) -> Past:
    """The days before `date`, as published."""
    return Past(tuple(desk(warehouse, before) for before in dates_before(warehouse, date)))


def desk(warehouse: Warehouse, date: str) -> Row:
    """The desk's row of a date, money as numbers."""
    rows: Sequence[Row] = warehouse.rows("marts", "tca_daily", date) or ()
    return next((row for row in rows if row.get("scope", "desk") == "desk"), {"date": date})
