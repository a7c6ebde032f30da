"""A home's numbers, read in bounded work: what has not changed since is not read again.

A ledger is verified anew when its file or its head is another one (inode, size or time of change);
a release is read once, a mart's verdict once per manifest.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from crossimpact import contract
from crossimpact.consumer import source
from crossimpact.consumer.address import absent
from crossimpact.consumer.client import ALIAS
from crossimpact.drift.weekly import SEVERITY
from crossimpact.errors import CrossImpactError, StaleModel
from crossimpact.ladder import RUNGS
from crossimpact.release import ledger, release_files
from crossimpact.release.bundle import Release
from crossimpact.release.ledger import Entry, LiveChampion, Verdict
from pipelines.monitoring import families as told
from pipelines.monitoring.families import Sample
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse

#: How long a registry may take to answer, a request and all of it, seconds.
REQUEST_S, REGISTRY_S = 1.6, 3.0
#: The table of each step that a date is published by.
STEPS = {
    "accepted": [("accepted", table) for table in contract.TABLES],
    "tca": [("marts", "tca_daily")],
    "drift": [("marts", "drift")],
}
Identity = tuple[tuple[int, int, int] | None, ...]


class Home:
    """A home whose numbers are asked for again and again."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._warehouse = Warehouse(settings)
        self._book: tuple[Identity, list[Entry], Verdict] | None = None
        self._release = lru_cache(maxsize=2)(self._read_release)
        self._verdicts = lru_cache(maxsize=2)(self._read_verdicts)

    def champion(self) -> Iterator[Sample]:
        """Who answers, since when and until when, and on which rungs."""
        live = ledger.standing(self._ledger()[0])
        if live is None:
            return
        yield told.PROMOTED.of(live.champion.moment.timestamp())
        release = self._release(live.digest)
        yield told.CHAMPION.of(1, release.id, str(live.version))
        yield from self._regimes(release, live)

    def _regimes(self, release: Release, live: LiveChampion) -> Iterator[Sample]:
        as_of = _midnight(release.as_of)
        expires = as_of + self.settings.policy.release.valid_for.total_seconds()
        held = replace(release, held=live.held)
        for regime in sorted(release.fallback):
            yield told.AS_OF.of(as_of, regime)
            yield told.EXPIRES.of(expires, regime)
            answering = held.model_for(regime).rung
            yield from (told.RUNG.of(rung == answering, regime, rung) for rung in RUNGS)
            yield told.HELD.of(regime in live.held, regime)

    def dates(self) -> Iterator[Sample]:
        """The last date of each step, and how the last accepted one fared."""
        for step, tables in STEPS.items():
            last = max(filter(None, (self._last(*table) for table in tables)), default=None)
            if last:
                yield told.LAST_DATE.of(_midnight(last), step)
            if last and step == "accepted":
                yield from self._rows(last)

    def _rows(self, date: str) -> Iterator[Sample]:
        for layer, table in STEPS["accepted"]:
            if manifest := self._warehouse.manifest(layer, table, date):
                rows = manifest.extra["rows"]
                yield told.LANDED.of(rows["landed"], table)
                yield told.ACCEPTED.of(rows["accepted"], table)
                yield told.QUARANTINED.of(rows["quarantined"] / max(rows["landed"], 1), table)

    def _last(self, layer: str, table: str) -> str | None:
        """The last published date."""
        return self._warehouse.last_date(layer, table)

    def drift(self) -> Iterator[Sample]:
        """The last week's verdicts."""
        last = self._last("marts", "drift")
        manifest = self._warehouse.manifest("marts", "drift", last) if last else None
        if manifest:
            for regime, verdict in self._verdicts(manifest.sha256, manifest.date):
                yield from (told.VERDICT.of(name == verdict, regime, name) for name in SEVERITY)

    def ledger(self) -> Iterator[Sample]:
        """Whether the ledger is whole."""
        _, verdict = self._ledger()
        yield told.LEDGER_OK.of(verdict.ok)
        yield told.LEDGER_LINES.of(verdict.lines)

    def disk(self) -> Iterator[Sample]:
        """Room on the disk the home lies on."""
        usage = shutil.disk_usage(self.settings.home)
        yield told.FREE.of(usage.free)
        yield told.SIZE.of(usage.total)

    def registry(self) -> Iterator[Sample]:
        """Whether the registry answers; one that holds nothing yet has no file to ask."""
        yield told.REGISTRY_UP.of(answers(self.settings.mlflow_uri) == "")

    def _ledger(self) -> tuple[list[Entry], Verdict]:
        path = self.settings.ledger_path
        seen = _identity(path), _identity(path.with_name(path.name + ".head"))
        if self._book is None or self._book[0] != seen:
            self._book = seen, *_checked(path)
        return self._book[1:]

    def _read_release(self, digest: str) -> Release:
        return release_files.read(self.settings.releases / digest, digest)

    def _read_verdicts(self, sha256: str, date: str) -> list[tuple[str, str]]:
        rows = self._warehouse.rows("marts", "drift", date, ["regime", "verdict"]) or []
        return [(row["regime"], row["verdict"]) for row in rows]


def answers(uri: str) -> str:
    """Why the registry does not answer; empty when it does."""
    if absent(uri):
        return "nothing was ever registered"
    try:
        source.ask(uri, lambda registry: registry.alias(ALIAS), REQUEST_S, REGISTRY_S)
    except CrossImpactError as error:
        return error.what
    return ""


def _checked(path: Path) -> tuple[list[Entry], Verdict]:
    try:
        verdict = ledger.verify(path)
        return ledger.entries(path) if verdict.usable else [], verdict
    except StaleModel as error:  # its head cannot be read
        return [], Verdict(0, 1, error.what)


def _identity(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _midnight(date: str) -> float:
    return datetime.fromisoformat(date).replace(tzinfo=UTC).timestamp()
