"""A year of one desk in compressed time: nothing lost, nothing changed behind anybody, disk as
predicted.

    .venv/bin/python -m benchmarks.simulated_year                    # 252 trading days, hours
    .venv/bin/python -m benchmarks.simulated_year --days 40 --month 10

Every date is landed in the evening, validated and priced (TCA, once there is a champion). Weekly
drift looks at the week, every `--month` dates a refit is asked to be promoted (its gates, or an
override on refusal), every `--reland` an earlier date is landed again with a corrected fee, once a
regime is demoted; gc runs weekly. The clock is the desk's own, one process does it all, so that
memory which grows is seen. At the end the ledgers are verified, rows are counted, and every date is
validated and priced again: each must come out as the bytes that are live. Prints Markdown.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pyarrow.parquet as pq

from crossimpact import contract
from crossimpact.errors import GateRefused
from crossimpact.release import ledger
from crossimpact.simulate import DEMO_HALF_LIFE_MIN, DEMO_PERMANENT, DeskSpec
from pipelines import drift, promotion, refit, simulate, tca, validate, verdict
from pipelines.audit.ledger import Ledger
from pipelines.retention import collect
from pipelines.store.landing import Landing
from pipelines.store.settings import Run, Settings
from pipelines.store.warehouse import Warehouse

WEEK = 5
DEMOTED, RUNG = "stressed", "self_only"
PARTS = ("warehouse", "audit", "mlflow", "refits", "releases", "reports")


@dataclass
class Counts:
    """What happened in the year."""

    validated: int = 0
    priced: int = 0
    drifts: int = 0
    refits: int = 0
    promotions: int = 0
    overrides: int = 0
    demotions: int = 0
    relandings: int = 0
    collected_files: int = 0


@dataclass(frozen=True)
class Reading:
    """After so many dates: memory of the process, and MB of the home by part."""

    dates: int
    rss_mb: float
    seconds: float
    parts: dict[str, float]


class Year:
    """The desk and its clock."""

    def __init__(self, root: Path, spec: DeskSpec, month: int, reland: int) -> None:
        simulate.run(None, root / "pool", spec)
        self.pool, self.landing = root / "pool" / "landing", root / "landing"
        self.home, self.counts = root / "home", Counts()
        self.month, self.reland = month, reland
        self.readings: list[Reading] = []
        self.zone: Landing | None = None  # knows the files that have not changed
        self.start = time.perf_counter()

    def settings(self, date: str) -> Settings:
        return Settings(self.home, run=Run(f"night-{date}", evening(date), "ann"))

    def live_through(self, dates: tuple[str, ...]) -> None:
        for number, date in enumerate(dates, start=1):
            self._land(date)
            self._daily(date)
            if number % self.reland == 0:
                self._land_again(dates[number - self.reland // 2 - 1], date)
            if number % WEEK == 0:
                self._weekly(date)
            if number % self.month == 0:
                self._monthly(date, number)
                self.readings.append(self._read(number))

    def _land(self, date: str) -> None:
        for name in contract.TABLES:
            source = self.pool / name / f"date={date}"
            if source.exists():
                target = self.landing / name / source.name
                target.parent.mkdir(parents=True, exist_ok=True)
                source.rename(target)

    def _daily(self, date: str, evening_of: str = "") -> None:
        """As the nightly DAG does: every landed date, for what came late may concern others."""
        settings = self.settings(evening_of or date)
        self.zone = self.zone or Landing(self.landing)
        validate.run(settings, self.zone)
        self.counts.validated += 1
        if ledger.standing(ledger.entries(settings.ledger_path)):
            tca.run_as_of(settings, self.landing, date)
            self.counts.priced += 1

    def _land_again(self, old: str, today: str) -> None:
        """Its producer corrects a fee; the evening's run judges and prices that date again."""
        (path,) = (self.landing / "child_fills" / f"date={old}").glob("*.parquet")
        rows = pq.read_table(path)
        fees = [fee + (i == 0) for i, fee in enumerate(rows["fee"].to_pylist())]
        place = rows.schema.get_field_index("fee")
        rows = rows.set_column(place, rows.schema.field(place), [fees])
        pq.write_table(rows, path)
        self._daily(old, today)
        self.counts.relandings += 1

    def _weekly(self, date: str) -> None:
        settings, now = self.settings(date), evening(date)
        if ledger.standing(ledger.entries(settings.ledger_path)):
            found = drift.run(settings, self.landing, date)
            verdict.announce(settings, found, who="ann", now=now)
            self.counts.drifts += 1
        self.counts.collected_files += collect.run(settings, now, dry_run=False).files

    def _monthly(self, date: str, number: int) -> None:
        settings, now = self.settings(date), evening(date) + timedelta(hours=1)
        made = refit.run(settings, self.landing, date, now=now)
        self.counts.refits += 1
        try:
            promotion.promote(settings, made.release, who="ann", now=now)
        except GateRefused:
            self.counts.overrides += 1
            promotion.promote(
                settings, made.release, override=True, reason="a year in small", approver="bob",
                who="ann", now=now,
            )  # fmt: skip
        self.counts.promotions += 1
        if number == 2 * self.month:
            promotion.demote(
                settings, DEMOTED, RUNG, reason="drill", who="ann", now=now + timedelta(minutes=1)
            )
            self.counts.demotions += 1

    def _read(self, number: int) -> Reading:
        sizes = {part: size_mb(self.home / part) for part in PARTS}
        rss = psutil.Process().memory_info().rss / 1e6
        return Reading(number, rss, time.perf_counter() - self.start, sizes)


