"""The day in words and in geometry: what a desk head reads follows from the marts' numbers."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from pipelines.pages import day_figures, words
from pipelines.pages.numbers import MINUS
from pipelines.pages.past import Past, usual
from pipelines.pages.plots import SEGMENTS

AT = datetime(2024, 3, 5, 14, 30, tzinfo=UTC)
CAUSES = {
    "self_now": 10.0, "self_own_carried": 40.0, "self_sibling_carried": -5.0, "cross_now": 2.0,
    "cross_carried": 13.0, "peers": 8.0, "market": 1.0, "residual": -3.0, "delay": 6.0,
    "fees_spread": 1.0, "opportunity": 7.0,
}  # fmt: skip


def day(date: str = "2024-03-05", **changed: float) -> dict[str, Any]:
    """A desk's row of tca_daily: 1 million ordered, so that a bp is 100 USD."""
    causes = CAUSES | changed
    inside = {f"delay_{n}": 0.0 for n in ("cross", "peers", "market", "residual")}
    inside |= {f"opportunity_{n}": 0.0 for n in ("cross", "peers", "market", "residual")}
    bps = causes | inside | {
        "delay_self": causes["delay"],
        "opportunity_self": causes["opportunity"],
        "self": causes["self_now"] + causes["self_own_carried"] + causes["self_sibling_carried"],
        "cross": causes["cross_now"] + causes["cross_carried"],
        "total": math.fsum(causes.values()),
    }  # fmt: skip
    row: dict[str, Any] = {"date": date, "parents": 5, "notional_usd": Decimal(1_000_000)}
    for name, value in bps.items():
        row |= {f"{name}_bps": value, f"{name}_usd": Decimal(str(100 * value))}
    return row | {"p50_bps": 40.0, "p90_bps": 90.0, "p95_bps": 120.0, "release_id": "r1"}


def past(days: int = 20) -> Past:
    rows = [day(f"2024-02-{d:02d}", residual=float(d % 5)) for d in range(1, days + 1)]
    return Past(tuple(rows))


def symbol(name: str, **usd: float) -> dict[str, Any]:
    return {"name": name, **{f"{k}_usd": Decimal(str(v)) for k, v in usd.items()}}


def test_what_is_usual_covers_its_mean_and_its_middle() -> None:
    values = np.random.default_rng(1).normal(70, 10, 20)
    found = usual(values)
    assert found is not None and found.dates == 20
    assert found.mean_low < values.mean() < found.mean_high
    assert ((values >= found.low) & (values <= found.high)).mean() == pytest.approx(0.8)
    assert found.mean_high - found.mean == pytest.approx(1.96 * values.std(ddof=1) / 20**0.5)
    assert [found.place(v) for v in (0, 70, 200)] == ["below", "within", "above"]
    assert usual([1.0, None, float("nan"), 2.0]) is None


def test_the_sentence_says_what_cost_against_the_last_days_and_why() -> None:
    row, names = day(), [symbol("AAA", self=10), symbol("BBB", self=99), symbol("CCC", self=50)]
    said = words.sentence(row, past(), names)
    assert said.startswith("Trading 1 million USD cost 8 thousand USD, 80.0 bps, less than usual")
    assert "the last 20 days cost 85.0 on average (95% 84.4 to 85.6)" in said
    assert "the desk's own impact (most in BBB and CCC) 58.0" in said
    assert f"what nothing explains {MINUS}3.0" in said
    told = [words.driver_bps(row, driver) for driver in words.DRIVERS]
    assert math.fsum(v for v in told if v is not None) == pytest.approx(row["total_bps"])
    assert "usual" not in words.sentence(row, past(3), names)
    gain = words.sentence(day(residual=-200.0), past(), names)
    assert "gained" in gain and "gained -" not in gain and f"gained {MINUS}" not in gain
    assert words.sentence({"parents": 0}, past(), []) == "No parent order was alive on this date."


def test_the_causes_that_cost_most_are_told_in_words() -> None:
    names = [symbol("AAA", self_now=50, delay=400, residual=-900), symbol("BBB", cross_carried=800)]
    first, second, third = words.top_causes(day(), names)
    assert first == words.Told(
        "Earlier trading in other names was still in the price of BBB", "800 USD",
        "10% of the shortfall",
    )  # fmt: skip
    assert second.text == "AAA moved between decision and arrival"
    assert third.value == "50.00 USD"


def test_pairs_are_told_with_what_keeps_coming_back() -> None:
    pair = {"symbol_i": "AAA", "symbol_j": "BBB", "regime": "normal", "usd": -100.0,
            "now_usd": -10.0, "carried_usd": -90.0, "days_in_top20": 14, "days_seen": 20,
            "peak_ts": AT}  # fmt: skip
    (told,) = words.top_pairs([pair])
    assert told.text == "AAA and BBB made each other cheaper, mostly by earlier trading (normal)"
    assert told.value == f"{MINUS}100 USD"
    assert told.note == "among the top 20 on 14 of 20 days; worst at 14:30 UTC"


def test_what_changed_is_the_total_and_the_causes_that_moved_most() -> None:
    before = Past((day("2024-03-04", delay=1.0, peers=20.0) | {"release_id": "r0"},))
    labels = {key: label for key, (label, _) in SEGMENTS.items()}
    total, first, second, _, release = words.changes(day(), before, labels)
    assert (total.text, total.value) == ("Shortfall", f"{MINUS}7.00 bps")
    assert (first.text, first.note) == ("Peers' flow", "from 20.00 to 8.00")
    assert (second.text, second.value) == ("Delay", "+5.00 bps")
    assert (release.value, release.note) == ("r1", "before: r0")
    assert words.changes(day(), Past(()), labels) == []


