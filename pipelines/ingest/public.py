"""Real public data into the contract's landing layout, one adapter per source.

A public landing holds `instruments`, `market_snapshots`, `public_trades` and `peer_flow`; it has no
parent orders, so refits run with `flow="public"`. Rows that carry no usable information are left
out under a named reason, and every source row is accounted for: read = written + left out, per
table and date. `docs/ingest.md` gives the reasons behind each rule.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from crossimpact import atomic, contract
from crossimpact.errors import CrossImpactError, UsageError
from crossimpact.progress import each
from pipelines.store.settings import Settings
from pipelines.store.warehouse import (
    Warehouse,
    file_sha256,
    quoted,
    readable,
    scalar,
    sql,
)

TABLES = ("instruments", "market_snapshots", "public_trades", "peer_flow")
#: ADV is the mean over this many earlier full days (fewer at the start of the data).
ADV_DAYS = 20
#: The source's naive times are exchange local time.
TIME_ZONE = "Asia/Shanghai"
#: Source file behind each landed table that is a selection of source rows.
FILES = {"market_snapshots": "market_snapshots.parquet", "public_trades": "trades.parquet"}

TEXT = ("VARCHAR",)
TIME = ("TIMESTAMP", "TIMESTAMP_NS")
NUMBER = ("DOUBLE", "FLOAT", "BIGINT", "INTEGER", "SMALLINT", "TINYINT")
SIZES = ("bid_size", "ask_size", "bid_size_frac", "ask_size_frac")
COLUMNS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "market_snapshots": {"symbol": TEXT, "ts": TIME, "session": TEXT}
    | dict.fromkeys(("bid_px", "ask_px", *SIZES), NUMBER),
    "public_trades": {"symbol": TEXT, "ts": TIME, "suspect_catchup": ("BOOLEAN",)}
    | dict.fromkeys(("px", "qty", "notional_cny", "aggressor_side"), NUMBER),
}


@dataclass(frozen=True)
class Account:
    """Rows of one source table on one date: `read` = `written` + the sum of `left_out`."""

    read: int
    written: int
    left_out: Mapping[str, int]

    def to_dict(self) -> dict[str, Any]:
        return {"read": self.read, "written": self.written, "left_out": dict(self.left_out)}


@dataclass(frozen=True)
class Result:
    """What an ingestion read, wrote and left out.

    Attributes
    ----------
    source
        Name of the adapter.
    files
        Source file name -> sha256.
    bucket_s
        Bucket width of `peer_flow`, seconds.
    dates
        Landed dates, ascending; source dates without a single landed row are only in `per_date`.
    rows
        Landed rows per contract table.
    per_date
        Date -> source table -> account, for every date of the source.
    details
        What only one adapter has to say.
    """

    source: str
    files: Mapping[str, str]
    bucket_s: int
    dates: tuple[str, ...]
    rows: Mapping[str, int]
    per_date: Mapping[str, Mapping[str, Account]]
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def totals(self) -> dict[str, Account]:
        """The accounts summed over all dates of the source."""
        tables = dict.fromkeys(table for day in self.per_date.values() for table in day)
        return {
            table: _total([day[table] for day in self.per_date.values() if table in day])
            for table in tables
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data, the same for the same source bytes and settings."""
        return {
            "source": self.source,
            "files": dict(self.files),
            "contract_version": contract.VERSION,
            "bucket_s": self.bucket_s,
            "dates": list(self.dates),
            "rows": dict(self.rows),
            "accounts": _plain(self.totals),
            "per_date": {date: _plain(day) for date, day in self.per_date.items()},
            **self.details,
        }


def run(settings: Settings, source: str, src: Path, out: Path) -> Result:
    """Write `out/landing/<table>/date=D/part-0.parquet` and `out/ingest.json` from a public source.

    Everything is computed beside `out/landing` first and moved in at the end, so an error leaves
    an existing landing as it was; the same source gives the same bytes.

    Parameters
    ----------
    settings
        Bucket width of `peer_flow`, memory limit, scratch space.
    source
        Name of the adapter; only `cn10` so far.
    src, out
        Folder of the source files; folder to write into.

    Raises
    ------
    UsageError
        Unknown source, missing or unreadable file, wrong column, nothing to land, or a landing
        that already holds other partitions.
    """
    if source != "cn10":
        raise UsageError(
            f"unknown source {source!r}",
            "known sources: cn10; `ingest table MAP.toml` takes others",
        )
    files = _files(src)
    with Warehouse(settings).connect() as connection:
        try:
            result = _cn10(connection, settings, files, out)
        except duckdb.Error as error:
            raise CrossImpactError(
                f"source {src} cannot be ingested ({first_line(error)})",
                "mend the source and rerun",
            ) from error
    text = json.dumps(result.to_dict(), indent=1, sort_keys=True)
    atomic.write_atomic(out / "ingest.json", text + "\n")
    return result


def _cn10(
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    files: Mapping[str, Path],
    out: Path,
) -> Result:
    """Check, convert date by date, balance the account, publish."""
    read = {table: _check(connection, table, path) for table, path in files.items()}
    paths = {
        "snapshots": readable(files["market_snapshots"]),
        "trades": readable(files["public_trades"]),
    }
    create(connection, "days", "cn10_days", paths)
    dates = [str(date) for (date,) in connection.execute(sql("ingest/cn10_dates")).fetchall()]
    per_date: dict[str, Mapping[str, Account]] = {}
    rows = {}
    with staging(out) as draft:
        for date in each("ingest", dates):
            per_date[date] = _date(connection, paths, date, settings.bucket_s)
            rows[date] = _export(connection, draft, date)
        result = Result(
            source="cn10",
            files={path.name: file_sha256(path) for path in files.values()},
            bucket_s=settings.bucket_s,
            dates=tuple(date for date in dates if rows[date]),
            rows={table: sum(day.get(table, 0) for day in rows.values()) for table in TABLES},
            per_date=per_date,
        )
        _balance(result, read)
        move(draft, out / "landing")
    return result


