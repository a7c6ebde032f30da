"""Faults on a running service: what can be lost at any moment, and what has to hold after it.

The work under them is `daily_tca` and `monthly_refit` made anew: what they publish is taken away,
asked for again, and hit while it is made. Same input, same bytes: once a round is over, every
manifest has to be what it was before the first fault, the ledger has to verify, and the champion to
answer; a task that took effect twice, or half, or not at all, shows.
"""

from __future__ import annotations

import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import httpx

from crossimpact.errors import CrossImpactError
from ops.airflow_api import wait_for
from ops.stack.fault_kinds import Fault, Injector
from ops.stack.form import healthy
from ops.stack.opening import RUN_S, WORKERS
from ops.stack.process_form import ProcessForm
from ops.stack.questions import Row, need
from ops.stack.rehearsal import Rehearsal

Answer = TypeVar("Answer")
#: Of a round: at so many seconds from its beginning, or from the fault before.
PAUSES_S = (2.0, 6.0, 12.0, 20.0)
PER_ROUND = 4
WELL_S, LOST_S = 600.0, 180.0
#: What each makes below the home, and needs nothing of.
MAKES = {
    "daily_tca": ("warehouse/marts", "reports"),
    "monthly_refit": ("warehouse/features-own-300s", "refits"),
}
#: Tasks at once, one a worker; the others wait in the queue that is lost.
EIGHT = 8


