"""The shortfall identity, through the real queries, on desks written by hand and at random."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markupsafe import escape

from crossimpact.errors import CrossImpactError, UsageError
from crossimpact.kernel.decay import Decay
from crossimpact.model import ImpactModel
from crossimpact.release.bundle import Release
from pipelines import tca, tca_marts
from pipelines.pages.reports import Row, read_mart
from pipelines.pricing import Pricing
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse
from pipelines.tca_columns import CAUSES, FIVE, PARTS
from pipelines.tca_tables import TABLES
from tests.pipelines.tca_desk import (
    ADV,
    DATE,
    at,
    bucket,
    desk,
    fill,
    mark,
    model,
    parent,
    publish,
    quote,
    release,
    signed_notional,
)

PATHS = (
    "self_now", "self_own_carried", "self_sibling_carried", "cross_now", "cross_carried", "market",
)  # fmt: skip
MICRO = Decimal("0.000001")
SIDES = {"BUY": 1, "SELL": -1}


def build(home: Settings, by: Release | None = None) -> dict[str, list[Row]]:
    """Rows of every mart, built without the page."""
    warehouse = Warehouse(home)
    pricing = Pricing.by(by or release(model(), model("stressed")), DATE)
    tca_marts.build(warehouse, DATE, pricing, {"by": "hand"})
    return {name: read_mart(warehouse, name, DATE) for name in TABLES}


def run(home: Settings, by: Release | None = None) -> tca.Result:
    by = by or release(model(), model("stressed"))
    return tca.run(home, home.home, DATE, Pricing.by(by, DATE, {"version": "3"}))


def exact(value: float) -> Decimal:
    return Decimal(str(value))


# -- random desks --------------------------------------------------------------------------------

ids = st.text(st.characters(exclude_categories=("C", "Zl", "Zp")), max_size=20)
prices = st.integers(900, 1100).map(lambda cents: cents / 100)


@st.composite
def desks(draw: st.DrawFn) -> dict[str, list[dict[str, Any]]]:
    """Parents with and without fills and marks, on a book that may be old or absent."""
    found: dict[str, list[dict[str, Any]]] = {"parents": [], "fills": [], "quotes": [], "marks": []}
    for symbol in ("AAA", "BBB", "CCC"):
        for second in draw(st.lists(st.integers(-50, 890), max_size=5, unique=True)):
            found["quotes"].append(quote(symbol, second, draw(prices), half=0.005))
    for k in range(draw(st.integers(0, 4))):
        scale = draw(st.sampled_from([1, 10**5, 10**8]))  # whole shares, or fractions of one
        order = parent(
            f"o{k}{draw(ids)}",
            draw(st.sampled_from(["AAA", "BBB", "CCC"])),
            draw(st.sampled_from(["BUY", "SELL"])),
            draw(st.integers(1, 10**7)) / scale,
            draw(prices),
            draw(st.sampled_from(["B1", "B2", None])),
        )
        found["parents"].append(order)
        for name in ("ARRIVAL", "CLOSE"):
            if draw(st.integers(0, 4)):
                found["marks"].append(mark(order["order_id"], name, draw(prices)))
        rest = round(order["parent_qty"] * scale)
        for j in range(draw(st.integers(0, 3))):
            qty = draw(st.integers(0, rest))
            rest -= qty
            if qty:
                fee = draw(st.integers(-500, 500)) / 1000
                second = draw(st.floats(0, 899))
                found["fills"].append(
                    fill(f"f{k}.{j}", order, second, draw(prices), qty / scale, fee)
                )
    return found


def mid_at(quotes: list[dict[str, Any]], symbol: str, moment: Any, age: float) -> Decimal | None:
    seen = [q for q in quotes if q["symbol"] == symbol and q["ts"] <= moment]
    last = max(seen, key=lambda q: q["ts"], default=None)
    if last is None or (moment - last["ts"]).total_seconds() > age:
        return None
    return (exact(last["bid_px"]) + exact(last["ask_px"])) / 2


def by_definition(order: dict[str, Any], given_desk: dict[str, list[dict[str, Any]]]) -> Row:
    """The parts of one parent straight from their definitions, in exact decimals."""
    d = SIDES[order["side"]]
    fills = [f for f in given_desk["fills"] if f["order_id"] == order["order_id"]]
    px = {
        m["mark"]: exact(m["px"]) for m in given_desk["marks"] if m["order_id"] == order["order_id"]
    }
    decision = exact(order["decision_px"])
    arrival = (
        px.get("ARRIVAL")
        or mid_at(given_desk["quotes"], order["symbol"], order["start_ts"], 60)
        or decision
    )
    close = (
        px.get("CLOSE") or mid_at(given_desk["quotes"], order["symbol"], at(9e4), 1e9) or decision
    )
    filled = sum((exact(f["fill_qty"]) for f in fills), Decimal(0))
    mids = [mid_at(given_desk["quotes"], f["symbol"], f["fill_ts"], 60) for f in fills]
    at_mid = [mid or exact(f["fill_px"]) for f, mid in zip(fills, mids, strict=True)]
    slipped = sum(exact(f["fill_qty"]) * (exact(f["fill_px"]) - decision) for f in fills)
    spread = sum(
        exact(f["fill_qty"]) * (exact(f["fill_px"]) - m) for f, m in zip(fills, at_mid, strict=True)
    )
    fees = sum(exact(f["fee"]) for f in fills)
    opportunity = d * (exact(order["parent_qty"]) - filled) * (close - decision)
    return {
        "total": d * slipped + fees + opportunity,
        "delay": d * filled * (arrival - decision),
        "fees_spread": fees + d * spread,
        "opportunity": opportunity,
        "drift": d
        * sum(exact(f["fill_qty"]) * (m - arrival) for f, m in zip(fills, at_mid, strict=True)),
        "fills_without_mid": mids.count(None),
    }


@settings(max_examples=12, deadline=None)
@given(desks())
def test_the_identity_closes_exactly_on_any_desk(
    given_desk: dict[str, list[dict[str, Any]]],
) -> None:
    home = Path(tempfile.mkdtemp())
    try:
        marts = build(desk(home, **given_desk))
    finally:
        shutil.rmtree(home)
    rows = {row["order_id"]: row for row in marts["tca_orders"]}
    assert set(rows) == {order["order_id"] for order in given_desk["parents"]}
    for order in given_desk["parents"]:
        row, expected = rows[order["order_id"]], by_definition(order, given_desk)
        assert row["total_usd"] == sum(row[f"{part}_usd"] for part in FIVE)
        assert row["total_usd"] == sum(row[f"{cause}_usd"] for cause in CAUSES)
        rounding = MICRO * (row["n_fills"] + 2)  # every fill is rounded to the micro-dollar
        for part in ("total", "delay", "fees_spread", "opportunity"):
            assert abs(row[f"{part}_usd"] - expected[part]) <= 2 * rounding, part
        drift = row["cross_realized_usd"] + row["self_usd"]
        assert abs(drift - expected["drift"]) <= 4 * rounding
        assert row["fills_without_mid"] == expected["fills_without_mid"]
    money = ("total", *PARTS, *CAUSES, "cross_realized", "notional", "filled")
    whole = {part: sum(row[f"{part}_usd"] for row in rows.values()) for part in money}
    for scope in ("desk", "basket", "symbol", "sector", "regime", "venue"):
        daily = [row for row in marts["tca_daily"] if row["scope"] == scope]
        for part in money if scope != "venue" else (*PARTS, *CAUSES, "total", "filled"):
            assert whole[part] == sum(row[f"{part}_usd"] for row in daily), (scope, part)
    for row in marts["tca_buckets"]:
        inside = ("spread", "self", "carried", "peers", "cross", "market", "residual")
        assert row["slippage_usd"] == sum(row[f"{part}_usd"] for part in inside)
        realized = row["cross_usd"] + row["market_usd"] + row["residual_usd"]
        assert row["cross_realized_usd"] == realized


@settings(max_examples=6, deadline=None)
@given(desks())
def test_fills_carry_exactly_the_model_cost(given_desk: dict[str, list[dict[str, Any]]]) -> None:
    home = Path(tempfile.mkdtemp())
    try:
        marts = build(desk(home, **given_desk, regimes=["normal"] * 3), release(model()))
    finally:
        shutil.rmtree(home)
    q = np.zeros((3, 3))
    for row in given_desk["fills"]:
        q[bucket(row), ["AAA", "BBB", "CCC"].index(row["symbol"])] += signed_notional(row) / ADV
    cost = model().cost(q)
    for table, rows in ((t, marts[t]) for t in ("tca_orders", "tca_buckets")):
        now = "_now" if table == "tca_orders" else ""
        for column, part in ((f"self{now}_usd", cost.self_impact), (f"cross{now}_usd", cost.cross)):
            total = float(sum(row[column] for row in rows))
            assert total == pytest.approx(part.sum(), rel=1e-9, abs=2e-5), (table, column)
    pairs = float(sum(row["usd"] for row in marts["tca_pairs"]))
    assert pairs == pytest.approx(cost.cross.sum(), rel=1e-9, abs=2e-5)


# -- planted desks -------------------------------------------------------------------------------


def moved_as_modelled(home: Path, by: ImpactModel, noise: float = 0.0) -> Settings:
    """Every fill at the mid, every mid at the bucket's start plus the modelled move (and noise)."""
    rng = np.random.default_rng(2)
    names, start = ("AAA", "BBB", "CCC"), 1000.0
    orders = [
        parent(f"o{i}", name, side, 4000, start)
        for i, (name, side) in enumerate(zip(names, ("BUY", "BUY", "SELL"), strict=True))
    ]
    qty = rng.integers(20, 400, (10, 3))
    px = np.full((10, 3), start)
    for _ in range(60):  # q is struck at the prices it moves: a contraction
        q = qty * px * [1, 1, -1] / ADV
        px = start / (1 - 1e-4 * (by.self_bps(q) + by.cross_bps(q)))  # the move in bps of the fill
    px = np.round(px + noise * rng.normal(size=px.shape), 6)
    cells = [(t, i) for t in range(10) for i in range(3)]
    fills = [
        fill(f"f{t}.{i}", orders[i], 300 * t + 100, px[t, i], int(qty[t, i])) for t, i in cells
    ]
    quotes = [quote(names[i], 300 * t + 90, px[t, i], half=0.5) for t, i in cells]
    marks = [mark(o["order_id"], name, start) for o in orders for name in ("ARRIVAL", "CLOSE")]
    return desk(
        home,
        orders,
        fills,
        quotes,
        marks,
        regimes=["normal"] * 10,
        mids=dict.fromkeys(names, start),
    )


