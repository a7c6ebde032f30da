"""A desk's state as arrays: names of the market, and lines, the parent orders that may trade.

Money is USD at mid. A line is a parent with its sign taken out: what it trades is >= 0. Quantity at
the market counts as traded: it is taken off the parents it belongs to (the earliest deadline
first), and it uses up room under the caps of the first interval.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from crossimpact.errors import ProblemError
from crossimpact.policy.state import DeskState, Name, Parent
from crossimpact.scaled import BPS, Array

Index = NDArray[np.intp]
Flags = NDArray[np.bool_]
#: Shares below this part of an order are rounding.
DUST = 1e-9


@dataclass(frozen=True)
class Market:
    """The names of a state, n of them.

    Attributes
    ----------
    symbols, sectors
        Sectors are those of the model; of names it does not know ''.
    mid
        USD, shape (n,).
    half_spread
        USD per USD, shape (n,).
    volume
        The market's, USD per interval, shape (n, H); 0 where it is not known.
    working
        At the market, signed USD, shape (n,).
    volatility
        Of an interval, as a fraction, shape (n,).
    shut
        Why a name may not trade; '' when it may.
    flow
        Per past fill: name, minutes since its interval ended, signed USD.
    """

    symbols: tuple[str, ...]
    sectors: tuple[str, ...]
    mid: Array
    half_spread: Array
    volume: Array
    working: Array
    volatility: Array
    shut: tuple[str, ...]
    flow: tuple[Index, Array, Array]

    @cached_property
    def by_sector(self) -> tuple[tuple[str, ...], Index]:
        """The sectors in order, and each name's position among them, shape (n,)."""
        labels = tuple(sorted(set(self.sectors)))
        place = {label: k for k, label in enumerate(labels)}
        return labels, np.array([place[label] for label in self.sectors], dtype=np.intp)


@dataclass(frozen=True)
class Lines:
    """Parents with something left to trade, P of them.

    Attributes
    ----------
    parents
        As in the state.
    name
        Whose, positions in the market, shape (P,).
    sign
        +1 buys, -1 sells, shape (P,).
    remaining
        To trade beside what is at the market, USD >= 0, shape (P,).
    intervals
        Until its deadline, counting one that begins before it, shape (P,).
    alpha
        What a USD traded in each interval of the horizon captures, as a fraction, shape (P, H).
    later
        The same on average over its intervals after the horizon, at the deadline when there is
        none, shape (P,).
    waiting
        Alpha forgone by trading in its later intervals instead of the first, shape (P,).
    """

    parents: tuple[Parent, ...]
    name: Index
    sign: Array
    remaining: Array
    intervals: Index
    alpha: Array
    later: Array
    waiting: Array

    def __len__(self) -> int:
        return len(self.parents)

    @cached_property
    def one_a_name(self) -> bool:
        """Whether no name has several."""
        return len(set(self.name.tolist())) == len(self.name)


@dataclass(frozen=True)
class Desk:
    """State, market and lines; `used` is what is at the market per parent, shares >= 0, and `held`
    why a parent is no line."""

    state: DeskState
    market: Market
    lines: Lines
    used: Mapping[str, float]
    held: Mapping[str, str]

    @property
    def shape(self) -> tuple[int, int]:
        """Lines and intervals."""
        return len(self.lines), self.state.horizon


def of(state: DeskState, sectors: Mapping[str, str] | None = None) -> Desk:
    """The state as arrays; `sectors` of the names the model knows, by symbol, None: no model.

    Raises
    ------
    ProblemError
        On a number that is not finite, naming it.
    """
    market = _market(state, sectors)
    place = {symbol: i for i, symbol in enumerate(market.symbols)}
    used = _used(state)
    held: dict[str, str] = {}
    open_: list[Parent] = []
    for parent in state.parents:
        why = _why_not(state, parent, market.shut[place[parent.symbol]], used.get(parent.id, 0.0))
        if why:
            held[parent.id] = why
        else:
            open_.append(parent)
    _check_sides(open_)
    return Desk(state, market, _lines(state, open_, place, market.mid, used), used, held)


def left(parent: Parent, used: float = 0.0) -> float:
    """Shares >= 0 a parent has still to trade, beside `used` at the market."""
    sign = math.copysign(1.0, parent.quantity)
    size = abs(parent.quantity) - sign * parent.filled - used
    return size if size > DUST * abs(parent.quantity) else 0.0


def _market(state: DeskState, sectors: Mapping[str, str] | None) -> Market:
    names, H = state.names, state.horizon
    mid = _finite("mid", names, [name.mid for name in names])
    volume = _volumes(names, H)
    _finite("volume", names, volume.min(axis=1, initial=0.0))
    fills = [(i, flow.age_min, flow.quantity) for i, n in enumerate(names) for flow in n.flow]
    at = np.array([i for i, _, _ in fills], dtype=np.intp)
    size = np.array([quantity for *_, quantity in fills]) * mid[at] if fills else np.zeros(0)
    return Market(
        symbols=tuple(name.symbol for name in names),
        sectors=tuple((sectors or {}).get(name.symbol, "") for name in names),
        mid=mid,
        half_spread=_finite("spread_bps", names, [n.spread_bps for n in names]) * BPS / 2,
        volume=volume * mid[:, None],
        working=_finite("working", names, [name.working for name in names]) * mid,
        volatility=_finite("volatility_bps", names, [n.volatility_bps for n in names]) * BPS,
        shut=tuple(_shut(name, known=sectors is None or name.symbol in sectors) for name in names),
        flow=(at, np.array([age for _, age, _ in fills]), size),
    )


