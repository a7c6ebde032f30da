"""What a guardrail keeps lines from, without leaving them more to do at their deadlines.

A line is *held* when the guardrail allows critical parents only and it is none, or fewer names at
once and its name is not among the first ones. A held line with slack rests: even after a wait an
even pace takes little of the market's volume. Any other goes on at its even pace and little faster,
so that a guardrail costs what an even pace costs at most, and never an order cleared at its
deadline.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from crossimpact.policy.scheduling.desk import Desk, Flags, Index
from crossimpact.scaled import Array

#: Intervals a held line may have to rest: a reading, and two better windows to get back.
WAIT = 3
#: Of its even pace, what a held line goes at most: no more than the rules call the same urgency.
HELD = 1.25


class Restraint(NamedTuple):
    """Which lines rest, which keep to an even pace, and why, shape (P,) each; '' where free."""

    rests: Flags
    paced: Flags
    why: Sequence[str]


def of(desk: Desk, order: Index, pov: float) -> Restraint:
    """Restraint of the lines, given in which order they come and the desk's participation cap."""
    frozen, waits = _not_critical(desk), _waits(desk, order)
    slack = _slack(desk, pov)
    words = np.where(frozen, "not critical", np.where(waits, "fewer at once", ""))
    state = desk.state.guardrail
    told = [
        word and f"{'rests' if rests else 'even pace'}, guardrail {state}: {word}"
        for word, rests in zip(words.tolist(), slack.tolist(), strict=True)
    ]
    held = frozen | waits
    return Restraint(held & slack, held & ~slack, told)


def pace(desk: Desk) -> Array:
    """An even share of what remains, USD per interval until the deadline, shape (P,)."""
    return np.asarray(desk.lines.remaining / np.maximum(desk.lines.intervals, 1))


def _not_critical(desk: Desk) -> Flags:
    only = desk.state.allowed.critical_only
    return np.array([only and not parent.critical for parent in desk.lines.parents], dtype=bool)


def _waits(desk: Desk, order: Index) -> Flags:
    """Lines of names beyond the first ones, in order, that the guardrail allows at once; critical
    ones come before any other."""
    critical = np.array([parent.critical for parent in desk.lines.parents], dtype=bool)
    order = order[np.argsort(~critical[order], kind="stable")]
    names = desk.lines.name[order]
    first = list(dict.fromkeys(names.tolist()))
    count = int(np.ceil(desk.state.allowed.names_share * len(first)))
    return ~np.isin(desk.lines.name, first[:count])


def _slack(desk: Desk, pov: float) -> Flags:
    """Whose name takes at most the allowed share of its cap at an even pace after a wait."""
    lines, volume = desk.lines, desk.market.volume.min(axis=1)
    later = lines.remaining / np.maximum(lines.intervals - WAIT, 1e-9)
    of_name = np.bincount(lines.name, later, minlength=len(volume))
    return np.asarray((of_name <= desk.state.allowed.rest_share * pov * volume)[lines.name])
