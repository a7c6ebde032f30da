"""The day in words a desk head uses: one sentence, the largest causes and pairs, what changed, and
what asks for attention."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.pages.numbers import bps, count, usd
from pipelines.pages.past import Past, Usual

Row = Mapping[str, Any]
TOP = 5
#: What the shortfall comes from, whichever leg of the price it sits in.
DRIVERS = {
    "own": ("self", "delay_self", "opportunity_self"),
    "cross": ("cross", "delay_cross", "opportunity_cross"),
    "others": (
        *("peers", "market", "delay_peers", "delay_market"),
        *("opportunity_peers", "opportunity_market"),
    ),
    "spread": ("fees_spread",),
    "rest": ("residual", "delay_residual", "opportunity_residual"),
}
#: A cause of a name's cost as a sentence; {0} is the name.
CAUSES = {
    "self_now": "trading {0} moved {0} at once",
    "self_own_carried": "earlier fills of the same orders were still in the price of {0}",
    "self_sibling_carried": "the desk's other orders in {0} had moved it",
    "cross_now": "other names traded at the same time pushed {0}",
    "cross_carried": "earlier trading in other names was still in the price of {0}",
    "peers": "others traded around {0} the same way",
    "market": "the market moved against the orders in {0}",
    "residual": "moves of {0} that nothing explains",
    "delay": "{0} moved between decision and arrival",
    "fees_spread": "spread and fees in {0}",
    "opportunity": "what was not executed in {0} ran away",
}


@dataclass(frozen=True)
class Told:
    """A line of the page: what, and its money or bps as text."""

    text: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Alert:
    """A group of things that ask for attention; `weight` orders them."""

    kind: str
    text: str
    weight: float


def driver_bps(row: Row, driver: str) -> float | None:
    """What one of `DRIVERS` cost, bps of the notional ordered; None where a part is not known."""
    notional = float(row.get("notional_usd") or 0)
    parts = [row.get(f"{name}_usd") for name in DRIVERS[driver]]
    if not notional or any(part is None for part in parts):
        return None
    return 1e4 * sum(float(part or 0) for part in parts) / notional


# -- one sentence --------------------------------------------------------------------------------


def sentence(day: Row, past: Past, symbols: Sequence[Row]) -> str:
    """What the day cost, against the last dates, and why."""
    if not day.get("parents"):
        return "No parent order was alive on this date."
    total, ordered = float(day["total_usd"]), float(day["notional_usd"])
    verb = "cost" if total >= 0 else "gained"
    first = (
        f"Trading {millions(ordered)} USD {verb} {millions(abs(total))} USD, "
        f"{bps(abs(day['total_bps']), 1)} bps{_against(day['total_bps'], past.usual('total_bps'))}."
    )
    return f"{first} {_why(day, symbols)}"


def _against(value: float, found: Usual | None) -> str:
    if found is None:
        return ""
    how = {"above": "more than usual", "below": "less than usual", "within": "as usual"}
    return (
        f", {how[found.place(value)]}: the last {found.dates} days cost {bps(found.mean, 1)} on "
        f"average (95% {bps(found.mean_low, 1)} to {bps(found.mean_high, 1)})"
    )


def _why(day: Row, symbols: Sequence[Row]) -> str:
    parts = {driver: driver_bps(day, driver) for driver in DRIVERS}
    where = " and ".join(_worst_names(symbols))
    words = {
        "own": "the desk's own impact" + (f" (most in {where})" if where else ""),
        "cross": "impact across its names",
        "others": "others' flow and the market",
        "spread": "spread and fees",
        "rest": "what nothing explains",
    }
    known = sorted(
        ((value, words[name]) for name, value in parts.items() if value is not None),
        key=lambda item: -abs(item[0]),
    )
    if not known:
        return ""
    told = [f"{what} {bps(value, 1)}" for value, what in known]
    return f"Of it, in bps: {', '.join(told)}."


def _worst_names(symbols: Sequence[Row]) -> list[str]:
    own = {
        row["name"]: sum(float(row.get(f"{name}_usd") or 0) for name in DRIVERS["own"])
        for row in symbols
    }
    return [name for name in sorted(own, key=lambda k: (-own[k], k))[:2] if own[name] > 0]


# -- the largest causes and pairs ----------------------------------------------------------------


def top_causes(day: Row, symbols: Sequence[Row]) -> list[Told]:
    """The name's causes that cost most, in words."""
    total = float(day.get("total_usd") or 0)
    found = [
        (float(row[f"{cause}_usd"]), row["name"], cause)
        for row in symbols
        for cause in CAUSES
        if row.get(f"{cause}_usd") is not None
    ]
    largest = sorted(found, key=lambda item: (-item[0], item[1], item[2]))[:TOP]
    return [
        Told(_capital(CAUSES[cause].format(name)), f"{usd(cost)} USD", _share(cost, total))
        for cost, name, cause in largest
        if cost > 0
    ]


