"""Validation of a landing: planted rows are found where they lie, broken tables publish nothing."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from datetime import date as calendar_date
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from crossimpact import contract
from crossimpact.errors import UsageError
from pipelines import features, validate
from pipelines.export import export_violations
from pipelines.split import LAYERS
from pipelines.store.landing import Landing
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse
from pipelines.validate import LandingBlocked, run, validate_dates
from tests.pipelines import desk
from tests.pipelines.desk import validate_date

FILE = "part-0.parquet"
NAN = float("nan")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


def landed(tmp_path: Path, tables: dict[str, desk.Rows], date: str = desk.DATE) -> Landing:
    return Landing(desk.write(tmp_path / "landing", tables, date))


def found(settings: Settings, path: Path) -> set[tuple[str, int, str]]:
    """(table, row, rule) of every exported violation."""
    export_violations(settings, None, path)
    with path.open(newline="") as stream:
        return {(v["table"], int(v["row"]), v["rule_id"]) for v in csv.DictReader(stream)}


def state(settings: Settings) -> dict[str, tuple[int, bytes]]:
    """Modification time and bytes of everything published."""
    files = sorted((settings.home / "warehouse").rglob("*.*"))
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


Tables = dict[str, desk.Rows]


def put(table: str, row: int, **cells: Any) -> Callable[[Tables], None]:
    return lambda tables: tables[table][row].update(cells)


def drop(table: str, row: int) -> Callable[[Tables], None]:
    return lambda tables: tables[table].pop(row) and None


def again(table: str, row: int) -> Callable[[Tables], None]:
    return lambda tables: tables[table].append(dict(tables[table][row]))


def swap(table: str, row: int, other: int) -> Callable[[Tables], None]:
    def exchange(tables: Tables) -> None:
        rows = tables[table]
        rows[row], rows[other] = rows[other], rows[row]

    return exchange


def cross_for_an_hour(tables: Tables) -> None:
    """A book locked in every snapshot of AAA before 130 s: its fills until then have no state."""
    for row in tables["market_snapshots"]:
        if row["symbol"] == "AAA" and row["ts"] < desk.at(130):
            row["ask_px"] = row["bid_px"]


def silence(tables: Tables, *symbols: str) -> None:
    """No snapshot of `symbols` from 1300 s to 1370 s, after the last fill."""
    tables["market_snapshots"] = [
        row
        for row in tables["market_snapshots"]
        if row["symbol"] not in symbols or not desk.at(1300) <= row["ts"] <= desk.at(1370)
    ]


N_SNAPS = 2 * desk.N_SNAPSHOTS
F, P, S = "child_fills", "parent_orders", "market_snapshots"

#: name: (what is done to a clean day, the violations it must give, exactly)
PLANTED: dict[str, tuple[Callable[[Tables], None], set[tuple[str, int, str]]]] = {
    "nothing": (lambda tables: None, set()),
    "zero adv": (
        put("instruments", 1, adv_notional=0.0),
        {("instruments", 1, "adv_notional.range")},
    ),
    "nan size": (put(S, 9, bid_size=NAN), {(S, 9, "bid_size.range")}),
    "null venue": (put(F, 5, venue=None), {(F, 5, "venue.not_null")}),
    "bad liquidity": (put(F, 6, liquidity="TAKER"), {(F, 6, "liquidity.values")}),
    "bad side of an order": (put(P, 3, side="B"), {(P, 3, "side.values")}),
    "notional": (put(P, 3, parent_notional=10_200.0), {(P, 3, "notional_consistent")}),
    "window upside down": (put(P, 4, end_ts=desk.at(30)), {(P, 4, "window_ordered")}),
    "crossed": (put(S, 11, ask_px=99.0), {(S, 11, "book_not_crossed")}),
    "duplicate fill": (again(F, 7), {(F, desk.N_FILLS, "unique_key")}),
    "duplicate snapshot": (
        again(S, N_SNAPS - 1),
        {(S, N_SNAPS, "unique_key"), (S, N_SNAPS, "snapshots_increase")},
    ),
    "orphan fill": (put(F, 8, order_id="o999"), {(F, 8, "order_known")}),
    "other side": (put(F, 9, side="SELL"), {(F, 9, "order_agrees")}),
    "other symbol": (put(F, 10, symbol="BBB"), {(F, 10, "order_agrees")}),
    "late": (put(F, 11, fill_ts=desk.at(1201)), {(F, 11, "fill_in_window")}),
    "early": (put(F, 12, fill_ts=desk.at(59)), {(F, 12, "fill_in_window")}),
    "overfilled": (put(F, 13, order_id="o15"), {(F, 15, "not_overfilled")}),
    "broken fills do not fill": (
        put(F, 13, order_id="o15", venue=""),
        {(F, 13, "venue.pattern")},
    ),
    "far from mid": (put(F, 14, fill_px=110.1), {(F, 14, "fill_near_mid")}),
    "as far as allowed": (put(F, 14, fill_px=109.9), set()),
    "unknown order symbol": (
        put(P, 16, symbol="ZZZ"),
        {(P, 16, "parent_symbol_known"), (F, 16, "order_agrees")},
    ),
    "unknown fill symbol": (
        put(F, 16, symbol="ZZZ"),
        {(F, 16, rule) for rule in ("fill_symbol_known", "order_agrees", "snapshot_fresh")},
    ),
    "null fill symbol": (put(F, 16, symbol=None), {(F, 16, "symbol.not_null")}),
    "nan price": (put(F, 16, fill_px=NAN), {(F, 16, "fill_px.range")}),
    "no close mark": (drop("benchmark_marks", 3 * 17 + 2), {(P, 17, "marks_complete")}),
    "orphan mark": (
        put("benchmark_marks", 5, order_id="o999"),
        {("benchmark_marks", 5, "mark_order_known"), (P, 1, "marks_complete")},
    ),
    "unsound snapshots": (
        cross_for_an_hour,
        {(S, i, "book_not_crossed") for i in range(0, 52, 2)}
        | {(F, i, "snapshot_fresh") for i in range(0, 30, 2)},
    ),
    "out of order": (
        swap(S, 40, 44),
        {(S, 42, "snapshots_increase"), (S, 44, "snapshots_increase")},
    ),
    "other date": (
        put(S, 40, ts=desk.at(3 * 86400)),
        {(S, 40, "date_in_partition")},
    ),
    "coverage gap": (lambda tables: silence(tables, "AAA"), {(S, 535, "snapshot_gap")}),
    "market break": (lambda tables: silence(tables, "AAA", "BBB"), set()),
}


@pytest.fixture(scope="module")
def planted(tmp_path_factory) -> dict[str, set[tuple[str, int, str]]]:
    """Violations of each planted case, all cases validated as dates of one landing."""
    root = tmp_path_factory.mktemp("planted")
    settings = Settings(home=root / "home")
    days = (calendar_date(2024, 2, 1) + timedelta(days=i) for i in range(len(PLANTED)))
    dates = dict(zip(map(str, days), PLANTED, strict=True))
    for date, name in dates.items():
        tables = desk.clean()
        PLANTED[name][0](tables)
        desk.write(root / "landing", shifted(tables, date), date)
    reports = validate_dates(settings, Landing(root / "landing"), dates)
    assert not any(report["problems"] for report in reports)
    export_violations(settings, None, root / "out.csv")
    with (root / "out.csv").open(newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert {line["file"] for line in lines} == {FILE}
    return {
        name: {(v["table"], int(v["row"]), v["rule_id"]) for v in lines if v["date"] == date}
        for date, name in dates.items()
    }


def shifted(tables: Tables, date: str) -> Tables:
    """The same rows, at the same time of another day."""
    for name, rows in tables.items():
        for row in rows:
            for column in contract.TABLES[name].columns:
                if column.type == "ts" and row[column.name] is not None:
                    row[column.name] += desk.days_between(desk.DATE, date)
    return tables


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_row_is_found_where_it_lies(name: str, planted) -> None:
    assert planted[name] == PLANTED[name][1]


def test_rows_in_are_rows_accepted_and_quarantined(tmp_path: Path, settings: Settings) -> None:
    tables = desk.clean()
    put(S, 9, bid_size=NAN)(tables)
    put(S, 10, bid_px=-1.0)(tables)
    landing = landed(tmp_path, tables)
    result = run(settings, landing).to_dict()
    assert result["verdict"] == "ok"
    assert result["tables"][S] == {"landed": N_SNAPS, "accepted": N_SNAPS - 2, "quarantined": 2}
    assert result["rules"] == {S: {"bid_px.range": 1, "bid_size.range": 1}}
    assert json.loads(json.dumps(result)) == result
    (path,) = Warehouse(settings).files("accepted", S, [desk.DATE])
    accepted = pq.read_table(path)
    assert accepted.column_names == list(contract.TABLES[S].column_names)
    keys = list(zip(accepted["symbol"].to_pylist(), accepted["ts"].to_pylist(), strict=True))
    assert keys == sorted(keys)
    (path,) = Warehouse(settings).files("quarantine", S, [desk.DATE])
    (nan, negative) = pq.read_table(path).to_pylist()
    assert (nan["file"], nan["row"], nan["rules"]) == (FILE, 9, ["bid_size.range"])
    assert nan["key"] == "BBB|2024-01-03T14:30:20.000000Z"
    assert json.loads(nan["record"])["bid_size"] == "nan"
    assert json.loads(negative["record"])["bid_px"] == "-1.0"


@given(spoiled=st.sets(st.integers(0, N_SNAPS - 1), max_size=40), seed=st.integers(0, 3))
@hypothesis_settings(max_examples=5, deadline=None, phases=[Phase.explicit, Phase.generate])
def test_exactly_the_spoiled_rows_are_quarantined(tmp_path_factory, spoiled: set[int], seed: int):
    root = tmp_path_factory.mktemp("spoiled")
    tables = desk.clean()
    cells = [{"bid_px": NAN}, {"ask_size": None}, {"symbol": "?"}, {"bid_px": 100.02}]
    for row in spoiled:
        put(S, row, **cells[(row + seed) % 4])(tables)
    settings = Settings(home=root / "home")
    report = validate_date(settings, landed(root, tables), desk.DATE)
    assert {row for table, row, _ in found(settings, root / "v.csv") if table == S} == spoiled
    assert report["tables"][S]["quarantined"] == len(spoiled)
    for rows in report["tables"].values():
        assert rows["landed"] == rows["accepted"] + rows["quarantined"]


def lose(table: str) -> Callable[[Path], None]:
    return lambda root: (desk.folder(root, table) / FILE).unlink()


def halve(table: str) -> Callable[[Path], None]:
    def cut(root: Path) -> None:
        path = desk.folder(root, table) / FILE
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return cut


def recast(table: str, column: str, type_: pa.DataType) -> Callable[[Path], None]:
    def rewrite(root: Path) -> None:
        path = desk.folder(root, table) / FILE
        data = pq.ParquetFile(path).read()
        at = data.schema.get_field_index(column)
        pq.write_table(data.set_column(at, column, data[column].cast(type_)), path)

    return rewrite


def narrow(table: str, column: str) -> Callable[[Path], None]:
    def rewrite(root: Path) -> None:
        path = desk.folder(root, table) / FILE
        pq.write_table(pq.ParquetFile(path).read().drop_columns([column]), path)

    return rewrite


def empty(table: str) -> Callable[[Path], None]:
    return lambda root: desk.write(root, {table: []}) and None


BROKEN: dict[str, tuple[Callable[[Path], None], tuple[str, str, str]]] = {
    "lost partition": (lose("peer_flow"), ("peer_flow", "", contract.MISSING_PARTITION)),
    "half written": (halve(S), (S, "", contract.UNREADABLE)),
    "naive time": (recast(F, "fill_ts", pa.timestamp("us")), (F, "fill_ts", contract.COLUMN_TYPE)),
    "text price": (recast(F, "fill_px", pa.string()), (F, "fill_px", contract.COLUMN_TYPE)),
    "missing column": (narrow(P, "side"), (P, "side", contract.COLUMN_SET)),
    "no snapshots": (empty(S), (S, "", contract.ROW_COUNT)),
    "no fills": (empty(F), (F, "", contract.ROW_COUNT)),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_table_publishes_nothing_until_it_is_mended(
    name: str, tmp_path: Path, settings: Settings
) -> None:
    spoil, (table, column, rule) = BROKEN[name]
    landing = landed(tmp_path, desk.clean())
    spoil(landing.root)
    with pytest.raises(LandingBlocked) as caught:
        run(settings, landing)
    assert caught.value.exit_code == 3
    message = str(caught.value)
    assert table in message and column in message and rule in message and "\n" not in message
    (problem,) = caught.value.report["problems"]
    assert (problem["table"], problem["column"], problem["rule"]) == (table, column, rule)
    assert caught.value.report["verdict"] == "blocked"
    assert not any(Warehouse(settings).dates(layer, t) for layer in LAYERS for t in contract.TABLES)
    landed(tmp_path, desk.clean())
    assert run(settings, landing).to_dict()["verdict"] == "ok"


def test_several_problems_are_all_listed(tmp_path: Path, settings: Settings) -> None:
    landing = landed(tmp_path, desk.clean())
    recast(F, "fill_px", pa.string())(landing.root)
    halve("instruments")(landing.root)
    with pytest.raises(LandingBlocked, match=r"instruments: unreadable.*child_fills\.fill_px"):
        run(settings, landing)


def test_a_date_that_breaks_later_is_withdrawn(tmp_path: Path, settings: Settings) -> None:
    landing = landed(tmp_path, desk.clean())
    landed(tmp_path, desk.clean("2024-01-04"), "2024-01-04")
    run(settings, landing)
    halve(S)(landing.root)
    with pytest.raises(LandingBlocked):
        run(settings, landing)
    assert Warehouse(settings).dates("accepted", F) == ["2024-01-04"]


def test_a_second_run_changes_nothing(tmp_path: Path, settings: Settings) -> None:
    landing = landed(tmp_path, desk.clean())
    first = run(settings, landing)
    before = state(settings)
    assert run(settings, landing) == first
    assert state(settings) == before


def test_dates_together_give_what_each_gives_alone(tmp_path: Path) -> None:
    tables = desk.clean()
    again(F, 7)(tables)
    landing = landed(tmp_path, tables)
    landed(tmp_path, desk.clean("2024-01-04"), "2024-01-04")  # the same ids, another day
    together, alone = Settings(home=tmp_path / "together"), Settings(home=tmp_path / "alone")
    reports = validate_dates(together, landing, landing.all_dates())
    assert reports == [validate_date(alone, landing, date) for date in landing.all_dates()]
    homes = (together.home, alone.home)
    published = [
        {path.relative_to(home): pq.ParquetFile(path).read() for path in home.rglob("*.parquet")}
        for home in homes
    ]
    accepted = [{k: v for k, v in p.items() if "accepted" in k.parts} for p in published]
    assert accepted[0] == accepted[1]  # same names are same bytes: a file is named by its digest
    rows = [sum(table.num_rows for table in p.values()) for p in published]
    assert rows[0] == rows[1]


def test_a_correction_replaces_the_date(tmp_path: Path, settings: Settings) -> None:
    tables = desk.clean()
    put(F, 9, side="SELL")(tables)
    landing = landed(tmp_path, tables)
    validate_date(settings, landing, desk.DATE)
    assert found(settings, tmp_path / "v.csv") == {(F, 9, "order_agrees")}
    landed(tmp_path, desk.clean())
    assert validate_date(settings, landing, desk.DATE)["rules"] == {}
    assert found(settings, tmp_path / "v.csv") == set()


def test_too_many_quarantined_rows_block(tmp_path: Path, settings: Settings) -> None:
    tables = desk.clean()
    for row in (1, 2):
        put(F, row, venue="")(tables)
    with pytest.raises(LandingBlocked, match=r"child_fills: quarantine_share.* 2 of 120 rows"):
        run(settings, landed(tmp_path, tables))


def test_duplicates_block_before_other_quarantine(tmp_path: Path, settings: Settings) -> None:
    tables = desk.clean()
    again(F, 1)(tables)
    with pytest.raises(LandingBlocked, match=r"child_fills\.fill_id, venue: duplicate_share"):
        run(settings, landed(tmp_path, tables))


def test_a_desk_idle_for_a_day_is_fine(tmp_path: Path, settings: Settings) -> None:
    tables = desk.clean() | {table: [] for table in contract.DESK_TABLES}
    result = run(settings, landed(tmp_path, tables)).to_dict()
    assert result["tables"][F] == {"landed": 0, "accepted": 0, "quarantined": 0}
    assert Warehouse(settings).dates("accepted", F) == [desk.DATE]


def test_fills_without_any_order_table_name_the_table(tmp_path: Path, settings: Settings) -> None:
    tables = desk.clean()
    del tables[P]
    with pytest.raises(LandingBlocked, match="parent_orders: missing_table"):
        run(settings, landed(tmp_path, tables))


def test_all_problems_of_a_date_are_told_at_once(tmp_path: Path, settings: Settings) -> None:
    """A table that is not there hides neither a broken column nor an empty table of another."""
    tables = desk.clean() | {"instruments": []}
    landing = landed(tmp_path, tables)
    shutil.rmtree(landing.root / "benchmark_marks")
    path = desk.folder(landing.root, S) / FILE
    pq.write_table(pq.ParquetFile(path).read().drop_columns(["ask_size", "bid_size"]), path)
    with pytest.raises(LandingBlocked) as caught:
        run(settings, landing)
    problems = {(p["table"], p["column"], p["rule"]) for p in caught.value.report["problems"]}
    assert problems == {
        ("benchmark_marks", "", contract.MISSING_TABLE),
        (S, "bid_size", contract.COLUMN_SET),
        (S, "ask_size", contract.COLUMN_SET),
        ("instruments", "", contract.ROW_COUNT),
    }
    for word in ("benchmark_marks", "ask_size", "bid_size", "instruments"):
        assert word in caught.value.what
    assert Warehouse(settings).dates("accepted", F) == []


@pytest.mark.parametrize("mark", [";", "\t", "|"])
def test_a_csv_by_another_delimiter_is_told_so(
    tmp_path: Path, settings: Settings, mark: str
) -> None:
    landing = landed(tmp_path, desk.clean())
    path = desk.write_csv(landing.root, F, desk.clean()[F])
    path.write_text(path.read_text().replace(",", mark))
    with pytest.raises(LandingBlocked, match="separated by") as caught:
        run(settings, landing)
    (problem,) = caught.value.report["problems"]
    assert problem["rule"] == contract.UNREADABLE and repr(mark) in problem["text"]


def test_a_landing_without_any_date_is_no_verdict(tmp_path: Path, settings: Settings) -> None:
    landing = landed(tmp_path, desk.clean())
    with pytest.raises(UsageError, match=f"give {landing.root}$"):
        run(settings, Landing(landing.root / F))
    with pytest.raises(UsageError, match="holds no date"):
        run(settings, Landing(landing.root / F / f"date={desk.DATE}"))
    assert not settings.home.exists()


def test_public_data_alone_are_enough(tmp_path: Path, settings: Settings) -> None:
    tables = {t: rows for t, rows in desk.clean().items() if t not in contract.DESK_TABLES}
    result = run(settings, landed(tmp_path, tables)).to_dict()
    assert result["verdict"] == "ok"
    assert list(result["tables"]) == ["instruments", S, "peer_flow", "public_trades"]


def test_a_desk_without_peer_flow_is_accepted_and_says_what_it_does_without(
    tmp_path: Path, settings: Settings
) -> None:
    tables = desk.clean()
    assert run(settings, landed(tmp_path / "with", tables)).notes == ()
    del tables["peer_flow"]
    result = run(settings, landed(tmp_path / "without", tables)).to_dict()
    assert (result["verdict"], result["notes"]) == ("ok", [validate.NO_PEER_FLOW])
    features.build(settings, desk.DATE)
    (path,) = Warehouse(settings).files(settings.feature_layer, "buckets", [desk.DATE])
    peers = pq.read_table(path, columns=["sector_flow_adv", "factor_flow_adv"]).to_pylist()
    assert peers and not any(any(row.values()) for row in peers)


def test_a_csv_cell_that_does_not_cast_is_a_row_of_its_own(
    tmp_path: Path, settings: Settings
) -> None:
    tables = desk.clean()
    tables["instruments"][0]["symbol"] = "NA"  # an instrument more does no harm
    for table in (P, F, S, "peer_flow", "public_trades"):
        for row in tables[table]:
            row["symbol"] = "NA" if row["symbol"] == "AAA" else "TRUE"
    tables["instruments"][1]["symbol"] = "TRUE"
    landing = landed(tmp_path, tables)
    for table, rows in tables.items():
        desk.write_csv(landing.root, table, rows)
    path = desk.folder(landing.root, F) / "part-0.csv"
    lines = path.read_text().splitlines()
    lines[3] = lines[3].replace(",100,", ",a lot,")
    path.write_text("\n".join(lines) + "\n")
    report = validate_date(settings, landing, desk.DATE)
    assert report["rules"] == {F: {contract.CAST: 1}}
    (quarantined,) = Warehouse(settings).files("quarantine", F, [desk.DATE])
    (row,) = pq.read_table(quarantined).to_pylist()
    assert (row["file"], row["row"], row["rules"]) == ("part-0.csv", 2, [contract.CAST])
    assert json.loads(row["record"])["fill_qty"] == "a lot"


def test_one_symbol_has_no_one_to_be_silent_against(tmp_path: Path, settings: Settings) -> None:
    tables = desk.clean()
    silence(tables, "AAA")
    alone = {
        table: [row for row in rows if row.get("symbol") == "AAA"]
        for table, rows in tables.items()
        if table not in contract.DESK_TABLES
    }
    assert validate_date(settings, landed(tmp_path, alone), desk.DATE)["rules"] == {}


def test_a_date_that_is_not_landed_is_a_usage_error(tmp_path: Path, settings: Settings) -> None:
    with pytest.raises(UsageError, match="2024-01-09"):
        validate_date(settings, landed(tmp_path, desk.clean()), "2024-01-09")


def test_the_export_is_sorted_and_keyed(tmp_path: Path, settings: Settings) -> None:
    tables = desk.clean()
    put(F, 16, symbol="ZZZ")(tables)
    put(S, 9, bid_size=NAN)(tables)
    landing = landed(tmp_path, tables)
    validate_date(settings, landing, desk.DATE)
    assert export_violations(settings, landing, tmp_path / "out" / "v.csv") == 4
    assert (tmp_path / "out" / "v.csv").read_text().splitlines() == [
        "table,date,file,row,key,rule_id,severity",
        "child_fills,2024-01-03,part-0.parquet,16,f16|XNYS,fill_symbol_known,quarantine",
        "child_fills,2024-01-03,part-0.parquet,16,f16|XNYS,order_agrees,quarantine",
        "child_fills,2024-01-03,part-0.parquet,16,f16|XNYS,snapshot_fresh,quarantine",
        "market_snapshots,2024-01-03,part-0.parquet,9,BBB|2024-01-03T14:30:20.000000Z,"
        "bid_size.range,quarantine",
    ]


def test_what_another_process_published_meanwhile_is_never_withdrawn(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    landing = landed(tmp_path, desk.clean())
    known = validate_dates(settings, landing, [desk.DATE])
    manifests = [*settings.home.rglob("_manifest.json")]
    published = settings.home / "warehouse"
    unlink = Path.unlink

    def watched(path: Path, **given: bool) -> None:
        assert published not in path.parents, f"{path} was withdrawn"
        unlink(path, **given)

    monkeypatch.setattr(Path, "unlink", watched)
    judged = validate._judge(Warehouse(settings), landing, [desk.DATE])  # it saw none at its start
    assert judged == {desk.DATE: known[0]} and len(manifests) > 0


def test_yesterday_landed_again_as_today_is_blocked(tmp_path: Path, settings: Settings) -> None:
    landing = landed(tmp_path, desk.clean())
    for table in contract.TABLES:
        folder = desk.folder(landing.root, table)
        shutil.copytree(folder, folder.with_name("date=2024-01-04"))
    with pytest.raises(LandingBlocked, match=f"repeated_partition.*date={desk.DATE}"):
        run(settings, landing)
    report = validate_date(settings, landing, desk.DATE)
    assert not report["problems"]


def test_an_endless_order_is_quarantined(tmp_path: Path, settings: Settings) -> None:
    """Parquet's largest integer is DuckDB's infinity."""
    landing = landed(tmp_path, desk.clean())
    path = desk.folder(landing.root, P) / FILE
    data = pq.ParquetFile(path).read()
    at = data.schema.get_field_index("end_ts")
    ends = data["end_ts"].cast(pa.int64()).to_pylist()
    ends[5] = 2**63 - 1
    column = pa.array(ends, pa.int64()).cast(pa.timestamp("us", tz="UTC"))
    pq.write_table(data.set_column(at, "end_ts", column), path)
    report = validate_date(settings, landing, desk.DATE)
    assert report["rules"][P] == {"window_finite": 1}


def test_part_files_have_no_order_between_them(tmp_path: Path, settings: Settings) -> None:
    """part-10 sorts before part-2; within each, time runs forward."""
    tables = desk.clean()
    snapshots = tables.pop(S)
    landing = landed(tmp_path, tables)
    size = len(snapshots) // 12
    for part in range(12):
        rows = snapshots[part * size : (part + 1) * size]
        desk.write(landing.root, {S: rows}, name=f"part-{part}.parquet")
    report = validate_date(settings, landing, desk.DATE)
    assert report["rules"].get(S, {}) == {}


def test_a_fill_of_the_wrong_side_does_not_use_up_its_order(
    tmp_path: Path, settings: Settings
) -> None:
    tables = desk.clean()
    wrong = dict(tables[F][3], fill_id="wrong", side="SELL", fill_ts=desk.at(61))
    tables[F].insert(0, wrong)
    report = validate_date(settings, landed(tmp_path, tables), desk.DATE)
    assert report["rules"][F] == {"order_agrees": 1}


def test_a_name_whose_instrument_row_is_refused_is_counted_as_unplaced(
    tmp_path: Path, settings: Settings
) -> None:
    tables = desk.clean()
    tables["instruments"][0]["adv_notional"] = 0.0
    landing = landed(tmp_path, tables)
    validate_date(settings, landing, desk.DATE)
    features.prepare(settings, landing, [desk.DATE])
    lost = [row for row in tables[F] if row["symbol"] == tables["instruments"][0]["symbol"]]
    found = features.unplaced(settings, [desk.DATE])
    assert found["fills"] >= len(lost) > 0
    assert found["usd"] >= sum(row["fill_px"] * row["fill_qty"] for row in lost) - 1e-6


@pytest.mark.parametrize("name", ["part-1.PARQUET", "fills.csv.gz", "notes.txt"])
def test_a_file_of_another_kind_blocks_until_it_is_gone(
    name: str, tmp_path: Path, settings: Settings
) -> None:
    """It would not be read, and nothing is dropped silently: also when it comes later."""
    landing = landed(tmp_path, desk.clean())
    run(settings, landing)
    stranger = desk.folder(landing.root, F) / name
    stranger.write_bytes(b"x")
    with pytest.raises(LandingBlocked, match=f"child_fills: unreadable.*{name}"):
        run(settings, landing)
    stranger.unlink()
    (stranger.parent / "_SUCCESS").touch()
    assert run(settings, landing).verdict == "ok"
