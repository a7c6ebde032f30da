"""The desk head's page of a date: one HTML file, nothing fetched, same marts, same bytes.

Pages read published partitions and the release that priced them, never live state.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from crossimpact import contract
from crossimpact.atomic import write_atomic
from crossimpact.errors import CrossImpactError
from crossimpact.release import ledger
from pipelines.pages import day_content, hotspots, past
from pipelines.pages.data_quality import QUALITY_LAYERS
from pipelines.pages.day_content import Marts
from pipelines.pages.day_figures import trend
from pipelines.pages.numbers import bps, count, percent, usd
from pipelines.pricing import Pricing
from pipelines.store import csv_file
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse, file_sha256, text_sha256

TEMPLATES = Path(__file__).parent / "templates"
#: Marts that go beside the page as CSV.
CSV = ("orders", "pairs")
INDEX = "index.html"
_MONTH, _WEEK, _DAY = (
    re.compile(pattern)
    for pattern in (r"audit-\d{4}-\d{2}", r"hotspots-\d{4}-W\d{2}", r"tca-\d{4}-\d{2}-\d{2}")
)
#: Between these lines a page names its neighbours; they change when others come.
NEIGHBOURS_END = "<!-- /neighbours -->"
NEIGHBOURS = re.compile(rf"(?<=<!-- neighbours -->\n).*?(?={NEIGHBOURS_END})", re.DOTALL)
Row = dict[str, Any]


def build(settings: Settings, date: str, pricing: Pricing, digest: str) -> Path:
    """Write `<home>/reports/tca-<date>.html` from the date's marts, its CSV files, the report of
    its week, and the index; return the page's path.

    Parameters
    ----------
    pricing
        The releases that priced the marts, and what the ledger says of them: shown as it is.
    digest
        Of everything the marts were made from; a page that already carries it, and stands beside
        the same dates before, is left alone.
    """
    path = settings.reports / f"tca-{date}.html"
    warehouse = Warehouse(settings)
    digest = _digest(warehouse, date, digest)
    if not (path.exists() and digest in path.read_text(encoding="utf-8")):
        marts = read_marts(warehouse, date)
        content = day_content.content(warehouse, date, pricing, marts)
        _write_csv(settings, date, marts)
        write_atomic(path, render("tca.html.j2", **content, csv=CSV, digest=digest))
    hotspots.build(warehouse, date, render)
    write_index(settings)
    return path


def made_too_early(settings: Settings, dates: Iterable[str]) -> list[str]:
    """Those of the dates, ascending, whose page does not stand beside all that is there by now:
    earlier dates were analysed after it, or made anew."""
    warehouse = Warehouse(settings)
    return [date for date in sorted(dates) if not _is_current(warehouse, date)]


def _is_current(warehouse: Warehouse, date: str) -> bool:
    manifest = warehouse.manifest("marts", "tca_daily", date)
    path = warehouse.settings.reports / f"tca-{date}.html"
    if manifest is None or not path.exists():
        return manifest is None
    return _digest(warehouse, date, inputs_digest(manifest.inputs)) in path.read_text("utf-8")


def inputs_digest(inputs: Mapping[str, str]) -> str:
    """Of everything that marts were made from."""
    return text_sha256(*map(str, sorted(inputs.items())))


def _digest(warehouse: Warehouse, date: str, marts: str) -> str:
    return text_sha256(marts, *_beside(warehouse, date))


def _beside(warehouse: Warehouse, date: str) -> list[str]:
    """Digests of what the page shows besides its own marts: earlier dates, the live session."""
    earlier = (
        warehouse.manifest("marts", "tca_daily", d) for d in past.dates_before(warehouse, date)
    )
    sessions = map(file_sha256, day_content.journals(warehouse.settings, date))
    return [*(manifest.sha256 for manifest in earlier if manifest), *sessions]


def read_marts(warehouse: Warehouse, date: str) -> Marts:
    """The date's marts, the desk's row of the daily one first."""
    daily = read_mart(warehouse, "tca_daily", date)
    names = ("orders", "buckets", "pairs", "path", "markouts", "breaches", "calibration")
    tables = {name: read_mart(warehouse, f"tca_{name}", date) for name in names}
    return Marts(day=daily[0], daily=daily, **tables)


def _write_csv(settings: Settings, date: str, marts: Marts) -> None:
    for name in CSV:
        rows: list[Row] = getattr(marts, name)
        columns = list(rows[0]) if rows else ["date"]
        path = settings.reports / f"tca-{date}-{name}.csv"
        settings.reports.mkdir(parents=True, exist_ok=True)
        csv_file.write(path, columns, (list(row.values()) for row in rows))


def render(template: str, **content: Any) -> str:
    """A page of `templates/`: everything escaped, an undefined name is an error."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"usd": usd, "bps": bps, "count": count, "percent": percent}
    return environment.get_template(template).render(**content)


