"""Airflow's REST API as its users call it: ask what waits, answer it, read what happened."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from crossimpact.errors import CrossImpactError

PENDING = {"response_received": False, "state": "awaiting_input"}


class Api:
    """Calls made as one of the users.

    Parameters
    ----------
    client
        An httpx client of a running server, or FastAPI's test client of the application.
    passwords
        By user.
    """

    def __init__(self, client: Any, passwords: Mapping[str, str]) -> None:
        self.client, self.passwords = client, passwords

    def send(self, method: str, path: str, user: str = "operator", **more: Any) -> Any:
        """The response to a call."""
        return self.fetch(f"/api/v2/{path}", user, method, **more)

    def fetch(self, path: str, user: str, method: str = "GET", **more: Any) -> Any:
        """The response of any page of the server."""
        login = {"username": user, "password": self.passwords[user]}
        token = self.client.post("/auth/token", json=login).json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        return self.client.request(method, path, headers=headers, **more)

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

    def unpause(self, *dag_ids: str) -> None:
        """Let these DAGs run."""
        for dag_id in dag_ids:
            self.send("PATCH", f"dags/{dag_id}", json={"is_paused": False}).raise_for_status()

    def trigger(self, dag_id: str, **conf: Any) -> str:
        """Start a run by hand, as the operator; its id."""
        body = {"logical_date": None, "conf": conf}
        made = self.send("POST", f"dags/{dag_id}/dagRuns", json=body).raise_for_status().json()
        return str(made["dag_run_id"])

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """A run."""
        return dict(self.get(f"dags/{dag_id}/dagRuns/{run_id}"))

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """A run's task instances, mapped ones one by one."""
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances"
        return list(self.get(path, limit=500)["task_instances"])

    def asset_events(self, name: str) -> list[dict[str, Any]]:
        """What an asset's events carry, oldest first."""
        (asset,) = self.get("assets", name_pattern=name)["assets"]
        events = self.get("assets/events", asset_id=asset["id"], order_by="timestamp")[
            "asset_events"
        ]
        return [event["extra"] for event in events]


def wait_for(
    found: Callable[[], Any], seconds: float, what: str = "an answer", every_s: float = 0.2
) -> Any:
    """What `found` gives once it gives something."""
    deadline = time.monotonic() + seconds
    while not (something := found()):
        if time.monotonic() > deadline:
            raise CrossImpactError(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(every_s)
    return something
