"""The model card in Markdown: what a release is, who answers, what was changed on the way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from registry.bundle import Release

METRICS = (
    ("buckets", "buckets", ",.0f"),
    ("edges", "coupled pairs", ",.0f"),
    ("sector_blocks", "sector blocks kept", ",.0f"),
    ("deviating_pairs", "pairs kept beyond their block", ",.0f"),
    ("condition_number", "condition number", ",.3g"),
    ("psd_margin", "smallest eigenvalue (scaled)", ".3f"),
    ("oos_r2_self_only", "R2 out of sample, self only", ".2%"),
    ("oos_r2_sector_block", "R2 out of sample, sector blocks", ".2%"),
    ("oos_r2_full", "R2 out of sample, full", ".2%"),
    ("placebo_gain", "R2 gain of the day-shifted placebo", "+.2%"),
)


def model_card(release: Release) -> str:
    """The card of a release; everything in it is in the release."""
    window = release.window
    lines = [
        f"# Cross-impact release {release.id}",
        "",
        f"As of {release.as_of}: {window['dates']} trading dates {window['first']} to "
        f"{window['last']}, {release.flow} flow in buckets of {release.bucket_s} s.",
        "",
        "Self impact by Huber regression; cross impact by sector blocks plus the pairs that "
        "deviate from them (elastic net, then one symmetric parameter per pair, false discovery "
        "rate 5%). "
        "A rung ships only when it beats self-only and a day-shifted placebo out of sample.",
        "",
        "## Who answers",
        "",
        *_table(
            ("regime", "rung", "max POV", "why not the rung above"),
            (
                (regime, policy["rung"], f"{policy['max_pov']:.0%}", policy["reason"] or "-")
                for regime, policy in release.fallback.items()
            ),
        ),
        "",
        "## Numbers",
        "",
        *_numbers(release.report["metrics"]),
        "",
        "## Stability rules",
        "",
        *_table(
            ("regime", "rule", "value", "limit", "entries changed", "action"),
            (
                (
                    regime,
                    row["rule"],
                    _number(row["value"], ".4g"),
                    _number(row["limit"], ".4g"),
                    str(row["changed"]),
                    row["action"],
                )
                for regime, rows in release.report["stability"].items()
                for row in rows
            ),
        ),
        "",
        "## Provenance",
        "",
        f"contract {release.contract_version}, code {release.code_version}, data "
        f"`{release.data_digest}`, release `{release.digest}`",
        "",
        "Signs: cost is positive = worse; `gamma_ij` is bps on i per unit of ADV fraction in j, "
        "positive when trading both in the same direction costs more together. Own-flow R2 is "
        "small in real markets; read it beside the placebo's.",
    ]
    return "\n".join(lines) + "\n"


def _numbers(metrics: Mapping[str, Mapping[str, Any]]) -> list[str]:
    rows = (
        (text, *(_number(found.get(name), form) for found in metrics.values()))
        for name, text, form in METRICS
    )
    return _table(("", *metrics), rows)


def _number(value: Any, form: str) -> str:
    return format(value, form) if isinstance(value, int | float) else str(value or "-")


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    head = tuple(head)
    lines = (head, ("---",) * len(head), *rows)
    return ["| " + " | ".join(line) + " |" for line in lines]
