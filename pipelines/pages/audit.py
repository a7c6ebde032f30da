"""The auditor's pages: a month at a glance, and a date with its offenders; nothing is fetched.

Every figure stands beside the query that made it, which runs on the home's ledger.
"""

from __future__ import annotations

import html
import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
from markupsafe import Markup
from matplotlib.figure import Figure

from crossimpact import contract
from crossimpact.atomic import write_atomic
from pipelines.audit import answers
from pipelines.audit.history import Row, asked, opened
from pipelines.audit.ledger import Ledger
from pipelines.pages import plots
from pipelines.pages.reports import render, write_index
from pipelines.store import stale
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse, sql, text_sha256

SAMPLES = 5  # rows shown of each rule
#: The strictest table's share of quarantined rows.
LIMIT = min(table.quarantined.share for table in contract.TABLES.values())
QUERIES = ("history", "heat", "totals", "by_place", "samples")
Data = Mapping[str, Any]


def build(settings: Settings, dates: Sequence[str] | None = None) -> list[Path]:
    """Write `audit-<month>.html` and `audit-<date>.html` below reports; the paths, oldest first.

    Parameters
    ----------
    dates
        Only these dates and their months; None writes all. A page that says the same is left alone.

    Raises
    ------
    UsageError
        When the home has no ledger.
    """
    ledger = Ledger.of(settings)
    wanted = ledger.dates() if dates is None else [d for d in dates if ledger.files(d)]
    with opened(settings) as connection:
        heat, totals = asked(connection, "heat"), asked(connection, "totals")
        months = sorted({date[:7] for date in wanted})
        pages = [_month(settings, month, heat, totals) for month in months]
        pages += [_day(settings, connection, date) for date in wanted]
    write_index(settings)
    return sorted(pages)


def name(date: str) -> str:
    """File name of a date's page."""
    return f"audit-{date}.html"


def _month(settings: Settings, month: str, heat: Sequence[Row], totals: Sequence[Row]) -> Path:
    of_month = [row for row in totals if row["date"].startswith(month)]
    warehouse = Warehouse(settings)
    marks = {row["date"]: stale.find(warehouse, row["date"]) for row in of_month}
    days = [{**row, "stale": str(marks[row["date"]] or ""),
             "share": row["quarantined"] / max(row["landed"], 1)} for row in of_month]  # fmt: skip
    return _write(
        settings.reports / f"audit-{month}.html", "audit_month.html.j2",
        month=month,
        days=days,
        strips=list(_strips(heat, [row["date"] for row in of_month])),
        trend=Markup(_trend(days, month)),  # noqa: S704 (written by the plotting library)
        queries={query: sql(f"audit/{query}") for query in ("heat", "totals", "history")},
    )  # fmt: skip


def _strips(heat: Sequence[Row], dates: Sequence[str]) -> Iterator[Row]:
    """A rule's row of cells: count and shade, darker by the power of ten."""
    counts: dict[tuple[str, str], dict[str, Row]] = defaultdict(dict)
    for row in heat:
        if row["date"] in dates:
            counts[row["table"], row["rule"]][row["date"]] = row
    for (table, rule), by_date in counts.items():
        cells = [by_date.get(date) for date in dates]
        yield {
            "table": table, "rule": rule,
            "total": sum(cell["n_rows"] for cell in cells if cell),
            "cells": [{"date": date, "rows": cell["n_rows"] if cell else 0,
                       "cascades": cell["n_cascades"] if cell else 0,
                       "shade": _shade(cell["n_rows"]) if cell else 0}
                      for date, cell in zip(dates, cells, strict=True)],
        }  # fmt: skip


def _shade(rows: int) -> int:
    """1 to 5."""
    return min(1 + int(math.log10(rows)), 5) if rows else 0


def _trend(days: Sequence[Data], month: str) -> str:
    """Quarantined share of each date's rows."""
    with plots.style():
        figure = Figure(figsize=(9.0, 2.2), layout="constrained")
        axes = figure.subplots()
        shares = [100 * day["share"] for day in days]
        axes.bar(range(len(days)), shares, color="#4477aa", width=0.7)
        axes.axhline(100 * LIMIT, color="#d1495b", linewidth=1)
        step = max(1, len(days) // 12)
        axes.set_xticks(range(0, len(days), step), [d["date"][5:] for d in days[::step]])
        axes.set_ylabel("quarantined, %")
        return plots.to_svg(figure, f"Share of rows quarantined by date in {month}, with the limit")


def _day(settings: Settings, connection: duckdb.DuckDBPyConnection, date: str) -> Path:
    told = answers.day(settings, date)
    samples = asked(connection, "samples", {"on_date": date, "most": SAMPLES})
    rules: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in samples:
        rules[row["table"], row["rule"]].append(row)
    counts = {(row["table"], row["rule"]): row["rows"] for row in told.rules}
    return _write(
        settings.reports / name(date), "audit_day.html.j2",
        date=date,
        month=date[:7],
        told=told,
        findings=json.loads(told.findings or "[]"),
        rules=[{"table": table, "rule": rule, "rows": counts.get((table, rule), len(rows)),
                "samples": rows} for (table, rule), rows in rules.items()],
        tca=(settings.reports / f"tca-{date}.html").exists(),
        samples=SAMPLES,
        queries={query: sql(f"audit/{query}") for query in ("samples", "by_place", "history")},
    )  # fmt: skip


def _write(path: Path, template: str, **content: Any) -> Path:
    digest = text_sha256(*(html.escape(str(part)) for part in content.items()))
    if not (path.exists() and digest in path.read_text(encoding="utf-8")):
        write_atomic(path, render(template, digest=digest, **content))
    return path