def _volumes(names: Sequence[Name], horizon: int) -> Array:
    """Shares per interval, shape (n, H); 0 where it is not known."""
    given = [0.0 if name.volume is None else name.volume for name in names]
    result = np.zeros((len(names), horizon))
    result[:] = np.array([0.0 if isinstance(each, tuple) else each for each in given])[:, None]
    for i, each in enumerate(given):
        if isinstance(each, tuple):
            result[i] = each
    return result


def _finite(what: str, names: Sequence[Name], values: Sequence[float] | Array) -> Array:
    result = np.array(values, dtype=np.float64)
    if not np.isfinite(result).all():
        i = int(np.argmin(np.isfinite(result)))
        raise ProblemError(f"{what} of {names[i].symbol} is {result[i]}, must be finite")
    return result


def _shut(name: Name, *, known: bool) -> str:
    """Why a name may not trade; '' when it may."""
    if not known:
        return "not a name of the model"
    if name.halted:
        return "halted"
    if name.stale:
        return "stale data"
    if name.spread_bps < 0:
        return f"crossed quotes: spread {name.spread_bps:g} bps"
    if name.volume is None:
        return "market volume not known"
    if not (any(name.volume) if isinstance(name.volume, tuple) else name.volume):
        return "no market volume"
    return ""


def _why_not(state: DeskState, parent: Parent, shut: str, used: float) -> str:
    """Why a parent is not traded now; '' when it is."""
    if shut:
        return shut
    if not left(parent, used):
        over = parent.filled * parent.quantity > parent.quantity**2 * (1 + DUST)
        return "overfilled" if over else "nothing left to trade"
    if parent.deadline_min <= 0:
        return "past its deadline"
    return ""


def _used(state: DeskState) -> dict[str, float]:
    """What is at the market by parent, shares >= 0: the earliest deadline first."""
    result: dict[str, float] = {}
    working = {name.symbol: name.working for name in state.names if name.working}
    for parent in sorted(state.parents, key=lambda parent: (parent.deadline_min, parent.id)):
        there = working.get(parent.symbol, 0.0)
        if there * parent.quantity > 0:
            taken = min(abs(there), left(parent))
            result[parent.id] = taken
            working[parent.symbol] = math.copysign(abs(there) - taken, there)
    return result


def _check_sides(parents: Sequence[Parent]) -> None:
    """A desk does not trade against itself."""
    side: dict[str, Parent] = {}
    for parent in parents:
        other = side.setdefault(parent.symbol, parent)
        if other.quantity * parent.quantity < 0:
            raise ProblemError(
                f"parents {other.id} and {parent.id} trade {parent.symbol} in both directions",
                "net them first: a plan does not trade against itself",
            )


def _lines(
    state: DeskState,
    parents: Sequence[Parent],
    place: Mapping[str, int],
    mid: Array,
    used: Mapping[str, float],
) -> Lines:
    for parent in parents:
        for value in (parent.quantity, parent.filled, parent.alpha_bps, parent.deadline_min):
            if not math.isfinite(value):
                raise ProblemError(f"parent {parent.id} has a number that is {value}")
    name = np.array([place[parent.symbol] for parent in parents], dtype=np.intp)
    shares = np.array([left(parent, used.get(parent.id, 0.0)) for parent in parents])
    deadline = np.array([parent.deadline_min for parent in parents])
    intervals = np.ceil(deadline / state.interval_min - DUST).astype(np.intp)
    size = np.array([parent.alpha_bps for parent in parents]) * BPS
    lives = [parent.alpha_half_life_min for parent in parents]
    rate = np.array([math.log(2) / life if life else 0.0 for life in lives]) * state.interval_min
    steps = np.arange(state.horizon)
    alpha = size[:, None] * _mean(rate[:, None], steps, steps + 1)
    after = np.maximum(intervals, state.horizon)
    later = size * _mean(rate, np.full(len(parents), state.horizon), after)
    due = intervals <= state.horizon
    later[due] = (size * np.exp(-rate * intervals))[due]
    rest = size * _mean(rate, np.ones(len(parents)), np.maximum(intervals, 1))
    return Lines(
        parents=tuple(parents),
        name=name,
        sign=np.sign([parent.quantity for parent in parents]),
        remaining=shares * mid[name] if len(parents) else np.zeros(0),
        intervals=intervals,
        alpha=alpha,
        later=later,
        waiting=size * _mean(rate, np.zeros(len(parents)), np.ones(len(parents))) - rest,
    )


def _mean(rate: Array, start: Array | Index, end: Array | Index) -> Array:
    """Average of ``exp(-rate t)`` over (start, end); at start where both are the same."""
    span = rate * np.asarray(np.subtract(end, start), dtype=np.float64)
    wide = np.where(span > 0, span, 1.0)
    return np.asarray(np.exp(-rate * start) * np.where(span > 0, -np.expm1(-wide) / wide, 1.0))
