"""The desk head's page of a date: one HTML file, nothing fetched, same marts, same bytes.

Pages read published partitions and the release that priced them, never live state.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from crossimpact import contract
from crossimpact.atomic import write_atomic
from crossimpact.errors import CrossImpactError
from crossimpact.model import Array
from crossimpact.release import ledger
from crossimpact.release.bundle import Release
from pipelines.pages import plots, venues
from pipelines.pricing import Pricing
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse

#: The five parts that add up to the shortfall.
TEMPLATES = Path(__file__).parent / "templates"
QUALITY_LAYERS = ("accepted", "quarantine", "violations")
WORST_PARENTS = 15
SHOWN = 3  # buckets that make a path
_MONTH = re.compile(r"audit-\d{4}-\d{2}")
Row = dict[str, Any]


def build(settings: Settings, date: str, pricing: Pricing, digest: str) -> Path:
    """Write `<home>/reports/tca-<date>.html` from the date's marts, and the index; return its path.

    Parameters
    ----------
    pricing
        The releases that priced the marts, and what the ledger says of them: shown as it is.
    digest
        Of everything the marts were made from; a page that already carries it is left alone.
    """
    path = settings.reports / f"tca-{date}.html"
    if not (path.exists() and digest in path.read_text(encoding="utf-8")):
        warehouse = Warehouse(settings)
        content = _content(warehouse, date, pricing.main.release) | {
            "facts": _facts(pricing.main.facts),
            "spans": pricing.spans,
            "notes": list(pricing.notes()),
            "digest": digest,
        }
        write_atomic(path, render("tca.html.j2", **content))
    write_index(settings)
    return path


def render(template: str, **content: Any) -> str:
    """A page of `templates/`: everything escaped, an undefined name is an error."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"usd": usd, "bps": bps, "count": count}
    return environment.get_template(template).render(**content)


def write_index(settings: Settings) -> Path:
    """List the pages of the reports folder, newest first, TCA pages with their headline."""
    path = settings.reports / "index.html"
    with ledger.hold(settings.reports / ".index.lock"):  # TCA tasks of several dates end at once
        write_atomic(path, _index(settings))
    return path


def _index(settings: Settings) -> str:
    warehouse = Warehouse(settings)
    path = settings.reports / "index.html"
    pages = sorted(p.stem for p in settings.reports.glob("*.html") if p.name != path.name)
    dates = [page.removeprefix("tca-") for page in pages if page.startswith("tca-")]
    days = [
        {"date": date, "summary": summary[0] if summary else None}
        for date in reversed(dates)
        for summary in [read_mart(warehouse, "tca_daily", date, missing_ok=True)]
    ]
    audits = [p.removeprefix("audit-") for p in reversed(pages) if _MONTH.fullmatch(p)]
    others = [page for page in pages if not page.startswith(("tca-", "audit-"))]
    return render("index.html.j2", days=days, audits=audits, others=others)


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


# -- content -------------------------------------------------------------------------------------


def _content(warehouse: Warehouse, date: str, release: Release) -> Row:
    """Everything the page shows, as plain data and drawn figures."""
    summary = read_mart(warehouse, "tca_daily", date)[0]
    parents, buckets, pairs = (
        read_mart(warehouse, table, date) for table in ("tca_orders", "tca_buckets", "tca_pairs")
    )
    manifest = warehouse.manifest("marts", "tca_daily", date)
    slope = manifest.extra["calibration"] if manifest else {}
    baskets = _grouped(parents, "basket_id", "no basket")
    shown = _longest(parents, read_mart(warehouse, "tca_path", date))
    return {
        "date": date,
        "summary": summary,
        "bars": _bars(summary),
        "calibration": slope,
        "figures": _figures(parents, buckets, pairs, slope.get("slope")),
        "path": shown[0] if shown else None,
        "path_figure": Markup(plots.path(shown, _path_title(shown[0]))) if shown else "",  # noqa: S704
        "pairs": pairs,
        "worst": sorted(parents, key=lambda row: (-row["total_usd"], row["order_id"]))[
            :WORST_PARENTS
        ],
        "baskets": baskets,
        "release": release,
        "rungs": _rungs(release, buckets),
        "venues": venues.of(read_mart(warehouse, "tca_markouts", date)),
        "horizons": venues.HORIZONS_S,
        "quality": _quality(warehouse, date),
        "audit": (warehouse.settings.reports / f"audit-{date}.html").exists(),
        "live": (warehouse.settings.reports / f"live-{date}.html").exists(),
        "unpriced": list(manifest.extra.get("unpriced", ())) if manifest else [],
    }


def _facts(version_info: Mapping[str, object]) -> list[tuple[str, str]]:
    """What the registry says beyond what the release itself does, one line a fact."""
    own = {"id", "digest", "as_of", "window"}
    result = []
    for name, value in sorted(version_info.items()):
        if isinstance(value, Mapping):
            value = "; ".join(f"{key}: {item}" for key, item in value.items() if item)
        if name not in own and value not in (None, ""):
            result.append((name.replace("_", " ").capitalize(), str(value)))
    return result


def _bucket_cross(buckets: Sequence[Row]) -> tuple[Array, Array]:
    """Predicted and realized cross of the buckets in which the desk traded, USD."""
    traded = [row for row in buckets if row["n_fills"]]
    columns = ("cross_usd", "cross_realized_usd")
    predicted, realized = (np.array([float(row[c]) for row in traded]) for c in columns)
    return predicted, realized


