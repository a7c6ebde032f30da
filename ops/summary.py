"""What a finished run left on disk, as plain data and as tables for a terminal."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from crossimpact.model import ImpactModel
    from pipelines.store.landing import Landing
    from pipelines.store.settings import Settings
    from pipelines.store.warehouse import Warehouse

#: A planted pair is strong when its coupling is at least this share of its regime's strongest.
STRONG = 0.5
#: Rows of the printed split: realized cross is shown with what the model predicted of it.
SPLIT = {
    "self": "self",
    "cross": "cross, realized",
    "cross_predicted": "  of it predicted",
    "unexplained": "  of it unexplained",
    "delay": "delay",
    "fees_spread": "fees and spread",
    "opportunity": "opportunity",
    "total": "total",
}


def collect(
    settings: Settings, landing: Landing, truth: Mapping[str, Any], clock: Callable[[], datetime]
) -> dict[str, Any]:
    """Rows, regimes, edges against the planted ones, champion, gates, shortfall, reports, and what
    a live scheduler gets."""
    from pipelines import consume, promotion, release

    champion, facts = release.champion(settings)
    shown = release.show(settings).to_dict()
    planted = truth["regimes"]
    return {
        "tables": accounting(settings, landing),
        "regimes": {row["regime"]: row for row in shown["regimes"]},
        "edges": {
            regime: recovery(champion.model_for(regime)[0], planted[regime]["edges"])
            for regime in planted
        },
        "champion": {"id": champion.id, "digest": champion.digest, "version": facts.version},
        "window": champion.window.to_dict(),
        "gates": promotion.check(settings, champion.id, now=clock()).to_dict()["gates"],
        "shortfall": shortfall(settings, landing.all_dates()),
        "drift": drift(settings),
        "reports": sorted(str(path) for path in settings.reports.rglob("*.html")),
        "pull": consume.pull(settings, who="demo", clock=clock),
    }


def accounting(settings: Settings, landing: Landing) -> dict[str, dict[str, int]]:
    """Per table: rows in the landed files, accepted rows, quarantined rows."""
    from pipelines.store.warehouse import Warehouse

    warehouse, counts = Warehouse(settings), {}
    for table in landing.tables():
        dates = landing.dates(table)
        files = [file for date in dates for file in landing.files(table, date)]
        counts[table] = {"landed": sum(pq.ParquetFile(file).metadata.num_rows for file in files)}
        for layer, name in (("accepted", "accepted"), ("quarantine", "quarantined")):
            manifests = (warehouse.manifest(layer, table, date) for date in dates)
            counts[table][name] = sum(manifest.rows for manifest in manifests if manifest)
    return counts


def unbalanced(tables: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Tables whose rows in are not accepted plus quarantined."""
    return [
        name
        for name, rows in tables.items()
        if rows["landed"] != rows["accepted"] + rows["quarantined"]
    ]


