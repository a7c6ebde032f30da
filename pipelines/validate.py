"""Contract validation of a landing zone: every landed row is accepted or quarantined, by date.

A date is judged as a whole in memory and only then published, all its tables by one rename. A
broken table publishes nothing: what an earlier landing of that date had published stays live,
marked stale, and readers are told. The verdict is in the ledger of audits before anything changes.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from crossimpact import contract
from crossimpact.errors import ContractViolation
from crossimpact.progress import each, tell
from crossimpact.waiver import NO_WAIVERS, Waivers
from pipelines import earlier, partitions
from pipelines.audit import zone
from pipelines.audit.landed import LandedFile, digest, landed
from pipelines.audit.record import Recorder
from pipelines.audit.rules import inputs as rule_inputs
from pipelines.audit.waivers import load as waivers_of
from pipelines.limits import excess_rows
from pipelines.split import Judgement
from pipelines.store import layout, stale
from pipelines.store.landing import Landing, Problem
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse

#: Landed bytes judged in one go: compressed, so several times that in memory.
CHUNK_BYTES = 100_000_000
NO_PEER_FLOW = "peer_flow is not landed: models have no controls for what others traded"


class LandingBlocked(ContractViolation):
    """A landing that may not feed a fit; `report` is the verdict's `to_dict()`."""

    def __init__(self, what: str, hint: str = "", report: Mapping[str, Any] | None = None) -> None:
        super().__init__(what, hint)
        self.report = dict(report or {})


