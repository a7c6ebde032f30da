"""Coupling rules of a desk, applied to the next interval of any policy's plan.

1. Same-side names that are strongly coupled are not made aggressive together: the most efficient
   one may, the others go passively, at their even pace.
2. Nor do they speed up together: of several that would trade more than a quarter faster than they
   did, the most efficient one may.
3. Strongly coupled names on opposite sides, a hedge, go at the same pace: the leg that is ahead
   waits for the other, down to its own even pace.

A rule only ever takes quantity off the next interval, so no cap breaks; what it takes is put off
to later ones where they have room. A line in its last interval is left alone. Each change is priced
by the objective of the program.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from crossimpact.model import ImpactModel
from crossimpact.policy.plan import Applied
from crossimpact.policy.scheduling import efficiency as ratio
from crossimpact.policy.scheduling.caps import Caps
from crossimpact.policy.scheduling.desk import DUST, Desk, Flags, Index
from crossimpact.policy.scheduling.restraint import pace
from crossimpact.scaled import Array, normalised

#: Trading faster than this many times the last interval is an increase of urgency.
FASTER = 1.25


@dataclass(frozen=True)
class Draft:
    """Flows, USD >= 0 by line and interval, who is aggressive, and what rules have changed."""

    u: Array
    aggressive: Flags
    applied: tuple[Applied, ...] = ()


def strong(model: ImpactModel, share: float | None) -> sparse.csr_matrix:
    """Which pairs of names are coupled by more than this share of own impact, shape (n, n)."""
    if share is None or not model.gamma.any():
        return sparse.csr_matrix((model.n, model.n), dtype=bool)
    matrix = normalised(model) > share
    np.fill_diagonal(matrix, False)
    return sparse.csr_matrix(matrix)


def styles(desk: Desk, efficiency: Array, u: Array) -> Flags:
    """Who crosses the spread: waiting loses more than half of it, and the model's cost is covered;
    or the deadline is at hand."""
    lines, market = desk.lines, desk.market
    worth = ratio.opportunity(desk) >= market.half_spread[lines.name]
    urgent = (lines.intervals <= 1) | (worth & (efficiency >= 1))
    return urgent & (u[:, 0] > 0) & desk.state.allowed.aggressive


def applied(
    draft: Draft,
    desk: Desk,
    coupled: sparse.csr_matrix,
    caps: Caps,
    order: Index,
    value: Callable[[Array], float],
) -> Draft:
    """The draft after the rules, in their order.

    Parameters
    ----------
    coupled
        Pairs of names, see `strong`.
    order
        Lines by falling efficiency.
    value
        What flows cost, USD.
    """
    name = desk.lines.name
    pairs = coupled[name][:, name].tocoo()
    side = desk.lines.sign[pairs.row] * desk.lines.sign[pairs.col]
    same, opposite = (
        sparse.csr_matrix((np.ones(int(k.sum()), bool), (pairs.row[k], pairs.col[k])), pairs.shape)
        for k in (side > 0, side < 0)
    )
    even, last = pace(desk), _last(desk)
    draft, slowed = _calmed(draft, desk, same, order)
    draft = _slowed(
        draft, desk, caps, slowed, even, value, "not aggressive together", "passive at even pace"
    )
    usual = np.maximum(FASTER * last, even)
    faster = (last > 0) & (draft.u[:, 0] > usual)
    slowed = _later(faster, same, order) & _may_wait(desk)
    draft = _slowed(
        draft, desk, caps, slowed, usual, value, "not faster together", "no faster than before"
    )
    most = np.maximum(_least_share(draft, desk, opposite) * desk.lines.remaining, even)
    ahead = (draft.u[:, 0] > most) & _may_wait(desk)
    return _slowed(
        draft, desk, caps, ahead, most, value, "legs of a hedge together", "wait for the other leg"
    )


def _calmed(draft: Draft, desk: Desk, same: sparse.csr_matrix, order: Index) -> tuple[Draft, Flags]:
    """Aggressive lines coupled to a more efficient one go passively."""
    calmed = _later(draft.aggressive, same, order) & _may_wait(desk)
    return Draft(draft.u, draft.aggressive & ~calmed, draft.applied), calmed


def _later(chosen: Flags, pairs: sparse.csr_matrix, order: Index) -> Flags:
    """Of the chosen lines those paired with one before them in order that stays chosen."""
    stays, result = chosen.copy(), np.zeros_like(chosen)
    for line in order[chosen[order]]:
        if stays[line]:
            partners = pairs.indices[pairs.indptr[line] : pairs.indptr[line + 1]]
            after = partners[stays[partners]]
            stays[after], result[after] = False, True
    return result


def _least_share(draft: Draft, desk: Desk, pairs: sparse.csr_matrix) -> Array:
    """Least share of what remains that a line's partners trade now; 1 without any."""
    share = draft.u[:, 0] / desk.lines.remaining
    result = np.ones(len(share))
    rows = np.repeat(np.arange(len(share)), np.diff(pairs.indptr))
    np.minimum.at(result, rows, share[pairs.indices])
    return result


def _may_wait(desk: Desk) -> Flags:
    return np.asarray(desk.lines.intervals > 1)


def _last(desk: Desk) -> Array:
    """What each line's name traded over the last interval in the line's direction, USD."""
    at, age, usd = desk.market.flow
    recent = np.zeros(len(desk.market.symbols))
    np.add.at(recent, at, np.where(age < desk.state.interval_min, usd, 0.0))
    return np.maximum(desk.lines.sign * recent[desk.lines.name], 0.0)


def _slowed(
    draft: Draft,
    desk: Desk,
    caps: Caps,
    lines: Flags,
    most: Array,
    value: Callable[[Array], float],
    rule: str,
    what: str,
) -> Draft:
    """These lines trade at most so much now, the rest is put off; what that costs is noted."""
    if not lines.any():
        return draft
    off = np.where(lines, np.maximum(draft.u[:, 0] - most, 0.0), 0.0)
    after = draft.u.copy()
    after[:, 0] -= off
    room = np.cumsum(np.maximum(caps.most[:, 1:] - after[:, 1:], 0.0), axis=1)
    after[:, 1:] += np.diff(np.minimum(room, off[:, None]), axis=1, prepend=0.0)
    cost = 0.0
    if (off > DUST * desk.lines.remaining).any():
        after = caps.kept(after)
        cost = value(after) - value(draft.u)
    symbols = tuple(desk.market.symbols[i] for i in dict.fromkeys(desk.lines.name[lines].tolist()))
    note = Applied(rule, symbols, what, cost)
    return Draft(after, draft.aggressive, (*draft.applied, note))
