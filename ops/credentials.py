"""Passwords and keys of one home: generated once, readable by their owner only."""

from __future__ import annotations

import base64
import json
import os
import secrets
from pathlib import Path

#: People, by their role in Airflow; all of them may look at MLflow's pages.
ROLES = {"operator": "admin", "approver": "user", "auditor": "viewer"}
#: Who writes to MLflow: the platform itself, and nobody by hand.
PLATFORM = "crossimpact"


def write_private(path: Path, text: str) -> None:
    """Create `path` with mode 0600; an existing file is left alone and is an error."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(text)


def key(folder: Path, name: str, size: int) -> str:
    """The key `name`: `size` random bytes in URL-safe base64, the same at every call."""
    path = folder / name
    if not path.exists():
        write_private(path, base64.urlsafe_b64encode(secrets.token_bytes(size)).decode())
    return path.read_text()


def passwords(folder: Path) -> tuple[Path, dict[str, str]]:
    """File of the users' passwords, and the passwords if they were generated just now."""
    path = folder / "passwords.json"
    if path.exists():
        return path, {}
    fresh = {user: secrets.token_urlsafe(12) for user in ROLES}
    write_private(path, json.dumps(fresh))
    return path, fresh


def read_passwords(home: Path) -> dict[str, str]:
    """The users' passwords of a home that has them."""
    return dict(json.loads((home / "secrets" / "passwords.json").read_text()))


def airflow_secrets(folder: Path) -> dict[str, str]:
    """Airflow's variables for keys, users and roles."""
    path, _ = passwords(folder)
    return {
        "AIRFLOW__CORE__FERNET_KEY": key(folder, "fernet", 32),
        "AIRFLOW__API__SECRET_KEY": key(folder, "session", 64),
        "AIRFLOW__API_AUTH__JWT_SECRET": key(folder, "jwt", 64),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(
            f"{user}:{role}" for user, role in ROLES.items()
        ),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(path),
    }


def mlflow_login(folder: Path) -> dict[str, str]:
    """The platform's login at MLflow, as MLflow's client reads it."""
    return {
        "MLFLOW_TRACKING_USERNAME": PLATFORM,
        "MLFLOW_TRACKING_PASSWORD": key(folder, "mlflow", 24),
    }


def mlflow_secrets(folder: Path) -> dict[str, str]:
    """The MLflow server's own variables: key, first password, and its users' settings."""
    keys = {
        "MLFLOW_AUTH_ADMIN_PASSWORD": key(folder, "mlflow", 24),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": key(folder, "mlflow-session", 64),
    }
    config = folder / "mlflow.ini"
    config.write_text(
        f"[mlflow]\ndatabase_uri = sqlite:///{folder}/mlflow-users.db\n"
        f"admin_username = {PLATFORM}\ndefault_permission = READ\nauth_cache_ttl_seconds = 60\n"
    )
    return {"MLFLOW_AUTH_CONFIG_PATH": str(config), **keys}
