"""A day's books in one order: what is out of it, and the mid at any time.

One sort by name and time answers for duplicates, order, gaps and every price that is held against
the mid at its time. Columns are numpy arrays; times are microseconds since the epoch, UTC.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from crossimpact import contract

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

_SECOND = 1_000_000
#: Microseconds of a key beside its name: 13 days around the session, which no sane row leaves.
_SPAN_BITS = 41
_MAX_GAP = contract.MAX_SNAPSHOT_AGE_S * _SECOND


@dataclass(frozen=True)
class Mids:
    """Per question: the prevailing sound mid (NaN: none), its age [s], its name's first mid."""

    mid: Floats
    age_s: Floats
    first: Floats


@dataclass(frozen=True, eq=False)
class Tape:
    """Snapshots that have a name and a time of their date, in landed order.

    Attributes
    ----------
    names
        The day's symbols.
    code, ts, file, row
        Per snapshot: index in `names`, time, index of its file, row in it.
    bid, ask, bid_size, ask_size
        Prices and sizes, NaN where missing.
    refused
        Condemned by a rule of its own row, or outside a named session: it prices nothing.
    max_spread, max_spread_px
        Per name: widest spread of a book that prices anything, as a share of the mid and in price
        (the wider of the two holds).
    """

    names: tuple[str, ...]
    code: Ints
    ts: Ints
    file: Ints
    row: Ints
    bid: Floats
    ask: Floats
    bid_size: Floats
    ask_size: Floats
    refused: Flags
    max_spread: Floats
    max_spread_px: Floats

    @cached_property
    def start(self) -> int:
        return int(self.ts.min()) if len(self.ts) else 0

    @cached_property
    def key(self) -> Ints:
        """Name and time as one number that sorts like both."""
        return (self.code << _SPAN_BITS) + (self.ts - self.start)

    @cached_property
    def is_ordered(self) -> bool:
        """Whether names and times strictly increase as landed."""
        return bool((self.key[1:] > self.key[:-1]).all())

    @cached_property
    def order(self) -> Ints:
        """By name, time, file and row."""
        if self.is_ordered:
            return np.arange(len(self.key))
        return np.lexsort((self.row, self.file, self.key))

    def ordered(self, values: NDArray[Any]) -> NDArray[Any]:
        """Values of snapshots by name, time, file and row: themselves where they lie so already."""
        return values if self.is_ordered else values[self.order]

    @cached_property
    def duplicate(self) -> Flags:
        """Later of equal names and times, in file order."""
        if self.is_ordered:
            return np.zeros(len(self.key), bool)
        return self._marked(np.diff(self.key[self.order], prepend=-1) == 0)

    @cached_property
    def late(self) -> Flags:
        """Not later than an earlier row of its name and file."""
        if self.is_ordered and not self.file.any():
            return np.zeros(len(self.key), bool)
        place = np.lexsort((self.row, self.code, self.file))
        key = self.key[place] + (self.file[place] << 58)
        latest = np.maximum.accumulate(key)
        late = np.zeros(len(key), bool)
        late[place[1:]] = (key[1:] <= latest[:-1]) & (np.diff(self.code[place]) == 0)
        return late & self._same_file(place)

    def _same_file(self, place: Ints) -> Flags:
        same = np.zeros(len(place), bool)
        same[place[1:]] = np.diff(self.file[place]) == 0
        return same

    @cached_property
    def wide(self) -> Flags:
        """The spread is beyond its name's bound: a stub, which prices nothing."""
        with np.errstate(invalid="ignore"):
            spread, mid = self.ask - self.bid, (self.ask + self.bid) / 2
            return (spread > self.max_spread[self.code] * mid) & (
                spread > self.max_spread_px[self.code]
            )

    @cached_property
    def sound(self) -> Ints:
        """Accepted snapshots, in order of name and time."""
        bad = self.refused | self.duplicate | self.late | self.wide
        return np.flatnonzero(~bad) if self.is_ordered else self.order[~bad[self.order]]

    @cached_property
    def clock(self) -> tuple[Ints, Ints]:
        """Times at which any name ticked, and the session's time elapsed at each: a silence of the
        whole market counts for nobody."""
        times = np.sort(pc.unique(pa.array(self.ts)).to_numpy())
        silence = np.diff(times, prepend=times[:1])
        return times, np.cumsum(np.where(silence > _MAX_GAP, 0, silence))

    @cached_property
    def after_gap(self) -> Flags:
        """First after a silence of its name in the session, or its last before one to the close."""
        if not len(self.ts):
            return np.zeros(0, bool)
        times, elapsed = self.clock
        ts, code = self.ordered(self.ts), self.ordered(self.code)
        is_first = np.diff(code, prepend=-1) != 0
        is_last = np.append(is_first[1:], True)
        found = np.zeros(len(ts), bool)
        before = np.append(0, ts[:-1])
        at = np.flatnonzero(is_first | (ts - before > _MAX_GAP))
        at_clock = elapsed[np.searchsorted(times, ts[at])]
        opened = np.where(is_first[at], 0, elapsed[np.searchsorted(times, before[at]) % len(times)])
        found[at] = at_clock - opened > _MAX_GAP
        at = np.flatnonzero(is_last)
        found[at] |= elapsed[-1] - elapsed[np.searchsorted(times, ts[at])] > _MAX_GAP
        return self._marked(found)

    def _marked(self, ordered: Flags) -> Flags:
        """Flags of rows in order as flags of rows as landed."""
        if self.is_ordered:
            return ordered
        flags = np.zeros(len(ordered), bool)
        flags[self.order] = ordered
        return flags

    def codes(self, symbols: pa.Array | pa.ChunkedArray) -> Ints:
        """Index in `names` of each symbol, -1 where the day has no book of it."""
        found = pc.fill_null(pc.index_in(symbols, pa.array(self.names, pa.string())), -1)
        codes: Ints = found.to_numpy(zero_copy_only=False).astype(np.int64)
        return codes

    def mids(self, code: Ints, ts: Ints) -> Mids:
        """The mid as of the last sound snapshot at or before each time."""
        span = (1 << _SPAN_BITS) - 1
        key, mid, first = self._priced
        if not len(key):
            nothing = np.full(len(ts), np.nan)
            return Mids(nothing, nothing, nothing)
        asked = (code << _SPAN_BITS) + np.clip(ts - self.start, -1, span)
        at = np.searchsorted(key, asked, side="right") - 1
        known = (at >= 0) & (code >= 0)
        known &= key[at] >> _SPAN_BITS == code
        age = ts - self.start - (key[at] & span)
        return Mids(
            np.where(known, mid[at], np.nan),
            np.where(known, age / _SECOND, np.nan),
            np.where(code >= 0, first[code], np.nan),
        )

    @cached_property
    def _priced(self) -> tuple[Ints, Floats, Floats]:
        """Key and mid of the sound snapshots, in order, and each name's first mid (NaN: none)."""
        key = self.key[self.sound]
        mid = (self.bid + self.ask)[self.sound] / 2
        at = np.searchsorted(key, np.arange(len(self.names) + 1) << _SPAN_BITS)
        first = np.full(len(self.names), np.nan)
        has_book = at[1:] > at[:-1]
        first[has_book] = mid[at[:-1][has_book]]
        return key, mid, first


