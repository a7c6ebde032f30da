"""Kinds of dirt that desks and feeds were seen to land, each decided as the contract says."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date as calendar_date
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from crossimpact import contract
from crossimpact.waiver import Waiver
from pipelines.split import Judgement
from pipelines.store.landing import Landing
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse
from pipelines.validate import validate_dates
from tests.pipelines import desk
from tests.pipelines.test_validate import PLANTED, Judged, Tables, put, shifted

F, P, S, M, T = (
    "child_fills", "parent_orders", "market_snapshots", "benchmark_marks", "public_trades",
)  # fmt: skip
Rules = set[tuple[str, int, str]]
Kind = tuple[Callable[[Tables], Any], Rules]


def fill(tables: Tables, order: str, fill_id: str, **cells: Any) -> None:
    """One more fill of an order, like its first."""
    like = next(row for row in tables[F] if row["order_id"] == order)
    tables[F].append(like | {"fill_id": fill_id} | cells)


def correction(tables: Tables) -> None:
    """A print of 50 at another price, told to replace the first; the order is filled as ordered."""
    tables[F][0] |= {"fill_qty": 50}
    fill(tables, "o0", "f0.2", fill_px=100.0, exec_type="CORRECT", ref_fill_id="f0")
    fill(tables, "o0", "rest", fill_ts=desk.at(500), exec_type="NEW")


def bust(tables: Tables) -> None:
    """The desk's first fill is busted by a row of its negative quantity."""
    fill(tables, "o0", "bust", fill_qty=-100, exec_type="BUST", ref_fill_id="f0")
    fill(tables, "o0", "after", fill_ts=desk.at(600))


def series(tables: Tables) -> None:
    """A correction that only its id tells, as some brokers number them."""
    tables[F][0] |= {"fill_id": "X.01", "fill_qty": 50}
    fill(tables, "o0", "X.02", fill_px=100.0)


def two_venues(tables: Tables) -> None:
    tables[F][0] |= {"fill_qty": 40}
    fill(tables, "o0", "f0", venue="ARCX", fill_qty=60)


def fat_finger(tables: Tables) -> None:
    """The first of an order's fills is sixty times the order."""
    tables[F][0] |= {"fill_qty": 6000}
    for k in range(4):
        fill(tables, "o0", f"slice{k}", fill_qty=25, fill_ts=desk.at(200 + k))


def print_again(tables: Tables) -> None:
    tables[T].append(dict(tables[T][10]))


N, LAST = desk.N_FILLS, desk.N_FILLS
#: What is done to a clean day, and the rules its rows must break, exactly.
KINDS: dict[str, Kind] = {
    "correction": (correction, {(F, 0, "corrected")}),
    "bust": (bust, {(F, 0, "busted"), (F, N, "busted")}),
    "correction told by ids alone": (
        series, {(F, 0, "correction_series"), (F, N, "correction_series")},
    ),
    "one id on two venues": (two_venues, set()),
    "fat finger": (fat_finger, {(F, 0, "not_overfilled")}),
    "bust of nobody": (
        lambda t: fill(t, "o0", "b", fill_qty=-1, exec_type="BUST", ref_fill_id="zz"),
        {(F, N, "busted"), (F, N, "ref_known")},
    ),
    "closing print": (put(F, 0, fill_ts=desk.at(1203)), {(F, 0, "fill_after_end")}),
    "decision before a split": (
        put(P, 0, decision_px=1000.0, parent_notional=100_000.0), {(P, 0, "decision_near_mid")},
    ),
    "mark before a split": (put(M, 3, px=1000.0), {(M, 3, "mark_near_mid")}),
    "mark ten hours early": (put(M, 5, ts=desk.at(-36000)), {(M, 5, "mark_in_window")}),
    "stub quote": (put(S, 41, ask_px=422.0), {(S, 41, "spread_bounded")}),
    "locked quote": (put(S, 41, bid_px=100.0, ask_px=100.0), set()),
    "contingent print": (put(T, 7, px=104.8), {(T, 7, "print_near_mid")}),
    "one print twice": (print_again, {(T, 200, "repeated_print")}),
    "print with ids": (
        lambda t: [row.update(trade_id=f"t{i // 2}") for i, row in enumerate(t[T])], set(),
    ),
    "trade id again": (
        lambda t: [row.update(trade_id=f"t{min(i, 197)}") for i, row in enumerate(t[T])
                   if row["symbol"] == "BBB"],
        {(T, 199, "unique_key")},
    ),
    "peer flow off its grid": (
        lambda t: t["peer_flow"][4].update(ts=desk.at(563)), {("peer_flow", 4, "peer_on_grid")},
    ),
    "off tick and off lot": (
        lambda t: [put(F, 3, fill_px=100.0137)(t), put(F, 4, fill_qty=99.5)(t),
                   put(P, 5, parent_qty=100.5, parent_notional=10_050.0)(t)],
        {(F, 3, "fill_on_tick"), (F, 4, "fill_on_lot"), (P, 5, "parent_on_lot")},
    ),
    "fee of a billion": (put(F, 0, fee=1e9), {(F, 0, "fee_bounded")}),
    "yesterday's books as well": (
        lambda t: t[S].append(t[S][5] | {"ts": desk.at(25 - 86400)}),
        {(S, 600, "date_in_partition")},
    ),
}  # fmt: skip
DATES = [str(calendar_date(2024, 3, 1) + timedelta(days=i)) for i in range(60)]
DAYS = dict(zip(KINDS, DATES, strict=False))
FIRST, SECOND, FILES = "2024-02-26", "2024-02-27", "2024-02-28"
CASCADES = {rule.id for rule in contract.CROSS_RULES if rule.cascade}


