"""The consumer: what it serves, for how long, under which demotions, and what it refuses."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossimpact import manipulation
from crossimpact.consumer.client import Client, Served
from crossimpact.consumer.deadline import Worker
from crossimpact.errors import ModelError, Unavailable
from crossimpact.kernel.decay import Decay
from crossimpact.model import ImpactModel
from crossimpact.release import admissible, ledger
from crossimpact.release.bundle import Release
from crossimpact.release.content import Policy
from registry import tracking
from tests.registry import faulty
from tests.registry.desk import FIRST, NOW, SECOND, Desk, contents, one_line
from tests.registry.servers import Server, Store, logged_in, sample
from tests.releases import POV


def test_the_champion_is_served_and_followed(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    desk = Desk(tmp_path, store.uri)
    client = desk.client()
    assert (client.served.state, client.served.release) == ("fallback", None)
    for release in (FIRST, SECOND):
        version = store.register(release).version
        tracking.move_alias(store.uri, "champion", version)
        desk.write(release=release, version=version)
        with one_line(caplog, "live", f"release {release.id} answers: champion since 2026-02-09"):
            served = client.pull()
            assert client.pull().since == served.since  # and nothing more to say
        assert (served.state, served.digest) == ("live", release.digest)
        assert (served.version, served.confirmed_at) == (version, NOW)
        assert served.release == release
        assert client.answer("normal").model.gamma[0, 1] == release.models["normal"].gamma[0, 1]
    assert sorted(path.name for path in desk.cache("warm").iterdir()) == sorted(
        [FIRST.digest, SECOND.digest, "pointer.json"]
    )
    assert desk.cache("warm").stat().st_mode & 0o777 == 0o700


def test_a_reader_of_the_server_needs_no_right_to_write(
    server: Server, served: Store, tmp_path: Path
) -> None:
    desk = Desk(tmp_path, served.uri)
    desk.write(release=FIRST, version=served.register(FIRST).version)
    with logged_in(server.reader):
        assert desk.client().pull().state == "live"
    nobody = {"MLFLOW_TRACKING_USERNAME": "reader", "MLFLOW_TRACKING_PASSWORD": "guessed"}
    with logged_in(nobody):
        served_now = desk.client("cold").pull()
    assert served_now.state == "fallback"
    assert "answered 401" in served_now.reason and "to user reader" in served_now.reason
    assert "guessed" not in served_now.reason


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """The first release is champion, of a registry to come."""
    desk = Desk(tmp_path, "")
    desk.write(release=FIRST, version=1)
    return desk


def pulled(desk: Desk, release: Release, version: int = 1, **over: object) -> Client:
    """A client that pulled the release; its registry is gone by now."""
    with faulty.registry(contents(release), version) as there:
        client = desk.client(**{"uri": there.uri} | over)
        assert client.pull().state == "live"
    return client


def test_demotions_hold_in_memory_and_on_disk_until_the_next_promotion(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    client = pulled(desk, FIRST)
    desk.write("demote", rungs={"normal": "self_only"}, why="slope 0.1")
    with one_line(caplog, "last_known_good", "refused"):
        model, rung, reason, pov = client.pull().answer("normal")
    assert (rung, pov, model.edges) == ("self_only", POV["self_only"], 0)
    assert reason.startswith("demoted by ann on 2026-02-09: slope 0.1")
    before = desk.book.read_bytes()
    desk.book.write_bytes(b"spoilt\n")  # who starts now has the disk alone
    assert desk.client().served.answer("normal").rung == "self_only"
    desk.book.write_bytes(before)
    desk.write(release=FIRST, version=1)
    assert client.pull().answer("normal").rung == "full"


def test_a_release_with_a_decay_kernel_is_served_on_every_rung(desk: Desk) -> None:
    kernel = Decay.from_half_life(30.0, 0.3, scale_self=1.2, scale_cross=1.4, bucket_min=5.0)
    slow = replace(FIRST, models={"normal": replace(FIRST.models["normal"], kernel=kernel)})
    desk.write(release=slow, version=2)
    client = pulled(desk, slow, 2)
    assert client.answer("normal").model.kernel == kernel
    desk.write("demote", rungs={"normal": "self_only"}, why="slope 0.1")
    model, rung, *_ = client.pull().answer("normal")
    assert (rung, model.edges, model.kernel) == ("self_only", 0, kernel)
    assert desk.client().served.release == slow  # from disk


def test_a_release_rolled_back_is_dropped_even_if_the_other_cannot_be_had(desk: Desk) -> None:
    pulled(desk, FIRST)
    desk.write(release=SECOND, version=2)
    client = pulled(desk, SECOND, 2)
    desk.write("rollback", release=FIRST, version=1)
    served = client.pull()  # from its own disk, on the ledger's word
    assert (served.state, served.digest) == ("last_known_good", FIRST.digest)
    assert desk.client().served.digest == FIRST.digest


def test_a_release_rolled_back_leaves_nobody_when_it_was_the_only_one(desk: Desk) -> None:
    desk.write(release=SECOND, version=2)
    client = pulled(desk, SECOND, 2)
    desk.write("rollback", release=FIRST, version=1)
    served = client.pull()
    assert (served.state, served.digest) == ("fallback", None)
    assert desk.client().served.state == "fallback"
    desk.book.write_bytes(b"spoilt\n")
    assert desk.client().served.state == "fallback"


def test_a_release_answers_for_max_age_after_it_was_confirmed(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    client = pulled(desk, FIRST, max_age=timedelta(hours=8))
    desk.now = NOW + timedelta(hours=8)
    assert desk.client(max_age=timedelta(hours=8)).served.state == "last_known_good"
    assert client.served.state == "live"
    desk.now += timedelta(seconds=1)
    with one_line(caplog, "fallback", f"release {FIRST.id} was last confirmed at 2026-02-10T12:00"):
        for _ in range(3):
            served = client.served
            assert served.state == "fallback"
    assert desk.client(max_age=timedelta(hours=8)).served.state == "fallback"
    assert served.answer("normal") == (None, "fixed_pov", served.reason, 0.05)
    assert client.pull().state == "fallback"
    with faulty.registry(contents(FIRST), 1) as there:
        fresh = desk.client(uri=there.uri, max_age=timedelta(hours=8))
        assert fresh.pull().state == "live"
        assert not any("get-artifact" in path for path in there.asked)  # it was on disk


def test_an_expired_release_is_not_used_and_its_own_fixed_share_is(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    own = Policy("full", "fitted", POV | {"fixed_pov": 0.02})
    careful = replace(FIRST, as_of="2026-01-30", fallback=FIRST.fallback | {"normal": own})
    desk.write(release=careful, version=2)
    desk.now = NOW.replace(day=11, month=3)
    why = f"release {careful.id} as of 2026-01-30 has expired"
    for valid_for, state in ((timedelta(days=60), "live"), (timedelta(days=40), "fallback")):
        with faulty.registry(contents(careful), 2) as there:
            client = desk.client(state, uri=there.uri, valid_for=valid_for)
            with one_line(caplog, state, "champion since" if state == "live" else why):
                served = client.pull()
        assert served.state == state
    assert client.answer("normal").max_pov == 0.02
    assert client.answer("stressed").max_pov == 0.05
    assert client.answer("halted") == (None, "fixed_pov", served.reason, 0.05)


def test_without_any_release_five_percent_of_volume_is_traded(tmp_path: Path) -> None:
    client = Desk(tmp_path, f"sqlite:///{tmp_path}/mlflow.db").client()
    served = client.pull()
    assert served.state == "fallback"
    assert "no release is promoted" in served.reason
    assert client.answer("normal") == (None, "fixed_pov", served.reason, 0.05)


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("http://host:port", "port"),
        ("http://[::1", "is no address of MLflow"),
        ("http://ann:secret@host", "credentials"),
    ],
)
def test_an_address_that_is_none_is_a_reason_and_no_error(tmp_path: Path, uri: str, why: str):
    served = Desk(tmp_path, uri).client().pull()
    assert served.state == "fallback"
    assert why in served.reason
    assert "secret" not in served.reason


def test_reading_waits_for_nobody(desk: Desk) -> None:
    pulled(desk, FIRST)
    with faulty.hanging() as uri:
        client = desk.client(uri=uri, deadline_s=5.0)
        pulling = threading.Thread(target=client.pull)
        pulling.start()
        try:
            while not client._pulling.locked():
                time.sleep(0.001)
            for _ in range(100):
                assert client.answer("normal").rung == "full"
            assert client.pull().state == "last_known_good"  # another thread is at it
            assert pulling.is_alive()  # all that took less than its wait
        finally:
            pulling.join(30)
    assert "answer in time" in client.served.reason or "timed out" in client.served.reason


def test_each_fall_is_witnessed_once_by_whoever_asked_for_it(desk: Desk) -> None:
    told: list[Served] = []
    client = pulled(desk, FIRST, on_fallback=told.append)
    assert told == []
    for _ in range(2):
        client.pull()
    desk.now += timedelta(days=30)
    client.pull()
    for thread in threading.enumerate():
        if thread.name == "on_fallback":
            thread.join()
    assert sorted(served.state for served in told) == ["fallback", "last_known_good"]


@pytest.mark.parametrize("appends", [1, 2])
def test_an_append_while_the_ledger_is_read_does_not_look_like_a_break(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, appends: int
) -> None:
    read, left = Path.read_bytes, [appends]

    def late(path: Path) -> bytes:
        content = read(path)
        if path == desk.book and left[0] and not desk.book.with_suffix(".lock").exists():
            left[0] -= 1
            desk.write("fallback", why="somebody else's")
            desk.book.with_suffix(".lock").unlink()
        return content

    desk.book.with_suffix(".lock").unlink()
    monkeypatch.setattr(Path, "read_bytes", late)
    assert len(ledger.entries(desk.book)) == 1 + appends


def test_mlflow_is_not_imported(embedded: Store) -> None:
    desk = Desk(embedded.home, embedded.uri)
    desk.write(release=FIRST, version=embedded.register(FIRST).version)
    code = (
        "import sys; from datetime import datetime, UTC; from pathlib import Path;"
        "from crossimpact.consumer.client import Client;"
        "c = Client(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), deadline_s=30,"
        " clock=lambda: datetime(2026, 2, 10, tzinfo=UTC));"
        "assert c.pull().state == 'live', c.served; assert 'mlflow' not in sys.modules;"
        "assert not {'pandas', 'pickle5', 'cloudpickle', 'sqlalchemy'} & set(sys.modules)"
    )
    arguments = [desk.uri, str(desk.book), str(desk.cache("x"))]
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, env=dict(os.environ))


# -- work that is given up on ----------------------------------------------------------------------


def test_a_worker_gives_up_in_time_and_never_has_two_threads() -> None:
    worker, release = Worker("it"), threading.Event()
    assert worker.run(lambda: 7, time.monotonic() + 30) == 7
    with pytest.raises(ZeroDivisionError):
        worker.run(lambda: 1 / 0, time.monotonic() + 30)
    begun: list[int] = []
    with pytest.raises(Unavailable, match="it did not answer in time"):
        worker.run(lambda: begun.append(1) or release.wait(), time.monotonic() + 0.1)
    with pytest.raises(Unavailable, match="still does not answer an earlier pull"):
        worker.run(lambda: begun.append(2), time.monotonic() + 30)
    release.set()
    worker._last.result(30)
    assert worker.run(lambda: begun, time.monotonic() + 30) == [1]


# -- numbers ---------------------------------------------------------------------------------------


def changed(**over: object) -> Release:
    return replace(FIRST, models={"normal": replace(FIRST.models["normal"], **over)})


@pytest.mark.parametrize(
    ("release", "why"),
    [
        (changed(gamma=np.array([[0.0, 5.0], [2.6, 0.0]])), "differ by .* from symmetric"),
        (changed(gamma=np.array([[0.0, 90.0], [45.0, 0.0]])), "a round trip would make money"),
        (changed(beta=np.zeros(2)), "a round trip would make money"),
        (changed(beta=np.array([2e6, 40.0])), "beta .* is not within 0 and 1e\\+06 bps"),
        (changed(alpha=np.array([-2e6, 0.0])), "alpha .* is not within"),
        (changed(gamma=np.array([[0.0, 4e6], [2e6, 0.0]])), "gamma .* is not within"),
    ],
)
def test_numbers_nobody_should_trade_on_are_refused_though_promoted(
    desk: Desk, caplog: pytest.LogCaptureFixture, release: Release, why: str
) -> None:
    pulled(desk, FIRST)
    desk.write("override", release=release, version=2)
    with faulty.registry(contents(release), 2) as there:
        client = desk.client(uri=there.uri)
        with one_line(caplog, "last_known_good", why):
            served = client.pull()
    assert served.digest == FIRST.digest


@pytest.mark.parametrize("name", ["alpha", "beta", "gamma", "adv", "reference"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_are_checked_whatever_the_constructor_let_through(name: str, value: float) -> None:
    model = replace(FIRST.models["normal"])
    spoilt = getattr(model, name).copy()
    spoilt[0, ...] = value
    object.__setattr__(model, name, spoilt)
    release = replace(FIRST, models={"normal": model})
    with pytest.raises(ModelError, match=f"{name} of rung full of regime normal"):
        admissible.check(release)


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(2, 6), strength=st.floats(0.0, 1.5))
@settings(max_examples=100, deadline=None)
def test_refused_is_exactly_what_has_a_profitable_round_trip(
    seed: int, n: int, strength: float
) -> None:
    rng = np.random.default_rng(seed)
    adv, beta = np.exp(rng.normal(15, 2, n)), np.exp(rng.normal(3, 1, n))
    couplings = strength * np.triu(rng.uniform(-1, 1, (n, n)) * (rng.random((n, n)) < 0.6), 1)
    scaled = (couplings + couplings.T) * np.sqrt(np.outer(beta, beta))
    model = ImpactModel(
        symbols=tuple(f"S{i}" for i in range(n)),
        sectors=("T",) * n,
        adv=adv,
        regime="normal",
        alpha=np.ones(n),
        beta=beta,
        gamma=scaled * np.sqrt(adv) / np.sqrt(adv)[:, None],
    )
    release = replace(sample("2026-01-31"), models={"normal": model})
    smallest = manipulation.smallest_eigenvalue(model)
    if smallest > 0:
        admissible.check(release)
    elif smallest < -1e-8:
        with pytest.raises(ModelError, match="a round trip would make money"):
            admissible.check(release)
