"""A home with a champion, a validated date and a drift verdict, made in less than a second."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from crossimpact.ladder import Rung
from crossimpact.release import ledger, release_files
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse
from tests.registry.servers import sample

NOW = datetime(2026, 2, 10, 12, tzinfo=UTC)
DATE = "2026-02-09"
RELEASE = sample("2026-02-05")


def promote(settings: Settings) -> None:
    """Make the sample release champion of the home."""
    release_files.write(RELEASE, settings.releases / RELEASE.digest)
    with ledger.locked(settings.ledger_path) as book:
        book.append(when=NOW, who="ann", action="promote", new=RELEASE.digest, version=1)


def demote(settings: Settings, regime: str, rung: Rung) -> None:
    with ledger.locked(settings.ledger_path) as book:
        book.append(when=NOW, who="ann", action="demote", why="test", rungs={regime: rung})


def publish(settings: Settings, date: str = DATE, landed: int = 100, quarantined: int = 3) -> None:
    """A date's fills, of which some are in quarantine."""
    rows = {"landed": landed, "accepted": landed - quarantined, "quarantined": quarantined}
    warehouse = Warehouse(settings)
    with warehouse.connect() as connection:
        query = f"SELECT range AS row FROM range({rows['accepted']})"
        warehouse.publish(
            connection, query, "accepted", "child_fills", date,
            inputs={}, extra={"rows": rows, "rules": {}},
        )  # fmt: skip


def judge(settings: Settings, verdict: str, date: str = DATE) -> None:
    """A week's drift verdict of normal times."""
    warehouse = Warehouse(settings)
    with warehouse.connect() as connection:
        query = f"SELECT 'normal' AS regime, '{verdict}' AS verdict"
        warehouse.publish(connection, query, "marts", "drift", date, inputs={})


def made(folder: Path) -> Settings:
    """A home in which all of that was done: a copy of one that a process makes once."""
    shutil.copytree(_base(), folder)
    return Settings(folder)


@cache
def _base() -> Path:
    base = Path(tempfile.mkdtemp(prefix="crossimpact-home-"))
    atexit.register(shutil.rmtree, base, ignore_errors=True)
    settings = Settings(base)
    promote(settings)
    publish(settings)
    judge(settings, "watch")
    return base
