"""What an auditor asks of the ledger: a rule's history, a day, two runs, the waivers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import duckdb

from crossimpact import contract
from crossimpact.errors import UsageError
from pipelines.audit import rules
from pipelines.audit.history import Row, asked, opened, rows
from pipelines.audit.ledger import Ledger
from pipelines.store import stale
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse

PLACES = ("venue", "symbol", "table", "file")
#: Names listed of each kind of place.
WORST = 10


@dataclass(frozen=True)
class RuleHistory:
    """A rule over trading dates and over runs.

    Attributes
    ----------
    rule, table
        Which; the table is empty where rows of several tables break it.
    since
        First trading date on which rows break it now; `first_seen`: when that was first told.
    open, released, superseded
        Rows by status.
    dates
        Per trading date the same counts, with the first and last moment they were found.
    digests
        What the rule has said: each digest with the first run and moment that judged by it.
    places
        Open rows by venue, symbol, table and file, most first.
    """

    rule: str
    table: str
    since: str | None
    first_seen: str | None
    open: int
    released: int
    superseded: int
    dates: list[Row]
    digests: list[Row]
    places: dict[str, list[Row]]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Day:
    """All that is known of a trading date: entries, what is live, and what breaks which rule."""

    date: str
    live: str
    stale: str
    entries: list[Row]
    tables: list[Row]
    rules: list[Row]
    files: list[Row]
    problems: list[Row]
    findings: str
    places: dict[str, list[Row]]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def rule(settings: Settings, name: str) -> RuleHistory:
    """The history of `rule` or `table.rule`.

    Raises
    ------
    UsageError
        When neither the contract nor the ledger knows it.
    """
    with opened(settings) as connection:
        table, _, bare = (
            name.partition(".") if name.split(".")[0] in contract.TABLES else ("", "", name)
        )
        asked_for = {"rule": bare, "of_table": table}
        dates = asked(connection, "by_date", asked_for)
        digests = asked(connection, "rule_digests", asked_for)
        if not dates and not digests:
            known = sorted({key.partition(".")[2] for key in rules.digests()})
            near = [key for key in known if bare[:6] in key]
            raise UsageError(
                f"no rule {name!r} in the contract or the ledger",
                f"one like it: {', '.join(near[:5])}"
                if near
                else "`crossimpact contract` lists them",
            )
        places = _places(connection, {**asked_for, "on_date": ""})
    now = [row for row in dates if row["open"]]
    return RuleHistory(
        rule=bare,
        table=table,
        since=now[0]["date"] if now else None,
        first_seen=min((row["first_seen"] or "" for row in now), default=None),
        open=sum(row["open"] for row in dates),
        released=sum(row["released"] for row in dates),
        superseded=sum(row["superseded"] for row in dates),
        dates=dates,
        digests=digests,
        places=places,
    )


def day(settings: Settings, date: str) -> Day:
    """All that the ledger and the warehouse know of a date.

    Raises
    ------
    UsageError
        When no run ever judged it.
    """
    entries = Ledger.of(settings).entries(date)
    if not entries:
        Ledger.of(settings).all_files()  # a home without any ledger was mistyped
        raise UsageError(f"{date} was never judged in {settings.home}", "take a validated date")
    warehouse = Warehouse(settings)
    live, mark = warehouse.day(date), stale.find(warehouse, date)
    shown = next((e for e in reversed(entries) if live and e["manifest"] == live.digest), None)
    told = shown or entries[-1]
    with opened(settings) as connection:
        places = _places(connection, {"rule": "", "of_table": "", "on_date": date})
    return Day(
        date=date,
        live=f"entry {shown['seq']}"
        if shown
        else "nothing"
        if live is None
        else "not in the ledger",
        stale=str(mark) if mark else "",
        entries=[_shown(entry) for entry in entries],
        tables=told["counts"],
        rules=told["broken"],
        files=[{**file, "mtime": int(file["mtime"])} for file in entries[-1]["files"]],
        problems=entries[-1]["problems"],
        findings=told["findings"],
        places=places,
    )


def difference(settings: Settings, before: str, after: str) -> list[Row]:
    """Rows released and newly refused between two runs, by table and rule.

    A run is its id, or `DATE/NUMBER` for one entry of one date. Compared are the dates that both
    judged, as each left them.

    Raises
    ------
    UsageError
        When a run is not in the ledger, or the two have no date in common.
    """
    with opened(settings) as connection:
        old, new = _judged(connection, before), _judged(connection, after)
        common = sorted(old.keys() & new.keys())
        if not common:
            raise UsageError(
                f"{before} and {after} judged no date in common",
                "compare two entries of one date: DATE/1 DATE/2",
            )
        for name, entries in (("before", old), ("after", new)):
            wanted = ", ".join(f"('{date}', {entries[date]})" for date in common)
            connection.execute(
                f"CREATE TABLE broken_{name} AS SELECT * FROM audit_violations"
                f" WHERE (date, seq) IN (VALUES {wanted})"
            )
        return asked(connection, "changed")


def _judged(connection: duckdb.DuckDBPyConnection, run: str) -> dict[str, int]:
    """The dates a run judged, and its last entry of each."""
    date, _, number = run.partition("/")
    entry = number.isdecimal()
    given = {"date": date, "seq": int(number)} if entry else {"run": run}
    chosen = "date = $date AND seq = $seq" if entry else "run = $run"
    query = f"SELECT date, max(seq) AS seq FROM entries WHERE {chosen} GROUP BY date ORDER BY date"
    found = {row["date"]: row["seq"] for row in rows(connection, query, given)}
    if not found:
        hint = "`crossimpact audit day D` lists a date's"
        raise UsageError(f"run {run!r} is not in the ledger", hint)
    return found


def _places(
    connection: duckdb.DuckDBPyConnection, given: Mapping[str, Any]
) -> dict[str, list[Row]]:
    found = asked(connection, "by_place", given)
    return {
        place: [{"name": r["name"], "rows": r["n_rows"]} for r in found if r["place"] == place][
            :WORST
        ]
        for place in PLACES
    }


def _shown(entry: Row) -> Row:
    """An entry as a line of a list."""
    at = entry["moment"]
    return {
        "entry": entry["seq"], "run": entry["run"], "who": entry["who"],
        "at": at.isoformat(timespec="seconds") if at else None,
        "kind": entry["kind"], "verdict": entry["verdict"], "landing": entry["landing"],
        "contract": entry["contract_version"],
        "landed": sum(c["landed"] or 0 for c in entry["counts"]),
        "quarantined": sum(c["quarantined"] or 0 for c in entry["counts"]),
        "problems": "; ".join(f"{p['table']}: {p['rule']}: {p['text']}" for p in entry["problems"]),
    }  # fmt: skip
