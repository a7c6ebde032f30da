"""What a scheduler answers: the plan, as typed JSON; units as in `crossimpact.policy.state`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from crossimpact.policy.state import (
    Answering,
    DeskState,
    PolicyName,
    Shares,
    Style,
    decoded,
    unit,
)

Usd = Annotated[float, unit("USD", "Over the horizon.")]


class Child(Struct, frozen=True):
    """What to trade in a name over the next interval, beside what is at the market."""

    symbol: str
    quantity: Shares
    participation: Annotated[
        float, unit("share of volume", "With what is at the market; 0 without volume.")
    ]
    style: Style
    efficiency: (
        Annotated[float, unit("ratio", "Alpha opportunity over marginal cost; null: no model.")]
        | None
    )
    marginal_bps: (
        Annotated[float, unit("bps", "Marginal cost of the name in its own direction.")] | None
    )
    reasons: tuple[str, ...] = ()


class Target(Struct, frozen=True):
    """Where a parent should stand at the end of each interval: cumulative, filled included."""

    parent: str
    symbol: str
    cumulative: Annotated[
        tuple[float, ...], Meta(extra_json_schema={"unit": "shares"}, description="Signed.")
    ]


class Binding(Struct, frozen=True):
    """A cap that binds, and what one more unit of it would save."""

    cap: Literal["pov", "sector_net", "risk", "remaining"]
    of: Annotated[str, Meta(description="Symbol, sector, parent id or `desk`.")]
    interval: Annotated[
        int, unit("intervals", "Which one from now; 0 the next, or all of them.", ge=0, le=96)
    ]
    limit: Annotated[float, unit("USD", "Where it stands, per interval.")]
    price: Annotated[float, unit("USD per USD", "Dual; null: no optimum stands there.")] | None


class Applied(Struct, frozen=True):
    """A rule that changed something, and what the change costs by the model."""

    rule: str
    of: tuple[str, ...]
    what: str
    cost_usd: Annotated[float, unit("USD", "Modelled, positive: worse than without the rule.")]


class Expected(Struct, frozen=True):
    """What the model expects of the plan over the horizon, USD."""

    alpha_usd: Usd
    spread_usd: Usd
    self_usd: Usd
    cross_usd: Usd
    carried_usd: Annotated[float, unit("USD", "Paid for what earlier flow left in the price.")]
    leftover_usd: Usd
    risk_usd: Usd

    @property
    def objective_usd(self) -> float:
        """What `optimal` minimises."""
        impact = self.spread_usd + self.self_usd + self.cross_usd + self.carried_usd
        return impact + self.leftover_usd + self.risk_usd - self.alpha_usd


class Plan(Struct, frozen=True):
    """The answer."""

    at: datetime
    policy: PolicyName
    answered: Annotated[Answering, Meta(description="Who answered; `why` says why another did.")]
    why: str
    release: Annotated[str, Meta(description="Digest; empty without a release.")]
    regime: str
    rung: str
    children: tuple[Child, ...]
    targets: tuple[Target, ...]
    binding: tuple[Binding, ...] = ()
    rules: tuple[Applied, ...] = ()
    relaxed: Annotated[
        tuple[str, ...], Meta(description="Caps that were relaxed, in the order they were.")
    ] = ()
    expected: Expected | None = None
    kkt_residual: (
        Annotated[float, unit("share of price times flow", "Of an optimum; null: none.")] | None
    ) = None
    gap_usd: (
        Annotated[float, unit("USD", "What `ranked` would cost more than `optimal`.")] | None
    ) = None
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        result: dict[str, Any] = msgspec.to_builtins(self)
        return result

    def to_json(self) -> bytes:
        """One spelling per plan: fields in their order, shortest round-trip numbers."""
        return msgspec.json.encode(self)


def read_plan(document: bytes | str | Mapping[str, Any]) -> Plan:
    """Inverse of `Plan.to_json` and `Plan.to_dict`."""
    return decoded(document, Plan, "the plan")


def schemas() -> dict[str, Any]:
    """JSON Schemas of `state` and `plan`, every number with its `unit`."""
    return {"state": msgspec.json.schema(DeskState), "plan": msgspec.json.schema(Plan)}
