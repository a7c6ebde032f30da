"""The auditor's pages: what they say, that landed text stays text, and a real browser."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.audit.ledger import Ledger
from pipelines.pages import audit
from pipelines.pages.reports import write_index
from pipelines.store.landing import Landing
from pipelines.store.settings import Run, Settings
from pipelines.validate import validate_dates
from tests.pipelines import desk
from tests.pipelines.pages.test_page_in_browser import BROWSER, look
from tests.pipelines.pages.test_reports import Page

EVIL = "<script>alert(1)</script>=1+1"
NEXT = "2024-01-04"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two dates, one with a fill far from the mid whose id is a script; then the second blocked."""
    root = tmp_path_factory.mktemp("pages")
    tables = desk.clean()
    tables["child_fills"][5] |= {"fill_px": 120.0, "fill_id": EVIL}
    tables["market_snapshots"][9]["bid_size"] = -1.0
    landing = Landing(desk.write(root / "landing", tables))
    desk.write(landing.root, desk.clean(NEXT), NEXT)
    settings = Settings(root / "home", run=Run("run-1", None, "ann"))
    validate_dates(settings, landing, [desk.DATE, NEXT])
    (desk.folder(landing.root, "instruments", NEXT) / "part-0.parquet").write_bytes(b"?")
    validate_dates(settings, landing, [NEXT])
    audit.build(settings)
    return settings.home


def test_the_month_has_a_strip_a_rule_and_a_row_a_date(home: Path) -> None:
    text = (home / "reports" / "audit-2024-01.html").read_text()
    assert "child_fills.fill_near_mid" in text and "market_snapshots.bid_size.range" in text
    assert f"{desk.DATE}: 1 rows" in text and "is stale, kept from an earlier landing" in text
    assert "blocked" in text


def test_a_day_shows_verdicts_offenders_samples_and_queries_as_text(home: Path) -> None:
    text = (home / "reports" / audit.name(desk.DATE)).read_text()
    assert EVIL not in text and "&lt;script&gt;alert(1)" in text
    assert f"child_fills/date={desk.DATE}/part-0.parquet" in text
    assert "sql/audit/samples.sql" in text and "QUALIFY" in text
    blocked = (home / "reports" / audit.name(NEXT)).read_text()
    assert "instruments: unreadable" in blocked and "Live: entry 1" in blocked


def test_pages_are_linked_exist_and_are_written_once(home: Path) -> None:
    folder = home / "reports"
    pages = {path.name: path.stat().st_mtime_ns for path in folder.glob("audit-*.html")}
    assert {*pages} == {"audit-2024-01.html", audit.name(desk.DATE), audit.name(NEXT)}
    for name in ("index.html", *pages):
        links = {r for r in Page((folder / name).read_text()).references if r and r[0] != "#"}
        assert all((folder / link).exists() for link in links), (name, links)
    assert "audit-2024-01.html" in write_index(Settings(home)).read_text()
    audit.build(Settings(home))
    assert pages == {path.name: path.stat().st_mtime_ns for path in folder.glob("audit-*.html")}
    assert len(Ledger(home).entries(NEXT)) == 2


@pytest.mark.skipif(BROWSER is None, reason="no chromium here (Debian: apt-get install chromium)")
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize(("page", "figures"), [("audit-2024-01", 1), (f"audit-{desk.DATE}", 0)])
def test_a_page_draws_fits_and_fetches_nothing(home, tmp_path, page, figures, width) -> None:
    seen = look(home / "reports" / f"{page}.html", width, tmp_path)
    assert "Audit of 2024-01" in seen["title"] and seen["figures"] == figures
    assert (seen["overflow"] <= 0, seen["fetched"], seen["unseen"]) == (True, [], 0)
