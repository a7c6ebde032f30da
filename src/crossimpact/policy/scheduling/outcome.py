"""Flows by line become what the desk reads: children by name, targets by parent, binding caps."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from crossimpact.policy.plan import Binding, Child, Target
from crossimpact.policy.scheduling.caps import Caps
from crossimpact.policy.scheduling.desk import Desk, Flags, Index
from crossimpact.policy.scheduling.efficiency import Marginal
from crossimpact.policy.scheduling.restraint import Restraint
from crossimpact.scaled import BPS, Array

#: A price below this, USD per USD, is a solver's rounding.
WORTHLESS = 1e-8
#: A flow this close to its cap, as a share of it, is at it.
AT = 1e-6


def children(
    desk: Desk,
    u: Array,
    aggressive: Flags,
    restraint: Restraint,
    cost: Marginal | None,
    ratio: Array | None,
) -> tuple[Child, ...]:
    """One per name with a parent, in the state's order; `restraint` is the guardrail's."""
    reasons, market, name = _reasons(desk, restraint), desk.market, desk.lines.name
    n = len(market.symbols)
    quantity = np.bincount(name, desk.lines.sign * u[:, 0] / market.mid[name], minlength=n)
    traded = np.abs(quantity) * market.mid + np.abs(market.working)
    volume = market.volume[:, 0]
    share = np.divide(traded, volume, out=np.zeros(n), where=volume > 0)
    crossing = np.bincount(name, aggressive, minlength=n) > 0
    best, first = _best(ratio, name, n), _first(name, n)
    marginal = None if cost is None else cost.total / BPS
    wanted = {parent.symbol for parent in desk.state.parents}
    columns = zip(
        market.symbols, quantity.tolist(), share.tolist(), crossing.tolist(), best, first.tolist(),
        strict=True,
    )  # fmt: skip
    return tuple(
        Child(
            symbol=symbol,
            quantity=shares,
            participation=part,
            style="aggressive" if crosses else "passive",
            efficiency=efficiency,
            marginal_bps=float(marginal[line]) if marginal is not None and line >= 0 else None,
            reasons=tuple(reasons.get(symbol, ())),
        )
        for symbol, shares, part, crosses, efficiency, line in columns
        if symbol in wanted
    )


def _best(ratio: Array | None, name: Index, n: int) -> list[float | None]:
    """The highest ratio of each name's lines; None without any."""
    if ratio is None:
        return [None] * n
    result = np.full(n, -np.inf)
    np.maximum.at(result, name, ratio)
    return [value if value > -np.inf else None for value in result.tolist()]


def _first(name: Index, n: int) -> Index:
    """The first line of each name; -1 without any."""
    result = np.full(n, -1, dtype=np.intp)
    result[name[::-1]] = np.arange(len(name) - 1, -1, -1)
    return result


def _reasons(desk: Desk, restraint: Restraint) -> dict[str, list[str]]:
    """By symbol, why its parents do not trade or trade less."""
    result: dict[str, list[str]] = defaultdict(list)
    for parent in desk.state.parents:
        if parent.id in desk.held:
            result[parent.symbol].append(f"{parent.id}: {desk.held[parent.id]}")
    for parent, why in zip(desk.lines.parents, restraint.why, strict=True):
        if why:
            result[parent.symbol].append(f"{parent.id}: {why}")
    return result


def targets(desk: Desk, u: Array) -> tuple[Target, ...]:
    """One per parent, in the state's order: filled, at the market, and planned, signed shares."""
    parents, lines = desk.state.parents, desk.lines
    more = np.zeros((len(parents), desk.state.horizon))
    place = {parent.id: k for k, parent in enumerate(parents)}
    at = np.array([place[parent.id] for parent in lines.parents], dtype=np.intp)
    more[at] = np.cumsum(u, axis=1) / desk.market.mid[lines.name][:, None]
    used = np.array([desk.used.get(parent.id, 0.0) for parent in parents])[:, None]
    filled = np.array([parent.filled for parent in parents])[:, None]
    whole = np.array([parent.quantity for parent in parents])[:, None]
    sign = np.where(whole < 0, -1.0, 1.0)
    total = filled + sign * (used + more)
    rounded = (sign * total > np.abs(whole)) & (sign * filled <= np.abs(whole))
    total = np.where(rounded, whole, total)  # rounding never asks for more
    return tuple(
        Target(parent.id, parent.symbol, tuple(each))
        for parent, each in zip(parents, total.tolist(), strict=True)
    )


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
    full = np.logical_or(*(_at(totals, limit) for limit in caps.limits))
    for k in np.flatnonzero(full):
        row, price = caps.rows[k], None if prices is None else float(prices[1][k])
        limit = row.low if (price or 0.0) < 0 else row.high
        if price is None or abs(price) >= WORTHLESS:
            worth = None if price is None else abs(price)
            result.append(Binding(row.cap, row.of, max(row.interval, 0), float(limit), worth))
    return tuple(result)


def _at(total: Array, limit: Array) -> Flags:
    finite = np.where(np.isfinite(limit), limit, 0.0)
    near = np.abs(total - finite) <= AT * np.maximum(np.abs(finite), 1e-300)
    return np.asarray(np.isfinite(limit) & near)
