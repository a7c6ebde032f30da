"""Columns of daily TCA's marts, and the parts and causes of a shortfall that they name.

Of every row of fills, orders, their lives and the daily table

    total = self + cross + timing + delay + fees_spread + opportunity      [*_usd]
    self = self_now + self_own_carried + self_sibling_carried
    cross = cross_now + cross_carried,    timing = peers + market + residual
    delay = delay_self + delay_cross + delay_peers + delay_market + delay_residual
    opportunity = the same five,
    fees_spread = fees + spread,          cross_realized = cross + timing

so that the view in five buckets closes by itself, with `cross_realized` for cross and timing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

USD = "DECIMAL(38, 6)"

#: The six parts that sum to `total`.
PARTS = ("self", "cross", "timing", "delay", "fees_spread", "opportunity")
#: The five of the playbook.
FIVE = ("self", "cross_realized", "delay", "fees_spread", "opportunity")
#: What the parts are made of.
SELF = ("self_now", "self_own_carried", "self_sibling_carried")
CROSS = ("cross_now", "cross_carried")
TIMING = ("peers", "market", "residual")
FEES_SPREAD = ("fees", "spread")
DRIVERS = ("self", "cross", "peers", "market", "residual")
DELAY = tuple(f"delay_{name}" for name in DRIVERS)
OPPORTUNITY = tuple(f"opportunity_{name}" for name in DRIVERS)
INSIDE = {
    "self": SELF, "cross": CROSS, "timing": TIMING, "delay": DELAY,
    "fees_spread": FEES_SPREAD, "opportunity": OPPORTUNITY,
}  # fmt: skip
#: The finest causes: they, too, sum to `total`.
CAUSES = tuple(name for part in PARTS for name in INSIDE[part])

_MEANS = {
    "total": "implementation shortfall against the decision price",
    "self": "own flow in the same name, since the arrival",
    "self_now": "own flow of the fill's bucket, siblings' too",
    "self_own_carried": "what the order's own earlier fills left in the price",
    "self_sibling_carried": "what the name's other orders left; their decay is a gain",
    "cross": "the desk's flow in other names, since the arrival",
    "cross_now": "other names' flow of the fill's bucket",
    "cross_carried": "what other names' earlier flow left",
    "timing": "the move from arrival to fills that is not the desk's own",
    "peers": "others' flow, as the release prices it",
    "market": "purified market: the other names' mean move less own impact and peers, times beta",
    "residual": "what nothing explains",
    "delay": "from the decision to the arrival, of what was executed",
    "fees_spread": "fees, and the fill against the mid at its time",
    "fees": "fees and rebates",
    "spread": "the fill against the mid at its time",
    "opportunity": "from the decision to the close, of what was not executed",
    "cross_realized": "cross and timing together: the playbook's cross bucket",
}


@dataclass(frozen=True)
class Column:
    """A column of a mart: its DuckDB type, its unit and what it means."""

    name: str
    type: str
    unit: str
    comment: str


@dataclass(frozen=True)
class Table:
    """A mart: what a row is, the key it is unique and ordered by, its columns."""

    name: str
    grain: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    order: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    def query(self, relation: str) -> str:
        """The declared columns of a relation, in the declared types and order."""
        chosen = ", ".join(f"{c.name}::{c.type} AS {c.name}" for c in self.columns)
        return f"SELECT {chosen} FROM {relation} ORDER BY {self.order or ', '.join(self.key)}"


def money(names: Iterable[str], of: str = "") -> Iterator[Column]:
    for name in names:
        yield Column(f"{name}_usd", USD, "USD", f"{of}{meaning(name)}")


def rates(names: Iterable[str]) -> Iterator[Column]:
    for name in names:
        yield Column(f"{name}_bps", "DOUBLE", "bps", f"{meaning(name)}, of notional_usd")


def meaning(name: str) -> str:
    """What a part or cause is, in words."""
    for part, start in (("delay", "from decision to arrival"), ("opportunity", "of the unfilled")):
        cause = name.removeprefix(f"{part}_")
        if cause in DRIVERS and cause != name:
            return f"{start}: {_MEANS[cause].split(',')[0]}"
    return _MEANS[name]


def text(name: str, comment: str) -> Column:
    return Column(name, "VARCHAR", "", comment)


def real(name: str, unit: str, comment: str) -> Column:
    return Column(name, "DOUBLE", unit, comment)


def whole(name: str, comment: str, unit: str = "count") -> Column:
    return Column(name, "BIGINT", unit, comment)


def flag(name: str, comment: str) -> Column:
    return Column(name, "BOOLEAN", "", comment)


def time(name: str, comment: str) -> Column:
    return Column(name, "TIMESTAMP WITH TIME ZONE", "UTC", comment)


def usd(name: str, comment: str) -> Column:
    return Column(name, USD, "USD", comment)
