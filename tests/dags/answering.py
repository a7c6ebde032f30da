"""Refits that ask a human, and drift that asks for a refit: act after act, told as JSON.

`python -m tests.dags.answering HOME LANDING`, on a home with a challenger and no champion. The
answers come over Airflow's REST API while `DAG.test()` waits. A process of its own, because a run
that waits in vain can only be killed.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from dags import runs
from ops import airflow_env, credentials, dagrun
from ops.airflow_api import Api, wait_for
from pipelines import drift, release
from pipelines.store.settings import Settings

WAIT_S = 600
SETTLE_S = 1.0  # DAG.test() writes the state of a parked task once more
REASON = "the book was calm"
#: What an approver could do to a run before he approves it, were he let.
MEDDLING = (
    ("PATCH", "dags/monthly_refit", {"is_paused": False}),
    ("POST", "dags/monthly_refit/dagRuns", {"logical_date": None}),
    ("POST", "dags/monthly_refit/clearTaskInstances", {"dry_run": False}),
    ("POST", "dags/monthly_refit/dagRuns/{run}/taskInstances/plan/xcomEntries",
     {"key": "k", "value": "v"}),
    ("PATCH", "dags/monthly_refit/dagRuns/{run}", {"state": "success"}),
    ("PATCH", "dags/monthly_refit/dagRuns/{run}/taskInstances/approve", {"new_state": "success"}),
    ("DELETE", "dags/monthly_refit/dagRuns/{run}", None),
    ("POST", "backfills", {"dag_id": "monthly_refit", "from_date": "2026-01-01T00:00:00Z",
                           "to_date": "2026-03-01T00:00:00Z"}),
    ("POST", "variables", {"key": "k", "value": "v"}),
    ("POST", "pools", {"name": "p", "slots": 1}),
    ("POST", "connections", {"connection_id": "c", "conn_type": "http"}),
    ("POST", "assets/events", {"asset_id": 1, "extra": {}}),
)  # fmt: skip
#: Below `/reports/`: what is there, and what is asked for though it is none of the reports.
REPORTS = ("index.html", "tca-2026-03-02-orders.csv")
NO_REPORTS = ("", ".lock", "absent.html", "link.html", "..%2Fledger.jsonl", "%2e%2e/ledger.jsonl")
#: Who answers, in turn: a reader, who may not; the approver; and again, which is too late.
USERS = ("auditor", "approver", "approver")


class Stage:
    """The home and its API."""

    def __init__(self, home: Path, landing: str) -> None:
        from airflow.api_fastapi.app import create_app
        from fastapi.testclient import TestClient

        self.settings = Settings(home)
        self.api = Api(TestClient(create_app(apps="core")), credentials.read_passwords(home))
        self.landing = landing

    def run(self, dag_id: str, **conf: Any) -> dict[str, Any]:
        """Run a DAG to its end; its states and the ledger after it."""
        dagrun.run(dag_id, {"landing": self.landing, **conf})
        return self.api.last_run(dag_id) | {"ledger": self.ledger()}

    def ledger(self) -> list[dict[str, Any]]:
        return list(release.ledger_lines(self.settings)["ledger"])

    def answered(self, choice: str, triggered_by: str | None = None) -> dict[str, Any]:
        """A refit whose approval is answered; what was asked, and the status of each answer.

        Who triggered it answers first, when somebody did.
        """
        seen: dict[str, Any] = {}

        def humans() -> None:
            request = wait_for(self.api.requests, WAIT_S)[0]
            time.sleep(SETTLE_S)
            if triggered_by:
                seen["own"] = self.api.answer(request, triggered_by, choice, REASON)
                seen["meddling"] = self.meddling(request["task_instance"]["dag_run_id"])
                request = wait_for(self.api.requests, WAIT_S)[0]
                time.sleep(SETTLE_S)
            seen["request"] = {name: request[name] for name in ("subject", "body", "defaults")}
            seen["statuses"] = [self.api.answer(request, user, choice, REASON) for user in USERS]

        thread = threading.Thread(target=humans, daemon=True)
        thread.start()
        with triggered(triggered_by):
            act = self.run("monthly_refit")
        thread.join()
        return act | seen

    def meddling(self, run: str) -> list[int]:
        """What the approver is told when he does more than answer."""
        return [
            int(self.api.send(method, path.format(run=run), "approver", json=body).status_code)
            for method, path, body in MEDDLING
        ]

    def reports(self) -> dict[str, Any]:
        """What a reader and a stranger see of the desk's reports; where the menu leads."""
        folder = self.settings.reports
        folder.mkdir(exist_ok=True)
        for name in (*REPORTS, ".lock"):
            (folder / name).write_text(name)
        (folder / "link.html").symlink_to(self.settings.ledger_path)
        seen = {n: self.api.fetch(f"/reports/{n}", "auditor") for n in (*REPORTS, *NO_REPORTS)}
        views = [view for plugin in self.api.get("plugins")["plugins"]
                 for view in plugin["external_views"]]  # fmt: skip
        return {
            "statuses": {name: page.status_code for name, page in seen.items()},
            "texts": [seen[name].text for name in REPORTS],
            "policy": seen[REPORTS[0]].headers["content-security-policy"],
            "stranger": self.api.client.get("/reports/index.html").status_code,
            "menu": [view["href"] for view in views],
        }

    def promoted_again(self, run: Mapping[str, Any], **asked: Any) -> dict[str, Any]:
        """The run's promote task once more; `asked` is what else the gates' answer had said."""
        from airflow.sdk.exceptions import AirflowSkipException

        tasks = ("plan", "gates", "register", "approve")
        plan, gates, made, reply = (
            self.api.returned("monthly_refit", run["id"], task) for task in tasks
        )
        dag_run = SimpleNamespace(run_id=run["id"], triggering_user_name=None)
        promote = dagrun.load()["monthly_refit"].get_task("promote").python_callable
        said = ""
        try:
            promote(plan, gates | asked, made, reply, dag_run=dag_run, triggering_asset_events={})
        except AirflowSkipException as skipped:
            said = str(skipped)
        return {"said": said, "ledger": self.ledger()}

    def drifted(self, week: str, verdict: str, **demote: str) -> dict[str, Any]:
        """A week of drift, were this its verdict; the refits wanted so far."""
        found = drift.run(self.settings, Path(self.landing))
        rows = {regime: {**row, "verdict": verdict} for regime, row in found.regimes.items()}
        judged = replace(found, week=week, as_of=week, verdict=verdict, regimes=rows, demote=demote)
        with mock.patch("pipelines.drift.run", return_value=judged):
            act = self.run("weekly_drift")
        return act | {"wanted": self.api.asset_events("refit_wanted")}


