"""Validation of a landing: planted rows are found where they lie, broken tables publish nothing."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date as calendar_date
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from crossimpact import contract
from crossimpact.errors import UsageError
from crossimpact.waiver import Waivers
from pipelines import features, validate
from pipelines.date_report import DateReport
from pipelines.export import export_violations
from pipelines.split import LAYERS
from pipelines.store.landing import Landing
from pipelines.store.settings import Settings
from pipelines.store.stale import find as find_stale
from pipelines.store.warehouse import Warehouse
from pipelines.validate import LandingBlocked, run, validate_dates
from tests.pipelines import desk
from tests.pipelines.desk import validate_date

FILE = "part-0.parquet"
NEXT = "2024-01-04"
NAN = float("nan")
N_SNAPS = 2 * desk.N_SNAPSHOTS
F, P, S = "child_fills", "parent_orders", "market_snapshots"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


def landed(tmp_path: Path, tables: dict[str, desk.Rows], date: str = desk.DATE) -> Landing:
    return Landing(desk.write(tmp_path / "landing", tables, date))


def found(settings: Settings, path: Path) -> dict[str, set[tuple[str, int, str]]]:
    """(table, row, rule) of every exported violation, by date."""
    export_violations(settings, None, path)
    by_date: dict[str, set[tuple[str, int, str]]] = {}
    with path.open(newline="") as stream:
        for line in csv.DictReader(stream):
            where = by_date.setdefault(line["date"], set())
            where.add((line["table"], int(line["row"]), line["rule_id"]))
    return by_date


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
    """A book crossed in every snapshot of AAA before 130 s: its fills until then have no state."""
    for row in tables["market_snapshots"]:
        if row["symbol"] == "AAA" and row["ts"] < desk.at(130):
            row["ask_px"] = row["bid_px"] - 0.01


def fill_the_wrong_side_first(tables: Tables) -> None:
    """A fill of a full order, on the other side and before it was filled."""
    wrong = dict(tables[F][3], fill_id="wrong", side="SELL", fill_ts=desk.at(61))
    tables[F].insert(0, wrong)


def spoil_at_random(tables: Tables, count: int, seed: int) -> set[int]:
    """Break `count` snapshots in one of four ways each; their rows."""
    cells = [{"bid_px": NAN}, {"ask_size": None}, {"symbol": "?"}, {"bid_px": 100.02}]
    rows = np.random.default_rng(seed).choice(N_SNAPS, count, replace=False).tolist()
    for row in rows:
        put(S, row, **cells[(row + seed) % 4])(tables)
    return set(rows)


def silence(tables: Tables, *symbols: str) -> None:
    """No snapshot of `symbols` from 1300 s to 1370 s, after the last fill."""
    tables["market_snapshots"] = [
        row
        for row in tables["market_snapshots"]
        if row["symbol"] not in symbols or not desk.at(1300) <= row["ts"] <= desk.at(1370)
    ]


Case = tuple[Callable[[Tables], Any], set[tuple[str, int, str]]]

#: What is done to a clean day, and the violations it must give, exactly. By day: what is planted in
#: one day touches different rows, so each case answers for its own and none for a neighbour's.
PLANTED: dict[str, dict[str, Case]] = {
    "no violations": {
        "nothing": (lambda tables: None, set()),
        "as far as allowed": (put(F, 14, fill_px=109.9), set()),
        "market break": (lambda tables: silence(tables, "AAA", "BBB"), set()),
    },
    "cells": {
        "zero adv": (
            put("instruments", 1, adv_notional=0.0),
            {("instruments", 1, "adv_notional.range")},
        ),
        "nan size": (put(S, 9, bid_size=NAN), {(S, 9, "bid_size.range")}),
        "crossed": (put(S, 11, ask_px=99.0), {(S, 11, "book_not_crossed")}),
        "other date": (put(S, 40, ts=desk.at(3 * 86400)), {(S, 40, "date_in_partition")}),
        "bad side of an order": (put(P, 3, side="B"), {(P, 3, "side.values")}),
        "window upside down": (put(P, 4, end_ts=desk.at(30)), {(P, 4, "window_ordered")}),
        "null venue": (put(F, 5, venue=None), {(F, 5, "venue.not_null")}),
        "bad liquidity": (put(F, 6, liquidity="TAKER"), {(F, 6, "liquidity.values")}),
        "nan price": (put(F, 16, fill_px=NAN), {(F, 16, "fill_px.range")}),
        "null fill symbol": (put(F, 17, symbol=None), {(F, 17, "symbol.not_null")}),
        "notional": (put(P, 18, parent_notional=10_200.0), {(P, 18, "notional_consistent")}),
        "broken fills do not fill": (
            put(F, 13, order_id="o15", venue=""),
            {(F, 13, "venue.pattern")},
        ),
    },
    "across tables": {
        "orphan fill": (put(F, 8, order_id="o999"), {(F, 8, "order_known")}),
        "other side": (put(F, 9, side="SELL"), {(F, 9, "order_agrees")}),
        "other symbol": (put(F, 10, symbol="BBB"), {(F, 10, "order_agrees")}),
        "late": (put(F, 11, fill_ts=desk.at(1211)), {(F, 11, "fill_in_window")}),
        "stamped after the bell": (put(F, 19, fill_ts=desk.at(1203)), {(F, 19, "fill_after_end")}),
        "early": (put(F, 12, fill_ts=desk.at(59)), {(F, 12, "fill_in_window")}),
        "overfilled": (put(F, 13, order_id="o15"), {(F, 15, "not_overfilled")}),
        "far from mid": (put(F, 14, fill_px=110.1), {(F, 14, "fill_near_mid")}),
        "unknown order symbol": (
            put(P, 16, symbol="ZZZ"),
            {(P, 16, "parent_symbol_known"), (F, 16, "order_agrees")},
        ),
        "unknown fill symbol": (
            put(F, 18, symbol="ZZZ"),
            {(F, 18, rule) for rule in ("fill_symbol_known", "order_agrees", "snapshot_fresh")},
        ),
        "no close mark": (drop("benchmark_marks", 3 * 17 + 2), {(P, 17, "marks_complete")}),
        "orphan mark": (
            put("benchmark_marks", 5, order_id="o999"),
            {("benchmark_marks", 5, "mark_order_known"), (P, 1, "marks_complete")},
        ),
        "out of order": (
            swap(S, 40, 44),
            {(S, 42, "snapshots_increase"), (S, 44, "snapshots_increase")},
        ),
    },
    "a duplicate fill": {"again": (again(F, 7), {(F, desk.N_FILLS, "unique_key")})},
    "a duplicate snapshot": {
        "again": (
            again(S, N_SNAPS - 1),
            {(S, N_SNAPS, "unique_key"), (S, N_SNAPS, "snapshots_increase")},
        ),
    },
    "two fills without a venue": {
        "null": (
            lambda tables: [put(F, row, venue="")(tables) for row in (1, 2)],
            {(F, row, "venue.pattern") for row in (1, 2)},
        ),
    },
    "six fills without a venue": {
        "null": (
            lambda tables: [put(F, row, venue="")(tables) for row in range(6)],
            {(F, row, "venue.pattern") for row in range(6)},
        ),
    },
    "six duplicate fills": {
        "again": (
            lambda tables: [again(F, row)(tables) for row in range(6)],
            {(F, desk.N_FILLS + i, "unique_key") for i in range(6)},
        ),
    },
    "a fill of the wrong side does not use up its order": {
        "first": (fill_the_wrong_side_first, {(F, 0, "order_agrees")}),
    },
    "unsound snapshots": {
        "crossed": (
            cross_for_an_hour,
            {(S, i, "book_not_crossed") for i in range(0, 52, 2)}
            | {(F, i, "snapshot_fresh") for i in range(0, 30, 2)},
        ),
    },
    "coverage gap": {
        "silence": (lambda tables: silence(tables, "AAA"), {(S, 535, "snapshot_gap")}),
    },
}
CASCADES = {rule.id for rule in contract.CROSS_RULES if rule.cascade}
NEXT_DAYS = [str(calendar_date(2024, 2, 1) + timedelta(days=i)) for i in range(28)]
DAYS = dict(zip(PLANTED, NEXT_DAYS, strict=False))


@dataclass(frozen=True)
class Judged:
    """A landing and a home in which all its dates were validated at once."""

    landing: Landing
    settings: Settings
    reports: dict[str, DateReport]
    violations: dict[str, set[tuple[str, int, str]]]

    @classmethod
    def of(cls, root: Path) -> Judged:
        """Validate the dates landed below `root`, none of which may block."""
        landing, settings = Landing(root / "landing"), Settings(root / "home")
        dates = landing.all_dates()
        reports = dict(zip(dates, validate_dates(settings, landing, dates), strict=True))
        assert not any(report.problems for report in reports.values())
        return cls(landing, settings, reports, found(settings, root / "v.csv"))

    def again_in(self, root: Path) -> Judged:
        """A copy to change; the copied files are as they were, down to their times."""
        shutil.copytree(self.landing.root, root / "landing")
        shutil.copytree(self.settings.home, root / "home")
        return replace(self, landing=Landing(root / "landing"), settings=Settings(root / "home"))


@pytest.fixture(scope="module")
def planted(tmp_path_factory) -> Judged:
    """All planted days as dates of one landing."""
    root = tmp_path_factory.mktemp("planted")
    for day, date in DAYS.items():
        tables = desk.clean()
        for plant, _ in PLANTED[day].values():
            plant(tables)
        desk.write(root / "landing", shifted(tables, date), date)
    return Judged.of(root)


@pytest.fixture(scope="module")
def clean(tmp_path_factory) -> Judged:
    """Two clean days with the same ids."""
    root = tmp_path_factory.mktemp("clean")
    for date in (desk.DATE, NEXT):
        landed(root, desk.clean(date), date)
    return Judged.of(root)


def shifted(tables: Tables, date: str) -> Tables:
    """The same rows, at the same time of another day."""
    for name, rows in tables.items():
        for row in rows:
            for column in contract.TABLES[name].columns:
                if column.type == "ts" and row.get(column.name) is not None:
                    row[column.name] += desk.days_between(desk.DATE, date)
    return desk.renamed(tables, date)


@pytest.mark.parametrize("day", PLANTED)
def test_a_planted_row_is_found_where_it_lies(day: str, planted: Judged) -> None:
    expected = set().union(*(violations for _, violations in PLANTED[day].values()))
    roots = {v for v in planted.violations.get(DAYS[day], set()) if v[2] not in CASCADES}
    assert roots == expected


@pytest.fixture(scope="module")
def dirty(tmp_path_factory) -> Judged:
    """One date with three broken rows."""
    root, tables = tmp_path_factory.mktemp("dirty"), desk.clean()
    for plant in (put(S, 9, bid_size=NAN), put(S, 10, bid_px=-1.0), put(F, 16, symbol="ZZZ")):
        plant(tables)
    landed(root, tables)
    return Judged.of(root)


def test_rows_in_are_rows_accepted_and_quarantined(dirty: Judged) -> None:
    result = run(dirty.settings, dirty.landing).to_dict()
    assert result["verdict"] == "ok"
    assert result["tables"][S] == {"landed": N_SNAPS, "accepted": N_SNAPS - 2, "quarantined": 2}
    assert result["rules"][S] == {"bid_px.range": 1, "bid_size.range": 1}
    assert result["rules"].keys() == {F, S}
    assert json.loads(json.dumps(result)) == result
    warehouse = Warehouse(dirty.settings)
    (path,) = warehouse.files("accepted", S, [desk.DATE])
    accepted = pq.read_table(path)
    assert accepted.column_names == list(contract.TABLES[S].column_names)
    keys = list(zip(accepted["symbol"].to_pylist(), accepted["ts"].to_pylist(), strict=True))
    assert keys == sorted(keys)
    (path,) = warehouse.files("quarantine", S, [desk.DATE])
    (nan, negative) = pq.read_table(path).to_pylist()
    assert (nan["file"], nan["row"], nan["rules"]) == (
        f"{S}/date={desk.DATE}/{FILE}",
        9,
        ["bid_size.range"],
    )
    assert nan["key"] == "BBB|2024-01-03T14:30:20.000000Z"
    assert json.loads(nan["record"])["bid_size"] == "nan"
    assert json.loads(negative["record"])["bid_px"] == "-1.0"


def test_exactly_the_spoiled_rows_are_quarantined(tmp_path: Path) -> None:
    spoiled = {}
    for seed, count in enumerate((1, 2, 7, 20, 40)):
        tables, date = desk.clean(), NEXT_DAYS[seed]
        spoiled[date] = spoil_at_random(tables, count, seed)
        landed(tmp_path, shifted(tables, date), date)
    judged = Judged.of(tmp_path)
    for date, rows in spoiled.items():
        violations, report = judged.violations[date], judged.reports[date]
        assert {row for table, row, _ in violations if table == S} == rows
        assert report.tables[S].quarantined == len(rows)
        for counts in report.tables.values():
            assert counts.landed == counts.accepted + counts.quarantined


def part(root: Path, table: str, date: str = desk.DATE) -> Path:
    return desk.folder(root, table, date) / FILE


#: Breaks the files below a root, of one date.
Spoil = Callable[..., None]


def lose(table: str) -> Spoil:
    return lambda root, date=desk.DATE: part(root, table, date).unlink()


def halve(table: str) -> Spoil:
    def cut(root: Path, date: str = desk.DATE) -> None:
        path = part(root, table, date)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return cut


def recast(table: str, column: str, type_: pa.DataType) -> Spoil:
    def rewrite(root: Path, date: str = desk.DATE) -> None:
        path = part(root, table, date)
        data = pq.ParquetFile(path).read()
        at = data.schema.get_field_index(column)
        pq.write_table(data.set_column(at, column, data[column].cast(type_)), path)

    return rewrite


def narrow(table: str, column: str) -> Spoil:
    def rewrite(root: Path, date: str = desk.DATE) -> None:
        path = part(root, table, date)
        pq.write_table(pq.ParquetFile(path).read().drop_columns([column]), path)

    return rewrite


def empty(table: str) -> Spoil:
    return lambda root, date=desk.DATE: desk.write(root, {table: []}, date) and None


BROKEN: dict[str, tuple[Spoil, tuple[str, str, str]]] = {
    "lost partition": (lose("peer_flow"), ("peer_flow", "", contract.MISSING_PARTITION)),
    "half written": (halve(S), (S, "", contract.UNREADABLE)),
    "naive time": (recast(F, "fill_ts", pa.timestamp("us")), (F, "fill_ts", contract.COLUMN_TYPE)),
    "text price": (recast(F, "fill_px", pa.string()), (F, "fill_px", contract.COLUMN_TYPE)),
    "missing column": (narrow(P, "side"), (P, "side", contract.COLUMN_SET)),
    "no snapshots": (empty(S), (S, "", contract.ROW_COUNT)),
    "no fills": (empty(F), (F, "", contract.ROW_COUNT)),
}


@pytest.fixture(scope="module")
def broken(tmp_path_factory) -> tuple[Judged, LandingBlocked]:
    """A date for each way to break a table: what the first verdict said, and all of them mended."""
    root = tmp_path_factory.mktemp("broken")
    dates = dict(zip(BROKEN, NEXT_DAYS, strict=False))
    for name, date in dates.items():
        landed(root, desk.clean(date), date)
        BROKEN[name][0](root / "landing", date)
    settings = Settings(root / "home")
    with pytest.raises(LandingBlocked) as caught:
        run(settings, Landing(root / "landing"))
    assert not any(Warehouse(settings).dates(layer, t) for layer in LAYERS for t in contract.TABLES)
    for date in dates.values():
        landed(root, desk.clean(date), date)
    return Judged.of(root), caught.value


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_table_publishes_nothing_until_it_is_mended(
    name: str, broken: tuple[Judged, LandingBlocked]
) -> None:
    mended, blocked = broken
    date = dict(zip(BROKEN, NEXT_DAYS, strict=False))[name]
    _, (table, column, rule) = BROKEN[name]
    assert (blocked.exit_code, blocked.report["verdict"]) == (3, "blocked")
    message = str(blocked)
    assert table in message and column in message and rule in message and "\n" not in message
    (problem,) = [p for p in blocked.report["problems"] if p["date"] == date]
    assert (problem["table"], problem["column"], problem["rule"]) == (table, column, rule)
    assert run(mended.settings, mended.landing, [date]).to_dict()["verdict"] == "ok"


def test_several_problems_are_all_listed(tmp_path: Path, settings: Settings) -> None:
    landing = landed(tmp_path, desk.clean())
    recast(F, "fill_px", pa.string())(landing.root)
    halve("instruments")(landing.root)
    with pytest.raises(LandingBlocked, match=r"instruments: unreadable.*child_fills\.fill_px"):
        run(settings, landing)


def test_a_date_that_breaks_later_stays_as_it_was_and_is_marked_stale(
    tmp_path: Path, clean: Judged
) -> None:
    mine = clean.again_in(tmp_path)
    warehouse = Warehouse(mine.settings)
    live, whole = warehouse.day(desk.DATE), part(mine.landing.root, S).read_bytes()
    halve(S)(mine.landing.root)
    with pytest.raises(LandingBlocked) as caught:
        run(mine.settings, mine.landing)
    assert warehouse.day(desk.DATE) == live
    (told,) = caught.value.report["stale"]
    assert desk.DATE in told and "stale" in told and "market_snapshots: unreadable" in told
    assert validate.accept(mine.settings, mine.landing, [desk.DATE, NEXT]) == (told,)
    assert features.readable(mine.settings, mine.landing, [desk.DATE]) == [desk.DATE]
    assert features.readable(mine.settings, mine.landing, [NEXT]) == [NEXT]
    part(mine.landing.root, S).write_bytes(whole)
    assert run(mine.settings, mine.landing).stale == ()


def test_a_second_run_changes_nothing(planted: Judged) -> None:
    before = state(planted.settings)
    again = validate_dates(planted.settings, planted.landing, planted.reports)
    assert again == list(planted.reports.values())
    assert state(planted.settings) == before


def test_dates_together_give_what_each_gives_alone(tmp_path: Path, planted: Judged) -> None:
    together, alone = planted.settings, Settings(tmp_path / "alone")
    date = DAYS["across tables"]
    assert planted.reports[date] == validate_date(alone, planted.landing, date)
    published = [
        {
            path.relative_to(home): pq.ParquetFile(path).read()
            for path in home.rglob(f"date={date}/*.parquet")
        }
        for home in (together.home, alone.home)
    ]
    accepted = [{k: v for k, v in p.items() if "accepted" in k.parts} for p in published]
    assert accepted[0] == accepted[1]  # same names are same bytes: a file is named by its digest
    rows = [sum(table.num_rows for table in p.values()) for p in published]
    assert rows[0] == rows[1]


def test_a_correction_replaces_the_date(tmp_path: Path, planted: Judged) -> None:
    mine, date = planted.again_in(tmp_path), DAYS["across tables"]
    assert len(mine.violations[date]) > 10
    landed(tmp_path, desk.clean(date), date)
    assert validate_date(mine.settings, mine.landing, date).rules == {}
    others = {day: rows for day, rows in mine.violations.items() if day != date}
    assert found(mine.settings, tmp_path / "v.csv") == others


def test_too_many_quarantined_rows_block(planted: Judged) -> None:
    date = DAYS["six fills without a venue"]
    with pytest.raises(LandingBlocked, match=r"child_fills: quarantine_share.* 6 of 120 rows"):
        run(planted.settings, planted.landing, [date])


@pytest.mark.parametrize("day", ["two fills without a venue", "a duplicate fill"])
def test_a_handful_of_rows_is_above_a_share_and_below_a_number(day: str, planted: Judged) -> None:
    """More than 1% of the rows, and alone or beside other dates it is no block."""
    for dates in ([DAYS[day]], [DAYS[day], DAYS["no violations"]]):
        assert run(planted.settings, planted.landing, dates).verdict == "ok"


def test_duplicates_block_before_other_quarantine(planted: Judged) -> None:
    with pytest.raises(LandingBlocked, match=r"child_fills\.fill_id, venue: duplicate_share"):
        run(planted.settings, planted.landing, [DAYS["six duplicate fills"]])


def endless_order(root: Path, date: str) -> None:
    """Parquet's largest integer is DuckDB's infinity."""
    desk.write(root, desk.clean(date), date)
    path = part(root, P, date)
    data = pq.ParquetFile(path).read()
    at = data.schema.get_field_index("end_ts")
    ends = data["end_ts"].cast(pa.int64()).to_pylist()
    ends[5] = 2**63 - 1
    column = pa.array(ends, pa.int64()).cast(pa.timestamp("us", tz="UTC"))
    pq.write_table(data.set_column(at, "end_ts", column), path)


def twelve_parts(root: Path, date: str) -> None:
    """part-10 sorts before part-2; within each, time runs forward."""
    tables = desk.clean(date)
    snapshots = tables.pop(S)
    desk.write(root, tables, date)
    size = len(snapshots) // 12
    for i in range(12):
        rows = snapshots[i * size : (i + 1) * size]
        desk.write(root, {S: rows}, date, name=f"part-{i}.parquet")


def csv_with_a_word_for_a_number(root: Path, date: str) -> None:
    """Every table as CSV, with symbols that some readers take for something else."""
    tables = desk.clean(date)
    tables["instruments"][0]["symbol"] = "NA"  # an instrument more does no harm
    for table in (P, F, S, "peer_flow", "public_trades"):
        for row in tables[table]:
            row["symbol"] = "NA" if row["symbol"] == "AAA" else "TRUE"
    tables["instruments"][1]["symbol"] = "TRUE"
    for table, rows in tables.items():
        desk.write_csv(root, table, rows, date)
    path = desk.folder(root, F, date) / "part-0.csv"
    lines = path.read_text().splitlines()
    lines[3] = lines[3].replace(",100,", ",a lot,")
    path.write_text("\n".join(lines) + "\n")


def idle_desk(root: Path, date: str) -> None:
    desk.write(root, desk.clean(date) | {table: [] for table in contract.DESK_TABLES}, date)


UNUSUAL: Mapping[Callable[[Path, str], None], str] = dict(
    zip((endless_order, twelve_parts, csv_with_a_word_for_a_number, idle_desk), NEXT_DAYS,
        strict=False)
)  # fmt: skip


@pytest.fixture(scope="module")
def unusual(tmp_path_factory) -> Judged:
    root = tmp_path_factory.mktemp("unusual")
    for write, date in UNUSUAL.items():
        write(root / "landing", date)
    return Judged.of(root)


def test_an_endless_order_is_quarantined(unusual: Judged) -> None:
    assert unusual.reports[UNUSUAL[endless_order]].rules[P] == {"window_finite": 1}


def test_part_files_have_no_order_between_them(unusual: Judged) -> None:
    assert unusual.reports[UNUSUAL[twelve_parts]].rules.get(S, {}) == {}


def test_a_csv_cell_that_does_not_cast_is_a_row_of_its_own(unusual: Judged) -> None:
    date = UNUSUAL[csv_with_a_word_for_a_number]
    assert unusual.reports[date].rules == {F: {contract.CAST: 1}}
    (quarantined,) = Warehouse(unusual.settings).files("quarantine", F, [date])
    (row,) = pq.read_table(quarantined).to_pylist()
    assert (row["file"], row["row"], row["rules"]) == (
        f"{F}/date={date}/part-0.csv",
        2,
        [contract.CAST],
    )
    assert json.loads(row["record"])["fill_qty"] == "a lot"


def test_a_desk_idle_for_a_day_is_fine(unusual: Judged) -> None:
    date = UNUSUAL[idle_desk]
    result = run(unusual.settings, unusual.landing, [date]).to_dict()
    assert result["tables"][F] == {"landed": 0, "accepted": 0, "quarantined": 0}
    assert date in Warehouse(unusual.settings).dates("accepted", F)


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
    """On the second day there is one symbol only, and no one to be silent against."""
    for date, symbols in ((desk.DATE, desk.SYMBOLS), (NEXT, ("AAA",))):
        tables = desk.clean()
        if symbols == ("AAA",):
            silence(tables, *symbols)
        public = {
            table: [row for row in rows if row["symbol"] in symbols]
            for table, rows in tables.items()
            if table not in contract.DESK_TABLES
        }
        landing = landed(tmp_path, shifted(public, date), date)
    result = run(settings, landing).to_dict()
    assert (result["verdict"], result["rules"]) == ("ok", {})
    assert list(result["tables"]) == ["instruments", S, "peer_flow", "public_trades"]


def test_a_desk_without_peer_flow_is_accepted_and_says_what_it_does_without(
    tmp_path: Path, settings: Settings, clean: Judged
) -> None:
    assert run(clean.settings, clean.landing).notes == ()
    tables = desk.clean()
    del tables["peer_flow"]
    result = run(settings, landed(tmp_path, tables)).to_dict()
    assert (result["verdict"], result["notes"]) == ("ok", [validate.NO_PEER_FLOW])
    features.build(settings, desk.DATE)
    (path,) = Warehouse(settings).files(settings.feature_layer, "buckets", [desk.DATE])
    peers = pq.read_table(path, columns=["sector_flow_adv", "factor_flow_adv"]).to_pylist()
    assert peers and not any(any(row.values()) for row in peers)


def test_a_date_that_is_not_landed_is_a_usage_error(tmp_path: Path, settings: Settings) -> None:
    with pytest.raises(UsageError, match="2024-01-09"):
        validate_date(settings, landed(tmp_path, desk.clean()), "2024-01-09")


def test_the_export_is_sorted_and_keyed(tmp_path: Path, dirty: Judged) -> None:
    out = tmp_path / "out" / "v.csv"
    assert export_violations(dirty.settings, dirty.landing, out) == 5
    assert out.read_text().splitlines() == [
        "table,date,file,row,key,rule_id,severity",
        "child_fills,2024-01-03,part-0.parquet,16,f16|XNYS,fill_symbol_known,quarantine",
        "child_fills,2024-01-03,part-0.parquet,16,f16|XNYS,order_agrees,quarantine",
        "child_fills,2024-01-03,part-0.parquet,16,f16|XNYS,snapshot_fresh,quarantine",
        "market_snapshots,2024-01-03,part-0.parquet,9,BBB|2024-01-03T14:30:20.000000Z,"
        "bid_size.range,quarantine",
        "market_snapshots,2024-01-03,part-0.parquet,10,AAA|2024-01-03T14:30:25.000000Z,"
        "bid_px.range,quarantine",
    ]


def test_what_another_process_published_meanwhile_is_never_withdrawn(
    clean: Judged, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifests = [*clean.settings.home.rglob("_manifest.json")]
    published = clean.settings.home / "warehouse"
    unlink = Path.unlink

    def watched(path: Path, **given: bool) -> None:
        assert published not in path.parents, f"{path} was withdrawn"
        unlink(path, **given)

    monkeypatch.setattr(Path, "unlink", watched)
    warehouse = Warehouse(clean.settings)
    judged = validate._judge(
        warehouse, clean.landing, [desk.DATE], Waivers()
    )  # it saw none at its start
    assert judged == {desk.DATE: clean.reports[desk.DATE]} and len(manifests) > 0


def test_yesterday_landed_again_as_today_is_blocked(tmp_path: Path, clean: Judged) -> None:
    mine = clean.again_in(tmp_path)
    for table in contract.TABLES:
        folder = desk.folder(mine.landing.root, table)
        shutil.copytree(folder, folder.with_name(f"date={NEXT}"), dirs_exist_ok=True)
    with pytest.raises(
        LandingBlocked, match=f"{S}: quarantine_share on {NEXT}.*most by date_in_partition"
    ):
        run(mine.settings, mine.landing)
    report = validate_date(mine.settings, mine.landing, desk.DATE)
    assert not report.problems


def test_what_hangs_on_a_refused_row_is_refused_and_told_apart(planted: Judged) -> None:
    date, symbol = DAYS["cells"], desk.SYMBOLS[1]
    assert ("instruments", 1, "adv_notional.range") in planted.violations[date]
    (path,) = Warehouse(planted.settings).files("accepted", F, [date])
    accepted = pq.read_table(path)
    assert symbol not in accepted["symbol"].to_pylist()
    assert "o3" not in {order.partition("@")[0] for order in accepted["order_id"].to_pylist()}
    report = planted.reports[date]
    faults = {name: rows.quarantined - rows.cascades
              for name, rows in report.tables.items()}  # fmt: skip
    assert faults[F] == len({row for table, row, rule in planted.violations[date]
                             if table == F and rule not in CASCADES})  # fmt: skip
    assert report.cascades[F] > 50 and report.cascades["benchmark_marks"] > 150


def test_files_of_another_kind_block_until_they_are_gone(tmp_path: Path, broken) -> None:
    """They would not be read, and nothing is dropped silently: also when they come later."""
    mine = broken[0].again_in(tmp_path)
    dates = mine.landing.all_dates()[:3]
    assert Warehouse(mine.settings).dates("accepted", F)[:3] == dates
    names = dict(zip(dates, ("part-1.PARQUET", "fills.csv.gz", "notes.txt"), strict=True))
    strangers = {date: part(mine.landing.root, F, date).with_name(names[date]) for date in dates}
    for date, stranger in strangers.items():
        stranger.write_bytes(b"x")
        with pytest.raises(LandingBlocked, match=f"child_fills: unreadable.*{stranger.name}"):
            run(mine.settings, mine.landing, [date])
        assert find_stale(Warehouse(mine.settings), date)
        stranger.unlink()
        (stranger.parent / "_SUCCESS").touch()
    assert run(mine.settings, mine.landing, dates).verdict == "ok"