def tape(
    parts: Sequence[pa.Table],
    condemned: Sequence[NDArray[np.int64]],
    adv: dict[str, float],
    tick: dict[str, float],
) -> Tape:
    """The tape of a date.

    Parameters
    ----------
    parts
        Per landed file, in order: `row`, `symbol`, `ts`, prices and sizes of snapshots that have
        a name and a time of their date.
    condemned
        Per file, the rows that a rule of their own condemns.
    adv, tick
        Of the day's instruments, by symbol.
    """
    whole = pa.concat_tables(parts)
    symbols = whole["symbol"].combine_chunks().dictionary_encode()
    names = tuple(symbols.dictionary.to_pylist())
    rows = [part["row"].to_numpy() for part in parts]
    refused = [np.isin(row, bad) for row, bad in zip(rows, condemned, strict=True)]
    return Tape(
        names,
        symbols.indices.to_numpy().astype(np.int64),
        whole["ts"].cast(pa.int64()).to_numpy(),
        np.repeat(np.arange(len(parts)), [part.num_rows for part in parts]),
        np.concatenate(rows),
        whole["bid_px"].to_numpy(),
        whole["ask_px"].to_numpy(),
        whole["bid_size"].to_numpy(),
        whole["ask_size"].to_numpy(),
        np.concatenate(refused),
        np.array([_bound(adv.get(name, 0.0)) for name in names]),
        np.array([contract.MAX_SPREAD_TICKS * tick.get(name, 0.0) for name in names]),
    )


def _bound(adv: float) -> float:
    """The widest spread for a name of this ADV; one whose ADV is unknown is of the last class."""
    return next(
        (share for least, share in contract.MAX_SPREAD if adv >= least), contract.MAX_SPREAD[-1][1]
    )
