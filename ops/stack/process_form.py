"""The services of the compose file as processes of this machine; see `namespaces`."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from crossimpact.errors import CrossImpactError, UsageError
from ops.processes import Process, tail
from ops.stack import namespaces
from ops.stack.compose import Service, owner
from ops.stack.form import Done

#: The programs that Debian's packages bring, by package.
PROGRAMS = {
    "postgresql": "/usr/lib/postgresql/*/bin/postgres",
    "redis-server": "/usr/bin/redis-server",
    "prometheus": "/usr/bin/prometheus",
    "prometheus-alertmanager": "/usr/bin/prometheus-alertmanager",
}
RESTART_S = 1.0


def install(packages: Sequence[str] = tuple(PROGRAMS)) -> list[str]:
    """Fetch what is missing from Debian, where root may; the packages that were.

    Raises
    ------
    UsageError
        Naming what is missing, when it cannot be had.
    """
    missing = [name for name in packages if not list(Path("/").glob(PROGRAMS[name][1:]))]
    if not missing:
        return []
    told = f"apt-get install --no-install-recommends {' '.join(missing)}"
    apt = shutil.which("apt-get")
    if os.geteuid() or not apt:
        raise UsageError(f"not on this machine: {', '.join(missing)}", told)
    # RUNLEVEL: what is installed does not start a server of its own
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    for words in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *missing]):
        done = subprocess.run(
            [apt, *words], env=quiet, capture_output=True, text=True, check=False
        )  # fmt: skip
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise UsageError(f"{', '.join(missing)} cannot be had: {reason}", told)
    return missing


class ProcessForm:
    """The services below one folder, each started again when it dies, as its policy says.

    Parameters
    ----------
    services
        Of the compose file.
    folder
        Where volumes, logs and pids are.
    """

    def __init__(self, services: Mapping[str, Service], folder: Path) -> None:
        self.services, self.folder = services, folder
        self.restarts = dict.fromkeys(services, 0)
        self._wanted: set[str] = set()
        self._lock, self._over = threading.RLock(), threading.Event()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._names = self._write_names()
        self._watch = threading.Thread(target=self._keep, daemon=True)
        self._watch.start()

    def _write_names(self) -> list[Path]:
        """The hosts and users that every service knows."""
        hosts = "".join(f"127.0.0.1 {name}\n" for name in ("localhost", *self.services))
        users = {service.user: name for name, service in self.services.items()}
        rows = [f"{name}:x:{uid}:{gid}::/tmp:/bin/sh\n" for (uid, gid), name in users.items()]
        made = []
        for name, text in (("hosts", hosts), ("passwd", "root:x:0:0::/:/bin/sh\n" + "".join(rows))):
            made.append(self.folder / name)
            made[-1].write_text(text)
            made[-1].chmod(0o644)
        return made

    def volume(self, name: str) -> Path:
        """The folder of a named volume; made, as an image would, for the first who writes there."""
        path = self.folder / "volumes" / name
        if not path.exists():
            path.mkdir(parents=True)
            path.chmod(0o750 if name != "web" else 0o755)
            os.chown(path, *owner(self.services, name))
        return path

    def process(self, name: str) -> Process:
        return Process(name, self.folder)

    def start(self, name: str) -> None:
        """Start a service; from then on it is started again when it dies."""
        with self._lock:
            self._launch(name)
            self._wanted.add(name)

    def _launch(self, name: str) -> None:
        service, process = self.services[name], self.process(name)
        process.stop()  # what a dead one left behind
        process.start([*self._as(name), *service.command], namespaces.environment(service))

    def _as(self, name: str) -> list[str]:
        service = self.services[name]
        volumes = {mount.source: self.volume(mount.source) for mount in service.mounts}
        return namespaces.wrapped(service, self._names, volumes)

    def running(self, name: str) -> bool:
        return self.process(name).leader() is not None

    def execute(
        self, name: str, command: Sequence[str], *, stdin: bytes = b"", timeout_s: float = 900
    ) -> Done:
        """Run a command as the service, with its files and environment."""
        env = namespaces.environment(self.services[name])
        done = subprocess.run(
            [*self._as(name), *command], env=env, input=stdin, capture_output=True,
            timeout=timeout_s, check=False,
        )  # fmt: skip
        return Done(done.returncode, done.stdout, done.stderr.decode(errors="replace"))

    def once(self, name: str, timeout_s: float = 900) -> None:
        """Run a service that ends by itself; anything but success is an error."""
        done = self.execute(name, self.services[name].command, timeout_s=timeout_s)
        log = self.process(name).log
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_bytes(done.out + done.err.encode())
        if done.code:
            raise CrossImpactError(f"{name} failed with {done.code}\n{tail(log, 12)}")

    def kill(self, name: str, *, stay: bool = False) -> int:
        """SIGKILL for every process of a service at once, as a lost container; how many.

        Unless it is to stay away, its policy brings it back.
        """
        with self._lock:
            if stay:
                self._wanted.discard(name)
            members = self.process(name).members()
            for member in members:
                member.kill()
            psutil.wait_procs(members, timeout=10)
            return len(members)

    def members(self, name: str) -> list[psutil.Process]:
        return self.process(name).members()

    def logs(self, name: str, lines: int = 15) -> str:
        log = self.process(name).log
        return tail(log, lines) if log.exists() else "(no log)"

    def _keep(self) -> None:
        """Start again what died."""
        while not self._over.wait(RESTART_S):
            with self._lock:
                for name in self._wanted:
                    try:
                        if not self.running(name):
                            self.restarts[name] += 1
                            self._launch(name)
                    except Exception as error:  # the others are kept, and this one tried again
                        print(f"{name} could not be started again: {error}", flush=True)

    def stop(self) -> None:
        """End everything, the last started first, each as it asks to be ended."""
        with self._lock:
            self._over.set()
            self._wanted.clear()
            names = list(self.services)[::-1]
            for name in names:
                self.process(name).ask_to_end()
            for name in names:
                self.process(name).stop()

    def discard(self) -> None:
        """Remove the volumes, which a stop keeps."""
        shutil.rmtree(self.folder / "volumes", ignore_errors=True)

    def left(self) -> list[str]:
        """What still runs or listens, besides this process."""
        running = [p for name in self.services for p in self.members(name)]
        told = [f"{p.name()} {p.pid}" for p in running]
        ports = [c for c in psutil.net_connections("inet") if c.status == psutil.CONN_LISTEN]
        return told + [f"port {c.laddr.port}" for c in ports]

    def memory_mb(self) -> dict[str, float]:
        """Proportional memory of each service."""
        return {
            name: sum(pss(process.pid) for process in self.members(name)) / 2**20
            for name in self.services
            if self.running(name)
        }


def pss(pid: int) -> int:
    """Memory of a process, what it shares divided among the sharers."""
    try:
        return int(psutil.Process(pid).memory_full_info().pss)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0
