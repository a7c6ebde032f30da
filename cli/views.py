"""Results as people read them: what decides first, in words; `--json` has everything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cli.console import cell, number

if TYPE_CHECKING:
    from crossimpact.shadow.tables import DayRow

Data = Mapping[str, Any]
REFIT_METRICS = {
    "buckets": "buckets", "edges": "pairs", "condition_number": "condition",
    "oos_r2_self_only": "R2 self", "oos_r2_shipped": "R2 ships", "oos_r2_placebo": "placebo",
}  # fmt: skip
OVER_TIME = "impact over time"
EVIDENCE = ("regime", "statistic", "value", "se", "low", "high", "evidence", "limit", "verdict")


def shadowed(release: str, notes: Sequence[str], daily: Sequence[DayRow]) -> Data:
    """A line per policy, bps."""
    from crossimpact.shadow.summary import lines

    rows = [
        {
            "policy": line.policy,
            "bps": round(line.is_bps, 1),
            "gain": round(line.gain_bps, 1),
            "95%": f"{line.gain_lo_bps:.1f} to {line.gain_hi_bps:.1f}",
            "claimed": round(line.claimed_bps, 1),
            "worst": f"{line.worst_kernel} {line.worst_bps:.1f}",
            "p95": round(line.p95_bps, 1),
            "filled": f"{line.completion:.0%}",
            "placebo": round(line.placebo_gain_bps, 1),
            "verdict": line.verdict,
        }
        for line in lines(daily)
    ]
    return {"release": release, "notes": "; ".join(notes), "evidence": rows}


def span(window: Data) -> str:
    """First and last date of a window, and how many."""
    return f"{window['first']} to {window['last']}, {window['dates']} dates"


def validated(result: Data) -> Data:
    """Rows per table and broken rules, a row each; dates as a span."""
    dates = result["dates"]
    return {
        "verdict": result["verdict"],
        "dates": f"{dates[0]} to {dates[-1]}, {len(dates)}" if len(dates) > 1 else dates,
        "tables": result["tables"],
        "rules": [
            {"table": table, "rule": rule, "rows": rows}
            for table, counts in result["rules"].items()
            for rule, rows in counts.items()
        ],
        "problems": result["problems"],
        "stale": result.get("stale", []),
        "waived": result.get("waived", []),
        "expired waivers": result.get("expired_waivers", []),
    }


def refitted(result: Data) -> Data:
    """Who answers in each regime, and how well; R2 is out of sample."""
    regimes = [
        {"regime": regime, "answered by": facts["rung"]}
        | {name: _metric(facts, key) for key, name in REFIT_METRICS.items()}
        | {"reason": facts["reason"]}
        for regime, facts in result["regimes"].items()
    ]
    contract = validated({"dates": [], "problems": [], **result["contract"]})
    lost = result["unplaced"]
    return {
        **{name: result[name] for name in ("release", "digest", "version", "as_of", "flow")},
        "window": span(result["window"]),
        "contract": contract["verdict"],
        "unplaced": f"{lost['fills']:,} fills, {lost['usd']:,.2f} USD, in no bucket",
        "regimes (R2 of slippage and move, out of sample)": regimes,
        OVER_TIME: over_time(result["regimes"]),
        "tables": contract["tables"],
        "rules": contract["rules"],
        "seconds": [result["stages"]],
    }


def _metric(facts: Data, key: str) -> Any:
    value = facts.get(key)
    return f"{value:.2%}" if key.startswith("oos_r2") and value is not None else value


def champion(result: Data) -> Data:
    """A release as `show` gives it, its policy in one table."""
    shown = dict(result)
    shown["window"] = span(result["window"])
    shown["promoted"] = _in_words(result["promoted"])
    names = {"edges": "pairs", "condition_number": "condition"}
    order = ("regime", "rung", "max_pov", "flow", "buckets", "edges", "condition_number", "reason")
    shown["regimes"] = [
        {names.get(name, name): row.get(name) for name in order} for row in result["regimes"]
    ]
    shown[OVER_TIME] = over_time({row["regime"]: row for row in result["regimes"]})
    return {name: value for name, value in shown.items() if value not in ("", {}, [], None)}


def over_time(regimes: Mapping[str, Data]) -> list[Data]:
    """How long impact lives, a row per fitted regime."""
    return [
        {"regime": regime, "decay": row["decay"]}
        for regime, row in regimes.items()
        if row.get("decay")
    ]


def _in_words(entry: Data) -> str:
    """A promotion's line of the ledger."""
    message = f"{entry['action']} by {entry['who']} on {entry['when'][:19].replace('T', ' ')} UTC"
    message += f", approved by {entry['approver']}" if entry["approver"] else ""
    return message + (f": {entry['why']}" if entry["why"] else "")