def lasting(root: Path) -> None:
    """An order of one day filled on the next, which uses an id of the day before again."""
    tables = shifted(desk.clean(), FIRST)
    for row in tables[P][:2]:
        row["end_ts"] += timedelta(days=1)
    late = [row for row in tables[F] if row["order_id"] == f"o0{desk.mark(FIRST)}"]
    marks = [
        row
        for row in tables[M]
        if row["order_id"] == f"o0{desk.mark(FIRST)}" and row["mark"] == "CLOSE"
    ]
    tables[F] = [row for row in tables[F] if row not in late]
    tables[M] = [row for row in tables[M] if row not in marks]
    desk.write(root, tables, FIRST)
    tables = shifted(desk.clean(), SECOND)
    tables[F] += [row | {"fill_ts": row["fill_ts"] + timedelta(days=1)} for row in late]
    tables[M] += [row | {"ts": row["ts"] + timedelta(days=1)} for row in marks]
    tables[F][3]["fill_id"] = f"f7{desk.mark(FIRST)}"
    desk.write(root, tables, SECOND)


def landed_twice(root: Path) -> None:
    tables = shifted(desk.clean(), FILES)
    desk.write(root, tables, FILES)
    desk.write(root, {T: tables[T]}, FILES, name="part-1.parquet")


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Judged:
    root = tmp_path_factory.mktemp("kinds")
    for kind, date in DAYS.items():
        tables = desk.clean()
        KINDS[kind][0](tables)
        desk.write(root / "landing", shifted(tables, date), date)
    lasting(root / "landing")
    landed_twice(root / "landing")
    return Judged.of(root)


def accepted(judged: Judged, table: str, date: str) -> list[dict[str, Any]]:
    (path,) = Warehouse(judged.settings).files("accepted", table, [date])
    rows: list[dict[str, Any]] = pq.ParquetFile(path).read().to_pylist()
    return rows


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_decided_as_the_contract_says(kind: str, judged: Judged) -> None:
    found = judged.violations.get(DAYS[kind], set())
    assert {hit for hit in found if hit[2] not in CASCADES} == KINDS[kind][1]


@pytest.mark.parametrize(
    ("kind", "quantity"),
    [("correction", 100), ("bust", 100), ("one id on two venues", 100), ("closing print", 100),
     ("fat finger", 100), ("bust of nobody", 100)],
)  # fmt: skip
def test_what_an_order_was_filled(kind: str, quantity: float, judged: Judged) -> None:
    date = DAYS[kind]
    rows = [row for row in accepted(judged, F, date) if row["order_id"] == f"o0{desk.mark(date)}"]
    assert sum(row["fill_qty"] for row in rows) == quantity
    if kind == "correction":
        assert sorted((row["fill_px"], row["fill_qty"]) for row in rows) == [
            (100.0, 50), (100.01, 50),
        ]  # fmt: skip


def test_corrections_and_busts_are_no_faults(judged: Judged) -> None:
    for kind, rows in (("correction", 1), ("bust", 2)):
        report = judged.reports[DAYS[kind]]
        assert report.tables[F].quarantined == report.cascades[F] == rows


def test_what_hangs_on_a_refused_order_goes_with_it(judged: Judged) -> None:
    found = judged.violations[DAYS["decision before a split"]]
    assert {hit for hit in found if hit[2] in CASCADES} == {
        (F, 0, "parent_refused"), *((M, row, "parent_refused") for row in range(3)),
    }  # fmt: skip
    found = judged.violations[DAYS["mark before a split"]]
    assert {hit for hit in found if hit[2] in CASCADES} == {
        (P, 1, "mark_refused"), (F, 1, "parent_refused"),
        *((M, row, "parent_refused") for row in (4, 5)),
    }  # fmt: skip


def test_a_fill_may_name_an_order_of_the_days_before_and_an_id_is_used_once(judged: Judged) -> None:
    assert judged.violations.get(FIRST, set()) == set()
    assert judged.violations[SECOND] == {(F, 3, "unique_key")}
    assert f"o0{desk.mark(FIRST)}" in {row["order_id"] for row in accepted(judged, F, SECOND)}


