"""The desk as the scheduler is told it, from the book."""

from __future__ import annotations

from datetime import datetime

from crossimpact.policy.live.book import Book
from crossimpact.policy.live.entries import Quote
from crossimpact.policy.live.events import ParentOrder
from crossimpact.policy.live.settings import Settings
from crossimpact.policy.state import DeskState, Flow, GuardrailState, Name, Parent


def desk_state(
    book: Book, settings: Settings, now: datetime, regime: str, guardrail: GuardrailState
) -> DeskState:
    """Names that are wanted or were traded, and the parents that are not over."""
    working = book.working()
    parents = [
        order
        for order in book.orders.values()
        if order.told.arm == "policy" and not (order.cancelled or book.done(order))
    ]
    wanted = {order.told.symbol for order in parents}
    names = tuple(
        _name(book, settings, now, symbol, working.get(symbol, 0.0))
        for symbol in sorted(book.quotes)
        if symbol in wanted or _traded(book, symbol)
    )
    priced = {name.symbol for name in names}
    return DeskState(
        at=now,
        regime=regime,
        names=names,
        parents=tuple(_parent(o.told, o.filled, now) for o in parents if o.told.symbol in priced),
        interval_min=settings.interval_min,
        horizon=settings.horizon,
        caps=settings.caps,
        risk=settings.risk,
        guardrail=guardrail,
        allowance=settings.allowed.get(guardrail),
    )


def is_quiet(quote: Quote, now: datetime, stale_s: float) -> bool:
    """Whether a quote is older than `stale_s` seconds of event time."""
    return (now - quote.at).total_seconds() > stale_s


def _traded(book: Book, symbol: str) -> bool:
    return any(symbol in bucket.shares for bucket in book.buckets.values())


def _name(book: Book, settings: Settings, now: datetime, symbol: str, working: float) -> Name:
    quote, known = book.quotes[symbol], book.status.get(symbol, "trading")
    quiet = is_quiet(quote, now, settings.stale_s)
    stale = bool(quote.bad) or quiet or symbol in book.unreconciled
    end = 60 * settings.interval_min
    flow = tuple(
        Flow(max(0.0, (now.timestamp() - (slot + 1) * end) / 60), bucket.shares[symbol])
        for slot, bucket in sorted(book.buckets.items())
        if bucket.shares.get(symbol)
    )
    return Name(
        symbol, quote.mid, quote.spread_bps, quote.volume, working, known != "trading", stale,
        quote.volatility_bps, flow,
    )  # fmt: skip


def _parent(told: ParentOrder, filled: float, now: datetime) -> Parent:
    left = max(0.0, (told.deadline - now).total_seconds() / 60)
    return Parent(
        told.id, told.symbol, told.quantity, left, filled, told.alpha_bps,
        told.alpha_half_life_min, told.critical,
    )  # fmt: skip
