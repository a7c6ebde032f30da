"""Run something in a thread that is abandoned at a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import Any, TypeVar

from crossimpact.errors import Unavailable

T = TypeVar("T")


class Worker:
    """Does one thing at a time in a thread of its own.

    What does not come in time is given up on: its result is dropped whenever it comes, and until
    then nothing new is begun, so that there never are two such threads.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._last: Future[Any] | None = None

    def run(self, work: Callable[[], T], until: float) -> T:
        """The result of `work`, or what it raised, if that comes before `until` (monotonic time).

        Raises
        ------
        Unavailable
            When it does not, or when an earlier one still runs.
        """
        if self._last is not None and not self._last.done():
            raise Unavailable(f"{self.name} still does not answer an earlier pull")
        self._last = box = Future[T]()
        Thread(target=_settle, args=(box, work), name=f"pull: {self.name}", daemon=True).start()
        try:
            return box.result(max(0.0, until - time.monotonic()))
        except TimeoutError as error:
            if box.done():
                raise
            raise Unavailable(f"{self.name} did not answer in time") from error


def _settle(box: Future[T], work: Callable[[], T]) -> None:
    try:
        box.set_result(work())
    except BaseException as error:
        box.set_exception(error)
