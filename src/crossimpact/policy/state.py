"""What a scheduler is told: the desk's state, as typed JSON. What it answers: `policy.plan`.

One declaration gives the types, the checks on reading, and the JSON Schemas of `docs/scheduler.md`.
Units stand in every field's schema. Quantities are shares, signed, buys positive; prices and money
are US dollars; a time is minutes from `at`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from crossimpact.errors import ProblemError
from crossimpact.ladder import Rung

PolicyName = Literal["optimal", "ranked"]
Answering = Literal["optimal", "ranked", "fixed_pov"]
GuardrailState = Literal["green", "amber", "red"]
Style = Literal["passive", "aggressive"]
T = TypeVar("T")


#: No number of a desk is larger; NaN and infinity, which compare with nothing, are refused with it.
LARGEST = 1e15


def unit(
    unit: str, doc: str, *, ge: float = -LARGEST, gt: float | None = None, le: float = LARGEST
) -> Meta:
    """A number's unit, meaning and limits, for the reader and the schema alike."""
    if gt is not None:
        return Meta(gt=gt, le=le, description=doc, extra_json_schema={"unit": unit})
    return Meta(ge=ge, le=le, description=doc, extra_json_schema={"unit": unit})


#: A number >= 0 whose field says what it is.
Bound = Annotated[float, Meta(ge=0, le=LARGEST)]


Shares = Annotated[float, unit("shares", "Signed, buys positive.")]


class Parent(Struct, frozen=True, forbid_unknown_fields=True):
    """A parent order."""

    id: Annotated[str, Meta(min_length=1, description="The desk's own id.")]
    symbol: str
    quantity: Annotated[float, unit("shares", "Whole order, signed, buys positive.")]
    deadline_min: Annotated[float, unit("minutes", "To the end of the order's time.", ge=0)]
    filled: Annotated[float, unit("shares", "Filled so far, signed like quantity.")] = 0.0
    alpha_bps: Annotated[
        float, unit("bps", "Expected move from now on, positive towards the order's side.")
    ] = 0.0
    alpha_half_life_min: (
        Annotated[float, unit("minutes", "Half of alpha is gone by then; null: it stays.", gt=0)]
        | None
    ) = None
    critical: Annotated[bool, Meta(description="Still worked when the guardrail is red.")] = False


