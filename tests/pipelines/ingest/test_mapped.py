"""Anybody's files by a map: the worked maps end to end, every row counted, wrong maps named."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from crossimpact import contract
from crossimpact.errors import UsageError
from pipelines import features, tca, validate
from pipelines.ingest import mapped, mapping
from pipelines.ingest.public import Result
from pipelines.ingest.source import Reader
from pipelines.pricing import Pricing
from pipelines.store.landing import Landing
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse
from tests.absent import ABSENT
from tests.pipelines import ingest_samples as samples
from tests.pipelines import tca_desk

MAPS = Path(__file__).parents[3] / "docs" / "maps"
MINIMAL = """
[market]
time_zone = "America/New_York"
[market_snapshots]
files = "quotes.csv"
columns = { symbol = "s", ts = "t", bid_px = "b", ask_px = "a", bid_size = "n", ask_size = "n" }
[instruments]
adv = "column"
files = "names.csv"
columns = { symbol = "s", adv_notional = "adv" }
"""
QUOTES = [("AA", "2024-07-02 09:30:00", 10, 11, 5), ("AA", "2024-07-02T13:30:05Z", 10, 11, 5)]


def read(root: Path, table: str, date: str) -> list[dict[str, Any]]:
    path = root / "landing" / table / f"date={date}" / "part-0.parquet"
    rows: list[dict[str, Any]] = pq.ParquetFile(path).read().to_pylist()
    return rows


def ingest(root: Path, text: str = MINIMAL, quotes: list[tuple[Any, ...]] | None = None) -> Result:
    """Ingest a hand-made source of one quote file and whatever else lies in `root`/src."""
    samples.write(root / "src" / "quotes.csv", "s,t,b,a,n", QUOTES if quotes is None else quotes)
    samples.write(root / "src" / "names.csv", "s,adv", [("AA", 1e6), ("BB", 1e6)])
    (root / "map.toml").write_text(text)
    return mapped.run(Settings(root / "home"), root / "map.toml", root / "src", root / "out")


def balanced(result: Result) -> bool:
    return all(
        account.read == account.written + sum(account.left_out.values())
        for day in result.per_date.values()
        for account in day.values()
    )


# -- the worked maps -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def us(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    root = tmp_path_factory.mktemp("us")
    src = samples.us_ticks(root / "src", hours=1.0)
    result = mapped.run(Settings(root / "home"), MAPS / "us_ticks.toml", src, root / "out")
    return root, result


@pytest.fixture(scope="module")
def fx(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    root = tmp_path_factory.mktemp("fx")
    src = samples.tca_desk(root / "src")
    result = mapped.run(Settings(root / "home"), MAPS / "tca_desk.toml", src, root / "out")
    return root, result


def test_the_us_map_lands_a_public_zone_that_validates_and_has_features(
    us: tuple[Path, Result],
) -> None:
    root, result = us
    settings, landing = Settings(root / "home", flow="public"), Landing(root / "out" / "landing")
    verdict = validate.run(settings, landing).to_dict()
    assert verdict["verdict"] == "ok" and verdict["rules"] == {}
    assert verdict["notes"] == [validate.NO_PEER_FLOW]
    features.prepare(settings, landing, result.dates)
    panel = features.load_panel(settings, result.dates)
    assert panel.symbols == ("AAPL", "BRK.B", "MSFT")
    assert (panel.q != 0).mean() > 0.9
    assert not panel.sector_flow.any()


def test_every_us_row_is_landed_or_counted_by_its_reason(us: tuple[Path, Result]) -> None:
    _, result = us
    assert balanced(result)
    prints = result.totals["public_trades"]
    planted = samples.US_PLANTED
    assert {k: v for k, v in prints.left_out.items() if k in planted} == planted
    assert prints.written == result.rows["public_trades"]
    assert result.totals["market_snapshots"].left_out["quote_condition"] == 2 * 3


def test_the_us_map_reads_prices_zone_sizes_and_the_side(us: tuple[Path, Result]) -> None:
    root, result = us
    assert result.dates == samples.US_DATES
    rows = read(root / "out", "market_snapshots", "2024-07-02")
    times = [row["ts"] for row in rows if row["symbol"] == "AAPL"]
    assert times[0] >= datetime(2024, 7, 2, 13, 30, 1, tzinfo=UTC)
    assert min(b - a for a, b in pairwise(times)) >= timedelta(seconds=1)
    assert {round(row["ask_px"] - row["bid_px"], 9) for row in rows} == {0.02}
    assert {(row["bid_size"], row["ask_size"]) for row in rows} == {(300.0, 400.0)}
    assert all(row["bid_px"] == round(row["bid_px"], 2) for row in rows)  # / 10,000, not x 1e-4
    (first, *_) = read(root / "out", "instruments", "2024-07-03")
    assert (first["symbol"], first["adv_notional"]) == ("AAPL", 1e8)
    sides = {row["aggressor_side"] for row in read(root / "out", "public_trades", "2024-07-02")}
    assert sides == {1, -1}


def test_the_tca_map_lands_a_desk_of_long_ids_that_validates_and_is_analysed(
    fx: tuple[Path, Result],
) -> None:
    root, result = fx
    settings, landing = Settings(root / "home"), Landing(root / "out" / "landing")
    verdict = validate.run(settings, landing).to_dict()
    warned = {rule for rules in verdict["rules"].values() for rule in rules}
    assert (verdict["verdict"], warned) == ("ok", {"fill_on_tick"})  # quoted finer than the tick
    assert not any(rows["quarantined"] for rows in verdict["tables"].values())
    features.prepare(settings, landing, result.dates)
    by = tca_desk.release(tca_desk.model(symbols=("EURUSD", "GBPUSD", "AUDUSD")))
    date = result.dates[0]
    done = tca.run(settings, landing.root, date, Pricing.by(by, date, {"version": "1"}))
    assert done.summary["parents_filled"] == done.summary["parents"] == 36
    assert done.split["fees_spread"]["usd"] == pytest.approx(
        sum(row["fill_qty"] * 5e-5 for row in read(root / "out", "child_fills", result.dates[0])),
        rel=0.2,
    )
    assert samples.LONG_ID in done.report.read_text()


def test_the_tca_map_derives_what_the_desk_lacks_and_says_how_much(fx: tuple[Path, Result]) -> None:
    root, result = fx
    parents = result.rows["parent_orders"]
    assert result.details["derived"] == {
        "aggressor_side": 0, "decision_px": parents, "benchmark_marks": 4 * parents,
    }  # fmt: skip
    assert result.totals["child_fills"].left_out == {"not_a_trade": parents}
    assert balanced(result)
    order = read(root / "out", "parent_orders", result.dates[0])[0]
    assert len(order["order_id"]) > 76 and "+" in order["order_id"] and " " in order["order_id"]
    assert order["parent_qty"] == 1.5e6
    assert order["parent_notional"] == order["parent_qty"] * order["decision_px"]


def test_the_same_source_gives_the_same_bytes_and_a_foreign_landing_is_refused(
    fx: tuple[Path, Result],
) -> None:
    root, _ = fx

    def content() -> dict[str, bytes]:
        return {str(p): p.read_bytes() for p in sorted((root / "out").rglob("*.*")) if p.is_file()}

    before = content()
    run = (Settings(root / "home"), MAPS / "tca_desk.toml", root / "src", root / "out")
    mapped.run(*run)
    assert content() == before
    assert json.loads((root / "out" / "ingest.json").read_text())["source"] == "table"
    other = root / "out" / "landing" / "peer_flow" / "date=2020-01-01"
    other.mkdir(parents=True)
    (other / "part-0.parquet").touch()
    with pytest.raises(UsageError, match="already holds"):
        mapped.run(*run)
    (other / "part-0.parquet").unlink()


# -- cells ---------------------------------------------------------------------------------------

DATE = "2024-07-02"
NINE_THIRTY = datetime(2024, 7, 2, 13, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ('"t"', "2024-07-02 09:30:00"),
        ('"t"', "2024-07-02T13:30:00Z"),
        ('"t"', "2024-07-02 15:30:00+02:00"),
        ('{ column = "t", zone = "Europe/Paris" }', "2024-07-02 15:30:00"),
        ('{ column = "t", epoch = "s" }', "1719927000"),
        ('{ column = "t", epoch = "ms" }', "1719927000000"),
        ('{ column = "t", epoch = "us" }', "1719927000000000"),
        ('{ column = "t", epoch = "ns" }', "1719927000000000999"),
        ('{ column = "t", format = "%d/%m/%Y %H:%M" }', "02/07/2024 09:30"),
        ('{ date = { constant = "2024-07-02" }, time = "t" }', "09:30:00"),
        ('{ date = { constant = "20240702", format = "%Y%m%d" }, time = "t", time_unit = "s" }',
         "34200.0"),
        ('{ date = { constant = "2024-07-02" }, time = "t", time_unit = "ms" }', "34200000"),
    ],
)  # fmt: skip
def test_a_time_is_read_in_its_zone_and_unit(tmp_path: Path, cell: str, text: str) -> None:
    samples.write(tmp_path / "quotes.csv", "s,t,b,a,n", [("AA", text, 10, 11, 5)])
    (tmp_path / "map.toml").write_text(MINIMAL.replace('ts = "t"', f"ts = {cell}"))
    asked = mapping.load(tmp_path / "map.toml")
    with Warehouse(Settings(tmp_path / "home")).connect() as connection:
        reader = Reader(connection, asked, tmp_path, tmp_path / "staged")
        assert reader.stage("market_snapshots", asked.market_snapshots).rows == 1
        found = connection.execute(
            f"SELECT CAST(ts AS VARCHAR), reason FROM ({reader.view('market_snapshots', DATE)})"
        )
        assert found.fetchall() == [("2024-07-02 13:30:00+00", None)]


def test_cells_nobody_can_read_are_counted_by_column(tmp_path: Path) -> None:
    bad = [
        ("AA", "yesterday", 10, 11, 5), ("AA", "", 10, 11, 5),
        ("AA", "2024-07-02 10:00", "x", 11, 5),
        ("AA", "2024-07-02 10:01", 10, "", 5), ("", "2024-07-02 10:02", 10, 11, 5),
        ("ZZ", "2024-07-02 10:03", 10, 11, 5), ("AA", "2024-07-02 10:04", 0, 11, 5),
    ]  # fmt: skip
    result = ingest(tmp_path, quotes=[*QUOTES, *bad])
    assert result.totals["market_snapshots"].to_dict() == {
        "read": 9,
        "written": 2,
        "left_out": {
            "missing_ask_px": 1, "missing_symbol": 1, "missing_ts": 1, "no_instrument": 1,
            "one_sided_book": 1, "unreadable_bid_px": 1, "unreadable_ts": 1,
        },
    }  # fmt: skip


def test_folders_whose_names_are_patterns_are_read_and_no_other(tmp_path: Path) -> None:
    for folder, size in (("a?b", 5), ("axb", 6), ("a?b", 7)):
        quotes = [("AA", "2024-07-02 09:30:00", 10, 11, size)]
        result = ingest(tmp_path / folder, quotes=quotes)
        assert balanced(result)
        (row,) = read(tmp_path / folder / "out", "market_snapshots", "2024-07-02")
        assert row["bid_size"] == size


def test_a_half_day_ends_the_session_early(tmp_path: Path) -> None:
    text = MINIMAL.replace(
        "[market_snapshots]",
        'open = "09:30"\nclose = "16:00"\nhalf_days = { "2024-07-03" = "13:00" }\n'
        "[market_snapshots]",
    )
    quotes = [("AA", f"2024-07-0{d} {t}", 10, 11, 5) for d in (2, 3) for t in ("12:59", "13:01")]
    result = ingest(tmp_path, text, quotes)
    assert result.per_date["2024-07-02"]["market_snapshots"].written == 2
    assert result.per_date["2024-07-03"]["market_snapshots"].left_out == {"outside_session": 1}


def test_decimal_commas_gzip_files_without_header_and_names_in_file_names(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    with gzip.open(tmp_path / "src" / "book-BRK_A-2024-07-02.csv.gz", "wt") as stream:
        stream.write("34200000;1.234,5;1.234,75;5\n")
    text = """
        [market]
        time_zone = "America/New_York"
        [symbols]
        "BRK_A" = "BRK.A"
        [market_snapshots]
        files = "book-*.csv.gz"
        delimiter = ";"
        decimal = ","
        header = ["ms", "bid", "ask", "size"]
        [market_snapshots.columns]
        symbol = { filename = 'book-([A-Z_]+)-' }
        ts = { date = { filename = '(\\d{4}-\\d{2}-\\d{2})' }, time = "ms", time_unit = "ms" }
        bid_px = "bid"
        ask_px = "ask"
        bid_size = "size"
        ask_size = { constant = 0 }
        [instruments]
        adv = "column"
        files = "names.csv"
        columns = { symbol = "s", adv_notional = { constant = 1e9 } }
    """
    samples.write(tmp_path / "src" / "names.csv", "s", [("BRK_A",)])
    (tmp_path / "map.toml").write_text(text)
    out = tmp_path / "out"
    mapped.run(Settings(tmp_path / "h"), tmp_path / "map.toml", tmp_path / "src", out)
    (row,) = read(out, "market_snapshots", "2024-07-02")
    assert row == {
        "symbol": "BRK.A", "ts": NINE_THIRTY, "bid_px": 1234.5, "ask_px": 1234.75, "bid_size": 5.0,
        "ask_size": 0.0, "short_vol_bps": None,
    }  # fmt: skip


def test_columns_of_each_file_are_found_by_name_whatever_their_order(tmp_path: Path) -> None:
    samples.write(
        tmp_path / "src" / "more" / "quotes2.csv", "a,b,n,s,t", [(21, 20, 5, "BB", QUOTES[0][1])]
    )
    ingest(tmp_path, MINIMAL.replace('"quotes.csv"', '"**/quotes*.csv"'))
    rows = read(tmp_path / "out", "market_snapshots", "2024-07-02")
    assert [(r["symbol"], r["bid_px"]) for r in rows] == [("AA", 10.0), ("AA", 10.0), ("BB", 20.0)]


def test_parquet_of_numbers_and_times_reads_as_its_text_would(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    table = pa.table(
        {
            "s": ["AA", "AA"],
            "t": pa.array([NINE_THIRTY, NINE_THIRTY], pa.timestamp("ns", "UTC")),
            "b": pa.array([100_000, None], pa.int64()),
            "a": [110_000.0, 110_000.0],
            "n": pa.array([5, 5], pa.int32()),
        }
    )
    pq.write_table(table, tmp_path / "src" / "quotes.parquet")
    text = MINIMAL.replace("quotes.csv", "quotes.parquet")
    text = text.replace('"b"', '{ column = "b", divide = 10_000 }')
    result = ingest(tmp_path, text.replace('"a"', '{ column = "a", divide = 10_000 }'))
    (row,) = read(tmp_path / "out", "market_snapshots", "2024-07-02")
    assert (row["bid_px"], row["ask_px"], row["ts"]) == (10.0, 11.0, NINE_THIRTY)
    assert result.totals["market_snapshots"].left_out == {"missing_bid_px": 1}


# -- wrong maps and sources ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("America/New_York", "New York", r"market.time_zone = 'New York'.*allowed: IANA"),
        ('ts = "t"', 'ts = { column = "t", epoch = "min" }', r"epoch = 'min'.*'ns'"),
        (
            'ts = "t"',
            'ts = { column = "t", divide = 2 }',
            r"columns.ts.divide: not for a ts; allowed",
        ),
        ('ts = "t"', 'ts = { column = "t", constant = 1 }', "exactly one of column, constant"),
        ('ts = "t", ', "", r"market_snapshots.columns.ts is missing"),
        ('bid_px = "b"', 'bid = "b"', r"columns.bid: unknown column; allowed: symbol, ts, bid_px"),
        (
            'files = "quotes.csv"',
            'files = "quotes.csv"\nsample_s = 9',
            r"sample_s = 9.*less than or",
        ),
        ('files = "quotes.csv"', 'file = "quotes.csv"', r"unknown key file; allowed: files"),
        ('files = "quotes.csv"', 'files = "q"\nlocked = "drop"', r"locked = 'drop'.*'leave_out'"),
        ('adv = "column"', 'adv = "prints"', r"needs \[public_trades\]; allowed: bars, column"),
        (
            "[instruments]",
            "[peer_flow]\nderive='prints'\n[instruments]",
            r"needs \[public_trades\]",
        ),
        ("[market]", "[market]\nopen = '9:30'", r"market.open = '9:30'"),
        ("[market]", "[market]\nopen = '16:00'\nclose = '09:30'", "closes at 09:30"),
        ("[market]", "[market", "cannot be read"),
    ],
)
def test_a_wrong_map_is_told_by_key_value_and_what_is_allowed(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    assert old in MINIMAL
    (tmp_path / "map.toml").write_text(MINIMAL.replace(old, new))
    with pytest.raises(UsageError, match=said) as caught:
        mapping.load(tmp_path / "map.toml")
    assert "\n" not in str(caught.value) or "cannot be read" in said


def test_all_wrong_keys_are_told_at_once(tmp_path: Path) -> None:
    text = MINIMAL.replace("America/New_York", "Mars").replace('adv = "column"', 'adv = "guess"')
    (tmp_path / "map.toml").write_text(text)
    with pytest.raises(UsageError, match=r"market\.time_zone.*instruments\.adv = 'guess'"):
        mapping.load(tmp_path / "map.toml")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("quotes.csv", "nothing-*.csv", "matches no file"),
        ("quotes.csv", "/data/*.csv", "market_snapshots.files = '/data/.*csv': .*unsupported"),
        ("quotes.csv", "a**/quotes.csv", "market_snapshots.files = 'a.*Invalid pattern"),
        ('bid_px = "b"', 'bid_px = "BID"', r"column 'BID' is not in .*its columns: s, t, b, a, n"),
        ('symbol = "s", ts', "symbol = { filename = 'x(y)' }, ts", "finds nothing in quotes.csv"),
        ('adv_notional = "adv"', "adv_notional = { constant = 0 }", "no row of instruments lands"),
    ],
)
def test_a_source_that_is_not_what_the_map_says_lands_nothing(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        ingest(tmp_path, MINIMAL.replace(old, new))
    assert not (tmp_path / "out" / "landing").exists()
    assert not list((tmp_path / "out").glob(".ingest-*"))


def test_the_landed_columns_are_the_contracts(fx: tuple[Path, Result]) -> None:
    root, result = fx
    for table in result.rows:
        (path, *_) = sorted((root / "out" / "landing" / table).rglob("*.parquet"))
        names = pq.read_schema(path).names
        assert names == [
            column.name for column in contract.TABLES[table].columns if column.name not in ABSENT
        ]
