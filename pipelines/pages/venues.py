"""Venues of a day: what their fills paid in spread, and where the mid went after them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

#: Seconds after the fill that are shown of those measured.
HORIZONS_S = (0, 60, 300, 1800)


@dataclass(frozen=True)
class Markout:
    """Of one horizon: mean and standard error, bps; None where no mid told or one order is all."""

    horizon_s: int
    bps: float | None
    se_bps: float | None


@dataclass(frozen=True)
class Venue:
    """A venue and liquidity; the whole desk first, named so."""

    name: str
    liquidity: str
    fills: int
    notional_usd: float
    effective_spread_bps: float
    etq: float | None
    markouts: tuple[Markout, ...]


def of(rows: Sequence[dict[str, Any]]) -> list[Venue]:
    """The rows of `tca_markouts` over all sectors and regimes, largest notional first."""
    groups: dict[tuple[str, str], dict[int, dict[str, Any]]] = {}
    for row in rows:
        if row["sector"] is None:
            key = (row["venue"] or "all", row["liquidity"] or "")
            groups.setdefault(key, {})[row["horizon_s"]] = row
    found = [_venue(*key, by_horizon) for key, by_horizon in groups.items() if 0 in by_horizon]
    return sorted(found, key=lambda v: (v.liquidity != "", -v.notional_usd, v.name, v.liquidity))


def _venue(name: str, liquidity: str, by_horizon: dict[int, dict[str, Any]]) -> Venue:
    first = by_horizon[0]
    none: dict[str, Any] = {"markout_bps": None, "se_bps": None}
    told = ((h, by_horizon.get(h, none)) for h in HORIZONS_S)
    return Venue(
        name,
        liquidity,
        first["n"],
        float(first["notional_usd"]),
        first["effective_spread_bps"],
        first["etq"],
        tuple(Markout(h, row["markout_bps"], row["se_bps"]) for h, row in told),
    )