def gated(result: Data) -> Data:
    """Gates with their limits as said; what had nothing to judge is told below."""
    rows = result.get("gates", [])
    kept = {name: value for name, value in result.items() if name != "gates" and value}
    return {
        **kept,
        "gates": [gate(row) for row in rows if row["verdict"] != "skipped"],
        "nothing to judge": [
            {"gate": row["gate"], "regime": row.get("regime") or "", "why": row.get("note", "")}
            for row in rows
            if row["verdict"] == "skipped"
        ],
    }


def gate(row: Data) -> Data:
    """A gate's row, its limit as said."""
    limit = f"{row['direction'].replace('_', ' ')} {cell(row['limit'])}"
    return {**{k: row.get(k) for k in ("gate", "regime", "value")}, "limit": limit,
            "verdict": row["verdict"], "note": row.get("note", "")}  # fmt: skip


def drifted(result: Data) -> Data:
    """The week's verdicts; the regimes' reasons say what decided."""
    regimes = [{"regime": regime, **row} for regime, row in result["regimes"].items()]
    evidence = [{name: row.get(name) for name in EVIDENCE} for row in result["evidence"]]
    return {**result, "regimes": regimes, "evidence": evidence}


def priced(result: Data) -> Data:
    """The answer first, then the shortfall by cause, whole dollars; what it rests on."""
    split, summary = result["split"], result["summary"]
    total = split["total"]
    slope = result["calibration"]
    return {
        "answer": f"{result['date']}: {money(total['usd'])} USD shortfall, "
        f"{cell(total['bps'], 'x_bps')} bps of {money(summary['notional_usd'])} USD ordered",
        "priced by": result["release_id"] + (", in sample" if result["in_sample"] else ""),
        "note": result["note"],
        "causes": _causes(split),
        "calibration": _slope(slope),
        "not in the model": result["unpriced"],
        "page": result["report"],
        "marts": "made anew" if result["recomputed"] else "unchanged",
    }


def _causes(split: Mapping[str, Data]) -> list[Data]:
    """The six parts that sum to the total, below each what is in it and is not nothing."""
    from pipelines.tca_columns import INSIDE

    rows: list[Data] = []
    for part, inside in INSIDE.items():
        names = [(part, ""), *((name, "  ") for name in inside if split[name]["usd"])]
        rows += [
            {
                "cause": f"{indent}{name.replace('_', ' ')}",
                "USD": round(split[name]["usd"] or 0),
                "bps": split[name]["bps"],
            }
            for name, indent in [*names, *([("total", "")] if part == "opportunity" else [])]
        ]
    return rows


def _slope(found: Data) -> str:
    if found["slope"] is None:
        return "unknown: nothing was predicted, or too little traded"
    span = f"{found['low']:.2f} to {found['high']:.2f}"
    seen = f", {found['in_sample_dates']} of them in sample" if found["in_sample_dates"] else ""
    return f"slope {found['slope']:.2f} ({span}) over {found['dates']} dates{seen}"


def scheduled(result: Data) -> Data:
    """A schedule with the orders' own names, equal neighbours merged, costs in their currency."""
    from pipelines.pages.sequence_text import schedule_in_words

    names: Sequence[str] = result.get("symbols", ())
    unit = " USD" if "release" in result else ""
    costs = {
        name.replace("_", " "): money(result[name]) + unit
        for name in ("cost", "cost_ttsc", "cost_tthc", "cost_full")
    }
    moves = result["benchmark_impact"]
    if moves and not isinstance(moves[0], list):
        costs["price moves before later orders"] = cell(moves)
    rest = ("status", "kkt_residual", "method", "understatement", "warning", "report",
            "value_of_stochastic_solution", "release", "regime", "rung", "reason",
            "decay")  # fmt: skip
    shown: dict[str, Any] = costs | {
        name.replace("_", " "): result[name] for name in rest if result.get(name) not in (None, "")
    }
    title = f"schedule ({unit.strip() or 'units'}; rates per unit of time)"
    shown[title] = schedule_in_words(result["schedule"], names)
    tables = {"comparison", "scenarios"} & result.keys()
    return shown | {name: result[name] for name in sorted(tables)}


