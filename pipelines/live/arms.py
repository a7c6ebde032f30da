"""Whose a parent is in a rollout: stamped before it is journaled; a replay needs no salt."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from crossimpact.policy.live.book import Book
from crossimpact.policy.live.events import ParentOrder
from crossimpact.rollout.design import Arm

#: A parent's arm, and the chance with which its basket was given that arm.
Assign = Callable[[ParentOrder], tuple[Arm, float]]


def stamped(order: ParentOrder, book: Book, assign: Assign) -> ParentOrder:
    """The parent with its arm; a basket that is in the book already is not split, nor an amended
    parent drawn again."""
    same = (o.told for o in book.orders.values() if basket_of(o.told) == basket_of(order))
    known = next(same, None)
    arm, chance = (known.arm, known.propensity) if known else assign(order)
    return msgspec.structs.replace(order, arm=arm, propensity=chance)


def basket_of(order: ParentOrder) -> str:
    """A parent without a basket is one of its own."""
    return order.basket or order.id
