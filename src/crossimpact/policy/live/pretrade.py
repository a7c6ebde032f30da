"""Pre-trade controls of a plan: hard limits asked, and targets raised by what they let through."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from crossimpact.policy import limits
from crossimpact.policy.limits import LimitMemory, Limits, Order, Refusal
from crossimpact.policy.live.book import Book
from crossimpact.policy.live.decision import ParentTarget
from crossimpact.policy.live.entries import SAME
from crossimpact.policy.live.entries import Order as ParentBook
from crossimpact.policy.live.events import Level
from crossimpact.policy.plan import Plan
from crossimpact.policy.scheduling import desk as desks
from crossimpact.policy.state import DeskState, Style


def ask(
    book: Book,
    plan: Plan,
    held: Limits,
    memory: LimitMemory,
    now: datetime,
    adv: Callable[[str], float | None],
) -> tuple[set[str], tuple[Refusal, ...], LimitMemory]:
    """The names whose children hard limits let through, the refusals, and what limits remember.

    `adv` is a name's average daily volume, USD, where its quote does not say one.
    """
    children = sorted(
        (child for child in plan.children if child.quantity),
        key=lambda child: (-(child.efficiency or 0.0), child.symbol),
    )
    orders = [_order(book, c.symbol, c.quantity, c.participation, adv) for c in children]
    at_ms = now.timestamp() * 1e3
    allowed, refused, memory = limits.check(held, memory, orders, at_ms, book.used_usd())
    return {order.symbol for order in allowed}, tuple(refused), memory


def raise_targets(book: Book, state: DeskState, plan: Plan, passed: set[str]) -> None:
    """Ask for what a plan adds to the parents of the names that passed, within their quantity."""
    used = desks.of(state).used
    raised: list[tuple[ParentBook, float]] = []
    for target in plan.targets:
        order = book.orders[target.parent]
        if target.symbol not in passed or not target.cumulative:
            continue
        there = order.sign * used.get(target.parent, 0.0)
        more = order.sign * (target.cumulative[0] - order.filled - there)
        left = order.sign * (order.told.quantity - order.target)
        if (asked := min(more, left)) > SAME:
            raised.append((order, order.outstanding + order.sign * asked))
    for order, outstanding in raised:  # all of them or, had anything been wrong, none
        order.outstanding = outstanding


def targets(book: Book, level: Level, styles: Mapping[str, Style]) -> tuple[ParentTarget, ...]:
    """Where each of the policy's parents is to stand: at what is filled once it is cancelled or
    killed."""
    ours = (order for order in book.orders.values() if order.told.arm == "policy")
    return tuple(_target(order, level, styles) for order in ours)


def _target(order: ParentBook, level: Level, styles: Mapping[str, Style]) -> ParentTarget:
    told, stopped = order.told, order.cancelled or level in ("CANCEL", "KILL")
    target = order.filled if stopped else order.target
    return ParentTarget(told.id, told.symbol, target, styles.get(told.symbol, "passive"))


def _order(
    book: Book,
    symbol: str,
    quantity: float,
    participation: float,
    adv: Callable[[str], float | None],
) -> Order:
    quote = book.quotes[symbol]
    return Order(
        symbol, quantity, quote.mid, quote.reference, quote.adv_usd or adv(symbol), participation
    )