def recovery(model: ImpactModel | None, planted: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Pairs of the model against the planted ones; a pair is true when its sign is right, too."""
    sign = {
        pair(edge["symbol_i"], edge["symbol_j"]): np.sign(edge["scaled_bps"]) for edge in planted
    }
    strongest = max((abs(edge["scaled_bps"]) for edge in planted), default=0.0)
    strong = {
        pair(edge["symbol_i"], edge["symbol_j"])
        for edge in planted
        if abs(edge["scaled_bps"]) >= STRONG * strongest
    }
    result = (
        {
            pair(model.symbols[i], model.symbols[j]): np.sign(model.gamma[i, j])
            for i, j in np.argwhere(np.triu(model.gamma, 1))
        }
        if model
        else {}
    )
    true = {edge for edge, found_sign in result.items() if sign.get(edge) == found_sign}
    return {
        "planted": len(sign),
        "strong": len(strong),
        "strong_found": len(strong & true),
        "found": len(result),
        "found_true": len(true),
    }


def pair(a: str, b: str) -> tuple[str, str]:
    """An unordered pair of symbols."""
    return (a, b) if a < b else (b, a)


def shortfall(settings: Settings, landed: Sequence[str]) -> dict[str, Any]:
    """Exact sums of the landed dates' TCA summaries, USD: notional ordered, shortfall, parts."""
    from pipelines.store.warehouse import Warehouse

    warehouse = Warehouse(settings)
    dates = [date for date in warehouse.dates("marts", "tca_summary") if date in landed]
    rows = published(warehouse, "tca_summary", dates)
    columns = ("notional", *SPLIT)
    return {"dates": dates, **{column: total(rows, f"{column}_usd") for column in columns}}


def drift(settings: Settings) -> list[dict[str, Any]]:
    """The last published drift verdicts, one row per regime."""
    from pipelines.store.warehouse import Warehouse

    warehouse = Warehouse(settings)
    return published(warehouse, "drift", warehouse.dates("marts", "drift")[-1:])


def published(warehouse: Warehouse, mart: str, dates: Iterable[str]) -> list[dict[str, Any]]:
    """Rows of a mart."""
    return [row for date in dates for row in warehouse.rows("marts", mart, date) or ()]


def total(rows: Iterable[Mapping[str, Any]], column: str) -> str:
    """Sum of a column of decimals, as text so that nothing is rounded."""
    return str(sum((Decimal(str(row[column])) for row in rows), Decimal()))


def read_truth(path: Path) -> dict[str, Any]:
    truth: dict[str, Any] = json.loads(path.read_text())
    return truth


def render(console: Console, summary: Mapping[str, Any]) -> None:
    """The summary as tables."""
    shortfall = summary["shortfall"]
    dates = shortfall["dates"] or ["no date"]
    for title, table in (
        ("Rows in = accepted + quarantined", _rows_table(summary["tables"])),
        ("Champion against what was planted", _regimes_table(summary)),
        ("Gates of the promoted release", _gates_table(summary["gates"])),
        (f"Implementation shortfall, {dates[0]} to {dates[-1]}", _shortfall_table(shortfall)),
        ("Drift of the last week against the champion", _drift_table(summary["drift"])),
        (f"Time (peak memory {summary['peak_mb']:,.0f} MB)", _stages_table(summary["stages"])),
    ):
        console.print(f"\n[bold]{title}[/bold]", highlight=False)
        console.print(table)
    console.print()
    for regime in summary["edges"]:
        facts = summary["regimes"][regime]
        if facts["reason"]:
            _line(console, regime, f"answered by {facts['rung']}: {facts['reason']}")
    champion = summary["champion"]
    _line(console, "champion", f"{champion['id']}, version {champion['version']}")
    _line(console, "digest", champion["digest"])
    for name, path in _pages(summary["reports"], dates[-1]):
        _line(console, name, path)
    _line(console, "pull", _answer(summary["pull"]))


def _pages(reports: Sequence[str], last: str) -> Iterator[tuple[str, str]]:
    """The index and the page of the last date, where they were written."""
    for name, file in (("reports", "index.html"), ("last day", f"tca-{last}.html")):
        for path in reports:
            if Path(path).name == file:
                yield name, path


def _answer(pulled: Mapping[str, Any]) -> str:
    """What a live scheduler gets: which release, and who answers per regime."""
    rungs = ", ".join(f"{row['regime']} by {row['rung']}" for row in pulled["regimes"])
    return ": ".join(filter(None, (pulled["state"], pulled["reason"], rungs)))


def _line(console: Console, name: str, value: str) -> None:
    console.print(f"{name:<9} {value}", highlight=False, markup=False, soft_wrap=True)


def _table(first: str, *columns: str) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column(first)
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _rows_table(tables: Mapping[str, Mapping[str, int]]) -> Table:
    view = _table("table", "in", "accepted", "quarantined", "")
    broken = unbalanced(tables)
    for name, rows in tables.items():
        counts = (f"{rows[column]:,}" for column in ("landed", "accepted", "quarantined"))
        view.add_row(name, *counts, "ROWS LOST" if name in broken else "=")
    return view


def _regimes_table(summary: Mapping[str, Any]) -> Table:
    view = _table(
        "regime", "buckets", "planted", "strong found", "found", "of them true", "answered by"
    )
    for regime, edges in summary["edges"].items():
        facts = summary["regimes"][regime]
        view.add_row(
            regime,
            f"{facts['buckets'] or 0:,.0f}",
            str(edges["planted"]),
            f"{edges['strong_found']} of {edges['strong']}",
            str(edges["found"]),
            str(edges["found_true"]),
            facts["rung"],
        )
    return view


def _gates_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """What was judged, row by row, and in a caption what was not."""
    view = _table("gate", "regime", "value", "limit", "verdict")
    named = ""
    for row in rows:
        if row["verdict"] != "skipped":
            limit = f"{row['direction'].replace('_', ' ')} {_number(row['limit'])}"
            name = "" if row["gate"] == named else row["gate"]
            view.add_row(name, row["regime"], _number(row["value"]), limit, row["verdict"])
            named = row["gate"]
    skipped = [f"{r['gate']} {r['regime']}".strip() for r in rows if r["verdict"] == "skipped"]
    view.caption = f"nothing to judge: {', '.join(skipped)}" if skipped else None
    return view


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str("-" if value is None else value)


def _shortfall_table(shortfall: Mapping[str, Any]) -> Table:
    view = _table("part", "USD", "bps of notional")
    notional = Decimal(shortfall["notional"])
    for part, name in SPLIT.items():
        usd = Decimal(shortfall[part])
        bps = f"{10_000 * usd / notional:,.2f}" if notional else "-"
        view.add_row(name, f"{usd:,.2f}", bps)
    return view


def _drift_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    view = _table("regime", "buckets", "verdict", "reason")
    for row in rows:
        view.add_row(row["regime"], str(row["buckets"]), row["verdict"], row["reason"])
    return view


def _stages_table(stages: Mapping[str, float]) -> Table:
    view = _table("stage", "s")
    for name, seconds in stages.items():
        view.add_row(name, f"{seconds:.1f}")
    view.add_row("all", f"{sum(stages.values()):.1f}")
    return view
