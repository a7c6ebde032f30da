"""What an event of a feed does to the book, and which decisions it asks for."""

from __future__ import annotations

from typing import NamedTuple

from crossimpact.policy.live.book import Book
from crossimpact.policy.live.events import (
    Cancel,
    Event,
    Fill,
    Heartbeat,
    Market,
    OrderState,
    ParentOrder,
    Print,
    Snapshot,
    Status,
)


class Effect(NamedTuple):
    """Why an event changed nothing, else empty; the triggers it makes, and whether they wait."""

    why: str = ""
    triggers: tuple[str, ...] = ()
    at_once: bool = False


def applied(book: Book, stale: set[str], event: Event) -> Effect:
    """Bring an event into the book; `stale` are the names whose staleness is known already."""
    match event:
        case Market():
            return _quoted(book, stale, event)
        case Status():
            return _status(book, event)
        case ParentOrder():
            why = book.parent(event)
            return Effect(why, () if why else (f"parent {event.id}",))
        case Cancel():
            return _cancel(book, event)
        case Fill():
            before = set(book.unreconciled)
            why = book.fill(event)
            lost = sorted(set(book.unreconciled) - before)
            return Effect(why, tuple(f"unreconciled {symbol}" for symbol in lost))
        case OrderState():
            return Effect(book.state_of(event))
        case Snapshot():
            before = set(book.unreconciled)
            why = book.snapshot(event)
            found = sorted(before - set(book.unreconciled))
            return Effect(why, tuple(f"reconciled {symbol}" for symbol in found))
        case Heartbeat() | Print():
            return Effect()
    raise TypeError(f"{type(event).__name__} is no event of a feed")


def _quoted(book: Book, stale: set[str], event: Market) -> Effect:
    why = book.quote(event)
    quote = book.quotes.get(event.symbol)
    bad = bool(why) and quote is not None and bool(quote.bad)
    if bad and event.symbol not in stale:
        stale.add(event.symbol)
        return Effect(why, (f"stale {event.symbol}",))
    if not why and event.symbol in stale:
        stale.discard(event.symbol)
        return Effect(why, (f"fresh {event.symbol}",))
    return Effect(why)


def _status(book: Book, event: Status) -> Effect:
    if book.status.get(event.symbol, "trading") == event.status:
        return Effect()
    book.status[event.symbol] = event.status
    return Effect(triggers=(f"{event.status} {event.symbol}",))


def _cancel(book: Book, event: Cancel) -> Effect:
    order = book.orders.get(event.parent)
    if order is None or order.cancelled:
        return Effect(f"cancel of the unknown or cancelled parent {event.parent}")
    order.cancelled = True
    return Effect(triggers=(f"cancel {event.parent}",), at_once=True)
