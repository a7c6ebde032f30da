"""`tca_markouts` against the same sums written plainly, on desks at random."""

from __future__ import annotations

import math
import tempfile
from collections import defaultdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossimpact.errors import CrossImpactError
from pipelines import tca_marts
from pipelines.pages import venues
from pipelines.pages.reports import Row, read_mart
from pipelines.pricing import Pricing
from pipelines.store.warehouse import Warehouse
from tests.pipelines.tca_desk import DATE, bucket, desk, fill, model, parent, quote, release

HORIZONS_S = (0, 10, 30, 60, 300, 900, 1800)
SECTORS = {"AAA": "tech", "BBB": "tech", "CCC": "energy"}
REGIMES = ("normal", "normal", "stressed")


@st.composite
def desks(draw: st.DrawFn) -> dict[str, list[dict[str, Any]]]:
    prices = st.integers(900, 1100).map(lambda cents: cents / 100)
    quotes = [
        quote(symbol, second, draw(prices), half=0.01)
        for symbol in SECTORS
        for second in sorted(draw(st.sets(st.integers(0, 2600), max_size=30)))
    ]
    orders = [parent(f"o{k}", draw(st.sampled_from("ABC")) * 3) for k in range(3)]
    fills = [
        {
            **fill(
                f"f{k}", order, draw(st.integers(0, 899)), draw(prices), draw(st.integers(1, 9))
            ),
            "venue": draw(st.sampled_from(["X", "Y"])),
            "liquidity": draw(st.sampled_from(["PASSIVE", "AGGRESSIVE"])),
        }
        for k, order in enumerate(draw(st.lists(st.sampled_from(orders), max_size=8)))
    ]
    return {"parents": orders, "fills": fills, "quotes": quotes}


def mid(quotes: list[dict[str, Any]], symbol: str, moment: Any) -> float | None:
    seen = [q for q in quotes if q["symbol"] == symbol and q["ts"] <= moment]
    last = max(seen, key=lambda q: q["ts"], default=None)
    if last is None or moment - last["ts"] > timedelta(seconds=60):
        return None
    return float(last["bid_px"] + last["ask_px"]) / 2


def plainly(given: dict[str, list[dict[str, Any]]]) -> dict[tuple[Any, ...], tuple[float, ...]]:
    """Group -> n, notional, markout, its error, effective spread."""
    met: dict[tuple[Any, ...], list[tuple[str, float, float, float]]] = defaultdict(list)
    for row in given["fills"]:
        first = mid(given["quotes"], row["symbol"], row["fill_ts"])
        if first is None:
            continue
        sign = 1 if row["side"] == "BUY" else -1
        paid = 2e4 * sign * (row["fill_px"] - first) / first
        place = (row["venue"], row["liquidity"])
        cell = (*place, SECTORS[row["symbol"]], REGIMES[bucket(row)])
        for horizon in HORIZONS_S:
            then = mid(given["quotes"], row["symbol"], row["fill_ts"] + timedelta(seconds=horizon))
            if then is None:
                continue
            gain = 1e4 * sign * (then - row["fill_px"]) / row["fill_px"]
            weight = row["fill_px"] * row["fill_qty"]
            for key in (cell, (*place, None, None), (None,) * 4):
                met[*key, horizon].append((row["order_id"], weight, gain, paid))
    return {key: _told(rows) for key, rows in met.items()}


def _told(rows: list[tuple[str, float, float, float]]) -> tuple[float, ...]:
    whole = sum(weight for _, weight, _, _ in rows)
    mean = sum(weight * gain for _, weight, gain, _ in rows) / whole
    scores: dict[str, float] = defaultdict(float)
    for order, weight, gain, _ in rows:
        scores[order] += weight * (gain - mean)
    k = len(scores)
    squares = sum(score**2 for score in scores.values())
    se = math.sqrt(squares * k / (k - 1)) / whole if k > 1 else math.nan
    return len(rows), whole, mean, se, sum(w * paid for _, w, _, paid in rows) / whole


def build(folder: Path, given: dict[str, list[dict[str, Any]]]) -> list[Row]:
    home = desk(folder, **given, sectors=SECTORS, regimes=REGIMES)
    warehouse = Warehouse(home)
    pricing = Pricing.by(release(model(), model("stressed")), DATE)
    tca_marts.build(warehouse, DATE, pricing, {"by": "hand"})
    return read_mart(warehouse, "tca_markouts", DATE)


@settings(max_examples=25, deadline=None)
@given(desks())
def test_markouts_are_the_plain_sums(given: dict[str, list[dict[str, Any]]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        rows = build(Path(folder), given)
    expected = plainly(given)
    keys = ("venue", "liquidity", "sector", "regime", "horizon_s")
    found = {tuple(row[key] for key in keys): row for row in rows}
    assert found.keys() == expected.keys()
    for key, row in found.items():
        n, notional, markout, se, paid = expected[key]
        assert row["n"] == n
        assert float(row["notional_usd"]) == pytest.approx(notional, abs=1e-6)
        assert row["markout_bps"] == pytest.approx(markout, abs=1e-8)
        assert (row["se_bps"] is None) == math.isnan(se)
        if row["se_bps"] is not None:
            assert row["se_bps"] == pytest.approx(se, abs=1e-7)
        assert row["effective_spread_bps"] == pytest.approx(paid, abs=1e-8)
    shown = venues.of(rows)
    assert [v.name for v in shown[:1]] == ["all"] * bool(rows)
    assert sum(v.fills for v in shown[1:]) == (shown[0].fills if shown else 0)


def test_a_page_shows_no_venue_on_a_day_without_a_book(tmp_path: Path) -> None:
    order = parent("o1")
    rows = build(tmp_path / "home", {"parents": [order], "fills": [fill("f", order, 1, 10.0, 1)]})
    assert rows == [] and venues.of(rows) == []
    with pytest.raises(CrossImpactError):
        read_mart(Warehouse(desk(tmp_path / "other", parents=[order])), "tca_markouts", DATE)
