"""A service as a process that sees what its container would: own files, user, host name, network.

Linux namespaces do it, by util-linux alone. The rehearsal's network has a loopback and nothing
else, so that ports are the file's own, collide with nobody's, and lead nowhere; when its first
process ends the kernel ends all others. Each service has its own view of the files: the checkout at
/srv/app, its volumes and no other's, memory for its scratch, and a root it cannot write to; its
user is not root, and it has no capability. What is missing beside a container: limits of memory and
processors, and an image of its own (programs are the machine's).
"""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from crossimpact.errors import UsageError
from ops.airflow_env import ROOT
from ops.stack import dockerfile
from ops.stack.compose import Service

INSIDE = "CROSSIMPACT_REHEARSAL"
SIOCGIFFLAGS, SIOCSIFFLAGS, UP = 0x8913, 0x8914, 1
APP = "/srv/app"
PRIVILEGES = ("--no-new-privs", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all")
APART = (
    *("unshare", "--mount", "--net", "--pid", "--ipc", "--fork"),
    *("--kill-child=KILL", "--mount-proc"),
)
#: Everything that a service's view of the files asks of the machine.
PROBE = (
    "mkdir -p /srv; mount -t tmpfs tmpfs /srv; mount -o remount,bind,ro /; hostname probe; "
    f"exec setpriv --reuid=10001 --regid=10001 {shlex.join(PRIVILEGES)} true"
)


def enter(module: str, arguments: Sequence[str]) -> None:
    """Run `python -m module` again with a network and processes of its own; return once inside.

    Raises
    ------
    UsageError
        When this machine or user may not.
    """
    if INSIDE in os.environ:
        raise_loopback()
        return
    refuse_without()
    command = [*APART, sys.executable, "-m", module, *arguments]
    os.execvpe("unshare", command, {**os.environ, INSIDE: "1"})  # noqa: S606, S607


def refuse_without() -> None:
    """Raise what is missing on this machine for services as processes."""
    if os.geteuid():
        raise UsageError(
            "the process form gives each service a user and files of its own, which takes root",
            "run it with sudo, or rehearse with containers (docs/service.md)",
        )
    if ROOT.is_relative_to("/srv"):
        raise UsageError("each service has a /srv of its own, and the checkout is there", "move it")
    if shutil.which("unshare") is None:
        raise UsageError("no unshare on this machine", "apt-get install util-linux")
    probe = [*APART, "--uts", "sh", "-ec", PROBE]
    tried = subprocess.run(probe, capture_output=True, text=True, check=False)
    if tried.returncode:
        raise UsageError(
            f"no namespaces on this machine: {tried.stderr.strip()}",
            "a container without CAP_SYS_ADMIN has none; use a machine, or one that has it",
        )


def raise_loopback() -> None:
    """Bring up `lo`, the only network there is."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        asked = struct.pack("16sh", b"lo", 0)
        try:
            (flags,) = struct.unpack("16xh", fcntl.ioctl(handle, SIOCGIFFLAGS, asked)[:18])
            fcntl.ioctl(handle, SIOCSIFFLAGS, struct.pack("16sh", b"lo", flags | UP))
        except OSError as error:
            told = f"loopback cannot be brought up: {error}"
            raise UsageError(told, "it takes CAP_NET_ADMIN") from None


def environment(service: Service) -> dict[str, str]:
    """What the image and the file give the service, and nothing of ours."""
    image = dockerfile.environment(service.build) if service.build else {}
    return {**image, "HOME": "/tmp", **service.environment}  # noqa: S108


def wrapped(service: Service, names: Sequence[Path], volumes: Mapping[str, Path]) -> list[str]:
    """Prefix of a command that is to run as the service.

    Parameters
    ----------
    service
        Whose files, user and host name.
    names
        Files to stand for /etc/hosts and /etc/passwd.
    volumes
        Folder of each named volume.
    """
    user, group = service.user
    as_user = ["setpriv", f"--reuid={user}", f"--regid={group}", *PRIVILEGES]
    script = "; ".join([*_view(service, names, volumes), f'exec {shlex.join(as_user)} "$@"'])
    return [_tool("unshare"), "--mount", "--uts", _tool("sh"), "-e", "-c", script, service.name]


def _view(service: Service, names: Sequence[Path], volumes: Mapping[str, Path]) -> Iterator[str]:
    """Commands that lay out the service's files, as root."""
    yield f"hostname {service.name}"
    yield "mkdir -p /srv && mount -t tmpfs -o mode=755 tmpfs /srv"
    yield from _bind(ROOT, APP, read_only=True)
    for mount in service.mounts:
        yield from _bind(volumes[mount.source], mount.target, read_only=mount.read_only)
    for file, place in zip(names, ("/etc/hosts", "/etc/passwd"), strict=True):
        yield f"mount --bind {shlex.quote(str(file))} {place}"
    yield from _python()
    for place, options in service.tmpfs.items():
        yield f"mount -t tmpfs -o {options or 'mode=1777'} tmpfs {place}"
    if service.read_only:
        yield "mount -o remount,bind,ro /"
        yield "mount -o remount,ro /srv"
    yield f"cd {dockerfile.folder(service.build) if service.build else '/'}"


def _bind(source: Path, target: str, *, read_only: bool) -> Iterator[str]:
    place = shlex.quote(target)
    yield f"mkdir -p {place} && mount --bind {shlex.quote(str(source))} {place}"
    if read_only:
        yield f"mount -o remount,bind,ro {place}"


def _python() -> Iterator[str]:
    """The interpreter where the environment looks for it, though it be in somebody's own folder."""
    prefix = Path(sys.base_prefix)
    closed = [p for p in (prefix, *prefix.parents) if not p.stat().st_mode & 0o001]
    if closed:
        outer, kept = shlex.quote(str(closed[-1])), "/srv/.python"
        yield from _bind(prefix, kept, read_only=True)
        yield f"mount -t tmpfs -o mode=755 tmpfs {outer}"
        yield from _bind(Path(kept), str(prefix), read_only=True)


def _tool(name: str) -> str:
    return shutil.which(name) or name
