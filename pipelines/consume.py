"""One pull of the champion, as a live scheduler does it, and a trace of who answered instead."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import quote

from crossimpact.errors import CrossImpactError
from pipelines import promotion
from pipelines.config import Settings
from registry.client import Client
from registry.served import Served


def pull(settings: Settings, *, who: str, clock: Callable[[], datetime]) -> dict[str, Any]:
    """What answers now, and per regime which rung and how fast it may trade.

    A pull that does not end in the champion is written to the ledger as a `fallback`, once.
    """
    cache = settings.home / "consumer" / quote(who, safe="").replace(".", "%2E")
    client = Client(settings.mlflow_uri, settings.ledger_path, cache, clock=clock)
    served = client.pull()
    unseen = "" if served.state == "live" else _witness(settings, served, who, clock())
    return {
        "state": served.state,
        "reason": served.reason + unseen,
        "digest": served.digest,
        "version": served.version,
        "confirmed_at": served.confirmed_at.isoformat() if served.confirmed_at else None,
        "regimes": [_answer(served, regime) for regime in _regimes(served)],
    }


def _witness(settings: Settings, served: Served, who: str, now: datetime) -> str:
    """Write it down; what to add to the reason when the ledger cannot be written."""
    rungs = {regime: served.answer(regime).rung for regime in _regimes(served)}
    said = f"{served.state}: {served.reason}"
    try:
        promotion.witness(settings, "fallback", who=who, reason=said, now=now, rungs=rungs)
    except (CrossImpactError, OSError) as error:
        return f"; the ledger does not have it: {error}"
    return ""


def _regimes(served: Served) -> list[str]:
    return sorted(served.good.release.fallback) if served.good else ["unknown"]


def _answer(served: Served, regime: str) -> dict[str, Any]:
    model, rung, reason, max_pov = served.answer(regime)
    edges = model.edges if model else None
    return {"regime": regime, "rung": rung, "edges": edges, "max_pov": max_pov, "reason": reason}
