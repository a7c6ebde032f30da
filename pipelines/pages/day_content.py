"""Everything a date's page shows, as plain data and drawn figures, from the date's marts."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date as calendar_date
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from crossimpact.model import Array
from crossimpact.release.bundle import Release
from pipelines.pages import day_figures, past, plots, venues, words
from pipelines.pages.data_quality import Quality, data_quality
from pipelines.pages.day_figures import Stretch
from pipelines.pages.past import Past
from pipelines.pages.words import Alert
from pipelines.pricing import Pricing
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse
from registry import pages as registry_pages

WORST_PARENTS = 15
SHOWN_PAIRS = 20
SHOWN = 3  # buckets that make a path
Row = dict[str, Any]


@dataclass(frozen=True)
class Marts:
    """The rows of a date's marts."""

    day: Row
    daily: Sequence[Row]
    orders: Sequence[Row]
    buckets: Sequence[Row]
    pairs: Sequence[Row]
    path: Sequence[Row]
    markouts: Sequence[Row]
    breaches: Sequence[Row]
    calibration: Sequence[Row]

    def scope(self, name: str) -> list[Row]:
        return [row for row in self.daily if row.get("scope") == name]


def content(warehouse: Warehouse, date: str, pricing: Pricing, marts: Marts) -> Row:
    """What `tca.html.j2` asks for."""
    before = past.read(warehouse, date)
    manifest = warehouse.manifest("marts", "tca_daily", date)
    slope = manifest.extra["calibration"] if manifest else {}
    release = pricing.main.release
    quality = data_quality(warehouse, date)
    guardrail = guardrail_line(warehouse.settings, date)
    weak = weak_rungs(release, marts.buckets)
    symbols = marts.scope("symbol") or _grouped(marts.orders, "symbol", "")
    return {
        "date": date,
        "summary": marts.day,
        "sentence": words.sentence(marts.day, before, symbols),
        "steps": day_figures.waterfall(marts.day, before),
        "strip": day_figures.strip(marts.day, before),
        "usual_total": before.usual("total_bps"),
        "past_dates": len(before.rows),
        "cost_trend": cost_trend(before, marts.day),
        "causes": words.top_causes(marts.day, symbols),
        "pairs_told": words.top_pairs(marts.pairs),
        "drawn_pairs": day_figures.pairs(marts.pairs),
        "pairs": marts.pairs[:SHOWN_PAIRS],
        "changes": words.changes(marts.day, before, _labels()),
        "alerts": words.alerts(
            (
                words.cost_alert(marts.day, before),
                _data_alert(marts.day, quality),
                words.model_alert(list(pricing.notes()), marts.calibration, weak),
                words.order_alert(marts.orders),
                words.rule_alert(marts.breaches),
                words.guardrail_alert(day_figures.minutes(guardrail)),
            )
        ),
        "guardrail": guardrail,
        "guardrail_minutes": day_figures.minutes(guardrail),
        "regimes": regime_line(marts.buckets, release.bucket_s),
        "calibration": slope,
        "calibrations": marts.calibration,
        "in_stress": manifest.extra.get("in_stress", "") if manifest else "",
        "calibration_trend": calibration_trend(warehouse, date),
        "figures": _figures(marts.orders, marts.buckets, slope.get("slope")),
        **_shown_path(marts.orders, marts.path),
        "worst": sorted(marts.orders, key=lambda row: (-row["total_usd"], row["order_id"]))[
            :WORST_PARENTS
        ],
        "baskets": _grouped(marts.orders, "basket_id", "no basket"),
        "release": release,
        "age_days": (calendar_date.fromisoformat(date) - _day(release.as_of)).days,
        "in_sample": pricing.in_sample,
        "rungs": _rungs(release, marts.buckets),
        "venues": venues.of(list(marts.markouts)),
        "horizons": venues.HORIZONS_S,
        "quality": quality,
        "audit": (warehouse.settings.reports / f"audit-{date}.html").exists(),
        "live": (warehouse.settings.reports / f"live-{date}.html").exists(),
        "mlflow": _mlflow(warehouse.settings, pricing),
        "unpriced": list(manifest.extra.get("unpriced", ())) if manifest else [],
        "facts": _facts(pricing.main.facts),
        "spans": pricing.spans,
        "notes": list(pricing.notes()),
    }


def _labels() -> dict[str, str]:
    return {key: label for key, (label, _) in plots.SEGMENTS.items()}


def _day(text: str) -> calendar_date:
    return calendar_date.fromisoformat(text[:10])


def _mlflow(settings: Settings, pricing: Pricing) -> str:
    """Address of the release in MLflow's pages, where a server keeps it."""
    version = pricing.main.facts.get("version")
    links = registry_pages.urls(settings.mlflow_uri, int(str(version)), "") if version else {}
    return links.get("release", "")


# -- lines and trends ----------------------------------------------------------------------------


