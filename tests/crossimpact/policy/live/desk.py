"""A small desk for tests of a live session: three coupled names, a release, events in order."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from crossimpact.kernel.decay import Decay
from crossimpact.model import ImpactModel, from_scaled
from crossimpact.policy.limits import Limits
from crossimpact.policy.live.events import (
    Event,
    Fill,
    Market,
    ParentOrder,
    Regime,
    Snapshot,
    Swap,
)
from crossimpact.policy.live.session import Session
from crossimpact.policy.live.settings import Settings
from crossimpact.release.bundle import Release
from crossimpact.release.content import Guardrail
from tests.releases import release_of

OPEN = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
NAMES = ("A", "B", "C")
LOOSE = Limits(1e9, 1.0, 10**6, 1e4, 1.0, 1e12, 10**6, 1.0)
LEVELS = {
    "cpi_bps": Guardrail(50.0, 90.0), "ibb": Guardrail(50.0, 90.0),
    "data_age_s": Guardrail(15.0, 60.0), "model_age_days": Guardrail(1.0, 2.0),
}  # fmt: skip


def model(regime: str = "normal", n: int = 3) -> ImpactModel:
    adv = np.linspace(1e8, 2e8, n)
    beta = np.full(n, 3000.0)
    M = 0.3 * np.sqrt(np.outer(beta, beta))
    np.fill_diagonal(M, 0.0)
    symbols = NAMES if n == 3 else tuple(f"S{i:03d}" for i in range(n))
    return ImpactModel(
        symbols, ("x",) * n, adv, regime, np.full(n, 1.0), beta, from_scaled(M, adv),
        kernel=Decay.from_half_life(20.0, permanent=0.2, scale_self=1.1, scale_cross=1.1),
    )  # fmt: skip


RELEASE = release_of(model(), "2026-02-27", guardrails={"normal": LEVELS})


def session(release: Release = RELEASE, **fields: Any) -> Session:
    told: dict[str, Any] = {
        "name": "day",
        "limits": LOOSE,
        "horizon": 6,
        "policy": "ranked",
        "stale_s": 90.0,
    }
    made = Session(Settings(**told | fields), {release.digest: release}.__getitem__)
    made.apply(swap(release))
    return made


def swap(release: Release = RELEASE) -> Swap:
    return Swap(digest=release.digest, reason="", fixed_pov=0.05, at=OPEN)


def at(seconds: float) -> datetime:
    return OPEN + timedelta(seconds=seconds)


def quote(symbol: str, seconds: float, mid: float = 100.0, **more: Any) -> Market:
    told: dict[str, Any] = {
        "symbol": symbol, "bid": mid - 0.01, "ask": mid + 0.01, "volume": 20_000.0,
        "volatility_bps": 10.0, "at": at(seconds),
    }  # fmt: skip
    return Market(**told | more)


def parent(name: str, symbol: str, quantity: float, seconds: float = 1.0, **more: Any) -> Event:
    told: dict[str, Any] = {
        "id": name, "symbol": symbol, "quantity": quantity, "deadline": at(3600.0),
        "alpha_bps": 8.0, "at": at(seconds),
    }  # fmt: skip
    return ParentOrder(**told | more)


def fill(name: str, parent: str, symbol: str, quantity: float, seconds: float, **more: Any) -> Fill:
    told: dict[str, Any] = {
        "id": name, "parent": parent, "symbol": symbol, "quantity": quantity, "price": 100.01,
        "at": at(seconds),
    }  # fmt: skip
    return Fill(**told | more)


def snapshot(seconds: float, filled: dict[str, float], working: dict[str, Any]) -> Snapshot:
    return Snapshot(filled=filled, working=working, at=at(seconds))


def quotes(seconds: float, mid: float = 100.0) -> list[Event]:
    return [quote(symbol, seconds, mid) for symbol in NAMES]


def opening() -> list[Event]:
    """Regime, quotes, and two parents to buy."""
    return [
        Regime(regime="normal", at=OPEN), *quotes(0.5),
        parent("p1", "A", 9000.0), parent("p2", "B", 6000.0),
    ]  # fmt: skip


def run(made: Session, events: list[Event] | Iterator[Event]) -> list[Any]:
    """Decisions that events lead to."""
    return [row.decision for event in events for row in made.apply(event)]


def targets(decision: Any) -> dict[str, float]:
    return {row.parent: row.target for row in decision.targets}
