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
from functools import partial
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
from pipelines.date_report import DateReport, TableReport
from pipelines.engine import LOCAL, Engine, ahead
from pipelines.findings import Finding
from pipelines.limits import excess_rows
from pipelines.split import IN_PLACE, Judgement
from pipelines.store import layout, stale
from pipelines.store.landing import Landing, Problem
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse

#: Judged in one go at most: bytes that are read into memory (compressed, so several times that),
#: and dates, which become visible when all of them are judged.
CHUNK_BYTES = 100_000_000
CHUNK_DATES = 50
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
    the landing zone holds that nobody reads, `findings` are those of no single row, with their
    dates. `stale` tells of dates whose live rows are older than what is landed: those asked for,
    and any that the landing no longer has.
    """

    tables: Mapping[str, Mapping[str, int]]
    rules: Mapping[str, Mapping[str, int]]
    dates: tuple[str, ...]
    problems: tuple[Problem, ...]
    cascades: Mapping[str, int] = field(default_factory=dict)
    unread: tuple[str, ...] = ()
    findings: tuple[tuple[str, Finding], ...] = ()
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
            "findings": [{"date": date, **found.to_dict()} for date, found in self.findings],
            "stale": list(self.stale),
            "waived": [str(waiver) for waiver in self.waivers.active],
            "expired_waivers": [str(waiver) for waiver in self.waivers.expired],
        }


def run(
    settings: Settings,
    landing: Landing,
    dates: Iterable[str] | None = None,
    engine: Engine = LOCAL,
) -> Result:
    """Validate `dates` (all landed ones by default) and give the verdict over them."""
    asked = landing.all_dates() if dates is None else sorted({*dates})
    ahead(engine, partial(validate_dates, settings, landing), asked)
    return verdict(settings, landing, asked)


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
    warehouse, reports = Warehouse(settings), validate_dates(settings, landing, dates)
    tables = _added({n: t.rows for n, t in report.tables.items()} for report in reports)
    rules = _added(report.rules for report in reports)
    cascades = _summed(report.cascades for report in reports)
    broken = [problem for report in reports for problem in report.problems]
    excess = [problem for report in reports for problem in excess_rows(report, warehouse)]
    result = Result(
        tables,
        rules,
        dates,
        (*broken, *excess),
        cascades,
        tuple(landing.unread()),
        tuple((report.date, finding) for report in reports for finding in report.findings),
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
    broken = [problem for report in reports for problem in report.problems]
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
) -> list[DateReport]:
    """Judge dates and publish each one's accepted, quarantine and violations partitions.

    Parameters
    ----------
    waived_by
        The home whose waivers count, where it is not `settings`' own.

    Returns
    -------
    list of DateReport
        Per date, in the order given; with problems nothing of the date is published. Unchanged
        files and rules are answered from the manifests. Many dates in one call cost little more
        than one: GX's price is per rule.
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


@dataclass(frozen=True)
class Inputs:
    """What a verdict on a date depends on: its tables, digests by name, and its files."""

    tables: tuple[str, ...]
    digests: Mapping[str, str]
    files: tuple[LandedFile, ...]


def _known(
    warehouse: Warehouse, landing: Landing, date: str, waivers: Waivers
) -> DateReport | None:
    """The date's report as its manifest tells it; None when it is absent or outdated."""
    day = warehouse.day(date)
    if day is None or any(partitions.strangers(landing, date)):
        return None
    wanted = _inputs(landing, date, waivers)
    if day.tables != wanted.tables or any(
        manifest.inputs != wanted.digests for manifest in day.partitions
    ):
        return None
    if stale.find(warehouse, date):  # it is landed again as it was
        stale.clear(warehouse, date)
    accepted = {m.table: m for m in day.partitions if m.layer == "accepted"}
    return DateReport(date, {name: TableReport.of(accepted[name].extra) for name in day.tables})


def _judge(
    warehouse: Warehouse, landing: Landing, dates: list[str], waivers: Waivers
) -> dict[str, DateReport]:
    reports, sound = {}, {}
    record = Recorder(warehouse, landing, waivers)
    with warehouse.connect() as connection:
        judgement = Judgement(connection, landing, warehouse)
        for date in each("read", dates):
            inputs = _inputs(landing, date, waivers)  # later files are news
            problems = judgement.load(inputs.tables, date, partitions.absent(landing, date))
            if problems:
                record.block(date, inputs.files, problems)
                reports[date] = DateReport(date, problems=tuple(problems))
            else:
                judgement.waive(date, waivers.of(inputs.tables, date))
                sound[date] = inputs
        if sound:
            tell("validate", f"row rules of {len(sound)} dates")
            judgement.judge_tables()
        for date in each("validate", sound):
            known = _known(warehouse, landing, date, waivers)  # another process may have judged it
            reports[date] = known or _publish(judgement, record, date, sound[date])  # meanwhile
    return reports


def _publish(judgement: Judgement, record: Recorder, date: str, inputs: Inputs) -> DateReport:
    """Make a judged date live."""
    judgement.judge_day(date)
    report = DateReport(date, {name: judgement.report(name) for name in inputs.tables})
    draft = record.warehouse.draft(date)
    for name, table in report.tables.items():
        judgement.publish(draft, name, inputs.digests, table)
    record.show(draft, inputs.files, report)
    return report


def _inputs(landing: Landing, date: str, waivers: Waivers) -> Inputs:
    tables = tuple(partitions.tables_of(landing, date))
    files = {name: landed(landing, name, date) for name in tables}
    digests = {f"landing/{name}": digest(files[name]) for name in tables}
    digests["earlier"] = earlier.digest(landing, date)
    if waived := waivers.of(tables, date):
        digests["waivers"] = "; ".join(map(str, waived))
    every = tuple(file for name in tables for file in files[name])
    return Inputs(tables, digests | rule_inputs(), every)


def _chunks(landing: Landing, dates: list[str]) -> Iterator[list[str]]:
    """Runs of dates of bounded size, one date at least."""
    chunk: list[str] = []
    size = 0
    for date in dates:
        landed = _read_at_once(landing, date)
        if chunk and (size + landed > CHUNK_BYTES or len(chunk) == CHUNK_DATES):
            yield chunk
            chunk, size = [], 0
        chunk.append(date)
        size += landed
    if chunk:
        yield chunk


def _read_at_once(landing: Landing, date: str) -> int:
    """Bytes of a date's files that are not read in place."""
    files = ((name, path) for name in contract.TABLES for path in landing.files(name, date))
    return sum(p.stat().st_size for name, p in files if p.suffix == ".csv" or name not in IN_PLACE)


_HINT = "mend them and rerun; a date with a broken table publishes nothing"


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