def regime_line(buckets: Sequence[Row], bucket_s: int) -> list[Stretch]:
    """Labels of the day's buckets, in order."""
    changes = [(row["ts"], row["regime"]) for row in buckets]
    return (
        day_figures.line(changes, changes[-1][0] + timedelta(seconds=bucket_s)) if changes else []
    )


def journals(settings: Settings, date: str) -> list[Path]:
    """Journals of the live sessions that name the date."""
    return sorted((settings.home / "live" / "journal").glob(f"*{date}*.jsonl"))


def guardrail_line(settings: Settings, date: str) -> list[Stretch]:
    """The guardrail's states of the date's last live session; empty without one."""
    from pipelines.live import recap  # the live loop: only where there was one

    for path in reversed(journals(settings, date)):
        if states := recap.guardrail(path):
            return day_figures.line(states, states[-1][0])
    return []


def cost_trend(before: Past, day: Row) -> day_figures.Trend | None:
    """Shortfall of the last dates and this one, bps."""
    rows = [*before.rows, day]
    usual = before.usual("total_bps")
    marks = (usual.low, usual.high) if usual else ()
    return day_figures.trend(
        [row["date"] for row in rows], [row.get("total_bps") for row in rows], marks
    )


def calibration_trend(warehouse: Warehouse, date: str) -> day_figures.Trend | None:
    """The pooled slope as each of the last dates had it; 1 is calibrated."""
    dates = [*past.dates_before(warehouse, date), date]
    manifests = [warehouse.manifest("marts", "tca_daily", other) for other in dates]
    slopes = [(m.extra.get("calibration") or {}).get("slope") if m else None for m in manifests]
    return day_figures.trend(dates, slopes, (1.0,))


# -- what the numbers rest on --------------------------------------------------------------------


def _data_alert(day: Row, quality: Sequence[Quality]) -> Alert | None:
    refused = {row.table: row.quarantined for row in quality if row.quarantined}
    worth = next((row.quarantined_usd or 0.0 for row in quality if row.table == "child_fills"), 0.0)
    return words.data_alert(day, refused, worth)


def weak_rungs(release: Release, buckets: Sequence[Row]) -> list[str]:
    """Regimes of the date in which less than the full model answered."""
    met = Counter(row["regime"] for row in buckets if row["n_fills"])
    answers = {regime: release.model_for(regime) for regime in sorted(met)}
    return [
        f"{regime} is answered by {answer.rung.replace('_', ' ')} in {met[regime]} buckets: "
        f"{answer.reason}"
        for regime, answer in answers.items()
        if answer.rung != "full"
    ]


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


# -- groups and figures --------------------------------------------------------------------------


def _grouped(parents: Iterable[Row], key: str, none: str) -> list[Row]:
    """Exact sums of the parents by `key`, largest cost first."""
    names = ("notional", "total", "self", "cross", "timing", *plots.SEGMENTS)
    columns = tuple(f"{name}_usd" for name in names)
    sums: dict[str, Row] = defaultdict(lambda: {"parents": 0, **dict.fromkeys(columns, Decimal(0))})
    for row in parents:
        group = sums[none if row[key] is None else row[key]]
        group["parents"] += 1
        for column in columns:
            group[column] += row[column]
    rows = [{"name": name, **group} for name, group in sums.items()]
    for row in rows:
        notional = row["notional_usd"]
        row["total_bps"] = float(10_000 * row["total_usd"] / notional) if notional else None
    return sorted(rows, key=lambda row: (-row["total_usd"], row["name"]))


def _figures(
    parents: Sequence[Row], buckets: Sequence[Row], slope: float | None
) -> dict[str, Markup]:
    """SVG written by the plotting library, names escaped."""
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
    }
    return {name: Markup(svg) for name, svg in drawn.items()}  # noqa: S704 (escaped by the writer)


def _bucket_cross(buckets: Sequence[Row]) -> tuple[Array, Array]:
    """Predicted and realized cross of the buckets in which the desk traded, USD."""
    traded = [row for row in buckets if row["n_fills"]]
    columns = ("cross_usd", "cross_realized_usd")
    predicted, realized = (np.array([float(row[c]) for row in traded]) for c in columns)
    return predicted, realized


def _segments(parents: Iterable[Row], key: str, none: str) -> dict[str, dict[str, float]]:
    """Group -> segment -> USD."""
    return {
        row["name"]: {name: float(row[f"{name}_usd"]) for name in plots.SEGMENTS}
        for row in _grouped(parents, key, none)
    }


def _shown_path(orders: Sequence[Row], path: Sequence[Row]) -> Row:
    shown = longest(orders, path)
    if not shown:
        return {"path": None, "path_figure": ""}
    title = f"Price path of order {shown[0]['order_id']} in {shown[0]['symbol']}"
    return {"path": shown[0], "path_figure": Markup(plots.path(shown, title))}  # noqa: S704


def longest(parents: Sequence[Row], path: Sequence[Row]) -> list[Row]:
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