def _bars(summary: Row) -> list[Row]:
    """The segments of the shortfall with the ends of their bars, in percent of the axis."""
    values = {name: float(summary[f"{name}_usd"]) for name in plots.SEGMENTS}
    low, high = min(0.0, *values.values()), max(0.0, *values.values())
    percent = 100 / ((high - low) or 1.0)
    return [
        {
            "key": name,
            "name": label,
            "colour": colour,
            "usd": summary[f"{name}_usd"],
            "bps": summary[f"{name}_bps"],
            "zero": round(-low * percent, 2),
            "left": round((min(0.0, values[name]) - low) * percent, 2),
            "width": round(abs(values[name]) * percent, 2),
        }
        for name, (label, colour) in plots.SEGMENTS.items()
    ]


def _grouped(parents: Iterable[Row], key: str, none: str) -> list[Row]:
    """Exact sums of the parents by `key`, largest cost first."""
    columns = tuple(
        f"{name}_usd" for name in ("notional", "total", "self", "cross_realized", *plots.SEGMENTS)
    )
    sums: dict[str, Row] = defaultdict(lambda: {"parents": 0, **dict.fromkeys(columns, Decimal(0))})
    for row in parents:
        group = sums[none if row[key] is None else row[key]]
        group["parents"] += 1
        for column in columns:
            group[column] += row[column]
    rows = [{"name": name, **group} for name, group in sums.items()]
    for row in rows:
        row["total_bps"] = float(10_000 * row["total_usd"] / row["notional_usd"])
    return sorted(rows, key=lambda row: (-row["total_usd"], row["name"]))


def _figures(
    parents: Sequence[Row], buckets: Sequence[Row], pairs: Sequence[Row], slope: float | None
) -> dict[str, Markup]:
    """The five figures; what comes back is SVG written by the plotting library, names escaped."""
    predicted, realized = _bucket_cross(buckets)
    traded = [row for row in buckets if row["n_fills"]]
    drawn = {
        "baskets": plots.split(_segments(parents, "basket_id", "no basket"), "Shortfall by basket"),
        "sectors": plots.split(_segments(parents, "sector", "no sector"), "Shortfall by sector"),
        "scatter": plots.scatter(
            predicted,
            realized,
            [row["regime"] for row in traded],
            slope,
            "Realized against predicted cross impact by bucket",
        ),
        "cumulative": plots.cumulative(
            [row["ts"] for row in traded],
            realized,
            predicted,
            "Cumulative cross impact through the day, realized and predicted",
        ),
        "pairs": plots.pairs(pairs, "Predicted cross impact of the largest pairs"),
    }
    return {name: Markup(svg) for name, svg in drawn.items()}  # noqa: S704 (escaped by the writer)


def _longest(parents: Sequence[Row], path: Sequence[Row]) -> list[Row]:
    """Buckets of the parent that cost most among those worked over the most buckets of the day, by
    a half at least: short orders have no path to show."""
    by_order: dict[str, list[Row]] = defaultdict(list)
    for row in path:
        by_order[row["order_id"]].append(row)
    cost = {row["order_id"]: row["total_usd"] for row in parents}
    long = {order: rows for order, rows in by_order.items() if order in cost}
    most = max(map(len, long.values()), default=0)
    there = [order for order, rows in long.items() if 2 * len(rows) >= most >= SHOWN]
    return long[max(there, key=lambda order: (cost[order], order))] if there else []


def _path_title(row: Row) -> str:
    return f"Price path of order {row['order_id']} in {row['symbol']}"


def _segments(parents: Iterable[Row], key: str, none: str) -> dict[str, dict[str, float]]:
    """Group -> segment -> USD."""
    return {
        row["name"]: {name: float(row[f"{name}_usd"]) for name in plots.SEGMENTS}
        for row in _grouped(parents, key, none)
    }


def _rungs(release: Release, buckets: Sequence[Row]) -> list[Row]:
    """Who answers in each regime, why, and over how many of the date's buckets."""
    met = Counter(row["regime"] for row in buckets)
    regimes = sorted({*release.fallback, *met})
    answers = {regime: release.model_for(regime) for regime in regimes}
    return [
        {
            "regime": regime,
            "rung": rung,
            "reason": reason,
            "edges": model.edges if model else 0,
            "buckets": met[regime],
        }
        for regime, (model, rung, reason, _) in answers.items()
    ]


def _quality(warehouse: Warehouse, date: str) -> list[Row]:
    """Rows accepted and quarantined per table, and how often each rule was broken."""
    tables = []
    for table in contract.TABLES:
        accepted, refused, broken = (
            warehouse.manifest(layer, table, date) for layer in QUALITY_LAYERS
        )
        if accepted is None:
            continue
        rules: Counter[str] = Counter()
        if broken is not None and broken.rows:
            rows = warehouse.rows(broken.layer, table, date, ["rule_id"]) or []
            rules.update(row["rule_id"] for row in rows)
        tables.append(
            {
                "table": table,
                "accepted": accepted.rows,
                "quarantined": refused.rows if refused else 0,
                "rules": sorted(rules.items(), key=lambda item: (-item[1], item[0])),
            }
        )
    return tables


# -- numbers as text -----------------------------------------------------------------------------


def usd(value: Decimal | float | None) -> str:
    """Whole dollars above a hundred, cents below; a dash for nothing."""
    if value is None:
        return "\N{EN DASH}"
    return _minus(f"{value:,.2f}" if -100 < value < 100 else f"{value:,.0f}")


def bps(value: float | None) -> str:
    """Two decimals; a dash for nothing."""
    return "\N{EN DASH}" if value is None or value != value else _minus(f"{value:,.2f}")


def count(value: int) -> str:
    return f"{value:,}"


def _minus(text: str) -> str:
    zero = not text.strip("-0.,")
    return text.removeprefix("-") if zero else text.replace("-", "\N{MINUS SIGN}")