@dataclass(frozen=True)
class Ending:
    """What is true at the end of the year."""

    ledger_lines: int
    ledger_ok: bool
    audit_entries: int
    landed_rows: int
    lost_rows: int
    dates: int
    dates_changed: list[str]
    marts_changed: list[str]


def ending(year: Year, dates: tuple[str, ...]) -> Ending:
    """Verify the ledgers, count rows, and do every date again."""
    settings = year.settings(dates[-1])
    warehouse = Warehouse(settings)
    book = ledger.verify(settings.ledger_path)
    landed = lost = 0
    for date in dates:
        for manifest in getattr(warehouse.day(date), "partitions", ()):
            if manifest.layer == "accepted":
                rows = manifest.extra["rows"]
                landed += rows["landed"]
                lost += rows["landed"] - rows["accepted"] - rows["quarantined"]
    before = {date: state(warehouse, date) for date in dates}
    changed = again(year, warehouse, dates, before)
    return Ending(
        book.lines, book.ok, len(Ledger.of(settings).all_files()), landed, lost, len(dates),
        [d for d, (days, _) in changed.items() if days], [d for d, (_, m) in changed.items() if m],
    )  # fmt: skip


def again(
    year: Year,
    warehouse: Warehouse,
    dates: tuple[str, ...],
    before: dict[str, tuple[str, dict[str, str]]],
) -> dict[str, tuple[bool, bool]]:
    """Every date validated and priced again in a home without derived partitions of it."""
    changed = {}
    for date in dates:
        for table in tca.MARTS:  # made anew, not found current
            (warehouse.folder("marts", table, date) / "_manifest.json").unlink(missing_ok=True)
        validate.run(year.settings(dates[-1]), Landing(year.landing), [date])
        if before[date][1]:
            tca.run_as_of(year.settings(dates[-1]), year.landing, date)
        now = state(warehouse, date)
        changed[date] = (now[0] != before[date][0], now[1] != before[date][1])
    return changed


def state(warehouse: Warehouse, date: str) -> tuple[str, dict[str, str]]:
    """Digest of what is live of a date, and of each of its marts."""
    day = warehouse.day(date)
    marts = {t: m for t in tca.MARTS if (m := warehouse.manifest("marts", t, date)) is not None}
    return day.digest if day else "", {table: m.sha256 for table, m in marts.items()}


def evening(date: str) -> datetime:
    return datetime.fromisoformat(date).replace(hour=22, minute=30, tzinfo=UTC)


def size_mb(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def table(readings: list[Reading]) -> str:
    head = "| dates | RSS MB | seconds | " + " | ".join(f"{part} MB" for part in PARTS) + " |"
    rows = [
        f"| {r.dates} | {r.rss_mb:.0f} | {r.seconds:.0f} | "
        + " | ".join(f"{r.parts[part]:.2f}" for part in PARTS) + " |"
        for r in readings
    ]  # fmt: skip
    return "\n".join([head, "|" + " ---: |" * (3 + len(PARTS)), *rows])


def main(say: Callable[[str], object] = print) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--symbols", type=int, default=4)
    parser.add_argument("--days", type=int, default=252)
    parser.add_argument("--month", type=int, default=21, help="dates from refit to refit")
    parser.add_argument("--reland", type=int, default=15, help="dates from one to the next")
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    spec = DeskSpec(
        symbols=given.symbols, days=given.days, seed=given.seed, snapshot_s=30,
        first_date="2025-01-02", half_life_min=DEMO_HALF_LIFE_MIN, permanent=DEMO_PERMANENT,
    )  # fmt: skip
    root = Path(tempfile.mkdtemp(prefix="crossimpact-year-"))
    try:
        year = Year(root, spec, given.month, given.reland)
        year.live_through(spec.dates)
        end = ending(year, spec.dates)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    say(table(year.readings))
    say("\n" + json.dumps({**asdict(year.counts), **asdict(replace(end))}, indent=1))
    good = end.ledger_ok and not end.lost_rows and not end.dates_changed and not end.marts_changed
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
