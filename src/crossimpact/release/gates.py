"""Promotion gates: rows of `gates.toml`, evaluated on a release's report and what is known besides.

A gate passes only when its value is there, is finite and is on the right side of its limit; every
comparison is written so that NaN fails. It is skipped, and says why, where it has nothing to judge.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from crossimpact.errors import UsageError
from crossimpact.release.bundle import UNKNOWN, Release

DEFAULT = Path(__file__).with_name("gates.toml")
PLACE = "{regime}"

Outcome = Literal["pass", "fail", "skipped"]
COMPARE: dict[str, tuple[str, Callable[[float, float], bool]]] = {
    "above": (">", lambda value, limit: value > limit),
    "at_least": (">=", lambda value, limit: value >= limit),
    "at_most": ("<=", lambda value, limit: value <= limit),
}
#: Directions that compare other things than numbers.
WORDS = {"equals": "=", "begins_with": "begin with"}


@dataclass(frozen=True)
class Gate:
    """One line of the file; the limit is a value, or the path of another metric.

    `coupled`: only regimes whose model couples names are judged. `if_known`: a value that nobody
    could have is skipped (no champion yet, no shadow run), and `unknown` says why.
    """

    name: str
    metric: str
    direction: Literal["above", "at_least", "at_most", "equals", "begins_with"]
    limit: float | bool | str | None = None
    limit_metric: str | None = None
    coupled: bool = False
    if_known: bool = False
    unknown: str = "nothing to compare with yet"

    def __post_init__(self) -> None:
        if self.direction not in (*COMPARE, *WORDS):
            raise UsageError(f"gate {self.name}: direction {self.direction!r} is unknown")
        if (self.limit is None) == (self.limit_metric is None):
            raise UsageError(f"gate {self.name} needs either limit or limit_metric")


@dataclass(frozen=True)
class Row:
    """What a gate saw in a regime (empty: the whole release) and what it said."""

    gate: str
    regime: str
    value: Any
    direction: str
    limit: Any
    verdict: Outcome
    note: str = ""

    def __str__(self) -> str:
        where = f" [{self.regime}]" if self.regime else ""
        sign = COMPARE[self.direction][0] if self.direction in COMPARE else WORDS[self.direction]
        value = "missing" if self.value is None else self.value
        return f"{self.gate}{where}: {value}, must be {sign} {self.limit}"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def load(path: Path = DEFAULT) -> tuple[Gate, ...]:
    """The gates of a file, in its order."""
    try:
        return tuple(Gate(**gate) for gate in tomllib.loads(path.read_text())["gate"])
    except (OSError, KeyError, TypeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"gates {path} cannot be read: {error!r}") from error


def evaluate(
    release: Release, evidence: Mapping[str, Any] | None = None, gates: Sequence[Gate] | None = None
) -> list[Row]:
    """One row per gate and regime; a regime answered at a fixed POV has no matrix to judge.

    Parameters
    ----------
    evidence
        What is known besides the release's own report, by the names the gates use.
    """
    facts = {**release.report, **(evidence or {})}
    rules = load() if gates is None else gates
    return [row for gate in rules for row in _rows(gate, release, facts)]


def failures(rows: Sequence[Row]) -> list[Row]:
    """The rows that refuse the promotion."""
    return [row for row in rows if row.verdict == "fail"]


def _rows(gate: Gate, release: Release, facts: Mapping[str, Any]) -> Iterator[Row]:
    if PLACE not in gate.metric:
        yield judge(gate, facts)
        return
    for regime in sorted(release.fallback):
        model, rung, reason, _ = release.model_for(regime)
        if model is None and regime == UNKNOWN:
            continue
        if model is None:
            yield _skipped(gate, regime, f"{rung}: {reason}")
        elif gate.coupled and not model.edges:
            yield _skipped(gate, regime, f"{rung}: no cross terms to judge")
        else:
            yield judge(gate, facts, regime)


def _skipped(gate: Gate, regime: str, note: str) -> Row:
    return Row(gate.name, regime, None, gate.direction, None, "skipped", note)


def judge(gate: Gate, facts: Mapping[str, Any], regime: str = "") -> Row:
    """What one gate says of the facts, for a regime where its paths have a place for one."""
    value = _lookup(facts, gate.metric.replace(PLACE, regime))
    if value is None and gate.if_known:
        return _skipped(gate, regime, gate.unknown)
    limit = gate.limit
    if gate.limit_metric is not None:
        limit = _lookup(facts, gate.limit_metric.replace(PLACE, regime))
    verdict: Outcome = "pass" if _passes(gate.direction, value, limit) else "fail"
    return Row(gate.name, regime, value, gate.direction, limit, verdict)


def _passes(direction: str, value: Any, limit: Any) -> bool:
    if direction == "equals":
        return value is not None and bool(value == limit)
    if direction == "begins_with":
        return isinstance(value, str) and value.startswith(str(limit))
    if not all(_is_number(number) for number in (value, limit)):
        return False
    return COMPARE[direction][1](value, limit)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _lookup(report: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path, None when a step is missing."""
    value: Any = report
    for step in path.split("."):
        if not isinstance(value, Mapping) or step not in value:
            return None
        value = value[step]
    return value