@dataclass(frozen=True)
class Result:
    """Verdict over dates: rows per table, broken rules per table, problems that block.

    `cascades` counts quarantined rows that are sound but for another's fault, `unread` names what
    the landing zone holds that nobody reads, `findings` are those of no single row. `stale` tells
    of dates whose live rows are older than what is landed: those asked for, and any that the
    landing no longer has.
    """

    tables: Mapping[str, Mapping[str, int]]
    rules: Mapping[str, Mapping[str, int]]
    dates: tuple[str, ...]
    problems: tuple[Problem, ...]
    cascades: Mapping[str, int] = field(default_factory=dict)
    unread: tuple[str, ...] = ()
    findings: tuple[Mapping[str, Any], ...] = ()
    stale: tuple[str, ...] = ()
    waivers: Waivers = NO_WAIVERS

    @property
    def notes(self) -> tuple[str, ...]:
        """What a fit on these dates does without."""
        absent = self.tables and contract.PEER_FLOW.name not in self.tables
        return (NO_PEER_FLOW,) if absent else ()

    @property
    def verdict(self) -> str:
        return "blocked" if self.problems else "ok"

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as printed by the command line."""
        return {
            "verdict": self.verdict,
            "tables": {name: dict(rows) for name, rows in self.tables.items()},
            "rules": {name: dict(counts) for name, counts in self.rules.items()},
            "dates": list(self.dates),
            "problems": [asdict(problem) for problem in self.problems],
            "notes": list(self.notes),
            "cascades": dict(self.cascades),
            "unread": list(self.unread),
            "findings": [dict(finding) for finding in self.findings],
            "stale": list(self.stale),
            "waived": [str(waiver) for waiver in self.waivers.active],
            "expired_waivers": [str(waiver) for waiver in self.waivers.expired],
        }


def run(settings: Settings, landing: Landing, dates: Iterable[str] | None = None) -> Result:
    """Validate `dates` (all landed ones by default) and give the verdict over them."""
    return verdict(settings, landing, landing.all_dates() if dates is None else dates)


def verdict(settings: Settings, landing: Landing, dates: Iterable[str]) -> Result:
    """Rows and rules over `dates`, validating what is new.

    Raises
    ------
    UsageError
        No date at all: nothing is landed there that could break the contract.
    LandingBlocked
        A broken table on any date, or more duplicate keys or faulty rows on any than its limits
        allow: each date is judged by itself. Its `report` holds the same data as the result.
    """
    dates = tuple(sorted(set(dates)))
    if not dates:
        raise layout.empty(landing.root)
    reports = validate_dates(settings, landing, dates)
    tables = _added(report["tables"] for report in reports)
    rules = _added(report["rules"] for report in reports)
    cascades = _summed(report["cascades"] for report in reports)
    broken = [Problem(**problem) for report in reports for problem in report["problems"]]
    excess = [problem for report in reports for problem in excess_rows(report)]
    result = Result(
        tables,
        rules,
        dates,
        (*broken, *excess),
        cascades,
        tuple(landing.unread()),
        tuple({"date": r["date"], **f} for r in reports for f in r["findings"]),
        _stale(settings, landing, dates),
        waivers_of(settings, landing.root),
    )
    if result.problems:
        raise LandingBlocked(_summary(result.problems), _HINT, result.to_dict())
    return result


def accept(settings: Settings, landing: Landing, dates: Iterable[str]) -> tuple[str, ...]:
    """Publish the dates' accepted rows for a reader of single dates (TCA, drift).

    The contract's shares block a refit; who reads accepted rows is stopped by broken tables only,
    and by those only where no earlier landing of the date is live.

    Returns
    -------
    tuple of str
        What to tell beside any number: a sentence for each date whose live rows are stale.

    Raises
    ------
    LandingBlocked
        Naming every broken table of the dates of which nothing is live.
    """
    warehouse, dates = Warehouse(settings), list(dates)
    reports = validate_dates(settings, landing, dates)
    broken = [Problem(**problem) for report in reports for problem in report["problems"]]
    lost = [problem for problem in broken if warehouse.day(problem.date) is None]
    if lost:
        raise LandingBlocked(_summary(lost), _HINT, {"problems": [asdict(p) for p in lost]})
    return tuple(stale.notes(warehouse, dates))


def _stale(settings: Settings, landing: Landing, dates: Iterable[str]) -> tuple[str, ...]:
    """What to tell of stale dates; one that left the landing is entered in the ledger."""
    warehouse = Warehouse(settings)
    gone = sorted({*warehouse.judged_dates()} - {*landing.all_dates()})
    if gone and os.access(settings.home, os.W_OK):
        zone.check(warehouse, landing)
        for date in gone:
            Recorder(warehouse, landing).remove(date)
    return tuple(stale.notes(warehouse, sorted({*dates, *gone})))


def outdated(settings: Settings, landing: Landing) -> list[str]:
    """Landed dates that the next validation would judge: new, landed again, or by other rules."""
    warehouse, waivers = Warehouse(settings), waivers_of(settings, landing.root)
    dates = landing.all_dates()
    return [date for date in dates if _known(warehouse, landing, date, waivers) is None]


def validate_dates(
    settings: Settings,
    landing: Landing,
    dates: Iterable[str],
    *,
    waived_by: Settings | None = None,
) -> list[dict[str, Any]]:
    """Judge dates and publish each one's accepted, quarantine and violations partitions.

    Parameters
    ----------
    waived_by
        The home whose waivers count, where it is not `settings`' own.

    Returns
    -------
    list of dict
        Per date, in the order given: `date`, `tables` (landed, accepted, quarantined rows), `rules`
        (rows per broken rule) and `problems`; with problems nothing of the date is published and
        its counts are empty. Unchanged files and rules are answered from the manifests. Many dates
        in one call cost little more than one: GX's price is per rule.
    """
    dates = list(dates)
    warehouse = Warehouse(settings)
    waivers = waivers_of(waived_by or settings, landing.root)
    reports = {date: _known(warehouse, landing, date, waivers) for date in dates}
    new = [date for date, report in reports.items() if report is None]
    if new:
        zone.check(warehouse, landing)
        warehouse.sweep()
    for chunk in _chunks(landing, new):
        reports |= _judge(warehouse, landing, chunk, waivers)
    return [report for date in dates if (report := reports[date]) is not None]


def _known(
    warehouse: Warehouse, landing: Landing, date: str, waivers: Waivers
) -> dict[str, Any] | None:
    """The date's report as its manifest tells it; None when it is absent or outdated."""
    if any(partitions.strangers(landing, date)):
        return None
    tables, inputs, _ = _inputs(landing, date, waivers)
    day = warehouse.day(date)
    if day is None or [*day.tables] != tables:
        return None
    if any(manifest.inputs != inputs for manifest in day.partitions):
        return None
    if stale.find(warehouse, date):  # it is landed again as it was
        stale.clear(warehouse, date)
    accepted = (m for m in day.partitions if m.layer == "accepted")
    counts = {m.table: m.extra for m in sorted(accepted, key=lambda m: tables.index(m.table))}
    return _report(date, counts, [])


