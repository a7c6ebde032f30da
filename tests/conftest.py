"""Every test run has a home of its own, set before airflow, mlflow or matplotlib is imported."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from ops.airflow_env import airflow_env, prepare  # noqa: E402

# Two workers with two BLAS threads each would wait for one another.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
settings.register_profile("patient", deadline=None)  # a slow machine is no failure
settings.load_profile("patient")
HOME = Path(tempfile.mkdtemp(prefix="crossimpact-tests-"))
OURS = (
    "DESK", "LANDING", "LOG_FORMAT", "METRICS_HOST", "PULL_DEADLINE_S", "REDIS_PASSWORD", "RUN_ID",
    "WAREHOUSE",
)  # fmt: skip
for name in ("MLFLOW_TRACKING_URI", *(f"CROSSIMPACT_{word}" for word in OURS)):
    os.environ.pop(name, None)
os.environ.update(airflow_env(HOME), AIRFLOW__LOGGING__LOGGING_LEVEL="ERROR")
prepare(HOME)
# A job in the background ignores Ctrl-C, and so would every command that a test interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)


#: Folders whose files share what takes long to set up.
SHARING = ("tests/dags/", "tests/registry/")


class ByFile(LoadScopeScheduling):
    """A file's tests share what it sets up; the DAGs' files share one demo and the registry's one
    server: one worker each."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return next((folder for folder in SHARING if file.startswith(folder)), file)


#: What takes longest, longest first: whoever took it last would work on alone.
LONGEST = (
    *SHARING,
    "tests/cli/test_cli.py",
    "tests/pipelines/test_validate.py",
    "tests/pipelines/test_evidence.py",
    "tests/crossimpact/estimate/test_refit.py",
    "tests/crossimpact/estimate/test_invariance.py",
    "tests/pipelines/test_tca.py",
    "tests/ops/test_mlflow_access.py",
    "tests/pipelines/ingest/test_public.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def rank(item: pytest.Item) -> int:
        return next((i for i, at in enumerate(LONGEST) if item.nodeid.startswith(at)), len(LONGEST))

    items.sort(key=rank)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByFile:
    """Not `--dist loadgroup`, whose groups pytest 9.2 no longer shows to xdist 3.8."""
    return ByFile(config, log)


@pytest.fixture(scope="session")
def mlflow_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's SQLite database without a release, to copy: made once for all workers, as MLflow's
    migrations take seconds."""
    from crossimpact.consumer.address import SQLITE
    from crossimpact.release.hash_chain import hold
    from registry import connection

    base = tmp_path_factory.getbasetemp()
    made = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "mlflow-tables"
    with hold(made.with_suffix(".lock"), 300):
        if not made.exists():
            with connection.session(f"{SQLITE}{made}.new"):
                Path(f"{made}.new").rename(made)
    return made


@pytest.fixture
def fresh_home(tmp_path: Path, mlflow_tables: Path) -> Path:
    """A home in which nothing was done yet but making MLflow's tables."""
    home = tmp_path / "home"
    (home / "mlflow").mkdir(parents=True)
    shutil.copy(mlflow_tables, home / "mlflow" / "mlflow.db")
    return home


@pytest.fixture
def crossimpact(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Run the command line in this process: exit code, stdout, stderr."""
    from cli import main as cli

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["crossimpact", *map(str, words)])
        monkeypatch.setattr("atexit.register", lambda _: None)
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return int(stopped.value.code or 0), out, err

    return run


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave nothing behind."""
    shutil.rmtree(HOME, ignore_errors=True)
