"""Background processes of one home: each leads a session of its own and is known by a pid file."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import psutil

from crossimpact.errors import CrossImpactError, UsageError

GRACE_S = 15
CLOCK_STEP_S = 60  # a birth time is told against a clock that may be set meanwhile


class Process:
    """One component: start it, see whether it lives, stop it with all its descendants.

    Parameters
    ----------
    name
        Names the pid file and the log.
    home
        Pid files go to `home/run`, logs to `home/logs`.
    """

    def __init__(self, name: str, home: Path) -> None:
        self.name = name
        self.pid_file = home / "run" / f"{name}.pid"
        self.log = home / "logs" / f"{name}.log"

    def start(
        self, command: Sequence[str], env: Mapping[str, str], pass_fds: Sequence[int] = ()
    ) -> None:
        """Start in the background, all output to the log."""
        for path in (self.pid_file, self.log):
            path.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as stream:
            child = subprocess.Popen(
                command,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=pass_fds,
            )
        born = psutil.Process(child.pid).create_time()
        draft = self.pid_file.with_suffix(".new")
        draft.touch()
        known = {"pid": child.pid, "born": born, "file": _identity(draft)}
        draft.write_text(json.dumps(known))
        draft.replace(self.pid_file)

    def leader(self) -> psutil.Process | None:
        """The process that was started, None when it is gone, whatever it left behind."""
        members = self.members()
        known = json.loads(self.pid_file.read_text())["pid"] if members else None
        return members[0] if members and members[0].pid == known else None

    def members(self) -> list[psutil.Process]:
        """Living processes of its session, leader first.

        None if the pid is now another's, or the pid file is a copy: a copied home owns no process.
        """
        try:
            leader = json.loads(self.pid_file.read_text())
        except FileNotFoundError:
            return []
        if leader.get("file", here := _identity(self.pid_file)) != here:
            return []
        members = (p for p in psutil.process_iter() if session(p.pid) == leader["pid"])
        born = {p: at for p in members if (at := _born(p))}
        taken_over = any(
            p.pid == leader["pid"] and abs(at - leader["born"]) > CLOCK_STEP_S
            for p, at in born.items()
        )
        return [] if taken_over else sorted(born, key=lambda p: p.pid != leader["pid"])

    def ask_to_end(self) -> None:
        """Ask the session's leader to end, without waiting."""
        signal(self.members()[:1], "terminate")

    def stop(self) -> bool:
        """Ask the leader to end, then end what it leaves behind; False when nothing ran."""
        members = self.members()
        self.ask_to_end()
        psutil.wait_procs(members[:1], timeout=GRACE_S)
        for how in ("terminate", "kill"):
            left = self.members()
            signal(left, how)
            psutil.wait_procs(left, timeout=GRACE_S / 3)
        if self.members():
            raise CrossImpactError(f"{self.name} could not be stopped, see {self.log}")
        self.pid_file.unlink(missing_ok=True)
        return bool(members)


def _born(process: psutil.Process) -> float | None:
    """When a process began; None for one that has ended, be it since a moment ago."""
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        begun: float = process.create_time()
    except psutil.NoSuchProcess:
        return None
    return begun


def _identity(pid_file: Path) -> list[int]:
    """What a pid file keeps when it, or its home, is moved, and its copy does not have."""
    status = pid_file.stat()
    return [status.st_dev, status.st_ino]


def signal(processes: Sequence[psutil.Process], how: Literal["terminate", "kill"]) -> None:
    """Signal those that still live."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            getattr(process, how)()


def session(pid: int) -> int | None:
    """Session of a process, None when it is gone."""
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return None


def tail(path: Path, lines: int) -> str:
    """Last lines of a text file."""
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])


def port_free(port: int) -> bool:
    """Whether nobody listens on the loopback port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def choose_port(variable: str, default: int) -> int:
    """The port `$variable` names (it must be free), else the first free one from `default` on."""
    wanted = os.environ.get(variable)
    if wanted is None:
        return next(port for port in range(default, default + 100) if port_free(port))
    if not (wanted.isdecimal() and 0 < int(wanted) < 2**16):
        raise UsageError(f"{wanted!r} is no port", f"set {variable} to one of 1 to 65535")
    if not port_free(int(wanted)):
        raise UsageError(f"port {wanted} is not free", f"set {variable} to another one")
    return int(wanted)
