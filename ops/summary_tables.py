"""A demo's summary as tables for a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from ops.summary import SPLIT, Live, Lived, Shortfall, Summary, unbalanced

if TYPE_CHECKING:
    from crossimpact.release.gates import Row
    from crossimpact.shadow.summary import PolicyLine


def render(console: Console, summary: Summary) -> None:
    """The summary as tables."""
    shortfall = summary.shortfall
    dates = shortfall.dates or ["no date"]
    for title, table in (
        ("Rows in = accepted + quarantined", _rows_table(summary.tables)),
        ("Champion against what was planted", _regimes_table(summary)),
        ("How long impact lives, against what was planted", _decay_table(summary.decay)),
        ("Gates of the promoted release", _gates_table(summary.gates)),
        (f"Implementation shortfall, {dates[0]} to {dates[-1]}", _shortfall_table(shortfall)),
        ("Drift of the last week against the champion", _drift_table(summary.drift)),
        ("The last date, played live", _live_table(summary.live)),
        ("The last date in the shadow, judged by other days' fits", _shadow_table(summary.shadow)),
        (f"Time (peak memory {summary.peak_mb:,.0f} MB)", _stages_table(summary.stages)),
    ):
        console.print(f"\n[bold]{title}[/bold]", highlight=False)
        console.print(table)
    console.print()
    for regime in summary.edges:
        answer = summary.regimes[regime]
        if answer.reason:
            _line(console, regime, f"answered by {answer.rung}: {answer.reason}")
    champion = summary.champion
    _line(console, "champion", f"{champion.id}, version {champion.version}")
    _line(console, "digest", champion.digest)
    for name, path in _pages(summary.reports, dates[-1]):
        _line(console, name, path)
    _line(console, "pull", _answer(summary.pull))


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


def _regimes_table(summary: Summary) -> Table:
    view = _table(
        "regime", "buckets", "planted", "strong found", "found", "of them true", "answered by"
    )
    for regime, pairs in summary.edges.items():
        answer = summary.regimes[regime]
        view.add_row(
            regime,
            f"{answer.buckets or 0:,.0f}",
            str(pairs.planted),
            f"{pairs.strong_found} of {pairs.strong}",
            str(pairs.found),
            str(pairs.found_true),
            answer.rung,
        )
    return view


def _decay_table(rows: Mapping[str, Lived]) -> Table:
    view = _table("regime", "", "planted", "found")
    for regime, row in rows.items():
        minutes = row.found_half_life_min, row.half_life_lo, row.half_life_hi
        stays = row.found_permanent, row.permanent_lo, row.permanent_hi
        planted = _known(row.half_life_min, ".0f")
        view.add_row(regime, "half-life, min", planted, _reach(*minutes, ".0f"))
        view.add_row("", "share that stays", f"{row.permanent:.0%}", _reach(*stays, ".0%"))
    return view


def _known(value: float, form: str) -> str:
    return format(value, form) if value < math.inf else "stays"


def _reach(value: float | None, low: float | None, high: float | None, form: str) -> str:
    """A number and its interval; a dash where no kernel ships."""
    if value is None:
        return "-"
    reach = "" if low is None or high is None else f" ({low:{form}} to {high:{form}})"
    return _known(value, form) + reach


def _gates_table(rows: Sequence[Row]) -> Table:
    """What was judged, row by row, and in a caption what was not."""
    view = _table("gate", "regime", "value", "limit", "verdict")
    named = ""
    for row in rows:
        if row.verdict != "skipped":
            limit = f"{row.direction.replace('_', ' ')} {_number(row.limit)}"
            name = "" if row.gate == named else row.gate
            view.add_row(name, row.regime, _number(row.value), limit, row.verdict)
            named = row.gate
    skipped = [f"{row.gate} {row.regime}".strip() for row in rows if row.verdict == "skipped"]
    view.caption = f"nothing to judge: {', '.join(skipped)}" if skipped else None
    return view


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str("-" if value is None else value)


def _shortfall_table(shortfall: Shortfall) -> Table:
    view = _table("part", "USD", "bps of notional")
    notional = Decimal(shortfall.usd["notional"])
    for part, name in SPLIT.items():
        usd = Decimal(shortfall.usd[part])
        bps = f"{10_000 * usd / notional:,.2f}" if notional else "-"
        view.add_row(name, f"{usd:,.2f}", bps)
    return view


def _drift_table(rows: Sequence[Mapping[str, object]]) -> Table:
    columns = ("regime", "buckets", "verdict", "reason")
    view = _table(*columns)
    for row in rows:
        view.add_row(*(str(row[column]) for column in columns))
    return view


def _live_table(live: Live) -> Table:
    recap = live.recap
    view = _table("session", recap.session)
    for name, value in (
        ("events", f"{sum(recap.events.values()):,}"),
        ("skipped or refused", f"{recap.skipped + recap.refused:,}"),
        ("decisions", f"{recap.decisions:,}"),
        ("answered by", _counts(recap.answered)),
        ("minutes", ", ".join(f"{state} {value:.0f}" for state, value in recap.minutes.items())),
        ("refused by limits", f"{recap.limit_refusals:,}"),
        ("fallbacks", f"{recap.fallbacks:,}"),
        ("mode, level", f"{recap.mode}, {recap.level}"),
        ("journal", live.problem or f"{recap.lines:,} lines verified"),
    ):
        view.add_row(name, value)
    return view


def _shadow_table(lines: Sequence[PolicyLine]) -> Table:
    """What `crossimpact shadow` shows more of: kernels, tails, what was filled."""
    view = _table("policy", "bps", "gain", "95%", "claim", "verdict")
    for line in lines:
        reach = f"{line.gain_lo_bps:.1f}, {line.gain_hi_bps:.1f}"
        numbers = (f"{value:.1f}" for value in (line.is_bps, line.gain_bps))
        view.add_row(line.policy, *numbers, reach, f"{line.claimed_bps:.1f}", line.verdict)
    return view


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items()) or "-"


def _stages_table(stages: Mapping[str, float]) -> Table:
    view = _table("stage", "s")
    for name, seconds in stages.items():
        view.add_row(name, f"{seconds:.1f}")
    view.add_row("all", f"{sum(stages.values()):.1f}")
    return view
