"""Several desks on one registry: names of their own, and one desk's fault stops no other."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from crossimpact.consumer.address import DESK, check_desk, of_desk
from crossimpact.errors import UsageError

#: Registers a release in a registry that others use, says who its challenger is; one loses all.
REGISTER = """
import sys
from pathlib import Path
from crossimpact.consumer.address import MODEL
from registry import connection, tracking
from tests.registry.servers import Store, sample
home = Path(sys.argv[1])
store = Store(f"sqlite:///{sys.argv[2]}", home, home)
store.register(sample(sys.argv[3]))
release, version = store.resolve("challenger")
print(MODEL, version.version, release.as_of)
if sys.argv[4:] == ["lose"]:
    with connection.session(store.uri) as client:
        client.delete_registered_model(MODEL)
"""


def desk(name: str, home: Path, database: Path, *words: str) -> list[str]:
    """Of a process that works for one desk: model, version and date of its challenger."""
    command = [sys.executable, "-c", REGISTER, str(home), str(database), *words]
    done = subprocess.run(
        command, env={**os.environ, DESK: name}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_two_desks_share_a_registry_and_neither_sees_or_harms_the_other(
    tmp_path: Path, fresh_home: Path
) -> None:
    database = fresh_home / "mlflow" / "mlflow.db"
    cash = desk("cash", tmp_path / "cash", database, "2026-03-05")
    assert cash == ["crossimpact-gamma-cash", "1", "2026-03-05"]
    rates = desk("rates", tmp_path / "rates", database, "2026-02-05", "lose")
    assert rates == ["crossimpact-gamma-rates", "1", "2026-02-05"]
    with sqlite3.connect(database) as connection:
        models = connection.execute("SELECT name, alias, version FROM registered_model_aliases")
        experiments = connection.execute("SELECT name FROM experiments WHERE experiment_id > 0")
        assert models.fetchall() == [("crossimpact-gamma-cash", "challenger", 1)]
        names = {name for (name,) in experiments}
    assert names == {"crossimpact-refit-cash", "crossimpact-refit-rates"}


@pytest.mark.parametrize(
    "name", ["../other", "a b", "Rates", "-a", "a-", "a" * 33, "a'--", "péage", "a/b", "\n", "a\n"]
)
def test_an_odd_desk_is_refused_and_escaped_where_nobody_asked(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DESK, name)
    with pytest.raises(UsageError, match="no name of a desk"):
        check_desk()
    assert not set(of_desk("model")) & set("/'\" \n:;")


def test_without_a_desk_names_are_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DESK, raising=False)
    check_desk()
    assert of_desk("crossimpact-gamma") == "crossimpact-gamma"
    monkeypatch.setenv(DESK, "a")
    check_desk()
