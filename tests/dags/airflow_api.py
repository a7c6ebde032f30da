"""Airflow's REST API as its users call it: ask what waits, answer it, read what happened."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PENDING = {"response_received": False, "state": "awaiting_input"}


class Api:
    """Calls made as a user of the home whose passwords these are.

    Parameters
    ----------
    client
        An httpx client of a running server, or FastAPI's test client of the application.
    """

    def __init__(self, client: Any, home: Path) -> None:
        self.client = client
        self.passwords = json.loads((home / "secrets" / "passwords.json").read_text())

    def send(self, method: str, path: str, user: str = "operator", **more: Any) -> Any:
        """The response to a call."""
        login = {"username": user, "password": self.passwords[user]}
        token = self.client.post("/auth/token", json=login).json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        return self.client.request(method, f"/api/v2/{path}", headers=headers, **more)

    def get(self, path: str, **params: Any) -> Any:
        """The body of a page, read by whom may only read."""
        return self.send("GET", path, "auditor", params=params).raise_for_status().json()

    def requests(self) -> list[dict[str, Any]]:
        """The requests that wait for a human."""
        return list(self.get("dags/~/dagRuns/~/hitlDetails", **PENDING)["hitl_details"])

    def answer(self, request: dict[str, Any], user: str, choice: str, reason: str) -> int:
        """The status of an answer: 200, or why not."""
        asked = request["task_instance"]
        path = (
            f"dags/{asked['dag_id']}/dagRuns/{asked['dag_run_id']}"
            f"/taskInstances/{asked['task_id']}/{asked['map_index']}/hitlDetails"
        )
        body = {"chosen_options": [choice], "params_input": {"reason": reason}}
        return int(self.send("PATCH", path, user, json=body).status_code)

    def last_run(self, dag_id: str) -> dict[str, Any]:
        """The DAG's last run: id, type, state, and the state of each task."""
        (run,) = self.get(f"dags/{dag_id}/dagRuns", order_by="-id", limit=1)["dag_runs"]
        path = f"dags/{dag_id}/dagRuns/{run['dag_run_id']}/taskInstances"
        tasks = self.get(path, limit=100)["task_instances"]
        return {
            "id": run["dag_run_id"],
            "type": run["run_type"],
            "state": run["state"],
            "tasks": {task["task_id"]: task["state"] for task in tasks},
        }

    def returned(self, dag_id: str, run_id: str, task_id: str) -> Any:
        """What a task returned."""
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
        return self.get(path, stringify=False)["value"]

    def asset_events(self, name: str) -> list[dict[str, Any]]:
        """What an asset's events carry, oldest first."""
        (asset,) = self.get("assets", name_pattern=name)["assets"]
        events = self.get("assets/events", asset_id=asset["id"], order_by="timestamp")[
            "asset_events"
        ]
        return [event["extra"] for event in events]


def wait_for(found: Callable[[], Any], seconds: float) -> Any:
    """What `found` gives once it gives something."""
    deadline = time.monotonic() + seconds
    while not (something := found()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds} s in vain")
        time.sleep(0.2)
    return something
