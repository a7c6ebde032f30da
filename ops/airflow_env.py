"""The environment that every Airflow and MLflow process of one home shares.

Nothing is read from the user's own Airflow set-up, nothing phones home, and all state is below
the home. It has to be set before `airflow` is imported for the first time.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from crossimpact.errors import CrossImpactError
from crossimpact.json_log import VARIABLE
from pipelines.store.settings import keep_private

ROOT = Path(__file__).resolve().parent.parent
DAGS = ROOT / "dags"
PLUGINS = Path(__file__).resolve().parent / "plugins"
LOOPBACK = "127.0.0.1,localhost"


def airflow_env(home: Path) -> dict[str, str]:
    """Variables that put Airflow's state below `home` and keep every tool silent and local."""
    python_path = [str(ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {
        "CROSSIMPACT_HOME": str(home),
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(python_path)),
        "AIRFLOW_HOME": str(home / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PLUGINS),
        "AIRFLOW__CORE__AUTH_MANAGER": "ops.logins.LoginManager",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        # Airflow's own asks a name server for this machine's name.
        "AIRFLOW__CORE__HOSTNAME_CALLABLE": "socket.gethostname",
        "AIRFLOW__CORE__PARALLELISM": str(os.cpu_count() or 2),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow/airflow.db",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "airflow" / "logs"),
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "DO_NOT_TRACK": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "GX_ANALYTICS_ENABLED": "false",
        "MPLBACKEND": "Agg",
        "NO_PROXY": LOOPBACK,
        "no_proxy": LOOPBACK,
        "AIRFLOW__LOGGING__JSON_LOGS": str(os.environ.get(VARIABLE, "").lower() == "json"),
    }


def enter(home: Path, **more: str) -> None:
    """Make this process an Airflow process of `home`; the first import of airflow comes after."""
    if "airflow" in sys.modules:
        raise CrossImpactError("airflow is already imported", "set its environment first")
    os.environ.update(airflow_env(home) | more)
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    prepare(home)


def prepare(home: Path) -> None:
    """Make the folders that Airflow, MLflow and the logs need, for this user (and group) only."""
    keep_private()
    for name in ("airflow", "mlflow", "logs", "run"):
        (home / name).mkdir(parents=True, exist_ok=True)


def read_only(home: Path) -> dict[str, Path]:
    """Folders whose every file Airflow imports, by the variable that names them to it."""
    return {
        "AIRFLOW__CORE__DAGS_FOLDER": home / "run" / "dags",
        "AIRFLOW__CORE__PLUGINS_FOLDER": home / "run" / "plugins",
    }


def lay_out(home: Path) -> None:
    """Copy the files of DAGs and plugins to where Airflow imports them, in folders that nobody
    writes to.

    The modes of folders and files say so; `confined` makes them bind a server that root runs.
    """
    for folder in read_only(home).values():
        files = sorted((DAGS if folder.name == DAGS.name else PLUGINS).glob("*.py"))
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
        for left in {path.name for path in folder.iterdir()} - {path.name for path in files}:
            remove(folder / left)
        for file in files:
            fresh = folder / f".{file.name}.new"
            shutil.copyfile(file, fresh)
            fresh.chmod(0o444)
            fresh.replace(folder / file.name)
        folder.chmod(0o555)


def remove(path: Path) -> None:
    """Remove a file or a folder."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def confined(home: Path) -> list[str]:
    """Prefix of a command that root starts: modes of files bind it as they bind everybody else.

    Nothing where they do so anyway, or where the home is another user's, which it has to write to.
    """
    setpriv = shutil.which("setpriv")
    if os.geteuid() or not setpriv or home.stat().st_uid:
        return []
    kept = "-dac_override,-dac_read_search"
    return [setpriv, f"--bounding-set={kept}", f"--inh-caps={kept}"]


def migrate(home: Path, env: dict[str, str]) -> None:
    """Create or upgrade Airflow's database, once per home and version of Airflow (4 s)."""
    done_once = home / "airflow" / f".migrated-{version('apache-airflow')}"
    if done_once.exists():
        return
    log = home / "logs" / "migrate.log"
    with log.open("ab") as stream:
        done = subprocess.run(
            [sys.executable, "-m", "airflow", "db", "migrate"],
            env=env,
            stdout=stream,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode:
        raise CrossImpactError(f"the Airflow database could not be migrated, see {log}")
    done_once.touch()