def test_a_market_that_moves_as_modelled_leaves_nothing_unexplained(tmp_path: Path) -> None:
    by = model(gamma=120)
    result = run(moved_as_modelled(tmp_path, by), release(by))
    assert result.calibration.slope is None  # ten buckets of one date tell nothing
    assert abs(result.split["residual"]["usd"] or 0) < 0.01
    assert result.split["cross_realized"]["usd"] == pytest.approx(
        result.split["cross"]["usd"], abs=0.01
    )
    assert abs(result.split["cross"]["usd"] or 0) > 1
    assert result.summary["bucket_cross_realized_usd"] == pytest.approx(
        result.split["cross"]["usd"], abs=0.01
    )


def test_golden_path_of_two_orders_is_priced_by_what_their_flow_left_since_arrival(
    tmp_path: Path,
) -> None:
    """A hundredth of the worked example: A buys 1% of its ADV in buckets 0, 1, 2 and, in another
    order that arrives in 3, in 4; B in 0. Half of a push is left a bucket later."""
    names = {"AAA": "tech", "BBB": "tech", "CCC": "energy"}
    orders = [parent("o1", qty=30, decision_px=1000), parent("o2", qty=10, decision_px=1000)]
    orders.append(parent("b1", "BBB", qty=10, decision_px=1000))
    bought = [(orders[0], t) for t in (0, 1, 2)] + [(orders[1], 4), (orders[2], 0)]
    fills = [fill(f"f{k}", order, 300 * t, 1000, 10) for k, (order, t) in enumerate(bought)]
    marks = [mark(order["order_id"], "ARRIVAL", 1000) for order in orders]
    marks[1]["ts"] = at(900)
    home = desk(
        tmp_path, orders, fills, (), marks, sectors=names, regimes=["normal"] * 5,
        mids=dict.fromkeys(names, 1000.0),
    )  # fmt: skip
    kernel = Decay((1.0,), (float(np.log(2)) / 5,))
    made = build(home, release(replace(model(beta=1000, gamma=500), kernel=kernel)))
    rows = made["tca_orders"]
    path = [row for row in made["tca_path"] if row["order_id"] == "o1"]
    assert [row["self_now_bps"] for row in path] == pytest.approx([10, 10, 10])
    assert [row["self_carried_bps"] for row in path] == pytest.approx([0, 10, 15])
    assert [row["cross_bps"] for row in path] == pytest.approx([5, 5, 2.5])
    for row in path:
        parts = ("self_now", "self_carried", "cross", "peers", "market", "residual")
        assert sum(row[f"{part}_bps"] for part in parts) == pytest.approx(row["drift_bps"])
    carried = sum(row["carried_usd"] for row in made["tca_pairs"])
    assert float(carried) == pytest.approx(7.5 - 0.625, abs=1e-5)  # the orders' cross_carried
    found = {row["order_id"]: [float(row[f"{name}_usd"]) for name in PATHS] for row in rows}
    assert found == {
        "o1": pytest.approx([30, 25, 0, 5, 7.5, 0], abs=1e-6),
        "o2": pytest.approx([10, 0, -8.75, 0, -0.625, 0], abs=1e-6),
        "b1": pytest.approx([10, 0, 0, 5, 0, 0], abs=1e-6),
    }


