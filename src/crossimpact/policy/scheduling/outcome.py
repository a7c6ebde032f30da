"""Flows by line become what the desk reads: children by name, targets by parent, binding caps."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from crossimpact.policy.scheduling.caps import Caps
from crossimpact.policy.scheduling.desk import Desk, Flags
from crossimpact.policy.scheduling.efficiency import Marginal
from crossimpact.policy.state import Binding, Child, Style, Target
from crossimpact.scaled import BPS, Array

#: A price below this, USD per USD, is a solver's rounding.
WORTHLESS = 1e-8
#: A flow this close to its cap, as a share of it, is at it.
AT = 1e-6


def children(
    desk: Desk,
    u: Array,
    aggressive: Flags,
    waits: Flags,
    cost: Marginal | None,
    ratio: Array | None,
) -> tuple[Child, ...]:
    """One per name with a parent, in the state's order; `waits` flags the lines that a guardrail
    keeps from trading at once with the others."""
    reasons = _reasons(desk, waits)
    market, lines = desk.market, desk.lines
    members: dict[int, list[int]] = defaultdict(list)
    for k, i in enumerate(lines.name.tolist()):
        members[i].append(k)
    wanted = {parent.symbol for parent in desk.state.parents}
    shares = lines.sign * u[:, 0] / market.mid[lines.name]
    result = []
    for i, symbol in enumerate(market.symbols):
        if symbol not in wanted:
            continue
        mine = members[i]
        quantity = float(shares[mine].sum())
        traded = abs(quantity) * float(market.mid[i]) + abs(float(market.working[i]))
        volume = float(market.volume[i, 0])
        style: Style = "aggressive" if mine and bool(aggressive[mine].any()) else "passive"
        result.append(
            Child(
                symbol=symbol,
                quantity=quantity,
                participation=traded / volume if volume > 0 else 0.0,
                style=style,
                efficiency=float(ratio[mine].max()) if mine and ratio is not None else None,
                marginal_bps=float(cost.total[mine[0]] / BPS) if mine and cost else None,
                reasons=tuple(reasons.get(symbol, ())),
            )
        )
    return tuple(result)


def _reasons(desk: Desk, waits: Flags) -> dict[str, list[str]]:
    """By symbol, why its parents do not trade or trade less."""
    result: dict[str, list[str]] = defaultdict(list)
    for parent in desk.state.parents:
        if parent.id in desk.held:
            result[parent.symbol].append(f"{parent.id}: {desk.held[parent.id]}")
    guardrail = desk.state.guardrail
    for k in np.flatnonzero(waits):
        parent = desk.lines.parents[k]
        result[parent.symbol].append(f"{parent.id}: waits, guardrail {guardrail}: fewer at once")
    return result


def targets(desk: Desk, u: Array) -> tuple[Target, ...]:
    """One per parent, in the state's order: filled, at the market, and planned, signed shares."""
    lines, H = desk.lines, desk.state.horizon
    planned = np.cumsum(u, axis=1) / desk.market.mid[lines.name][:, None]
    place = {parent.id: k for k, parent in enumerate(lines.parents)}
    result = []
    for parent in desk.state.parents:
        more = planned[place[parent.id]] if parent.id in place else np.zeros(H)
        sign = -1.0 if parent.quantity < 0 else 1.0
        total = parent.filled + sign * (desk.used.get(parent.id, 0.0) + more)
        beyond = sign * total > abs(parent.quantity)
        if sign * parent.filled <= abs(parent.quantity):  # rounding never asks for more
            total = np.where(beyond, parent.quantity, total)
        result.append(Target(parent.id, parent.symbol, tuple(total.tolist())))
    return tuple(result)


def binding(
    desk: Desk, caps: Caps, u: Array, prices: tuple[Array, Array] | None
) -> tuple[Binding, ...]:
    """Caps at which the plan stands: bounds of the next interval, and rows of all; with what one
    more USD of each would save where there are `prices` of bounds and rows."""
    lines, market = desk.lines, desk.market
    result = []
    at = (caps.most[:, 0] > 0) & (u[:, 0] >= caps.most[:, 0] * (1 - AT))
    for k in np.flatnonzero(at):
        whole = caps.most[k, 0] >= lines.remaining[k]
        price = None if prices is None else float(prices[0][k, 0])
        if price is not None and price < WORTHLESS:
            continue
        limit = float(caps.most[k, 0])
        parent, symbol = lines.parents[k].id, market.symbols[lines.name[k]]
        kind, of = ("remaining", parent) if whole else ("pov", symbol)
        result.append(Binding(kind, of, 0, limit, price))  # type: ignore[arg-type]
    totals = caps.totals(u)
    for at_row, row in enumerate(caps.rows):
        price = None if prices is None else float(prices[1][at_row])
        limit = row.low if (price or 0.0) < 0 else row.high
        full = _at(totals[at_row], row.high) or _at(totals[at_row], row.low)
        if full and (price is None or abs(price) >= WORTHLESS):
            worth = None if price is None else abs(price)
            result.append(Binding(row.cap, row.of, max(row.interval, 0), float(limit), worth))
    return tuple(result)


def _at(total: float, limit: float) -> bool:
    return bool(np.isfinite(limit) and abs(total - limit) <= AT * max(abs(limit), 1e-300))