class Flow(Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """Own flow of the past: what is left of its impact is in the price."""

    age_min: Annotated[float, unit("minutes", "Since its interval ended.", ge=0)]
    quantity: Annotated[float, unit("shares", "Filled, signed.")]


class Name(Struct, frozen=True, forbid_unknown_fields=True):
    """The market in one name."""

    symbol: str
    mid: Annotated[float, unit("USD per share", "Mid price.", gt=0)]
    spread_bps: Annotated[float, unit("bps", "Quoted spread; below 0 the quotes are crossed.")]
    volume: Annotated[
        Bound | tuple[Bound, ...] | None,
        Meta(
            description="Expected of the market; one for all intervals or one each; null: unknown.",
            extra_json_schema={"unit": "shares per interval"},
        ),
    ] = None
    working: Annotated[float, unit("shares", "At the market, signed: counts as used.")] = 0.0
    halted: bool = False
    stale: bool = False
    volatility_bps: Annotated[
        float, unit("bps", "Standard deviation of the mid over one interval.", ge=0)
    ] = 0.0
    flow: Annotated[
        tuple[Flow, ...], Meta(description="Own fills of the past as [age_min, shares].")
    ] = ()


class Caps(Struct, frozen=True, forbid_unknown_fields=True):
    """Limits of one interval; null: none."""

    pov: Annotated[
        float, unit("share of volume", "Largest participation, per name.", gt=0, le=1)
    ] = 0.1
    sector_net_usd: Annotated[
        Bound | dict[str, Bound] | None,
        Meta(
            description="Largest net flow of a sector, buys less sells; one for all or by sector.",
            extra_json_schema={"unit": "USD per interval"},
        ),
    ] = None
    risk_usd: (
        Annotated[
            float,
            unit("USD per interval", "Largest sum over names of flow times volatility.", ge=0),
        ]
        | None
    ) = None


class Risk(Struct, frozen=True, forbid_unknown_fields=True):
    """What the variance of what is not yet traded is charged."""

    aversion: Annotated[
        float, unit("1 / USD", "USD of cost per USD^2 of variance, halved.", ge=0)
    ] = 0.0
    market: Annotated[float, unit("correlation", "Of any two names.", ge=0, le=1)] = 0.2
    sector: Annotated[float, unit("correlation", "Added within a sector.", ge=0, le=1)] = 0.2


class Allowance(Struct, frozen=True, forbid_unknown_fields=True):
    """What a guardrail state still allows."""

    pov_share: Annotated[float, unit("share", "Of the participation caps.", ge=0, le=1)] = 1.0
    names_share: Annotated[
        float, unit("share", "Of the names with open orders, traded at once.", ge=0, le=1)
    ] = 1.0
    aggressive: bool = True
    critical_only: bool = False
    rest_share: Annotated[
        float,
        unit(
            "share",
            "Of the participation cap: a held line whose even pace stays below rests.",
            ge=0,
            le=1,
        ),
    ] = 0.1
    rung: Annotated[
        Rung, Meta(description="The most that may answer: the ladder's rung, or one below.")
    ] = "full"


#: What each state allows, unless the state of the desk says otherwise.
ALLOWED: Mapping[GuardrailState, Allowance] = {
    "green": Allowance(),
    "amber": Allowance(pov_share=0.7, names_share=0.5, aggressive=False, rung="sector_block"),
    "red": Allowance(
        pov_share=0.3, names_share=0.25, aggressive=False, critical_only=True, rung="self_only"
    ),
}


class DeskState(Struct, frozen=True, forbid_unknown_fields=True):
    """All that a plan depends on, beside the release."""

    at: Annotated[datetime, Meta(tz=True, description="Event time, ISO 8601 with its zone.")]
    regime: str
    names: tuple[Name, ...]
    parents: tuple[Parent, ...]
    interval_min: Annotated[
        float, unit("minutes", "Length of an interval: the model's bucket.", gt=0)
    ] = 5.0
    horizon: Annotated[int, unit("intervals", "Planned ahead; 1 is myopic.", ge=1, le=96)] = 12
    caps: Caps = Caps()
    risk: Risk = Risk()
    guardrail: GuardrailState = "green"
    allowance: Annotated[
        Allowance | None, Meta(description="null: what the guardrail state allows by default.")
    ] = None
    strong_coupling: (
        Annotated[
            float,
            unit("share of own impact", "Pairs coupled by more follow the rules.", ge=0),
        ]
        | None
    ) = 0.1
    leftover_bps: Annotated[
        float, unit("bps", "Price of what is left at a deadline, beside its impact.", ge=0)
    ] = 10.0

    def __post_init__(self) -> None:
        known = _distinct("symbol", "names", [name.symbol for name in self.names])
        _distinct("id", "parents", [parent.id for parent in self.parents])
        for parent in self.parents:
            if parent.symbol not in known:
                raise ProblemError(
                    f"parent {parent.id} is of {parent.symbol}, which is not among the names",
                    "give its market",
                )
        for name in self.names:
            if isinstance(name.volume, tuple) and len(name.volume) != self.horizon:
                raise ProblemError(
                    f"{name.symbol} has {len(name.volume)} volumes for {self.horizon} intervals"
                )
        if self.risk.market + self.risk.sector > 1:
            raise ProblemError(
                f"risk.market {self.risk.market:g} and risk.sector {self.risk.sector:g} sum to "
                "more than 1"
            )

    @property
    def allowed(self) -> Allowance:
        """What the guardrail leaves."""
        return self.allowance if self.allowance is not None else ALLOWED[self.guardrail]


def read(document: bytes | str | Mapping[str, Any]) -> DeskState:
    """A desk's state from JSON or plain data.

    Raises
    ------
    ProblemError
        Naming the field that is unknown, missing, of the wrong type or beyond its limit.
    """
    return decoded(document, DeskState, "the state")


def _distinct(what: str, where: str, values: list[str]) -> set[str]:
    found = set(values)
    if len(found) < len(values):
        twice = next(value for value in values if values.count(value) > 1)
        raise ProblemError(f"{what} {twice} is twice among the {where}")
    return found


def decoded(document: bytes | str | Mapping[str, Any], kind: type[T], what: str) -> T:
    """Typed from JSON or plain data; what is refused is named."""
    try:
        if isinstance(document, bytes | str):
            return msgspec.json.decode(document, type=kind)
        return msgspec.convert(document, kind)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise ProblemError(f"{what} is refused: {error}", "see docs/scheduler.md") from error
