"""Stages of a rollout as data, and which gates a stage asks: `rollout.toml`.

A stage is left upwards when its days are enough, every gate of `up` passes and a human says so;
downwards, to the first stage, when one gate of `stop` fails.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from crossimpact.policy.state import PolicyName
from crossimpact.release.gates import Gate, Row, judge
from crossimpact.rollout.design import Design

FILE = "rollout.toml"
#: What the drawn arm does: no basket is drawn; drawn and traded as before; drawn and the policy's;
#: every basket is the policy's.
Trades = Literal["nothing", "same", "drawn", "all"]
SHARES = (0.2, 0.3)


@dataclass(frozen=True)
class Statistics:
    """Error rate, power and margin; units in `rollout.toml`."""

    alpha: float
    power: float
    effect_bps: float
    planned_days: int
    margin_bps: float

    def __post_init__(self) -> None:
        for name in ("alpha", "power"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name):g}, must be in (0, 1)")
        for name in ("effect_bps", "margin_bps"):
            if not 0 < getattr(self, name) <= 1000:
                raise ValueError(f"{name} = {getattr(self, name):g}, must be bps in (0, 1000]")
        if not 10 <= self.planned_days <= 1000:
            raise ValueError(f"planned_days = {self.planned_days}, must be 10 to 1000")


@dataclass(frozen=True)
class Stage:
    """One step of a rollout."""

    name: str
    trades: Trades
    min_days: int
    up: tuple[Gate, ...] = ()
    stop: tuple[Gate, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.min_days <= 1000:
            raise ValueError(f"min_days = {self.min_days}, must be 0 to 1000")

    @property
    def draws(self) -> bool:
        """Whether baskets are drawn in it."""
        return self.trades in ("same", "drawn")


@dataclass(frozen=True)
class RolloutPlan:
    """The whole of a rollout: policy, statistics, design, stages, the first one trading nothing."""

    policy: PolicyName
    statistics: Statistics
    design: Design
    stage: tuple[Stage, ...]

    def __post_init__(self) -> None:
        names = [stage.name for stage in self.stage]
        if len(set(names)) < len(names):
            raise ValueError(f"stages {', '.join(names)}: a name is there twice")
        if len(names) < 2 or self.stage[0].trades != "nothing":
            raise ValueError("a rollout needs two stages, the first of which trades nothing")
        low, high = SHARES
        if not low <= self.design.share <= high:
            raise ValueError(f"design.share = {self.design.share:g}, must be {low:g} to {high:g}")

    def of(self, name: str) -> Stage | None:
        """The stage of that name."""
        return next((stage for stage in self.stage if stage.name == name), None)

    def after(self, name: str) -> Stage | None:
        """The next stage up; None behind the last."""
        names = [stage.name for stage in self.stage]
        place = names.index(name) + 1
        return self.stage[place] if place < len(names) else None


def defaults() -> dict[str, Any]:
    """The plain data of the `rollout.toml` beside this module."""
    return tomllib.loads(Path(__file__).with_name(FILE).read_text(encoding="utf-8"))


def asked_up(stage: Stage, days: int, facts: Mapping[str, Any]) -> list[Row]:
    """What the gates upwards say; first whether the days are enough."""
    enough = Gate("min_days", "days", "at_least", stage.min_days)
    return [judge(enough, {"days": days}), *(judge(gate, facts) for gate in stage.up)]


def asked_stop(stage: Stage, facts: Mapping[str, Any]) -> list[Row]:
    """What the gates say that are asked every day."""
    return [judge(gate, facts) for gate in stage.stop]


def told(rows: Sequence[Row]) -> str:
    """Refusing rows in words, numbers of four digits."""
    return "; ".join(str(_short(row)) for row in rows if row.verdict == "fail")


def _short(row: Row) -> Row:
    return replace(row, value=_four(row.value), limit=_four(row.limit))


def _four(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value
