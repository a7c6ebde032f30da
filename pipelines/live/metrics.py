"""What a live session tells a monitor: `/healthz`, `/readyz` and Prometheus' `/metrics`.

On loopback alone. Liveness is the age of the last finished turn on fresh data, not of the process.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from crossimpact.policy.live.events import LEVELS
from crossimpact.policy.live.intake import EPOCH
from pipelines.live.engine import Engine

BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


class Health(NamedTuple):
    """Whether the loop lives and may be relied on; empty reasons mean yes."""

    not_alive: str
    not_ready: str


#: Of a gauge whose value does not exist yet: no alert compares with it.
NEVER = float("nan")


class Metrics:
    """The numbers of one loop, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        kwargs: Any = {"registry": self.registry}
        self.state = Gauge("xi_live_guardrail_state", "0 green, 1 amber, 2 red", **kwargs)
        self.level = Gauge("xi_live_level", "0 RUN, 1 PAUSE, 2 CANCEL, 3 KILL", **kwargs)
        self.cpi = Gauge("xi_live_cpi_bps", "Predicted cross cost, bps of notional", **kwargs)
        self.ibb = Gauge("xi_live_ibb_ratio", "Realized over expected cost", **kwargs)
        self.in_flight = Gauge(
            "xi_live_in_flight_evidence", "That own fills move the market: by chance 1 in so many",
            **kwargs,
        )  # fmt: skip
        self.model_age = Gauge(
            "xi_live_model_age_seconds", "Since the release was last confirmed", **kwargs
        )
        self.data_age = Gauge("xi_market_data_age_seconds", "Since the last market data", **kwargs)
        self.last = Gauge(
            "xi_live_last_decision_timestamp_seconds", "Wall clock of the last decision", **kwargs
        )
        self.turn = Histogram(
            "xi_live_turn_seconds", "From events to decisions on disk", buckets=BUCKETS, **kwargs
        )
        self.events = Counter("xi_live_events", "Events applied", **kwargs)
        self.duplicates = Counter("xi_live_duplicates", "Events that came before", **kwargs)
        self.refused = Counter("xi_live_refused_lines", "Lines that are no events", **kwargs)
        self.failed = Counter("xi_live_failed_events", "Events whose handler raised", **kwargs)
        self.decisions = Counter("xi_live_decisions", "Decisions on disk", **kwargs)
        self.limits = Counter("xi_live_limit_refusals", "Children kept back by limits", **kwargs)
        self.fallbacks = Counter(
            "xi_live_fallbacks", "Decisions another policy than the asked one made", **kwargs
        )
        self.binding = Gauge("xi_live_caps_binding", "Targets below their parents' end", **kwargs)
        self.failed_pulls = Counter("xi_live_pulls_failed", "Pulls not ending live", **kwargs)
        self.failed_feeds = Counter("xi_live_feeds_failed", "Feeds opened again", **kwargs)
        self.failed_writes = Counter("xi_live_writes_failed", "Turns not brought to disk", **kwargs)
        self.outstanding = Gauge(
            "xi_live_outstanding_parents", "Parents with orders not known to be terminal", **kwargs
        )
        self._read = {"cpi_bps": self.cpi, "ibb": self.ibb, "in_flight": self.in_flight}
        for gauge in (*self._read.values(), self.model_age, self.data_age, self.last):
            gauge.set(NEVER)
        self._counted = (0, 0, 0, 0, 0)

    def observe(self, engine: Engine, data_age_s: float | None, model_age_s: float) -> None:
        """Take the state of the session; data that never came have no age."""
        session, counts = engine.session, engine.counts
        self.state.set(session.guardrail.state)
        self.level.set(LEVELS.index(session.level))
        for name, gauge in self._read.items():
            value = getattr(session.reading, name)
            gauge.set(NEVER if value is None else value)
        self.data_age.set(NEVER if data_age_s is None else data_age_s)
        self.model_age.set(model_age_s)
        self.outstanding.set(len(session.book.outstanding()))
        now = (
            counts.events, counts.duplicates, counts.refused, counts.decisions, counts.failed,
        )  # fmt: skip
        meters = (self.events, self.duplicates, self.refused, self.decisions, self.failed)
        for meter, value, before in zip(meters, now, self._counted, strict=True):
            meter.inc(value - before)
        self._counted = now

    def text(self) -> bytes:
        return generate_latest(self.registry)


def health(
    engine: Engine, data_age_s: float, since_turn_s: float, limit_s: float, fresh_s: float
) -> Health:
    """Whether the loop lives and may be relied on."""
    session = engine.session
    alive = "" if since_turn_s <= limit_s else f"no turn for {since_turn_s:.1f} s"
    reasons = [
        alive,
        f"{session.level} is latched" if session.level != "RUN" else "",
        "no release answers" if session.release is None else "",
        "no event yet" if session.now == EPOCH else "",
        f"data are {data_age_s:.0f} s old" if data_age_s > fresh_s else "",
    ]
    return Health(alive, "; ".join(filter(None, reasons)))


async def serve(port: int, metrics: Metrics, ask: Callable[[], Health]) -> asyncio.Server:
    """Answer monitors on a loopback port; 0 takes a free one.

    In a container, loopback is the container's own: `$CROSSIMPACT_METRICS_HOST` names another.
    """

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, TimeoutError, ValueError):
            words = (await asyncio.wait_for(reader.readline(), 2.0)).split()
            path = words[1].decode("ascii", "replace") if len(words) > 1 else ""
            status, content = _respond(path, metrics, ask())
            head = f"HTTP/1.0 {status}\r\nContent-Type: text/plain; version=0.0.4\r\n"
            length = f"Content-Length: {len(content)}\r\nConnection: close\r\n\r\n"
            writer.write(head.encode() + length.encode() + content)
            await writer.drain()
        writer.close()

    host = os.environ.get("CROSSIMPACT_METRICS_HOST", "127.0.0.1")
    return await asyncio.start_server(answer, host, port)


def _respond(path: str, metrics: Metrics, found: Health) -> tuple[str, bytes]:
    if path == "/metrics":
        return "200 OK", metrics.text()
    if path in ("/healthz", "/readyz"):
        why = found.not_alive if path == "/healthz" else found.not_ready
        return ("503 Service Unavailable", why.encode()) if why else ("200 OK", b"ok\n")
    return "404 Not Found", b"/healthz, /readyz or /metrics\n"
