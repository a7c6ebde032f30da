"""Promoters as processes of their own, which can be killed."""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from crossimpact.errors import CrossImpactError
from crossimpact.release import hash_chain
from pipelines import promotion
from pipelines.store.settings import Settings
from registry import tracking
from tests.registry.desk import NOW

#: Forked from a process that has imported everything and opened nothing: quick, and safe.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.registry.promoters", "mlflow"])

#: Moments of a promotion: what is called, and whether the kill comes before or after it.
STEPS = {
    "with half a line written": (hash_chain, "_write", "half"),
    "before the line is acknowledged": (hash_chain, "_acknowledge", "before"),
    "after the line was acknowledged": (hash_chain, "_acknowledge", "after"),
    "before the alias moves": (tracking, "move_alias", "before"),
    "after the alias moved": (tracking, "move_alias", "after"),
}


def start(home: Path, release: str, step: str = "") -> Any:
    """A process that promotes a release, and is killed at that step."""
    process = PROCESSES.Process(target=_promote, args=(home, release, step))
    process.start()
    return process


def promote(home: Path, release: str) -> promotion.Promotion:
    return promotion.promote(
        Settings(home), release, override=True, reason="a test", approver="bob",
        who="ann", now=NOW,
    )  # fmt: skip


def _promote(home: Path, release: str, step: str) -> None:
    if step:
        module, name, when = STEPS[step]
        setattr(module, name, _deadly(getattr(module, name), when))
    try:
        promote(home, release)
    except CrossImpactError as error:
        raise SystemExit(str(error)) from error


def _deadly(act: Callable[..., Any], when: str) -> Callable[..., Any]:
    @functools.wraps(act)
    def acting(*args: Any) -> Any:
        if when == "half":
            path, whole, line = args
            act(path, whole, line[: len(line) // 2])
        if when == "after":
            act(*args)
        os.kill(os.getpid(), signal.SIGKILL)

    return acting
