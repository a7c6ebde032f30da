"""One run at a time, whoever asks at once, whoever was killed."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.store import lease


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "run" / "monthly_refit"


def nobody(run: str) -> bool:
    return False


def everybody(run: str) -> bool:
    return True


def test_the_first_who_asks_is_on_until_it_has_ended(file: Path) -> None:
    alive = {"a", "b", "c"}
    lives = alive.__contains__
    assert lease.take(file, "a", lives) is None
    assert lease.take(file, "b", lives) == "a"
    assert lease.take(file, "a", lives) is None  # cleared and run again: still its turn
    alive.remove("a")
    assert lease.take(file, "c", lives) is None
    assert lease.take(file, "b", lives) == "c"


def test_a_run_that_was_killed_or_deleted_stands_in_nobodys_way(file: Path) -> None:
    assert lease.take(file, "killed", everybody) is None
    assert lease.take(file, "next", nobody) is None
    assert lease.take(file, "killed", everybody) == "next"


def ask(file: Path, run: str, start: Callable[[], object], told: Callable[[str], None]) -> None:
    start()
    if lease.take(file, run, everybody) is None:
        told(run)


def test_of_many_that_ask_at_once_one_is_on(file: Path) -> None:
    context = multiprocessing.get_context("fork")
    for _ in range(5):
        file.unlink(missing_ok=True)
        barrier, queue = context.Barrier(8), context.Queue()
        processes = [
            context.Process(target=ask, args=(file, str(k), barrier.wait, queue.put))
            for k in range(8)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        winner = queue.get(timeout=60)
        assert queue.empty()
        assert file.read_text() == winner
