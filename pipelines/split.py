"""Landed rows of dates, the rules they break, and the three partitions a sound date becomes.

A date is judged by itself, straight off its files: one mask a table for the rules of a row, one
tape for the books, a query for each rule across tables. Rules across tables see what was *landed*,
so that one broken row does not condemn its neighbours; what hangs on a refused row is told apart as
a cascade. GX then judges the counts of all dates at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

import duckdb

from crossimpact import contract
from crossimpact.errors import CrossImpactError
from crossimpact.progress import each
from crossimpact.waiver import Waiver
from pipelines import layers
from pipelines.books import Books
from pipelines.date_report import TableReport
from pipelines.earlier import Earlier, dates_before
from pipelines.findings import Finding, findings
from pipelines.profile import Profile, Profiles, profile
from pipelines.rule_counts import judge_counts
from pipelines.session import Sessions
from pipelines.store.landed import Reading, attach, unreadable
from pipelines.store.landing import Landing, Problem
from pipelines.store.warehouse import Draft, Warehouse, scalar, sql
from pipelines.tape import Tape
from pipelines.trading_day import TradingDay
from pipelines.violations import Counts, Violations
from pipelines.waiving import told, waive

LAYERS = ("accepted", "quarantine", "violations")
#: Tables read in place; the others are small and read often.
IN_PLACE = ("market_snapshots", "public_trades")


class Judgement:
    """Everything known about the dates read so far, in one private DuckDB connection.

    Each date has a schema of its own, with a relation per table; it is dropped when published.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        landing: Landing,
        warehouse: Warehouse | None = None,
    ) -> None:
        self.connection, self._landing = connection, landing
        self._violations = Violations(connection)
        self._sessions = Sessions(connection, landing)
        self._profiles = Profiles(landing, warehouse)
        self._findings: dict[str, list[Finding]] = {}
        self._waivers: dict[str, tuple[Waiver, ...]] = {}
        self._dates: dict[str, TradingDay] = {}
        self._sorted: dict[tuple[str, str], bool] = {}
        self._counts: dict[str, dict[str, Counts]] = {}
        self._notes: list[Problem] = []

    def load(
        self, tables: Iterable[str], date: str, known: Iterable[Problem] = ()
    ) -> list[Problem]:
        """Attach a date's partitions, judge each row by itself; on a problem nothing of it stays.

        All of a date's problems, the `known` ones too, are told at once: a table that is not there
        does not hide the broken columns of another.
        """
        tables, problems = list(tables), list(known)
        readings = self._attach(date)
        for name, reading in readings.items():
            problems += reading.problems if name in tables else ()
            self._notes += reading.notes
        broken = {problem.table for problem in problems}
        problems += self._empty([name for name in tables if name not in broken], tables, date)
        problems = problems or self._judge_rows(date)
        if problems:
            self._forget(date)
        return problems

    def _attach(self, date: str) -> dict[str, Reading]:
        """The date's tables, in a schema of its own that is the current one from now on."""
        self.connection.execute(f'CREATE OR REPLACE SCHEMA "{date}"')
        self.judge_day(date)
        return {
            table.name: attach(
                self.connection, self._landing, table, date, eager=table.name not in IN_PLACE
            )
            for table in contract.TABLES.values()
        }

    def _empty(self, sound: list[str], tables: list[str], date: str) -> list[Problem]:
        """Empty partitions that may not be: eventful ones may, the desk's on a day without any."""
        rows = {name: self._count(name) for name in sound}
        desk = [name for name in tables if name in contract.DESK_TABLES]
        idle = not any(rows.get(name, 1) for name in desk)
        return [
            Problem(name, date, "", contract.ROW_COUNT, "the partition holds no rows")
            for name in sound
            if not rows[name]
            and not contract.TABLES[name].eventful
            and not (idle and name in contract.DESK_TABLES)
        ] + [problem for name in sound for problem in self._short(name, date, rows[name])]

    def _short(self, name: str, date: str, rows: int) -> list[Problem]:
        promised = self._landing.promised_rows(name, date)
        if promised is None or promised == rows:
            return []
        text = f"{rows} rows landed, its producer's manifest promises {promised}"
        return [Problem(name, date, "", contract.MANIFEST, text)]

    def _judge_rows(self, date: str) -> list[Problem]:
        """Note every rule that a row breaks by itself; files that turn out unreadable, if any."""
        day = self._dates[date] = self._sessions.of(date)
        self._open(day)
        for table in contract.TABLES.values():
            try:
                self._violations.note_row_rules(table)
            except duckdb.Error as error:
                return unreadable(self.connection, self._landing, table, date, error)
        return []

    def waive(self, date: str, waivers: Iterable[Waiver]) -> None:
        """Name the waivers that count on a loaded date, before it is judged across its tables."""
        self._waivers[date] = tuple(waivers)

    def judge_tables(self) -> None:
        """Judge the loaded dates across their rows and tables, and let GX judge the counts."""
        if not self._dates:
            return
        earlier = Earlier(self.connection, self._landing)
        for date, day in each("rules across tables", self._dates.items()):
            self.judge_day(date)
            earlier.attach(date)
            tape = self._judge_across(date, day, earlier)
            if self._profiles.find(date) is None:
                self._profiles.keep(self.connection, date, profile(self.connection, tape, date))
        for date, day in self._dates.items():
            self._findings[date] = self._find(date, day)
        judge_counts(self.connection, list(self._dates))

    def _find(self, date: str, day: TradingDay) -> list[Finding]:
        """What the date's feed did, beside the month before it."""
        before = dates_before(self._landing, date, contract.TRAILING_DATES)
        known = [(d, p) for d in before if (p := self._profile(d)) is not None]
        own = self._profiles.find(date)
        if own is None:
            return []
        found = findings(date, own, [p for _, p in known], day, [d for d, _ in known])
        return told(found, self._waivers.get(date, ()))

    def _profile(self, date: str) -> Profile | None:
        """A landed date's profile, made if need be; a date that cannot be read has none."""
        if (found := self._profiles.find(date)) is not None:
            return found
        try:
            if any(reading.problems for reading in self._attach(date).values()):
                return None
            day = self._sessions.of(date)
            self._open(day)
            tape = Books(self.connection, self._landing, date, day).tape
            self._profiles.keep(self.connection, date, profile(self.connection, tape, date))
        except duckdb.Error:  # it does not read to its end, and blocks its own date
            return None
        finally:
            self._drop(date)
        return self._profiles.find(date)

    def judge_day(self, date: str) -> None:
        """Make `date` the current day, whose counts and partitions are asked for next."""
        self._date = date
        self.connection.execute("SET VARIABLE day = CAST($date AS DATE)", {"date": date})
        self.connection.execute(f"SET search_path = '\"{date}\",main'")

    def _judge_across(self, date: str, day: TradingDay, earlier: Earlier) -> Tape:
        self._open(day)
        books = Books(self.connection, self._landing, date, day)
        self._sorted[date, contract.MARKET_SNAPSHOTS.name] = books.is_sorted
        for table in contract.TABLES.values():
            if table.name != contract.MARKET_SNAPSHOTS.name:
                self._violations.note_duplicates(table, earlier)
        for rule, (files, rows) in books.offenders.items():
            self._violations.note_rows(contract.MARKET_SNAPSHOTS.name, rule, files, rows)
        self.connection.execute(sql("validate/orders"))
        waivers = self._waivers.get(date, ())
        waive(self.connection, waivers)
        books.price()
        for cross in contract.CROSS_RULES:  # each sees what those before it condemned
            hangs = not cross.cascade or self._violations.any_refused()
            if cross.id not in books.offenders and hangs:
                self._violations.note_rule(cross)
                waive(self.connection, waivers, cross.id)
        self.connection.execute(sql("validate/busts_are_no_fills"))
        return books.tape

    def report(self, name: str) -> TableReport:
        """Rows and rules of a table of the current day, and its findings."""
        landed = self._count(name)
        if self._date not in self._counts:
            self._counts[self._date] = self._violations.counted()
        found = self._counts[self._date].get(name, Counts())
        notes = [f for f in self._findings.get(self._date, ()) if f.table == name]
        notes += [
            Finding(note.rule, name, "note", str(note))
            for note in self._notes
            if (note.table, note.date) == (name, self._date)
        ]
        return TableReport(
            landed,
            landed - found.quarantined,
            found.quarantined,
            found.rules,
            found.quarantined - found.faults,
            tuple(notes),
        )

    def publish(
        self,
        draft: Draft,
        name: str,
        inputs: Mapping[str, str],
        report: TableReport,
    ) -> None:
        """Publish a table's three partitions of the current day.

        Raises
        ------
        CrossImpactError
            When the rows written are not those counted: the files changed meanwhile.
        """
        table, date, rows = contract.TABLES[name], draft.date, report.rows
        in_order = self._sorted.get((date, name), table.eventful)
        queries = [layers.accepted(table, in_order), layers.NO_QUARANTINE, layers.NO_VIOLATIONS]
        if report.rules:
            self.connection.execute(layers.hits(name))
            broken = (layers.quarantined(table), layers.violations(table))
            queries = [layers.accepted(table, in_order), *broken]
        for layer, query in zip(LAYERS, queries, strict=True):
            done = draft.publish(
                self.connection, query, layer, name, date, inputs=inputs, extra=report.to_dict()
            )
            if layer in rows and done.rows != rows[layer]:
                raise CrossImpactError(
                    f"{name} on {date}: {done.rows} rows {layer}, {rows[layer]} counted",
                    "the landing changed while it was read; rerun",
                )

    def _forget(self, date: str) -> None:
        self._dates.pop(date, None)
        self._drop(date)
        self._violations.forget(date)

    def _drop(self, date: str) -> None:
        self.connection.execute(f"SET search_path = 'main'; DROP SCHEMA \"{date}\" CASCADE")

    def _open(self, day: TradingDay) -> None:
        """Tell the queries the current day's session."""
        for name, moment in (("session_from", day.start), ("session_to", day.end)):
            self._set(name, moment)

    def _set(self, name: str, moment: datetime) -> None:
        self.connection.execute(
            f"SET VARIABLE {name} = CAST($moment AS TIMESTAMPTZ)", {"moment": moment}
        )

    def _count(self, source: str) -> int:
        return int(scalar(self.connection, f"SELECT count(*) FROM {source}"))