def money(value: float) -> str:
    """Whole units of large amounts, four digits of small ones."""
    return f"{value:,.0f}" if abs(value) >= 1e4 else number(value)


def planned(result: Data) -> Data:
    """Who answered and why, children, binding caps and rules; targets are for machines."""
    expected = result["expected"] or {}
    return {
        "answered": result["answered"],
        "why": result["why"],
        "rung": result["rung"],
        "regime": result["regime"],
        "children": [
            {
                "symbol": child["symbol"],
                "quantity": child["quantity"],
                "participation": child["participation"],
                "style": child["style"],
                "efficiency": child["efficiency"],
                "marginal_bps": child["marginal_bps"],
                "reason": "; ".join(child["reasons"]),
            }
            for child in result["children"]
        ],
        "caps that bind": [
            {name: cap[name] for name in ("cap", "of", "limit", "price")}
            for cap in result["binding"]
        ],
        "rules": [
            {"rule": rule["rule"], "cost_usd": rule["cost_usd"], "note": ", ".join(rule["of"])}
            for rule in result["rules"]
        ],
        "relaxed": list(result["relaxed"]),
        "expected": dict(expected),
        "gap_usd": result["gap_usd"],
        "notes": "; ".join(result["notes"]),
    }


def expected(result: Data) -> Data:
    """The answer first; a regime's urgencies by cause, then orders and pairs as planned."""
    scenarios = result["scenarios"]
    priced = [row for row in scenarios if row["basket"]]
    planned = next((row for row in priced if row["urgency"] == "low"), None)
    shown: dict[str, Any] = {
        "answer": result["headline"],
        "release": f"{result['release']} as of {result['as_of']}",
        "note": result["note"],
        "no model": [row for row in scenarios if not row["basket"] and row["urgency"] == "low"],
    }
    for regime in dict.fromkeys(row["regime"] for row in priced):
        rows = [_scenario(row) for row in priced if row["regime"] == regime]
        shown[f"whole basket in a {regime} market, USD"] = rows
    if planned:
        where = f"as planned in a {planned['regime']} market, USD"
        shown[f"orders {where}"] = [
            {"order": row["order_id"], "trade": f"{row['side']} {row['symbol']}"} | _interval(row)
            for row in sorted(planned["orders"], key=lambda row: -abs(row["total_usd"]))
        ]
        shown[f"pairs {where}"] = [
            {
                "pair": f"{row['symbol_i']} / {row['symbol_j']}",
                "now": round(row["now_usd"]),
                "carried": round(row["carried_usd"]),
                "95%": _range(row),
            }
            for row in planned["pairs"]
        ]
    return {name: value for name, value in shown.items() if value}


def _scenario(row: Data) -> Data:
    cost = row["basket"]
    return {
        "urgency": row["urgency"],
        "minutes": round(row["minutes"]),
        "spread": round(cost["spread_usd"]),
        "self": round(cost["self_now_usd"] + cost["self_carried_usd"]),
        "cross": round(cost["cross_now_usd"] + cost["cross_carried_usd"]),
        "delay": round(cost["delay_usd"]),
    } | _interval(cost)


def _interval(cost: Data) -> dict[str, Any]:
    total = round(cost["total_usd"])
    return {"total": total, "95%": _range(cost), "bps": cost["total_bps"]}


def _range(row: Data) -> str:
    if row["low_usd"] is None:
        return "unknown"
    return f"{row['low_usd']:,.0f} to {row['high_usd']:,.0f}"


def tables_written(exports: Sequence[Data]) -> Data:
    """Where the files are, and rows per table."""
    first = exports[0]
    return {
        "written": [row["path"] for row in exports],
        "dates": f"{first['first']} to {first['last']}, {first['dates']}",
        "rows": first["rows"],
    }
