"""The demo desk keeps its promises: admissible truth, reproducible days, impact that is real."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossimpact import contract
from crossimpact.errors import UsageError
from crossimpact.kernel.decay import Decay
from crossimpact.ladder import REGIMES
from crossimpact.simulate import (
    DeskSpec,
    Tables,
    Truth,
    plan_dirt,
    plan_market,
    simulate_day,
    spoil,
)
from crossimpact.simulate.market import PEER_FACTOR_BPS, PEER_SECTOR_BPS
from tests.absent import ABSENT

SMALL = DeskSpec(symbols=10, days=5, seed=3)
QUIET = DeskSpec(symbols=6, days=6, seed=5, noise_scale=0.05)


@cache
def desk(spec: DeskSpec) -> tuple[Truth, list[Tables]]:
    truth = plan_market(spec)
    return truth, [simulate_day(truth, day) for day in range(spec.days)]


def mids(truth: Truth, tables: Tables) -> np.ndarray:
    """Mids, (snapshots, n)."""
    snapshots = tables["market_snapshots"]
    return ((snapshots["bid_px"] + snapshots["ask_px"]) / 2).reshape(truth.spec.symbols, -1).T


def bucket_of(truth: Truth, day: int, ts: np.ndarray) -> np.ndarray:
    width = np.timedelta64(truth.spec.bucket_s, "s")
    return ((ts - truth.spec.open_ts(day)) / width).astype(int)


def sums(truth: Truth, fills: dict, day: int, values: np.ndarray) -> np.ndarray:
    """Fill values added up by bucket and symbol."""
    code = {symbol: i for i, symbol in enumerate(truth.symbols)}
    out = np.zeros((truth.spec.buckets, truth.spec.symbols))
    where = bucket_of(truth, day, fills["fill_ts"]), [code[s] for s in fills["symbol"]]
    np.add.at(out, where, values)
    return out


@cache
def panel(spec: DeskSpec) -> dict[str, np.ndarray]:
    """q, planted move A q, observed move net of peers, slippage net of peers, peers' move."""
    truth, days = desk(spec)
    columns: dict[str, list[np.ndarray]] = {key: [] for key in ("q", "aq", "move", "s", "peer")}
    for day, tables in enumerate(days):
        fills, flow = tables["child_fills"], tables["peer_flow"]
        mid = mids(truth, tables)[:: spec.steps]
        px, qty = fills["fill_px"], fills["fill_qty"]
        sign = np.where(fills["side"] == "BUY", 1, -1)
        q = sums(truth, fills, day, sign * px * qty) / truth.adv
        shares = sums(truth, fills, day, qty)
        vwap = sums(truth, fills, day, px * qty) / np.where(shares > 0, shares, np.nan)
        grid = (spec.buckets, spec.symbols)
        peer = PEER_SECTOR_BPS * flow["sector_flow"].reshape(grid) / truth.sector_adv
        peer += PEER_FACTOR_BPS * flow["factor_flow"].reshape(grid) / truth.adv.sum()
        columns["q"].append(q)
        columns["aq"].append(np.einsum("bij,bj->bi", truth.matrices(day)[truth.regime[day]], q))
        columns["move"].append(1e4 * np.diff(np.log(mid), axis=0) - peer)
        columns["s"].append(1e4 * np.sign(q) * (vwap / mid[:-1] - 1) - np.sign(q) * peer / 2)
        columns["peer"].append(peer)
    return {key: np.concatenate(parts) for key, parts in columns.items()}


def slope(x: np.ndarray, y: np.ndarray) -> float:
    x = x - x.mean()
    return float(x @ y / (x @ x))


# -- the truth ---------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(symbols=st.integers(1, 60), seed=st.integers(0, 10_000))
def test_planted_matrices_are_symmetric_in_dollars_and_definite(symbols: int, seed: int) -> None:
    truth = plan_market(DeskSpec(symbols=symbols, days=1, seed=seed))
    for regime in REGIMES:
        model = truth.models[regime]
        np.testing.assert_allclose(model.scaled, model.scaled.T, rtol=1e-12)
        floor = 0.05 * model.beta.min()
        assert np.linalg.eigvalsh(model.scaled)[0] >= floor * (1 - 1e-9)


