"""Faults on a running service: what can be lost at any moment, and what has to hold after it.

The work under them is `daily_tca` and `monthly_refit` made anew: what they publish is taken away,
asked for again, and hit while it is made. Same input, same bytes: once a round is over, every
manifest has to be what it was before the first fault, the ledger has to verify, and the champion to
answer; a task that took effect twice, or half, or not at all, shows.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import httpx

from crossimpact.errors import CrossImpactError
from ops.airflow_api import wait_for
from ops.stack import backup, compose
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
#: Airflow's own limits of a task's heartbeat and of a queued one, and a little.
FROZEN_S = 75.0
#: Tasks at once, one a worker; the others wait in the queue that is lost.
EIGHT = 8
FULL_S, DISK_MB = 15.0, 400
#: Copies what waits in Celery's queue behind itself.
AGAIN = (
    "local q = redis.call('LRANGE', 'default', 0, -1) "
    "for _, m in ipairs(q) do redis.call('RPUSH', 'default', m) end return #q"
)


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong, and how it is made to."""

    name: str
    inject: Callable[[], str]


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
        self.home = form.volume("home")
        self.before: dict[str, bytes] = {}

    def kinds(self) -> list[Fault]:
        """Every kind of fault once."""
        steady = [n for n in self.rehearsal.names if not self.form.services[n].once]
        return [
            *(Fault(f"kill -9 {name}", self.killing(name)) for name in steady),
            Fault("restart redis", self.restarting("redis")),
            Fault("restart postgres", self.restarting("postgres")),
            Fault("kill -9 one task's process", self.kill_a_task),
            Fault("kill -9 both workers", self.kill_workers),
            Fault("freeze a worker", self.freeze_a_worker),
            Fault("deliver twice", self.deliver_twice),
            Fault("land a date again", self.land_again),
            Fault("fill the disk", self.fill_the_disk),
        ]

    def killing(self, name: str) -> Callable[[], str]:
        return lambda: f"{self.form.kill(name)} processes"

    def restarting(self, name: str) -> Callable[[], str]:
        def restart() -> str:
            self.form.start(name)
            return "ended as it asks to be, started again"

        return restart

    def kill_a_task(self) -> str:
        """One task is lost, its worker lives on."""
        tasks = [
            p
            for name in WORKERS
            for p in self.form.members(name)[1:]
            if p.is_running() and "worker -- " in " ".join(p.cmdline())
        ]
        if not tasks:
            return "none was running"
        self.random.choice(tasks).kill()
        return f"one of {len(tasks)}"

    def kill_workers(self) -> str:
        return f"{sum(self.form.kill(name) for name in WORKERS)} processes"

    def freeze_a_worker(self) -> str:
        """Long enough for its tasks to count as lost, then it goes on."""
        members = self.form.members(self.random.choice(WORKERS))
        for member in members:
            member.suspend()
        time.sleep(FROZEN_S)
        for member in members:
            if member.is_running():
                member.resume()
        return f"{len(members)} processes for {FROZEN_S:.0f} s"

    def deliver_twice(self) -> str:
        script = f'REDISCLI_AUTH=$REDIS_PASSWORD redis-cli -p 6379 EVAL "{AGAIN}" 0'
        done = self.form.execute("redis", ["sh", "-c", script])
        need(done.code == 0, f"redis-cli: {done.err}")
        return f"{done.out.decode().strip().split()[-1]} messages queued again"

    def land_again(self) -> str:
        """The same files of a date once more, as new files."""
        landing = self.form.volume("landing")
        date = self.random.choice(sorted((landing / "instruments").glob("date=*"))).name
        files = list(landing.glob(f"*/{date}/*"))
        for file in files:
            copy = file.with_name(f".{file.name}.new")
            shutil.copyfile(file, copy)
            copy.replace(file)
            backup.own(file, compose.owner(self.form.services, "landing"))
        return f"{date}, {len(files)} files"

    def fill_the_disk(self) -> str:
        """Not a byte is left where the home is, for a while."""
        hog = self.home / ".hog"
        try:
            with hog.open("wb", buffering=0) as stream:
                while True:
                    stream.write(bytes(1 << 20))
        except OSError:
            size = hog.stat().st_size / 2**20
        time.sleep(FULL_S)
        hog.unlink()
        return f"{size:.0f} MB, {FULL_S:.0f} s"

    def rounds(self, count: int) -> Iterator[Row]:
        """So many faults, a few a round, every kind in turn; a row each, and one for each round."""
        order: list[Fault] = []
        while len(order) < count:
            order += self.random.sample(kinds := self.kinds(), len(kinds))
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
        names = [n for n in self.rehearsal.names if not self.form.services[n].once]
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


def small_disk(path: Path, owner: tuple[int, int]) -> None:
    """Make a folder that is a disk of its own, which can be filled."""
    path.mkdir(parents=True)
    options = f"size={DISK_MB}m,mode=750,uid={owner[0]},gid={owner[1]}"
    command = [shutil.which("mount") or "mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)]
    subprocess.run(command, check=True)