def test_without_gamma_nothing_is_predicted_and_all_cross_is_unexplained(tmp_path: Path) -> None:
    home = moved_as_modelled(tmp_path, model(gamma=120))
    marts = build(home, release(model(gamma=0)))
    summary = marts["tca_daily"][0]
    assert summary["cross_usd"] == 0
    timing = summary["market_usd"] + summary["residual_usd"]
    assert timing == summary["timing_usd"] == summary["cross_realized_usd"] != 0
    assert marts["tca_pairs"] == []


def test_opposite_parents_in_one_symbol_pay_each_other(tmp_path: Path) -> None:
    buy, sell = parent("o1", side="BUY"), parent("o2", side="SELL")
    fills = [fill("f1", buy, 10, 10.0, 60), fill("f2", sell, 20, 10.0, 100)]
    home = desk(tmp_path, [buy, sell], fills, [quote("AAA", 0, 10.0)])
    first, second = build(home)["tca_orders"]
    per_bps = 1e-4 * 200 * (-400 / ADV)  # the net flow is a sale: it helps the buyer
    assert float(first["self_usd"]) == pytest.approx(600 * per_bps, abs=1e-6)
    assert float(second["self_usd"]) == pytest.approx(-1000 * per_bps, abs=1e-6)
    assert first["self_usd"] < 0 < second["self_usd"]