def write_index(settings: Settings) -> Path:
    """List the pages of the reports folder, newest first, TCA pages with their headline, and let
    each TCA page know those before and after it."""
    path = settings.reports / INDEX
    with ledger.hold(settings.reports / ".index.lock"):  # TCA tasks of several dates end at once
        pages = sorted(p.stem for p in settings.reports.glob("*.html") if p.name != INDEX)
        write_atomic(path, _index(settings, pages))
        _link(settings, [page for page in pages if _DAY.fullmatch(page)])
    return path


def _link(settings: Settings, pages: list[str]) -> None:
    """Write what is before and after each page into it, where that has changed."""
    for place, page in enumerate(pages):
        path = settings.reports / f"{page}.html"
        around = {
            "before": pages[place - 1] if place else None,
            "after": pages[place + 1] if place + 1 < len(pages) else None,
        }
        named = render("neighbours.html.j2", **around)
        there = NEIGHBOURS.search(_head(path))
        if there and there.group() != named:
            text = path.read_text(encoding="utf-8")
            write_atomic(path, text[: there.start()] + named + text[there.end() :])


def _head(path: Path) -> str:
    """A page until it has named its neighbours: most are read no further."""
    read: list[str] = []
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            read.append(line)
            if NEIGHBOURS_END in line:
                break
    return "".join(read)


def _index(settings: Settings, pages: list[str]) -> str:
    warehouse = Warehouse(settings)
    dates = [page.removeprefix("tca-") for page in pages if _DAY.fullmatch(page)]
    rows = {date: past.desk(warehouse, date) for date in dates}
    days = [{"date": date, "summary": rows[date]} for date in reversed(dates)]
    lately = dates[-3 * past.DATES :]
    trends = [
        (label, trend(lately, [rows[date].get(column) for date in lately]))
        for column, label in (
            ("total_bps", "Shortfall, bps"),
            ("self_bps", "Own impact, bps"),
            ("cross_bps", "Cross impact, bps"),
            ("p95_bps", "95th percentile of orders, bps"),
        )
    ]
    kinds = (_DAY, _MONTH, _WEEK)
    return render(
        "index.html.j2",
        days=days,
        trends=[(label, drawn) for label, drawn in trends if drawn],
        weeks=[page for page in reversed(pages) if _WEEK.fullmatch(page)],
        audits=[p.removeprefix("audit-") for p in reversed(pages) if _MONTH.fullmatch(p)],
        others=[
            page
            for page in pages
            if not page.startswith("audit-") and not any(kind.fullmatch(page) for kind in kinds)
        ],
    )


def read_mart(
    warehouse: Warehouse, table: str, date: str, *, missing_ok: bool = False
) -> list[Row]:
    """Rows of a published mart, in its order."""
    rows = warehouse.rows("marts", table, date)
    if rows is None and not missing_ok:
        raise CrossImpactError(f"no {table} of {date} in the marts", "run `crossimpact tca` first")
    return rows or []


def quality_partitions(warehouse: Warehouse, date: str) -> list[tuple[str, str]]:
    """(layer, table) of the partitions the data-quality section rests on."""
    return [
        (layer, table)
        for table in contract.TABLES
        for layer in QUALITY_LAYERS
        if warehouse.manifest(layer, table, date)
    ]
