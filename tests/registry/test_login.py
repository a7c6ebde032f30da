"""Who may do what on a server with a login, and that no password is ever told."""

from __future__ import annotations

import traceback

import pytest

from crossimpact.consumer import source
from crossimpact.errors import Unavailable, UsageError
from registry import tracking
from tests.registry.servers import Server, Store, logged_in, sample

HUSH = "hunter2-7f3a"


@pytest.mark.parametrize(
    "login",
    [
        {"MLFLOW_TRACKING_USERNAME": "operator", "MLFLOW_TRACKING_PASSWORD": HUSH},
        {"MLFLOW_TRACKING_USERNAME": "stranger", "MLFLOW_TRACKING_PASSWORD": HUSH},
        {"MLFLOW_TRACKING_USERNAME": "", "MLFLOW_TRACKING_PASSWORD": ""},
    ],
)
def test_a_wrong_login_is_told_without_its_password(
    served: Store, login: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    with logged_in(login), pytest.raises(Unavailable, match=r"answered 401 to .* to user"):
        tracking.versions(served.uri)
    with logged_in(login), pytest.raises(Unavailable) as told:
        tracking.move_alias(served.uri, "champion", 1)
    user = login["MLFLOW_TRACKING_USERNAME"] or "nobody"
    assert f"MLflow at {served.uri} does not know user {user}" in str(told.value)
    assert "MLFLOW_TRACKING_PASSWORD" in told.value.hint
    said = "".join(traceback.format_exception(told.value)) + caplog.text
    assert HUSH not in said


@pytest.mark.parametrize("secret", [HUSH, f"{HUSH}/@{HUSH}"])
def test_an_address_with_credentials_is_refused_without_repeating_it(
    served: Store, secret: str, caplog: pytest.LogCaptureFixture
) -> None:
    address = served.uri.replace("://", f"://operator:{secret}@")
    with pytest.raises(UsageError, match="MLFLOW_TRACKING_PASSWORD") as told:
        tracking.resolve(address, "champion")
    said = "".join(traceback.format_exception(told.value)) + caplog.text
    assert HUSH not in said


def test_a_reader_reads_and_changes_nothing(served: Store, server: Server) -> None:
    version = served.register(sample("2026-01-31"))
    with logged_in(server.reader):
        assert served.resolve("challenger")[0] == sample("2026-01-31")
        for forbidden, what in (
            (lambda: tracking.move_alias(served.uri, "champion", 1), "registered-models/alias"),
            (lambda: tracking.note(served.uri, version, {"a": "b"}), "model-versions/set-tag"),
            (lambda: served.register(sample("2031-02-28")), "runs/create"),
        ):
            with pytest.raises(Unavailable, match=f"permit user reader {what}; .* EDIT on") as told:
                forbidden()
            assert server.reader["MLFLOW_TRACKING_PASSWORD"] not in str(told.value)
    assert source.ask(served.uri, lambda registry: registry.alias("champion")) is None
    assert [known.version for known in tracking.versions(served.uri)] == [1]
