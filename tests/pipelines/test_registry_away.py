"""A release's life while MLflow is away, hangs or is damaged: the ledger and the home's copy do."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import pytest

from crossimpact.errors import CrossImpactError, GateRefused, StaleModel, Unavailable
from crossimpact.release import ledger
from crossimpact.release.policy import DEFAULT
from pipelines import consume, promotion
from pipelines import release as life
from pipelines.store.settings import Settings
from registry import tracking
from tests.pipelines.test_release import (
    alias,
    at,
    champion_id,
    desk,  # noqa: F401
    forget_copies,
    promoted,
    register,
    sample,
)
from tests.registry import faulty

#: What waits for a server that hangs gives up long before this, on any machine.
PATIENT_S = 30.0


@contextmanager
def _artefacts_gone(database: Path) -> Iterator[None]:
    shutil.move(database.parent / "artifacts", database.parent / "away")
    yield


AWAY: dict[str, Callable[[Path], AbstractContextManager[object]]] = {
    "refused": lambda _: faulty.refusing(),
    "hanging": lambda _: faulty.hanging(),
    "no database": faulty.garbage,
    "locked": faulty.locked,
    "removed": faulty.without,
    "artefacts away": _artefacts_gone,
}


@contextmanager
def away(settings: Settings, name: str, patch: pytest.MonkeyPatch) -> Iterator[None]:
    database = settings.home / "mlflow" / "mlflow.db"
    with AWAY[name](database) as address, patch.context() as environment:
        if isinstance(address, str):
            environment.setenv("MLFLOW_TRACKING_URI", address)
        yield


def lock_is_free_within(settings: Settings, act: Callable[[], object]) -> float:
    """Longest time, seconds, for which the ledger could not be had while `act` ran."""
    code = (
        "import sys, time; from pathlib import Path; from crossimpact.release import ledger\n"
        "worst = 0.0\n"
        "print('ready', flush=True)\n"
        "while not Path(sys.argv[2]).exists():\n"
        "    start = time.monotonic()\n"
        "    with ledger.locked(Path(sys.argv[1]), 60): pass\n"
        "    worst = max(worst, time.monotonic() - start); time.sleep(0.01)\n"
        "print(worst)"
    )
    done = settings.home / "done"
    command = [sys.executable, "-c", code, str(settings.ledger_path), str(done)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        try:
            act()
        finally:
            done.touch()
        return float(process.stdout.readline())


@pytest.mark.parametrize("name", AWAY)
def test_rollback_needs_the_ledger_and_the_copy_alone(
    desk: Settings,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    first, _ = promoted(desk, 30.0, 31.0)
    start = time.monotonic()
    with away(desk, name, monkeypatch):
        done = promotion.rollback(desk, who="bob", reason="outage", now=at(3))
        assert time.monotonic() - start < PATIENT_S
        assert (done.changed, done.new) == (True, first.digest)
        assert champion_id(desk) == first.id
        told = "was not moved" in done.note
        assert told == (name != "artefacts away")
        assert life.ledger_verify(desk).lines == 3
        shown = life.show(desk)
        assert shown.id == first.id
        away_too = "in MLflow the champion is damaged" if name == "artefacts away" else "MLflow was"
        assert away_too in shown.note
    if name in ("refused", "hanging"):  # MLflow is back: the next change moves the alias
        assert alias(desk) == 2
        assert "puts it back" in life.show(desk).note
        done = promotion.promote(desk, first.id, who="ann", now=at(4))
        assert (done.changed, alias(desk)) == (False, 1) and "was put back" in done.note


@pytest.mark.parametrize("name", ["hanging", "removed"])
def test_demote_needs_the_ledger_and_the_copy_alone(
    desk: Settings,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    promoted(desk, 30.0)
    with away(desk, name, monkeypatch):
        done = promotion.demote(desk, {"normal": "self_only"}, who="b", reason="x", now=at(2))
        assert done.changed
        assert life.champion(desk)[0].model_for("normal").rung == "self_only"


def rolled_back(settings: Settings) -> promotion.Promotion:
    return promotion.rollback(settings, who="b", reason="x", now=at(3))


def demoted(settings: Settings) -> promotion.Promotion:
    return promotion.demote(settings, {"normal": "self_only"}, who="b", reason="x", now=at(3))


@pytest.mark.parametrize("act", [rolled_back, demoted])
def test_nobody_holds_the_ledger_while_waiting_for_a_server(
    desk: Settings,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    act: Callable[[Settings], promotion.Promotion],
) -> None:
    promoted(desk, 30.0, 31.0)
    forget_copies(desk)  # so that the registry has to be asked
    monkeypatch.setattr("crossimpact.consumer.source.REQUEST_S", 3.0)
    with away(desk, "hanging", monkeypatch):
        start = time.monotonic()

        def acted() -> None:
            with suppress(Unavailable):
                act(desk)

        worst = lock_is_free_within(desk, acted)
        waited = time.monotonic() - start
    assert worst < waited / 2


def test_a_copy_that_was_spoilt_is_not_used_and_mended_from_the_registry(
    desk: Settings,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, _ = promoted(desk, 30.0, 31.0)
    spoilt = desk.releases / first.digest / "release.json"
    spoilt.write_bytes(spoilt.read_bytes()[:-1])
    with away(desk, "refused", monkeypatch), pytest.raises(Unavailable):
        promotion.rollback(desk, who="bob", reason="x", now=at(3))
    assert life.ledger_verify(desk).lines == 2
    assert promotion.rollback(desk, who="bob", reason="x", now=at(3)).new == first.digest
    with away(desk, "refused", monkeypatch):
        assert champion_id(desk) == first.id


def lose_the_ledger(settings: Settings) -> None:
    settings.ledger_path.unlink()
    settings.ledger_path.with_name("ledger.jsonl.head").unlink()


def test_a_ledger_lost_head_and_all_is_noticed_by_everybody(desk: Settings) -> None:  # noqa: F811
    promoted(desk, 30.0)
    register(desk, sample(31.0))
    lose_the_ledger(desk)
    why = "knows no champion, and MLflow's alias champion points at version 1"
    for act in (
        lambda: promotion.promote(desk, who="eve", now=at(2)),
        lambda: promotion.rollback(desk, who="eve", reason="", now=at(2)),
        lambda: promotion.demote(desk, {"normal": "self_only"}, who="e", reason="", now=at(2)),
        lambda: life.show(desk),
        lambda: life.champion(desk),
    ):
        with pytest.raises(StaleModel, match=why):
            act()
    verdict = life.ledger_verify(desk)
    assert (verdict.ok, verdict.line) == (False, 1) and why in verdict.problem
    found = consume.pull(desk, who="fresh", clock=lambda: at(2))
    assert found["state"] == "fallback" and why in found["reason"]
    assert [entry.action for entry in ledger.entries(desk.ledger_path)] == ["fallback"]
    assert not life.ledger_verify(desk).ok  # a witness is no history


HEAVY = {
    "5,000 extra files": lambda folder: [
        (folder / f"model-r{i}-full.json").write_bytes(b"{}") for i in range(5000)
    ],
    "a sparse 10 GB table": lambda folder: (
        (folder / "gamma-stressed-full.npy").open("wb").truncate(10 << 30)
    ),
}


@pytest.mark.parametrize("name", HEAVY)
def test_a_version_too_large_is_refused_before_it_is_read(desk: Settings, name: str) -> None:  # noqa: F811
    from pipelines import export

    promoted(desk, 30.0, 31.0)
    for version in tracking.versions(desk.mlflow_uri):
        root = desk.home / "mlflow" / "artifacts" / version.run_id / "artifacts" / "release"
        HEAVY[name](root)
    forget_copies(desk)
    for act in (
        lambda: life.show(desk),
        lambda: promotion.promote(desk, who="ann", now=at(3)),
        lambda: promotion.rollback(desk, who="ann", reason="", now=at(3)),
        lambda: export.export_gamma(desk, desk.home / "gamma.csv", "challenger"),
    ):
        start = time.process_time()
        with pytest.raises(StaleModel, match=r"holds \d+ files of \d+ bytes, at most 64"):
            act()
        assert time.process_time() - start < 5.0  # copying 10 GB takes longer anywhere
    assert not (desk.home / "tmp").exists()
    assert "files of" in consume.pull(desk, who="s", clock=lambda: at(3))["reason"]


def test_an_expired_or_future_release_is_not_promoted_and_not_shown_without_a_word(
    desk: Settings,  # noqa: F811
) -> None:
    (release,) = promoted(desk, 30.0)
    assert life.show(desk, now=at(2)).note == ""
    late = at(0) + DEFAULT.release.valid_for
    assert "has expired" in life.show(desk, now=late).note
    assert "of the future" in life.show(desk, now=at(-24 * 40)).note
    register(desk, sample(31.0))
    for now, gate in ((late, "not_expired: 46.0, must be <= 45"), (at(-96), "not_future: -3.0,")):
        rows = {row.gate: row for row in promotion.check(desk, now=now).gates}
        assert rows[gate.split(":")[0]].verdict == "fail"
        with pytest.raises(GateRefused, match=gate):
            promotion.promote(desk, who="ann", now=now)
    assert champion_id(desk) == release.id


def test_a_clock_that_was_fast_or_is_slow_lengthens_no_life(desk: Settings) -> None:  # noqa: F811
    promoted(desk, 30.0)

    def pulled(days: float) -> dict[str, object]:
        return consume.pull(desk, who="s", clock=lambda: at(2) + timedelta(days=days))

    assert pulled(40)["state"] == "live"  # of a clock 40 days ahead
    (desk.home / "mlflow" / "mlflow.db").rename(desk.home / "gone.db")
    for days in (0, 2, 4, 30, 39):
        found = pulled(days)
        assert found["state"] == "fallback" and "confirmed in the future" in found["reason"]
    assert pulled(41)["state"] == "last_known_good"
    found = pulled(-400)
    assert found["state"] == "fallback" and "of the future" in found["reason"]


def test_a_pull_answers_before_the_ledger_is_waited_for(desk: Settings) -> None:  # noqa: F811
    promoted(desk, 30.0)
    (desk.home / "mlflow" / "mlflow.db").rename(desk.home / "gone.db")
    with ledger.locked(desk.ledger_path):
        served = consume.ask(desk, who="s", clock=lambda: at(2))
        assert served.state == "fallback"
        start = time.monotonic()
        unseen = consume.record_fallback(desk, served, who="s", now=at(2))
        assert time.monotonic() - start < PATIENT_S
    assert "the ledger does not have it" in unseen
    assert consume.record_fallback(desk, served, who="s", now=at(2)) == ""
    assert [entry.action for entry in ledger.entries(desk.ledger_path)] == ["promote", "fallback"]


def test_a_change_stands_though_mlflow_cannot_even_be_loaded(
    desk: Settings,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, _ = promoted(desk, 30.0, 31.0)
    with monkeypatch.context() as patch:  # as with too little memory
        patch.setitem(sys.modules, "mlflow.exceptions", None)
        done = promotion.rollback(desk, who="bob", reason="x", now=at(3))
    assert done.changed and "was not moved (import of mlflow.exceptions" in done.note
    assert champion_id(desk) == first.id


def test_a_full_disk_is_told_as_one_and_nothing_is_in_force(desk: Settings) -> None:  # noqa: F811
    first, second = promoted(desk, 30.0, 31.0)
    for _ in range(2):
        with faulty.full_disk(), pytest.raises(CrossImpactError, match="is full: nothing was"):
            promotion.rollback(desk, who="bob", reason="x", now=at(3))
        assert champion_id(desk) == second.id and life.ledger_verify(desk).ok
    assert promotion.rollback(desk, who="bob", reason="x", now=at(3)).new == first.digest
