"""A scheduler's desk: a ledger, releases that were promoted, and clients that read them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from crossimpact.consumer.client import Client, Served
from crossimpact.release import ledger
from crossimpact.release.bundle import MANIFEST, Release
from tests.registry.servers import sample

NOW = datetime(2026, 2, 10, 12, tzinfo=UTC)
FIRST, SECOND = sample("2026-01-31"), sample("2026-02-05", gamma=4.0)
#: Long enough for any machine; what hangs is given `SHORT_S`.
PATIENT_S, SHORT_S = 30.0, 0.6
SLACK_S = 10.0


@dataclass
class Desk:
    """Its clock stands at `now`; caches are named."""

    home: Path
    uri: str
    now: datetime = NOW

    @property
    def book(self) -> Path:
        return self.home / "ledger.jsonl"

    def cache(self, name: str) -> Path:
        return self.home / "cache" / name

    def client(self, cache: str = "warm", **over: Any) -> Client:
        given = {"uri": self.uri, "clock": lambda: self.now, "deadline_s": PATIENT_S} | over
        return Client(ledger=self.book, cache=self.cache(cache), **given)

    def write(self, action: str = "promote", release: Release | None = None, **over: Any) -> None:
        """A line of the ledger, a minute after the one before."""
        with ledger.locked(self.book) as book:
            when = NOW - timedelta(days=1) + timedelta(minutes=len(book.entries))
            if release:
                over["new"] = release.digest
            book.append(when=when, who="ann", action=action, **over)


def contents(release: Release) -> dict[str, bytes]:
    return release.files | {MANIFEST: release.manifest}


@contextmanager
def one_line(caplog: pytest.LogCaptureFixture, served: str, why: str) -> Iterator[None]:
    """What happens inside leaves one line of log, which says what is served and why."""
    caplog.clear()
    with caplog.at_level("INFO", "crossimpact.client"):
        yield
    lines = [r.getMessage() for r in caplog.records if r.name == "crossimpact.client"]
    assert len(lines) == 1, lines
    assert lines[0].startswith(served) and re.search(why, lines[0]), lines[0]
    assert "\n" not in lines[0]


def is_first(served: Served) -> bool:
    return served.state == "last_known_good" and served.digest == FIRST.digest
