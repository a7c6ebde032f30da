"""Ray, the only place that imports it: tasks over a home that all of its workers see.

A worker that is lost costs its task, which is done again; one with other code or another lock is
refused by name. Ray phones home unless told otherwise, so it is told; clusters of others need
`RAY_USAGE_STATS_ENABLED=0` of their own.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from crossimpact.errors import CrossImpactError, Unavailable
from pipelines.store.provenance import deployed
from pipelines.store.settings import SQL_DIR, keep_private

T = TypeVar("T")
R = TypeVar("R")
VERSION = "2.60.0"
#: How often a task is done again whose worker was lost.
RETRIES = 3
#: How often a cluster of this machine's own is begun: Ray waits 30 s for it, whatever the load.
STARTS = 3
#: On a busy machine its agents take longer to start than Ray waits by itself.
PATIENT = {"RAY_agent_register_timeout_ms": "180000"}
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}


@dataclass(frozen=True)
class Cluster:
    """A cluster this process is connected to."""

    address: str
    workers: int

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """As `Engine.map`.

        Raises
        ------
        Unavailable
            When an item lost its worker over and over, or the cluster went away.
        """
        import ray

        task = ray.remote(num_cpus=1, max_retries=RETRIES)(_called)
        shared = ray.put(function)
        try:
            return list(ray.get([task.remote(deployed(), shared, item) for item in items]))
        except ray.exceptions.RayTaskError as error:
            raise error.cause from error
        except ray.exceptions.RayError as error:
            raise Unavailable(
                f"Ray at {self.address}: {str(error).splitlines()[0]}",
                "what was done stands; run it again, with more memory a worker if it was killed",
            ) from error


@contextmanager
def connected(address: str | None) -> Iterator[Cluster]:
    """A cluster at an address, or one of this machine's cores that ends with the block."""
    os.environ.update(QUIET | PATIENT)
    try:
        import ray
    except ImportError as error:
        raise CrossImpactError(
            "--engine ray needs Ray, which is not installed",
            f"pip install 'ray=={VERSION}', on every worker, too",
        ) from error
    told = address or "this machine"
    _begin(ray, address, 1 if address else STARTS)
    try:
        yield Cluster(told, max(1, int(ray.cluster_resources().get("CPU", 1))))
    finally:
        ray.shutdown()


def _begin(ray: Any, address: str | None, tries: int) -> None:
    try:
        ray.init(address or "local", log_to_driver=False, **({} if address else _OWN))
    except Exception as error:  # what Ray raises here is of no kind of its own
        ray.shutdown()
        if tries > 1:
            return _begin(ray, address, tries - 1)
        first = f"{error} ".splitlines()[0].strip()
        hint = "`ray start --head` there?" if address else "try again when it is less busy"
        where = address or "this machine"
        raise Unavailable(f"no Ray cluster at {where}: {first}", hint) from error


_OWN: dict[str, Any] = {
    "include_dashboard": False,
    "_node_ip_address": "127.0.0.1",
    "runtime_env": {"env_vars": {"PYTHONPATH": os.pathsep.join([str(SQL_DIR.parent), *sys.path])}},
}


def _called(code: str, function: Callable[[T], R], item: T) -> R:
    """What a worker does."""
    keep_private()
    if deployed() != code:
        raise CrossImpactError(
            f"the Ray worker on {os.uname().nodename} runs other code or another lock than this "
            f"command ({deployed()[:12]}, {code[:12]} asked)",
            f"install the same version there ({Path(SQL_DIR).parent})",
        )
    return function(item)
