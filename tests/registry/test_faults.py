"""Whatever breaks, orders go on: the release before or a named fallback, in time, in one line."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path

import pytest

from crossimpact.consumer.address import MODEL, SQLITE
from crossimpact.consumer.cache import CachedRelease, ReleaseCache, Seen
from crossimpact.release import ledger, release_files
from registry import tracking
from registry.connection import session
from tests.registry import faulty, promoters, servers
from tests.registry.desk import (
    FIRST,
    NOW,
    PATIENT_S,
    SECOND,
    SHORT_S,
    SLACK_S,
    Desk,
    contents,
    one_line,
)
from tests.registry.servers import Store, sample

FILES = contents(SECOND)


def check(desk: Desk, caplog: pytest.LogCaptureFixture, why: str, **over: object) -> None:
    """A client that had the first release keeps it; one that had none trades a fixed share."""
    for cache, state, digest in (
        ("warm", "last_known_good", FIRST.digest),
        ("cold", "fallback", None),
    ):
        client = desk.client(cache, **over)
        start = time.monotonic()
        with one_line(caplog, state, why):
            served = client.pull()
        assert time.monotonic() - start < SLACK_S
        assert (served.state, served.digest) == (state, digest)
        answer = client.answer("normal")
        assert answer.rung == ("full" if digest else "fixed_pov")
        assert answer.max_pov == (0.15 if digest else 0.05)


# -- on the way: the first release is at hand, the second was promoted and cannot be had -----------


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return _after_first(Desk(tmp_path, ""), 2)


def _after_first(desk: Desk, version: int) -> Desk:
    desk.write(release=FIRST, version=version - 1)
    good = CachedRelease(FIRST, FIRST.digest, version - 1, NOW)
    ReleaseCache(desk.cache("warm")).save(good, Seen(), contents(FIRST))
    desk.write(release=SECOND, version=version)
    return desk


def misbehaving(**faults: object) -> Callable[[], AbstractContextManager[faulty.Registry]]:
    return partial(faulty.registry, FILES, 2, **faults)


ON_THE_WAY = {
    "refused": (faulty.refusing, "Connection refused"),
    "hanging": (faulty.hanging, "timed out|did not answer in time"),
    "slow headers": (misbehaving(drip="headers"), "timed out|did not answer in time"),
    "slow files": (misbehaving(drip="files"), "timed out|did not answer in time"),
    "500": (misbehaving(status=500), "answered 500 to registered-models/alias"),
    "503": (misbehaving(status=503), "answered 503"),
    "another login": (misbehaving(status=401), "answered 401 to .* to user nobody"),
    "elsewhere": (misbehaving(status=302), "answered 302"),
    "version deleted": (misbehaving(lost=True), "has no version 2"),
    "no JSON": (misbehaving(text=b"<html>"), "answered 200"),
    "other JSON": (misbehaving(text=b"[1]"), "answered 200"),
    "half of each file": (misbehaving(sent=lambda c: c[: len(c) // 2]), r"of \d+ bytes, got"),
    "more than listed": (misbehaving(sent=lambda c: c + b" "), r"of \d+ bytes, got"),
    "another byte": (misbehaving(sent=lambda c: c[:-1] + b"!"), "has digest|has sha256"),
    "path upwards": (misbehaving(listed={"../../evil.json": 2}), "unexpected ../../evil.json"),
    "absolute path": (misbehaving(listed={"/etc/passwd": 2}), "unexpected /etc/passwd"),
    "below": (misbehaving(listed={"sub/release.json": 2}), "unexpected sub/release.json"),
    "folder": (misbehaving(listed={"code": None}), "holds code, not a plain file"),
    "pickle": (misbehaving(listed={"model.pkl": 2}), "unexpected model.pkl"),
    "MLmodel": (misbehaving(listed={"MLmodel": 2}), "unexpected MLmodel"),
    "line feed": (misbehaving(listed={"a\nlive: b": 2}), r"unexpected 'a\\nlive: b'"),
    "another regime": (misbehaving(listed={"model-x-full.json": 2}), "unexpected model-x-full"),
    "too large": (misbehaving(listed={"model-a-full.json": 1 << 50}), r"holds 7 files of \d+ byt"),
    "too many": (
        misbehaving(listed={f"model-r{i}-full.json": 1 for i in range(99)}),
        "holds 105 files",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ON_THE_WAY)
def test_on_the_way(desk: Desk, caplog: pytest.LogCaptureFixture, name: str) -> None:
    strike, why = ON_THE_WAY[name]
    patience = SHORT_S if name.startswith(("hang", "slow")) else PATIENT_S
    with strike() as there:
        uri = there if isinstance(there, str) else there.uri
        check(desk, caplog, why, uri=uri, deadline_s=patience)


def test_what_is_no_http_is_told_short_and_in_plain_characters(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    def answer(listener: socket.socket) -> None:
        with listener.accept()[0] as line:
            line.recv(1 << 16)
            line.sendall(b"\x1b[2J\x9b31m\x07" * 2000 + b"\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=answer, args=(listener,), daemon=True).start()
        uri = f"http://127.0.0.1:{listener.getsockname()[1]}"
        client = desk.client(uri=uri)
        with one_line(caplog, "last_known_good", r"failed: \\x1b\[2J"):
            served = client.pull()
    assert served.reason.isprintable() and len(served.reason) <= 1000


def test_a_hanging_registry_costs_one_thread_and_its_late_answer_changes_nothing(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    with misbehaving(drip="headers")() as there:
        client = desk.client(uri=there.uri, deadline_s=SHORT_S)
        with one_line(caplog, "last_known_good", "timed out|did not answer"):
            for _ in range(4):
                assert client.pull().digest == FIRST.digest
        pulls = [t for t in _threads() if t.startswith("pull: the registry")]
        assert len(pulls) <= 1
        there.drip = ""
        served = _until(lambda: client.pull(), lambda served: served.state == "live")
        assert served.digest == SECOND.digest


def _threads() -> list[str]:
    return [thread.name for thread in threading.enumerate()]


def _until(act: Callable, good: Callable[[object], bool]):
    deadline = time.monotonic() + SLACK_S
    while not good(found := act()):
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    return found


def test_an_alias_that_moves_while_it_is_read_mixes_nothing(desk: Desk) -> None:
    moves = iter(range(7, 99))
    with misbehaving(alias=lambda: next(moves))() as there:
        client = desk.client(uri=there.uri)
        served = client.pull()
        assert (served.state, served.digest, served.version) == ("live", SECOND.digest, 2)
        assert "alias champion points at version 7, the ledger's version 2 counts" in served.reason
        assert sum(path.endswith("alias") for path in there.asked) == 1
        before = len(there.asked)
        assert "version 8" in client.pull().reason
        assert len(there.asked) == before + 1  # what is at hand is not loaded again


# -- in the ledger ---------------------------------------------------------------------------------


def _edit(book: Path) -> None:
    book.write_bytes(book.read_bytes().replace(b'"ann"', b'"eve"', 1))


def _cut(book: Path, line: int) -> None:
    lines = book.read_bytes().splitlines(keepends=True)
    del lines[line]
    book.write_bytes(b"".join(lines))


def _remove(book: Path) -> None:
    book.unlink()
    book.with_name(book.name + ".head").unlink()


IN_THE_LEDGER = {
    "line edited": (_edit, "broken at line 1: its sha256 does not match"),
    "first line removed": (partial(_cut, line=0), "broken at line 1: it says it is entry 2"),
    "last line removed": (partial(_cut, line=-1), "broken at line 2: it is gone"),
    "emptied": (lambda book: book.write_bytes(b""), "broken at line 1: it is gone"),
    "gone, head and all": (
        _remove,
        "was rewritten|knows no champion, and MLflow's alias champion points at version 2",
    ),
    "head spoilt": (
        lambda book: book.with_name(book.name + ".head").write_bytes(b"{"),
        "head cannot be read",
    ),
}


@pytest.mark.parametrize("name", IN_THE_LEDGER)
def test_in_the_ledger(desk: Desk, caplog: pytest.LogCaptureFixture, name: str) -> None:
    strike, why = IN_THE_LEDGER[name]
    strike(desk.book)
    with misbehaving()() as there:
        check(desk, caplog, why, uri=there.uri)
        asked = {path.rsplit("/", 1)[-1] for path in there.asked}
        assert asked <= {"alias"}  # nothing is loaded that the ledger does not vouch for


def test_a_ledger_set_back_in_time_is_not_believed(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    head = desk.book.with_name(desk.book.name + ".head")
    with misbehaving()() as there:
        for restart in (False, True):
            client = desk.client(uri=there.uri)
            assert client.pull().state == "live"
            past = [(path, path.read_bytes()) for path in (desk.book, head)]
            desk.write("demote", rungs={"normal": "self_only"})
            assert client.pull().answer("normal").rung == "self_only"
            for path, content in past:
                path.write_bytes(content)
            if restart:
                client = desk.client(uri=there.uri)
            with one_line(caplog, "last_known_good", "was rewritten: line 3 is gone"):
                served = client.pull()
            assert served.answer("normal").rung == "self_only"
            shutil.rmtree(desk.cache("warm"))


# -- in the registry, embedded and served ----------------------------------------------------------


@pytest.fixture(scope="module", params=["embedded", "served"])
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, mlflow_tables: Path
) -> Iterator[Store]:
    """A registry with the second release, which each test puts back as it was."""
    home = tmp_path_factory.mktemp("home")
    if request.param == "embedded":
        (home / "mlflow").mkdir()
        database = shutil.copy(mlflow_tables, home / "mlflow" / "mlflow.db")
        yield _with_second(Store(f"{SQLITE}{database}", home, home / "mlflow" / "artifacts"))
    else:
        server = request.getfixturevalue("server")
        with servers.logged_in(server.operator):
            servers.empty(server)
            yield _with_second(Store(server.uri, home, server.artifact_root, server.operator))


def _with_second(store: Store) -> Store:
    version = store.register(SECOND).version
    tracking.move_alias(store.uri, "champion", version)
    return store


@pytest.fixture
def promoted(store: Store, tmp_path: Path) -> Iterator[Desk]:
    """A desk that had the first release before the second was promoted."""
    version, folder = tracking.find(store.uri, "champion"), _folder(store)
    shutil.copytree(folder, tmp_path / "before")
    yield _after_first(Desk(tmp_path, store.uri), version.version)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(tmp_path / "before", folder)
    tracking.move_alias(store.uri, "champion", version.version)


def _folder(store: Store) -> Path:
    return store.artifacts(tracking.find(store.uri, "champion")) / "release"


def _truncate(store: Store) -> None:
    path = _folder(store) / "gamma-normal-full.npy"
    path.write_bytes(path.read_bytes()[:-8])


def _flip(store: Store) -> None:
    path = _folder(store) / "gamma-normal-full.npy"
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)


def _swap(store: Store) -> None:
    """Another whole release, and everything MLflow says of it edited to match."""
    forged = sample("2026-02-05", gamma=9.0)
    folder, version = _folder(store), tracking.find(store.uri, "champion")
    shutil.rmtree(folder)
    release_files.write(forged, folder)
    with session(store.uri) as client:
        client.set_model_version_tag(MODEL, str(version.version), "digest", forged.digest)
        client.set_tag(version.run_id, "digest", forged.digest)


def _link(store: Store) -> None:
    path = _folder(store) / "release.json"
    path.unlink()
    path.symlink_to("/etc/hostname")


class Planted:
    """Leaves a trace if it is ever unpickled."""

    def __init__(self, trace: str) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (self.trace,)


def _plant_pickle(store: Store) -> None:
    (_folder(store) / "python_model.pkl").write_bytes(pickle.dumps(Planted(f"{store.home}/trace")))


def _disguise_pickle(store: Store) -> None:
    path = _folder(store) / "gamma-normal-full.npy"
    path.write_bytes(pickle.dumps(Planted(f"{store.home}/trace")))


def _plant_loader(store: Store) -> None:
    flavor = {"flavors": {"python_function": {"loader_module": "evil", "code": "code"}}}
    (_folder(store) / "MLmodel").write_text(json.dumps(flavor))
    (_folder(store) / "evil.py").write_text(f"import os; os.mkdir('{store.home}/trace')")


IN_THE_REGISTRY = {
    "truncated": (_truncate, "gamma-normal-full.npy has sha256"),
    "bit-flipped": (_flip, "gamma-normal-full.npy has sha256"),
    "swapped, its tags edited to match": (_swap, f"expected {SECOND.digest}"),
    "file lost": (lambda s: (_folder(s) / "fallback.json").unlink(), "lacks fallback.json"),
    "files lost": (lambda s: shutil.rmtree(_folder(s)), "is missing|has no manifest.json|answered"),
    "a link": (_link, "not a plain file|has release.json of"),
    "a pickle": (_plant_pickle, "unexpected python_model.pkl"),
    "a pickle in disguise": (_disguise_pickle, "gamma-normal-full.npy has sha256"),
    "loader_module": (_plant_loader, "unexpected MLmodel, evil.py"),
    "a folder": (lambda s: (_folder(s) / "code").mkdir(), "holds code, not a plain file"),
}


@pytest.mark.parametrize("name", IN_THE_REGISTRY)
def test_in_the_registry(
    promoted: Desk, store: Store, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    strike, why = IN_THE_REGISTRY[name]
    strike(store)
    check(promoted, caplog, why)
    assert not (store.home / "trace").exists()


@pytest.mark.parametrize("points", ["is missing", "points at version"])
def test_an_alias_without_the_ledger_moves_nobody(
    promoted: Desk, store: Store, caplog: pytest.LogCaptureFixture, points: str
) -> None:
    champion = tracking.find(store.uri, "champion").version
    with session(store.uri) as client:
        client.delete_registered_model_alias(MODEL, "champion")
    if points != "is missing":
        other = store.register(FIRST).version
        tracking.move_alias(store.uri, "champion", other)
        points += f" {other}"
    client = promoted.client()
    with one_line(caplog, "live", f"{points}, the ledger's version {champion} counts"):
        served = client.pull()
    assert (served.digest, served.version) == (SECOND.digest, champion)


EMBEDDED = {
    "locked": (faulty.locked, "database is locked|did not answer in time"),
    "gone": (faulty.without, "unable to open database file"),
    "no database": (faulty.garbage, "file is not a database"),
    "version deleted": (faulty.emptied, "has no version 1"),
}


@pytest.mark.parametrize("name", EMBEDDED)
def test_the_embedded_database(
    embedded: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    strike, why = EMBEDDED[name]
    version = _with_second(embedded).register(SECOND).version
    desk = _after_first(Desk(tmp_path, embedded.uri), version)
    with strike(embedded.home / "mlflow" / "mlflow.db"):
        check(desk, caplog, why, deadline_s=SHORT_S if name == "locked" else PATIENT_S)


# -- on the client's own disk ----------------------------------------------------------------------


@contextmanager
def _unwritable(folder: Path) -> Iterator[None]:
    folder.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.write_text("a file where the folder should be")
    yield


@pytest.mark.parametrize("fault", ["full", "unwritable"])
def test_a_disk_without_room(desk: Desk, caplog: pytest.LogCaptureFixture, fault: str) -> None:
    cold = desk.cache("cold")
    with misbehaving()() as there:
        client = desk.client("cold", uri=there.uri)
        with (
            one_line(caplog, "live", "not kept on disk: .*(too large|exists|director)"),
            faulty.full_disk() if fault == "full" else _unwritable(cold),
        ):
            served = client.pull()
        assert (served.state, served.digest) == ("live", SECOND.digest)
    if fault == "full":
        assert not list(cold.glob("*/*"))  # nothing half written
        assert desk.client("cold").served.state == "fallback"


SPOILT = {
    "pointer": lambda cache: (cache / "pointer.json").write_text('{"digest": "../../etc"}'),
    "no pointer": lambda cache: (cache / "pointer.json").unlink(),
    "a file": lambda cache: next(cache.glob("*/release.json")).write_text("{}"),
    "a link": lambda cache: (
        (cache / FIRST.digest).rename(cache / "x") or (cache / FIRST.digest).symlink_to(cache / "x")
    ),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_spoilt_cache_is_not_served_and_mended_by_the_next_pull(desk: Desk, name: str) -> None:
    SPOILT[name](desk.cache("warm"))
    with faulty.refusing() as uri:
        assert desk.client(uri=uri).pull().state == "fallback"
    with misbehaving()() as there, nullcontext():
        assert desk.client(uri=there.uri).pull().state == "live"
    assert desk.client(uri="").served.digest == SECOND.digest


# -- while it is promoted --------------------------------------------------------------------------


@pytest.fixture
def home(embedded: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for release in (FIRST, SECOND):
        embedded.register(release)
    promoters.promote(embedded.home, FIRST.id)
    return embedded


@pytest.mark.parametrize("step", promoters.STEPS)
def test_a_promoter_killed_leaves_the_old_release_or_the_new(home: Store, step: str) -> None:
    desk = Desk(home.home, home.uri)
    client = desk.client()
    assert client.pull().digest == FIRST.digest
    process = promoters.start(home.home, SECOND.id, step)
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    done = step not in UNDONE
    for reader in (client, desk.client("cold")):
        served = reader.pull()
        assert (served.state, served.digest) == ("live", (SECOND if done else FIRST).digest)
        assert ("points at version 1" in served.reason) == (step in BEHIND)
    again = promoters.promote(home.home, SECOND.id)
    assert again.changed == (not done)
    served = client.pull()
    assert (served.state, served.digest) == ("live", SECOND.digest)
    assert "alias" not in served.reason
    assert ledger.verify(desk.book).ok


UNDONE = ("with half a line written", "before the line is acknowledged")
#: The ledger has the promotion, and the alias is behind until the next.
BEHIND = ("after the line was acknowledged", "before the alias moves")


@pytest.mark.parametrize("step", UNDONE)
def test_a_promoter_killed_again_and_again_locks_nobody_out(home: Store, step: str) -> None:
    desk = Desk(home.home, home.uri)
    for _ in range(2):
        process = promoters.start(home.home, SECOND.id, step)
        process.join(60)
        assert process.exitcode == -signal.SIGKILL
        assert desk.client().pull().digest == FIRST.digest
    assert promoters.promote(home.home, SECOND.id).changed
    assert ledger.verify(desk.book).ok


def test_two_promoters_at_once_come_one_after_the_other(home: Store) -> None:
    third = sample("2026-02-06", gamma=3.0)
    home.register(third)
    desk = Desk(home.home, home.uri)
    client, seen = desk.client(), set()
    both = [promoters.start(home.home, release.id) for release in (SECOND, third)]
    while any(process.is_alive() for process in both):
        served = client.pull()
        assert served.state == "live"
        seen.add(served.digest)
    assert [process.exitcode for process in both] == [0, 0]
    entries = ledger.entries(desk.book)
    assert {entry.new for entry in entries[1:]} == {SECOND.digest, third.digest}
    assert [entry.old for entry in entries] == [None, *(entry.new for entry in entries[:-1])]
    served = client.pull()
    assert (served.state, served.digest) == ("live", entries[-1].new)
    assert "alias" not in served.reason
    assert seen <= {FIRST.digest, SECOND.digest, third.digest}
