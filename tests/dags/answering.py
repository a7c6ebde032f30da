"""Refits that ask a human, and drift that asks for a refit: act after act, told as JSON.

`python -m tests.dags.answering HOME LANDING`, on a home with a challenger and no champion. The
answers come over Airflow's REST API while `DAG.test()` waits. A process of its own, because a run
that waits in vain can only be killed.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

from ops import airflow_env, credentials, dagrun
from pipelines import drift, release
from pipelines.config import Settings
from tests.dags.airflow_api import Api, wait_for

WAIT_S = 60
SETTLE_S = 1.0  # DAG.test() writes the state of a parked task once more
REASON = "the book was calm"
#: Who answers, in turn: a reader, who may not; the approver; and again, which is too late.
USERS = ("auditor", "approver", "approver")


class Stage:
    """The home and its API."""

    def __init__(self, home: Path, landing: str) -> None:
        from airflow.api_fastapi.app import create_app
        from fastapi.testclient import TestClient

        self.settings = Settings(home)
        self.api = Api(TestClient(create_app(apps="core")), home)
        self.landing = landing

    def run(self, dag_id: str, **conf: Any) -> dict[str, Any]:
        """Run a DAG to its end; its states and the ledger after it."""
        dagrun.run(dag_id, {"landing": self.landing, **conf})
        return self.api.last_run(dag_id) | {"ledger": self.ledger()}

    def ledger(self) -> list[dict[str, Any]]:
        return list(release.ledger_lines(self.settings)["ledger"])

    def answered(self, choice: str) -> dict[str, Any]:
        """A refit whose approval is answered; what was asked, and the status of each answer."""
        seen: dict[str, Any] = {}

        def humans() -> None:
            request = wait_for(self.api.requests, WAIT_S)[0]
            time.sleep(SETTLE_S)
            seen["request"] = {name: request[name] for name in ("subject", "body", "defaults")}
            seen["statuses"] = [self.api.answer(request, user, choice, REASON) for user in USERS]

        thread = threading.Thread(target=humans, daemon=True)
        thread.start()
        act = self.run("monthly_refit")
        thread.join()
        return act | seen

    def promoted_again(self, run: Mapping[str, Any], **asked: Any) -> dict[str, Any]:
        """The run's promote task once more; `asked` is what else the gates' answer had said."""
        from airflow.sdk.exceptions import AirflowSkipException

        tasks = ("plan", "gates", "approve")
        plan, gates, reply = (self.api.returned("monthly_refit", run["id"], t) for t in tasks)
        promote = dagrun.load()["monthly_refit"].get_task("promote").python_callable
        said = ""
        try:
            promote(plan, gates | asked, reply, params={"auto_promote": False}, run_id=run["id"])
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
def all_made() -> Iterator[None]:
    """Features and fits are in this home already: do not look whether they are still the same."""
    made = ("pipelines.features.build", "pipelines.refit.fit")
    with ExitStack() as stack:
        for name in made:
            stack.enter_context(mock.patch(name, return_value={}))
        yield


def distrust(home: Path) -> Sequence[tuple[Path, str]]:
    """Say of every refit that it came out differently; the files as they were."""
    attested = [(path, path.read_text()) for path in (home / "refits").glob("*/reproduced.json")]
    for path, text in attested:
        path.write_text(json.dumps(json.loads(text) | {"verdict": "different: 0123456789ab"}))
    return attested


def acts(stage: Stage, home: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    attested = distrust(home)
    yield "refused", stage.run("monthly_refit", auto_promote=True)
    for path, text in attested:
        path.write_text(text)
    yield "rejected", stage.answered("Reject")
    approved = stage.answered("Approve")
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