def test_stress_amplifies_and_changes_the_network() -> None:
    truth = plan_market(DeskSpec())
    normal, stressed = (truth.models[regime] for regime in REGIMES)
    assert np.all(stressed.beta / normal.beta >= 1.49)
    same = (truth.sector[:, None] == truth.sector) & ~np.eye(20, dtype=bool)
    assert np.all(stressed.gamma[same] > normal.gamma[same])
    assert np.all(normal.gamma[same] > 0)
    appeared = (stressed.gamma != 0) & (normal.gamma == 0)
    gone = (stressed.gamma == 0) & (normal.gamma != 0)
    assert appeared.sum() == gone.sum() == 2  # one pair each, seen from both sides


@pytest.mark.parametrize("symbols", [1, 2, 10, 500])
def test_tickers_are_legal_and_unique(symbols: int) -> None:
    names = plan_market(DeskSpec(symbols=symbols, days=1)).symbols
    assert len(set(names)) == symbols
    assert all(re.fullmatch(contract.SYMBOL_PATTERN, name) for name in names)
    assert symbols < 10 or {"TRUE", "NA"} < set(names)


@pytest.mark.parametrize("seed", range(5))
def test_regimes_come_in_runs_with_a_fifth_of_stress(seed: int) -> None:
    regime = plan_market(DeskSpec(symbols=2, days=10, seed=seed)).regime
    assert not regime[0, :39].any()
    assert 0.2 <= regime.mean() <= 0.4
    assert np.count_nonzero(np.diff(regime.ravel())) < 30


def test_a_desk_without_stress_has_none() -> None:
    truth, days = desk(DeskSpec(symbols=3, days=1, stressed=False))
    assert not truth.regime.any()
    assert len(days[0]["child_fills"]["fill_id"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"symbols": 0},
        {"symbols": 501},
        {"days": 0},
        {"seed": -1},
        {"sectors": 21},
        {"snapshot_s": 7},
        {"bucket_s": 7000},
        {"first_date": "soon"},
        {"noise_scale": -1.0},
        {"fill_ratio": 1.0},
        {"half_life_min": 0.0},
        {"permanent": 1.5},
        {"overnight": -0.1},
    ],
)
def test_an_impossible_desk_is_refused_by_name(wrong: dict) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong)).split("_")[0]):
        DeskSpec(**wrong)


# -- reproducible ------------------------------------------------------------------------------


def same_bytes(left: Tables, right: Tables) -> bool:
    return all(
        np.array_equal(left[t][c], right[t][c], equal_nan=left[t][c].dtype.kind == "f")
        for t in contract.TABLES
        for c in left[t]
    )


def test_same_seed_same_numbers() -> None:
    _, days = desk(SMALL)
    again = simulate_day(plan_market(SMALL), 0)
    other = simulate_day(plan_market(DeskSpec(symbols=10, days=5, seed=4)), 0)
    assert same_bytes(days[0], again)
    assert not np.array_equal(
        days[0]["market_snapshots"]["bid_px"], other["market_snapshots"]["bid_px"]
    )


def test_a_day_does_not_depend_on_how_many_there_are() -> None:
    _, days = desk(SMALL)
    longer = plan_market(DeskSpec(symbols=10, days=12, seed=3))
    assert same_bytes(days[4], simulate_day(longer, 4))


# -- a clean desk keeps the contract -----------------------------------------------------------


