"""What a thief would try on a service: writes with a reader's login, secrets in what it leaves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from crossimpact.consumer.address import MODEL
from ops.credentials import ROLES

API = "/api/2.0/mlflow"


@dataclass(frozen=True)
class Request:
    """A request that must not be granted."""

    method: str
    path: str
    json: Mapping[str, object] | None = None
    content: bytes | None = None


def writes(run: str, imported: str) -> list[Request]:
    """Step by step, how a reader once had Airflow import a file of his.

    Parameters
    ----------
    run
        Id of a run that holds a release.
    imported
        Address of the folder Airflow imports from.
    """
    files, gateway = "/api/2.0/mlflow-artifacts/artifacts", "/ajax-api/3.0/mlflow/gateway"
    upload = f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={run}&path=evil.py"
    champion = {"name": MODEL, "alias": "champion", "version": "1"}
    secret = {"secret_name": "s", "secret_value": {"k": "v"}, "provider": "openai"}
    there = {"name": "e", "artifact_location": imported}
    return [
        Request("POST", f"{API}/experiments/create", there),
        Request("POST", f"{API}/experiments/create", {"name": "e2"}),
        Request("POST", f"{API}/runs/create", {"experiment_id": "0"}),
        Request("POST", upload, content=b"import os"),
        Request("POST", f"{API}/registered-models/create", {"name": "m"}),
        Request("POST", f"{API}/registered-models/alias", champion),
        Request("PUT", f"{files}/1/{run}/artifacts/release/x", content=b"x"),
        Request("DELETE", f"{files}/1/{run}/artifacts/release"),
        Request("POST", f"{gateway}/secrets/create", secret),
        Request("GET", f"{API}/users/list"),
        Request("GET", f"{API}/users/get?username=crossimpact"),
    ]


def granted(server: str, passwords: Mapping[str, str], run: str) -> dict[tuple[str, str], int]:
    """Of every write by every person, a stranger and nobody: those not answered 403 or 401."""
    people = {role: (role, passwords[f"{role.upper()}_PASSWORD"]) for role in ROLES}
    logins = {**people, "stranger": ("mallory", "not a password"), "nobody": None}
    found = {}
    with httpx.Client(base_url=server, trust_env=False, timeout=60) as client:
        for user, login in logins.items():
            for ask in writes(run, "file:///srv/app/dags"):
                status = client.request(
                    ask.method, ask.path, json=ask.json, content=ask.content, auth=login
                ).status_code
                if status != (403 if user in people else 401):
                    found[user, f"{ask.method} {ask.path}"] = status
    return found


def told(folder: Path, secrets: Mapping[str, str], keeper: Path) -> list[str]:
    """Each secret in each file below a folder, but in the one that is there to keep it."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path == keeper or path.is_symlink() or not path.is_file():
            continue
        content = path.read_bytes() if path.exists() else b""  # services go on working
        found += [
            f"{name} in {path.relative_to(folder)}"
            for name, value in secrets.items()
            if value.encode() in content
        ]
    return found
