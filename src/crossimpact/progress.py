"""How far long work has come, as lines on the logger `crossimpact` (INFO).

Whoever runs the work shows them: a terminal as bars, a pipe or a scheduler as lines. Without a
handler nothing is shown. A counted line carries `stage`, `done` and `total` as attributes.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from typing import TypeVar

from crossimpact.json_log import bound

LOG = logging.getLogger("crossimpact")
T = TypeVar("T")


def tell(stage: str, what: str = "", done: int = 0, total: int = 0) -> None:
    """Say that a stage began, or works on its `done`-th piece of `total`."""
    counted = f" {done}/{total}" if total else ""
    message = f"{stage}{counted} {what}".rstrip()
    LOG.info("%s", message, extra={"stage": stage, "done": done, "total": total})


def each(stage: str, pieces: Collection[T]) -> Iterator[T]:
    """The pieces in turn, each told when its work begins."""
    for number, piece in enumerate(pieces, start=1):
        with bound(partition=str(piece)):
            tell(stage, str(piece), number, len(pieces))
            yield piece
