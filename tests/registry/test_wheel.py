"""The wheel, built and installed alone: beside it lie its own dependencies and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from ops.airflow_env import ROOT
from registry import tracking
from tests.registry.desk import Desk
from tests.registry.servers import Store, sample

#: The heavy ones that a fit needs; what comes beside them is to stay small.
LIBRARIES = {"numpy", "scipy", "scikit-learn", "numba"}
LIMIT_MB = 60


def run(*command: object, code: int = 0) -> str:
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, cwd="/", timeout=300
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def brought(name: str) -> set[str]:
    """What `pip install` of a distribution brings: itself, what it requires, and so on."""
    found, left = set(), [name]
    while left:
        name = left.pop()
        found.add(name)
        asked = map(Requirement, metadata.requires(name) or ())
        needed = {one.name for one in asked if not one.marker or one.marker.evaluate({"extra": ""})}
        left += needed - found
    return found


def megabytes(name: str) -> float:
    files = (Path(str(file.locate())) for file in metadata.distribution(name).files or [])
    return sum(file.stat().st_size for file in files if file.is_file()) / 2**20


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=300)
    (path,) = out.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def alone(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment of the wheel; returns its folder of commands."""
    home = tmp_path_factory.mktemp("alone")
    run(sys.executable, "-m", "venv", "--without-pip", home)
    (packages,) = home.glob("lib/python*/site-packages")
    for name in brought("crossimpact") - {"crossimpact"}:
        for file in metadata.distribution(name).files or []:
            top = packages / file.parts[0]
            if file.parts[0] != ".." and not top.exists():
                top.symlink_to(metadata.distribution(name).locate_file(file.parts[0]))
    uv = ROOT / ".boot" / "bin" / "uv"
    run(uv, "pip", "install", "-q", "--offline", "--no-deps", "-p", home / "bin/python", wheel)
    return home / "bin"


def test_the_wheel_holds_the_library_its_types_and_its_licence(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {
        "crossimpact/py.typed",
        *(f"crossimpact/release/{name}.toml" for name in ("gates", "policy")),
    } < set(names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"crossimpact"}


def test_the_wheel_asks_for_little_beside_the_numerical_libraries(alone: Path) -> None:
    """`alone` holds what this finds, so whatever the library imports is in it."""
    small = brought("crossimpact") - LIBRARIES
    sizes = {name: round(megabytes(name), 1) for name in small if name != "llvmlite"}  # numba's own
    assert sum(sizes.values()) < LIMIT_MB, sizes


def test_every_module_and_public_name_imports_without_the_platform(alone: Path) -> None:
    code = """
import importlib, pkgutil, sys, crossimpact
for module in pkgutil.walk_packages(crossimpact.__path__, "crossimpact."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
print(len([getattr(crossimpact, name) for name in crossimpact.__all__]))
assert not {"mlflow", "duckdb", "airflow", "pandas", "pyarrow", "great_expectations", "typer"} & {*sys.modules}
"""  # noqa: E501
    assert int(run(alone / "python", "-c", code)) >= 15


def test_the_model_is_imported_without_an_estimator(alone: Path) -> None:
    code = (
        "import sys; from crossimpact import ImpactModel;"
        "print(*{'numba', 'sklearn', 'scipy'} & {*sys.modules})"
    )
    assert run(alone / "python", "-c", code).strip() == ""


def test_the_wheel_alone_pulls_and_verifies_the_champion(
    alone: Path, store: Store, tmp_path: Path
) -> None:
    """On SQLite and on a server with a login; then the same wheel refuses a ledger that was cut."""
    desk, release = Desk(tmp_path, store.uri), sample(datetime.now(UTC).date().isoformat())
    version = store.register(release).version
    tracking.move_alias(store.uri, "champion", version)
    desk.write(release=release, version=version)
    words = ["--uri", store.uri, "--ledger", desk.book, "--cache", tmp_path / "cache", "--json"]
    served = json.loads(run(alone / "crossimpact", "pull", *words))
    assert (served["state"], served["digest"], served["version"]) == (
        "live", release.digest, version,
    )  # fmt: skip
    assert {row["regime"]: row["rung"] for row in served["regimes"]}["normal"] == "full"
    assert json.loads(run(alone / "crossimpact", "verify", desk.book, "--json"))["ok"]
    os.truncate(desk.book, desk.book.stat().st_size // 2)
    assert not json.loads(run(alone / "crossimpact", "verify", desk.book, "--json", code=1))["ok"]


def test_the_wheel_alone_tells_where_the_other_commands_are(alone: Path) -> None:
    assert "checkout" in run(alone / "crossimpact", "--help")
    run(alone / "crossimpact", "refit", "landing", code=2)


def test_an_old_import_path_is_told_the_new_one() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"import crossimpact\.consumer\.client"):
        __import__("registry.client")
    with pytest.raises(ModuleNotFoundError, match=r"import crossimpact\.panel"):
        __import__("crossimpact.estimate.design")
