"""Fields of a problem file, each checked by its type and named when it is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from crossimpact.errors import ProblemError
from crossimpact.model import Array
from crossimpact.policy.sequential.limits import numbers


def required_numbers(data: Mapping[str, Any], name: str) -> Array:
    if data.get(name) is None:
        raise ProblemError(f"{name} is missing")
    values = numbers(name, data[name])
    if not 1 <= values.ndim <= 2 or not values.size:
        raise ProblemError(f"{name} has shape {values.shape}, must be a list of numbers")
    return values


def number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        raise ProblemError(f"{name} is {value!r}, must be a finite number")
    return float(value)


def flag(data: Mapping[str, Any], name: str, *, default: bool, where: str = "") -> bool:
    value = data.get(name)
    if value is not None and not isinstance(value, bool):
        raise ProblemError(f"{where}{name} is {value!r}, must be true or false")
    return default if value is None else value


def known(where: str, data: Mapping[str, Any], names: tuple[str, ...]) -> None:
    for name in data:
        if name not in names:
            raise ProblemError(f"{where}{name} is not a field", f"one of {', '.join(names)}")


def none_beside_scenarios(data: Mapping[str, Any], *names: str) -> None:
    for name in names:
        if data.get(name) is not None:
            raise ProblemError(f"scenarios and {name} both say what orders may be", "give one")


def none_of(data: Mapping[str, Any], objective: str, *names: str) -> None:
    for name in names:
        if data.get(name) is not None:
            raise ProblemError(f"objective {objective} takes no {name}")


def kind(value: Any) -> str:
    return f"{type(value).__name__} {value!r}"[:60]
