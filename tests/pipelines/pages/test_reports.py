"""The page: self-contained, escaped, the same bytes, and saying what it rests on."""

from __future__ import annotations

import csv
import html
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest

from crossimpact.release.bundle import Release
from pipelines import tca
from pipelines.pages import data_quality, reports
from pipelines.pages.numbers import usd
from pipelines.pricing import Pricing
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse
from tests.pipelines.tca_desk import DATE, desk, fill, mark, model, parent, quote, release

WEEK = "2024-W10"
CSV = {f"tca-{DATE}-orders.csv", f"tca-{DATE}-pairs.csv"}
HOSTILE = '<script>alert("x")</script>&$x_1$'
VERSION = {"version": "3", "promoted": {"who": HOSTILE, "why": "earned it"}}


class Page(HTMLParser):
    """Tags, ids, attributes and references of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.ids: list[str] = []
        self.references: list[str] = []
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags[tag] += 1
        self.attributes.append((tag, found))
        self.ids += [found["id"]] if found.get("id") else []
        for name in ("href", "src", "xlink:href", "action", "data", "srcset"):
            self.references += [found[name]] if found.get(name) else []


def make(home: Path, by: Release | None = None, *, basket: str = "B1") -> tca.Result:
    """A page of a date on which two names were bought together and one was not filled."""
    orders = [
        parent("o1", "AAA", basket_id=basket),
        parent("o2", "BBB", basket_id=None),
        parent("o3", "CCC"),
    ]
    fills = [
        fill(f"f{t}.{i}", order, 300 * t + 60, 10.02 + t / 100, 20 + 10 * t, 0.5)
        for t in range(3)
        for i, order in enumerate(orders[:2])
    ]
    quotes = [quote(s, 300 * t + 50, 10 + t / 100) for s in ("AAA", "BBB") for t in range(3)]
    settings = desk(
        home,
        orders,
        fills,
        quotes,
        [mark("o1", "ARRIVAL", 10.0), mark("o2", "ARRIVAL", 9.99), mark("o3", "CLOSE", 10.1)],
        sectors={"AAA": HOSTILE, "BBB": "tech", "CCC": "energy"},
        mids={"AAA": 10.0, "BBB": 10.0},
    )
    by = by or release(model(sectors=(HOSTILE, "tech", "energy")))
    return tca.run(settings, home, DATE, Pricing.by(by, DATE, VERSION))


def test_the_page_refers_to_nothing_outside_itself(tmp_path: Path) -> None:
    text = make(tmp_path).report.read_text()
    page = Page(text)
    assert "http" not in text
    assert "@import" not in text
    assert re.findall(r"url\((?!#)", text) == []
    beside = {"index.html", f"hotspots-{WEEK}.html", *CSV}
    assert {r for r in page.references if not r.startswith("#")} <= beside
    assert not page.tags["script"]
    assert not page.tags["link"]
    assert page.tags["svg"] >= 6


def test_hostile_names_are_text_everywhere(tmp_path: Path) -> None:
    text = make(tmp_path, basket=HOSTILE).report.read_text()
    assert "<script" not in text
    assert "alert(&#34;x&#34;)" in text or "alert(&quot;x&quot;)" in text
    shown = html.unescape(text)
    assert shown.count(HOSTILE) >= 4  # basket table, parents, pairs, the figures' axes
    assert "$x_1$" in text  # drawn as written, not as mathematics


def test_the_same_marts_give_the_same_bytes(tmp_path: Path) -> None:
    one, two = make(tmp_path / "one"), make(tmp_path / "two")
    assert one.report.read_bytes() == two.report.read_bytes()
    index = (tmp_path / "one/reports/index.html").read_bytes()
    assert index == (tmp_path / "two/reports/index.html").read_bytes()


def test_ids_are_unique_and_figures_and_tables_are_labelled(tmp_path: Path) -> None:
    page = Page(make(tmp_path).report.read_text())
    assert [name for name, times in Counter(page.ids).items() if times > 1] == []
    for tag, found in page.attributes:
        if tag == "svg":
            assert found["role"] == "img"
            assert found["aria-label"]
        if tag == "th":
            assert found["scope"] in ("col", "row")


def test_clip_paths_and_marks_still_resolve(tmp_path: Path) -> None:
    text = make(tmp_path).report.read_text()
    page = Page(text)
    inside = {r.removeprefix("#") for r in page.references if r.startswith("#")}
    used = inside | set(re.findall(r"url\(#([^)]+)\)", text))
    assert used
    assert used <= set(page.ids)


def test_the_page_says_what_the_numbers_are(tmp_path: Path) -> None:
    result = make(tmp_path)
    text = html.unescape(result.report.read_text())
    for expected in (
        usd(result.summary["total_usd"]),
        f"<code>{result.release_id}</code>",
        "12 buckets, 50 needed",
        "earned it",
        "AAA / BBB",
        "2024-02-01 to 2024-02-29, 20 dates",
        "Unexplained",
    ):
        assert expected in text


def test_quarantine_counts_of_the_date_are_shown(tmp_path: Path) -> None:
    assert "fill_in_window" not in make(tmp_path).report.read_text()
    warehouse = Warehouse(Settings(tmp_path))
    with warehouse.connect() as connection:
        broken = "FROM (SELECT unnest(['fill_in_window', 'fill_in_window']) AS rule_id)"
        record = """'{"fill_px":"10.5","fill_qty":"3"}' AS record"""
        columns = {"quarantine": f"[rule_id] AS rules, {record}", "violations": "rule_id"}
        for layer, chosen in columns.items():
            query = f"SELECT {chosen} {broken}"
            warehouse.publish(connection, query, layer, "child_fills", DATE, inputs={})
    assert "fill_in_window (2)" in make(tmp_path).report.read_text()
    row = next(r for r in data_quality.data_quality(warehouse, DATE) if r.table == "child_fills")
    assert (row.accepted, row.quarantined, row.quarantined_usd) == (6, 2, 63.0)


def test_the_index_lists_every_page(tmp_path: Path) -> None:
    result = make(tmp_path)
    folder = result.report.parent
    (folder / "drift-2024-03-04.html").write_text("drift")
    (folder / "tca-2024-03-04.html").write_text("its mart is gone")
    index = reports.write_index(Settings(tmp_path)).read_text()
    links = [r for r in Page(index).references if r]
    assert links == [
        "#main",
        f"tca-{DATE}.html",
        "tca-2024-03-04.html",
        f"hotspots-{WEEK}.html",
        "drift-2024-03-04.html",
    ]
    assert all((folder / link).exists() for link in links[1:])
    assert usd(result.summary["total_usd"]) in index


def test_pages_name_their_neighbours_also_those_that_come_later(tmp_path: Path) -> None:
    folder = make(tmp_path).report.parent
    page = folder / f"tca-{DATE}.html"
    alone = page.read_text()
    assert 'rel="prev"' not in alone and 'rel="next"' not in alone
    for other in ("2024-03-04", "2024-03-06"):
        (folder / f"tca-{other}.html").write_text("<!-- neighbours -->\n<!-- /neighbours -->")
    for _ in range(2):  # and again
        reports.write_index(Settings(tmp_path))
        linked = page.read_text()
        assert linked.count('<a rel="prev" href="tca-2024-03-04.html">') == 1
        assert linked.count('<a rel="next" href="tca-2024-03-06.html">') == 1
    assert f'<a rel="next" href="tca-{DATE}.html">' in (folder / "tca-2024-03-04.html").read_text()
    before = Page(linked).references
    assert make(tmp_path).report.read_text() == linked  # a rerun keeps them
    assert Page(linked).references == before


def test_a_page_that_came_before_an_earlier_dates_marts_is_found(tmp_path: Path) -> None:
    settings = Settings(make(tmp_path).report.parents[1])
    warehouse = Warehouse(settings)
    assert reports.made_too_early(settings, [DATE, "2024-03-01"]) == []
    with warehouse.connect() as connection:
        warehouse.attach(connection, "marts", "tca_daily", [DATE], view=True)
        query = "SELECT * REPLACE ('2024-03-04' AS date) FROM tca_daily"
        warehouse.publish(connection, query, "marts", "tca_daily", "2024-03-04", inputs={})
    assert reports.made_too_early(settings, [DATE]) == [DATE]
    assert "2024-03-04" not in (settings.reports / f"tca-{DATE}.html").read_text()
    make(tmp_path)
    assert reports.made_too_early(settings, [DATE]) == []


def test_the_tables_beside_the_page_are_its_marts(tmp_path: Path) -> None:
    folder = make(tmp_path).report.parent
    with (folder / f"tca-{DATE}-orders.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    marts = Warehouse(Settings(tmp_path)).rows("marts", "tca_orders", DATE) or []
    assert [row["order_id"] for row in rows] == [row["order_id"] for row in marts] != []
    assert [float(row["total_usd"]) for row in rows] == [float(row["total_usd"]) for row in marts]


def test_the_weeks_report_sums_its_dates(tmp_path: Path) -> None:
    result = make(tmp_path)
    text = html.unescape((result.report.parent / f"hotspots-{WEEK}.html").read_text())
    marts = Warehouse(Settings(tmp_path)).rows("marts", "tca_pairs", DATE) or []
    assert "AAA / BBB" in text and "1 of 1" in text
    assert usd(sum(row["usd"] for row in marts if row["symbol_j"] == "BBB")) in text
    assert Page(text).references == ["#main", "index.html", f"tca-{DATE}.html"]


def test_minus_signs_are_real(tmp_path: Path) -> None:
    text = html.unescape(make(tmp_path).report.read_text())
    cells = re.findall(r"<(td|b|dd|p)[^>]*>([^<]*)<", text)
    assert not [cell for _, cell in cells if re.search(r"(^|\s)-\d", cell)]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1234567.8, "1,234,568"),
        (-99.994, "\N{MINUS SIGN}99.99"),
        (-0.001, "0.00"),
        (None, "\N{EN DASH}"),
        (-250, "\N{MINUS SIGN}250"),
    ],
)
def test_dollars_as_text(value: float | None, text: str) -> None:
    assert usd(value) == text
