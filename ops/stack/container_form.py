"""The services of the compose file as containers, by podman and nothing else.

podman-compose starts what it is told to, healthy or not, and without systemd podman runs no health
check: so containers are started here one by one, and asked by their own check.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil

from crossimpact.errors import CrossImpactError
from ops.airflow_env import ROOT
from ops.credentials import write_private
from ops.stack.compose import Service, owner
from ops.stack.form import Done
from ops.stack.process_form import pss

INSIDE = "CROSSIMPACT_CONTAINERS"
#: podman's own settings, where neither systemd nor a whole cgroup tree is there.
CONF = """
[containers]
default_ulimits = ["nofile=16384:16384", "nproc=30000:30000"]
cgroups = "disabled"
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "crun"
[network]
network_backend = "netavark"
"""
#: Containers get a network, mounts and a cgroup tree beside the machine's.
APART = """
if mountpoint -q /sys/fs/cgroup; then umount -R /sys/fs/cgroup; fi
mount -t cgroup2 none /sys/fs/cgroup
ip link set lo up
mkdir -p /run/netns
mount -t tmpfs tmpfs /run/netns
exec "$@"
"""


def enter(module: str, arguments: Sequence[str]) -> None:
    """Run `python -m module` again beside the machine's network and cgroups; return once inside."""
    if INSIDE in os.environ:
        return
    if os.geteuid() or not shutil.which("podman"):
        raise CrossImpactError(
            "the container form takes root and podman",
            "apt-get install --no-install-recommends podman crun netavark aardvark-dns iptables",
        )
    command = ["unshare", "--mount", "--net", "--propagation=private", "sh", "-ec", APART, "sh"]
    env = {**os.environ, INSIDE: "1"}
    os.execvpe("unshare", [*command, sys.executable, "-m", module, *arguments], env)  # noqa: S606, S607


