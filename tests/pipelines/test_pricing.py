"""Each bucket is priced by the release that was live at it, and a past date stays as it was."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossimpact.errors import StaleModel
from crossimpact.release import ledger
from crossimpact.release.bundle import Release
from crossimpact.release.content import Window
from pipelines import release as releases
from pipelines import tca
from pipelines.pages.reports import Row, read_mart
from pipelines.pricing import LIVE, Pricing, Span, as_of
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse
from tests.pipelines.tca_desk import (
    ADV,
    DATE,
    OPEN,
    at,
    desk,
    fill,
    mark,
    model,
    parent,
    quote,
    release,
)

HOUR = timedelta(hours=1)
WEAK = release(model(beta=100.0, gamma=10.0), model("stressed", beta=100.0, gamma=10.0))
STRONG = release(model(beta=300.0, gamma=60.0), model("stressed", beta=300.0, gamma=60.0))


def promote(settings: Settings, which: Release, when: datetime, version: int) -> None:
    releases.keep(settings, which)
    with ledger.locked(settings.ledger_path) as book:
        book.append(when=when, who="ann", action="promote", new=which.digest, version=version)


def demote(settings: Settings, when: datetime) -> None:
    with ledger.locked(settings.ledger_path) as book:
        book.append(when=when, who="bob", action="demote", rungs={"normal": "self_only"}, why="x")


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    """Two names bought together in each of three buckets."""
    orders = [parent(f"o{k}", symbol, "BUY", 3000) for k, symbol in enumerate(("AAA", "BBB"))]
    fills = [
        fill(f"f{k}.{t}", order, 300 * t + 10, 10.0, 1000)
        for k, order in enumerate(orders)
        for t in range(3)
    ]
    quotes = [quote(s, second, 10.0) for s in ("AAA", "BBB") for second in range(0, 900, 30)]
    marks = [mark(o["order_id"], name, 10.0) for o in orders for name in ("ARRIVAL", "CLOSE")]
    mids = {"AAA": 10.0, "BBB": 10.0}
    return desk(
        tmp_path / "home", parents=orders, fills=fills, quotes=quotes, marks=marks,
        regimes=("normal",) * 3, mids=mids,
    )  # fmt: skip


def priced(settings: Settings) -> tca.Result:
    """The date by the ledger, as a rerun of today would do it."""
    pricing = as_of(settings, DATE).within(at(0), at(600))
    return tca.run(settings, settings.home, DATE, pricing)


def marts(settings: Settings) -> dict[str, bytes]:
    found = (settings.home / "warehouse" / "marts").rglob("_manifest.json")
    pages = settings.reports.glob("tca-*.html")
    return {str(path): path.read_bytes() for path in (*found, *pages)}


def parents(settings: Settings) -> list[Row]:
    return read_mart(Warehouse(settings), "tca_orders", DATE)


def test_what_happens_later_changes_no_past_mart_and_no_page(home: Settings) -> None:
    promote(home, WEAK, OPEN - 24 * HOUR, 1)
    first = priced(home)
    before = marts(home)
    demote(home, OPEN + 12 * HOUR)
    promote(home, STRONG, OPEN + 13 * HOUR, 2)
    again = priced(home)
    assert (again.release_id, again.recomputed) == (WEAK.id, False)
    assert marts(home) == before
    for path in before:
        if path.endswith("_manifest.json"):
            Path(path).unlink()
    assert priced(home).recomputed
    assert marts(home) == before
    assert first.note == again.note == ""


def test_a_bucket_is_priced_by_what_was_live_at_its_start(home: Settings) -> None:
    promote(home, WEAK, OPEN - HOUR, 1)
    promote(home, STRONG, OPEN + timedelta(seconds=301), 2)
    result = priced(home)
    rows = read_mart(Warehouse(home), "tca_buckets", DATE)
    # q is the same in each bucket: beta 100, 100, 300 and gamma 10, 10, 60
    costs = [float(row["self_usd"]) for row in rows]
    cross = [float(row["cross_usd"]) for row in rows]
    assert costs[1] == pytest.approx(costs[0]) and costs[2] == pytest.approx(3 * costs[0])
    assert cross[1] == pytest.approx(cross[0]) and cross[2] == pytest.approx(6 * cross[0])
    q = 1000 * 10.0 / ADV
    assert costs[0] == pytest.approx(1e-4 * 2 * 10_000 * 100 * q)
    both = "; ".join(sorted((WEAK.id, STRONG.id)))
    assert {row["release_id"] for row in parents(home)} == {both} == {result.release_id}
    page = result.report.read_text()
    assert WEAK.id in page and STRONG.id in page
    regimes = {row["regime"] for row in read_mart(Warehouse(home), "tca_pairs", DATE)}
    assert regimes == {"normal"}


def test_a_demotion_holds_from_its_moment(home: Settings) -> None:
    promote(home, STRONG, OPEN - HOUR, 1)
    demote(home, OPEN + timedelta(seconds=500))
    priced(home)
    rows = read_mart(Warehouse(home), "tca_buckets", DATE)
    cross = [float(row["cross_usd"]) for row in rows]
    assert cross[0] == cross[1] > 0 and cross[2] == 0
    assert "demoted by bob" in rows[2]["priced_by"] and "demoted" not in rows[1]["priced_by"]


def test_before_the_first_promotion_the_first_release_prices_and_says_so(home: Settings) -> None:
    promote(home, WEAK, OPEN + 24 * HOUR, 1)
    demote(home, OPEN + 25 * HOUR)
    promote(home, STRONG, OPEN + 26 * HOUR, 2)
    result = priced(home)
    assert result.release_id == WEAK.id
    assert "priced late: no release was live, the first one since" in result.note
    rows = parents(home)
    assert all(row["release_status"].startswith("priced late") for row in rows)
    assert not any("demoted" in row["priced_by"] for row in rows)
    assert "priced late" in result.report.read_text()


def test_a_date_of_the_window_is_told_as_in_sample(home: Settings) -> None:
    seen = replace(WEAK, window=Window("2024-02-01", DATE, 20))
    promote(home, seen, OPEN - HOUR, 1)
    result = priced(home)
    assert result.in_sample and "in sample" in result.note
    assert all(row["in_sample"] for row in parents(home))
    assert "fitted on a window with this date" in result.report.read_text()


def test_without_any_promotion_nothing_is_priced(home: Settings) -> None:
    with pytest.raises(StaleModel):
        as_of(home, DATE)


moments = st.integers(0, 1000).map(lambda s: OPEN + timedelta(seconds=s))


@given(st.lists(moments, min_size=1, unique=True), st.lists(moments, min_size=2), st.data())
def test_a_narrower_pricing_answers_the_same(
    starts: list[datetime], asked: list[datetime], data: st.DataObject
) -> None:
    spans = tuple(Span(since, WEAK, {"k": k}) for k, since in enumerate(sorted(starts)))
    wide = Pricing(DATE, spans)
    narrow = wide.within(min(asked), max(asked))
    for moment in asked:
        by = [pricing.spans[pricing.at([moment])[0]].facts for pricing in (wide, narrow)]
        assert by[0] == by[1]
        live = [span for span in spans if span.since <= moment]
        assert by[0] == (live[-1] if live else spans[0]).facts
    assert len(narrow.spans) <= 1 + sum(min(asked) < s <= max(asked) for s in starts)
    assert wide.main.status == LIVE


def test_the_ledgers_time_is_utc(home: Settings) -> None:
    promote(home, WEAK, OPEN - 100 * HOUR, 1)
    promote(home, STRONG, OPEN.astimezone(UTC) - 2 * HOUR, 2)
    assert as_of(home, DATE).within(at(0), at(600)).main.release.id == STRONG.id