def _files(src: Path) -> dict[str, Path]:
    """The source file of each table, or a UsageError naming the first one missing."""
    files = {table: src / name for table, name in FILES.items()}
    for path in files.values():
        if not path.is_file():
            raise UsageError(f"source file {path} is missing", "pass the folder that holds it")
    return files


def _check(connection: duckdb.DuckDBPyConnection, table: str, path: Path) -> int:
    """Rows of a source file after its columns, types and keys were found fit to read."""
    file = {"file": readable(path)}
    try:
        result = dict(connection.execute(sql("ingest/columns"), file).fetchall())
    except duckdb.Error as error:
        raise UsageError(f"source file {path} cannot be read ({first_line(error)})") from error
    for column, types in COLUMNS[table].items():
        if column not in result:
            raise UsageError(f"source file {path} has no column {column!r}")
        if result[column] not in types:
            raise UsageError(
                f"column {column!r} of {path} is {result[column]}, expected {' or '.join(types)}"
            )
    rows, without_key = connection.execute(sql("ingest/rows"), file).fetchone() or (0, 0)
    if without_key:
        raise UsageError(f"{without_key} rows of {path} have no symbol or no ts")
    return int(rows)


def create(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    query: str,
    parameters: Mapping[str, Any],
) -> None:
    """Keep a query's rows, in its order, as a temporary table."""
    text = sql(f"ingest/{query}")
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {table} AS {text}", parameters)


def _date(
    connection: duckdb.DuckDBPyConnection, paths: Mapping[str, str], date: str, bucket_s: int
) -> dict[str, Account]:
    """Build the four tables of one date; the accounts of its source rows."""
    day = {"date": date, "time_zone": TIME_ZONE}
    stale = {"stale_s": contract.MAX_SNAPSHOT_AGE_S}
    create(connection, "instruments", "cn10_instruments", {"date": date, "adv_days": ADV_DAYS})
    create(connection, "book", "cn10_book", {**paths, **day, **stale})
    create(connection, "prints", "cn10_prints", {"trades": paths["trades"], **day})
    create(connection, "market_snapshots", "cn10_market_snapshots", {})
    create(connection, "public_trades", "cn10_public_trades", {})
    create(connection, "peer_flow", "cn10_peer_flow", {"bucket_s": bucket_s})
    return _accounts(connection)


def _accounts(connection: duckdb.DuckDBPyConnection) -> dict[str, Account]:
    """Rows of the current date per source table and reason."""
    counts: dict[str, dict[str | None, int]] = {table: {} for table in FILES}
    for table, reason, n_rows in connection.execute(sql("ingest/cn10_accounts")).fetchall():
        counts[table][reason] = n_rows
    return {table: account_of(reasons) for table, reasons in counts.items()}


def account_of(reasons: Mapping[str | None, int]) -> Account:
    left_out = {reason: count for reason, count in sorted(reasons.items(), key=str) if reason}
    return Account(sum(reasons.values()), reasons.get(None, 0), left_out)


def _total(accounts: list[Account]) -> Account:
    """Sum of accounts, reason by reason."""
    counts: dict[str | None, int] = {None: sum(account.written for account in accounts)}
    for account in accounts:
        for reason, count in account.left_out.items():
            counts[reason] = counts.get(reason, 0) + count
    return account_of(counts)


def _plain(accounts: Mapping[str, Account]) -> dict[str, Any]:
    return {table: account.to_dict() for table, account in accounts.items()}


def _export(connection: duckdb.DuckDBPyConnection, staging: Path, date: str) -> dict[str, int]:
    """Write the date's partitions; a date on which no symbol has an ADV has none."""
    if not scalar(connection, "SELECT count(*) FROM instruments"):
        return {}
    rows = {}
    for table in TABLES:
        path = staging / table / f"date={date}" / "part-0.parquet"
        path.parent.mkdir(parents=True)
        rows[table] = scalar(connection, f"COPY {table} TO '{quoted(path)}' (FORMAT parquet)")
    return rows


def _balance(result: Result, read: Mapping[str, int]) -> None:
    """Refuse to publish when a source row is unaccounted for, or when nothing landed."""
    for table, account in result.totals.items():
        landed = result.rows[table]
        if (account.read, account.written) != (read[table], landed):
            raise CrossImpactError(
                f"{table}: {read[table]} source rows and {landed} landed rows, but the account "
                f"says {account.read} and {account.written}"
            )
    if not result.dates:
        raise UsageError(
            f"source {result.source} has nothing to land on {len(result.per_date)} dates",
            "a date lands once a symbol has a full earlier day to take its ADV from",
        )


def first_line(error: duckdb.Error) -> str:
    return str(error).splitlines()[0]


@contextmanager
def staging(out: Path) -> Iterator[Path]:
    """A private folder on the target's file system, gone at the end."""
    folder = out / f".ingest-{uuid.uuid4().hex}"
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def move(staging: Path, landing: Path) -> None:
    """Move the staged files into the landing unless it holds partitions of something else."""
    staged = sorted(path.relative_to(staging) for path in staging.glob("*/date=*/*"))
    for path in sorted(landing.glob("*/date=*/*")):
        if path.relative_to(landing) not in staged:
            raise UsageError(
                f"landing {landing} already holds {path.relative_to(landing)}, which is not of "
                "this source",
                "remove it or choose another folder",
            )
    for relative in staged:
        (landing / relative).parent.mkdir(parents=True, exist_ok=True)
        atomic.move(staging / relative, landing / relative)