class Faults:
    """Injects faults into a rehearsal that has a champion.

    Parameters
    ----------
    rehearsal
        Up to its promotion.
    form
        Its services, as processes.
    seed
        Of the faults' order and moments.
    """

    def __init__(self, rehearsal: Rehearsal, form: ProcessForm, seed: int = 7) -> None:
        self.rehearsal, self.form = rehearsal, form
        self.random = random.Random(seed)  # noqa: S311
        self.steady = [n for n in rehearsal.names if not form.services[n].once]
        self.injector = Injector(form, self.steady, self.random)
        self.home = form.volume("home")
        self.before: dict[str, bytes] = {}

    def rounds(self, count: int, only: str = "") -> Iterator[Row]:
        """So many faults, a few a round, every kind in turn; a row each, and one for each round."""
        kinds = [kind for kind in self.injector.kinds() if only in kind.name]
        need(kinds != [], f"no kind of fault is named like {only!r}")
        order: list[Fault] = []
        while len(order) < count:
            order += self.random.sample(kinds, len(kinds))
        for number, first in enumerate(range(0, count, PER_ROUND), 1):
            yield from self.round(number, order[:count][first : first + PER_ROUND])

    def round(self, number: int, faults: Sequence[Fault]) -> Iterator[Row]:
        """Work asked for, hit by faults, and looked at when it is over."""
        begun, dag_id = time.monotonic(), list(MAKES)[number % len(MAKES)]
        run_id = self.begin(dag_id)
        for fault in faults:
            time.sleep(self.random.choice(PAUSES_S))
            yield self.hit(fault)
        try:
            again = self.over(dag_id, run_id)
            seen, ok = f"{dag_id} {again}; {self.holds()}", True
        except Exception as error:  # whatever it is, it is what was seen
            seen, ok = f"{dag_id}: {error}", False
        yield Row(f"round {number}", time.monotonic() - begun, seen, ok)

    def hit(self, fault: Fault) -> Row:
        """Inject, and wait until every service is well again."""
        begun = time.monotonic()
        try:
            seen = fault.inject()
            self.all_well()
        except Exception as error:
            return Row(fault.name, time.monotonic() - begun, str(error), ok=False)
        return Row(fault.name, time.monotonic() - begun, seen, ok=True)

    def all_well(self) -> None:
        names = self.steady
        deadline = time.monotonic() + WELL_S
        while ill := [name for name in names if not healthy(self.form, name)]:
            if time.monotonic() > deadline:
                raise CrossImpactError(f"not well after {WELL_S:.0f} s: {', '.join(ill)}")
            names = ill
            time.sleep(1)

    def begin(self, dag_id: str) -> str:
        """Take away what the DAG has published, and ask for it; the run's id."""
        for place in MAKES[dag_id]:
            shutil.rmtree(self.home / place, ignore_errors=True)
        return self.patiently(lambda: self.rehearsal.api.trigger(dag_id, landing="/srv/landing"))

    def over(self, dag_id: str, run_id: str) -> str:
        """Wait for the run's end; clear what has used up its retries, as an operator would."""
        cleared = 0
        deadline = time.monotonic() + RUN_S
        while (state := self.state(dag_id, run_id)) != "success":
            if time.monotonic() > deadline or (state == "failed" and cleared == 2):
                raise CrossImpactError(f"{run_id} is {state}")
            if state == "failed":
                cleared += 1
                self.patiently(lambda: self.clear(dag_id, run_id))
            time.sleep(2)
        tasks = self.patiently(lambda: self.rehearsal.api.tasks(dag_id, run_id))
        tries = [t["try_number"] for t in tasks]
        lost = sum(n - 1 for n in tries if n > 1)
        return f"success, {len(tries)} tasks, {lost} tries lost, cleared {cleared} times"

    def state(self, dag_id: str, run_id: str) -> str:
        return self.patiently(lambda: str(self.rehearsal.api.run(dag_id, run_id)["state"]))

    def clear(self, dag_id: str, run_id: str) -> str:
        body = {"dag_run_id": run_id, "only_failed": True, "dry_run": False}
        path = f"dags/{dag_id}/clearTaskInstances"
        self.rehearsal.api.send("POST", path, json=body).raise_for_status()
        return "cleared"

    def patiently(self, ask: Callable[[], Answer]) -> Answer:
        """An answer of Airflow's, which may be away at the moment."""
        deadline = time.monotonic() + WELL_S
        while True:
            try:
                return ask()
            except (httpx.HTTPError, KeyError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(2)

    def published(self) -> dict[str, bytes]:
        """Every manifest and every release, byte for byte."""
        files = [*(self.home / "warehouse").rglob("_manifest.json")]
        files += (self.home / "refits").glob("*/release/*")
        return {str(path.relative_to(self.home)): path.read_bytes() for path in files}

    def remember(self) -> str:
        """What an undisturbed day publishes; everything later is held against it."""
        for dag_id in MAKES:
            self.rehearsal.api.unpause(dag_id)
            self.rehearsal.wait_for_end(dag_id, self.begin(dag_id))
        self.before = self.published()
        return f"{len(self.before)} manifests and release files"

    def redis_lost(self) -> str:
        """Redis killed, a task running on each worker, the others queued: all have to end."""
        api, run_id = self.rehearsal.api, self.begin("daily_tca")

        def states() -> Counter[str]:
            tasks = self.patiently(lambda: api.tasks("daily_tca", run_id))
            return Counter(str(t["state"]) for t in tasks if t["task_id"] == "tca")

        def waiting() -> Counter[str] | None:
            found = states()
            behind = found["running"] == len(WORKERS) and found["queued"] >= EIGHT - len(WORKERS)
            return found if behind else None

        found = wait_for(waiting, RUN_S, "two running and six queued")
        killed = time.monotonic()
        self.form.kill("redis")
        wait_for(lambda: set(states()) == {"success"}, RUN_S, "their end", every_s=0.5)
        took = time.monotonic() - killed
        need(took < LOST_S, f"done after {took:.0f} s, {LOST_S:.0f} at most")
        return f"{found.total()} tasks done {took:.0f} s after the kill; {self.holds()}"

    def holds(self) -> str:
        """What has to hold once a round is over."""
        now = self.published()
        both = sorted(now.keys() | self.before.keys())
        other = [name for name in both if now.get(name) != self.before.get(name)]
        need(not other, f"{len(other)} not as before: {', '.join(other[:3])}")
        lines = self.rehearsal.ledger(self.form)
        promotions = [line for line in lines if line["action"] == "promote"]
        need(len(promotions) == 1, f"{len(promotions)} promotions")
        served, _ = self.rehearsal.pulled()
        need(served["digest"] == self.rehearsal.digest, "another champion answers")
        return f"{len(now)} files as before, ledger verifies, champion answers"
