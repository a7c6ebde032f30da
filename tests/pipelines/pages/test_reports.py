"""The page: self-contained, escaped, the same bytes, and saying what it rests on."""

from __future__ import annotations

import html
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest

from crossimpact.release.bundle import Release
from pipelines import tca
from pipelines.pages import plots, reports
from pipelines.pricing import Pricing
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse
from tests.pipelines.tca_desk import DATE, desk, fill, mark, model, parent, quote, release

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
    assert all(reference.startswith("#") for reference in page.references)
    assert not page.tags["script"]
    assert not page.tags["link"]
    assert page.tags["svg"] == 6


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
    used = {r.removeprefix("#") for r in page.references} | set(
        re.findall(r"url\(#([^)]+)\)", text)
    )
    assert used
    assert used <= set(page.ids)


def test_the_page_says_what_the_numbers_are(tmp_path: Path) -> None:
    result = make(tmp_path)
    text = html.unescape(result.report.read_text())
    for expected in (
        reports.usd(result.summary["total_usd"]),
        f"<code>{result.release_id}</code>",
        "12 buckets, 50 needed",
        "earned it",
        "AAA / BBB",
        "2024-02-01 to 2024-02-29, 20 dates",
        "unexplained",
    ):
        assert expected in text


def test_quarantine_counts_of_the_date_are_shown(tmp_path: Path) -> None:
    assert "fill_in_window" not in make(tmp_path).report.read_text()
    warehouse = Warehouse(Settings(tmp_path))
    with warehouse.connect() as connection:
        connection.execute(
            "CREATE TABLE broken AS SELECT unnest(['fill_in_window', 'fill_in_window']) AS rule_id"
        )
        for layer in ("quarantine", "violations"):
            query = "SELECT * FROM broken ORDER BY rule_id"
            warehouse.publish(connection, query, layer, "child_fills", DATE, inputs={})
    assert "fill_in_window (2)" in make(tmp_path).report.read_text()
    row = next(r for r in reports._quality(warehouse, DATE) if r["table"] == "child_fills")
    assert (row["accepted"], row["quarantined"]) == (6, 2)


def test_the_index_lists_every_page(tmp_path: Path) -> None:
    result = make(tmp_path)
    folder = result.report.parent
    (folder / "drift-2024-03-04.html").write_text("drift")
    (folder / "tca-2024-03-04.html").write_text("its mart is gone")
    index = reports.write_index(Settings(tmp_path)).read_text()
    links = [r for r in Page(index).references if r]
    assert links == [f"tca-{DATE}.html", "tca-2024-03-04.html", "drift-2024-03-04.html"]
    assert all((folder / link).exists() for link in links)
    assert reports.usd(result.summary["total_usd"]) in index


def test_bars_of_the_split_reach_their_values() -> None:
    values = dict.fromkeys(plots.SEGMENTS, 0.0) | {"self_now": 30.0, "delay": -10.0}
    summary = {f"{name}_{unit}": value for name, value in values.items() for unit in ("usd", "bps")}
    bars = {bar["key"]: bar for bar in reports._bars(summary)}
    own = bars["self_now"]
    assert (own["left"], own["width"], own["zero"]) == (25, 75, 25)
    assert (bars["delay"]["left"], bars["delay"]["width"]) == (0, 25)


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
    assert reports.usd(value) == text
