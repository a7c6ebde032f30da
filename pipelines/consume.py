"""One pull of the champion, as a live scheduler does it, and a trace of who answered instead."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import quote

from crossimpact.consumer.client import Client
from crossimpact.consumer.deadline import Worker
from crossimpact.consumer.state import Served
from crossimpact.errors import CrossImpactError
from pipelines import ledger_events
from pipelines.store.settings import Settings

#: How long the ledger is waited for to take the line, seconds; the answer is out by then.
RECORD_S = 2.0


def pull(settings: Settings, *, who: str, clock: Callable[[], datetime]) -> dict[str, Any]:
    """What answers now, and the line it is worth; see `ask` and `record_fallback`."""
    served = ask(settings, who=who, clock=clock)
    unseen = record_fallback(settings, served, who=who, now=clock())
    result = served.to_dict()
    return result | {"reason": "; ".join(filter(None, (result["reason"], unseen)))}


def ask(settings: Settings, *, who: str, clock: Callable[[], datetime]) -> Served:
    """What answers now, within the client's deadline."""
    cache = settings.home / "consumer" / quote(who, safe="").replace(".", "%2E")
    policy = settings.policy.release
    return Client(
        settings.mlflow_uri,
        settings.ledger_path,
        cache,
        clock=clock,
        max_age=policy.max_age,
        valid_for=policy.valid_for,
        fixed_pov=policy.fixed_pov,
        deadline_s=settings.pull_deadline_s,
    ).pull()


def record_fallback(settings: Settings, served: Served, *, who: str, now: datetime) -> str:
    """Write a pull that did not end in the champion to the ledger as a `fallback`, once.

    Returns
    -------
    str
        Why the ledger does not have it: it is held, its disk hangs or is full; empty when it has.
    """
    if served.state == "live":
        return ""
    rungs = {regime: served.answer(regime).rung for regime in served.regimes()}
    write = partial(
        ledger_events.record, settings, "fallback", who=who, now=now, rungs=rungs,
        reason=f"{served.state}: {served.reason}", wait_s=0.8 * RECORD_S,
    )  # fmt: skip
    try:
        Worker(f"ledger {settings.ledger_path}").run(write, time.monotonic() + RECORD_S)
    except (CrossImpactError, OSError) as error:
        return f"the ledger does not have it: {error}"
    return ""