def _judge(
    warehouse: Warehouse, landing: Landing, dates: list[str], waivers: Waivers
) -> dict[str, dict[str, Any]]:
    reports = {}
    sound = {}
    record = Recorder(warehouse, landing, waivers)
    with warehouse.connect() as connection:
        judgement = Judgement(connection, warehouse)
        for date in each("read", dates):
            tables, inputs, files = _inputs(landing, date, waivers)  # later ones are news
            problems = judgement.load(landing, tables, date, partitions.absent(landing, date))
            if problems:
                record.block(date, files, problems)
                reports[date] = _report(date, {}, problems)
            else:
                judgement.waive(date, waivers.of(tables, date))
                sound[date] = (tables, inputs, files)
        if sound:
            tell("validate", f"row rules of {len(sound)} dates")
            judgement.judge_tables()
        for date in each("validate", sound):
            tables, inputs, files = sound[date]
            if known := _known(warehouse, landing, date, waivers):  # another process judged it
                reports[date] = known  # meanwhile, and somebody may read what it published
                continue
            judgement.judge_day(date)
            counts = {name: judgement.counts(name) for name in tables}
            draft = warehouse.draft(date)
            for name in tables:
                judgement.publish(draft, name, date, inputs, counts[name])
            reports[date] = _report(date, counts, [])
            record.show(draft, files, reports[date])
    return reports


def _inputs(
    landing: Landing, date: str, waivers: Waivers
) -> tuple[list[str], dict[str, str], tuple[LandedFile, ...]]:
    """Tables of a date, the digests its verdict depends on, and its files."""
    tables = partitions.tables_of(landing, date)
    files = {name: landed(landing, name, date) for name in tables}
    digests = {f"landing/{name}": digest(files[name]) for name in tables}
    digests["earlier"] = earlier.digest(landing, date)
    every = tuple(file for name in tables for file in files[name])
    if waived := waivers.of(tables, date):
        digests["waivers"] = "; ".join(map(str, waived))
    return tables, digests | rule_inputs(), every


def _chunks(landing: Landing, dates: list[str]) -> Iterator[list[str]]:
    """Runs of dates of bounded size, one date at least."""
    chunk: list[str] = []
    size = 0
    for date in dates:
        files = (path for name in contract.TABLES for path in landing.files(name, date))
        landed = sum(path.stat().st_size for path in files)
        if chunk and size + landed > CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
        chunk.append(date)
        size += landed
    if chunk:
        yield chunk


_HINT = "mend them and rerun; a date with a broken table publishes nothing"


def _report(
    date: str, counts: Mapping[str, Mapping[str, Any]], problems: list[Problem]
) -> dict[str, Any]:
    return {
        "date": date,
        "tables": {name: dict(count["rows"]) for name, count in counts.items()},
        "rules": {name: dict(count["rules"]) for name, count in counts.items() if count["rules"]},
        "cascades": {
            name: count["cascades"] for name, count in counts.items() if count["cascades"]
        },
        "problems": [asdict(problem) for problem in problems],
        "findings": [finding for count in counts.values() for finding in count["findings"]],
    }


def _added(reports: Iterable[Mapping[str, Mapping[str, int]]]) -> dict[str, dict[str, int]]:
    """Sum of nested counts, in the contract's order of tables."""
    total: dict[str, dict[str, int]] = {}
    for report in reports:
        for table, counts in report.items():
            row = total.setdefault(table, {})
            for name, count in counts.items():
                row[name] = row.get(name, 0) + count
    return {name: total[name] for name in contract.TABLES if name in total}


def _summed(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    return dict(sum((Counter(count) for count in counts), Counter()))


def _summary(problems: Iterable[Problem]) -> str:
    """One line: the same problem on several dates is told once."""
    alike: dict[tuple[str, str, str], list[Problem]] = {}
    for problem in problems:
        alike.setdefault((problem.table, problem.column, problem.rule), []).append(problem)
    parts = [
        str(same[0]) + (f" (and {len(same) - 1} more)" if len(same) > 1 else "")
        for same in alike.values()
    ]
    return "contract broken: " + "; ".join(parts)