def assert_column(column: contract.Column, values: np.ndarray) -> None:
    if column.type == "ts":
        assert values.dtype == "datetime64[us]"
        assert not np.isnat(values).any()
    elif column.type == "str":
        missing = np.equal(values, None)
        assert column.nullable or not missing.any()
        given = sorted(set(values[~missing]))
        assert column.values is None or set(given) <= set(column.values)
        if column.pattern is not None:  # an RE2 pattern: \p{C} is no Python
            matches = (
                "SELECT coalesce(bool_and(regexp_full_match(x, ?)), true) FROM unnest(?) AS t(x)"
            )
            assert duckdb.execute(matches, [column.pattern, given]).fetchone() == (True,)
    else:
        assert values.dtype.kind == {"f64": "f", "i64": "i"}[column.type]
        given = values[~np.isnan(values)] if column.nullable else values
        assert np.isfinite(given).all()
        assert column.above is None or (given > column.above).all()
        assert column.at_least is None or (given >= column.at_least).all()
        assert column.at_most is None or (given <= column.at_most).all()
        assert column.values is None or np.isin(given, column.values).all()


@pytest.mark.parametrize("name", contract.TABLES)
def test_every_cell_is_within_the_contract(name: str) -> None:
    for tables in desk(SMALL)[1]:
        made = tables[name]
        columns = [c for c in contract.TABLES[name].columns if c.name not in ABSENT]
        assert list(made) == [column.name for column in columns]
        assert len({len(values) for values in made.values()}) == 1
        for column in columns:
            assert_column(column, made[column.name])


def test_books_are_open_on_the_tick_and_regular() -> None:
    truth, days = desk(SMALL)
    for tables in days:
        snapshots = tables["market_snapshots"]
        ticks = np.round((snapshots["ask_px"] - snapshots["bid_px"]) / 0.01, 6)
        assert (ticks >= 1).all()
        np.testing.assert_array_equal(ticks, np.round(ticks))
        ts = snapshots["ts"].reshape(truth.spec.symbols, -1)
        assert (np.diff(ts) == np.timedelta64(truth.spec.snapshot_s, "s")).all()


def test_fills_lie_in_their_window_and_never_exceed_the_parent() -> None:
    truth, days = desk(SMALL)
    partly = 0
    for tables in days:
        fills, parents = tables["child_fills"], tables["parent_orders"]
        index = {order: k for k, order in enumerate(parents["order_id"])}
        parent = np.array([index[order] for order in fills["order_id"]])
        for column in ("symbol", "side"):
            assert (parents[column][parent] == fills[column]).all()
        assert (parents["start_ts"][parent] <= fills["fill_ts"]).all()
        assert (fills["fill_ts"] <= parents["end_ts"][parent]).all()
        assert (parents["decision_ts"] <= parents["start_ts"]).all()
        filled = np.bincount(parent, fills["fill_qty"], len(index))
        assert (filled <= parents["parent_qty"]).all()
        partly += np.count_nonzero(filled < parents["parent_qty"])
        lot = dict(zip(truth.symbols, truth.lot, strict=True))
        assert not (fills["fill_qty"] % [lot[symbol] for symbol in fills["symbol"]]).any()
    assert partly  # some opportunity cost


def test_marks_are_the_recorded_mids() -> None:
    truth, days = desk(SMALL)
    tables, mid = days[0], mids(truth, days[0])
    marks, parents = tables["benchmark_marks"], tables["parent_orders"]
    column = np.array([truth.symbols.index(symbol) for symbol in parents["symbol"]])
    step = np.timedelta64(truth.spec.snapshot_s, "s")
    for name in ("DECISION", "ARRIVAL", "CLOSE"):
        chosen = marks["mark"] == name
        row = ((marks["ts"][chosen] - truth.spec.open_ts(0)) / step).astype(int)
        np.testing.assert_allclose(marks["px"][chosen], mid[row, column])


# -- impact is real, and hard to see -----------------------------------------------------------


