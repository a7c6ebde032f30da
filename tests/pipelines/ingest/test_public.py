"""Ingestion of public data: every source row lands or is left out under a name."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from crossimpact import contract
from crossimpact.errors import CrossImpactError, UsageError
from pipelines.ingest import public
from pipelines.store.settings import Settings
from tests.absent import ABSENT

DAYS = ("2020-01-01", "2020-01-02", "2020-01-03")
LAST = DAYS[-1]
TICKS = 40
SESSIONS = {"am": "09:40:03", "pm": "13:10:03"}
ARROW = {"str": "string", "f64": "double", "i64": "int64", "ts": pa.timestamp("us", "UTC")}
BOOK = pa.schema(
    [
        ("symbol", "string"),
        ("ts", pa.timestamp("us")),
        ("bid_px", "double"),
        ("ask_px", "double"),
        ("bid_size", "int64"),
        ("ask_size", "int64"),
        ("bid_size_frac", "double"),
        ("ask_size_frac", "double"),
        ("session", "string"),
    ]
)
TRADES = pa.schema(
    [
        ("symbol", "string"),
        ("ts", pa.timestamp("us")),
        ("px", "double"),
        ("qty", "int64"),
        ("notional_cny", "double"),
        ("aggressor_side", "int8"),
        ("suspect_catchup", "bool"),
    ]
)


@dataclass
class Source:
    """A small source in the real one's format: 3 s ticks, a print on every odd tick."""

    book: list[dict[str, Any]] = field(default_factory=list)
    trades: list[dict[str, Any]] = field(default_factory=list)

    def session(self, symbol: str, day: str, session: str) -> None:
        start = datetime.fromisoformat(f"{day}T{SESSIONS[session]}")
        for tick in range(TICKS):
            key = {"symbol": symbol, "ts": start + timedelta(seconds=3 * tick)}
            sizes = {"bid_size": 100 + tick, "ask_size": 200}
            fracs = {"bid_size_frac": (100 + tick) / 1e6, "ask_size_frac": 2e-4}
            prices = {"bid_px": 10.0, "ask_px": 10.01}
            self.book.append({**key, **prices, **sizes, **fracs, "session": session})
            if tick % 2:
                self.trades.append(
                    {**key, "px": 10.01, "qty": 100, "notional_cny": 1001.0}
                    | {"aggressor_side": 1, "suspect_catchup": False}
                )

    def ticks(self, symbol: str, day: str, session: str) -> list[dict[str, Any]]:
        return [
            row
            for row in self.book
            if (row["symbol"], str(row["ts"].date()), row["session"]) == (symbol, day, session)
        ]

    def freeze(self, rows: list[dict[str, Any]], first: int, last: int) -> None:
        """Repeat the quote of tick `first` up to tick `last`, without prints after `first`."""
        repeated = {name: rows[first][name] for name in ("bid_size", "bid_size_frac")}
        for row in rows[first : last + 1]:
            row.update(repeated)
        silent = {(row["symbol"], row["ts"]) for row in rows[first + 1 : last + 1]}
        self.trades = [row for row in self.trades if (row["symbol"], row["ts"]) not in silent]

    def write(self, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(
            pa.Table.from_pylist(self.book, BOOK), folder / public.FILES["market_snapshots"]
        )
        pq.write_table(
            pa.Table.from_pylist(self.trades, TRADES), folder / public.FILES["public_trades"]
        )
        return folder


@pytest.fixture
def source() -> Source:
    """Two symbols, three full days, nothing wrong."""
    built = Source()
    for symbol in ("AA", "BB"):
        for day in DAYS:
            for session in SESSIONS:
                built.session(symbol, day, session)
    return built


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


def landed(out: Path, table: str, date: str = LAST) -> pa.Table:
    return pq.read_table(out / "landing" / table / f"date={date}" / "part-0.parquet")


def contents(out: Path, dates: tuple[str, ...] | None = None) -> dict[str, bytes]:
    """Bytes of every landed file, by path below the landing."""
    files = sorted((out / "landing").rglob("*.parquet"))
    wanted = [p for p in files if dates is None or p.parent.name.removeprefix("date=") in dates]
    return {str(path.relative_to(out)): path.read_bytes() for path in wanted}


def assert_contract(out: Path, date: str) -> None:
    """Columns, types, bounds and key order of one landed date, straight from the contract."""
    for name in public.TABLES:
        table, rows = contract.TABLES[name], landed(out, name, date)
        assert [(f.name, f.type) for f in rows.schema] == [
            (column.name, pa.field("", ARROW[column.type]).type)
            for column in table.columns
            if column.name not in ABSENT
        ]
        for column in table.columns:
            if column.name in ABSENT:
                continue
            values = rows[column.name].drop_null().to_pylist()
            assert column.nullable or len(values) == len(rows)
            assert column.above is None or all(value > column.above for value in values)
            assert column.at_least is None or all(value >= column.at_least for value in values)
            assert column.at_most is None or all(value <= column.at_most for value in values)
            assert column.values is None or set(values) <= set(column.values)
        if set(table.key) <= set(rows.column_names):  # prints without an id have no key
            keys = list(zip(*(rows[key].to_pylist() for key in table.key), strict=True))
            assert keys == sorted(set(keys))


def test_a_clean_source_lands_whole_after_its_first_day(
    source: Source, settings: Settings, tmp_path: Path
) -> None:
    result = public.run(settings, "cn10", source.write(tmp_path / "src"), tmp_path / "out")
    assert result.dates == DAYS[1:]
    assert result.rows == {
        "instruments": 4,
        "market_snapshots": 4 * 2 * TICKS,
        "public_trades": 4 * TICKS,
        "peer_flow": 4 * 2,
    }
    assert result.totals["market_snapshots"].left_out == {"no_adv": 2 * 2 * TICKS}
    assert result.per_date[LAST]["public_trades"].left_out == {}
    for date in result.dates:
        assert_contract(tmp_path / "out", date)


def test_exchange_time_becomes_utc(source: Source, settings: Settings, tmp_path: Path) -> None:
    public.run(settings, "cn10", source.write(tmp_path / "src"), tmp_path / "out")
    first = landed(tmp_path / "out", "market_snapshots")["ts"][0].as_py()
    assert first.isoformat() == f"{LAST}T01:40:03+00:00"
    buckets = landed(tmp_path / "out", "peer_flow")["ts"].to_pylist()
    assert [f"{ts:%H:%M:%S}" for ts in buckets] == ["01:40:00", "05:10:00"] * 2


def test_peer_flow_is_zero_and_follows_the_bucket_width(source: Source, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", bucket_s=60)
    public.run(settings, "cn10", source.write(tmp_path / "src"), tmp_path / "out")
    rows = landed(tmp_path / "out", "peer_flow")
    assert len(rows) == 2 * 2 * 3  # 39 x 3 s from :03 touch three minutes
    assert {*rows["sector_flow"].to_pylist(), *rows["factor_flow"].to_pylist()} == {0.0}


Dirt = Callable[[Source], None]


def locked(source: Source) -> None:
    for row in source.ticks("AA", LAST, "am")[10:20]:
        row["ask_px"] = None


def catchup(source: Source) -> None:
    for row in source.trades[-3:]:
        row["suspect_catchup"] = True


def frozen(source: Source) -> None:
    source.freeze(source.ticks("AA", LAST, "am"), first=3, last=30)


def frozen_and_flagged(source: Source) -> None:
    frozen(source)
    thaw = source.ticks("AA", LAST, "am")[31]["ts"]
    for row in source.trades:
        row["suspect_catchup"] = row["symbol"] == "AA" and row["ts"] == thaw


def frozen_from_the_open(source: Source) -> None:
    source.freeze(source.ticks("AA", LAST, "pm"), first=0, last=24)


def frozen_to_the_close(source: Source) -> None:
    source.freeze(source.ticks("AA", LAST, "am"), first=5, last=TICKS - 1)
    afternoon = source.ticks("AA", LAST, "pm")[0]["ts"]
    source.trades.append({**source.trades[-1], "symbol": "AA", "ts": afternoon})


def quiet(source: Source) -> None:
    source.freeze(source.ticks("AA", LAST, "am"), first=3, last=23)


def sizeless(source: Source) -> None:
    for row in source.ticks("BB", LAST, "pm"):
        row["ask_size"] = None


def newcomer(source: Source) -> None:
    source.session("CC", LAST, "am")
    source.session("CC", LAST, "pm")


def half_day_only(source: Source) -> None:
    source.session("CC", DAYS[1], "am")
    source.session("CC", LAST, "pm")


def orphan_print(source: Source) -> None:
    gone = source.ticks("AA", LAST, "am")[7]
    source.book.remove(gone)


@pytest.mark.parametrize(
    ("dirt", "snapshots", "trades"),
    [
        # ticks 10..19 are locked; prints at 11, 13, ..., 19 have a locked tick before them
        pytest.param(locked, {"one_sided_book": 10}, {"no_previous_mid": 5}, id="locked"),
        pytest.param(catchup, {}, {"suspect_catchup": 3}, id="catchup"),
        # 27 repeats leave; the print of tick 31 carries the outage's turnover
        pytest.param(frozen, {"frozen_quote": 27}, {"after_freeze": 1}, id="frozen"),
        pytest.param(
            frozen_and_flagged, {"frozen_quote": 27}, {"after_freeze": 1}, id="frozen-and-flagged"
        ),
        pytest.param(
            frozen_from_the_open, {"frozen_quote": 24}, {"after_freeze": 1}, id="from-the-open"
        ),
        # the afternoon starts anew: its first print has no mid before it, and is no catch-up
        pytest.param(
            frozen_to_the_close, {"frozen_quote": 34}, {"no_previous_mid": 1}, id="to-the-close"
        ),
        # 20 repeats of 3 s: exactly 60 s old, still a state to price against
        pytest.param(quiet, {}, {}, id="quiet"),
        pytest.param(sizeless, {"size_unknown": TICKS}, {}, id="sizeless"),
        pytest.param(newcomer, {"no_adv": 2 * TICKS}, {"no_adv": TICKS}, id="newcomer"),
        pytest.param(half_day_only, {"no_adv": TICKS}, {"no_adv": TICKS // 2}, id="half-day"),
        pytest.param(orphan_print, {}, {"no_previous_mid": 1}, id="orphan"),
    ],
)
def test_each_reason_is_counted_and_nothing_else_goes(
    source: Source,
    settings: Settings,
    tmp_path: Path,
    dirt: Dirt,
    snapshots: dict[str, int],
    trades: dict[str, int],
) -> None:
    dirt(source)
    read = {
        "market_snapshots": sum(str(row["ts"].date()) == LAST for row in source.book),
        "public_trades": sum(str(row["ts"].date()) == LAST for row in source.trades),
    }
    result = public.run(settings, "cn10", source.write(tmp_path / "src"), tmp_path / "out")
    for table, left_out in (("market_snapshots", snapshots), ("public_trades", trades)):
        account = result.per_date[LAST][table]
        assert account.left_out == left_out
        assert account.read == read[table]
        assert account.written == read[table] - sum(left_out.values())
        assert account.written == len(landed(tmp_path / "out", table))
    assert_contract(tmp_path / "out", LAST)


def test_a_frozen_stretch_keeps_its_last_information(
    source: Source, settings: Settings, tmp_path: Path
) -> None:
    frozen(source)
    public.run(settings, "cn10", source.write(tmp_path / "src"), tmp_path / "out")
    rows = landed(tmp_path / "out", "market_snapshots").slice(0, TICKS - 27)
    seconds = [ts.minute * 60 + ts.second for ts in rows["ts"].to_pylist()]
    gaps = [after - before for before, after in pairwise(seconds)]
    assert gaps == [3] * 3 + [28 * 3] + [3] * 8


def test_what_the_contract_catches_is_left_to_it(
    source: Source, settings: Settings, tmp_path: Path
) -> None:
    rows = source.ticks("AA", LAST, "am")
    rows[4]["ask_px"] = 9.0
    source.book.append(dict(rows[5]))
    source.trades.append(dict(source.trades[-1]))
    result = public.run(settings, "cn10", source.write(tmp_path / "src"), tmp_path / "out")
    assert result.per_date[LAST]["market_snapshots"].left_out == {}
    assert result.per_date[LAST]["market_snapshots"].written == 4 * TICKS + 1
    assert result.per_date[LAST]["public_trades"].written == 2 * TICKS + 1


def test_sizes_of_the_two_names_without_shares_are_recovered(
    settings: Settings, tmp_path: Path
) -> None:
    source = Source()
    for day in DAYS:
        for session in SESSIONS:
            source.session("S4", day, session)
    for tick, row in enumerate(source.book):
        row.update(bid_size=None, ask_size=None)
        row.update(bid_size_frac=(tick + 1) / 5168285026, ask_size_frac=3e9 / 5168285026)
    public.run(settings, "cn10", source.write(tmp_path / "src"), tmp_path / "out")
    rows = landed(tmp_path / "out", "market_snapshots", DAYS[1])
    assert rows["bid_size"].to_pylist() == [float(2 * TICKS + n) for n in range(1, 2 * TICKS + 1)]
    assert set(rows["ask_size"].to_pylist()) == {3e9}


def test_adv_is_the_mean_of_earlier_full_days_only(
    source: Source, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(public, "ADV_DAYS", 2)
    for day in ("2020-01-04", "2020-01-05", "2020-01-06"):
        for session in SESSIONS:
            if (day, session) != ("2020-01-04", "pm"):
                source.session("AA", day, session)
    for row in source.trades:
        row["notional_cny"] = 1000.0 * row["ts"].day
    public.run(settings, "cn10", source.write(tmp_path / "src"), tmp_path / "out")
    days = ("2020-01-02", "2020-01-03", "2020-01-04", "2020-01-05", "2020-01-06")
    adv = [landed(tmp_path / "out", "instruments", day)["adv_notional"][0].as_py() for day in days]
    unit = 1000.0 * TICKS  # a day's notional over its day number
    # the 4th is a half day and never enters; two days at most
    assert adv == [1 * unit, 1.5 * unit, 2.5 * unit, 2.5 * unit, 4 * unit]


def test_prints_left_out_still_count_as_turnover(
    source: Source, settings: Settings, tmp_path: Path
) -> None:
    late = next(row for row in source.trades if str(row["ts"].date()) == DAYS[1])
    late.update(suspect_catchup=True, notional_cny=9001.0)
    public.run(settings, "cn10", source.write(tmp_path / "src"), tmp_path / "out")
    adv = landed(tmp_path / "out", "instruments")["adv_notional"].to_pylist()
    assert adv == [1001.0 * TICKS + 4000.0, 1001.0 * TICKS]


def test_the_future_changes_no_earlier_byte(
    source: Source, settings: Settings, tmp_path: Path
) -> None:
    locked(source)
    public.run(settings, "cn10", source.write(tmp_path / "all"), tmp_path / "out-all")
    source.book = [row for row in source.book if str(row["ts"].date()) < LAST]
    source.trades = [row for row in source.trades if str(row["ts"].date()) < LAST]
    public.run(settings, "cn10", source.write(tmp_path / "past"), tmp_path / "out-past")
    past = contents(tmp_path / "out-past")
    assert len(past) == len(public.TABLES)
    assert contents(tmp_path / "out-all", DAYS[:2]) == past


def test_a_rerun_gives_the_same_bytes_and_leaves_nothing_behind(
    source: Source, settings: Settings, tmp_path: Path
) -> None:
    folder, out = source.write(tmp_path / "src"), tmp_path / "out"
    first = public.run(settings, "cn10", folder, out)
    before, summary = contents(out), (out / "ingest.json").read_bytes()
    assert public.run(settings, "cn10", folder, out) == first
    assert (contents(out), (out / "ingest.json").read_bytes()) == (before, summary)
    assert json.loads(summary) == first.to_dict()
    assert sorted(path.name for path in out.iterdir()) == ["ingest.json", "landing"]
    assert list((settings.home / "tmp").iterdir()) == []


def test_a_landing_of_something_else_is_not_mixed_with(
    source: Source, settings: Settings, tmp_path: Path
) -> None:
    other = tmp_path / "out/landing/parent_orders/date=2020-01-02/a.parquet"
    other.parent.mkdir(parents=True)
    other.touch()
    with pytest.raises(UsageError, match="already holds parent_orders/date=2020-01-02"):
        public.run(settings, "cn10", source.write(tmp_path / "src"), tmp_path / "out")
    assert list(contents(tmp_path / "out").values()) == [b""]


def without(folder: Path, name: str, column: str) -> None:
    pq.write_table(pq.read_table(folder / name).drop_columns([column]), folder / name)


def retyped(folder: Path, name: str, column: str, kind: Any) -> None:
    table = pq.read_table(folder / name)
    at = table.column_names.index(column)
    pq.write_table(table.set_column(at, column, table[column].cast(kind)), folder / name)


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing file": (lambda f: (f / "trades.parquet").unlink(), "trades.parquet is missing"),
    "missing column": (
        lambda f: without(f, "trades.parquet", "suspect_catchup"),
        "trades.parquet has no column 'suspect_catchup'",
    ),
    "text for a number": (
        lambda f: retyped(f, "trades.parquet", "qty", "string"),
        "column 'qty' of .*trades.parquet is VARCHAR",
    ),
    "zoned time": (
        lambda f: retyped(f, "market_snapshots.parquet", "ts", pa.timestamp("us", "UTC")),
        "column 'ts' of .*market_snapshots.parquet is TIMESTAMP WITH TIME ZONE",
    ),
    "half a file": (
        lambda f: (f / "trades.parquet").write_bytes((f / "trades.parquet").read_bytes()[:900]),
        "trades.parquet cannot be read",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_source_is_one_line_and_publishes_nothing(
    source: Source, settings: Settings, tmp_path: Path, name: str
) -> None:
    folder, out = source.write(tmp_path / "src"), tmp_path / "out"
    breaking, message = BROKEN[name]
    breaking(folder)
    with pytest.raises(UsageError, match=message) as raised:
        public.run(settings, "cn10", folder, out)
    assert "\n" not in str(raised.value)
    assert not out.exists()
    source.write(folder)
    assert public.run(settings, "cn10", folder, out).dates == DAYS[1:]


def test_rows_without_a_key_cannot_be_placed(
    source: Source, settings: Settings, tmp_path: Path
) -> None:
    source.trades[5]["ts"] = None
    with pytest.raises(UsageError, match=r"1 rows of .*trades.parquet have no symbol or no ts"):
        public.run(settings, "cn10", source.write(tmp_path / "src"), tmp_path / "out")


def test_a_number_duckdb_cannot_hold_is_an_error_not_a_traceback(
    source: Source, settings: Settings, tmp_path: Path
) -> None:
    source.trades[5]["notional_cny"] = float("nan")
    with pytest.raises(CrossImpactError, match="cannot be ingested") as raised:
        public.run(settings, "cn10", source.write(tmp_path / "src"), tmp_path / "out")
    assert "\n" not in str(raised.value)


def test_one_day_alone_has_nothing_to_land(settings: Settings, tmp_path: Path) -> None:
    source = Source()
    for session in SESSIONS:
        source.session("AA", DAYS[0], session)
    with pytest.raises(UsageError, match="nothing to land on 1 dates"):
        public.run(settings, "cn10", source.write(tmp_path / "src"), tmp_path / "out")


def test_unknown_sources_are_named(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown source 'us500'; known sources: cn10"):
        public.run(settings, "us500", tmp_path, tmp_path / "out")


# --- the real data, read where they lie ----------------------------------------------------------


def real_folder() -> Path:
    """`$CROSSIMPACT_REALDATA`, else `shared/realdata` beside the checkout; skips when absent."""
    beside = Path(__file__).resolve().parents[4] / "shared" / "realdata"
    folder = Path(os.environ.get("CROSSIMPACT_REALDATA") or beside) / "cn10"
    if not (folder / "trades.parquet").is_file():
        pytest.skip(f"the public data are not at {folder} (set CROSSIMPACT_REALDATA)")
    return folder


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, public.Result]:
    folder = real_folder()
    root = tmp_path_factory.mktemp("real")
    return root, public.run(Settings(home=root / "home"), "cn10", folder, root / "out")


def test_real_rows_are_all_accounted_for(real: tuple[Path, public.Result]) -> None:
    root, result = real
    for table, name in public.FILES.items():
        source_rows = pq.ParquetFile(real_folder() / name).metadata.num_rows
        files = (root / "out/landing" / table).rglob("*.parquet")
        landed_rows = sum(pq.ParquetFile(path).metadata.num_rows for path in files)
        account = result.totals[table]
        assert account.read == source_rows
        assert account.written == landed_rows == result.rows[table]
        assert source_rows == landed_rows + sum(account.left_out.values())
    assert set(result.totals["market_snapshots"].left_out) == {
        "no_adv",
        "one_sided_book",
        "frozen_quote",
    }
    for date in result.dates[::11]:
        assert_contract(root / "out", date)


def ages_of_information(rows: list[tuple[datetime, tuple[Any, ...], bool]]) -> list[float]:
    """Seconds since the quote last changed or a print came, at each tick of one session."""
    ages, since, last = [], rows[0][0], rows[0][1]
    for ts, quote, has_print in rows:
        if has_print or quote != last:
            since, last = ts, quote
        ages.append((ts - since).total_seconds())
    return ages


def test_real_outages_leave_neither_quotes_nor_catch_up_prints(
    real: tuple[Path, public.Result],
) -> None:
    """The worst outage day, walked tick by tick in plain Python."""
    root, _ = real
    start = datetime(2020, 2, 10)
    span = [("symbol", "==", "S1"), ("ts", ">=", start), ("ts", "<", start + timedelta(days=1))]
    source = pq.read_table(real_folder() / "market_snapshots.parquet", filters=span).to_pylist()
    prints = pq.read_table(real_folder() / "trades.parquet", filters=span).to_pylist()
    traded = {row["ts"] for row in prints}
    names = ("bid_px", "ask_px", "bid_size_frac", "ask_size_frac")
    morning = [
        (row["ts"], tuple(row[name] for name in names), row["ts"] in traded)
        for row in sorted(source, key=lambda row: row["ts"])
        if row["session"] == "am"
    ]
    ages = ages_of_information(morning)
    stale = {ts for (ts, *_), age in zip(morning, ages, strict=True) if age > 60}
    thaws = {row[0] for age, row in zip(ages, morning[1:], strict=False) if age > 60}
    kept = {
        table: {
            row["ts"].replace(tzinfo=None) + timedelta(hours=8)
            for row in landed(root / "out", table, "2020-02-10").to_pylist()
            if row["symbol"] == "S1"
        }
        for table in public.FILES
    }
    assert len(stale) > 600
    assert not stale & kept["market_snapshots"]
    assert (thaws - stale) & traded
    assert not (thaws - stale) & kept["public_trades"]


SHARES = """
    WITH book AS (
        SELECT symbol, ts, bid_px, bid_size_frac * $capital AS bid_size
        FROM read_parquet($market_snapshots)
        WHERE symbol = $symbol
    ),
    ticks AS (
        SELECT *, lag(bid_px) OVER tick AS last_px, lag(bid_size) OVER tick AS last_size
        FROM book
        WINDOW tick AS (ORDER BY ts)
    )
    SELECT
        max(abs(bid_size - round(bid_size))),
        avg(CAST(round(last_size - bid_size) = qty AS INT))
    FROM ticks
    JOIN read_parquet($public_trades) USING (symbol, ts)
    WHERE bid_px = last_px AND aggressor_side = -1 AND bid_size < last_size
"""


@pytest.mark.parametrize(("symbol", "capital"), [("S1", 34798398763), ("S4", 5168285026)])
def test_real_recovered_sizes_are_whole_shares_that_prints_eat(symbol: str, capital: int) -> None:
    """A seller's print takes exactly its quantity off the bid far oftener than by chance."""
    shares = {name: str(real_folder() / file) for name, file in public.FILES.items()}
    shares["symbol"] = symbol
    with duckdb.connect() as connection:
        fraction, hits = connection.execute(SHARES, {**shares, "capital": capital}).fetchone()
        _, misses = connection.execute(SHARES, {**shares, "capital": 2 * capital}).fetchone()
    assert fraction < 1e-6
    assert hits > 0.03
    assert hits > 10 * misses
    assert f"'{symbol}', {capital}" in public.sql("ingest/cn10_book")


def test_real_past_does_not_know_the_future(
    real: tuple[Path, public.Result], tmp_path: Path
) -> None:
    root, result = real
    (tmp_path / "src").mkdir()
    for name in public.FILES.values():
        rows = pq.read_table(real_folder() / name, filters=[("ts", "<", datetime(2020, 1, 8))])
        pq.write_table(rows, tmp_path / "src" / name)
    past = public.run(Settings(home=tmp_path / "home"), "cn10", tmp_path / "src", tmp_path / "out")
    assert past.dates == result.dates[: len(past.dates)]
    assert len(past.dates) == 6
    assert contents(tmp_path / "out") == contents(root / "out", past.dates)