def test_one_execution_id_on_two_venues_fills_twice(tmp_path: Path) -> None:
    order = parent("P1", qty=500, decision_px=50.0)
    first, second = (fill("1514", order, s, 50.0, q) for s, q in ((10, 200), (70, 300)))
    home = desk(tmp_path, [order], [first, second | {"venue": "ARCX"}], [quote("AAA", 0, 50.0)])
    (row,) = build(home)["tca_orders"]
    assert (row["filled_qty"], row["n_fills"], row["opportunity_usd"]) == (500, 2, 0)


@pytest.mark.filterwarnings("error:constrained_layout")  # a long id leaves the figure no room
def test_an_opaque_id_is_text_on_the_page_never_markup(tmp_path: Path) -> None:
    texts = [
        "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "a&amp;b", "{{ 7 * 7 }}",
        "x" * 128, "order_EURUSD2017-04-25 07:09:31.804000+00:00_2018-06-17 22:42:44.253123_9418",
    ]  # fmt: skip
    orders = [parent(text, basket_id=text) for text in texts]
    fills = [fill(f"f{i}", order, 10, 10.0, 10) for i, order in enumerate(orders)]
    page = run(desk(tmp_path, orders, fills, [quote("AAA", 0, 10.0)])).report.read_text()
    assert [text for text in texts if str(escape(text)) not in page] == []
    assert "<script>alert" not in page and "<img src=x" not in page


