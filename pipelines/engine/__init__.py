"""Who does a step's pieces: this process, or the workers of a Ray cluster.

The pieces are the functions that Airflow's tasks call, over the same partitions in one home that
every worker sees; what comes out does not depend on who did it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, Protocol, TypeVar

from crossimpact.errors import UsageError

T = TypeVar("T")
R = TypeVar("R")
Name = Literal["local", "ray"]


class Engine(Protocol):
    """Calls a function on items, in order of the items."""

    @property
    def workers(self) -> int:
        """How many items are done at a time."""

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """`function` of each item; raises what the first failing item raises."""


class Local:
    """This process, one item after the other."""

    workers = 1

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> list[R]:
        return [function(item) for item in items]


LOCAL = Local()


def opened(name: Name, address: str | None) -> AbstractContextManager[Engine]:
    """The engine that a command was asked for, while the block runs.

    Raises
    ------
    UsageError
        When an address is given for an engine that has none.
    CrossImpactError
        When Ray is not installed, or no cluster answers at the address.
    """
    if name == "ray":
        from pipelines.engine import cluster  # Ray is for those who ask for it

        return cluster.connected(address)
    if address:
        raise UsageError(f"--address {address} without --engine ray", "say both, or neither")
    return nullcontext(LOCAL)


def ahead(engine: Engine, function: Callable[[list[str]], object], dates: Sequence[str]) -> None:
    """Let the workers make partitions of runs of dates, which the step then finds made.

    Nothing where one process would do it all: the step makes them itself.
    """
    if engine.workers > 1:
        size = -(-len(dates) // (RUNS * engine.workers)) or 1
        engine.map(function, [list(dates[i : i + size]) for i in range(0, len(dates), size)])


#: Runs of dates per worker: more even the load out, fewer pay GX's price per rule less often.
RUNS = 2
