"""A rollout's status as people read it: where it is, what is known, what is asked next."""

from __future__ import annotations

from typing import Any

from cli.views import Data, gate

SHOWN = 10


def status(result: Data) -> Data:
    """Stage and days, the evidence with its power, gates up and down."""
    if not result["stage"]:
        return {"stage": "none", "next": f"{result['next']}: crossimpact rollout start"}
    found = result["evidence"]
    live, shadow = found["live"] or {}, found["shadow"]
    kept = {name: result[name] for name in ("stage", "since", "release", "next")}
    return {
        **kept,
        "days": f"{result['days']} of {result['min_days']}",
        **({"evidence": _enough(live["readings"][0])} if live else {}),
        "shadow": [_shadow(shadow)],
        "drawn": [_drawn(live)] if live else [],
        "policy less control": [_reading(row) for row in live.get("readings", ())],
        "no evidence": [*found["missing"], *found["left_out"]][:SHOWN],
        "gates up": [gate(row) for row in result["up"]],
        "stop gates": [gate(row) for row in result["stop"]],
    }


def _enough(mean: Data) -> str:
    """Whether the mean effect can be told, and when it can."""
    if mean["verdict"] != "not enough evidence":
        return f"mean cost: {mean['verdict']}"
    more = "beyond 1,250" if mean["days_needed"] is None else f"{mean['days_needed']:,}"
    return f"not enough evidence: power {mean['power']:.2f}, {more} more days needed"


def _shadow(shadow: Data) -> dict[str, Any]:
    names = ("days", "gain_bps", "gain_lo_bps", "gain_hi_bps", "claimed_bps", "placebo_bps",
             "outside_evidence", "p90_ratio", "p95_ratio")  # fmt: skip
    return {name: shadow[name] for name in names}


def _drawn(live: Data) -> dict[str, Any]:
    names = ("days", "baskets", "treated", "share", "p_value", "upper_bps", "margin_bps")
    return {name: live[name] for name in names}


def _reading(row: Data) -> dict[str, Any]:
    return {
        "of": row["name"],
        **{name: row[name] for name in ("value", "low", "high", "power")},
        "days needed": row["days_needed"],
        "verdict": row["verdict"],
    }