def top_pairs(pairs: Sequence[Row]) -> list[Told]:
    """The pairs that cost or gave most, in words."""
    return [_pair(row) for row in pairs[:TOP]]


def _pair(row: Row) -> Told:
    cost = float(row["usd"])
    what = "made each other dearer" if cost > 0 else "made each other cheaper"
    carried = row.get("carried_usd")
    how = ""
    if carried is not None and cost:
        share = float(carried) / cost
        how = ", mostly by earlier trading" if share > 0.5 else ", mostly while both were traded"
    seen, of = row.get("days_in_top20"), row.get("days_seen")
    note = f"among the top 20 on {seen} of {of} days" if seen and of else ""
    if peak := row.get("peak_ts"):
        note += f"{'; ' if note else ''}worst at {peak.strftime('%H:%M')} UTC"
    names = f"{row['symbol_i']} and {row['symbol_j']}"
    return Told(f"{names} {what}{how} ({row['regime']})", f"{usd(cost)} USD", note)


# -- what changed --------------------------------------------------------------------------------


def changes(day: Row, past: Past, names: Mapping[str, str]) -> list[Told]:
    """Against the day before: the total, the three causes that moved most, and who prices."""
    before = past.yesterday
    if not before or before.get("total_bps") is None or day.get("total_bps") is None:
        return []
    told = [_change("Shortfall", day["total_bps"], before["total_bps"])]
    moved = [
        (day[f"{name}_bps"], before[f"{name}_bps"], label)
        for name, label in names.items()
        if day.get(f"{name}_bps") is not None and before.get(f"{name}_bps") is not None
    ]
    moved.sort(key=lambda item: -abs(item[0] - item[1]))
    told += [_change(label, now, then) for now, then, label in moved[:3]]
    if day.get("release_id") != before.get("release_id"):
        told.append(Told("Priced by another release", str(day.get("release_id")),
                         f"before: {before.get('release_id')}"))  # fmt: skip
    return told


def _change(what: str, now: float, then: float) -> Told:
    sign = "+" if now >= then else ""
    return Told(what, f"{sign}{bps(now - then)} bps", f"from {bps(then)} to {bps(now)}")


# -- what asks for attention ---------------------------------------------------------------------


def alerts(groups: Iterable[Alert | None]) -> list[Alert]:
    """The five that weigh most."""
    found = [alert for alert in groups if alert]
    return sorted(found, key=lambda alert: (-alert.weight, alert.kind))[:TOP]


def cost_alert(day: Row, past: Past) -> Alert | None:
    """Total and tail above what is usual."""
    high = [
        f"{label} {bps(day[column])} bps (usual {bps(found.low)} to {bps(found.high)})"
        for column, label in (("total_bps", "the shortfall is"), ("p95_bps", "the 95th percentile"))
        if day.get(column) is not None
        and (found := past.usual(column))
        and found.place(day[column]) == "above"
    ]
    return Alert("Cost", _capital(", ".join(high)) + ".", 3.0) if high else None