@contextmanager
def triggered(user: str | None) -> Iterator[None]:
    """Runs that this login triggered: DAG.test() has none, and calls itself `dag_test`."""
    from airflow.models import dagrun as model

    create = model.get_or_create_dagrun

    def create_as(**facts: Any) -> Any:
        return create(**facts | ({"triggering_user_name": user} if user else {}))

    with mock.patch.object(model, "get_or_create_dagrun", create_as):
        yield


@contextmanager
def all_made() -> Iterator[None]:
    """Features and fits are in this home already: do not look whether they are still the same."""
    made = {
        "pipelines.features.build": {},
        "pipelines.refit.fit": SimpleNamespace(rung="full", reason=""),
    }
    with ExitStack() as stack:
        for name, value in made.items():
            stack.enter_context(mock.patch(name, return_value=value))
        yield


def distrust(home: Path) -> Sequence[tuple[Path, str]]:
    """Say of every refit that it came out differently; the files as they were."""
    attested = [(path, path.read_text()) for path in (home / "refits").glob("*/reproduced.json")]
    for path, text in attested:
        path.write_text(json.dumps(json.loads(text) | {"verdict": "different: 0123456789ab"}))
    return attested


def acts(stage: Stage, home: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    attested = distrust(home)
    with mock.patch.dict(os.environ, {runs.AUTO_PROMOTE: "1"}):
        yield "refused", stage.run("monthly_refit")
    for path, text in attested:
        path.write_text(text)
    yield "reports", stage.reports()
    yield "rejected", stage.answered("Reject")
    approved = stage.answered("Approve", triggered_by="operator")
    yield "approved", approved
    yield "cleared", stage.promoted_again(approved)
    yield "outdated", stage.promoted_again(approved, release="0" * 12)
    yield "drift watch", stage.drifted("2026-03-02", "watch")
    yield "drift refit", stage.drifted("2026-03-09", "refit")
    yield "drift again", stage.drifted("2026-03-09", "refit")
    yield "drift demote", stage.drifted("2026-03-16", "demote", normal="self_only")


def main(home: Path, landing: str) -> None:
    secrets = credentials.airflow_secrets(home / "secrets")
    airflow_env.enter(home, AIRFLOW__LOGGING__LOGGING_LEVEL="ERROR", **secrets)
    log = home / "logs" / "answering.log"
    with dagrun.output_to(log), all_made():
        told = dict(acts(Stage(home, landing), home))
    print(json.dumps(told))
    dagrun.end_quietly(log)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
