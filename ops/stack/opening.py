"""The service from nothing to a champion that answers, step by step; each says what it saw."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import httpx

from ops import demo
from ops.airflow_api import Api, wait_for
from ops.stack import backup, compose, secrets
from ops.stack.form import Form, bring_up
from ops.stack.questions import SMALL, Size, need, refuses, spread, told

AIRFLOW, MLFLOW, PROMETHEUS = (f"http://127.0.0.1:{port}" for port in (8080, 5000, 9090))
DAGS = ("validate_contract", "monthly_refit", "weekly_drift", "daily_tca")
WORKERS = ("worker-1", "worker-2")
#: What answers from a restored copy without starting the whole of it.
#: Airflow loses an answer that comes within a second of the question.
THINKING_S = 3.0
START_S, RUN_S, PULL_S = 900.0, 1800.0, 600.0
REASON = "rehearsal: the gates agree"


class Opening:
    """The steps, in order; each needs those before it.

    Parameters
    ----------
    make
        Makes the services of a folder by their secrets.
    folder
        Where everything goes; new.
    names
        The services that are started.
    size
        Of the desk.
    """

    def __init__(
        self,
        make: Callable[[Mapping[str, str], Path], Form],
        folder: Path,
        names: Sequence[str],
        size: Size,
    ) -> None:
        self.make, self.folder, self.names, self.size = make, folder, names, size
        self.secrets: dict[str, str] = {}
        self.forms: list[Form] = []
        self.digest = ""
        self.last_date = ""

    @property
    def form(self) -> Form:
        return self.forms[-1]

    @property
    def api(self) -> Api:
        client = httpx.Client(base_url=AIRFLOW, trust_env=False, timeout=180)
        roles = ("operator", "approver", "auditor")
        return Api(client, {name: self.secrets[f"{name.upper()}_PASSWORD"] for name in roles})

    def opening(self) -> Iterator[tuple[str, Callable[[], str]]]:
        """The steps by name, up to a champion that answers."""
        yield "secrets", self.make_secrets
        yield "start", self.start
        yield "logins", self.log_in
        yield "idle memory", self.weigh
        yield "land a desk", self.land
        yield "validate", self.validate
        yield "refit", self.refit
        yield "approve", self.approve
        yield "promote", self.promote
        yield "pull", self.pull

    def make_secrets(self) -> str:
        file = self.folder / "env"
        secrets.make(file)
        self.secrets = secrets.check(file)
        refuses(lambda: secrets.make(file), "made secrets over others")
        weak = {**self.secrets, "REDIS_PASSWORD": "changeme"}
        need(list(secrets.problems(weak)) != [], "a weak secret passed")
        mode = file.stat().st_mode & 0o777
        return f"{len(self.secrets)} made, mode {mode:o}; not made twice; a weak one is refused"

    def start(self) -> str:
        self.forms.append(self.make(self.secrets, self.folder / "service"))
        took = bring_up(self.form, self.names, START_S)
        return f"{len(took)} services well, {max(took, key=took.__getitem__)} last"

    def log_in(self) -> str:
        """Who may do what, over HTTP."""
        with httpx.Client(trust_env=False, timeout=60) as client:
            wrong = {"username": "operator", "password": "wrong"}
            denied = client.post(f"{AIRFLOW}/auth/token", json=wrong).status_code
            model = f"{MLFLOW}/api/2.0/mlflow/registered-models/search"
            nobody = client.get(model).status_code
            auditor = ("auditor", self.secrets["AUDITOR_PASSWORD"])
            reads = client.get(model, auth=auditor).status_code
            body = {"name": "mine"}
            made = f"{MLFLOW}/api/2.0/mlflow/experiments/create"
            writes = client.post(made, auth=auditor, json=body).status_code
        starts = self.api.send("POST", "dags/daily_tca/dagRuns", "approver",
                               json={"logical_date": None}).status_code  # fmt: skip
        found = (denied, nobody, reads, writes, starts)
        need(found == (401, 401, 200, 403, 403), f"answers {found}")
        return "wrong password 401, nobody at MLflow 401; auditor reads 200, writes 403; " \
               "approver triggers 403"  # fmt: skip

    def weigh(self) -> str:
        used = self.form.memory_mb()
        small_enough = sum(used.values()) < 2048 or self.size == SMALL  # told there, judged in full
        need(small_enough, f"{sum(used.values()):.0f} MB, 2048 at most")
        largest = sorted(used, key=used.__getitem__)[-3:]
        told = ", ".join(f"{name} {used[name]:.0f}" for name in reversed(largest))
        return f"{sum(used.values()):.0f} MB in all ({told})"

    def land(self) -> str:
        """As a desk would: partitions appear in the landing volume."""
        desk = self.folder / "desk"
        size = {"symbols": self.size.symbols, "days": self.size.days, "seed": self.size.seed}
        demo.simulate(desk, size, datetime.now(UTC).date())
        volume = self.form.volume("landing")
        shutil.copytree(desk / "landing", volume, dirs_exist_ok=True)
        backup.own(volume, compose.owner(self.form.services, "landing"))
        dates = sorted(p.name for p in (volume / "instruments").glob("date=*"))
        self.last_date = dates[-1].partition("=")[2]
        return (
            f"{self.size.symbols} names, {len(dates)} dates to {self.last_date}, some rows broken"
        )

    def run(self, dag_id: str, **conf: Any) -> tuple[str, list[dict[str, Any]]]:
        """Trigger a DAG and wait for its end: its id and tasks."""
        self.api.unpause(dag_id)
        run_id = self.api.trigger(dag_id, landing="/srv/landing", **conf)
        self.wait_for_end(dag_id, run_id)
        return run_id, self.api.tasks(dag_id, run_id)

    def wait_for_end(self, dag_id: str, run_id: str) -> None:
        def ended() -> str | None:
            try:
                state = self.api.run(dag_id, run_id)["state"]
            except httpx.TransportError:  # busy, or away for the moment
                return None
            return state if state in ("success", "failed") else None

        state = wait_for(ended, RUN_S, f"{dag_id} {run_id}", every_s=1.0)
        bad = [
            t for t in self.api.tasks(dag_id, run_id) if t["state"] in ("failed", "upstream_failed")
        ]
        told = ", ".join(f"{t['task_id']} on {t['hostname']}" for t in bad)
        need(state == "success", f"{dag_id} ended as {state}: {told}")

    def validate(self) -> str:
        run_id, tasks = self.run("validate_contract")
        told = self.api.returned("validate_contract", run_id, "verdict")
        return f"{len(tasks)} tasks on {spread(tasks)}; {len(told['dates'])} dates accepted"

    def refit(self) -> str:
        """Until a human is asked; both workers have to take part."""
        self.api.unpause("monthly_refit")
        self.refit_run = self.api.trigger("monthly_refit", landing="/srv/landing")
        self.asked()
        tasks = self.api.tasks("monthly_refit", self.refit_run)
        mapped = [t for t in tasks if t["map_index"] >= 0]
        need(
            set(WORKERS) <= {t["hostname"] for t in mapped}, f"mapped tasks ran on {spread(mapped)}"
        )
        return f"{len(mapped)} mapped tasks on {spread(mapped)}; a human is asked"

    def asked(self) -> dict[str, Any]:
        """The request that waits for a human."""

        def found() -> dict[str, Any] | None:
            state = self.api.run("monthly_refit", self.refit_run)["state"]
            need(state in ("queued", "running"), f"the refit ended as {state}, nobody was asked")
            return next(iter(self.api.requests()), None)

        request: dict[str, Any] = wait_for(found, RUN_S, "a request for approval", every_s=1.0)
        time.sleep(THINKING_S)
        return request

    def approve(self) -> str:
        """The operator's own approval does not count, the auditor may not, the approver does."""
        auditor = self.api.answer(self.asked(), "auditor", "Approve", REASON)
        own = self.api.answer(self.asked(), "operator", "Approve", "mine")
        approver = self.api.answer(self.asked(), "approver", "Approve", REASON)
        need((auditor, own, approver) == (403, 200, 200), f"answers {(auditor, own, approver)}")
        return "auditor 403; operator, who triggered it, is asked again; approver 200"

    def promote(self) -> str:
        self.wait_for_end("monthly_refit", self.refit_run)
        lines = self.ledger(self.form)
        (line,) = [line for line in lines if line["action"] == "promote"]
        need(line["who"] == "approver", f"promoted by {line['who']}")
        return f"release {line['release']} in the ledger, by {line['who']}"

    def ledger(self, form: Form) -> list[dict[str, Any]]:
        """The ledger's lines, once it verifies."""
        verdict = told(form, "live", "ledger", "verify")
        need(bool(verdict["ok"]), f"the ledger does not verify: {verdict}")
        return list(told(form, "live", "ledger", "show")["ledger"])

    def pull(self) -> str:
        served, tries = self.pulled()
        self.digest = served["digest"]
        within = self.form.services["live"].environment["CROSSIMPACT_PULL_DEADLINE_S"]
        return f"live, release {self.digest[:12]}, by the auditor's login, {within} s, try {tries}"

    def pulled(self) -> tuple[dict[str, Any], int]:
        """The champion as a consumer gets it, and the tries: on a busy machine 2 s may not do."""
        tries = count(1)
        words = ("python", "-m", "crossimpact", "pull", "--json")

        def live() -> tuple[dict[str, Any], int] | None:
            tried, done = next(tries), self.form.execute("live", words)
            need(done.code in (0, 5), f"pull ended with {done.code}: {done.err[-500:]}")
            served = json.loads(done.out)
            return (served, tried) if served["state"] == "live" else None

        found: tuple[dict[str, Any], int] = wait_for(live, PULL_S, "a live pull")
        return found
