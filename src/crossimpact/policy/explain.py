"""Why a name got what it got: from a recorded state, the plan made of it, and who answered."""

from __future__ import annotations

import numpy as np
from msgspec import Struct

from crossimpact.errors import ProblemError
from crossimpact.policy.plan import Applied, Binding, Child, Plan
from crossimpact.policy.schedule import usable
from crossimpact.policy.scheduling import desk as desks
from crossimpact.policy.scheduling import efficiency
from crossimpact.policy.scheduling.compiled import Compiled
from crossimpact.policy.state import DeskState
from crossimpact.release.bundle import Answer
from crossimpact.scaled import BPS, Array

#: Pairs told, the largest ones.
PAIRS = 10


class Pair(Struct, frozen=True):
    """What another name's trading in the next interval adds to the price paid, bps in the name's
    own direction; positive is worse."""

    symbol: str
    bps: float


class Explanation(Struct, frozen=True):
    """One name in one plan.

    Attributes
    ----------
    child
        What it got; None when no parent is of it.
    rank, of
        Its place by efficiency among the names that could trade, 1 the first; None when it could
        not.
    opportunity_bps
        Alpha forgone by waiting.
    linear_bps, own_bps, cross_bps, carried_bps
        Marginal cost at the plan's flows in its own direction, in parts: spread-like; own impact,
        now and later; the others' on it and its own on theirs; what earlier fills left there.
    pairs
        The largest contributions of other names, `cross_bps` before its own on theirs.
    caps
        Of the name, its parents, its sector and the desk that bind, with prices.
    rules
        That changed it.
    answered, why
        Who made the plan, and why not another.
    """

    symbol: str
    child: Child | None
    rank: int | None
    of: int
    opportunity_bps: float | None
    linear_bps: float | None
    own_bps: float | None
    cross_bps: float | None
    carried_bps: float | None
    pairs: tuple[Pair, ...]
    caps: tuple[Binding, ...]
    rules: tuple[Applied, ...]
    answered: str
    why: str


def explanation(state: DeskState, plan: Plan, answer: Answer, symbol: str) -> Explanation:
    """Why `symbol` got what it got.

    Parameters
    ----------
    state, plan
        As recorded.
    answer
        Who answered then: of the release whose digest the plan has.

    Raises
    ------
    ProblemError
        When the state has no such name.
    """
    symbols = tuple(name.symbol for name in state.names)
    if symbol not in symbols:
        raise ProblemError(f"the state has no name {symbol}", f"{symbols[:1]} is one of them")
    child = next((child for child in plan.children if child.symbol == symbol), None)
    ranked = sorted(
        (c for c in plan.children if c.efficiency is not None),
        key=lambda c: -(c.efficiency or 0.0),
    )
    places = [c.symbol for c in ranked]
    model, _ = usable(answer, state)
    compiled = None if model is None else Compiled.of(model, symbols)
    parts, pairs = _parts(state, plan, compiled, symbol)
    sector = compiled.sectors.get(symbol, "") if compiled else ""
    mine = {symbol, sector, "desk", *(p.id for p in state.parents if p.symbol == symbol)}
    return Explanation(
        symbol=symbol,
        child=child,
        rank=places.index(symbol) + 1 if symbol in places else None,
        of=len(places),
        **parts,
        pairs=pairs,
        caps=tuple(cap for cap in plan.binding if cap.of in mine),
        rules=tuple(rule for rule in plan.rules if symbol in rule.of),
        answered=plan.answered,
        why=plan.why,
    )


def _parts(
    state: DeskState, plan: Plan, compiled: Compiled | None, symbol: str
) -> tuple[dict[str, float | None], tuple[Pair, ...]]:
    """Marginal cost in parts, and the others' by pair, bps; None without a model or a line."""
    names = ("opportunity_bps", "linear_bps", "own_bps", "cross_bps", "carried_bps")
    desk = desks.of(state, compiled.sectors if compiled else None)
    mine = [k for k, p in enumerate(desk.lines.parents) if p.symbol == symbol]
    if compiled is None or not mine:
        return dict.fromkeys(names), ()
    u, line = _flows(desk, plan), mine[0]
    cost = efficiency.marginal(desk, compiled.model, compiled.alone, u)
    values = (efficiency.opportunity(desk), cost.linear, cost.own, cost.cross, cost.past)
    parts = {name: float(value[line] / BPS) for name, value in zip(names, values, strict=True)}
    return dict(parts), _pairs(desk, compiled, u, line)


def _flows(desk: desks.Desk, plan: Plan) -> Array:
    """The plan's flows by line and interval, USD >= 0, from its cumulative targets."""
    target = {t.parent: t.cumulative for t in plan.targets}
    u = np.zeros(desk.shape)
    for k, parent in enumerate(desk.lines.parents):
        start = parent.filled + desk.lines.sign[k] * desk.used.get(parent.id, 0.0)
        shares = np.diff(np.array([start, *target[parent.id]]))
        u[k] = np.maximum(desk.lines.sign[k] * shares, 0.0)
    return np.asarray(u * desk.market.mid[desk.lines.name][:, None])


def _pairs(desk: desks.Desk, compiled: Compiled, u: Array, line: int) -> tuple[Pair, ...]:
    """``gamma_ij f_j`` of the next interval in the line's direction, the largest first."""
    lines, model = desk.lines, compiled.model
    flow = desk.market.working.copy()
    np.add.at(flow, lines.name, lines.sign * u[:, 0])
    bps = lines.sign[line] * model.gamma[lines.name[line]] * model.flow(flow / model.adv)
    largest = np.argsort(-np.abs(bps), kind="stable")[:PAIRS]
    return tuple(Pair(model.symbols[j], float(bps[j])) for j in largest if bps[j])