def test_an_unfilled_parent_is_all_opportunity(tmp_path: Path) -> None:
    orders = [parent("o1", "AAA", "SELL"), parent("o2", "BBB"), parent("o3", "CCC")]
    quotes = [quote("AAA", 0, 9.0), quote("BBB", 0, 9.5), quote("BBB", 800, 10.25)]
    home = desk(tmp_path, orders, [], quotes, [mark("o1", "CLOSE", 9.5)])
    marked, snapped, nothing = build(home)["tca_orders"]
    assert marked["total_usd"] == marked["opportunity_usd"] == 50
    assert (snapped["opportunity_usd"], snapped["close_from"]) == (25, "last snapshot")
    assert (nothing["opportunity_usd"], nothing["close_from"]) == (0, "decision")
    assert marked["close_from"] == "CLOSE"
    for row in (marked, snapped, nothing):
        assert {row[f"{part}_usd"] for part in FIVE if part != "opportunity"} == {0}
        assert row["priced_by"] == "none (no fill)"
        assert row["slippage_bps"] is None


def test_a_stale_mid_is_replaced_and_counted(tmp_path: Path) -> None:
    order = parent("o1")
    fills = [fill("f1", order, 60, 10.2, 10), fill("f2", order, 61, 10.2, 10)]
    home = desk(tmp_path, [order], fills, [quote("AAA", 0, 10.0)])
    marts = build(home)
    row = marts["tca_orders"][0]
    assert row["spread_usd"] == 2  # 10 shares at 20 cents: the fill with a mid just fresh enough
    assert row["fills_without_mid"] == marts["tca_daily"][0]["fills_without_mid"] == 1


def test_fills_of_a_refused_parent_are_counted_not_lost(tmp_path: Path) -> None:
    order, refused = parent("o1"), parent("o9", "BBB")
    fills = [fill("f1", order, 10, 10.0, 10), fill("f2", refused, 20, 10.0, 7)]
    marts = build(desk(tmp_path, [order], fills, [quote("AAA", 0, 10.0), quote("BBB", 0, 10.0)]))
    summary = marts["tca_daily"][0]
    assert (summary["orphan_fills"], summary["orphan_usd"], summary["fills"]) == (1, 70, 2)
    assert summary["filled_usd"] == 100
    assert sum(row["gross_usd"] for row in marts["tca_buckets"]) == 170