def test_a_fade_scales_the_cross_terms_of_the_last_days_alone() -> None:
    spec = replace(SMALL, fade=0.25, fade_days=1)
    (truth, days), (_, whole) = desk(spec), desk(SMALL)
    before, after = truth.matrices(spec.days - 2), truth.matrices(spec.days - 1)
    off = ~np.eye(spec.symbols, dtype=bool)
    np.testing.assert_array_equal(after[:, off], 0.25 * before[:, off])
    np.testing.assert_array_equal(after[:, ~off], before[:, ~off])
    for day, (tables, unfaded) in enumerate(zip(days, whole, strict=True)):
        bids = (t["market_snapshots"]["bid_px"] for t in (tables, unfaded))
        assert np.array_equal(*bids) == (day < spec.days - 1)


def test_prices_move_by_the_planted_matrix_over_the_fill_ratio() -> None:
    data = panel(QUIET)
    kept = slope(data["aq"].ravel(), data["move"].ravel())
    assert kept == pytest.approx(1 / QUIET.fill_ratio, abs=0.08)
    another_day = np.roll(data["aq"], QUIET.buckets, axis=0)
    assert abs(slope(another_day.ravel(), data["move"].ravel())) < 0.2


@pytest.mark.parametrize("ratio", [0.5, 0.6, 0.9])
def test_fills_pay_the_planted_matrix(ratio: float) -> None:
    spec = replace(QUIET, fill_ratio=ratio)
    data = panel(spec)
    traded = np.isfinite(data["s"])
    planted = (np.sign(data["q"]) * data["aq"])[traded]
    paid = slope(planted, data["s"][traded])
    assert paid == pytest.approx(1.0, abs=0.06)
    truth, _ = desk(spec)
    spread = (data["s"][traded] - paid * planted).mean()
    assert spread == pytest.approx(truth.models["normal"].alpha.mean(), abs=0.6)


def test_the_fill_ratio_moves_no_mid_at_a_buckets_end() -> None:
    """Fills pay another part of the same moves, so that equal seeds make equal markets."""
    (_, few), (_, many) = (desk(replace(SMALL, days=1, fill_ratio=r)) for r in (0.5, 0.9))
    truth = plan_market(replace(SMALL, days=1))
    closes = [mids(truth, days[0])[:: truth.spec.steps] for days in (few, many)]
    np.testing.assert_allclose(*closes, rtol=2e-4)  # rounded beta and ticks


@pytest.mark.parametrize(("half_life", "permanent"), [(30.0, 0.3), (10.0, 0.0)])
def test_pushes_fade_as_planted(half_life: float, permanent: float) -> None:
    spec = replace(QUIET, half_life_min=half_life, permanent=permanent)
    data = panel(spec)
    sessions = np.repeat(np.arange(spec.days), spec.buckets)
    fading = Decay.from_half_life(half_life).carried(data["aq"], list(sessions))
    lost = (1 - permanent) * np.expm1(-np.log(2) * 5 / half_life) * fading
    left = data["move"] - data["aq"] / spec.fill_ratio
    assert slope(lost.ravel(), left.ravel()) == pytest.approx(1 / spec.fill_ratio, rel=0.06)


def test_a_session_begins_with_what_the_last_one_left_overnight() -> None:
    spec = replace(QUIET, half_life_min=120.0, permanent=0.0)
    truth, night = plan_market(spec), plan_market(replace(spec, overnight=0.5))
    plain, carried = (mids(t, simulate_day(t, 1)) for t in (truth, night))
    assert same_bytes(simulate_day(truth, 0), simulate_day(night, 0))
    later = 24 * truth.spec.steps  # a half-life
    faded = 1e4 * np.log(carried[-1] / carried[0] * plain[0] / plain[-1])
    by_then = 1e4 * np.log(carried[later] / carried[0] * plain[0] / plain[later])
    large = np.abs(faded) > 10
    assert large.any()
    expected = 0.5 / -np.expm1(-np.log(2) * 390 / 120)
    assert np.median(by_then[large] / faded[large]) == pytest.approx(expected, rel=0.25)


