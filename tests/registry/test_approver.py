"""Who approves an override where MLflow asks for logins: a real server, by the command line."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from cli import main as cli
from cli.options import APPROVER
from crossimpact.release import ledger
from crossimpact.release.ledger import Entry
from pipelines import release
from pipelines.approval import TRIGGERED_BY
from pipelines.store.settings import Settings
from registry import connection
from tests.registry.servers import Server, Store, sample

OK, USAGE, REFUSED = 0, 2, 4
Promote = Callable[..., tuple[int, str]]


@pytest.fixture
def promote(
    served: Store, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Promote:
    """`promote --override --approver A` by the operator: exit code, and all that was printed."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", served.uri)
    monkeypatch.setenv("CROSSIMPACT_USER", "a-name")
    monkeypatch.setattr("atexit.register", lambda _: None)

    def run(approver: str, password: str | None) -> tuple[int, str]:
        words = ["promote", "--override", "--reason", "r", "--approver", approver]
        monkeypatch.setattr("sys.argv", ["crossimpact", *words, "--home", str(served.home)])
        if password is not None:
            monkeypatch.setenv(APPROVER, password)
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        assert APPROVER not in os.environ  # no child process finds it
        said = "".join(capfd.readouterr())
        assert not password or password not in said
        return code, said

    return run


def entries(store: Store) -> list[Entry]:
    return ledger.entries(store.book) if store.book.exists() else []


def test_an_override_is_approved_by_a_login_that_the_server_knows(
    served: Store, server: Server, promote: Promote
) -> None:
    served.register(sample("2026-01-31"))
    secret = server.reader["MLFLOW_TRACKING_PASSWORD"]
    for approver, password, code, said in (
        ("reader", "hunter2-7f3a", REFUSED, "does not know approver reader, or by another"),
        ("stranger", secret, REFUSED, "does not know approver stranger"),
        ("reader:x", secret, REFUSED, "does not know approver reader:x"),
        ("", None, USAGE, "needs a reason and an approver"),  # before a password is asked for
        ("Operator", None, REFUSED, "operator cannot approve their own override"),
    ):
        found, told = promote(approver, password)
        assert (found, said in told) == (code, True), told
        assert entries(served) == []
    found, told = promote("reader", secret)
    assert found == OK, told
    (entry,) = entries(served)
    assert (entry.action, entry.identity) == ("override", "login")
    assert (entry.who, entry.approver) == ("operator", "reader")
    assert secret not in served.book.read_text()
    (line,) = release.ledger_lines(Settings(served.home))["ledger"]
    assert (line["approver"], line["identity"]) == ("reader (login)", "login")


def test_without_a_terminal_the_password_comes_from_the_environment(
    served: Store, promote: Promote
) -> None:
    served.register(sample("2026-01-31"))
    code, said = promote("reader", None)
    assert (code, f"set {APPROVER}" in said) == (USAGE, True)
    assert entries(served) == []


@pytest.mark.parametrize("how", ["registered", "triggered the refit of"])
def test_who_made_a_release_cannot_approve_it(
    served: Store, server: Server, promote: Promote, how: str
) -> None:
    origin = {TRIGGERED_BY: "reader"} if how != "registered" else {}
    version = served.register(sample("2026-01-31"), origin=origin)
    if how == "registered":
        with connection.session(served.uri) as client:
            client.set_tag(version.run_id, "mlflow.user", "reader")
    code, said = promote("reader", server.reader["MLFLOW_TRACKING_PASSWORD"])
    assert code == REFUSED
    assert f"reader {how} release {version.id} and cannot approve it" in said
    assert entries(served) == []


def test_a_file_asks_nobody_for_a_login(
    embedded: Store, monkeypatch: pytest.MonkeyPatch, promote: Promote, served: Store
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", embedded.uri)
    embedded.register(sample("2026-01-31"))
    code, said = promote("bob", None)
    assert code == OK, said
    (entry,) = entries(embedded)
    assert (entry.who, entry.approver, entry.identity) == ("a-name", "bob", "name")
