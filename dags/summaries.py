"""The last lines of a task's log: at most five, with the numbers first and the links last."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dags.runs import log

if TYPE_CHECKING:
    from pipelines import drift as week
    from pipelines import shadow as shadows
    from pipelines import tca as day
    from pipelines import validate
    from pipelines.plan import RefitPlan
    from pipelines.promotion import Checked, Promotion
    from pipelines.refit import Registered

LINES = 5


def say(lines: Iterable[str]) -> None:
    """Log a summary."""
    for line in list(filter(None, lines))[:LINES]:
        log.info("%s", line)


def plan(plan: RefitPlan, old: str) -> Iterator[str]:
    """The window of a refit."""
    dates = plan.dates
    yield f"refit {plan.key}: {len(dates)} dates, {dates[0]} to {dates[-1]}"
    yield f"{plan.flow} flow in buckets of {plan.bucket_s} s, loss {plan.loss}"
    yield f"landing zone {plan.landing}"
    yield old


def release(made: Registered, links: Mapping[str, str]) -> Iterator[str]:
    """What a refit registered."""
    window = made.window
    yield (
        f"release {made.release}, version {made.version}, challenger: {window.dates}"
        f" dates, {window.first} to {window.last}"
    )
    yield "; ".join(_regime(name, facts) for name, facts in made.regimes.items())
    yield from _links(links)


def gates(said: Checked, old: str, links: Mapping[str, str]) -> Iterator[str]:
    """What the gates say of a challenger."""
    verdicts = [row.verdict for row in said.gates]
    counts = ", ".join(f"{verdicts.count(v)} {v}" for v in ("pass", "fail", "skipped"))
    yield f"gates of release {said.release}: {counts}"
    yield f"refused: {'; '.join(said.refused)}" if said.refused else "nothing refuses"
    yield old
    yield from _links(links)


def promotion(done: Promotion, who: str, links: Mapping[str, str]) -> Iterator[str]:
    """Who is champion now, and by whom."""
    changed = "is champion now" if done.changed else f"unchanged: {done.note}"
    yield f"release {done.id}, version {done.version}, {changed}"
    yield f"by {who}; champion before: {(done.old or 'none')[:12]}"
    yield from _links(links)


def contract(result: validate.Result, fresh: Sequence[str], old: str) -> Iterator[str]:
    """Rows of the dates judged together, and what was announced."""
    tables = result.tables.values()
    landed, bad = (sum(rows[name] for rows in tables) for name in ("landed", "quarantined"))
    yield f"contract {result.verdict} over {len(result.dates)} dates"
    yield f"{landed:,} rows landed, {bad:,} of them quarantined"
    yield f"announced: {len(fresh)} dates, {fresh[0]} to {fresh[-1]}" if fresh else ""
    yield old


def drift(found: week.Result, old: str) -> Iterator[str]:
    """The week's verdict over the champion."""
    span = f"week of {found.week}, {len(found.dates)} dates to {found.as_of}"
    yield f"release {found.release}: {found.verdict}, {span}"
    worst = list(found.regimes.items())[:2]
    yield from (f"{name} {row['verdict']}: {row['reason']}" for name, row in worst)
    yield f"{found.in_sample_dates} of the dates are in the champion's own window"
    yield old


def tca(result: day.Result) -> Iterator[str]:
    """One date's shortfall, and its page."""
    total = result.split.get("total", {})
    usd, bps = total.get("usd"), total.get("bps")
    yield f"{result.date}, priced by release {result.release_id}"
    yield f"shortfall {_number(usd)} USD, {_number(bps, 2)} bps of the notional ordered"
    made = "made anew" if result.recomputed else "unchanged"
    yield f"{result.rows.get('tca_orders', 0):,} parent orders, marts {made}"
    unpriced = ", ".join(result.unpriced)
    yield f"not in the model: {unpriced}" if unpriced else ""
    yield f"page {result.report}"


def shadow(result: shadows.Result) -> Iterator[str]:
    """One date's evidence: what `optimal` would have gained, and whether that speaks against it."""
    from crossimpact.shadow.summary import headline

    row = headline(result.daily)
    made = "made anew" if result.recomputed else "unchanged"
    yield f"{result.date} in the shadow of release {result.release_id}, tables {made}"
    reach = f"{row.gain_lo_bps:.2f} to {row.gain_hi_bps:.2f}"
    yield f"{row.policy}: {row.verdict}, gain {row.gain_bps:.2f} bps ({reach})"
    yield f"refused: {'; '.join(result.refused)}" if result.refused else ""
    yield "; ".join(result.notes)


def _regime(name: str, facts: Mapping[str, Any]) -> str:
    pairs = f", {facts['edges']:.0f} pairs" if facts.get("edges") else ""
    why = f" ({facts['reason']})" if facts["reason"] else ""
    return f"{name} by {facts['rung']}{pairs}{why}"


def _links(links: Mapping[str, str]) -> Iterator[str]:
    for name, url in links.items():
        yield f"{name} {url}"


def _number(value: float | None, digits: int = 0) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"
