"""Judging again what changed rules concern: what it would release and refuse, then doing it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import duckdb

from pipelines import validate
from pipelines.audit import rules
from pipelines.audit.history import Row, asked
from pipelines.audit.ledger import Ledger
from pipelines.store import scratch
from pipelines.store.landing import Landing
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse, quoted, readable


@dataclass(frozen=True)
class Replay:
    """What judging again changes.

    Attributes
    ----------
    dry_run
        Nothing was changed.
    dates
        Those that are judged again, for other rules, other files or other waivers.
    changed_rules
        Rules that say something else than when the dates were judged, new and gone ones included;
        `judge` where it is the code that asks them.
    rows
        By table and rule: broken before and after, released, newly refused.
    problems
        Why dates would be blocked.
    """

    dry_run: bool
    dates: list[str]
    changed_rules: list[str]
    rows: list[Row]
    problems: list[Row]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def run(settings: Settings, landing_root: Path, *, dry_run: bool) -> Replay:
    """Judge again the landed dates whose verdict is outdated; in a scratch home on a dry run."""
    landing = Landing(landing_root)
    landed = {*landing.all_dates()}
    dates = [d for d in validate.outdated(settings, landing) if d in landed]
    before = _last_judged(settings, dates)
    changed = sorted({rule for date in dates for rule in _changed(settings, date)})
    if not dry_run:
        return _judged(settings, settings, landing, dates, changed, before, dry_run)
    with scratch.folder(settings.home) as place:
        elsewhere = replace(settings, home=place)
        return _judged(settings, elsewhere, landing, dates, changed, before, dry_run)


def _judged(
    settings: Settings,
    home: Settings,
    landing: Landing,
    dates: list[str],
    changed: list[str],
    before: list[Path],
    dry_run: bool,
) -> Replay:
    reports = validate.validate_dates(home, landing, dates, waived_by=settings)
    problems = [asdict(problem) for report in reports for problem in report.problems]
    blocked = {report.date for report in reports if report.problems}
    after = _last_judged(home, [date for date in dates if date not in blocked])
    kept = [path for path in before if path.parent.name.removeprefix("date=") not in blocked]
    with Warehouse(settings).connect() as connection:
        for name, files in (("before", kept), ("after", after)):
            _broken(connection, name, files)
        return Replay(dry_run, dates, changed, asked(connection, "changed"), problems)


def _changed(settings: Settings, date: str) -> list[str]:
    """Rules that differ from those of the date's last verdict."""
    entries = [e for e in Ledger.of(settings).entries(date) if e["kind"] == "judged"]
    if not entries:
        return []
    said = {rule["rule"]: rule["digest"] for rule in entries[-1]["rules"]}
    now = rules.digests()
    names = [name for name in {*said, *now} if said.get(name) != now.get(name)]
    return names + ["judge"] * (entries[-1]["judge"] != rules.judge())


def _last_judged(settings: Settings, dates: list[str]) -> list[Path]:
    """The file of each date's last entry that judged rows."""
    ledger = Ledger.of(settings)
    files = []
    for date in dates:
        pairs = zip(ledger.files(date), ledger.entries(date), strict=True)
        files += [path for path, e in pairs if e["kind"] in ("judged", "found")][-1:]
    return files


def _broken(connection: duckdb.DuckDBPyConnection, name: str, files: list[Path]) -> None:
    """`broken_<name>` of entries; none give none."""
    listed = ", ".join(f"'{quoted(readable(path))}'" for path in files)
    source = f"read_parquet([{listed}], hive_partitioning = false)" if files else NONE
    connection.execute(
        f"CREATE TABLE broken_{name} AS"
        f" SELECT date, unnest(violations, recursive := true) FROM {source}"
    )


NONE = (
    "(SELECT '' AS date, [{'table': '', 'rule': '', 'key': '', 'file': '', 'row': 0::BIGINT}]"
    " AS violations WHERE false)"
)
