"""What a desk allows, and numbers as they are given: read once, refused by name."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from crossimpact.errors import ProblemError
from crossimpact.model import Array


@dataclass(frozen=True)
class Limits:
    """What a desk allows; the default allows everything.

    Parameters
    ----------
    no_blocks
        No instantaneous trades.
    block_cap
        Largest block, units of volume, > 0: a number or one per asset.
    max_rate
        Largest trading rate (participation cap times the market's volume rate), > 0: a number, one
        per asset, or shape (N, M), one per order and asset.
    spread
        Cost per unit traded, >= 0: a number or one per asset. Monotone schedules all pay the same,
        but a buy crossed with a sell is no longer free.
    full_span
        Every order trades through the whole of its horizon, nowhere slower than it would by itself:
        it neither waits for its neighbour, nor stops early, nor ends up in one block.
    dates
        Trade at these times only, in blocks; at least one within each order's horizon. One at a
        shared boundary serves the order that ends and the one that starts.
    """

    no_blocks: bool = False
    block_cap: ArrayLike | None = None
    max_rate: ArrayLike | None = None
    spread: ArrayLike = 0.0
    full_span: bool = False
    dates: ArrayLike | None = None

    @property
    def bind(self) -> bool:
        """Whether any of them restricts the schedule (a spread only prices it)."""
        capped = self.block_cap is not None or self.max_rate is not None
        return self.no_blocks or capped or self.full_span or self.dates is not None


def numbers(name: str, value: ArrayLike) -> Array:
    """An array of finite numbers, or a `ProblemError` that names the first that is none."""
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ProblemError(f"{name} is not an array of numbers: {error}") from error
    if np.asarray(value).dtype.kind in "USb" or _has_truth(value):
        raise ProblemError(f"{name} holds text or truth values, must be numbers")
    if not np.isfinite(array).all():
        where = "".join(f"[{i}]" for i in np.argwhere(~np.isfinite(array))[0])
        bad = array[~np.isfinite(array)][0]
        raise ProblemError(f"{name}{where} is {bad}, must be a finite number")
    return array


def _has_truth(value: object) -> bool:
    """Whether a list from a file holds true or false, which numpy would read as 1 and 0."""
    if isinstance(value, list | tuple):
        return any(map(_has_truth, value))
    return isinstance(value, bool)


def broadcast(name: str, value: ArrayLike, shape: tuple[int, ...], *, zero: bool) -> Array:
    """`value` as an array of `shape`, positive, or not negative where `zero` is allowed."""
    array = numbers(name, value)
    try:
        array = np.broadcast_to(array, shape).copy()
    except ValueError as error:
        raise ProblemError(f"{name} has shape {array.shape}, must fit {shape}") from error
    lowest = array.min()
    if lowest < 0 or (lowest == 0 and not zero):
        raise ProblemError(f"{name} is {lowest:g}, must be {'>= 0' if zero else '> 0'}")
    return array


def column(volumes: ArrayLike) -> Array:
    """Volumes of one asset as (N, 1), of several as they are."""
    value = numbers("volumes", volumes)
    return value[:, None] if value.ndim == 1 else value
