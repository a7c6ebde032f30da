"""The environment that every Airflow and MLflow process of one home shares.

Nothing is read from the user's own Airflow set-up, nothing phones home, and all state is below
the home. It has to be set before `airflow` is imported for the first time.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from crossimpact.errors import CrossImpactError

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
    """Make the folders that Airflow, MLflow and the logs need."""
    for name in ("airflow", "mlflow", "logs", "run"):
        (home / name).mkdir(parents=True, exist_ok=True)


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