def data_alert(day: Row, refused: Mapping[str, int], refused_usd: float) -> Alert | None:
    """Rows that were refused, fills that have no price, orders whose status is not ok."""
    parts = [f"{_counted(rows, 'row')} of {table} quarantined" for table, rows in refused.items()]
    if refused_usd:
        parts.append(f"{usd(refused_usd)} USD of fills among them")
    flagged, unpriced = day.get("parents_flagged"), day.get("executed_unpriced_usd")
    if flagged:
        parts.append(f"{_counted(flagged, 'order')} with a status")
    if unpriced:
        parts.append(f"{usd(unpriced)} USD executed without a price")
    share = refused_usd / float(day.get("notional_usd") or 1) if refused_usd else 0.0
    return Alert("Data", _capital("; ".join(parts)) + ".", 1.0 + 100 * share) if parts else None


def model_alert(
    notes: Sequence[str], calibration: Sequence[Row], weak: Sequence[str]
) -> Alert | None:
    """A release that is not the live one, a calibration that is off for weeks, a lower rung."""
    late = [note for note in notes if not note.startswith("in sample")]
    off = [
        f"cross is {'under' if row['slope'] > 1 else 'over'}predicted"
        f"{' in ' + row['name'] if row['name'] else ''}: slope {bps(row['slope'])} "
        f"({bps(row['low'])} to {bps(row['high'])}), two weeks running"
        for row in calibration
        if row.get("alarm")
    ]
    parts = [*late, *off, *weak]
    weight = 4.0 if late or off else 1.5
    return Alert("Model", _capital("; ".join(parts)) + ".", weight) if parts else None


def order_alert(orders: Sequence[Row]) -> Alert | None:
    """Orders that stand out, the dearest named."""
    odd = [row for row in orders if row.get("outlier_reason")]
    if not odd:
        return None
    worst = max(odd, key=lambda row: (float(row["total_usd"]), row["order_id"]))
    money = sum(float(row["total_usd"]) for row in odd)
    text = (
        f"{_counted(len(odd), 'order')} out of the ordinary, {usd(money)} USD together; "
        "the dearest is "
        f"{worst['order_id']} in {worst['symbol']}: {worst['outlier_reason']}."
    )
    return Alert("Orders", text, 2.0)


#: What of a rule is counted, one and several.
BROKEN = {
    "stagger": ("coupled pair traded together", "coupled pairs traded together"),
    "same_time_fill": ("fill dear by others' at its time", "fills dear by others' at their time"),
    "benchmark_gaming": (
        "order that waits on its benchmark",
        "orders that wait on their benchmark",
    ),
}


def rule_alert(breaches: Sequence[Row]) -> Alert | None:
    """Rules that were broken, by rule."""
    if not breaches:
        return None
    costs: dict[str, list[float]] = {}
    for row in breaches:
        costs.setdefault(row["rule"], []).append(float(row["cost_usd"] or 0))
    told = [
        f"{len(c):,} {BROKEN[rule][len(c) > 1]}, {usd(sum(c))} USD"
        for rule, c in sorted(costs.items())
    ]
    return Alert("Rules", "; ".join(told) + ".", 2.5)


def guardrail_alert(minutes: Mapping[str, float]) -> Alert | None:
    """Time in red."""
    red = minutes.get("red", 0.0)
    return (
        Alert("Guardrail", f"The live loop was in red for {red:,.0f} minutes.", 3.5)
        if red
        else None
    )


# -- small words ---------------------------------------------------------------------------------


def millions(value: float) -> str:
    """4.97 million, 812 thousand, 45."""
    for size, word in ((1e9, " billion"), (1e6, " million"), (1e3, " thousand")):
        if abs(value) >= size:
            return f"{value / size:,.3g}{word}" if abs(value) < 1e12 else f"{value:,.0f}"
    return f"{value:,.0f}"


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.0%} of the shortfall" if whole > 0 else ""


def _counted(number: int, noun: str) -> str:
    return f"{count(number)} {noun}{'' if number == 1 else 's'}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
