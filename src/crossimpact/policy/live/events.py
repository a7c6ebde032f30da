"""What a live session is told, one JSON object per event; `type` says which.

Units as in `crossimpact.policy.state`: signed shares, buys positive; US dollars; bps. `at` is event
time with its zone. `source` and `seq` make an event unique: a second one is a duplicate. Unknown
fields, NaN and wrong types are refused by name.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from crossimpact.errors import ProblemError
from crossimpact.policy.limits import Limits
from crossimpact.policy.state import LARGEST

Level = Literal["RUN", "PAUSE", "CANCEL", "KILL"]
LEVELS: tuple[Level, ...] = ("RUN", "PAUSE", "CANCEL", "KILL")
Mode = Literal["advisory", "full"]
MODES: tuple[Mode, ...] = ("advisory", "full")
Number = Annotated[float, Meta(ge=-LARGEST, le=LARGEST)]
Positive = Annotated[float, Meta(gt=0, le=LARGEST)]
Known = Annotated[float, Meta(ge=0, le=LARGEST)]
Word = Annotated[str, Meta(min_length=1, max_length=200)]


class _Event(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", kw_only=True):
    at: Annotated[datetime, Meta(tz=True)]
    source: str = ""
    seq: int = -1


class Market(_Event, frozen=True, tag="market"):
    """A quote: crossed or empty ones make the name stale. `volume` is what the market is expected
    to trade in an interval, shares."""

    symbol: Word
    bid: Positive
    ask: Positive
    volume: Known | None = None
    volatility_bps: Known = 0.0
    adv_usd: Positive | None = None


class Status(_Event, frozen=True, tag="status"):
    symbol: Word
    status: Literal["trading", "halted", "delisted"]


class Regime(_Event, frozen=True, tag="regime"):
    regime: Word


class ParentOrder(_Event, frozen=True, tag="parent"):
    """A new parent, or the same one amended (never across sides).

    `basket` and `basket_usd` say what it is traded with, and the size of all of that. In a rollout
    the loop says whose it is (`arm`) and the chance of that (`propensity`), whatever was told: a
    control's parent is traded by the desk, counts as its flow, and is asked for nothing.
    """

    id: Word
    symbol: Word
    quantity: Number
    deadline: Annotated[datetime, Meta(tz=True)]
    alpha_bps: Number = 0.0
    alpha_half_life_min: Positive | None = None
    critical: bool = False
    basket: str = ""
    basket_usd: Positive | None = None
    arm: Literal["policy", "control"] = "policy"
    propensity: Annotated[float, Meta(gt=0, le=1)] = 1.0


class Cancel(_Event, frozen=True, tag="cancel"):
    """The desk takes a parent back; what is at the market is outstanding until it is terminal."""

    parent: Word


class Fill(_Event, frozen=True, tag="fill"):
    """`correct` replaces the fill `ref`, `bust` takes it back. `venue_seq` counts a name's fills
    without gaps, `cumulative` is the parent's filled quantity after this one."""

    id: Word
    parent: Word
    symbol: Word
    quantity: Number
    price: Positive
    kind: Literal["new", "correct", "bust"] = "new"
    ref: str | None = None
    venue_seq: int | None = None
    cumulative: Number | None = None
    passive: bool | None = None


class OrderState(_Event, frozen=True, tag="order"):
    """Of all that is at the market for a parent; `leaves` null: not known, counts as used."""

    parent: Word
    status: Literal["working", "pending_cancel", "filled", "cancelled", "rejected", "expired"]
    leaves: Number | None = None


class Snapshot(_Event, frozen=True, tag="snapshot"):
    """The order system's word on parents, which wins; working null: not known, counts as used."""

    filled: dict[str, Number]
    working: dict[str, Number | None]
    venue_seq: dict[str, int] = {}


class Print(_Event, frozen=True, tag="print"):
    """A trade the market tells of, to judge by whether own fills move it; `own`: it is ours."""

    symbol: Word
    price: Positive
    own: bool = False


class Heartbeat(_Event, frozen=True, tag="heartbeat"):
    """Nothing new; the data live."""


# -- from the loop itself --------------------------------------------------------------------------


class Clock(_Event, frozen=True, tag="clock"):
    """What the wall clock alone knows; moves no event time but past what has arrived already."""

    data_age_s: float
    model_age_days: float


class HeldRung(Struct, frozen=True):
    rung: str
    reason: str


class Swap(_Event, frozen=True, tag="release"):
    """Who answers from now on; without a digest a fixed share of volume."""

    digest: str
    reason: str
    fixed_pov: float
    held: dict[str, HeldRung] = {}


class Control(_Event, frozen=True, tag="control"):
    """A latched level; RUN resets it and needs who and why."""

    level: Level
    who: str
    reason: str


class ModeChange(_Event, frozen=True, tag="mode"):
    """One step up needs a person and evidence; down needs nothing."""

    to: Mode
    who: str = ""
    evidence: str = ""


class LimitsChange(_Event, frozen=True, tag="limits"):
    limits: Limits


class Failed(_Event, frozen=True, tag="failed"):
    """A handler raised: the session is as before the event, which is left out, and pauses; names
    whose fills it may have missed are not reconciled. `arrived` is the number of an event that was
    held back, -2 what was due by itself, -1 the event that arrived."""

    why: str
    symbols: tuple[str, ...] = ()
    arrived: int = -1


Told = (
    Market | Status | Regime | ParentOrder | Cancel | Fill | OrderState | Snapshot | Print
    | Heartbeat
)  # fmt: skip
Own = Clock | Swap | Control | ModeChange | LimitsChange | Failed
Event = Told | Own
_TOLD, _ALL = msgspec.json.Decoder(Told), msgspec.json.Decoder(Event)


def read(line: bytes, *, own: bool = False) -> Event:
    """An event from a line of a feed; with `own` also those a journal holds beside them.

    Raises
    ------
    ProblemError
        Naming the field that is unknown, missing, of the wrong type or beyond its limit.
    """
    try:
        event: Event = _ALL.decode(line) if own else _TOLD.decode(line)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise ProblemError(f"an event is refused: {error}", "see docs/live.md") from error
    return event


#: Of a parent outside baskets and rollouts nothing is written: earlier journals replay.
_OF_ROLLOUTS = {"basket": "", "basket_usd": None, "arm": "policy", "propensity": 1.0}


def plain(event: Event) -> dict[str, object]:
    """As a journal keeps it."""
    result: dict[str, object] = msgspec.to_builtins(event)
    if isinstance(event, ParentOrder) and _OF_ROLLOUTS.items() <= result.items():
        return {name: value for name, value in result.items() if name not in _OF_ROLLOUTS}
    return result
