"""What a release says beside its models: its window, who answers per regime, guardrail levels.

Each is checked when it is made, so whoever holds one may rely on it; as JSON it is what `to_dict`
gives, and nothing else is read back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from datetime import date
from itertools import pairwise
from typing import Any, TypeVar, cast

import numpy as np

from crossimpact.errors import ModelError
from crossimpact.ladder import RUNGS, Rung, below

T = TypeVar("T")


@dataclass(frozen=True)
class Window:
    """The data a release was fitted on.

    Attributes
    ----------
    first, last
        Dates, 'YYYY-MM-DD'.
    dates
        How many trading dates.
    """

    first: str
    last: str
    dates: int

    def __post_init__(self) -> None:
        try:
            date.fromisoformat(self.first), date.fromisoformat(self.last)
        except (ValueError, TypeError) as error:
            raise ModelError(f"{self.first!r} to {self.last!r} are not dates") from error
        if self.first > self.last or type(self.dates) is not int or self.dates < 1:
            raise ModelError(f"{self.dates!r} dates from {self.first} to {self.last} are no window")

    def to_dict(self) -> dict[str, str | int]:
        return asdict(self)


@dataclass(frozen=True)
class Policy:
    """Who answers for a regime, and how fast it may trade.

    Attributes
    ----------
    rung
        That ships.
    reason
        Why not the rung above; empty when there is none.
    max_pov
        Largest share of the market's volume, in (0, 1], per rung: at least of `rung` and of those
        below it that the release has numbers of.
    """

    rung: Rung
    reason: str
    max_pov: Mapping[Rung, float]

    def __post_init__(self) -> None:
        if self.rung not in RUNGS:
            raise ModelError(f"rung {self.rung!r} is none of {', '.join(RUNGS)}")
        if not isinstance(self.reason, str):
            raise ModelError(f"the reason is {self.reason!r}, must be a text")
        self._check_pov()
        object.__setattr__(self, "max_pov", dict(self.max_pov))

    def _check_pov(self) -> None:
        needed = {self.rung, *below(self.rung)}
        if self.rung != "one_factor":
            needed.discard("one_factor")  # releases are older than this rung
        if not isinstance(self.max_pov, Mapping) or not needed <= set(self.max_pov) <= set(RUNGS):
            raise ModelError(f"max_pov is {self.max_pov}, needs {', '.join(sorted(needed))}")
        for name, pov in self.max_pov.items():
            if not (_is_number(pov) and 0 < pov <= 1):
                raise ModelError(f"max_pov of {name} is {pov}, must be in (0, 1]")

    def to_dict(self) -> dict[str, object]:
        return {"rung": self.rung, "reason": self.reason, "max_pov": dict(self.max_pov)}


#: At which a release tells what a quantity was in its window, per cent.
PERCENTILES = (*range(0, 100, 5), 99, 100)


@dataclass(frozen=True)
class Guardrail:
    """Levels of one quantity beyond which a model is to be watched, and not to be trusted.

    Attributes
    ----------
    amber, red
        >= 0, amber <= red.
    percentiles
        The quantity's values in the release's window at `PERCENTILES`; empty where there are none.
    """

    amber: float
    red: float
    percentiles: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not (_is_number(self.amber) and _is_number(self.red) and 0 <= self.amber <= self.red):
            raise ModelError(
                f"amber {self.amber} and red {self.red} must be finite, >= 0, amber <= red"
            )
        object.__setattr__(self, "percentiles", tuple(self.percentiles))
        table = self.percentiles
        if table and not (
            len(table) == len(PERCENTILES)
            and all(map(_is_number, table))
            and all(one <= other for one, other in pairwise(table))
        ):
            raise ModelError(
                f"percentiles {table} must be {len(PERCENTILES)} finite numbers in order"
            )

    def percentile(self, value: float) -> float | None:
        """Where a value lies among those of the window, 0 to 100; None without percentiles."""
        if not self.percentiles:
            return None
        return float(np.interp(value, self.percentiles, PERCENTILES))

    def to_dict(self) -> dict[str, Any]:
        levels: dict[str, Any] = {"amber": self.amber, "red": self.red}
        return levels | ({"percentiles": list(self.percentiles)} if self.percentiles else {})


@dataclass(frozen=True)
class Hold:
    """The highest rung a demoted regime may use, and why."""

    rung: Rung
    reason: str

    def __post_init__(self) -> None:
        if self.rung not in RUNGS or not isinstance(self.reason, str):
            raise ModelError(
                f"held to {self.rung!r} for {self.reason!r}, not to a rung with a reason"
            )

    def to_dict(self) -> dict[str, str]:
        return {"rung": self.rung, "reason": self.reason}


#: Per regime, the levels by quantity.
Guardrails = Mapping[str, Mapping[str, Guardrail]]


def read(kind: type[T], data: Any, where: str) -> T:
    """A `Window`, `Policy`, `Guardrail` or `Hold` from plain data.

    Raises
    ------
    ModelError
        Saying `where`, when a field is missing, unknown, or out of its limits.
    """
    known = fields(cast(Any, kind))
    names = {field.name for field in known if field.default is MISSING}
    optional = {field.name for field in known} - names
    if not isinstance(data, Mapping) or set(data) - optional != names:
        message = sorted(data) if isinstance(data, Mapping) else repr(data)
        raise ModelError(f"{where} has the fields {message}, not {', '.join(sorted(names))}")
    return within(where, lambda: kind(**data))


def within(where: str, make: Callable[[], T]) -> T:
    """What `make` gives; a refusal says where."""
    try:
        return make()
    except ModelError as error:
        raise ModelError(f"{where}: {error.what}", error.hint) from error


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
