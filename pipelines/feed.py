"""What a date's feed did: silences, still books, and the numbers a date is remembered by.

Read off the landed books and prints, whatever rule their rows break, so that a date's profile is
the same whenever it is asked. Times are microseconds since the epoch. Of a name's own silence only
the time counts in which another name ticks; silences of the whole market are told apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crossimpact import contract
from pipelines.tape import Tape

_SECOND = 1_000_000


@dataclass(frozen=True)
class Stretch:
    """A stretch of a feed, `start` to `end` [us], of `names`; `seconds` of it count."""

    names: tuple[str, ...]
    start: int
    end: int
    seconds: float


def market_silences(tape: Tape) -> list[Stretch]:
    """Stretches without a tick of any name."""
    times, _ = tape.clock
    limit = contract.MAX_SNAPSHOT_AGE_S * _SECOND
    at = np.flatnonzero(np.diff(times) > limit)
    return [
        Stretch(tape.names, int(times[i]), int(times[i + 1]), (times[i + 1] - times[i]) / _SECOND)
        for i in at
    ]


def silences(tape: Tape) -> list[Stretch]:
    """Stretches in which a name does not tick while others do, at open and close too."""
    if not len(tape.ts):
        return []
    times, elapsed = tape.clock
    code, ts = tape.ordered(tape.code), tape.ordered(tape.ts)
    first = np.diff(code, prepend=-1) != 0
    last = np.append(first[1:], True)
    before = np.where(first, times[0], np.append(times[:1], ts[:-1]))
    ends = np.concatenate([ts, np.full(int(last.sum()), times[-1])])
    starts = np.concatenate([before, ts[last]])
    names = np.concatenate([code, code[last]])
    suspect = np.flatnonzero(ends - starts > contract.MAX_SNAPSHOT_AGE_S * _SECOND)
    place = np.searchsorted(times, [starts[suspect], ends[suspect]])
    seconds = (elapsed[place[1]] - elapsed[place[0]]) / _SECOND
    return [
        Stretch((tape.names[names[i]],), int(starts[i]), int(ends[i]), float(s))
        for i, s in zip(suspect, seconds, strict=True)
        if s > contract.MAX_SNAPSHOT_AGE_S
    ]


def together(found: list[Stretch], names: int) -> tuple[list[Stretch], list[Stretch]]:
    """(outages of a feed, silences of one name): those that begin within a minute are one."""
    groups: list[list[Stretch]] = []
    for stretch in sorted(found, key=lambda s: (s.start, s.end)):
        near = (
            groups and stretch.start - groups[-1][0].start <= contract.MAX_SNAPSHOT_AGE_S * _SECOND
        )
        if not near:
            groups.append([])
        groups[-1].append(stretch)
    wide = [group for group in groups if _is_outage(len({s.names for s in group}), names)]
    single = [stretch for group in groups if group not in wide for stretch in group]
    return [_merged(group) for group in wide], single


def _is_outage(silent: int, names: int) -> bool:
    return silent >= contract.OUTAGE_NAMES and silent >= contract.OUTAGE_SHARE * names


def _merged(group: list[Stretch]) -> Stretch:
    """Until half of its names were back."""
    ends = sorted(group, key=lambda s: s.end)
    middle = ends[(len(ends) - 1) // 2]
    names = tuple(sorted({s.names[0] for s in group}))
    return Stretch(names, min(s.start for s in group), middle.end, middle.seconds)


def still_books(tape: Tape) -> list[Stretch]:
    """Books that do not change for long, and much longer than they do otherwise that day."""
    if not len(tape.ts):
        return []
    code, ts = tape.ordered(tape.code), tape.ordered(tape.ts)
    moved = np.diff(code, prepend=-1) != 0
    for values in map(tape.ordered, (tape.bid, tape.ask, tape.bid_size, tape.ask_size)):
        moved[1:] |= values[1:] != values[:-1]
    starts = np.flatnonzero(moved)
    ends = np.append(starts[1:], len(ts)) - 1  # the last snapshot of the same book
    long = ts[ends] - ts[starts] > contract.FROZEN_S * _SECOND  # by the clock on the wall
    suspect = np.isin(code[starts], np.unique(code[starts[long]]))
    starts, ends = starts[suspect], ends[suspect]
    times, elapsed = tape.clock
    length = elapsed[np.searchsorted(times, ts[ends])] - elapsed[np.searchsorted(times, ts[starts])]
    length = length / _SECOND
    result = []
    for at in np.flatnonzero(length > contract.FROZEN_S):
        own = (code[starts] == code[starts[at]]) & (np.arange(len(starts)) != at)
        if length[at] > contract.FROZEN_TIMES * length[own].max(initial=0.0):
            name = (tape.names[code[starts[at]]],)
            result.append(Stretch(name, int(ts[starts[at]]), int(ts[ends[at]]), float(length[at])))
    return result