def test_a_regime_without_a_model_says_who_answered_and_why(tmp_path: Path) -> None:
    order = parent("o1")
    home = desk(tmp_path, [order], [fill("f1", order, 650, 10.0, 10)], [quote("AAA", 640, 10.0)])
    marts = build(home, release(model()))
    label = "fixed_pov/stressed (12 buckets, 50 needed)"
    assert marts["tca_orders"][0]["priced_by"] == label
    assert marts["tca_orders"][0]["self_usd"] == marts["tca_orders"][0]["cross_usd"] == 0
    assert [row["priced_by"] for row in marts["tca_buckets"]] == [None, None, label]


def test_a_symbol_outside_the_model_is_named(tmp_path: Path) -> None:
    order = parent("o1", "CCC")
    home = desk(tmp_path, [order], [fill("f1", order, 10, 10.0, 10)], [quote("CCC", 0, 10.0)])
    result = run(home, release(model(symbols=("AAA", "BBB"))))
    assert result.unpriced == ["CCC"]
    row = read_mart(Warehouse(home), "tca_orders", DATE)[0]
    assert row["priced_by"] == "none/normal (CCC is not in the model)"


def test_a_date_without_orders_has_zeros_and_a_page(tmp_path: Path) -> None:
    result = run(desk(tmp_path, []))
    assert result.rows == dict.fromkeys(TABLES, 0) | {
        "tca_buckets": 3,
        "tca_daily": 1,
        "tca_calibration": 4,  # all, a regime with a bucket of the book, two sectors: nothing tells
    }
    assert result.split["total"] == {"usd": 0.0, "bps": None}
    assert result.report.exists()


# -- reruns and refusals -------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path) -> Settings:
    order = parent("o1")
    fills = [fill("f1", order, 10, 10.05, 60, 1.5)]
    return desk(tmp_path, [order], fills, [quote("AAA", 0, 10.0)], [mark("o1", "CLOSE", 10.2)])


def stamps(home: Settings) -> dict[Path, int]:
    found = [*(home.home / "warehouse" / "marts").rglob("*.*"), *home.reports.glob("tca-*")]
    return {path: path.stat().st_mtime_ns for path in found}


def test_a_rerun_touches_nothing(small: Settings) -> None:
    first = run(small)
    before = stamps(small)
    second = run(small)
    assert (first.recomputed, second.recomputed) == (True, False)
    assert stamps(small) == before
    assert {**first.to_dict(), "recomputed": False} == second.to_dict()


def test_another_release_prices_anew(small: Settings) -> None:
    first = run(small)
    second = run(small, release(model(beta=400), model("stressed")))
    assert second.recomputed
    assert second.split["self"]["usd"] == pytest.approx(2 * (first.split["self"]["usd"] or 0))
    assert second.release_id in second.report.read_text()
    assert first.release_id not in second.report.read_text()


def test_a_lost_page_is_written_again(small: Settings) -> None:
    page = run(small).report
    content = page.read_bytes()
    page.unlink()
    assert not run(small).recomputed
    assert page.read_bytes() == content


def test_new_accepted_rows_are_seen(small: Settings) -> None:
    run(small)
    publish(small, "accepted", "benchmark_marks", [mark("o1", "CLOSE", 11.2)])
    result = run(small)
    assert result.recomputed
    assert result.split["opportunity"]["usd"] == pytest.approx(48)


def test_a_date_that_was_not_validated_is_refused(small: Settings) -> None:
    shutil.rmtree(small.home / "warehouse" / "accepted" / "child_fills")
    with pytest.raises(CrossImpactError, match=f"no accepted child_fills of {DATE}"):
        run(small)


def test_a_release_of_other_buckets_is_refused(small: Settings) -> None:
    with pytest.raises(UsageError, match=r"buckets of 60 s.*300 s"):
        run(small, release(model(), bucket_s=60))


def test_public_flow_has_no_parents_to_analyse(small: Settings) -> None:
    with pytest.raises(UsageError, match="not public flow"):
        run(Settings(small.home, flow="public"))
