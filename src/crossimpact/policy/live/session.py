"""A live session: events in any order, decisions out; the same events give the same decisions.

Events are held back for `REORDER` of event time (or until a clock says that nothing more arrived)
and applied in the order of their time, source and number, so that the order in which they arrive
within it does not matter. What must not be lost (fills, orders, parents) counts however late it is.
A trigger makes a decision at its own moment, several at one moment make one. See docs/live.md.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import msgspec
import numpy as np

from crossimpact.cost_indices import BURN_BUCKETS, session_pressure
from crossimpact.errors import CrossImpactError
from crossimpact.ladder import RUNGS
from crossimpact.model import ImpactModel
from crossimpact.policy import guardrails, limits
from crossimpact.policy.guardrails import Memory, Reading
from crossimpact.policy.limits import LimitMemory, Limits, Order, Refusal
from crossimpact.policy.live import book as booked
from crossimpact.policy.live.book import SAME, Book, Quote
from crossimpact.policy.live.decision import (
    Decision,
    ParentTarget,
    Recorded,
    identity,
    inputs_digest,
)
from crossimpact.policy.live.events import (
    LEVELS,
    MODES,
    Cancel,
    Clock,
    Control,
    Event,
    Fill,
    Heartbeat,
    Level,
    LimitsChange,
    Market,
    Mode,
    ModeChange,
    OrderState,
    ParentOrder,
    Regime,
    Snapshot,
    Status,
    Swap,
)
from crossimpact.policy.schedule import Scheduler
from crossimpact.policy.scheduling import desk as desks
from crossimpact.policy.state import (
    Allowance,
    Caps,
    DeskState,
    Flow,
    GuardrailState,
    Name,
    Parent,
    Plan,
    PolicyName,
    Risk,
    Style,
)
from crossimpact.release.bundle import UNKNOWN, Answer, Release
from crossimpact.release.content import Guardrail, Hold
from crossimpact.release.policy import DEFAULT
from crossimpact.scaled import Array

#: How long an event waits for others of an earlier time.
REORDER = timedelta(milliseconds=500)
#: A silence after which another day begins.
BREAK = timedelta(hours=4)
#: Decisions of one session are at least so far apart, but for levels and cancels.
SPACING = timedelta(seconds=1)
#: Intervals of own flow that a plan is told of.
KEEP_BUCKETS = 96
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: What counts however late it comes.
NEVER_LATE = (Fill, OrderState, Snapshot, ParentOrder, Cancel)
URGENT = (Control, Clock, Swap, ModeChange, LimitsChange)


@dataclass(frozen=True)
class Settings:
    """How a session decides.

    Attributes
    ----------
    name
        Of the session, part of every decision's id.
    every_min
        A plan at least so often, minutes of event time.
    interval_min, horizon
        As of the scheduler; the interval is the release's bucket.
    stale_s
        Seconds of event time after which a name's quote is stale.
    reading_s
        Seconds of event time between readings of the guardrails.
    allowed
        What a guardrail state allows, where the desk decides otherwise.
    """

    name: str
    limits: Limits
    policy: PolicyName = "optimal"
    every_min: float = 5.0
    interval_min: float = 5.0
    horizon: int = 12
    stale_s: float = 30.0
    reading_s: float = 60.0
    caps: Caps = field(default_factory=Caps)
    risk: Risk = field(default_factory=Risk)
    allowed: dict[GuardrailState, Allowance] = field(default_factory=dict)


class Skipped(NamedTuple):
    """An event that changed nothing, and why."""

    at: datetime
    why: str


class Session:
    """The state of a session; `apply` is its only way on.

    Parameters
    ----------
    releases
        A release by digest. The loop has resolved it before it says so.
    level, mode
        With which it begins.
    """

    def __init__(
        self,
        settings: Settings,
        releases: Callable[[str], Release],
        *,
        level: Level = "RUN",
        mode: Mode = "advisory",
    ) -> None:
        self.settings, self._releases = settings, releases
        self.level, self.mode, self.limits = level, mode, settings.limits
        self.control: Control | None = None  # the last one that counted
        self.book = Book(settings.interval_min)
        self.regime, self.guardrail = UNKNOWN, Memory()
        self.reading = Reading(None, None, 0.0, 0.0, False)
        self.now, self._newest, self.seq = EPOCH, EPOCH, 0
        self.release: Release | None = None
        self.no_release, self._fixed_pov = "no release yet", DEFAULT.release.fixed_pov
        self.skipped: list[Skipped] = []
        self.changes: list[guardrails.Change] = []
        self._pending: list[tuple[datetime, str, int, int, Event]] = []
        self._arrived, self._slot = 0, 0
        self._ahead: Event | None = None
        self._seen: dict[str, Seen] = {}
        self._triggers: dict[str, None] = {}
        self._due: datetime | None = None
        self._last = EPOCH
        self._next_plan = self._next_reading = EPOCH
        self._memory = LimitMemory()
        self._burn: list[tuple[float, float]] = []
        self._scheduler = Scheduler()
        self._ages = (0.0, 0.0)
        self._stale: set[str] = set()

    # -- in ----------------------------------------------------------------------------------------

    def seen(self, source: str, seq: int) -> bool:
        """Whether the event of that number came already."""
        return seq >= 0 and source in self._seen and seq in self._seen[source]

    def apply(self, event: Event) -> list[Recorded]:
        """Take an event; the decisions it leads to, in order."""
        self.skipped.clear()
        self.changes.clear()
        if event.seq >= 0:
            if event.seq in self._seen.setdefault(event.source, Seen()):
                self._skip(event.at, f"duplicate {event.seq} of {event.source}")
                return []
            self._seen[event.source].add(event.seq)
        if isinstance(event, URGENT):
            return [*self._urgent(event)]
        for known in self._confirmed(event):
            self._arrived += 1
            row = (known.at, known.source, known.seq, self._arrived, known)
            heapq.heappush(self._pending, row)
            self._newest = max(self._newest, known.at)
        return [*self._until(self._newest - REORDER)]

    def _confirmed(self, event: Event) -> list[Event]:
        """A clock that jumps ahead by more than a break is believed when a second event says so:
        one event with a wrong date must not end the day."""
        ahead, self._ahead = self._ahead, None
        if self._newest != EPOCH and event.at - self._newest > BREAK:
            if ahead is not None and abs(event.at - ahead.at) < BREAK:
                return [ahead, event]
            self._ahead = event
            return self._as_of_now(ahead)
        return [*self._as_of_now(ahead), event]

    def _as_of_now(self, event: Event | None) -> list[Event]:
        """What a wrong clock leaves of an event: what must not be lost."""
        if event is None:
            return []
        self._skip(event.at, "far ahead of all others, which no second event confirms")
        kept = isinstance(event, NEVER_LATE)
        return [msgspec.structs.replace(event, at=self._newest)] if kept else []

    @property
    def waiting(self) -> bool:
        """Whether something that arrived is not applied yet: a clock would move it on."""
        return bool(self._pending) or self._due is not None

    def wants_clock(self, data_age_s: float, model_age_days: float) -> bool:
        """Whether the ages have come to say something else than the last time."""
        was, levels = self._ages, self._levels()
        told = [
            [guardrails.colour(levels, Reading(None, None, *ages, False), name)
             for name in ("data_age_s", "model_age_days")]
            for ages in (was, (data_age_s, model_age_days))
        ]  # fmt: skip
        return self.waiting or told[0] != told[1]

    def _until(self, mark: datetime) -> Iterator[Recorded]:
        """Apply what lies up to `mark`, in order, plans and readings in between."""
        while True:
            event_at = self._pending[0][0] if self._pending else None
            timer = self._timer()
            if event_at is not None and self.now != EPOCH and event_at - self.now >= BREAK:
                timer = None  # nothing is due between two days
            if timer is not None and timer <= mark and (event_at is None or timer < event_at):
                yield from self._on_timer(timer)
            elif event_at is not None and event_at <= mark:
                self._take(heapq.heappop(self._pending)[-1])
            else:
                return

    def _timer(self) -> datetime | None:
        """The next moment at which something is due by itself."""
        if self.now == EPOCH:
            return None
        return min(filter(None, (self._due, self._next_plan, self._next_reading)))

    def _on_timer(self, at: datetime) -> Iterator[Recorded]:
        self.now = max(self.now, at)
        if at >= self._next_reading:
            self._read(closes=self._roll())
        if at >= self._next_plan:
            self._next_plan = _after(at, 60 * self.settings.every_min)
            self._trigger("timer")
        if self._due is not None and at >= self._due:
            yield self._decide()

    # -- events ------------------------------------------------------------------------------------

    def _take(self, event: Event) -> None:
        late = event.at < self.now
        if late and not isinstance(event, NEVER_LATE):
            self._skip(event.at, f"late by {(self.now - event.at).total_seconds():.3f} s")
            return
        self._advance(event.at)
        if why := self._dispatch(event):
            self._skip(event.at, why)

    def _advance(self, at: datetime) -> None:
        """Event time goes on, never back."""
        if self.now != EPOCH and at - self.now < BREAK:
            self.now = max(self.now, at)
            return
        if self.now == EPOCH or at > self.now:
            if self.now != EPOCH:
                self.book.begin_session(at)
                self._burn.clear()
                self._triggers, self._due = {}, None
            self.now = at
            self._next_reading = _after(at, self.settings.reading_s)
            self._next_plan = _after(at, 60 * self.settings.every_min)
            self._slot = self.book.slot(at)

    def _dispatch(self, event: Event) -> str:
        """Apply an event whose time has come; the reason where it changes nothing."""
        match event:
            case Market():
                return self._quoted(event)
            case Status():
                return self._status(event)
            case Regime():
                if event.regime != self.regime:
                    self.regime = event.regime
                    self._trigger(f"regime {event.regime}")
                return ""
            case ParentOrder():
                why = self.book.parent(event)
                if not why:
                    self._trigger(f"parent {event.id}")
                return why
            case Cancel():
                return self._cancel(event)
            case Fill():
                return self._filled(event)
            case OrderState():
                return self.book.state_of(event)
            case Snapshot():
                before = set(self.book.unreconciled)
                why = self.book.snapshot(event)
                for symbol in sorted(before - set(self.book.unreconciled)):
                    self._trigger(f"reconciled {symbol}")
                return why
            case Heartbeat():
                return ""
        raise TypeError(f"{type(event).__name__} is no event of a feed")

    def _quoted(self, event: Market) -> str:
        why = self.book.quote(event)
        quote = self.book.quotes.get(event.symbol)
        bad = bool(why) and quote is not None and bool(quote.bad)
        if bad and event.symbol not in self._stale:
            self._stale.add(event.symbol)
            self._trigger(f"stale {event.symbol}")
        elif not why and event.symbol in self._stale:
            self._stale.discard(event.symbol)
            self._trigger(f"fresh {event.symbol}")
        return why

    def _status(self, event: Status) -> str:
        if self.book.status.get(event.symbol, "trading") != event.status:
            self.book.status[event.symbol] = event.status
            self._trigger(f"{event.status} {event.symbol}")
        return ""

    def _cancel(self, event: Cancel) -> str:
        order = self.book.orders.get(event.parent)
        if order is None or order.cancelled:
            return f"cancel of the unknown or cancelled parent {event.parent}"
        order.cancelled = True
        self._trigger(f"cancel {event.parent}", at_once=True)
        return ""

    def _filled(self, event: Fill) -> str:
        known = event.symbol in self.book.unreconciled
        why = self.book.fill(event)
        if event.symbol in self.book.unreconciled and not known:
            self._trigger(f"unreconciled {event.symbol}")
            self._read(closes=False)
        return why

    def _skip(self, at: datetime, why: str) -> None:
        self.skipped.append(Skipped(at, why))

    def _trigger(self, why: str, *, at_once: bool = False) -> None:
        self._triggers[why] = None
        earliest = self.now if at_once else max(self.now, self._last + SPACING)
        self._due = min(self._due, earliest) if self._due else earliest

    # -- from the loop itself ----------------------------------------------------------------------

    def _urgent(self, event: Event) -> Iterator[Recorded]:
        """What does not wait for event time."""
        match event:
            case Clock():
                self._ages = (event.data_age_s, event.model_age_days)
                yield from self._until(self._newest)
                self._read(closes=False)
                if self._due is not None:
                    yield self._decide()
            case Swap():
                self._swap(event)
            case Control():
                yield from self._control(event)
            case ModeChange():
                self._mode(event)
            case LimitsChange():
                self.limits, waits = limits.lowered(self.limits, event.limits)
                if waits:
                    self._skip(event.at, f"{', '.join(waits)} raised: that needs a restart")

    def _swap(self, event: Swap) -> None:
        self.no_release, self._fixed_pov = event.reason, event.fixed_pov
        before = self.release and (self.release.digest, self.release.held)
        if event.digest:
            held = {
                regime: Hold(next(r for r in RUNGS if r == hold.rung), hold.reason)
                for regime, hold in event.held.items()
            }
            self.release = replace(self._releases(event.digest), held=held)
        else:
            self.release = None
        if before != (self.release and (self.release.digest, self.release.held)):
            self._trigger(f"release {event.digest[:12] or 'none'}")

    def _control(self, event: Control) -> Iterator[Recorded]:
        """Levels are latched: only a person's RUN, with a reason, takes one back."""
        if event.level == "RUN":
            if not (event.who.strip() and event.reason.strip()):
                self._skip(event.at, "a reset needs a name and a reason")
                return
            self._memory = self._memory.reviewed()
            self.level = "RUN"
            self._trigger(f"reset by {event.who}: {event.reason}", at_once=True)
        elif LEVELS.index(event.level) > LEVELS.index(self.level):
            self.level = event.level
            if event.level in ("CANCEL", "KILL"):
                self.mode = "advisory"
            self._trigger(f"{event.level} by {event.who}: {event.reason}", at_once=True)
        else:
            self._skip(event.at, f"{event.level}: {self.level} is latched")
            return
        self.control = event
        if self.now == EPOCH:
            self._advance(event.at)
        yield self._decide()

    def _mode(self, event: ModeChange) -> None:
        up = MODES.index(event.to) - MODES.index(self.mode)
        if up > 0 and not (event.who.strip() and event.evidence.strip()):
            self._skip(event.at, f"{self.mode} to {event.to} needs a person and evidence")
            return
        if up > 0 and self.level != "RUN":
            self._skip(event.at, f"{event.to} while {self.level} is latched")
            return
        self.mode = event.to
        self._trigger(f"mode {event.to}")

    # -- guardrails --------------------------------------------------------------------------------

    def answer(self) -> Answer:
        """Who answers for the regime now: that regime's own rung, never another's numbers."""
        if self.release is not None:
            return self.release.model_for(self.regime)
        return Answer(None, "fixed_pov", self.no_release, self._fixed_pov)

    def _levels(self) -> dict[str, Guardrail]:
        rows = dict(self.release.guardrails.get(self.regime, {})) if self.release else {}
        model = self.answer().model
        return dict(guardrails.without_couplings(rows)) if model and not model.edges else rows

    def _roll(self) -> bool:
        """Whether an interval has ended with the reading that is due; then the next one begins."""
        self._next_reading = _after(self.now, self.settings.reading_s)
        return self.book.slot(self.now) != self._slot

    def _read(self, *, closes: bool) -> None:
        model = self.answer().model
        slot = self._slot if self.now != EPOCH else 0
        cpi = self._pressure(model, slot) if model is not None else None
        burn = self._burned(model, slot) if model is not None else None
        self.reading = Reading(cpi, burn, *self._ages, closes, len(self.book.unreconciled))
        self.guardrail, changes = guardrails.step(self._levels(), self.guardrail, self.reading)
        for change in changes:
            self.changes.append(change)
            self._trigger(f"guardrail {change.before} to {change.after}: {change.why}")
        if closes:
            self._close(model, slot)
        for symbol in sorted(self.book.quotes):
            if self._quiet(self.book.quotes[symbol]) and symbol not in self._stale:
                self._stale.add(symbol)
                self._trigger(f"stale {symbol}")

    def _close(self, model: ImpactModel | None, slot: int) -> None:
        realized, budget = self._spent(model, slot) if model is not None else (0.0, 0.0)
        self._burn = [*self._burn, (realized, budget)][-(BURN_BUCKETS - 1) :]
        self._slot = self.book.slot(self.now)
        self.book.begin_bucket(self._slot, KEEP_BUCKETS)

    def _flows(self, model: ImpactModel, first: int, last: int) -> Array:
        """Own flow of intervals as ADV fractions, shape (intervals, n)."""
        place = {symbol: i for i, symbol in enumerate(model.symbols)}
        q = np.zeros((last - first + 1, model.n))
        for slot in range(first, last + 1):
            if (bucket := self.book.buckets.get(slot)) is None:
                continue
            for symbol, shares in bucket.shares.items():
                if symbol in place and symbol in self.book.quotes:
                    i = place[symbol]
                    q[slot - first, i] = shares * self.book.quotes[symbol].mid / model.adv[i]
        return q

    def _pressure(self, model: ImpactModel, slot: int) -> float | None:
        if slot not in self.book.buckets:
            return None
        first = min(self.book.buckets) if model.kernel is not None else slot
        value = float(session_pressure(model, self._flows(model, first, slot))[-1])
        return value if np.isfinite(value) else None

    def _spent(self, model: ImpactModel, slot: int) -> tuple[float, float]:
        """Slippage and expected cost of an interval, USD."""
        if slot not in self.book.buckets:
            return 0.0, 0.0
        budget = float(model.cost(self._flows(model, slot, slot)[0]).total)
        return self.book.buckets[slot].slippage_usd, budget

    def _burned(self, model: ImpactModel, slot: int) -> float | None:
        rows = [*self._burn, self._spent(model, slot)]
        realized, budget = (sum(row[k] for row in rows) for k in (0, 1))
        return realized / budget if budget > 0 else None

    # -- deciding ----------------------------------------------------------------------------------

    def _quiet(self, quote: Quote) -> bool:
        return (self.now - quote.at).total_seconds() > self.settings.stale_s

    def desk(self) -> DeskState:
        """The desk as the scheduler is told it."""
        working = self.book.working()
        parents = [order for order in self.book.orders.values() if not self._over(order.told.id)]
        wanted = {order.told.symbol for order in parents}
        names = tuple(
            self._name(symbol, quote, working.get(symbol, 0.0))
            for symbol, quote in sorted(self.book.quotes.items())
            if symbol in wanted or self._traded(symbol)
        )
        priced = {name.symbol for name in names}
        state = self.guardrail.name
        return DeskState(
            at=self.now,
            regime=self.regime,
            names=names,
            parents=tuple(
                self._parent(o.told, o.filled) for o in parents if o.told.symbol in priced
            ),
            interval_min=self.settings.interval_min,
            horizon=self.settings.horizon,
            caps=self.settings.caps,
            risk=self.settings.risk,
            guardrail=state,
            allowance=self.settings.allowed.get(state),
        )

    def _over(self, parent: str) -> bool:
        order = self.book.orders[parent]
        return order.cancelled or self.book.done(order)

    def _traded(self, symbol: str) -> bool:
        return any(symbol in bucket.shares for bucket in self.book.buckets.values())

    def _name(self, symbol: str, quote: Quote, working: float) -> Name:
        known = self.book.status.get(symbol, "trading")
        stale = bool(quote.bad) or self._quiet(quote) or symbol in self.book.unreconciled
        end = 60 * self.settings.interval_min
        flow = tuple(
            Flow(max(0.0, (self.now.timestamp() - (slot + 1) * end) / 60), bucket.shares[symbol])
            for slot, bucket in sorted(self.book.buckets.items())
            if bucket.shares.get(symbol)
        )
        return Name(
            symbol, quote.mid, quote.spread_bps, quote.volume, working, known != "trading", stale,
            quote.volatility_bps, flow,
        )  # fmt: skip

    def _parent(self, told: ParentOrder, filled: float) -> Parent:
        left = max(0.0, (told.deadline - self.now).total_seconds() / 60)
        return Parent(
            told.id, told.symbol, told.quantity, left, filled, told.alpha_bps,
            told.alpha_half_life_min, told.critical,
        )  # fmt: skip

    def _decide(self) -> Recorded:
        triggers = tuple(self._triggers)
        self._triggers, self._due, self._last = {}, None, self.now
        answer = self.answer()
        state: DeskState | None = None
        plan: Plan | None = None
        refusals: tuple[Refusal, ...] = ()
        styles: dict[str, Style] = {}
        why = ""
        if self.level == "RUN":
            state = self.desk()
            try:
                plan = self._scheduler.plan(
                    answer, state, self.settings.policy,
                    release=self.release.digest if self.release else "",
                )  # fmt: skip
                refusals = self._ask(state, plan)
                styles = {child.symbol: child.style for child in plan.children}
                why = plan.why
            except (CrossImpactError, ValueError, ArithmeticError) as error:
                why = f"no plan, the last targets stand: {error}"
        self.seq += 1
        inputs = inputs_digest(state)
        digest = self.release.digest if self.release else ""
        name = self.guardrail.name
        decision = Decision(
            id=identity(self.settings.name, digest, name, inputs, self.seq),
            seq=self.seq,
            at=self.now,
            session=self.settings.name,
            release=digest,
            regime=self.regime,
            rung=plan.rung if plan else answer.rung,
            answered=plan.answered if plan else "nobody",
            mode=self.mode,
            level=self.level,
            guardrail=name,
            triggers=triggers,
            targets=tuple(
                self._asked(order, styles.get(order.told.symbol, "passive"))
                for order in self.book.orders.values()
            ),
            refusals=tuple(map(str, refusals)),
            outstanding=self.book.outstanding(),
            why=why,
            inputs=inputs,
        )
        for quote in self.book.quotes.values():
            quote.reference = quote.mid
        return Recorded(decision, state, plan)

    def _asked(self, order: booked.Order, style: Style) -> ParentTarget:
        stopped = order.cancelled or self.level in ("CANCEL", "KILL")
        target = order.filled if stopped else order.target
        return ParentTarget(order.told.id, order.told.symbol, target, style)

    def _ask(self, state: DeskState, plan: Plan) -> tuple[Refusal, ...]:
        """Raise the targets of what hard limits let through."""
        children = sorted(
            (child for child in plan.children if child.quantity),
            key=lambda child: (-(child.efficiency or 0.0), child.symbol),
        )
        orders = [self._order(c.symbol, c.quantity, c.participation) for c in children]
        at_ms = self.now.timestamp() * 1e3
        allowed, refused, self._memory = limits.check(
            self.limits, self._memory, orders, at_ms, self.book.used_usd()
        )
        if any(row.symbol == "" for row in refused):
            self.level, self.mode = "PAUSE", "advisory"
        passed = {order.symbol for order in allowed}
        used = desks.of(state).used
        for target in plan.targets:
            order = self.book.orders[target.parent]
            if target.symbol not in passed or not target.cumulative:
                continue
            there = order.sign * used.get(target.parent, 0.0)
            more = order.sign * (target.cumulative[0] - order.filled - there)
            left = order.sign * (order.told.quantity - order.target)
            if (asked := min(more, left)) > SAME:
                order.outstanding += order.sign * asked
        return refused

    def _order(self, symbol: str, quantity: float, participation: float) -> Order:
        quote = self.book.quotes[symbol]
        return Order(
            symbol, quantity, quote.mid, quote.reference, quote.adv_usd or self._adv(symbol),
            participation,
        )  # fmt: skip

    def _adv(self, symbol: str) -> float | None:
        for model in self.release.models.values() if self.release else ():
            if symbol in model.symbols:
                return float(model.adv[model.symbols.index(symbol)])
        return None


class Seen:
    """Numbers that came: all up to one, and the few beyond it."""

    def __init__(self) -> None:
        self._all, self._beyond = -1, set[int]()

    def __contains__(self, number: int) -> bool:
        return number <= self._all or number in self._beyond

    def add(self, number: int) -> None:
        self._beyond.add(number)
        while self._all + 1 in self._beyond:
            self._all += 1
            self._beyond.remove(self._all)


def _after(at: datetime, period_s: float) -> datetime:
    """The next multiple of a period, after `at`."""
    return EPOCH + timedelta(seconds=period_s * (at.timestamp() // period_s + 1))
