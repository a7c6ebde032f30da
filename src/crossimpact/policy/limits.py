"""Hard limits on what leaves: `limits.toml`, checked after every plan, whoever made it.

A child beyond a limit is refused with the limit's name, its article and both numbers; it is never
cut to size, for what exceeds a hard limit was not meant. Limits may be lowered while a session
runs; raising one needs a restart and a second name (`approved`). They supplement the broker's.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from crossimpact.errors import GateRefused, UsageError

FILE = "limits.toml"
MINUTE_MS = 60_000.0
#: What each limit is called by the rules it helps to keep.
ARTICLES: Mapping[str, str] = {
    "max_child_notional_usd": "RTS 6 Art. 15(1)(b) order value",
    "max_child_adv": "RTS 6 Art. 15(1)(c) order volume",
    "max_targets_per_min": "RTS 6 Art. 15(1)(d) messages",
    "price_collar_bps": "RTS 6 Art. 15(1)(a) price collar",
    "max_participation": "participation",
    "max_gross_usd": "RTS 6 Art. 15(5), 15c3-5(c)(1)(i) gross",
    "max_decisions_without_review": "RTS 6 Art. 15(3) repeated execution",
    "duplicate_window_ms": "15c3-5(c)(1)(ii) duplicative orders",
}
#: The one limit that binds more the larger it is.
TIGHTER_WHEN_LARGER = frozenset({"duplicate_window_ms"})
SHARES = ("max_child_adv", "max_participation")


@dataclass(frozen=True)
class Limits:
    """The limits of `limits.toml`, units there."""

    max_child_notional_usd: float
    max_child_adv: float
    max_targets_per_min: int
    price_collar_bps: float
    max_participation: float
    max_gross_usd: float
    max_decisions_without_review: int
    duplicate_window_ms: float

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not (number and math.isfinite(value) and value > 0):
                raise UsageError(f"limit {name} is {value!r}", "give a finite number > 0")
            if name in SHARES and value > 1:
                raise UsageError(f"limit {name} is {value:g}", "give a share in (0, 1]")

    @classmethod
    def read(cls, path: Path | None = None) -> Limits:
        """The shipped limits, but for what the file at `path` says, where there is one.

        Raises
        ------
        UsageError
            When the file is no TOML, or names an unknown limit or a wrong number.
        """
        known = tomllib.loads(Path(__file__).with_name(FILE).read_text(encoding="utf-8"))
        try:
            own = tomllib.loads(path.read_text(encoding="utf-8")) if path and path.exists() else {}
        except (OSError, ValueError) as error:
            raise UsageError(f"limits {path} cannot be read ({error})") from error
        if unknown := sorted(set(own) - set(known)):
            raise UsageError(f"{path} names unknown limits: {', '.join(unknown)}")
        return cls(**{**known, **own})


@dataclass(frozen=True)
class Order:
    """A child about to leave, and what its limits are measured by.

    Attributes
    ----------
    quantity
        Signed shares.
    mid, reference
        Mid now, and at the name's last decision (the same where there was none), USD.
    adv_usd
        Average daily notional; None where nobody knows it, which refuses.
    participation
        Share of the expected volume.
    """

    symbol: str
    quantity: float
    mid: float
    reference: float
    adv_usd: float | None
    participation: float


@dataclass(frozen=True)
class Sent:
    """A child that left."""

    at_ms: float
    symbol: str
    quantity: float


@dataclass(frozen=True)
class LimitMemory:
    """What the next check needs of the past: the last minute's children, decisions since somebody
    last said that they may go on."""

    sent: tuple[Sent, ...] = ()
    decisions: int = 0

    def reviewed(self) -> LimitMemory:
        """A named person has looked."""
        return replace(self, decisions=0)


@dataclass(frozen=True)
class Refusal:
    """A child, or with symbol '' a whole decision, that a limit kept back."""

    symbol: str
    limit: str
    value: float
    allowed: float

    def __str__(self) -> str:
        what = f"{self.symbol}: " if self.symbol else ""
        return (
            f"{what}{self.limit} {self.value:.6g}, limit {self.allowed:.6g} "
            f"({ARTICLES[self.limit]})"
        )


def check(
    limits: Limits, memory: LimitMemory, orders: Sequence[Order], at_ms: float, used_usd: float
) -> tuple[tuple[Order, ...], tuple[Refusal, ...], LimitMemory]:
    """Which of a decision's children may leave.

    Parameters
    ----------
    orders
        In order of importance: gross and messages are given out in this order.
    at_ms
        Time of the decision, milliseconds.
    used_usd
        Traded and at the market in this session, both sides.

    Returns
    -------
    tuple
        Children that may leave, what was refused and why, and the memory for the next check.
    """
    horizon = max(MINUTE_MS, limits.duplicate_window_ms)
    sent = [row for row in memory.sent if at_ms - row.at_ms < horizon]
    if memory.decisions >= limits.max_decisions_without_review:
        most = limits.max_decisions_without_review
        stop = Refusal("", "max_decisions_without_review", memory.decisions + 1, most)
        return (), (stop,), LimitMemory(tuple(sent), memory.decisions)
    allowed: list[Order] = []
    refused: list[Refusal] = []
    for order in orders:
        breach = next(_breaches(limits, order, sent, at_ms, used_usd), None)
        if breach is not None:
            refused.append(breach)
            continue
        allowed.append(order)
        sent.append(Sent(at_ms, order.symbol, order.quantity))
        used_usd += abs(order.quantity) * order.mid
    decisions = memory.decisions + bool(allowed)
    return tuple(allowed), tuple(refused), LimitMemory(tuple(sent), decisions)


def _breaches(
    limits: Limits, order: Order, sent: Sequence[Sent], at_ms: float, used_usd: float
) -> Iterator[Refusal]:
    notional = abs(order.quantity) * order.mid
    known = order.adv_usd is not None and order.adv_usd > 0
    messages = sum(at_ms - row.at_ms < MINUTE_MS for row in sent) + 1
    moved = abs(order.mid / order.reference - 1) * 1e4 if order.reference > 0 else math.inf
    measured = {
        "max_child_notional_usd": notional,
        "max_child_adv": notional / order.adv_usd if known and order.adv_usd else math.inf,
        "max_targets_per_min": messages,
        "price_collar_bps": moved,
        "max_participation": abs(order.participation),
        "max_gross_usd": used_usd + notional,
    }
    for name, value in measured.items():
        if not value <= getattr(limits, name):  # so that NaN is refused, too
            yield Refusal(order.symbol, name, value, getattr(limits, name))
    for row in sent:
        same = row.symbol == order.symbol and row.quantity == order.quantity
        if same and at_ms - row.at_ms < limits.duplicate_window_ms:
            age = at_ms - row.at_ms
            yield Refusal(order.symbol, "duplicate_window_ms", age, limits.duplicate_window_ms)


def looser(before: Limits, after: Limits) -> tuple[str, ...]:
    """Names of the limits that `after` has looser than `before`."""
    return tuple(
        field.name
        for field in fields(Limits)
        if _looseness(field.name, after) > _looseness(field.name, before)
    )


def lowered(present: Limits, wanted: Limits) -> tuple[Limits, tuple[str, ...]]:
    """`wanted` as far as it is tighter, and the names of what must wait for a restart."""
    waits = looser(present, wanted)
    kept: Any = {name: getattr(present, name) for name in waits}
    return replace(wanted, **kept), waits


def approved(before: Limits | None, wanted: Limits, who: str, approver: str) -> Limits:
    """The limits a session may start with.

    Raises
    ------
    GateRefused
        When one is looser than the last session's, and no second person says so.
    """
    raised = looser(before, wanted) if before is not None else ()
    if before is not None and raised and approver in ("", who):
        told = ", ".join(
            f"{name} {getattr(before, name):g} to {getattr(wanted, name):g}" for name in raised
        )
        raise GateRefused(
            f"limits are looser than the last session's: {told}",
            "name a second person with --approver, or lower them again",
        )
    return wanted


def _looseness(name: str, limits: Limits) -> float:
    value = float(getattr(limits, name))
    return -value if name in TIGHTER_WHEN_LARGER else value
