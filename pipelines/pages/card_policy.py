"""What the model card says of use: who answers, how far to trust it, what it would cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from crossimpact.cost_indices import BURN_BUCKETS
from crossimpact.ladder import RUNGS, Rung
from crossimpact.release.bundle import Release
from crossimpact.release.policy import DEFAULT, RefitPolicy, refit_policy
from pipelines.pages.markdown import number, table
from registry.pages import example

COLOURS = ("amber", "red")
#: Quantities with a guardrail, and how a level of them is written.
GUARDED = {
    "cpi_bps": ("predicted cross cost of a bucket (CPI)", "{:,.2f} bps of notional"),
    "ibb": ("realized shortfall over expected cost (IBB)", "{:,.2f}"),
    "data_age_s": ("age of the market data", "{:,.0f} s"),
    "model_age_days": ("since the release was last confirmed", "{:,.1f} days"),
    # of releases before CPI and IBB, which no guardrail reads
    "cross_bps": ("predicted cross cost, either way", "{:,.1f} bps"),
    "unexplained_bps": ("realized less predicted cross cost, either way", "{:,.1f} bps"),
    "q_adv": ("flow of one name, either way", "{:.2%} of ADV"),
}


def decided(release: Release) -> RefitPolicy:
    """The desk's decisions it was made by; a release says them where they are not the library's."""
    own = release.report.get("policy")
    return refit_policy(own) if own else DEFAULT.refit


def ladder(release: Release) -> list[str]:
    """Per regime each rung's largest share of the volume and its pairs; who answers is bold."""
    rows = (
        (regime, *(_rung(release, regime, rung) for rung in RUNGS), policy.reason or "-")
        for regime, policy in release.fallback.items()
    )
    return [
        *table(("regime", *RUNGS, "why not the rung above"), rows),
        "",
        "Per rung the largest share of the market's volume to trade at, and its coupled pairs. "
        "Bold answers; a demotion goes to the right.",
    ]


def _rung(release: Release, regime: str, rung: Rung) -> str:
    policy, fitted = release.fallback[regime], regime in release.models
    models = release.rungs(regime) if fitted else {}
    there = {*models, "fixed_pov", *(("self_only",) if fitted else ())}
    if rung not in there or RUNGS.index(rung) < RUNGS.index(policy.rung):
        return "-"
    pairs = models[rung].edges if rung in models else 0
    text = f"{policy.max_pov[rung]:.0%}" + (f", {pairs:,} pairs" if pairs else "")
    return f"**{text}**" if rung == policy.rung else text


def guardrails(release: Release) -> list[str]:
    """Amber and red levels per regime and quantity."""
    if not release.guardrails:
        return []
    rows = (
        (regime, text, *(form.format(getattr(levels[name], colour)) for colour in COLOURS))
        for regime, levels in release.guardrails.items()
        for name, (text, form) in GUARDED.items()
        if name in levels
    )
    if not any("data_age_s" in levels for levels in release.guardrails.values()):
        told = "It is older than the guardrails of today: a live loop starts amber and stays so."
        return [*table(("regime", "of one bucket", *COLOURS), rows), "", told]
    shares = asdict(decided(release).guardrails)
    passed = "; ".join(
        f"{name.upper()} " + ", ".join(f"{c} by {1 - shares[name][c]:.0%}" for c in COLOURS)
        for name in ("cpi", "ibb")
    )
    return [
        *table(("regime", "quantity", *COLOURS), rows),
        "",
        f"Quantiles of the window's own buckets of the regime, passed by so many: {passed}. IBB is "
        f"summed over {BURN_BUCKETS} buckets.",
    ]


def certificate(release: Release) -> list[str]:
    """Whether a sequence of trades that ends where it began makes money, per fitted regime."""
    rows: Mapping[str, Mapping[str, Any]] = release.report.get("certificate", {})
    return [f"- **{regime}**: {_certified(row)}." for regime, row in rows.items() if row]


def _certified(row: Mapping[str, Any]) -> str:
    margin = number(row["smallest_eigenvalue"], ".3f")
    size = f"smallest eigenvalue {margin} of the own impacts"
    if row["admissible"]:
        return f"no round trip makes money ({row['method']}; {size})"
    trip = row["round_trip"]
    steps = f" of {len(trip)} buckets" if trip else ""
    return f"**a round trip{steps} earns {number(row['profit_usd'], ',.0f')} USD** ({size})"


def examples(release: Release) -> list[str]:
    """What trading both names of the strongest pair moves."""
    head = ("regime", "symbol", "q, share of ADV", "own flow moves it", "the other's moves it")
    return table(head, _example_rows(release))


def _example_rows(release: Release) -> Iterator[tuple[str, ...]]:
    for regime, symbol, q, own, cross in example(release):
        yield regime, symbol, f"{q:+.0%}", f"{own:+,.1f} bps", f"{cross:+,.1f} bps"
