"""Commands that fail with a secret at hand tell none: on stdout, stderr, in log or home."""

from __future__ import annotations

import pytest

from tests.canary import CANARY, canaries, leaking
from tests.pipelines.monitoring import home as desk


@pytest.mark.parametrize(
    ("words", "env"),
    [
        (["show"], {"MLFLOW_TRACKING_URI": "http://127.0.0.1:1"}),
        (["show"], {"MLFLOW_TRACKING_URI": f"http://ann:{CANARY}@127.0.0.1:1"}),
        (["pull"], {"MLFLOW_TRACKING_URI": f"https://ann:{CANARY}@192.0.2.1/x"}),
        (["doctor"], {"MLFLOW_TRACKING_URI": f"http://ann:{CANARY}@127.0.0.1:1"}),
        (["doctor", "--json"], {"CROSSIMPACT_AIRFLOW_DB": f"nonsense://a:{CANARY}@b:x/c"}),
        (["metrics", "write", "FILE"], {"CROSSIMPACT_AIRFLOW_DB": f"postgresql://a:{CANARY}@[::1"}),
        (["promote", "--override", "--reason", "r", "--approver", "bob"],
         {"MLFLOW_TRACKING_URI": "http://127.0.0.1:1"}),
        (["live", "--once", "--feed", f"redis://:{CANARY}@127.0.0.1:1/s"], {}),
        (["live", "--once", "--feed", f"redis://:{CANARY}@192.0.2.1/s"], {}),
        (["live", "--once", "--feed", "FILE", "--output", f"redis://x:{CANARY}@127.0.0.1:1/s"], {}),
    ],
)  # fmt: skip
def test_commands_that_fail_do_not_tell_a_secret(
    words, env, tmp_path, monkeypatch, crossimpact, caplog
):
    home = desk.made(tmp_path / "home").home
    (tmp_path / "FILE").touch()
    for name, value in {**canaries(), **env}.items():
        monkeypatch.setenv(name, value)
    words = [str(tmp_path / "FILE") if word == "FILE" else word for word in words]
    with caplog.at_level("DEBUG"):
        _, out, err = crossimpact(*words, "--home", home)
    told = {"stdout": out.encode(), "stderr": err.encode(), "log": caplog.text.encode()}
    assert leaking(home, told) == []


@pytest.mark.parametrize("host", ["127.0.0.1:1", "192.0.2.1"])
@pytest.mark.parametrize("option", ["--feed", "--output"])
def test_an_address_of_redis_with_a_password_is_refused(option, host, tmp_path, crossimpact):
    """It was told in the error of an address beyond this machine, and left out when connecting."""
    home = desk.made(tmp_path / "home").home
    words = ("live", "--once", option, f"redis://:{CANARY}@{host}/s", "--home", home)
    code, _, err = crossimpact(*words)
    assert code == 2
    assert "holds credentials; give the password as CROSSIMPACT_REDIS_PASSWORD" in err