def test_at_most_five_alerts_those_that_weigh_most_first() -> None:
    odd = {"order_id": "o1", "symbol": "AAA", "total_usd": Decimal(500), "outlier_reason": "z of 5"}
    calm = odd | {"order_id": "o2", "outlier_reason": None}
    breach = {"rule": "same_time_fill", "cost_usd": Decimal(20)}
    slope = {"slope": 1.4, "low": 1.2, "high": 1.6, "name": "stressed", "alarm": True}
    groups = [
        words.cost_alert(day(residual=500.0), past()),
        words.data_alert(day() | {"parents_flagged": 1}, {"child_fills": 2}, 1000.0),
        words.model_alert(["in sample: r"], [slope], []),
        words.order_alert([odd, calm]),
        words.rule_alert([breach, breach]),
        words.guardrail_alert({"red": 12.0, "green": 1.0}),
    ]
    assert all(groups)
    told = words.alerts(groups)
    assert [alert.kind for alert in told] == ["Model", "Guardrail", "Cost", "Rules", "Orders"]
    texts = {alert.kind: alert.text for alert in told}
    assert "Cross is underpredicted in stressed: slope 1.40 (1.20 to 1.60)" in texts["Model"]
    assert texts["Rules"] == "2 fills dear by others' at their time, 40.00 USD."
    assert texts["Orders"].startswith("1 order out of the ordinary, 500 USD together")
    assert groups[1] and groups[1].text.startswith("2 rows of child_fills quarantined; 1,000 USD")
    quiet = [
        words.cost_alert(day(), past()), words.data_alert(day(), {}, 0.0),
        words.model_alert(["in sample: r"], [slope | {"alarm": False}], []),
        words.order_alert([calm]), words.rule_alert([]), words.guardrail_alert({"green": 5.0}),
    ]  # fmt: skip
    assert words.alerts(quiet) == []


def test_the_waterfall_ends_at_the_total_whatever_the_signs() -> None:
    steps = day_figures.waterfall(day(), past())
    assert [step.key for step in steps] == list(SEGMENTS)
    ends = [0.0]
    for step in steps:
        ends.append(ends[-1] + step.bps)
    assert ends[-1] == pytest.approx(day()["total_bps"])
    for step, begin, end in zip(steps, ends, ends[1:], strict=False):
        scale = steps[1].width / abs(steps[1].bps)
        assert step.left == pytest.approx(step.zero + min(begin, end) * scale, abs=0.05)
        assert step.width == pytest.approx(abs(step.bps) * scale, abs=0.05)
        assert 0 <= step.left <= step.left + step.width <= 100.01
    assert all(step.usual for step in steps)


def test_the_strip_places_day_interval_and_usual_on_one_axis() -> None:
    row = day() | {"p95_low_bps": 100.0, "p95_high_bps": 150.0}
    half, most, tail = day_figures.strip(row, past())
    assert (half.dot, most.dot, tail.dot) == pytest.approx((26.67, 60.0, 80.0), abs=0.01)
    assert tail.interval == pytest.approx((66.67, 33.33), abs=0.01)
    assert half.interval is None and half.band is not None


def test_heatmap_and_network_show_the_pairs_of_the_largest_names() -> None:
    rows = [
        {"symbol_i": f"N{i}", "symbol_j": f"N{i + 1}", "usd": Decimal((-1) ** i * (i + 1)),
         "sector_i": "s", "sector_j": "s"}
        for i in range(20)
    ]  # fmt: skip
    drawn = day_figures.pairs([*rows, rows[-1]])
    assert len(drawn.names) == day_figures.NAMES == len(drawn.nodes)
    assert {"N19", "N20"} <= set(drawn.names) and "N1" not in drawn.names
    assert max(cell.strength for cell in drawn.cells) == 1
    assert {(c.x, c.y) for c in drawn.cells} == {(c.y, c.x) for c in drawn.cells}
    (strongest,) = [edge for edge in drawn.edges if edge.names == "N19 and N20"]
    assert strongest.usd == -40 and strongest.width == max(edge.width for edge in drawn.edges)
    assert day_figures.pairs([]).names == ()


def test_a_line_merges_equal_neighbours_and_fills_its_width() -> None:
    minutes = [(0, "normal"), (5, "normal"), (10, "stressed"), (30, "normal")]
    changes = [(AT + timedelta(minutes=m), state) for m, state in minutes]
    line = day_figures.line(changes, AT + timedelta(minutes=40))
    assert [(s.state, s.left, s.width) for s in line] == [
        ("normal", 0, 25), ("stressed", 25, 50), ("normal", 75, 25)
    ]  # fmt: skip
    assert day_figures.minutes(line) == {"normal": 20, "stressed": 20}
    assert day_figures.line([], AT) == []


def test_a_trend_keeps_its_marks_in_sight_and_skips_what_is_unknown() -> None:
    drawn = day_figures.trend(["a", "b", "c"], [1.0, None, 3.0], (0.0, 4.0))
    assert drawn is not None and drawn.points.count(",") == 2
    assert (drawn.first_date, drawn.last_date, drawn.low, drawn.high) == ("a", "c", 0, 4)
    assert drawn.band is not None and drawn.band[0] > drawn.band[1]
    assert day_figures.trend(["a"], [1.0]) is None
