"""What feeds give: lines, and where they stand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import NamedTuple


class Raw(NamedTuple):
    """A line of a feed and its place there; `number` -1: the feed has no places to return to."""

    content: bytes
    feed: str = ""
    number: int = -1


Rows = AsyncIterator[list[Raw]]
