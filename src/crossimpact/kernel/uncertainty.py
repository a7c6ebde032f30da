"""How well a decay kernel is known, and the checks of its numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from crossimpact.errors import ModelError


@dataclass(frozen=True)
class DecayErrors:
    """How well a decay is known; None where it was not estimated.

    Attributes
    ----------
    half_life_lo, half_life_hi
        Interval of the transient part's half-life, minutes.
    permanent_lo, permanent_hi
        Interval of the permanent share, 0 to 1.
    scale_self_se, scale_cross_se
        Standard errors of the scales.
    lags_min, se_self, se_cross
        Standard errors of ``scale g(lag)`` at these lags, minutes after the bucket's end; equally
        long, empty without.

    Raises
    ------
    ModelError
        On a number that is negative or not finite, an interval the wrong way round, or unequal
        lengths.
    """

    half_life_lo: float | None = None
    half_life_hi: float | None = None
    permanent_lo: float | None = None
    permanent_hi: float | None = None
    scale_self_se: float | None = None
    scale_cross_se: float | None = None
    lags_min: tuple[float, ...] = ()
    se_self: tuple[float, ...] = ()
    se_cross: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for name in ("lags_min", "se_self", "se_cross"):
            object.__setattr__(self, name, numbers(f"{name} of the kernel", getattr(self, name)))
        if not len(self.lags_min) == len(self.se_self) == len(self.se_cross):
            raise ModelError("lags_min, se_self and se_cross of the kernel are not equally long")
        for field in fields(self)[:6]:
            value = getattr(self, field.name)
            if value is not None:
                checked = number(f"{field.name} of the kernel", value)
                object.__setattr__(self, field.name, checked)
        for name in ("half_life", "permanent"):
            low, high = getattr(self, f"{name}_lo"), getattr(self, f"{name}_hi")
            if low is not None and high is not None and low > high:
                raise ModelError(f"{name} of the kernel lies between {low:g} and {high:g}: swapped")
        if (self.permanent_hi or 0) > 1:
            raise ModelError(
                f"permanent_hi of the kernel is {self.permanent_hi:g}, must be at most 1"
            )


def expect(what: str, data: Any, names: set[str]) -> None:
    """Refuse plain data with a field too many or too few."""
    if not isinstance(data, Mapping) or set(data) != names:
        found = sorted(data) if isinstance(data, Mapping) else repr(data)
        raise ModelError(f"{what} has the fields {found}, not {', '.join(sorted(names))}")


def numbers(name: str, values: Any) -> tuple[float, ...]:
    """Finite numbers >= 0; else a `ModelError` that names the first other one."""
    if isinstance(values, str) or not isinstance(values, Sequence | np.ndarray):
        raise ModelError(f"{name} is {values!r}, must be a list of numbers")
    return tuple(number(f"{name}[{k}]", value) for k, value in enumerate(values))


def number(name: str, value: Any) -> float:
    """A finite number >= 0, else a `ModelError`."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise ModelError(f"{name} is {value!r}, must be a number")
    if not (math.isfinite(value) and value >= 0):
        raise ModelError(f"{name} is {value:g}, must be finite and >= 0")
    return float(value)
