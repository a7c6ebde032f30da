"""Orders worked out by hand, through the real path: landed, validated, measured, analysed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossimpact.kernel.decay import Decay
from pipelines import features, tca_marts, validate
from pipelines.pages.reports import Row, read_mart
from pipelines.pricing import Pricing
from pipelines.store.landing import Landing
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse
from pipelines.tca_columns import CAUSES, PARTS
from pipelines.tca_tables import TABLES
from tests.pipelines import desk as landed
from tests.pipelines import tca_desk

DAY, NEXT = "2024-01-03", "2024-01-04"
#: Mid of each name by the second of its session; a name without one has it flat.
MIDS: dict[str, Callable[[float], float]] = {
    "HALT": lambda s: 25.0 if s < 250 else 24.8 if s < 600 else 24.6,
    "LATE": lambda s: 50.0 if s < 300 else 50.5,
}
FLAT = {
    "CFAX": 40.0, "MULT": 60.0, "MISS": 30.0, "CORR": 50.0, "BUST": 20.0, "BELL": 50.0,
    "TENX": 10.0, "STUB": 22.0, "BOTH": 10.0, "SHRT": 10.0,
}  # fmt: skip
NAMES = (*MIDS, *FLAT)
#: Mid of MULT on the second date.
LATER = 60.6
END = 2400.0


def order(name: str, qty: float, decision_px: float, **more: Any) -> dict[str, Any]:
    row = {
        "order_id": name, "basket_id": "B", "symbol": name, "side": "BUY", "parent_qty": qty,
        "parent_notional": qty * decision_px, "decision_ts": landed.at(60),
        "decision_px": decision_px, "start_ts": landed.at(60), "end_ts": landed.at(2300),
        "alpha_bps": None,
    }  # fmt: skip
    return row | more


def fill(
    fill_id: str, of: Mapping[str, Any], second: float, px: float, qty: float, **more: Any
) -> dict[str, Any]:
    row = {
        "fill_id": fill_id, "order_id": of["order_id"], "symbol": of["symbol"], "side": of["side"],
        "fill_ts": landed.at(second), "fill_px": px, "fill_qty": qty, "venue": "XNYS",
        "liquidity": "PASSIVE", "fee": 0.0, "exec_type": None, "ref_fill_id": None,
    }  # fmt: skip
    return row | more


def marks(of: Mapping[str, Any], arrival: float, close: float, at: float = 60) -> landed.Rows:
    named = {
        "DECISION": (60.0, of["decision_px"]), "ARRIVAL": (at, arrival), "CLOSE": (END, close),
    }  # fmt: skip
    return [
        {"order_id": of["order_id"], "mark": mark, "ts": landed.at(second), "px": px}
        for mark, (second, px) in named.items()
    ]


def snapshots(shift: timedelta = timedelta(0)) -> landed.Rows:
    rows = []
    for name in NAMES:
        for second in np.arange(0, END, 10).tolist():
            if name == "HALT" and 600 <= second < 1000:
                continue
            mid = MIDS[name](second) if name in MIDS else FLAT[name]
            mid = LATER if name == "MULT" and shift else mid
            ask = 2.2 * mid if (name, second) == ("STUB", 300) else mid + 0.01
            rows.append(
                {
                    "symbol": name, "ts": landed.at(second) + shift, "bid_px": mid - 0.01,
                    "ask_px": ask, "bid_size": 100.0, "ask_size": 100.0, "short_vol_bps": None,
                }
            )  # fmt: skip
    return rows


def instruments() -> landed.Rows:
    return [
        {
            "symbol": name, "sector": "tech", "adv_notional": 1e8, "market_beta": 1.0,
            "tick_size": 0.01, "lot_size": 1,
        }
        for name in NAMES
    ]  # fmt: skip


def first_day() -> dict[str, landed.Rows]:
    parents, fills, benchmarks = [], [], []

    def land(of: Mapping[str, Any], executed: landed.Rows, marked: landed.Rows) -> None:
        parents.append(dict(of))
        fills.extend(executed)
        benchmarks.extend(marked)

    cfa = order("CFAX", 1000, 40.0)
    land(cfa, [fill("c1", cfa, 300, 40.05, 700, fee=17.0)], marks(cfa, 40.04, 40.08))
    halt = order("HALT", 1000, 25.0)
    land(
        halt,
        [
            fill("h1", halt, 300, 24.8, 400),
            fill("h2", halt, 800, 24.7, 300),
            fill("h3", halt, 1100, 24.6, 300),
        ],
        marks(halt, 25.0, 24.6),
    )  # fmt: skip
    late = order("LATE", 100, 50.0)
    land(late, [fill("l1", late, 120, 50.02, 100)], marks(late, 50.5, 50.5, at=400))
    missing = order("MISS", 100, 30.0)
    land(missing, [fill("m1", missing, 120, 30.01, 60)], marks(missing, 30.0, 30.0)[:2])
    corrected = order("CORR", 1000, 50.0)
    land(
        corrected,
        [
            fill("X1.01.01", corrected, 120, 49.95, 400),
            fill("X1.01.02", corrected, 120, 49.5, 400)
            | {"exec_type": "CORRECT", "ref_fill_id": "X1.01.01"},
            fill("X2.01.01", corrected, 180, 50.2, 300),
            fill("X3.01.01", corrected, 240, 50.0, 300),
        ],
        marks(corrected, 50.0, 50.0),
    )  # fmt: skip
    busted = order("BUST", 1000, 20.0)
    land(
        busted,
        [
            fill("b1", busted, 120, 20.0, 800),
            fill("b2", busted, 130, 20.0, 200),
            fill("b3", busted, 140, 20.0, 200, exec_type="BUST", ref_fill_id="b2"),
        ],
        marks(busted, 20.0, 20.1),
    )  # fmt: skip
    bell = order("BELL", 350, 50.0, end_ts=landed.at(2390))
    land(bell, [fill("e1", bell, 2393, 50.0, 350)], marks(bell, 50.0, 50.0))
    ten = order("TENX", 100, 100.0)
    land(ten, [fill("t1", ten, 120, 10.02, 100)], marks(ten, 10.0, 10.0))
    stub = order("STUB", 100, 22.0)
    land(stub, [fill("s1", stub, 330, 22.01, 100)], marks(stub, 22.0, 22.0))
    buy, sell = order("BOTH", 100, 10.0), order("BOTH", 100, 10.0, side="SELL", order_id="BACK")
    for k, of in enumerate((buy, sell)):
        land(of, [fill(f"i{k}", of, 400 + k, 10.0, 100)], marks(of, 10.0, 10.0))
    short = order("SHRT", 100, 10.0, side="SELL")
    land(short, [fill("r1", short, 120, 9.99, 100)], marks(short, 10.0, 10.0))
    multi = order("MULT", 1000, 60.0, end_ts=landed.at(2300) + timedelta(days=1))
    land(multi, [fill("d1", multi, 300, 60.31, 400)], marks(multi, 60.0, 60.0)[:2])
    return {
        "instruments": instruments(), "parent_orders": parents, "child_fills": fills,
        "market_snapshots": snapshots(), "benchmark_marks": benchmarks, "peer_flow": [],
        "public_trades": [],
    }  # fmt: skip


def second_day() -> dict[str, landed.Rows]:
    day = timedelta(days=1)
    multi = order("MULT", 1000, 60.0)
    rest = fill("d2", multi, 300, 60.61, 600)
    close = {"order_id": "MULT", "mark": "CLOSE", "ts": landed.at(2300) + day, "px": LATER}
    other = order("CFAX", 100, 40.0, order_id="N2")
    other |= {name: other[name] + day for name in ("decision_ts", "start_ts", "end_ts")}
    return {
        "instruments": instruments(), "parent_orders": [other],
        "child_fills": [rest | {"fill_ts": rest["fill_ts"] + day}],
        "market_snapshots": snapshots(day), "benchmark_marks": [close], "peer_flow": [],
        "public_trades": [],
    }  # fmt: skip


@pytest.fixture(scope="module")
def marts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, list[Row]]]:
    """Every mart of both dates."""
    root = tmp_path_factory.mktemp("golden")
    for date, tables in ((DAY, first_day()), (NEXT, second_day())):
        rows = {name: rows for name, rows in tables.items() if rows}
        landed.write(root / "landing", rows, date)
    settings, landing = Settings(root / "home"), Landing(root / "landing")
    validate.accept(settings, landing, [DAY, NEXT])
    features.prepare(settings, landing, [DAY, NEXT])
    by = tca_desk.release(tca_desk.model(symbols=NAMES, beta=0.0, gamma=0.0))
    warehouse = Warehouse(settings)
    for date in (DAY, NEXT):
        tca_marts.build(warehouse, date, Pricing.by(by, date), {"by": "hand"})
    return {
        date: {name: read_mart(warehouse, name, date) for name in TABLES} for date in (DAY, NEXT)
    }


def row(marts: Mapping[str, Mapping[str, list[Row]]], order_id: str, date: str = DAY) -> Row:
    (found,) = [r for r in marts[date]["tca_orders"] if r["order_id"] == order_id]
    assert found["total_usd"] == sum(found[f"{part}_usd"] for part in PARTS)
    assert found["total_usd"] == sum(found[f"{cause}_usd"] for cause in CAUSES)
    return found


Marts = dict[str, dict[str, list[Row]]]


def test_the_textbook_order_of_the_cfa_costs_its_four_parts(marts: Marts) -> None:
    found = row(marts, "CFAX")
    assert found["total_bps"] == pytest.approx(19)
    assert found["delay_bps"] == pytest.approx(7)
    assert found["opportunity_bps"] == pytest.approx(6)
    assert float(found["fees_usd"]) == 17
    trading = found["timing_usd"] + found["spread_usd"] + found["self_usd"] + found["cross_usd"]
    assert float(trading) / 4 == pytest.approx(1.75)  # a bp of the order is 4 USD
    assert found["status"] == "ok"


def test_what_is_executed_in_a_halt_is_never_called_unfilled(marts: Marts) -> None:
    found = row(marts, "HALT")
    assert found["total_usd"] == -290
    assert found["total_bps"] == pytest.approx(-116)
    assert (found["opportunity_usd"], found["unfilled_qty"]) == (0, 0)
    assert (found["executed_unpriced_qty"], found["executed_unpriced_usd"]) == (300, 7410)
    assert found["status"] == "no_mid"


def test_an_order_over_two_days_counts_once_and_closes_over_its_life(marts: Marts) -> None:
    first, second = row(marts, "MULT"), row(marts, "MULT", NEXT)
    assert (first["total_usd"], first["opportunity_usd"], first["is_open"]) == (124, 0, True)
    assert (second["total_usd"], second["opportunity_usd"]) == (366, 0)
    assert (second["filled_before_qty"], second["status"]) == (400, "carried_in")
    assert second["arrival_from"] == "previous close"
    (life,) = [r for r in marts[NEXT]["tca_order_life"] if r["order_id"] == "MULT"]
    assert (life["total_usd"], life["notional_usd"], life["dates"]) == (490, 60000, 2)
    assert life["total_bps"] == pytest.approx(81.6667, abs=1e-4)
    assert life["total_usd"] == sum(life[f"{cause}_usd"] for cause in CAUSES)
    assert (life["filled_qty"], life["first_date"], life["last_date"]) == (1000, DAY, NEXT)


def test_an_arrival_mark_after_the_first_fill_gives_way_to_the_mid_at_the_start(
    marts: Marts,
) -> None:
    found = row(marts, "LATE")
    assert (found["status"], found["arrival_from"]) == ("arrival_after_fill", "mid at start")
    assert (found["arrival_px"], found["delay_usd"]) == (50, 0)


def test_an_order_without_its_close_mark_stays_in_the_totals(marts: Marts) -> None:
    found = row(marts, "MISS")
    assert (found["status"], found["close_from"]) == ("close_missing", "last snapshot")
    assert (found["filled_qty"], found["unfilled_qty"]) == (60, 40)
    assert float(found["total_usd"]) == pytest.approx(0.6)


def test_a_correction_replaces_and_a_bust_removes_what_it_names(marts: Marts) -> None:
    corrected, busted = row(marts, "CORR"), row(marts, "BUST")
    assert corrected["filled_qty"] == 1000
    assert corrected["average_px"] == pytest.approx((400 * 49.5 + 300 * 50.2 + 300 * 50) / 1000)
    assert (busted["filled_qty"], busted["opportunity_usd"]) == (800, 20)


def test_a_closing_print_just_after_the_end_is_executed(marts: Marts) -> None:
    found = row(marts, "BELL")
    assert (found["filled_qty"], found["opportunity_usd"]) == (350, 0)


def test_a_decision_price_ten_times_the_market_prices_nothing_and_is_told(marts: Marts) -> None:
    found = row(marts, "TENX")
    assert found["status"] == "decision_off_market"
    assert (found["decision_px"], found["notional_usd"]) == (10, 1000)
    assert float(found["total_usd"]) == pytest.approx(2)


def test_a_stub_quote_prices_nothing(marts: Marts) -> None:
    found = row(marts, "STUB")
    assert float(found["total_usd"]) == pytest.approx(1)
    assert abs(found["timing_usd"]) < Decimal("0.001")
    (bucket,) = [
        r for r in marts[DAY]["tca_buckets"] if r["ts"].minute == 35 and r["ts"].hour == 14
    ]
    assert abs(bucket["residual_usd"]) < 100


def test_a_short_sale_pays_for_a_price_below_its_decision(marts: Marts) -> None:
    assert float(row(marts, "SHRT")["total_usd"]) == pytest.approx(1)


def test_an_internal_crossing_costs_nothing_together(marts: Marts) -> None:
    assert row(marts, "BOTH")["total_usd"] + row(marts, "BACK")["total_usd"] == 0


def test_nothing_vanishes_from_the_totals_of_the_day(marts: Marts) -> None:
    (desk,) = [r for r in marts[DAY]["tca_daily"] if r["scope"] == "desk"]
    orders = marts[DAY]["tca_orders"]
    assert desk["parents"] == len(orders) == 13
    assert desk["total_usd"] == sum(r["total_usd"] for r in orders)
    assert (desk["orphan_fills"], desk["orphan_usd"]) == (0, 0)
    assert desk["parents_flagged"] == 4
    assert desk["executed_unpriced_usd"] == 7410


# -- the market, on desks written by hand ---------------------------------------------------------


def build(settings: Settings, by: Any) -> dict[str, list[Row]]:
    warehouse = Warehouse(settings)
    tca_marts.build(warehouse, tca_desk.DATE, Pricing.by(by, tca_desk.DATE), {"by": "hand"})
    return {name: read_mart(warehouse, name, tca_desk.DATE) for name in TABLES}


def test_the_desks_own_push_is_never_called_market(tmp_path: Path) -> None:
    """Two names bought, no other flow, no noise: raw, each is the other's market."""
    names = {"AAA": "tech", "BBB": "tech"}
    orders = [tca_desk.parent(n, n, qty=10, decision_px=1000) for n in names]
    fills = [tca_desk.fill(f"f{o['symbol']}", o, 299, 1001.5, 9.985) for o in orders]
    settings = tca_desk.desk(
        tmp_path, orders, fills, [tca_desk.quote(n, 250, 1001.5) for n in names],
        [tca_desk.mark(n, "ARRIVAL", 1000) for n in names], sectors=names, regimes=["normal"],
        mids=dict.fromkeys(names, 1000.0), moves={name: [15.0] for name in names},
    )  # fmt: skip
    kernel = Decay((1.0,), (0.0,))
    model = replace(tca_desk.model(symbols=tuple(names), beta=1000, gamma=500), kernel=kernel)
    found = build(settings, tca_desk.release(model))
    for order_ in found["tca_orders"]:
        assert abs(order_["market_usd"]) < Decimal("0.001")  # 15 USD if it were raw
        assert float(order_["self_usd"] + order_["cross_usd"]) == pytest.approx(15, abs=0.05)


def test_the_cfas_market_adjusted_shortfall_takes_beta_times_the_market_out(
    tmp_path: Path,
) -> None:
    """Shortfall 48 bps while the market rose 120 with a beta of 1.3: -108 bps."""
    names = {"AAA": "tech", "BBB": "tech"}
    of = tca_desk.parent("o", "AAA", qty=10, decision_px=1000)
    px = 1000 * (1 + 48e-4)
    settings = tca_desk.desk(
        tmp_path, [of], [tca_desk.fill("f", of, 600, px, 10)], [tca_desk.quote("AAA", 600, px)],
        [tca_desk.mark("o", "ARRIVAL", 1000)], sectors=names, regimes=["normal"] * 3,
        moves={"AAA": [24.0, 24.0, 0.0], "BBB": [60.0, 60.0, 0.0]}, betas={"AAA": 1.3},
    )  # fmt: skip
    zero = tca_desk.model(symbols=tuple(names), beta=0.0, gamma=0.0)
    (found,) = build(settings, tca_desk.release(zero))["tca_orders"]
    assert found["total_bps"] == pytest.approx(48)
    assert found["market_adjusted_bps"] == pytest.approx(-108, rel=0.01)