def test_prints_landed_in_two_files_count_once(judged: Judged) -> None:
    assert len(accepted(judged, T, FILES)) == 200
    assert judged.reports[FILES].rules[T] == {"print_in_two_files": 200}


def test_each_violation_shows_the_cell_that_broke_the_rule(judged: Judged) -> None:
    date = DAYS["fee of a billion"]
    (path,) = Warehouse(judged.settings).files("violations", F, [date])
    (row,) = pq.ParquetFile(path).read().to_pylist()
    assert (row["column"], float(row["value"])) == ("fee", 1e9)
    assert (row["symbol"], row["venue"], row["cascade"]) == ("AAA", "XNYS", False)
    assert row["file"] == f"{F}/date={date}/part-0.parquet"
    date = DAYS["mark ten hours early"]
    (path,) = Warehouse(judged.settings).files("violations", M, [date])
    rows = pq.ParquetFile(path).read().to_pylist()
    assert {row["symbol"] for row in rows} == {desk.SYMBOLS[1]}
    assert [row["rule_id"] for row in rows if not row["cascade"]] == ["mark_in_window"]


def test_the_rules_find_nothing_among_what_they_accepted(judged: Judged, tmp_path: Path) -> None:
    """What is accepted, landed again in a zone of its own, breaks no rule that refuses rows."""
    dates = [
        DAYS[kind] for kind in ("fat finger", "decision before a split", "mark before a split")
    ]
    dates += [FIRST, SECOND, FILES]
    for date in dates:
        for table in contract.TABLES:
            rows = accepted(judged, table, date)
            for row in rows:  # what only says how a row came to stand is said
                for name in ("exec_type", "ref_fill_id"):
                    row.pop(name, None)
            desk.write(tmp_path / "landing", {table: rows}, date)
    landing, settings = Landing(tmp_path / "landing"), Settings(tmp_path / "home")
    warns = {rule.id for rule in contract.CROSS_RULES if rule.severity == "warn"}
    for report in validate_dates(settings, landing, dates):
        assert not report.problems
        for table, rules in report.rules.items():
            assert rules.keys() <= warns, (report.date, table, rules)


def test_the_verdict_on_a_date_is_the_same_alone_as_among_others(
    judged: Judged, tmp_path: Path
) -> None:
    alone = Settings(tmp_path / "alone")
    (report,) = validate_dates(alone, judged.landing, [SECOND])
    assert report == judged.reports[SECOND]
    for table in contract.TABLES:
        own, among = (
            Warehouse(home).manifest("accepted", table, SECOND) for home in (alone, judged.settings)
        )
        assert own is not None and among is not None and own.sha256 == among.sha256


def test_indicative_books_outside_the_named_session_price_nothing_and_are_no_fault(
    tmp_path: Path,
) -> None:
    """Trial-match quotes before the open and in the closing call, told by the calendar's hours."""
    tables = desk.clean()
    early, late = desk.at(60), desk.at(1440)
    outside = [
        row for row, book in enumerate(tables[S]) if not early <= book["ts"] <= late
    ]  # fmt: skip
    for row in outside:
        tables[S][row] |= {"bid_px": 90.0, "ask_px": 90.02}  # a tenth off what is traded
    landing = Landing(desk.write(tmp_path / "landing", tables))
    hours = f'hours = [["{early:%H:%M}", "{late:%H:%M}"]]'
    (landing.root / "calendar.toml").write_text(f'zone = "UTC"\n{hours}\n')
    (report,) = validate_dates(Settings(tmp_path / "home"), landing, [desk.DATE])
    assert len(outside) == 46 and report.rules == {S: {"in_session": 46}}
    books = report.tables[S]
    assert books.quarantined == books.cascades == 46  # a state counts against no limit


def waiver(rule: str, table: str, symbols: tuple[str, ...] = ()) -> Waiver:
    return Waiver(rule, table, "ann@desk", "known", "2099-12-31", symbols)


@pytest.mark.parametrize(
    ("waived", "taken"),
    [
        (waiver("fee_bounded", F), True),
        (waiver("fee_bounded", F, ("AAA",)), True),
        (waiver("fee_bounded", F, ("BBB",)), False),
        (waiver("fee_bounded", P), False),
    ],
)
def test_a_waived_row_is_accepted_and_shown(judged: Judged, waived: Waiver, taken: bool) -> None:
    date = DAYS["fee of a billion"]
    with Warehouse(judged.settings).connect() as connection:
        judgement = Judgement(connection, judged.landing)
        judgement.load(judged.landing.tables(), date)
        judgement.waive(date, [waived])
        judgement.judge_tables()
        judgement.judge_day(date)
        report = judgement.report(F)
        severity = connection.execute("SELECT severity FROM main.found").fetchall()
    assert report.rules == {"fee_bounded": 1}
    assert report.quarantined == (0 if taken else 1)
    assert severity == [("waived" if taken else "quarantine",)]


def test_the_kinds_of_both_tests_are_many() -> None:
    assert len(KINDS) + sum(len(day) for day in PLANTED.values()) >= 40
