"""Landed rows of dates, the rules they break, and the three partitions a sound date becomes.

A date is judged by itself, straight off its files: one mask a table for the rules of a row, one
tape for the books, a query for each rule across tables. Rules across tables see what was *landed*,
so that one broken row does not condemn its neighbours; what hangs on a refused row is told apart as
a cascade. GX then judges the counts of all dates at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import duckdb

from crossimpact import contract
from crossimpact.errors import CrossImpactError
from crossimpact.progress import each
from crossimpact.row_checks import row_checks
from crossimpact.waiver import Waiver
from pipelines import layers
from pipelines.books import Books
from pipelines.earlier import Earlier, dates_before
from pipelines.findings import Finding, findings
from pipelines.profile import Profile, Profiles, profile
from pipelines.rule_counts import judge_counts
from pipelines.session import session_of
from pipelines.store.landed import attach, unreadable
from pipelines.store.landing import Landing, Problem
from pipelines.store.warehouse import Warehouse, scalar, sql
from pipelines.tape import Tape
from pipelines.trading_day import TradingDay
from pipelines.waiving import told, waive

LAYERS = ("accepted", "quarantine", "violations")
#: Tables read in place; the others are small and read often.
IN_PLACE = ("market_snapshots", "public_trades")

#: Named parameters the checks may ask for.
PARAMETERS: Mapping[str, float] = {
    "max_snapshot_age_s": contract.MAX_SNAPSHOT_AGE_S,
    "max_fill_distance": contract.MAX_FILL_DISTANCE,
    "max_decision_distance": contract.MAX_DECISION_DISTANCE,
    "max_mark_distance": contract.MAX_MARK_DISTANCE,
    "max_overnight_distance": contract.MAX_OVERNIGHT_DISTANCE,
    "max_print_distance": contract.MAX_PRINT_DISTANCE,
    "max_overfill": contract.MAX_OVERFILL,
    "max_after_end_s": contract.MAX_AFTER_END_S,
    "max_mark_skew_s": contract.MAX_MARK_SKEW_S,
    "multiple_tolerance": contract.MULTIPLE_TOLERANCE,
}


class Judgement:
    """Everything known about the dates read so far, in one private DuckDB connection.

    Each date has a schema of its own, with a relation per table; it is dropped when published.
    """

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, warehouse: Warehouse | None = None
    ) -> None:
        self.connection, self._warehouse = connection, warehouse
        self._findings: dict[str, list[Finding]] = {}
        self._waivers: dict[str, tuple[Waiver, ...]] = {}
        self._dates: dict[str, TradingDay] = {}
        self._sorted: dict[tuple[str, str], bool] = {}
        self._counts: dict[str, dict[str, tuple[int, int, dict[str, int]]]] = {}
        self._notes: list[Problem] = []
        for name in ("found", "broken_rows"):
            connection.execute(sql(f"validate/{name}"))
        _declare(connection)

    def load(
        self, landing: Landing, tables: Iterable[str], date: str, known: Iterable[Problem] = ()
    ) -> list[Problem]:
        """Attach a date's partitions, judge each row by itself; on a problem nothing of it stays.

        All of a date's problems, the `known` ones too, are told at once: a table that is not there
        does not hide the broken columns of another.
        """
        self._landing = landing
        tables, problems = list(tables), list(known)
        self.connection.execute(f'CREATE OR REPLACE SCHEMA "{date}"')
        self.judge_day(date)
        for table in contract.TABLES.values():
            eager = table.name not in IN_PLACE
            reading = attach(self.connection, landing, table, date, eager=eager)
            problems += reading.problems if table.name in tables else ()
            self._notes += reading.notes
        broken = {problem.table for problem in problems}
        problems += self._empty([name for name in tables if name not in broken], tables, date)
        problems = problems or self._judge_rows(date)
        if problems:
            self._forget(date)
        return problems

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
        day = self._dates[date] = session_of(self.connection, self._landing, date)
        for name, moment in (("session_from", day.start), ("session_to", day.end)):
            self._set(name, moment)
        for table in contract.TABLES.values():
            try:
                self._mask(table)
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
        profiles = Profiles(self._landing, self._warehouse)
        for date, day in each("rules across tables", self._dates.items()):
            self.judge_day(date)
            earlier.attach(date)
            tape = self._judge_across(date, day, earlier)
            if profiles.find(date) is None:
                profiles.keep(self.connection, date, profile(self.connection, tape, date))
        for date, day in self._dates.items():
            before = dates_before(self._landing, date, contract.TRAILING_DATES)
            known = [(d, p) for d in before if (p := self._profile(profiles, d)) is not None]
            own = profiles.find(date)
            if own is not None:
                month = [p for _, p in known]
                found = findings(date, own, month, day, [d for d, _ in known])
                self._findings[date] = told(found, self._waivers.get(date, ()))
        judge_counts(self.connection, list(self._dates))

    def _profile(self, profiles: Profiles, date: str) -> Profile | None:
        """A landed date's profile, made if need be; a date that cannot be read has none."""
        if (found := profiles.find(date)) is not None:
            return found
        self.connection.execute(f'CREATE OR REPLACE SCHEMA "{date}"')
        self.judge_day(date)
        try:
            for table in contract.TABLES.values():
                eager = table.name not in IN_PLACE
                if attach(self.connection, self._landing, table, date, eager=eager).problems:
                    return None
            day = session_of(self.connection, self._landing, date)
            self._set("session_from", day.start)
            self._set("session_to", day.end)
            tape = Books(self.connection, self._landing, date, day).tape
            profiles.keep(self.connection, date, profile(self.connection, tape, date))
        except duckdb.Error:  # it does not read to its end, and blocks its own date
            return None
        finally:
            self._drop(date)
        return profiles.find(date)

    def judge_day(self, date: str) -> None:
        """Make `date` the current day, whose counts and partitions are asked for next."""
        self._date = date
        self.connection.execute("SET VARIABLE day = CAST($date AS DATE)", {"date": date})
        self.connection.execute(f"SET search_path = '\"{date}\",main'")

    def _judge_across(self, date: str, day: TradingDay, earlier: Earlier) -> Tape:
        for name, moment in (("session_from", day.start), ("session_to", day.end)):
            self._set(name, moment)
        books = Books(self.connection, self._landing, date, day)
        self._sorted[date, contract.MARKET_SNAPSHOTS.name] = books.is_sorted
        for table in contract.TABLES.values():
            if table.name != contract.MARKET_SNAPSHOTS.name:
                self._note_duplicates(table, earlier)
        for rule, (files, rows) in books.offenders.items():
            self._note_rows(contract.MARKET_SNAPSHOTS.name, rule, files, rows)
        self.connection.execute(sql("validate/orders"))
        waivers = self._waivers.get(date, ())
        waive(self.connection, waivers)
        books.price()
        for cross in contract.CROSS_RULES:  # each sees what those before it condemned
            if cross.id not in books.offenders:
                query = sql(f"checks/{cross.query or cross.id}")
                self._note(cross.table, cross.id, cross.severity, query)
                waive(self.connection, waivers, cross.id)
        self.connection.execute(sql("validate/busts_are_no_fills"))
        return books.tape

    def _mask(self, table: contract.Table) -> None:
        """The rules of a row, all in one pass; only what fails is looked at rule by rule."""
        checks = row_checks(table)
        any_broken = " OR ".join(f"({check.broken})" for check in checks)
        self.connection.execute(
            f"CREATE OR REPLACE TEMP TABLE suspects AS SELECT * FROM {table.name}"
            f" WHERE {any_broken}"
        )
        if not self._count("suspects"):
            return
        each = ", ".join(
            f"CASE WHEN {c.broken} THEN {{'rule': '{c.rule}', 'severity': '{c.severity}'}} END"
            for c in checks
        )
        self.connection.execute(
            "INSERT INTO main.found SELECT $name, getvariable('day'), file, row, hit.rule,"
            f" hit.severity FROM (SELECT file, row, unnest([{each}]) AS hit FROM suspects)"
            " WHERE hit IS NOT NULL",
            {"name": table.name},
        )

    def _note_duplicates(self, table: contract.Table, earlier: Earlier) -> None:
        """Later rows of a key, in file order; of a lasting key those of dates before it, too."""
        if not table.key:
            return
        columns = ", ".join(table.key)
        present = " AND ".join(f"{column} IS NOT NULL" for column in table.key)
        twice = f"row_number() OVER (PARTITION BY {columns} ORDER BY file, row) > 1"
        query = f"SELECT file, row FROM {table.name} WHERE {present} QUALIFY {twice}"
        if table.lasting:
            query += (
                f" UNION SELECT file, row FROM {table.name} SEMI JOIN earlier_keys"
                f" ON {earlier.key(table)} = earlier_keys.key"
                f" AND earlier_keys.table_name = '{table.name}' WHERE {present}"
            )
        self._note(table.name, contract.UNIQUE_KEY, "quarantine", query)

    def counts(self, name: str) -> dict[str, Any]:
        """Rows landed, accepted, quarantined, of these as cascades alone; per rule; findings."""
        landed = self._count(name)
        quarantined, faults, rules = self._counted().get(name, (0, 0, {}))
        rows = {"landed": landed, "accepted": landed - quarantined, "quarantined": quarantined}
        notes = [f.to_dict() for f in self._findings.get(self._date, ()) if f.table == name]
        notes += [
            Finding(note.rule, name, "note", str(note)).to_dict()
            for note in self._notes
            if (note.table, note.date) == (name, self._date)
        ]
        cascades = quarantined - faults
        return {"rows": rows, "rules": rules, "cascades": cascades, "findings": notes}

    def _counted(self) -> dict[str, tuple[int, int, dict[str, int]]]:
        """Per table of the day with anything noted: quarantined rows, faulty ones, rules."""
        if self._date not in self._counts:
            rows = self.connection.execute(sql("validate/row_counts")).fetchall()
            quarantined = {name: numbers for name, *numbers in rows}
            rules: dict[str, dict[str, int]] = {}
            for name, rule, count in self.connection.execute(
                sql("validate/rule_counts")
            ).fetchall():
                rules.setdefault(name, {})[rule] = count
            self._counts[self._date] = {
                name: (*quarantined.get(name, (0, 0)), counts) for name, counts in rules.items()
            }
        return self._counts[self._date]

    def publish(
        self,
        warehouse: Warehouse,
        name: str,
        date: str,
        inputs: Mapping[str, str],
        counts: Mapping[str, Any],
    ) -> None:
        """Publish a table's three partitions of the current day.

        Raises
        ------
        CrossImpactError
            When the rows written are not those counted: the files changed meanwhile.
        """
        table, rows = contract.TABLES[name], counts["rows"]
        in_order = self._sorted.get((date, name), table.eventful)
        queries = [layers.accepted(table, in_order), layers.NO_QUARANTINE, layers.NO_VIOLATIONS]
        if counts["rules"]:
            self.connection.execute(layers.hits(name))
            broken = (layers.quarantined(table), layers.violations(table))
            queries = [layers.accepted(table, in_order), *broken]
        for layer, query in zip(LAYERS, queries, strict=True):
            done = warehouse.publish(
                self.connection, query, layer, name, date, inputs=inputs, extra=counts
            )
            if layer in rows and done.rows != rows[layer]:
                raise CrossImpactError(
                    f"{name} on {date}: {done.rows} rows {layer}, {rows[layer]} counted",
                    "the landing changed while it was read; rerun",
                )

    def _forget(self, date: str) -> None:
        self._dates.pop(date, None)
        self._drop(date)
        self.connection.execute("DELETE FROM main.found WHERE date = CAST($d AS DATE)", {"d": date})

    def _drop(self, date: str) -> None:
        self.connection.execute(f"SET search_path = 'main'; DROP SCHEMA \"{date}\" CASCADE")

    def _set(self, name: str, moment: datetime) -> None:
        self.connection.execute(
            f"SET VARIABLE {name} = CAST($moment AS TIMESTAMPTZ)", {"moment": moment}
        )

    def _count(self, source: str) -> int:
        return int(scalar(self.connection, f"SELECT count(*) FROM {source}"))

    def _note(self, table: str, rule_id: str, severity: str, query: str) -> None:
        """Add the rows of `query` (file, row) to `found` under a rule."""
        wanted = set(re.findall(r"\$(\w+)", query)) & PARAMETERS.keys()
        self.connection.execute(
            "INSERT INTO main.found"
            " SELECT $table_name, getvariable('day'), file, row, $rule_id, $severity"
            f" FROM (SELECT DISTINCT file, row FROM ({query})) AS offenders",
            {"table_name": table, "rule_id": rule_id, "severity": severity}
            | {name: PARAMETERS[name] for name in wanted},
        )

    def _note_rows(self, table: str, rule: str, files: list[str], rows: list[int]) -> None:
        if rows:
            severity = _severity(table, rule)
            self.connection.execute(
                "INSERT INTO main.found SELECT $table, getvariable('day'), unnest($files),"
                " unnest($rows), $rule, $severity",
                {"table": table, "files": files, "rows": rows, "rule": rule, "severity": severity},
            )


def _severity(table: str, rule: str) -> str:
    found = (r.severity for r in contract.CROSS_RULES if (r.table, r.id) == (table, rule))
    return next(found, "quarantine")


def _declare(connection: duckdb.DuckDBPyConnection) -> None:
    """What a violation shows beside its place, by table and rule."""
    facts = [
        (table.name, check.rule, check.column, False, False)
        for table in contract.TABLES.values()
        for check in row_checks(table)
    ]
    facts += [
        (table.name, contract.UNIQUE_KEY, table.key[0], False, False)
        for table in contract.TABLES.values()
        if table.key
    ]
    facts += [(r.table, r.id, r.column, r.cascade, r.state) for r in contract.CROSS_RULES]
    connection.execute(
        "CREATE TABLE rule_facts"
        " (table_name VARCHAR, rule_id VARCHAR, shown VARCHAR, cascade BOOLEAN, state BOOLEAN)"
    )
    connection.executemany("INSERT INTO rule_facts VALUES (?, ?, ?, ?, ?)", facts)