def test_permanent_impact_leaves_nothing_to_fade() -> None:
    stays = replace(SMALL, days=1, half_life_min=20.0, permanent=1.0)
    assert same_bytes(*(simulate_day(plan_market(s), 0) for s in (stays, replace(SMALL, days=1))))


def test_least_squares_reads_gamma_back_from_a_quiet_desk() -> None:
    truth, _ = desk(QUIET)
    data, normal = panel(QUIET), truth.regime.ravel() == 0
    rows, *_ = np.linalg.lstsq(data["q"][normal], data["move"][normal], rcond=None)
    root = np.sqrt(truth.adv)
    found = rows.T * root[:, None] / root
    planted = truth.matrices(0)[0] * root[:, None] / root
    off = ~np.eye(truth.spec.symbols, dtype=bool)
    kept = slope(planted[off], found[off])
    assert kept == pytest.approx(1 / QUIET.fill_ratio, rel=0.2)
    assert np.corrcoef(planted[off], found[off])[0, 1] > 0.8


def test_own_flow_herds_with_the_peers() -> None:
    data = panel(DeskSpec(symbols=10, days=8, seed=1))
    active = data["q"] != 0
    assert 0.3 < active.mean() < 0.7
    assert np.corrcoef(data["q"][active], data["peer"][active])[0, 1] > 0.1
    assert 3e-4 < np.median(np.abs(data["q"][active])) < 2e-3


def test_public_aggressors_lean_with_the_move() -> None:
    truth, days = desk(SMALL)
    for day, tables in enumerate(days):
        prints = tables["public_trades"]
        bucket = bucket_of(truth, day, prints["ts"])
        code = {symbol: i for i, symbol in enumerate(truth.symbols)}
        net = np.zeros((truth.spec.buckets, truth.spec.symbols))
        where = bucket, [code[symbol] for symbol in prints["symbol"]]
        np.add.at(net, where, prints["px"] * prints["qty"] * prints["aggressor_side"])
        moves = np.diff(mids(truth, tables)[:: truth.spec.steps], axis=0)
        assert np.corrcoef(np.sign(net).ravel(), np.sign(moves).ravel())[0, 1] > 0.1


def test_stress_is_plain_to_see() -> None:
    truth, days = desk(SMALL)
    ratio = []
    for day, tables in enumerate(days):
        spread = tables["market_snapshots"]["ask_px"] / tables["market_snapshots"]["bid_px"] - 1
        spread = spread.reshape(truth.spec.symbols, -1)[:, :-1]
        stressed = np.repeat(truth.regime[day], truth.spec.steps) == 1
        if 0 < stressed.mean() < 1:
            ratio.append(spread[:, stressed].mean() / spread[:, ~stressed].mean())
    assert ratio
    assert min(ratio) > 1.5


def test_one_symbol_makes_a_desk() -> None:
    truth, days = desk(DeskSpec(symbols=1, days=2))
    assert truth.models["normal"].edges == 0
    assert all(len(tables["child_fills"]["fill_id"]) for tables in days)


# -- broken rows -------------------------------------------------------------------------------


def test_few_rows_are_broken_and_the_clean_tables_stay_clean() -> None:
    truth, days = desk(SMALL)
    plan, broken = plan_dirt(truth), dict.fromkeys(contract.TABLES, 0)
    before = [{t: {c: v.copy() for c, v in cs.items()} for t, cs in day.items()} for day in days]
    for day, kinds in plan.items():
        tables, spoiled = spoil(days[day], truth, day, kinds)
        assert len({(item.table, item.row) for item in spoiled}) == len(spoiled) > 0
        for item in spoiled:
            broken[item.table] += 1
            assert item.row < len(next(iter(tables[item.table].values())))
    assert all(same_bytes(day, old) for day, old in zip(days, before, strict=True))
    for name, count in broken.items():
        rows = sum(len(next(iter(tables[name].values()))) for tables in days)
        assert not contract.TABLES[name].quarantined.exceeded(count, rows)
    assert sum(broken.values()) >= 15
