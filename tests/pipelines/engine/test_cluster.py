"""Ray as the engine: the same answers and bytes, a lost worker costs its task alone."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from crossimpact.errors import CrossImpactError, Unavailable, UsageError
from pipelines import features, moments
from pipelines.engine import LOCAL, Engine, ahead, opened
from pipelines.store.landing import Landing
from pipelines.store.settings import Settings
from pipelines.store.warehouse import Warehouse
from pipelines.validate import run
from tests.pipelines import desk

DATES = [f"2024-01-0{day}" for day in (3, 4, 5)]


def test_local_maps_in_order_and_makes_nothing_ahead() -> None:
    assert LOCAL.map(lambda x: x * x, [3, 1, 2]) == [9, 1, 4]
    ahead(LOCAL, pytest.fail, DATES)


def test_runs_of_dates_hold_every_date_once_in_order() -> None:
    class Two:
        workers = 2

        def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
            return [function(item) for item in items]

    for size in range(9):
        seen: list[str] = []
        ahead(Two(), seen.extend, [str(n) for n in range(size)])
        assert seen == [str(n) for n in range(size)]


def test_an_address_without_ray_is_refused() -> None:
    with pytest.raises(UsageError, match="--address h:1 without --engine ray"):
        opened("local", "h:1")


def test_ray_that_is_not_installed_is_told_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(CrossImpactError, match=r"not installed; pip install 'ray==") as told:
        opened("ray", None).__enter__()
    assert told.value.exit_code == 1


def landed(root: Path) -> Landing:
    for date in DATES:
        desk.write(root, desk.clean(date), date)
    return Landing(root)


def made(engine: Engine, home: Path, landing: Landing) -> dict[str, str]:
    """Digest of every partition of a validation, features and moments."""
    settings = Settings(home)
    run(settings, landing, None, engine)
    ahead(engine, partial(features.build_dates, settings), DATES)
    features.prepare(settings, landing, DATES)
    ahead(engine, partial(moments.prepare, settings, transforms=("linear",)), DATES)
    moments.prepare(settings, DATES, ("linear",))
    root = Warehouse(settings).root
    return {str(path.relative_to(root)): path.stem for path in root.rglob("*.parquet")}


needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="pip install 'ray==2.60.0'"
)


@pytest.fixture(scope="module")
def ray_engine() -> Iterator[Engine]:
    with opened("ray", None) as engine:
        yield engine


@needs_ray
@pytest.mark.long
def test_ray_makes_the_same_bytes(ray_engine: Engine, tmp_path: Path) -> None:
    landing = landed(tmp_path / "landing")
    local = made(LOCAL, tmp_path / "local", landing)
    assert ray_engine.workers > 1
    assert made(ray_engine, tmp_path / "ray", landing) == local
    assert len(local) > 3 * len(DATES)


@needs_ray
@pytest.mark.long
def test_a_lost_worker_costs_its_task_alone(ray_engine: Engine, tmp_path: Path) -> None:
    def work(item: int) -> int:
        (tmp_path / f"{item}-{os.getpid()}").touch()
        if item == 2 and len([*tmp_path.glob("2-*")]) == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return item * item

    assert ray_engine.map(work, range(4)) == [0, 1, 4, 9]
    tries = [path.name.partition("-")[0] for path in tmp_path.iterdir()]
    assert sorted(tries) == ["0", "1", "2", "2", "3"]


@needs_ray
@pytest.mark.long
def test_a_task_that_always_loses_its_worker_is_told(ray_engine: Engine) -> None:
    with pytest.raises(Unavailable, match=r"Ray at this machine: .*what was done stands"):
        ray_engine.map(lambda _: os.kill(os.getpid(), signal.SIGKILL), [0])
    assert ray_engine.map(abs, [-1]) == [1]


@needs_ray
@pytest.mark.long
def test_a_workers_error_is_the_one_of_the_step(ray_engine: Engine, tmp_path: Path) -> None:
    def work(_: int) -> None:
        raise UsageError("what is wrong", "what to do")

    with pytest.raises(UsageError, match="what is wrong; what to do"):
        ray_engine.map(work, [1])


@needs_ray
@pytest.mark.long
def test_a_worker_with_other_code_is_refused_by_name(
    ray_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.engine.cluster.deployed", lambda: "f" * 64)
    with pytest.raises(CrossImpactError, match=r"worker on \S+ runs other.*f{12} asked"):
        ray_engine.map(abs, [-1])
