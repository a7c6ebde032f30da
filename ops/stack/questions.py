"""What the steps of a rehearsal ask, and what they are told with."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import httpx

from crossimpact.errors import CrossImpactError
from ops.stack.form import Form


@dataclass(frozen=True)
class Size:
    """Of the simulated desk that is landed."""

    symbols: int
    days: int
    seed: int = 7


SMALL, FULL, FAULTY = Size(10, 6), Size(20, 20), Size(10, 8)


@dataclass(frozen=True)
class Row:
    """A step: how long it took, what was seen."""

    step: str
    seconds: float
    seen: str
    ok: bool


def need(true: bool, otherwise: str) -> None:
    """Raise what was seen instead."""
    if not true:
        raise CrossImpactError(otherwise)


def refuses(action: Callable[[], object], otherwise: str) -> None:
    try:
        action()
    except CrossImpactError:
        return
    raise CrossImpactError(otherwise)


def told(form: Form, service: str, *words: str) -> dict[str, Any]:
    """What `crossimpact` prints as JSON, run as a service."""
    done = form.execute(service, ["python", "-m", "crossimpact", *words, "--json"])
    if done.code:
        said = (done.out.decode(errors="replace") + done.err).strip()[-800:]
        raise CrossImpactError(f"crossimpact {' '.join(words)} ended with {done.code}: {said}")
    parsed: dict[str, Any] = json.loads(done.out)
    return parsed


def spread(tasks: Sequence[Mapping[str, Any]]) -> str:
    """How many tasks each worker took."""
    counts = Counter(t["hostname"] for t in tasks if t["hostname"])
    return ", ".join(f"{name} {counts[name]}" for name in sorted(counts))


def samples(url: str) -> list[str]:
    text = httpx.get(url, trust_env=False, timeout=60).raise_for_status().text
    return [line for line in text.splitlines() if not line.startswith("#")]


def events(symbols: Sequence[str], now: datetime) -> Iterator[dict[str, Any]]:
    """A quote of each name, a parent, and quotes a little later."""
    yield {"type": "regime", "regime": "normal", "at": now.isoformat(), "source": "r", "seq": 0}
    for late in (0, 61):
        at = (now + timedelta(seconds=late)).isoformat()
        for k, symbol in enumerate(symbols):
            yield {
                "type": "market", "symbol": symbol, "bid": 99.99, "ask": 100.01,
                "volume": 20000.0, "volatility_bps": 10.0, "at": at, "source": "m",
                "seq": late * len(symbols) + k,
            }  # fmt: skip
        if not late:
            deadline = (now + timedelta(hours=1)).isoformat()
            yield {"type": "parent", "id": "P1", "symbol": symbols[0], "quantity": 5000.0,
                   "deadline": deadline, "at": at, "source": "p", "seq": 0}  # fmt: skip
