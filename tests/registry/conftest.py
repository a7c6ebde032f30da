"""Registries to test against, each empty at the start of a test.

`embedded` is SQLite and files, `served` a real server with a login, `store` is either: a test that
takes it runs on both.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from crossimpact.consumer import address
from tests.registry import servers
from tests.registry.servers import Server, Store


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, mlflow_tables: Path) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(mlflow_tables, folder / "mlflow.db")
    with servers.serve(folder) as running:
        yield running


@pytest.fixture
def embedded(fresh_home: Path) -> Store:
    home = fresh_home
    uri = f"{address.SQLITE}{home}/mlflow/mlflow.db"
    return Store(uri, home, home / "mlflow" / "artifacts")


@pytest.fixture
def served(server: Server, tmp_path: Path) -> Iterator[Store]:
    """The server, with this process logged in as its operator."""
    with servers.logged_in(server.operator):
        servers.empty(server)
        yield Store(server.uri, tmp_path / "home", server.artifact_root, server.operator)


@pytest.fixture(params=["embedded", "served"])
def store(request: pytest.FixtureRequest) -> Store:
    found: Store = request.getfixturevalue(request.param)
    return found
