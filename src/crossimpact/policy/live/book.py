"""The desk's book: names, parents, fills and what is at the market, kept by events.

Per parent `outstanding` is what was asked for and is not known to be filled or terminal: it counts
as used whatever the order system says of it, unless that says a number. Nothing here decides.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime

from crossimpact.policy.live.entries import SAME, Booked, Bucket, Order, Quote
from crossimpact.policy.live.events import Fill, Market, OrderState, ParentOrder, Snapshot

TERMINAL = ("filled", "cancelled", "rejected", "expired")


class Book:
    """All names, parents and fills of a session."""

    def __init__(self, interval_min: float) -> None:
        self.interval_s = 60 * interval_min
        self.quotes: dict[str, Quote] = {}
        self.status: dict[str, str] = {}
        self.orders: dict[str, Order] = {}
        self.buckets: dict[int, Bucket] = {}
        self.fills: dict[str, Booked] = {}
        self.venue_seq: dict[str, int] = {}
        #: Names whose fills do not add up, and why; a snapshot clears them.
        self.unreconciled: dict[str, str] = {}
        self.traded_usd = 0.0

    def slot(self, at: datetime) -> int:
        """Number of the interval a moment is in."""
        return int(at.timestamp() // self.interval_s)

    # -- market ------------------------------------------------------------------------------------

    def quote(self, event: Market) -> str:
        """Take a quote; the reason where it is not to be traded on."""
        known = self.quotes.get(event.symbol)
        if known is not None and event.at < known.at:
            return f"{event.symbol}: older than its last quote"
        if event.bid > event.ask:
            if known is not None:
                known.bad = f"crossed quotes: bid {event.bid:g} over ask {event.ask:g}"
            return f"{event.symbol}: crossed quotes: bid {event.bid:g} over ask {event.ask:g}"
        mid = (event.bid + event.ask) / 2
        spread = 1e4 * (event.ask - event.bid) / mid
        self.quotes[event.symbol] = Quote(
            at=event.at,
            mid=mid,
            spread_bps=spread,
            volume=event.volume if event.volume is not None else (known.volume if known else None),
            volatility_bps=event.volatility_bps,
            adv_usd=event.adv_usd or (known.adv_usd if known else None),
            reference=known.reference if known else mid,
            bucket_start=known.bucket_start if known else mid,
        )
        return ""

    def begin_bucket(self, slot: int, keep: int) -> None:
        """A new interval: slippage counts from here; what is too old is forgotten."""
        for quote in self.quotes.values():
            quote.bucket_start = quote.mid
        for old in [number for number in self.buckets if number <= slot - keep]:
            del self.buckets[old]
        if len(self.fills) > 0:
            self.fills = {k: row for k, row in self.fills.items() if row.bucket > slot - keep}

    def begin_session(self, at: datetime) -> None:
        """A new day: parents that need nothing or are over are gone, and so is what was traded."""
        self.orders = {
            k: order
            for k, order in self.orders.items()
            if not self.done(order) and (order.told.deadline > at or abs(order.outstanding) > SAME)
        }
        self.buckets, self.fills, self.traded_usd = {}, {}, 0.0
        for quote in self.quotes.values():
            quote.reference = quote.mid

    # -- orders ------------------------------------------------------------------------------------

    def parent(self, event: ParentOrder) -> str:
        """A new or amended parent; the reason where it is refused."""
        if event.quantity == 0:
            return f"parent {event.id} is of 0 shares"
        known = self.orders.get(event.id)
        if known is None:
            clash = next((o for o in self.orders.values() if self._against(o, event)), None)
            if clash is not None:
                return f"parents {clash.told.id} and {event.id} trade {event.symbol} both ways"
            self.orders[event.id] = Order(event)
            return ""
        if known.told.symbol != event.symbol or known.told.quantity * event.quantity < 0:
            return f"parent {event.id} was of {known.told.quantity:+g} {known.told.symbol}"
        if known.cancelled:
            return f"parent {event.id} was cancelled"
        known.told = event
        return ""

    def _against(self, order: Order, event: ParentOrder) -> bool:
        return (
            order.told.symbol == event.symbol
            and order.told.quantity * event.quantity < 0
            and not self.done(order)
        )

    def done(self, order: Order) -> bool:
        """Whether a parent needs nothing any more."""
        left = order.sign * (order.told.quantity - order.filled)
        return abs(order.outstanding) <= SAME and (order.cancelled or left <= SAME)

    def state_of(self, event: OrderState) -> str:
        """What the order system says of a parent's working orders."""
        order = self.orders.get(event.parent)
        if order is None:
            return f"order of the unknown parent {event.parent}"
        if event.status in TERMINAL:
            order.outstanding = 0.0
        elif event.leaves is not None:
            order.outstanding = order.sign * max(order.sign * event.leaves, 0.0)
        return ""

    def snapshot(self, event: Snapshot) -> str:
        """The order system's word, which wins; unknown parents in it are told."""
        unknown = sorted({*event.filled, *event.working} - self.orders.keys())
        symbols = set()
        for name, filled in event.filled.items():
            if (order := self.orders.get(name)) is not None:
                order.outstanding = order.target - filled
                order.filled = filled
                order.outstanding = order.sign * max(order.sign * order.outstanding, 0.0)
                symbols.add(order.told.symbol)
        for name, working in event.working.items():
            if (order := self.orders.get(name)) is not None and working is not None:
                order.outstanding = working
        for symbol in symbols:
            open_ = [o for o in self.orders.values() if o.told.symbol == symbol]
            if all(o.told.id in event.filled or self.done(o) for o in open_):
                self.unreconciled.pop(symbol, None)
        for symbol, last in event.venue_seq.items():
            self.venue_seq[symbol] = last
            self.unreconciled.pop(symbol, None)
        self._settle_orphans(event)
        return f"snapshot of unknown parents: {', '.join(unknown[:3])}" if unknown else ""

    def _settle_orphans(self, event: Snapshot) -> None:
        """Names without an order are settled by a snapshot of all that is open."""
        open_ = [order for order in self.orders.values() if not self.done(order)]
        if all(order.told.id in event.filled for order in open_):
            wanted = {order.told.symbol for order in open_}
            self.unreconciled = {k: v for k, v in self.unreconciled.items() if k in wanted}

    # -- fills -------------------------------------------------------------------------------------

    def fill(self, event: Fill) -> str:
        """Book a fill, a correction or a bust; the reason where it does not add up."""
        if event.id in self.fills or (event.kind == "new" and event.quantity == 0):
            return f"fill {event.id} is there already, or of 0 shares"
        gap = self._gap(event)
        order = self.orders.get(event.parent)
        if order is None or order.told.symbol != event.symbol:  # the name whose fill it may be
            of = event.symbol if order is None else order.told.symbol
            self.unreconciled[of] = (
                f"fill {event.id} of the unknown order {event.parent} in {event.symbol}"
            )
            return self.unreconciled[of]
        if event.kind != "new":
            before = self.fills.get(event.ref or "")
            if before is None or before.fill.parent != event.parent:
                self.unreconciled[event.symbol] = f"{event.kind} of the unknown fill {event.ref}"
                return self.unreconciled[event.symbol]
            self._book(order, before, -1.0)
            del self.fills[before.fill.id]
        if event.kind != "bust":
            quote = self.quotes.get(event.symbol)
            start = quote.bucket_start if quote else event.price
            paid = event.quantity * (event.price - start)
            booked = Booked(event, self.slot(event.at), paid)
            self._book(order, booked, 1.0)
            self.fills[event.id] = booked
        return self._mismatch(order, event) or gap

    def _gap(self, event: Fill) -> str:
        """Fills of a name are counted without gaps by whoever sends them."""
        if event.venue_seq is None:
            return ""
        due = self.venue_seq.get(event.symbol, event.venue_seq - 1) + 1
        self.venue_seq[event.symbol] = max(event.venue_seq, due - 1)
        if event.venue_seq <= due:
            return ""
        why = f"fills {due} to {event.venue_seq - 1} of {event.symbol} are missing"
        self.unreconciled[event.symbol] = why
        return why

    def _mismatch(self, order: Order, event: Fill) -> str:
        """The parent's own count against ours; the larger fill is believed until a snapshot."""
        why = ""
        if event.cumulative is not None and abs(event.cumulative - order.filled) > SAME:
            why = f"parent {event.parent} is filled {order.filled:g}, told {event.cumulative:g}"
            if order.sign * event.cumulative > order.sign * order.filled:
                missing = event.cumulative - order.filled
                order.filled = event.cumulative
                self._use(order, missing)
        elif order.overfilled:
            why = (
                f"parent {event.parent} is overfilled: {order.filled:g} of {order.told.quantity:g}"
            )
        if why:
            self.unreconciled[event.symbol] = why
        return why

    def _book(self, order: Order, booked: Booked, times: float) -> None:
        fill, signed = booked.fill, times * booked.fill.quantity
        order.filled += signed
        self._use(order, signed)
        row = self.buckets.setdefault(booked.bucket, Bucket())
        row.shares[fill.symbol] += signed
        row.slippage_usd += times * booked.slippage_usd
        self.traded_usd += times * abs(fill.quantity) * fill.price

    def _use(self, order: Order, filled: float) -> None:
        """What is filled is at the market no longer; a bust is not back there by itself."""
        if filled * order.sign > 0:
            rest = order.sign * order.outstanding - abs(filled)
            order.outstanding = order.sign * max(rest, 0.0)

    # -- sums --------------------------------------------------------------------------------------

    def working(self) -> dict[str, float]:
        """At the market by name, signed shares."""
        result: dict[str, float] = defaultdict(float)
        for order in self.orders.values():
            result[order.told.symbol] += order.outstanding
        return result

    def used_usd(self) -> float:
        """Traded and at the market, both sides."""
        mids = {symbol: quote.mid for symbol, quote in self.quotes.items()}
        there = (
            abs(order.outstanding) * mids.get(order.told.symbol, 0.0)
            for order in self.orders.values()
        )
        return self.traded_usd + sum(there)

    def outstanding(self) -> dict[str, float]:
        """Parents with something not known to be terminal."""
        return {k: o.outstanding for k, o in self.orders.items() if abs(o.outstanding) > SAME}
