"""The week's report of hotspots: pairs, sectors, names and times of day that keep costing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date as calendar_date
from pathlib import Path
from typing import Any

from crossimpact.atomic import write_atomic
from pipelines.store.warehouse import Warehouse, sql, text_sha256

#: Table of the page -> mart that it sums.
TABLES = {
    "pairs": "tca_pairs",
    "sectors": "tca_pairs",
    "names": "tca_daily",
    "times": "tca_buckets",
    "breaches": "tca_breaches",
}
Row = dict[str, Any]


def build(warehouse: Warehouse, date: str, render: Callable[..., str]) -> Path:
    """Write `<home>/reports/hotspots-<ISO week>.html` of the analysed dates of a date's week."""
    year, week, _ = calendar_date.fromisoformat(date).isocalendar()
    name = f"{year}-W{week:02d}"
    dates = [d for d in warehouse.dates("marts", "tca_daily") if _is_in(d, year, week)]
    dates = [d for d in dates if all(warehouse.manifest("marts", m, d) for m in TABLES.values())]
    path = warehouse.settings.reports / f"hotspots-{name}.html"
    found = (warehouse.manifest("marts", mart, d) for mart in TABLES.values() for d in dates)
    digest = text_sha256(*(manifest.sha256 for manifest in found if manifest))
    if path.exists() and digest in path.read_text(encoding="utf-8"):
        return path
    tables = summed(warehouse, dates)
    content = {"week": name, "dates": dates, "digest": digest, "grid": _grid(tables["sectors"])}
    write_atomic(path, render("hotspots.html.j2", **tables, **content))
    return path


def summed(warehouse: Warehouse, dates: list[str]) -> dict[str, list[Row]]:
    """Rows of every table of the page, as `sql/hotspots` sums them."""
    result = {}
    with warehouse.connect() as connection:
        for mart in dict.fromkeys(TABLES.values()):
            warehouse.attach(connection, "marts", mart, dates, dated=mart != "tca_daily", view=True)
        for table in TABLES:
            rows = connection.sql(sql(f"hotspots/{table}")).to_arrow_table()
            result[table] = rows.to_pylist()
    return result


def _is_in(date: str, year: int, week: int) -> bool:
    return calendar_date.fromisoformat(date).isocalendar()[:2] == (year, week)


def _grid(rows: list[Row]) -> list[tuple[str, list[tuple[str, float, float]]]]:
    """Sectors by sectors: USD and strength, 0 to 1, of each."""
    cost = {(row["sector_i"], row["sector_j"]): float(row["usd"]) for row in rows}
    names = sorted({name for pair in cost for name in pair if name})
    most = max(map(abs, cost.values()), default=1.0) or 1.0

    def cell(one: str, other: str) -> tuple[str, float, float]:
        usd = cost.get((min(one, other), max(one, other)), 0.0)
        return other, usd, round(abs(usd) / most, 3)

    return [(one, [cell(one, other) for other in names]) for one in names]
