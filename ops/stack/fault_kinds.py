"""What goes wrong with a running service: every kind of fault, and how it is made."""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ops.stack import backup, compose, namespaces
from ops.stack.compose import Service
from ops.stack.opening import WORKERS
from ops.stack.process_form import ProcessForm
from ops.stack.questions import need

#: Airflow's own limits of a task's heartbeat and of a queued one, and a little.
FROZEN_S = 75.0
FULL_S, DISK_MB = 15.0, 400
#: Whose clock steps, how far either way, how long; tokens are refused beyond 10 s.
CLOCKS = ("scheduler", *WORKERS)
STEP_S, STEPPED_S = 45.0, 30.0
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


class Injector:
    """Makes things go wrong with services that run as processes.

    Parameters
    ----------
    form
        The services.
    steady
        Those that are to run all the time.
    chance
        Which of several is hit.
    """

    def __init__(self, form: ProcessForm, steady: Sequence[str], chance: random.Random) -> None:
        self.form, self.steady, self.random = form, steady, chance

    def kinds(self) -> list[Fault]:
        """Every kind of fault once."""
        return [
            *(Fault(f"kill -9 {name}", self.killing(name)) for name in self.steady),
            Fault("restart redis", self.restarting("redis")),
            Fault("restart postgres", self.restarting("postgres")),
            Fault("kill -9 one task's process", self.kill_a_task),
            Fault("kill -9 both workers", self.kill_workers),
            Fault("freeze a worker", self.freeze_a_worker),
            Fault("deliver twice", self.deliver_twice),
            Fault("land a date again", self.land_again),
            Fault("fill the disk", self.fill_the_disk),
            Fault("step a clock", self.step_a_clock),
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
        hog = self.form.volume("home") / ".hog"
        try:
            with hog.open("wb", buffering=0) as stream:
                while True:
                    stream.write(bytes(1 << 20))
        except OSError:
            size = hog.stat().st_size / 2**20
        time.sleep(FULL_S)
        hog.unlink()
        return f"{size:.0f} MB, {FULL_S:.0f} s"

    def step_a_clock(self) -> str:
        """One service is early or late for a while, and then is not."""
        name, step = self.random.choice(CLOCKS), self.random.choice((-STEP_S, STEP_S))
        file = self.form.volume("logs") / f".clock-{name}"
        file.write_text(f"{step}")
        time.sleep(STEPPED_S)
        file.write_text("0")
        return f"{name} by {step:+.0f} s for {STEPPED_S:.0f} s"


def with_clock(service: Service) -> Service:
    """The same service; if it is one of those, with a clock that can be stepped."""
    if service.name not in CLOCKS:
        return service
    path = f"{namespaces.APP}/ops/stack/clock:{service.environment['PYTHONPATH']}"
    clock = {"PYTHONPATH": path, "CLOCK": f"/srv/logs/.clock-{service.name}"}
    return replace(service, environment={**service.environment, **clock})


def small_disk(path: Path, owner: tuple[int, int]) -> None:
    """Make a folder that is a disk of its own, which can be filled."""
    path.mkdir(parents=True)
    options = f"size={DISK_MB}m,mode=750,uid={owner[0]},gid={owner[1]}"
    command = [shutil.which("mount") or "mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)]
    subprocess.run(command, check=True)
