"""Anybody's data into the contract's landing layout, as a map tells it (`mapping`).

Source rows are staged by trading date (`source`), then each date is built by the queries
`sql/ingest/table_*.sql` and written. Every source row lands or is counted under a reason; what the
source does not have and the platform made instead is counted, too (`derived`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb

from crossimpact import contract
from crossimpact.atomic import write_atomic
from crossimpact.errors import CrossImpactError, UsageError
from crossimpact.progress import each
from pipelines.ingest import mapping
from pipelines.ingest.columns import KINDS
from pipelines.ingest.mapping import Map, Market
from pipelines.ingest.public import Account, Result, account_of, create, first_line, move, staging
from pipelines.ingest.source import UNDATED, Reader, Staged
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse, file_sha256, quoted, scalar, sql

#: Names the queries know the staged rows by.
RELATIONS = {
    "market_snapshots": "quotes",
    "public_trades": "trades",
    "daily_bars": "bars",
    "instruments": "listing",
    "parent_orders": "orders",
    "child_fills": "executions",
    "benchmark_marks": "desk_marks",
    "peer_flow": "peers",
}
#: Sources without a trading date: what they say is used on any.
REFERENCE = ("daily_bars", "instruments")
Counts = dict[str, dict[str | None, int]]


def run(settings: Settings, map_path: Path, src: Path, out: Path) -> Result:
    """Write `out/landing/<table>/date=D/part-0.parquet` and `out/ingest.json` from mapped files.

    Everything is computed beside `out/landing` and moved in at the end, so an error leaves an
    existing landing as it was; the same map and source give the same bytes.

    Parameters
    ----------
    settings
        Bucket width of a derived `peer_flow`, memory limit, scratch space.
    map_path
        The map, see `mapping.load`.
    src, out
        Folder the map's file patterns are relative to; folder to write into.

    Raises
    ------
    UsageError
        A wrong map, a file or column that is not there, a mapped table of which nothing lands, or
        a landing that already holds other partitions.
    """
    asked = mapping.load(map_path)
    if not src.is_dir():
        raise UsageError(f"source folder {src} is missing", "give the folder of the files")
    with Warehouse(settings).connect() as connection, staging(out) as draft:
        try:
            result = _Ingestion(connection, settings, asked, src, draft).run(map_path)
        except (duckdb.IOException, duckdb.OutOfMemoryException):
            raise
        except duckdb.Error as error:
            raise CrossImpactError(
                f"source {src} cannot be ingested ({first_line(error)})", "mend it and rerun"
            ) from error
        move(draft / "landing", out / "landing")
    text = json.dumps(result.to_dict(), indent=1, sort_keys=True)
    write_atomic(out / "ingest.json", text + "\n")
    return result


class _Ingestion:
    """One run: staged rows, then date by date the landed tables and what became of every row."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        settings: Settings,
        asked: Map,
        src: Path,
        draft: Path,
    ) -> None:
        self.connection, self.settings, self.asked = connection, settings, asked
        self.draft = draft / "landing"
        self.reader = Reader(connection, asked, src, draft / "source")
        self.derived = dict.fromkeys(("aggressor_side", "decision_px", "benchmark_marks"), 0)

    def run(self, map_path: Path) -> Result:
        sources = self.asked.sources()
        staged = {name: self.reader.stage(name, source) for name, source in sources.items()}
        self._reference()
        per_date = {UNDATED: self._undated()}
        rows: dict[str, dict[str, int]] = {}
        for date in each("ingest", self.reader.dates()):
            per_date[date] = self._date(date)
            rows[date] = self._export(date)
        landed = {t: sum(day.get(t, 0) for day in rows.values()) for t in contract.TABLES}
        result = Result(
            source="table",
            files={name: sha for one in staged.values() for name, sha in one.files.items()},
            bucket_s=self.settings.bucket_s,
            dates=tuple(date for date, tables in rows.items() if tables),
            rows={table: count for table, count in landed.items() if count},
            per_date={date: day for date, day in per_date.items() if day},
            details={"map": file_sha256(map_path), "derived": self.derived},
        )
        self._balance(result, staged)
        return result

    def _reference(self) -> None:
        """What holds over dates: listing, sectors, and what was traded by day."""
        for name in REFERENCE:
            create_as(self.connection, RELATIONS[name], self.reader.view(name, UNDATED))
        create_as(
            self.connection,
            "sectors",
            "SELECT NULL::VARCHAR AS symbol, NULL::VARCHAR AS sector LIMIT 0",
        )
        for symbol, sector in self.asked.instruments.sectors.items():
            self.connection.execute("INSERT INTO sectors VALUES (?, ?)", [symbol, sector])
        create(self.connection, "days", "table_bars", {})
        if self.asked.instruments.adv == "prints":
            self.connection.execute("DELETE FROM days")
            for date in self.reader.dates():
                query = self.reader.view("public_trades", date)
                self.connection.execute(f"CREATE OR REPLACE TEMP VIEW trades AS {query}")
                self.connection.execute(
                    f"INSERT INTO days {sql('ingest/table_days')}", {"date": date}
                )

    def _undated(self) -> dict[str, Account]:
        """Rows without a time, and those of the reference tables."""
        counts: Counts = {}
        for name in self.asked.sources():
            staged = self.reader.view(name, UNDATED)
            query = f"SELECT reason, count(*) FROM ({staged}) GROUP BY reason"
            counts[name] = dict(self.connection.execute(query).fetchall())
        return {name: account_of(reasons) for name, reasons in counts.items() if reasons}

    def _date(self, date: str) -> dict[str, Account]:
        """Build the tables of a date as temporary tables; the accounts of its source rows."""
        for name, relation in RELATIONS.items():
            if name not in REFERENCE:
                query = self.reader.view(name, date)
                self.connection.execute(f"CREATE OR REPLACE TEMP VIEW {relation} AS {query}")
        opened, closed = _session(self.asked.market, date)
        session = {"open": opened, "close": closed}
        instruments, quotes = self.asked.instruments, self.asked.market_snapshots
        named = ("adv_days", "sector", "tick_size", "lot_size")
        create(
            self.connection, "instruments", "table_instruments",
            {"date": date, **{name: getattr(instruments, name) for name in named}},
        )  # fmt: skip
        books = {"keep_locked": quotes.locked == "land", "keep_crossed": quotes.crossed == "land"}
        if quotes.sample_s is None:
            create(self.connection, "snapshots", "table_snapshots", session | books)
        else:
            grid = {"step_s": quotes.sample_s, "max_age_s": quotes.max_age_s}
            query = "table_snapshots_sampled"
            create(self.connection, "snapshots", query, session | books | grid)
        self._landed("market_snapshots", "snapshots")
        age = {"max_age_s": quotes.max_age_s}
        create(self.connection, "book", "table_book", age)
        accounts = sql("ingest/table_quotes_account")
        counts: Counts = {
            "market_snapshots": dict(self.connection.execute(accounts, session).fetchall())
        }
        counts |= self._prints(session | age)
        counts |= self._desk(closed)
        counts |= self._peers()
        return {
            name: account_of(reasons)
            for name, reasons in counts.items()
            if reasons and name in self.asked.sources()
        }

    def _prints(self, parameters: Mapping[str, Any]) -> Counts:
        prints = self.asked.public_trades
        how = prints.aggressor if prints else "given"
        create(self.connection, "prints", "table_prints", {**parameters, "aggressor": how})
        self._landed("public_trades", "prints")
        if how != "given":
            self.derived["aggressor_side"] += self._missing(
                "trades", "public_trades", "aggressor_side"
            )
        return {"public_trades": self._reasons("prints")}

    def _desk(self, closed: datetime) -> Counts:
        create(self.connection, "judged_orders", "table_parents", {"close": closed})
        self._landed("parent_orders", "judged_orders")
        self.derived["decision_px"] += self._missing("orders", "parent_orders", "decision_px")
        create(self.connection, "judged_fills", "table_fills", {})
        self._landed("child_fills", "judged_fills")
        create(self.connection, "judged_marks", "table_marks", {})
        self._landed("benchmark_marks", "judged_marks")
        self.derived["benchmark_marks"] += int(
            scalar(self.connection, "SELECT count(*) FROM judged_marks WHERE is_derived")
        )
        return {
            "parent_orders": self._reasons("judged_orders"),
            "child_fills": self._reasons("judged_fills"),
            "benchmark_marks": self._reasons("judged_marks WHERE NOT is_derived"),
        }

    def _peers(self) -> Counts:
        asked = self.asked.peer_flow
        create(self.connection, "judged_peers", "table_peers", {})
        self._landed("peer_flow", "judged_peers")
        if asked and asked.derive:
            create(
                self.connection, "peer_flow", "table_peer_flow",
                {"bucket_s": self.settings.bucket_s, "own_in_prints": asked.own_in_prints},
            )  # fmt: skip
        return {"peer_flow": self._reasons("judged_peers")}

    def _landed(self, table: str, judged: str) -> None:
        """The judged rows without a reason, in the contract's columns and types."""
        columns = ", ".join(
            f"CAST({c.name} AS {contract.SQL_TYPE[c.type]}) AS {c.name}"
            for c in contract.TABLES[table].columns
            if c.name in KINDS[table]
        )
        query = f"SELECT {columns} FROM {judged} WHERE reason IS NULL"
        create_as(self.connection, table, query)

    def _reasons(self, judged: str) -> dict[str | None, int]:
        query = f"SELECT reason, count(*) FROM {judged} GROUP BY reason"
        return dict(self.connection.execute(query).fetchall())

    def _missing(self, staged: str, landed: str, column: str) -> int:
        """Landed rows whose cell is not the source's."""
        given = scalar(
            self.connection,
            f"SELECT count(*) FROM {staged} WHERE {column} IS NOT NULL AND reason IS NULL",
        )
        return max(0, int(scalar(self.connection, f"SELECT count(*) FROM {landed}")) - int(given))

    def _export(self, date: str) -> dict[str, int]:
        """Write the date's partitions of every mapped table; without instruments there are none."""
        if not scalar(self.connection, "SELECT count(*) FROM market_snapshots"):
            return {}
        rows = {}
        for table in self._tables():
            path = self.draft / table / f"date={date}" / "part-0.parquet"
            path.parent.mkdir(parents=True)
            copy = f"COPY {table} TO '{quoted(path)}' (FORMAT parquet)"
            rows[table] = int(scalar(self.connection, copy))
        return rows

    def _tables(self) -> list[str]:
        """Contract tables this map makes."""
        mapped = {"instruments", *self.asked.sources()}
        if self.asked.parent_orders:
            mapped.add("benchmark_marks")
        if self.asked.peer_flow:
            mapped.add("peer_flow")
        return [table for table in contract.TABLES if table in mapped]

    def _balance(self, result: Result, staged: Mapping[str, Staged]) -> None:
        """Refuse to publish when a row is unaccounted for, or nothing lands of a mapped table."""
        for name, account in result.totals.items():
            if account.read != staged[name].rows:
                raise CrossImpactError(
                    f"{name}: {staged[name].rows} rows read, {account.read} accounted for"
                )
        for table in self._tables():
            if not result.rows.get(table):
                raise UsageError(
                    f"no row of {table} lands ({_why(result, table)})",
                    "mend the map; a date lands once a symbol's ADV is known before it",
                )


def create_as(connection: duckdb.DuckDBPyConnection, name: str, query: str) -> None:
    """A query's rows under a name, whatever that name was before."""
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {query}")


def _session(market: Market, date: str) -> tuple[datetime, datetime]:
    """Open and close of a date, UTC-aware."""
    opened, closed = (
        _moment(date, text, market.time_zone) for text in (market.open, market.close_on(date))
    )
    return opened, closed


def _moment(date: str, clock: str, zone: str) -> datetime:
    days, clock = (1, "00:00") if clock == "24:00" else (0, clock)
    naive = datetime.fromisoformat(f"{date}T{clock}") + timedelta(days=days)
    return naive.replace(tzinfo=ZoneInfo(zone)).astimezone(ZoneInfo("UTC"))


def _why(result: Result, table: str) -> str:
    account = result.totals.get(table)
    if account is None:
        return "the source has none"
    reasons = sorted(account.left_out.items(), key=lambda one: -one[1])
    return f"{account.read} rows read; " + ", ".join(f"{name} {count}" for name, count in reasons)