class ContainerForm:
    """The services of one folder as containers, named after it.

    Parameters
    ----------
    services
        Of the compose file.
    folder
        Its name is the project's; secrets go below it, for this user alone.
    """

    def __init__(self, services: Mapping[str, Service], folder: Path) -> None:
        self.services, self.folder, self.project = services, folder, folder.name
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        (folder / "containers.conf").write_text(CONF)
        self.made("network", self.project)
        for name in sorted({m.source for s in services.values() for m in s.mounts}):
            self.made("volume", self.named(name))

    @property
    def restarts(self) -> dict[str, int]:
        return {name: self.restarted(name) for name in self.services}

    def restarted(self, name: str) -> int:
        done = self.run("inspect", "--format={{.RestartCount}}", self.named(name))
        return int(done.out) if done.code == 0 else 0

    def run(self, *words: str, stdin: bytes | None = b"", timeout_s: float | None = None) -> Done:
        """podman, with settings of our own."""
        env = {**os.environ, "CONTAINERS_CONF": str(self.folder / "containers.conf")}
        done = subprocess.run(
            ["podman", *storage(), "--cgroup-manager=cgroupfs", *words],  # noqa: S607
            env=env, input=stdin, capture_output=True, timeout=timeout_s, check=False,
        )  # fmt: skip
        return Done(done.returncode, done.stdout, done.stderr.decode(errors="replace"))

    def podman(self, *words: str) -> bytes:
        """What podman prints, when it is content."""
        done = self.run(*words)
        if done.code:
            raise CrossImpactError(f"podman {words[0]}: {done.err.strip()[-500:]}")
        return done.out

    def made(self, kind: str, name: str) -> None:
        """Make a network or volume that is not there."""
        if self.run(kind, "exists", name).code:
            self.podman(kind, "create", name)

    def named(self, name: str) -> str:
        return f"{self.project}-{name}"

    def build(self) -> None:
        """Build the images that are not there, on `$BASE` where the file's own cannot be had."""
        base = [f"--build-arg=BASE={os.environ['BASE']}"] if "BASE" in os.environ else []
        for service in self.services.values():
            if service.build and self.run("image", "exists", service.image).code:
                self.podman(
                    "build", "--isolation=chroot", "--network=host", *base,
                    f"--target={service.build}", f"--tag={service.image}", str(ROOT),
                )  # fmt: skip

    def volume(self, name: str) -> Path:
        """Where the volume's files are; the owner's before its service has started, too."""
        (found,) = json.loads(self.podman("volume", "inspect", self.named(name)))
        path = Path(found["Mountpoint"])
        if not any(path.iterdir()):
            os.chown(path, *owner(self.services, name))
        return path

    def options(self, name: str) -> Iterator[str]:
        """What the compose file says of a service, as options of `podman run`."""
        service = self.services[name]
        yield from (f"--network={self.project}", f"--network-alias={name}", f"--hostname={name}")
        yield from (f"--user={service.user[0]}:{service.user[1]}", "--cap-drop=all")
        yield "--security-opt=no-new-privileges"
        yield f"--stop-signal={service.stop_signal}"
        if service.read_only:
            yield from ("--read-only", "--read-only-tmpfs=false")
        if service.init:
            yield "--init"
        for mount in service.mounts:
            flag = ":ro" if mount.read_only else ""
            yield f"--volume={self.named(mount.source)}:{mount.target}{flag}"
        yield from (f"--tmpfs={place}:{said}" for place, said in service.tmpfs.items())
        yield from (f"--env={name}={value}" for name, value in self.plain(service))
        yield f"--env-file={self.env_file(service)}"

    def plain(self, service: Service) -> Iterator[tuple[str, str]]:
        """Where its home is; the image's user has none."""
        if service.build == "app":
            yield "HOME", "/tmp"  # noqa: S108

    def env_file(self, service: Service) -> Path:
        """Its variables in a file, not on a command line that everybody sees."""
        path = self.folder / f"{service.name}.env"
        path.unlink(missing_ok=True)
        lines = (f"{name}={value}\n" for name, value in service.environment.items())
        write_private(path, "".join(lines))
        return path

    def start(self, name: str) -> None:
        service = self.services[name]
        ports = [f"--publish={port}" for port in service.ports]
        restart = f"--restart={service.restart}"
        self.podman(
            "run", "--detach", "--replace", f"--name={self.named(name)}", restart, *ports,
            *self.options(name), service.image, *service.command,
        )  # fmt: skip

    def once(self, name: str) -> None:
        service = self.services[name]
        done = self.run(
            "run", "--rm", *self.options(name), service.image, *service.command, timeout_s=900
        )
        (self.folder / f"{name}.log").write_text(done.out.decode(errors="replace") + done.err)
        if done.code:
            raise CrossImpactError(f"{name} failed with {done.code}\n{self.logs(name)}")

    def running(self, name: str) -> bool:
        done = self.run("inspect", "--format={{.State.Running}}", self.named(name))
        return done.out.strip() == b"true"

    def execute(
        self, name: str, command: Sequence[str], *, stdin: bytes = b"", timeout_s: float = 900
    ) -> Done:
        return self.run("exec", "-i", self.named(name), *command, stdin=stdin, timeout_s=timeout_s)

    def kill(self, name: str, *, stay: bool = False) -> int:
        """SIGKILL for its first process, which ends all others; podman itself leaves it dead."""
        count = len(self.members(name)) if self.running(name) else 0
        self.run("kill", "--signal=KILL", self.named(name))
        if not stay:
            self.run("start", self.named(name))
        return count

    def logs(self, name: str, lines: int = 15) -> str:
        file = self.folder / f"{name}.log"
        if file.exists():
            return "\n".join(file.read_text().splitlines()[-lines:])
        done = self.run("logs", f"--tail={lines}", self.named(name))
        return done.out.decode(errors="replace") + done.err

    def memory_mb(self) -> dict[str, float]:
        """Proportional memory of the processes of each container."""
        return {
            name: sum(pss(member.pid) for member in self.members(name)) / 2**20
            for name in filter(self.running, self.services)
        }

    def members(self, name: str) -> list[psutil.Process]:
        """The container's processes, as this machine knows them."""
        found = self.podman("inspect", "--format={{.State.Pid}}", self.named(name))
        first = psutil.Process(int(found))
        return [first, *first.children(recursive=True)]

    def stop(self) -> None:
        for name in list(self.services)[::-1]:
            grace = f"--time={self.services[name].grace_s:.0f}"
            self.run("stop", "--ignore", grace, self.named(name))
            self.run("rm", "--force", "--ignore", self.named(name))

    def left(self) -> list[str]:
        listed = self.podman("ps", "--all", "--format={{.Names}}", f"--filter=name={self.project}-")
        return listed.decode().split()

    def discard(self) -> None:
        """Remove volumes and network, which a stop keeps."""
        for name in sorted({m.source for s in self.services.values() for m in s.mounts}):
            self.run("volume", "rm", "--force", self.named(name))
        self.run("network", "rm", "--force", self.project)


def storage() -> list[str]:
    """Where images are, when not at podman's own place."""
    root = os.environ.get("CROSSIMPACT_PODMAN")
    if not root:
        return []
    return [f"--root={root}/st", f"--runroot={root}/run", f"--tmpdir={root}/scratch"]
